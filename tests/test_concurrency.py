"""Several works at once: their failures come out as themselves, in every version of Python."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from acr_cleanup.concurrency import together
from acr_cleanup.errors import RegistryUnreachable


async def result(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def failure(error: Exception) -> int:
    raise error


async def test_results_come_in_the_order_of_the_works() -> None:
    assert await together([partial(result, number) for number in range(5)], limit=2) == [0, 1, 2, 3, 4]


async def test_a_failure_is_raised_as_itself_not_as_a_group() -> None:
    with pytest.raises(RegistryUnreachable, match="no such host"):
        await together([partial(result, 1), partial(failure, RegistryUnreachable("no such host."))], limit=2)


async def test_what_a_user_can_act_on_comes_out_before_anything_else() -> None:
    errors = [ValueError("a bug"), RegistryUnreachable("no such host.")]

    with pytest.raises(RegistryUnreachable):
        await together([partial(failure, error) for error in errors], limit=2)


async def test_no_more_than_the_limit_run_at_once() -> None:
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    await together([work] * 10, limit=3)

    assert most == 3
