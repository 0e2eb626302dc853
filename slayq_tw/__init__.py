"""SlayQ server on Twisted: takes due jobs from Postgres and posts each, signed, to its application."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("slayq-tw")
except PackageNotFoundError:  # a checkout on PYTHONPATH that was never installed
    __version__ = "0+unknown"
