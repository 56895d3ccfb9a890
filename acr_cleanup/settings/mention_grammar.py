"""The grammar of the options that say what clusters mention: mirrors, and kinds to ignore."""

from __future__ import annotations

import re

from acr_cleanup.core.references import COMPONENT
from acr_cleanup.settings.grammar import InvalidOption, shown

_FOLDER = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")
_KIND_NAME = re.compile(r"!?(?:\*|[a-z0-9][a-z0-9-]*)(?:\.[a-z0-9][a-z0-9.-]*)?")


def as_folder(text: str) -> str:
    """
    Parse a folder of repositories; `.` and an empty text are the top of the registry.

    >>> as_folder("mirror/dockerhub/"), as_folder(".")
    ('mirror/dockerhub', '')
    """
    folder = text.strip().strip("/")
    if folder in {"", "."}:
        return ""
    if not _FOLDER.fullmatch(folder):
        raise InvalidOption(f"{shown(text)} is not the beginning of a repository's name.", "Write a path: dockerhub.")
    return folder


def as_kind_name(text: str) -> str:
    """
    Parse a kind as kubectl names it, maybe with `!`, in lower case.

    >>> as_kind_name("!Reports.example.com")
    '!reports.example.com'
    """
    kind = text.strip().lower()
    if not _KIND_NAME.fullmatch(kind):
        raise InvalidOption(
            f"{shown(text)} is not the name of a kind.", "Write it as kubectl does: rollouts.argoproj.io"
        )
    return kind
