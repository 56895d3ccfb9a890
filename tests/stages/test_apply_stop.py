"""Apply: a run that is stopped by a signal, or cancelled."""

from __future__ import annotations

import asyncio

import pytest

from acr_cleanup.concurrency import unless_stopped
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.records.journal import JournalError
from tests.helpers.apply_runs import (
    STOPPED,
    apply_plan,
    details,
    distinct_details,
    kinds,
    planned,
    set_bound,
    tag_kinds,
)
from tests.helpers.fake_registry import FakeJournal, FakeRegistry
from tests.helpers.generated_inventories import REPOSITORY, d, inventory, tag, usage
from tests.helpers.in_memory_world import run_in_virtual_time


class ReadGate:
    """Hangs one of the readings that precede the first deletion: usage, list or edges."""

    def __init__(self, reading: str, reached: asyncio.Event) -> None:
        self.reading = reading
        self.reached = reached
        self.registry = FakeRegistry(inventory([tag("1", "a")]), before_read=self.wait)

    async def wait(self, call: str) -> None:
        if call.startswith(self.reading):
            self.reached.set()
            await asyncio.sleep(60)

    async def read_usage(self) -> UsageIndex:
        await self.wait("usage")
        return usage()


# -- before the first deletion -------------------------------------------------------------------


async def test_run_stopped_before_its_start_deletes_nothing() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))
    stop = asyncio.Event()
    stop.set()

    applied = await apply_plan(planned(registry.inventory), registry, stop=stop)

    assert registry.calls == []
    assert distinct_details(applied) == {STOPPED}
    assert len(applied.outcomes) == 2


@pytest.mark.parametrize("reading", ["usage", "list", "edges"])
async def test_run_stopped_during_the_second_look_deletes_nothing(reading: str) -> None:
    stop = asyncio.Event()
    gate = ReadGate(reading, reached=stop)

    applied = await apply_plan(planned(gate.registry.inventory), gate.registry, read_usage=gate.read_usage, stop=stop)

    assert gate.registry.changes == []
    assert distinct_details(applied) == {STOPPED}
    assert applied.blockers == ()


@pytest.mark.parametrize("reading", ["usage", "list"])
async def test_cancellation_during_the_second_look_is_not_a_stop(reading: str) -> None:
    """The `CancelledError` reaches the caller."""
    reached = asyncio.Event()
    gate = ReadGate(reading, reached)

    task = asyncio.create_task(
        apply_plan(planned(gate.registry.inventory), gate.registry, read_usage=gate.read_usage, time_limit=None)
    )
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- between deletions ---------------------------------------------------------------------------


async def test_stopped_run_starts_no_further_deletion() -> None:
    """The outcomes tell finished deletions from those not attempted."""
    registry = FakeRegistry(inventory([tag(f"{number:02}", number) for number in range(1, 30)]))
    stop = asyncio.Event()

    async def stop_at_the_third(_call: str) -> None:
        if len(registry.changes) == 3:
            stop.set()

    registry.before_change = stop_at_the_third
    applied = await apply_plan(planned(registry.inventory), registry, stop=stop)

    found_kinds = list(tag_kinds(applied).values())
    assert found_kinds.count(OutcomeKind.DELETED) == 29 - len(registry.inventory.tags) == 3
    assert found_kinds.count(OutcomeKind.NOT_ATTEMPTED) == 26


async def test_stop_takes_precedence_over_a_blocker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later steps name the stop as their reason."""
    set_bound(monkeypatch, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))
    stop = asyncio.Event()

    class StoppingJournal(FakeJournal):
        async def intend(self, *_: object, **__: object) -> int:
            stop.set()
            raise JournalError("it cannot be written.")

    applied = await apply_plan(planned(registry.inventory), registry, journal=StoppingJournal(), stop=stop)

    assert details(applied)["2"] == STOPPED
    assert len(applied.blockers) == 1


# -- during a deletion or a backup ---------------------------------------------------------------


async def test_deletion_without_answer_after_a_stop_may_have_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is abandoned after the grace period, and its outcome is `failed`."""
    set_bound(monkeypatch, "GRACE_AFTER_STOP", 0.01)
    registry = FakeRegistry(inventory([tag("1", "a")]))
    stop = asyncio.Event()

    async def hang(_call: str) -> None:
        stop.set()
        await asyncio.sleep(60)

    registry.before_change = hang
    applied = await apply_plan(planned(registry.inventory), registry, stop=stop)

    assert kinds(applied)["1"] is OutcomeKind.FAILED
    assert "may be deleted" in applied.outcomes[0].detail


async def test_stop_during_a_backup_prevents_the_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, "GRACE_AFTER_STOP", 0.01)
    stop = asyncio.Event()
    gate = ReadGate("read", reached=stop)
    registry, journal = gate.registry, FakeJournal()

    applied = await apply_plan(planned(registry.inventory), registry, journal=journal, backup=True, stop=stop)

    assert (registry.changes, journal.intents, journal.outcomes) == ([], [], [])
    assert distinct_details(applied) == {STOPPED}


@pytest.mark.parametrize(("seconds", "journalled"), [(1.9, True), (2.1, False)])
def test_backup_after_a_stop_may_take_two_seconds(seconds: float, journalled: bool) -> None:
    """The deletion is not sent in either case."""

    async def work() -> None:
        stop = asyncio.Event()

        async def be_slow(call: str) -> None:
            if call.startswith("read"):
                stop.set()
                await asyncio.sleep(seconds)

        registry, journal = FakeRegistry(inventory([tag("1", "a")]), before_read=be_slow), FakeJournal()
        applied = await apply_plan(planned(registry.inventory), registry, journal=journal, backup=True, stop=stop)

        assert registry.changes == []
        assert distinct_details(applied) == {STOPPED}
        assert journal.intents == ([(REPOSITORY, d("a"), None, "")] if journalled else [])
        assert journal.outcomes == ([(1, *STOPPED)] if journalled else [])

    run_in_virtual_time(work)


def test_unless_stopped_abandons_work_after_the_grace_period() -> None:
    async def work() -> None:
        async def take(seconds: float) -> str:
            await asyncio.sleep(seconds)
            return "done"

        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        assert await unless_stopped(take(1000), stop) == "done"
        loop.call_later(5, stop.set)
        start = loop.time()
        assert await unless_stopped(take(7), stop, grace=2) == "done"
        assert loop.time() - start == 7
        start = loop.time()
        with pytest.raises(asyncio.CancelledError):
            await unless_stopped(take(2.1), stop, grace=2)
        assert loop.time() - start == pytest.approx(2)
        with pytest.raises(asyncio.CancelledError):
            await unless_stopped(take(0.1), stop)
        assert loop.time() - start == pytest.approx(2)
        assert len(asyncio.all_tasks()) == 1, "no task is left running"

    run_in_virtual_time(work)
