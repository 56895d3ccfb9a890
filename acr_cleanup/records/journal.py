"""
The journal of deletions: what is about to be deleted, written down and on the disk before it is.

One JSON object per line: a header, and then for each deletion an `intent` before it and an `outcome` after it. An intent without an
outcome may or may not have happened. With `backup` an intent holds the manifest itself, which is what brings it back when
nothing else does. `acr-cleanup restore` reads it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import RawIOBase
from pathlib import Path
from typing import IO, Any

from acr_cleanup import __version__
from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.references import Digest, parse_digest
from acr_cleanup.core.steps import DeleteManifest, Step
from acr_cleanup.errors import AcrCleanupError, InvalidReference

NAME = "journal.jsonl"
SCHEMA_VERSION = 1

UNTAG = "untag"
DELETE_MANIFEST = "delete_manifest"

GATHER = 0.005
"""
Seconds that a write to the disk waits for more intents to come.

A write costs a hundred times what a line costs. Intents are written ahead of their turn (apply.py), so nobody waits for it.
"""

_REMEDY = "What is not written down is not deleted. Make room for it, or name another folder with report-dir."
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_LONGEST_LINE = 16 * 1024 * 1024
"""Characters: a manifest of 4 MiB in base64, and some room."""

# What may become part of a path of the registry; a journal may have been edited.
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class JournalError(AcrCleanupError):
    """The journal cannot be written, or is none."""


# -- writing -------------------------------------------------------------------------------------------------------------


class Journal:
    """
    A journal that is being written; made by `open_journal`.

    Several callers write at once; one `fsync` serves all that wrote before it began.
    """

    def __init__(self, path: Path, file: RawIOBase) -> None:
        self.path = path
        # Unbuffered: what a full disk did not take must not be tried again when the file is closed.
        self._file = file
        self._written = 0
        self._synced = 0
        self._sync = asyncio.Lock()
        self._failure: JournalError | None = None

    async def intend(self, repository: str, step: Step, document: bytes | None = None, media_type: str = "") -> int:
        """
        Write down that this is going to be deleted, and return its number once that is on the disk.

        `document` is the manifest itself, to be restored from. Raises `JournalError`; from then on every time.
        """
        number = self._write({"kind": "intent", **_intent(repository, step, document, media_type)})
        await self._reach_disk(number)
        return number

    def outcome(self, number: int, kind: OutcomeKind, detail: str = "") -> None:
        """Write down what became of it. Never raises: an intent without an outcome is looked up when it matters."""
        with suppress(JournalError):
            self._write({"kind": "outcome", "of": number, "outcome": str(kind), "detail": detail})

    def _write(self, entry: Mapping[str, Any]) -> int:
        if self._failure is not None:
            raise self._failure
        self._written += 1
        number = self._written
        try:
            _write(self._file, _line({"seq": number, "at": _now(), **entry}))
        except OSError as error:
            raise self._fail(error) from error
        return number

    async def _reach_disk(self, number: int) -> None:
        async with self._sync:
            if self._failure is not None:
                raise self._failure
            if self._synced >= number:
                return
            await asyncio.sleep(GATHER)
            written = self._written
            try:
                await asyncio.get_running_loop().run_in_executor(None, os.fsync, self._file.fileno())
            except OSError as error:
                raise self._fail(error) from error
            self._synced = written

    def _fail(self, error: OSError) -> JournalError:
        self._failure = _unwritable(self.path, error)
        return self._failure


@contextmanager
def open_journal(folder: Path, plan: Plan, started_at: datetime, parameters: Mapping[str, Any]) -> Iterator[Journal]:
    """
    A new journal in this folder, its header on the disk; an older one there is renamed after the time of its run.

    `parameters` say how the run was asked to delete. Raises `JournalError`.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        put_aside(path)
        # Never the journal of another run, not even one that has begun this very moment.
        file = path.open("xb", buffering=0)
    except OSError as error:
        raise _unwritable(path, error) from error
    with file:
        header = {
            "kind": "header",
            "schema_version": SCHEMA_VERSION,
            "tool_version": __version__,
            "registry": plan.registry,
            "started_at": started_at.astimezone(UTC).isoformat(),
            "parameters": dict(parameters),
        }
        try:
            _write(file, _line(header))
            os.fsync(file.fileno())
            _sync_folder(folder)
        except OSError as error:
            raise _unwritable(path, error) from error
        yield Journal(path, file)


def put_aside(path: Path) -> Path | None:
    """
    Give an earlier journal a name of its own, `journal-<when its run began>.jsonl`; raises `OSError`.

    A run that was killed and is started again must not overwrite what the first one wrote down.
    """
    try:
        with path.open("rb") as file:
            first = file.readline(64 * 1024)
    except FileNotFoundError:
        return None
    try:
        started = datetime.fromisoformat(json.loads(first)["started_at"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        started = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    stem = f"journal-{started:%Y%m%dT%H%M%SZ}"
    for number in range(1, 1000):
        aside = path.with_name(f"{stem}.jsonl" if number == 1 else f"{stem}-{number}.jsonl")
        try:
            # A link, unlike a renaming, never replaces what is there. Of what is a symbolic link the link itself is put aside.
            os.link(path, aside, follow_symlinks=False)
        except FileExistsError:
            continue
        except (OSError, NotImplementedError):
            # Not every file system has links, nor every system those of links.
            if aside.exists():
                continue
            return path.rename(aside)
        path.unlink()
        return aside
    raise FileExistsError(17, "too many old journals", str(path))


def _sync_folder(folder: Path) -> None:
    # Not every system lets a folder be synced; there its files are found without.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"the journal cannot be written: {error.strerror or error}.", where=str(path), remedy=_REMEDY)


def _intent(repository: str, step: Step, document: bytes | None, media_type: str) -> dict[str, Any]:
    whole = isinstance(step, DeleteManifest)
    manifest = step.manifest if isinstance(step, DeleteManifest) else None
    entry: dict[str, Any] = {
        "verb": DELETE_MANIFEST if whole else UNTAG,
        "repository": repository,
        "digest": step.digest,
        "media_type": media_type or (manifest.media_type if manifest else ""),
        "size": manifest.size if manifest else 0,
        "tags": [
            {"name": tag.name, "updated_at": tag.updated_at.isoformat() if tag.updated_at else None}
            for tag in step.tags
        ],
        "locks": [
            {"tag": lock.tag, "delete_enabled": lock.delete_enabled, "write_enabled": lock.write_enabled}
            for lock in step.locks
        ],
        "after": list(step.after),
    }
    if document is not None:
        entry["manifest"] = base64.b64encode(document).decode()
    return entry


def _write(file: RawIOBase, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _line(entry: Mapping[str, Any]) -> bytes:
    # ASCII alone: nothing that is foreign in it can end a line, or be half a character.
    return _ENCODER.encode(entry).encode("ascii") + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# -- reading -------------------------------------------------------------------------------------------------------------


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
class Recorded:
    """
    A journal as it was read. `faults` are the lines that nobody can make sense of, in words.

    `torn`: the last line was cut off in the middle, as it is when a run is killed.
    """

    registry: str
    started_at: datetime | None
    deletions: tuple[Deletion, ...]
    faults: tuple[str, ...] = ()
    torn: bool = False


def read_journal(path: Path) -> Recorded:
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


def _read(path: Path, file: IO[bytes]) -> Recorded:
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
    return Recorded(
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
