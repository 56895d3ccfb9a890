"""
Reads the journal of an earlier run.

The file may have been edited or truncated: each line is validated, and invalid lines are reported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.quoting import quoted
from acr_cleanup.records.journal import NAME, JournalError
from acr_cleanup.records.journal_lines import DELETE_MANIFEST, SCHEMA_VERSION, Header, Intent, OutcomeLine

_LONGEST_LINE = 16 * 1024 * 1024
"""Bytes: a manifest of 4 MiB in base64, with some margin."""

_REMEDY = f"Use the {NAME} in the report folder of the run."


@dataclass(frozen=True, slots=True)
class Deletion:
    """One deletion in the journal."""

    number: int
    deletes_manifest: bool
    """True for a deleted manifest, False for a removed tag."""
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
    first = _object(file.readline(_LONGEST_LINE))
    try:
        header = msgspec.convert(first, Header)
    except msgspec.ValidationError:
        raise JournalError("The file is not a journal of acr-cleanup.", where=str(path), remedy=_REMEDY) from None
    if header.schema_version != SCHEMA_VERSION:
        message = f"The journal has format version {header.schema_version}, but this acr-cleanup reads version {SCHEMA_VERSION}."
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
            read_line = msgspec.convert(entry, Intent | OutcomeLine)
        except (msgspec.ValidationError, ValueError) as error:
            faults.append(f"Line {number} is invalid: {quoted(error)}.")
            continue
        if isinstance(read_line, OutcomeLine):
            outcomes[read_line.of] = read_line.outcome
        else:
            deletions[read_line.seq] = _deletion(read_line)
    return JournalContents(
        registry=header.registry,
        started_at=_moment(header.started_at),
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


def _deletion(intent: Intent) -> Deletion:
    return Deletion(
        intent.seq,
        intent.verb == DELETE_MANIFEST,
        intent.repository,
        Digest(intent.digest),
        intent.media_type,
        tuple(tag.name for tag in intent.tags),
        tuple(lock.lock for lock in intent.locks),
        tuple(map(Digest, intent.after)),
        intent.manifest if isinstance(intent.manifest, bytes) else None,
    )


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
