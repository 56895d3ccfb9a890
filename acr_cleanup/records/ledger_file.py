"""Reads and writes the file of the ledger."""

from __future__ import annotations

import stat
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

import msgspec

from acr_cleanup import __version__
from acr_cleanup.core.references import normalise_host
from acr_cleanup.errors import AcrCleanupError
from acr_cleanup.quoting import in_utc, quoted
from acr_cleanup.records.encoding import content_hash, pieces
from acr_cleanup.records.ledger import LEDGER_VERSION, Ledger
from acr_cleanup.records.parts import SchemaVersion
from acr_cleanup.records.whole_file import check_replaceable, replace_file

MAX_BYTES = 64 * 1024 * 1024
"""A larger file is not opened. A million tags take less than 20 MB."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead the clock of the machine that wrote the ledger may be."""

_MAX_AHEAD = timedelta(days=366)
"""How far the time of a record may be after the run that wrote it, if the registry's clock was ahead of the machine's."""

_RESTORE = "Restore the ledger that the last run wrote, or remove the file: then a new one begins."
_GZIP = b"\x1f\x8b"


class LedgerError(AcrCleanupError):
    """The ledger cannot be used. `where` names the file."""


def read_ledger(path: Path, login_server: str, now: datetime) -> Ledger | None:
    """
    Read the ledger of this registry; None if the file does not exist. Raises `LedgerError`.

    A symbolic link is refused: the file would be replaced, and not the one that the link names.
    """
    data = _content(path)
    if data is None:
        return None
    ledger = _decoded(path, data)
    if normalise_host(ledger.registry) != normalise_host(login_server):
        seen = f"This ledger is of the registry {quoted(ledger.registry)}, not of {login_server}."
        raise _error(path, seen, "Use a different ledger file for each registry.")
    times = [ledger.started_at, *(use.seen_at for repository in ledger.repositories for use in repository.uses)]
    times += [waiting.since for repository in ledger.repositories for waiting in repository.candidates]
    if ledger.written_at > now + CLOCK_SKEW or max(times) > ledger.written_at + _MAX_AHEAD:
        seen = (
            f"The ledger is from the future: it was written at {in_utc(ledger.written_at):%Y-%m-%d %H:%M} UTC, and the "
            f"clock of this machine says {in_utc(now):%Y-%m-%d %H:%M} UTC."
        )
        raise _error(path, seen, f"Set the clocks of the machines that run acr-cleanup. {_RESTORE}")
    return ledger


FileStamp = tuple[int, int, int]


def stamp(path: Path) -> FileStamp | None:
    """Return a value that differs whenever the file was replaced; None without a file."""
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def check_writable(path: Path) -> None:
    """Check that the file can be replaced. Call it before anything is deleted. Raises `LedgerError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_replaceable(path)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def write_ledger(path: Path, ledger: Ledger) -> None:
    """Set the hash of the ledger and replace the file as a whole. Raises `LedgerError`."""
    ledger.hash = content_hash(ledger)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, (piece.encode() for piece in chain(pieces(ledger), "\n")), sync=True)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def _content(path: Path) -> bytes | None:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise _error(path, "The ledger is a symbolic link.", "Name the file itself.")
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise _error(path, f"The ledger is {kind}.", "Name a file, which the first run creates.")
        if status.st_size > MAX_BYTES:
            seen = f"The ledger has {status.st_size:,} bytes. The limit is {MAX_BYTES // 1024**2} MiB."
            raise _error(path, seen, _RESTORE)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _error(path, f"The ledger cannot be read: {_reason(error)}.", "Check its path and rights.") from error
    if data.startswith(_GZIP):
        raise _error(path, "The ledger is compressed with gzip.", "Decompress it before the run.")
    return data


def _decoded(path: Path, data: bytes) -> Ledger:
    try:
        version = msgspec.json.decode(data, type=SchemaVersion).schema_version
        if version != LEDGER_VERSION:
            seen = f"The ledger has version {version}, and acr-cleanup {__version__} reads version {LEDGER_VERSION}."
            raise _error(path, seen, f"Run the acr-cleanup that wrote it. {_RESTORE}")
        ledger = msgspec.json.decode(data, type=Ledger)
        expected = content_hash(ledger)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _error(path, f"The file is not a ledger, or only a part of one: {quoted(error)}.", _RESTORE) from error
    if ledger.hash != expected:
        raise _error(path, "The ledger was modified after it was written (hash mismatch).", _RESTORE)
    return ledger


def _unwritable(path: Path, error: Exception) -> LedgerError:
    seen = f"The ledger cannot be written: {_reason(error)}."
    return _error(path, seen, "Free disk space, or name another file: the next run needs the observations of this one.")


def _reason(error: Exception) -> str:
    return quoted((error.strerror if isinstance(error, OSError) else None) or str(error))


def _error(path: Path, seen: str, remedy: str) -> LedgerError:
    return LedgerError(seen, where=f"ledger {quoted(path, 120)}", remedy=remedy)
