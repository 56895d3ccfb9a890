"""The file of the ledger: what is read, and the message for everything else."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from acr_cleanup import __version__
from acr_cleanup.records import ledger_file
from acr_cleanup.records.encoding import content_hash
from acr_cleanup.records.ledger import Ledger, LedgerCandidates, LedgerRepository, LedgerUse
from acr_cleanup.records.ledger_file import LedgerError, check_writable, read_ledger, stamp, write_ledger

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOST = "contoso.azurecr.io"
RESTORE = "Restore the ledger that the last run wrote, or remove the file: then a new one begins."
YEAR, SECOND = timedelta(days=366), timedelta(seconds=1)


def ledger(*, host: str = HOST, started: datetime = NOW, seen: datetime = NOW, since: datetime = NOW) -> Ledger:
    uses = [LedgerUse(seen, "production/shop/Deployment/web", ["1.0", "*"])]
    repositories = [LedgerRepository("shop/web", uses, [LedgerCandidates(since, "")])]
    return Ledger(1, __version__, host, started, NOW, repositories, "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.json"


def test_written_ledger_is_read_as_it_was(path: Path) -> None:
    assert read_ledger(path, HOST, NOW) is None
    written = ledger()
    write_ledger(path, written)
    assert read_ledger(path, f"{HOST.upper()}:443", NOW) == written
    assert written.hash == content_hash(written)
    assert [file.name for file in path.parent.iterdir()] == ["ledger.json"]
    assert path.read_bytes().endswith(b"}\n")
    (path.parent / "plain").touch()
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode


def _write(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _enlarge(path: Path) -> None:
    path.touch()
    os.truncate(path, ledger_file.MAX_BYTES + 1)


def _link(path: Path) -> None:
    write_ledger(path.with_name("other.json"), ledger())
    path.symlink_to("other.json")


def _edit(path: Path) -> None:
    write_ledger(path, ledger())
    path.write_bytes(path.read_bytes().replace(b"shop/web", b"shop/api"))


_FOREIGN = "This ledger is of the registry other.azurecr.io, not of contoso.azurecr.io."
_LARGE = f"The ledger has {ledger_file.MAX_BYTES + 1:,} bytes. The limit is 64 MiB. {RESTORE}"
_VERSION = (
    f"The ledger has version 2, and acr-cleanup {__version__} reads version 1. Run the acr-cleanup that wrote it."
)
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (_link, "The ledger is a symbolic link. Name the file itself."),
    "folder": (Path.mkdir, "The ledger is a folder. Name a file, which the first run creates."),
    "pipe": (os.mkfifo, "The ledger is not a regular file. Name a file, which the first run creates."),
    "large": (_enlarge, _LARGE),
    "gzip": (_write(gzip.compress(b"{}")), "The ledger is compressed with gzip. Decompress it before the run."),
    "version": (_write(b'{"schema_version": 2}'), f"{_VERSION} {RESTORE}"),
    "edited": (_edit, f"The ledger was modified after it was written (hash mismatch). {RESTORE}"),
    "empty": (
        _write(b""),
        f"The file is not a ledger, or only a part of one: Input data was truncated. {RESTORE}",
    ),
    "foreign": (
        lambda path: write_ledger(path, ledger(host="other.azurecr.io")),
        f"{_FOREIGN} Use a different ledger file for each registry.",
    ),
}


def test_ledger_of_the_largest_size_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ledger(path, ledger())
    size = path.stat().st_size
    monkeypatch.setattr(ledger_file, "MAX_BYTES", size)
    assert read_ledger(path, HOST, NOW) is not None
    monkeypatch.setattr(ledger_file, "MAX_BYTES", size - 1)
    with pytest.raises(LedgerError, match=f"The ledger has {size:,} bytes"):
        read_ledger(path, HOST, NOW)


def test_folders_of_the_ledger_are_made(path: Path) -> None:
    check_writable(path.parent / "a" / "b" / path.name)
    write_ledger(path.parent / "c" / "d" / path.name, ledger())
    assert sorted(found.name for found in path.parent.rglob("*") if found.is_file()) == [path.name]


@pytest.mark.parametrize("case", REFUSED)
def test_other_file_is_refused_with_a_remedy(case: str, path: Path) -> None:
    path.parent.mkdir()
    arrange, text = REFUSED[case]
    arrange(path)
    with pytest.raises(LedgerError) as caught:
        read_ledger(path, HOST, NOW)
    assert str(caught.value) == f"ledger {path}: {text}"


def test_ledger_that_cannot_be_opened_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ledger(path, ledger())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(LedgerError) as caught:
        read_ledger(path, HOST, NOW)
    assert (
        str(caught.value) == f"ledger {path}: The ledger cannot be read: Permission denied. Check its path and rights."
    )


@pytest.mark.parametrize(
    ("written", "now", "accepted"),
    [
        (ledger(), NOW - timedelta(minutes=5), True),
        (ledger(), NOW - timedelta(minutes=5, seconds=1), False),
        (ledger(started=NOW + YEAR, seen=NOW + YEAR, since=NOW + YEAR), NOW, True),
        (ledger(started=NOW + YEAR + SECOND), NOW, False),
        (ledger(seen=NOW + YEAR + SECOND), NOW, False),
        (ledger(since=NOW + YEAR + SECOND), NOW, False),
    ],
    ids=["5 minutes", "more", "a year", "first run", "use", "candidate"],
)
def test_ledger_from_the_future_is_refused(written: Ledger, now: datetime, accepted: bool, path: Path) -> None:
    write_ledger(path, written)
    if accepted:
        assert read_ledger(path, HOST, now) == written
        return
    with pytest.raises(LedgerError) as caught:
        read_ledger(path, HOST, now)
    assert str(caught.value) == (
        f"ledger {path}: The ledger is from the future: it was written at 2026-11-20 12:00 UTC, and the clock of this "
        f"machine says {now:%Y-%m-%d %H:%M} UTC. Set the clocks of the machines that run acr-cleanup. {RESTORE}"
    )


def test_stamp_changes_with_each_replacement(path: Path) -> None:
    assert stamp(path) is None
    write_ledger(path, ledger())
    first = stamp(path)
    assert first is not None
    assert stamp(path) == first
    write_ledger(path, ledger())
    assert stamp(path) != first


def test_check_of_the_file_leaves_nothing(path: Path) -> None:
    check_writable(path)
    assert [*path.parent.iterdir()] == []
    path.write_bytes(b"old")
    check_writable(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("write", [check_writable, lambda path: write_ledger(path, ledger())])
def test_unwritable_ledger_is_told_before_and_after(write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "ledger.json"
    with pytest.raises(LedgerError) as caught:
        write(path)
    assert caught.value.where == f"ledger {path}"
    assert caught.value.seen in {
        f"The ledger cannot be written: {reason}." for reason in ("Not a directory", "File exists")
    }
    assert caught.value.remedy == (
        "Free disk space, or name another file: the next run needs the observations of this one."
    )


def test_unknown_member_is_refused(path: Path) -> None:
    """The hash does not cover it."""
    write_ledger(path, ledger())
    document = msgspec.json.decode(path.read_bytes()) | {"more": 1}
    path.write_bytes(msgspec.json.encode(document))
    with pytest.raises(LedgerError, match="Object contains unknown field `more`"):
        read_ledger(path, HOST, NOW)
