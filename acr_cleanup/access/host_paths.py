"""The remedy for a missing file, if this process runs in a container that does not see the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files with which Docker and podman mark a container."""


def path_remedy(path: str | Path, otherwise: str, environ: Mapping[str, str] = os.environ) -> str:
    """
    Return the remedy for a missing file. Relative paths are those of the workspace: `otherwise`.

    Variables and inputs with paths of the host reach a container as they are, and only the files
    below the workspace exist there under another path.
    """
    if not (str(path).startswith("~") or Path(path).is_absolute()):
        return otherwise
    if _is_action(environ):
        return (
            "The container of the action sees only the workspace. Copy the file there in a step before, and give its path "
            "relative to the workspace."
        )
    if any(mark.exists() for mark in _MARKS):
        return f"This container sees only what is mounted into it: mount the file. Otherwise: {otherwise}"
    return otherwise


def _is_action(environ: Mapping[str, str]) -> bool:
    """Is this a step of the action? It always runs in a container."""
    job = environ.get("GITHUB_ACTIONS") == "true" or "GITHUB_OUTPUT" in environ or "GITHUB_ACTION" in environ
    return job and any(name.startswith("INPUT_") for name in environ)
