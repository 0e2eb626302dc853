"""Package data and the twistd plugin; everything declarative is in pyproject.toml."""

from setuptools import setup

setup(
    packages=["slayq_tw", "twisted.plugins"],
    package_data={"slayq_tw": ["sql/*/*.sql", "py.typed"], "twisted.plugins": ["slayq_plugin.py"]},
)
