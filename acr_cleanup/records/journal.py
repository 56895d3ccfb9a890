"""
Writes the journal of deletions: each deletion is on the disk before it is sent to the registry.

The file has one JSON object per line: a header, then an `intent` before and an `outcome` after each
deletion. A deletion without an outcome may or may not have happened.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import RawIOBase
from pathlib import Path
from typing import Any

import msgspec

from acr_cleanup import __version__
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.steps import DeleteManifest, Step
from acr_cleanup.errors import AcrCleanupError
from acr_cleanup.quoting import in_utc
from acr_cleanup.records.encoding import line
from acr_cleanup.records.journal_lines import (
    DELETE_MANIFEST,
    SCHEMA_VERSION,
    UNTAG,
    Header,
    Intent,
    JournalLock,
    JournalTag,
    OutcomeLine,
)
from acr_cleanup.records.parts import utc

NAME = "journal.jsonl"

GATHER, ENOUGH = 0.01, 16
"""
Seconds to collect further intents before each fsync, unless so many intents are waiting.

An fsync takes a hundred times as long as writing a line. No deletion waits for it, because apply
journals the next deletions while current ones are in flight.
"""

_REMEDY = "A deletion that cannot be journalled is not sent. Free disk space, or set report-dir to another folder."


class JournalError(AcrCleanupError):
    """The journal cannot be written or read, or the file is not a journal."""


class Journal:
    """
    An open journal; use `open_journal` to create one.

    Callers may write concurrently: one fsync covers all intents that were written before it
    started.
    """

    def __init__(self, path: Path, file: RawIOBase) -> None:
        self.path = path
        # Unbuffered: a buffer would write a line again on close after a full disk refused it.
        self._file = file
        self._written = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._syncing: asyncio.Task[None] | None = None
        self._failure: JournalError | None = None

    async def intend(self, repository: str, step: Step, document: bytes | None = None, media_type: str = "") -> int:
        """
        Write an intent, wait until it is on the disk, and return its number.

        `document`: the manifest's content, for a backup. Raises `JournalError`; after the first
        error each further call raises it too.
        """
        number = self._next()
        self._write(_intent(number, repository, step, document, media_type))
        await self._reach_disk()
        return number

    def outcome(self, number: int, kind: OutcomeKind, detail: str = "") -> None:
        """
        Write the outcome of the intent with this number.

        Write errors are ignored: restore checks in the registry what an intent without outcome did.
        """
        with suppress(JournalError):
            self._write(OutcomeLine(self._next(), _now(), number, kind, detail))

    def add_taken(self, outcomes: Iterable[Outcome]) -> None:
        """
        Write what the registry deleted on its own, after the fact, so that it can be restored.

        `outcomes`: those of the tags of a manifest come right before that of the manifest.
        """
        tags: list[JournalTag] = []
        for outcome in outcomes:
            if outcome.tag is not None:
                tags.append(JournalTag(outcome.tag))
                continue
            number = self._next()
            with suppress(JournalError):
                self._write(Intent(number, DELETE_MANIFEST, outcome.repository, outcome.digest, tags, [], at=_now()))
            self.outcome(number, outcome.kind, outcome.detail)
            tags = []

    def _next(self) -> int:
        self._written += 1
        return self._written

    def _write(self, entry: Intent | OutcomeLine) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            _write(self._file, _line(entry))
        except OSError as error:
            raise self._fail(error) from error

    async def _reach_disk(self) -> None:
        synced = asyncio.get_running_loop().create_future()
        self._waiting.append(synced)
        if self._syncing is None:
            # A separate task: if one caller is cancelled, the others must not fail.
            self._syncing = asyncio.create_task(self._sync())
        await synced

    async def _sync(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            if len(self._waiting) < ENOUGH:
                await asyncio.sleep(GATHER)
            waiting, self._waiting = self._waiting, []
            failure: Exception | None = None
            try:
                await loop.run_in_executor(None, os.fsync, self._file.fileno())
            except OSError as error:
                failure = self._fail(error)
            except Exception as error:  # noqa: BLE001  # otherwise its callers would wait forever
                failure = error
            failure = failure or self._failure
            for synced in waiting:
                if synced.done():  # its caller was cancelled
                    continue
                if failure is not None:
                    synced.set_exception(failure)
                else:
                    synced.set_result(None)
        self._syncing = None

    def _fail(self, error: OSError) -> JournalError:
        self._failure = _unwritable(self.path, error)
        return self._failure


@contextmanager
def open_journal(folder: Path, plan: Plan, started_at: datetime, parameters: Mapping[str, Any]) -> Iterator[Journal]:
    """
    Create a journal in this folder, with its header on the disk.

    An existing journal is renamed after the start of its run. `parameters`: the options of the run.
    Raises `JournalError`.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        put_aside(path)
        # "x": never overwrite the journal of another run that starts at the same moment.
        file = path.open("xb", buffering=0)
    except OSError as error:
        raise _unwritable(path, error) from error
    with file:
        header = Header(SCHEMA_VERSION, plan.registry, __version__, in_utc(started_at).isoformat(), dict(parameters))
        try:
            _write(file, _line(header))
            os.fsync(file.fileno())
            _sync_folder(folder)
        except OSError as error:
            raise _unwritable(path, error) from error
        yield Journal(path, file)


def put_aside(path: Path) -> Path | None:
    """
    Rename an earlier journal to `journal-<start of its run>.jsonl`, and return its new path.

    A run that is started again after a kill must not overwrite the first journal. Returns None if
    there is no journal. Raises `OSError`.
    """
    try:
        with path.open("rb") as file:
            first = file.readline(64 * 1024)
    except FileNotFoundError:
        return None
    try:
        started = datetime.fromisoformat(msgspec.json.decode(first, type=Header).started_at).astimezone(UTC)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        started = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    stem = f"journal-{started:%Y%m%dT%H%M%SZ}"
    for number in range(1, 1000):
        aside = path.with_name(f"{stem}.jsonl" if number == 1 else f"{stem}-{number}.jsonl")
        try:
            # Unlike a rename, a hard link never replaces an existing file. A symbolic link is not
            # followed.
            os.link(path, aside, follow_symlinks=False)
        except FileExistsError:
            continue
        except (OSError, NotImplementedError):
            # Some file systems have no hard links, and some systems cannot link a symbolic link.
            if aside.exists():
                continue
            return path.rename(aside)
        path.unlink()
        return aside
    raise FileExistsError(17, "too many old journals", str(path))


def _sync_folder(folder: Path) -> None:
    # Some systems cannot sync a folder; their files survive a crash without it.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"the journal cannot be written: {error.strerror or error}.", where=str(path), remedy=_REMEDY)


def _intent(number: int, repository: str, step: Step, document: bytes | None, media_type: str) -> Intent:
    manifest = step.manifest if isinstance(step, DeleteManifest) else None
    return Intent(
        number,
        DELETE_MANIFEST if manifest else UNTAG,
        repository,
        step.digest,
        [JournalTag(tag.name, utc(tag.updated_at)) for tag in step.tags],
        [JournalLock(lock.tag, lock.delete_enabled, lock.write_enabled) for lock in step.locks],
        list(step.after),
        media_type or (manifest.media_type if manifest else ""),
        manifest.size if manifest else 0,
        _now(),
        msgspec.UNSET if document is None else document,
    )


def _write(file: RawIOBase, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _line(entry: msgspec.Struct) -> bytes:
    # ASCII only: no foreign text can end the line, and a torn line has no partial character.
    return line(entry).encode("ascii") + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
