"""Several works at once, bounded; the first failure ends them all and is raised as itself, not as a group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from acr_cleanup.errors import AcrCleanupError

T = TypeVar("T")


async def together(works: Iterable[Callable[[], Awaitable[T]]], *, limit: int) -> list[T]:
    """
    Run the works, at most `limit` at a time, and return their results in order.

    Of several failures, one that has something to tell the user comes out (`AcrCleanupError`) before any other.
    """
    slots = asyncio.Semaphore(limit)

    async def bounded(work: Callable[[], Awaitable[T]]) -> T:
        async with slots:
            return await work()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bounded(work)) for work in works]
    except BaseExceptionGroup as group_of_failures:
        # Not `except*`: before Python 3.11.4 what is raised there comes out in a group again.
        # https://github.com/python/cpython/issues/103590
        failures = list(_single(group_of_failures))
        raise next((each for each in failures if isinstance(each, AcrCleanupError)), failures[0]) from None
    return [task.result() for task in tasks]


def _single(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for each in failure.exceptions:
            yield from _single(each)
    else:
        yield failure
