"""Deletes old images that no cluster uses from one Azure container registry."""

__version__ = "0.1.0"
