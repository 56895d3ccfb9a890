"""
Reads the journal of an earlier run.

The file may have been edited or truncated: each line is validated, and invalid lines are reported.
"""

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
"""Bytes: a manifest of 4 MiB in base64, with some margin."""

_REMEDY = f"Use the {NAME} in the report folder of the run."

# Names become part of request paths; an edited journal must not change the path.
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Deletion:
    """One deletion in the journal."""

    number: int
    verb: str
    repository: str
    digest: Digest
    media_type: str = ""
    tags: tuple[str, ...] = ()
    locks: tuple[Lock, ...] = ()
    after: tuple[Digest, ...] = ()
    document: bytes | None = field(default=None, repr=False)
    """The content of the manifest; None without a backup."""
    outcome: OutcomeKind | None = None
    """None if the run ended before it could write the outcome."""

    @property
    def deletes_manifest(self) -> bool:
        """True for a deleted manifest, False for a removed tag."""
        return self.verb == DELETE_MANIFEST


@dataclass(frozen=True, slots=True)
class JournalContents:
    """The valid part of a journal."""

    registry: str
    started_at: datetime | None
    deletions: tuple[Deletion, ...]
    faults: tuple[str, ...] = ()
    """One message for each invalid line."""
    torn: bool = False
    """True if the last line is incomplete, as after a kill."""


def read_journal(path: Path) -> JournalContents:
    """Read all valid lines of a journal. Raises `JournalError` if the file is not a journal."""
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        message = f"The journal cannot be read: {error.strerror or error}."
        raise JournalError(message, where=str(path), remedy=_REMEDY) from error


def _read(path: Path, file: IO[bytes]) -> JournalContents:
    header = _object(file.readline(_LONGEST_LINE))
    if header.get("kind") != "header" or not isinstance(header.get("registry"), str):
        raise JournalError("The file is not a journal of acr-cleanup.", where=str(path), remedy=_REMEDY)
    if header.get("schema_version") != SCHEMA_VERSION:
        message = (
            f"The journal has format version {header.get('schema_version')!r}, but this acr-cleanup reads version "
            f"{SCHEMA_VERSION}."
        )
        raise JournalError(message, where=str(path), remedy="Use the version of acr-cleanup that wrote it.")
    deletions: dict[int, Deletion] = {}
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
                outcomes[_integer(entry, "of")] = OutcomeKind(str(entry.get("outcome")))
            else:
                deletion = _deletion(entry if entry.get("kind") == "intent" else {})
                deletions[deletion.number] = deletion
        except (ValueError, InvalidReference) as error:
            faults.append(f"Line {number} is invalid: {error}.")
    return JournalContents(
        registry=header["registry"],
        started_at=_moment(header.get("started_at")),
        deletions=tuple(replace(item, outcome=outcomes.get(key)) for key, item in sorted(deletions.items())),
        faults=tuple(faults),
        torn=torn,
    )


def _object(line: bytes) -> dict[str, Any]:
    """Decode a line; return {} if it is not a JSON object."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _deletion(entry: Mapping[str, Any]) -> Deletion:
    """Validate an intent. Raises `ValueError` or `InvalidReference`."""
    verb, repository = entry.get("verb"), entry.get("repository")
    if verb not in (UNTAG, DELETE_MANIFEST):
        raise ValueError("it is neither an intent nor an outcome")
    if not isinstance(repository, str) or not _REPOSITORY.fullmatch(repository):
        raise ValueError("its repository is not a valid name")
    tags = tuple(_tag(tag.get("name")) for tag in _objects(entry, "tags"))
    locks = tuple(
        Lock(
            None if lock.get("tag") is None else _tag(lock["tag"]),
            lock.get("delete_enabled") is not False,
            lock.get("write_enabled") is not False,
        )
        for lock in _objects(entry, "locks")
    )
    document = entry.get("manifest")
    try:
        content = None if document is None else base64.b64decode(document, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("its manifest is not valid base64") from None
    after = entry.get("after")
    return Deletion(
        number=_integer(entry, "seq"),
        verb=verb,
        repository=repository,
        digest=_digest(entry.get("digest")),
        media_type=entry["media_type"] if isinstance(entry.get("media_type"), str) else "",
        tags=tags,
        locks=locks,
        after=tuple(_digest(digest) for digest in after) if isinstance(after, list) else (),
        document=content,
    )


def _objects(entry: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    value = entry.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"its {key} are not a list of objects")
    return value


def _integer(entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    if type(value) is not int:
        raise ValueError(f"its {key} is not an integer")
    return value


def _digest(value: Any) -> Digest:
    return parse_digest(str(value))


def _tag(value: Any) -> str:
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ValueError("one of its tags is not a valid name")
    return value


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
