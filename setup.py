"""Packages, package data and the twistd plugin; everything declarative is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    # twisted/ and twisted/plugins/ have no __init__.py: it would take the place of Twisted's own.
    packages=[*find_packages(include=["slayq_tw", "slayq_tw.*"]), "twisted.plugins"],
    package_data={"slayq_tw": ["sql/*/*.sql", "py.typed", "dev/slay-config.json"]},
    # What is listed above, not what MANIFEST.in puts into the sdist.
    include_package_data=False,
)
