"""
The journal of deletions: what is about to be deleted, written down and on the disk before it is.

One JSON object per line: a header, and then for each deletion an `intent` before it and an `outcome` after it. An intent without an
outcome may or may not have happened. With `backup` an intent holds the manifest itself, which is what brings it back when
nothing else does. `acr-cleanup restore` reads it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import RawIOBase
from pathlib import Path
from typing import Any

from acr_cleanup import __version__
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.plan import DeleteManifest, Plan, Step
from acr_cleanup.errors import AcrCleanupError

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


class JournalError(AcrCleanupError):
    """The journal cannot be written, or is none."""


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
