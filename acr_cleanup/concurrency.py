"""Run jobs side by side within a limit, and stop them on a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from acr_cleanup.errors import AcrCleanupError
from acr_cleanup.signals import stop_signals

T = TypeVar("T")


async def gather(jobs: Iterable[Callable[[], Awaitable[T]]], *, limit: int) -> list[T]:
    """
    Run the jobs, at most `limit` at a time, and return their results in order.

    The first failure cancels the other jobs and is raised as itself, not as a group. If several
    jobs fail, an `AcrCleanupError` is raised before any other exception: only that one has a
    message for the user.
    """
    slots = asyncio.Semaphore(limit)

    async def bounded(job: Callable[[], Awaitable[T]]) -> T:
        async with slots:
            return await job()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bounded(job)) for job in jobs]
    except BaseExceptionGroup as group_of_failures:
        # Not `except*`: before Python 3.11.4 an exception raised in such a clause is wrapped in a
        # group again.
        # https://github.com/python/cpython/issues/103590
        failures = list(_single(group_of_failures))
        raise next((failure for failure in failures if isinstance(failure, AcrCleanupError)), failures[0]) from None
    return [task.result() for task in tasks]


def _single(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for part in failure.exceptions:
            yield from _single(part)
    else:
        yield failure


async def unless_stopped(work: Awaitable[T], stop: asyncio.Event, *, grace: float = 0.0) -> T:
    """
    Await `work`, but cancel it once `stop` is set and `grace` seconds have passed.

    Raises `CancelledError` then. `stop.is_set()` tells the caller whether a stop or a cancellation
    was the cause.
    """
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and grace:
            await asyncio.wait({task}, timeout=grace)
        if not task.done():
            task.cancel()
        return await task
    finally:
        stopped.cancel()
        task.cancel()


class StopGuard:
    """
    Cancels the work in progress once `stop` is set and `grace` seconds have passed.

    It does for many short works what `unless_stopped` does for one, without two further tasks for
    each of them.
    """

    def __init__(self, stop: asyncio.Event, *, grace: float) -> None:
        self._stop = stop
        self._grace = grace
        self._working: set[asyncio.Task[Any]] = set()
        self._cancelled: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """Watch for the stop, inside this context."""
        watching = asyncio.create_task(self._cancel_after_stop())
        try:
            yield
        finally:
            watching.cancel()

    async def run(self, work: Awaitable[T]) -> T:
        """
        Await `work`. Raises `CancelledError` if it was cancelled.

        The caller must not start any work after the stop. Each task may run one work at a time.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._working.add(task)
        try:
            return await work
        finally:
            self._working.discard(task)
            if task in self._cancelled:
                # The task continues, so it must not look cancelled to a time limit inside of it.
                self._cancelled.discard(task)
                task.uncancel()

    async def _cancel_after_stop(self) -> None:
        await self._stop.wait()
        await asyncio.sleep(self._grace)
        for task in self._working:
            self._cancelled.add(task)
            task.cancel()


@dataclass
class Stop:
    """
    A request to stop, made by one of `stop_signals`: no new deletion starts, and the finished ones
    are reported.
    """

    event: asyncio.Event = field(default_factory=asyncio.Event)
    received: int = signal.SIGTERM
    """The first signal received; the exit code is 128 plus this number."""

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """
        Set `event` on these signals inside this context, and restore the previous handlers
        afterwards.
        """
        loop = asyncio.get_running_loop()
        previous = {number: signal.getsignal(number) for number in stop_signals()}
        try:
            for number in previous:
                loop.add_signal_handler(number, self._receive, number)
        except NotImplementedError:
            # On Windows, event loops cannot handle signals.
            with self._on_plain_signals(loop, previous):
                yield
            return
        try:
            yield
        finally:
            for number in previous:
                loop.remove_signal_handler(number)

    @contextmanager
    def _on_plain_signals(
        self, loop: asyncio.AbstractEventLoop, previous: Mapping[signal.Signals, object]
    ) -> Iterator[None]:
        def receive(number: int, _: object) -> None:
            loop.call_soon_threadsafe(self._receive, number)

        for number in previous:
            signal.signal(number, receive)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, number: int) -> None:
        if not self.event.is_set():
            self.received = number
            self.event.set()
