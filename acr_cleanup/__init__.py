"""acr-cleanup deletes from one Azure container registry what is old and what no cluster uses."""

__version__ = "0.1.0"
