"""The journal: what is about to be deleted is on the disk before it is deleted, whatever happens then."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.plan import Plan, Untag
from acr_cleanup.core.policy import RetentionPolicy
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.records import journal as journals
from acr_cleanup.records.journal import Journal, JournalError, open_journal, put_aside
from acr_cleanup.records.journal_reader import read_journal
from tests.helpers.generated_inventories import NOW, tag, usage
from tests.helpers.stage import OLD, REPOSITORY, shorten_pauses, staged
from tests.scenarios.test_process import finish, run, start, until, write

PLAN = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage())


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def intents(path: Path) -> list[dict[str, Any]]:
    return [each for each in entries(path) if each["kind"] == "intent"]


# -- the file -------------------------------------------------------------------------------------------------


async def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    with open_journal(tmp_path, PLAN, NOW, {"older-than": "30d"}) as journal:
        number = await journal.intend("shop/web", Untag(tag("1.0", "a")), b"\x00\xff", "application/json")
        journal.outcome(number, OutcomeKind.DELETED)
        await journal.intend("shop/web", Untag(tag("2.0", "b")))

    recorded = read_journal(tmp_path / "journal.jsonl")

    first, second = recorded.deletions
    assert (recorded.registry, recorded.started_at) == ("contoso.azurecr.io", NOW)
    assert (first.tags, first.outcome, first.document) == (("1.0",), OutcomeKind.DELETED, b"\x00\xff")
    assert (second.tags, second.outcome, second.document) == (("2.0",), None, None)
    assert (recorded.faults, recorded.torn) == ((), False)


async def test_an_intent_is_on_the_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And many at once share one fsync, which never is one that began before they were written."""
    synced: list[int] = []

    def fsync(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)
        time.sleep(0.005)

    with open_journal(tmp_path, PLAN, NOW, {}) as journal:
        monkeypatch.setattr(os, "fsync", fsync)

        async def intend(number: int) -> None:
            await journal.intend("shop/web", Untag(tag(f"{number}", "a")))
            place = (tmp_path / "journal.jsonl").read_text().index(f'"name":"{number}"')
            assert max(synced) > place

        await asyncio.gather(*(intend(number) for number in range(1000, 1200)))

    assert len(synced) < 20


async def test_writing_five_hundred_intents_takes_no_time_that_matters(tmp_path: Path) -> None:
    """At 500 deletions a minute they take a minute."""
    slots = asyncio.Semaphore(8)
    with open_journal(tmp_path, PLAN, NOW, {}) as journal:

        async def intend(number: int) -> None:
            async with slots:
                journal.outcome(
                    await journal.intend("shop/web", Untag(tag(f"{number}", "a")), b"x" * 5000), OutcomeKind.DELETED
                )

        began = time.monotonic()
        await asyncio.gather(*(intend(number) for number in range(500)))
        took = time.monotonic() - began

    assert took < 6


async def test_a_full_disk_ends_it_for_good(tmp_path: Path) -> None:
    """A line that did not fit may be cut off; nothing must be written behind it."""

    class Full:
        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 300

        def write(self, data: memoryview) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken: int = self.file.write(data[: self.room])
            self.room -= taken
            return taken

        def fileno(self) -> int:
            return int(self.file.fileno())

    with open_journal(tmp_path, PLAN, NOW, {}) as opened:
        journal = Journal(opened.path, Full(opened._file))  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(JournalError, match="No space left"):
                await journal.intend("shop/web", Untag(tag("1.0", "a")), b"x" * 1000)
        journal.outcome(1, OutcomeKind.DELETED)

    recorded = read_journal(tmp_path / "journal.jsonl")
    assert recorded.torn
    assert not recorded.deletions


async def test_intents_that_come_together_are_brought_to_the_disk_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, synced = os.fsync, list[int]()

    def fsync(handle: int) -> None:
        synced.append(handle)
        real(handle)

    with open_journal(tmp_path, PLAN, NOW, {}) as journal:
        monkeypatch.setattr(os, "fsync", fsync)
        numbers = await asyncio.gather(*(journal.intend("shop/web", Untag(tag(f"{each}", "a"))) for each in range(30)))

    assert (sorted(numbers), len(synced)) == (list(range(1, 31)), 1)


def test_an_older_journal_is_put_aside_and_never_overwritten(tmp_path: Path) -> None:
    for number in range(3):
        with open_journal(tmp_path, PLAN, NOW, {"number": number}):
            pass
    with open_journal(tmp_path, PLAN, NOW + timedelta(days=1), {"number": 3}):
        pass
    assert put_aside(tmp_path / "journal.jsonl") is not None
    assert put_aside(tmp_path / "journal.jsonl") is None

    found = {path.name: entries(path)[0]["parameters"]["number"] for path in tmp_path.iterdir()}
    at = f"{NOW.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    later = f"{(NOW + timedelta(days=1)).astimezone(UTC):%Y%m%dT%H%M%SZ}"
    assert found == {
        f"journal-{at}.jsonl": 0,
        f"journal-{at}-2.jsonl": 1,
        f"journal-{at}-3.jsonl": 2,
        f"journal-{later}.jsonl": 3,
    }


def test_something_else_that_is_called_like_it_is_put_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"\xff\x00 no journal")
    os.utime(path, (0, datetime(2020, 1, 2, tzinfo=UTC).timestamp()))

    aside = put_aside(path)

    assert aside is not None
    assert aside.name == "journal-20200102T000000Z.jsonl"
    assert aside.read_bytes() == b"\xff\x00 no journal"


# -- in a run -------------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Looks, at each deletion, whether the journal names it already."""

    path: Path
    seen: list[str] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> None:
        what = request.path.rpartition("/")[2]
        self.seen.append(what)
        named = {each["digest"] for each in intents(self.path)}
        named |= {one["name"] for each in intents(self.path) for one in each["tags"]}
        if what not in named:
            self.unwritten.append(what)


