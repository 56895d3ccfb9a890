"""The journal: what it writes, when it is on the disk, and what it does when the disk refuses."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import Untag
from acr_cleanup.records import journal as journal_module
from acr_cleanup.records.journal import Journal, JournalError, open_journal, put_aside
from acr_cleanup.records.journal_reader import read_journal
from tests.helpers.generated_inventories import NOW, d, tag, usage

PLAN = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage())


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def intents(path: Path) -> list[dict[str, Any]]:
    return [entry for entry in entries(path) if entry["kind"] == "intent"]


# -- the file ------------------------------------------------------------------------------------


async def test_written_journal_can_be_read(tmp_path: Path) -> None:
    with open_journal(tmp_path, PLAN, NOW, {"older-than": "30d"}) as journal:
        number = await journal.intend("shop/web", Untag(tag("1.0", "a")), b"\x00\xff", "application/json")
        journal.outcome(number, OutcomeKind.DELETED)
        await journal.intend("shop/web", Untag(tag("2.0", "b")))

    contents = read_journal(tmp_path / "journal.jsonl")

    first, second = contents.deletions
    assert (contents.registry, contents.started_at) == ("contoso.azurecr.io", NOW)
    assert (first.tags, first.outcome, first.document) == (("1.0",), OutcomeKind.DELETED, b"\x00\xff")
    assert (second.tags, second.outcome, second.document) == (("2.0",), None, None)
    assert (contents.faults, contents.torn) == ((), False)
    (outcome,) = (entry for entry in entries(tmp_path / "journal.jsonl") if entry["kind"] == "outcome")
    assert outcome.get("detail", "") == ""


def test_taken_manifests_are_journalled_with_their_own_tags(tmp_path: Path) -> None:
    """The registry deletes referrers with their subject. A tag comes right before its manifest."""
    taken = [("a", "1.0"), ("a", "1.1"), ("a", None), ("b", None), ("c", "2.0"), ("c", None)]
    with open_journal(tmp_path, PLAN, NOW, {}) as journal:
        journal.add_taken(Outcome("shop/web", d(name), tag, OutcomeKind.DELETED, "with x") for name, tag in taken)

    contents = read_journal(tmp_path / "journal.jsonl")
    assert [(deletion.digest, deletion.tags, deletion.outcome) for deletion in contents.deletions] == [
        (d("a"), ("1.0", "1.1"), OutcomeKind.DELETED),
        (d("b"), (), OutcomeKind.DELETED),
        (d("c"), ("2.0",), OutcomeKind.DELETED),
    ]
    details = [entry.get("detail") for entry in entries(tmp_path / "journal.jsonl") if entry["kind"] == "outcome"]
    assert details == ["with x"] * 3


async def test_disk_that_refuses_to_sync_refuses_the_intent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_journal(tmp_path, PLAN, NOW, {}) as journal:

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        for _ in range(2):
            with pytest.raises(JournalError, match="the journal cannot be written: Input/output error"):
                await journal.intend("shop/web", Untag(tag("1.0", "a")))


async def test_intend_returns_after_the_intent_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Concurrent intents share one fsync, but only one that started after they were written."""
    synced_sizes: list[int] = []

    def fsync(handle: int) -> None:
        synced_sizes.append(os.fstat(handle).st_size)
        time.sleep(0.005)

    with open_journal(tmp_path, PLAN, NOW, {}) as journal:
        monkeypatch.setattr(os, "fsync", fsync)

        async def intend(number: int) -> None:
            await journal.intend("shop/web", Untag(tag(f"{number}", "a")))
            position = (tmp_path / "journal.jsonl").read_text().index(f'"name":"{number}"')
            assert max(synced_sizes) > position

        await asyncio.gather(*(intend(number) for number in range(1000, 1200)))

    assert len(synced_sizes) < 20


async def test_five_hundred_intents_take_a_few_seconds(tmp_path: Path) -> None:
    """The registry allows 500 deletions a minute, so the journal does not slow them down."""
    slots = asyncio.Semaphore(8)
    with open_journal(tmp_path, PLAN, NOW, {}) as journal:

        async def intend(number: int) -> None:
            async with slots:
                journal.outcome(
                    await journal.intend("shop/web", Untag(tag(f"{number}", "a")), b"x" * 5000), OutcomeKind.DELETED
                )

        start = time.monotonic()
        await asyncio.gather(*(intend(number) for number in range(500)))
        seconds = time.monotonic() - start

    assert seconds < 6


