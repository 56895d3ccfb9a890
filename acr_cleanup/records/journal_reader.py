"""Reads the journal of an earlier run."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest, parse_digest
from acr_cleanup.errors import InvalidReference
from acr_cleanup.records.journal import DELETE_MANIFEST, NAME, SCHEMA_VERSION, UNTAG, JournalError

_LONGEST_LINE = 16 * 1024 * 1024
"""Characters: a manifest of 4 MiB in base64, and some room."""

# What may become part of a path of the registry; a journal may have been edited.
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Deletion:
    """
    One deletion as the journal tells it. `outcome` is None where the run ended before it could be written down.

    `document` is the manifest itself, where there was a backup.
    """

    number: int
    verb: str
    repository: str
    digest: Digest
    media_type: str = ""
    tags: tuple[str, ...] = ()
    locks: tuple[Lock, ...] = ()
    after: tuple[Digest, ...] = ()
    document: bytes | None = field(default=None, repr=False)
    outcome: OutcomeKind | None = None

    @property
    def whole(self) -> bool:
        """Was the manifest itself to go, and not one name of it alone?"""
        return self.verb == DELETE_MANIFEST


@dataclass(frozen=True, slots=True)
class JournalContents:
    """
    A journal as it was read. `faults` are the lines that nobody can make sense of, in words.

    `torn`: the last line was cut off in the middle, as it is when a run is killed.
    """

    registry: str
    started_at: datetime | None
    deletions: tuple[Deletion, ...]
    faults: tuple[str, ...] = ()
    torn: bool = False


def read_journal(path: Path) -> JournalContents:
    """Read a journal, as much of it as can be read. Raises `JournalError` for a file that is none."""
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise JournalError(
            f"The journal cannot be read: {error.strerror or error}.",
            where=str(path),
            remedy=f"Name the {NAME} in the report folder of the run.",
        ) from error


def _read(path: Path, file: IO[bytes]) -> JournalContents:
    header = _object(file.readline(_LONGEST_LINE))
    if header.get("kind") != "header" or not isinstance(header.get("registry"), str):
        seen = "This is no journal of acr-cleanup."
        raise JournalError(seen, where=str(path), remedy=f"Name the {NAME} in the report folder of the run.")
    if header.get("schema_version") != SCHEMA_VERSION:
        seen = f"The journal has version {header.get('schema_version')!r} of its form, and only {SCHEMA_VERSION} is known here."
        raise JournalError(seen, where=str(path), remedy="Use the version of acr-cleanup that wrote it.")
    found: dict[int, Deletion] = {}
    outcomes: dict[int, OutcomeKind] = {}
    faults: list[str] = []
    torn = False
    number = 1
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if not line.strip():
            continue
        entry = _object(line)
        if not entry and not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            torn = True
            break
        try:
            if entry.get("kind") == "outcome":
                outcomes[_whole(entry, "of")] = OutcomeKind(str(entry.get("outcome")))
            else:
                deletion = _deletion(entry if entry.get("kind") == "intent" else {})
                found[deletion.number] = deletion
        except (ValueError, InvalidReference) as error:
            faults.append(f"Line {number} cannot be understood: {error}.")
    return JournalContents(
        registry=header["registry"],
        started_at=_moment(header.get("started_at")),
        deletions=tuple(replace(each, outcome=outcomes.get(key)) for key, each in sorted(found.items())),
        faults=tuple(faults),
        torn=torn,
    )


def _object(line: bytes) -> dict[str, Any]:
    """The object on a line, empty if there is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _deletion(entry: Mapping[str, Any]) -> Deletion:
    """Raises `ValueError` or `InvalidReference`."""
    verb, repository = entry.get("verb"), entry.get("repository")
    if verb not in (UNTAG, DELETE_MANIFEST):
        raise ValueError("it is neither an intent nor an outcome")
    if not isinstance(repository, str) or not _REPOSITORY.fullmatch(repository):
        raise ValueError("its repository is no name")
    tags = tuple(_tag(each.get("name")) for each in _objects(entry, "tags"))
    locks = tuple(
        Lock(
            None if each.get("tag") is None else _tag(each["tag"]),
            each.get("delete_enabled") is not False,
            each.get("write_enabled") is not False,
        )
        for each in _objects(entry, "locks")
    )
    document = entry.get("manifest")
    try:
        content = None if document is None else base64.b64decode(document, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("the manifest in it is damaged") from None
    after = entry.get("after")
    return Deletion(
        number=_whole(entry, "seq"),
        verb=verb,
        repository=repository,
        digest=_digest(entry.get("digest")),
        media_type=entry["media_type"] if isinstance(entry.get("media_type"), str) else "",
        tags=tags,
        locks=locks,
        after=tuple(_digest(each) for each in after) if isinstance(after, list) else (),
        document=content,
    )


def _objects(entry: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    value = entry.get(key)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError(f"its {key} are no list of objects")
    return value


def _whole(entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    if type(value) is not int:
        raise ValueError(f"its {key} is no number")
    return value


def _digest(value: Any) -> Digest:
    return parse_digest(str(value))


def _tag(value: Any) -> str:
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ValueError("one of its tags is no name")
    return value


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
