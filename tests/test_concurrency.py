"""Jobs side by side: limits, failures and stopping, the same in every version of Python."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from enum import IntEnum
from functools import partial

import pytest

from acr_cleanup.concurrency import Stop, StopGuard, gather, unless_stopped
from acr_cleanup.errors import RegistryUnreachable
from acr_cleanup.signals import stop_signals
from tests.helpers.in_memory_world import run_in_virtual_time


async def result(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def failure(error: Exception) -> int:
    raise error


# -- running jobs ----------------------------------------------------------------------------------


async def test_gather_returns_results_in_order() -> None:
    assert await gather([partial(result, number) for number in range(5)], limit=2) == [0, 1, 2, 3, 4]


async def test_gather_raises_a_failure_without_a_group() -> None:
    with pytest.raises(RegistryUnreachable, match="no such host"):
        await gather([partial(result, 1), partial(failure, RegistryUnreachable("no such host."))], limit=2)


async def test_gather_raises_a_bug_as_itself() -> None:
    with pytest.raises(ValueError, match="a bug"):
        await gather([partial(result, 1), partial(failure, ValueError("a bug"))], limit=2)


async def test_gather_raises_own_errors_before_others() -> None:
    """Only an `AcrCleanupError` tells the user what to do."""
    errors = [ValueError("a bug"), RegistryUnreachable("no such host.")]

    with pytest.raises(RegistryUnreachable):
        await gather([partial(failure, error) for error in errors], limit=2)


async def test_gather_runs_at_most_limit_jobs_at_once() -> None:
    running, most = 0, 0

    async def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    await gather([job] * 10, limit=3)

    assert most == 3


# -- stopping --------------------------------------------------------------------------------------


def test_unless_stopped_cancels_work_after_the_grace_period() -> None:
    async def work() -> None:
        async def takes(seconds: float) -> str:
            await asyncio.sleep(seconds)
            return "done"

        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        assert await unless_stopped(takes(1000), stop) == "done"
        loop.call_later(5, stop.set)
        began = loop.time()
        assert await unless_stopped(takes(7), stop, grace=2) == "done"
        assert loop.time() - began == 7
        began = loop.time()
        with pytest.raises(asyncio.CancelledError):
            await unless_stopped(takes(2.1), stop, grace=2)
        assert loop.time() - began == pytest.approx(2)
        with pytest.raises(asyncio.CancelledError):
            await unless_stopped(takes(0.1), stop)
        assert loop.time() - began == pytest.approx(2)
        assert len(asyncio.all_tasks()) == 1, "a task is left over"

    run_in_virtual_time(work)


def test_guarded_work_is_cancelled_after_the_grace_period() -> None:
    """The tasks go on afterwards: they record the outcome of the work."""

    async def work() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        guard = StopGuard(stop, grace=2)

        async def run(seconds: float) -> tuple[float, bool]:
            cancelled = False
            try:
                await guard.run(asyncio.sleep(seconds))
            except asyncio.CancelledError:
                cancelled = True
            task, ended = asyncio.current_task(), loop.time() - began
            assert task is not None
            assert not task.cancelling()
            await asyncio.sleep(1)
            return ended, cancelled

        async with guard.watch():
            began = loop.time()
            loop.call_later(5, stop.set)
            results = await asyncio.gather(*map(run, (1, 6.9, 7.1, 1000)))
        assert [ended for ended, _ in results] == pytest.approx([1, 6.9, 7, 7])
        assert [cancelled for _, cancelled in results] == [False, False, True, True]
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1, "a task is left over"

    run_in_virtual_time(work)


async def test_cancelled_guarded_work_remains_cancelled() -> None:
    guard = StopGuard(asyncio.Event(), grace=2)
    async with guard.watch():
        task = asyncio.create_task(guard.run(asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1


async def test_later_cancellation_by_another_remains_after_one_by_the_guard() -> None:
    stop = asyncio.Event()
    guard = StopGuard(stop, grace=0)

    async def work_twice() -> None:
        with suppress(asyncio.CancelledError):
            await guard.run(asyncio.sleep(60))
        await guard.run(asyncio.sleep(60))

    async with guard.watch():
        task = asyncio.create_task(work_twice())
        await asyncio.sleep(0)
        stop.set()
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1


async def test_signal_without_loop_handlers_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops on Windows cannot handle signals."""

    def unknown(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", unknown)
    previous, stop = signal.getsignal(signal.SIGTERM), Stop()
    with stop.on_signals():
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(stop.event.wait(), 5)
    assert stop.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == previous


def test_ignored_hangup_remains_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user started the run with `nohup`."""
    assert signal.SIGHUP in stop_signals()
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    assert stop_signals() == (signal.SIGINT, signal.SIGTERM)


def test_signals_of_windows_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no SIGHUP, and sends SIGBREAK."""

    class WindowsSignals(IntEnum):
        SIGINT = 2
        SIGTERM = 15
        SIGBREAK = 21

    monkeypatch.setattr(signal, "Signals", WindowsSignals)
    assert [number.name for number in stop_signals()] == ["SIGINT", "SIGTERM", "SIGBREAK"]
