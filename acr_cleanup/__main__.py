"""`python -m acr_cleanup` is `acr-cleanup`."""

from acr_cleanup.cli import entry

entry()
