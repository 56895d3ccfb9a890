"""
The choices that the policy and the table of options share.

The command line imports this module for `--help`, so it imports nothing that is slow to load.
"""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """The repositories that may lose tags."""

    RUNNING = "running"
    """Those named by a container of a pod, in at least one cluster."""
    REFERENCED = "referenced"
    """Those named by any object of a cluster, even if it is scaled to zero or suspended."""
    ALL = "all"
    """Every repository of the registry."""


class KeepLastOf(StrEnum):
    """What `keep_last` counts."""

    IMAGES = "images"
    """Tags of one digest count once, and are kept together. Signatures and companions do not count."""
    TAGS = "tags"
    """Each tag counts, except signatures by the name of their tag."""