async def test_every_deletion_is_written_down_before_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        for number in range(40):
            stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
        path = tmp_path / "report" / "journal.jsonl"
        watch = Watch(path)
        stage.fault(service="acr", method="DELETE", before=watch)
        ran = await stage.tool.apply(stage.config)

        assert ran.code == 0
        assert len(watch.seen) == 42
        assert not watch.unwritten
        assert entries(path)[0]["registry"] == "contoso.azurecr.io"
        told = {each["of"]: each["outcome"] for each in entries(path) if each["kind"] == "outcome"}
        assert told == {each["seq"]: "deleted" for each in intents(path)}


async def test_a_dry_run_and_a_run_with_nothing_to_delete_leave_the_journal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.plan(stage.config)
        assert not list((tmp_path / "report").glob("journal*"))
        await stage.tool.apply(stage.config)
        before = (tmp_path / "report" / "journal.jsonl").read_bytes()
        await stage.tool.apply(stage.config)

        assert [each.name for each in (tmp_path / "report").glob("journal*")] == ["journal.jsonl"]
        assert (tmp_path / "report" / "journal.jsonl").read_bytes() == before


async def test_with_backup_the_manifests_are_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        bodies = {each.digest: each.body for each in stage.repository.manifests.values()}
        await stage.tool.apply(stage.config, backup="true")

        recorded = read_journal(tmp_path / "report" / "journal.jsonl")
        assert len(recorded.deletions) == 2
        assert all(each.document == bodies[each.digest] for each in recorded.deletions)


async def test_what_cannot_be_backed_up_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        digest = stage.digest("1.0")
        stage.fault(service="acr", method="GET", path=f"v2/.*/manifests/{digest}", status=500)
        ran = await stage.tool.apply(stage.config, backup="true", verify="false")

        assert (ran.code, set(stage.repository.tags)) == (1, {"1.0", "2.0"})
        assert ran.outcomes("1.0") == {"failed"}


async def test_a_journal_that_cannot_be_begun_refuses_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3 and nothing is deleted: the folder can be written to, but the journal's name is taken by a folder."""
    async with staged(tmp_path, monkeypatch) as stage:
        (tmp_path / "report" / "journal.jsonl").mkdir(parents=True)
        ran = await stage.tool.apply(stage.config)

        assert ran.code == 3
        assert not stage.world.matching(service="acr", method="DELETE")
        assert "journal cannot be written" in ran.out


async def test_a_disk_that_fills_up_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted until then is told, and nothing more is deleted."""
    async with staged(tmp_path, monkeypatch) as stage:
        for number in range(40):
            stage.registry.push(REPOSITORY, f"old-{number:02}", age=OLD)
        real, calls = journals._write, 0

        def fills_up(file: Any, line: bytes) -> None:
            nonlocal calls
            calls += b'"intent"' in line
            if calls > 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(file, line)

        monkeypatch.setattr(journals, "_write", fills_up)
        ran = await stage.tool.apply(stage.config)

        assert ran.code == 1
        deleted = ran.report["counts"]["deleted"]
        assert 0 < deleted <= 20
        assert deleted == 43 - len(stage.repository.tags) == stage.world.count(service="acr", method="DELETE")
        assert "No space left" in ran.out


async def test_a_killed_run_is_finished_by_the_next_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in the middle: every deletion is in exactly one journal with exactly one outcome, or is looked up."""
    async with staged(tmp_path, monkeypatch) as stage:
        for number in range(60):
            stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
        everything = set(stage.repository.tags)
        slow = stage.fault(service="acr", method="DELETE", latency=0.2)
        process = await start(stage, "apply", write(stage), "--concurrency", "4", "--backup", "true")
        await until(stage, service="acr", method="DELETE", status=202)  # type: ignore[arg-type]
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        # What was sent is carried out all the same.
        await asyncio.sleep(0.5)
        slow.latency = 0.0
        left = set(stage.repository.tags)
        folder = tmp_path / "acr-cleanup"
        killed = read_journal(folder / "journal.jsonl")
        assert {"2.0"} < left < everything
        assert not (folder / "report.json").exists()
        assert everything - left <= {name for each in killed.deletions for name in each.tags}

        done = await run(stage, "apply", "file.json", "--backup", "true")

        assert done.code == 0
        assert set(stage.repository.tags) == {"2.0"}
        assert done.report["counts"]["deleted"] == len(left) - 1
        assert set(done.report["deleted_tags"]) == {f"{REPOSITORY}:{name}" for name in left - {"2.0"}}
        (old,) = folder.glob("journal-*.jsonl")
        assert read_journal(old) == killed

        # Both journals together bring everything back.
        for each in (old, folder / "journal.jsonl"):
            assert (await run(stage, "restore", str(each), "file.json")).code == 0
        assert set(stage.repository.tags) == everything


async def test_two_runs_at_once_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds what the first has deleted gone; together they count each deletion once."""
    async with staged(tmp_path, monkeypatch) as stage:
        for number in range(30):
            stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
        stage.world.faults.append(Fault(service="acr", method="DELETE", latency=0.05))
        name = write(stage)
        both = [await start(stage, "apply", name, "--report-dir", each) for each in ("one", "two")]
        ended = [await finish(stage, each) for each in both]

        assert [each.code for each in ended] == [0, 0], [each.out for each in ended]
        assert set(stage.repository.tags) == {"2.0"}
        reports = [json.loads((tmp_path / each / "report.json").read_text()) for each in ("one", "two")]
        assert all(report["counts"]["failed"] == 0 for report in reports)
        assert sum(report["counts"]["deleted"] for report in reports) == 32