async def test_journal_refuses_writes_after_a_full_disk(tmp_path: Path) -> None:
    """The last line may be incomplete, so no line must follow it."""

    class FullDisk:
        def __init__(self, file: Any) -> None:
            self.file, self.free_bytes = file, 300

        def write(self, data: memoryview) -> int:
            if not self.free_bytes:
                raise OSError(errno.ENOSPC, "No space left on device")
            written: int = self.file.write(data[: self.free_bytes])
            self.free_bytes -= written
            return written

        def fileno(self) -> int:
            return int(self.file.fileno())

    with open_journal(tmp_path, PLAN, NOW, {}) as opened:
        journal = Journal(opened.path, FullDisk(opened._file))  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(JournalError) as caught:
                await journal.intend("shop/web", Untag(tag("1.0", "a")), b"x" * 1000)
            assert str(caught.value) == (
                f"{tmp_path / 'journal.jsonl'}: the journal cannot be written: No space left on device. A deletion that "
                "cannot be journalled is not sent. Free disk space, or set report-dir to another folder."
            )
        journal.outcome(1, OutcomeKind.DELETED)

    contents = read_journal(tmp_path / "journal.jsonl")
    assert contents.torn
    assert not contents.deletions


def test_line_is_written_whole_by_a_file_that_takes_few_bytes_at_once() -> None:
    """A file may also take none for now, which its `write` tells by None."""
    written = bytearray()
    taken = iter([None, 2, None, 100])

    class SlowFile:
        def write(self, data: memoryview) -> int | None:
            number = next(taken)
            written.extend(data[: number or 0])
            return number

    journal_module._write(SlowFile(), b"one line\n")  # type: ignore[arg-type]
    assert written == b"one line\n"


async def test_concurrent_intents_share_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os_fsync, synced = os.fsync, list[int]()

    def fsync(handle: int) -> None:
        synced.append(handle)
        os_fsync(handle)

    with open_journal(tmp_path, PLAN, NOW, {}) as journal:
        monkeypatch.setattr(os, "fsync", fsync)
        intents_to_write = (journal.intend("shop/web", Untag(tag(f"{number}", "a"))) for number in range(30))
        numbers = await asyncio.gather(*intents_to_write)

    assert (sorted(numbers), len(synced)) == (list(range(1, 31)), 1)


async def test_many_waiting_intents_do_not_wait_for_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "GATHER", 60)
    with open_journal(tmp_path, PLAN, NOW, {}) as journal:
        many = range(journal_module.ENOUGH)
        intending = asyncio.gather(*(journal.intend("shop/web", Untag(tag(f"{number}", "a"))) for number in many))
        await asyncio.wait_for(intending, timeout=10)


async def test_failed_fsync_fails_every_waiting_intent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with open_journal(tmp_path, PLAN, NOW, {}) as journal:
        monkeypatch.setattr(os, "fsync", fail)
        waiting = (journal.intend("shop/web", Untag(tag(f"{number}", "a"))) for number in range(3))
        results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results] == [JournalError] * 3


async def test_cancelled_intent_does_not_fail_the_others(tmp_path: Path) -> None:
    with open_journal(tmp_path, PLAN, NOW, {}) as journal:
        intending = [
            asyncio.create_task(journal.intend("shop/web", Untag(tag(f"{number}", "a")))) for number in range(3)
        ]
        await asyncio.sleep(0)
        intending[0].cancel()
        results = await asyncio.gather(*intending, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [2, 3]


def test_earlier_journals_are_renamed_after_their_start(tmp_path: Path) -> None:
    """They are never overwritten, even if several have the same start."""
    for number in range(3):
        with open_journal(tmp_path, PLAN, NOW, {"number": number}):
            pass
    with open_journal(tmp_path, PLAN, NOW + timedelta(days=1), {"number": 3}):
        pass
    assert put_aside(tmp_path / "journal.jsonl") is not None
    assert put_aside(tmp_path / "journal.jsonl") is None

    numbers = {path.name: entries(path)[0]["parameters"]["number"] for path in tmp_path.iterdir()}
    start = f"{NOW.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    next_day = f"{(NOW + timedelta(days=1)).astimezone(UTC):%Y%m%dT%H%M%SZ}"
    assert numbers == {
        f"journal-{start}.jsonl": 0,
        f"journal-{start}-2.jsonl": 1,
        f"journal-{start}-3.jsonl": 2,
        f"journal-{next_day}.jsonl": 3,
    }


def test_other_file_with_the_journals_name_is_renamed(tmp_path: Path) -> None:
    """Its modification time is used."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"\xff\x00 no journal")
    os.utime(path, (0, datetime(2020, 1, 2, tzinfo=UTC).timestamp()))

    aside = put_aside(path)

    assert aside is not None
    assert aside.name == "journal-20200102T000000Z.jsonl"
    assert aside.read_bytes() == b"\xff\x00 no journal"
