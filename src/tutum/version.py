"""The version of the distribution. The build and `tutum.__version__` read it here."""

__version__ = "0.1.0"
