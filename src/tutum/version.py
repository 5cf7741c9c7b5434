"""The version of the distribution, where it can be read without importing anything else."""

__version__ = "0.1.0"
