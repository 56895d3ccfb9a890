"""The usage index that apply shares between repositories and reads again when it is too old."""

from __future__ import annotations

import asyncio

import pytest

from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.stages.fresh_usage import FreshUsage, UsageBlockedError
from tests.helpers.apply_runs import BLOCKER
from tests.helpers.generated_inventories import usage
from tests.helpers.in_memory_world import run_in_virtual_time


def test_usage_older_than_its_bound_is_read_again() -> None:
    """
    The age counts from the start of the reading: a workload deployed during it may have been
    missed.

    Concurrent callers share one reading.
    """
    reads: list[float] = []

    async def ask() -> list[float]:
        async def read() -> UsageIndex:
            reads.append(asyncio.get_running_loop().time())
            await asyncio.sleep(100)
            return usage()

        fresh_usage = FreshUsage(read)
        first, also_first = await asyncio.gather(fresh_usage.get(), fresh_usage.get())
        assert also_first is first
        await asyncio.sleep(200)
        assert await fresh_usage.get() is first
        await asyncio.sleep(0.1)
        second = await fresh_usage.get()
        assert second is not first
        await asyncio.sleep(199)
        assert await fresh_usage.get() is second
        return reads

    assert run_in_virtual_time(ask) == [0.0, pytest.approx(300.1)]


def test_usage_with_blockers_raises_them() -> None:
    async def ask() -> None:
        async def read() -> UsageIndex:
            return usage(blockers=(BLOCKER,))

        with pytest.raises(UsageBlockedError, match=r"^usage is blocked$") as caught:
            await FreshUsage(read).get()
        assert caught.value.blockers == (BLOCKER,)

    run_in_virtual_time(ask)
