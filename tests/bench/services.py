"""Benchmark of reading services: 500 Container Apps in five subscriptions, 30 ms away."""

from __future__ import annotations

import asyncio
import time

from acr_cleanup.emulator.services import SUBSCRIPTION
from tests.bench.rows import Row
from tests.helpers.service_worlds import IMAGE, service_world

APPS, SUBSCRIPTIONS, LATENCY, WIDTH = 500, 5, 0.03, 8


def many_services() -> list[Row]:
    """Wall time, compared with the requests themselves, sent `WIDTH` at a time."""
    seconds, requests = asyncio.run(_measure())
    path = requests / WIDTH * LATENCY
    return [
        Row(
            f"wall time of reading {APPS} Container Apps in {SUBSCRIPTIONS} subscriptions, {LATENCY * 1000:.0f} ms away",
            f"{seconds:.1f} s",
            f"its {requests} requests, {WIDTH} at a time: {path:.1f} s",
            f"{seconds / path:.2f} ×",
            "< 1.3 ×",
            seconds < 1.3 * path,
        )
    ]


async def _measure() -> tuple[float, int]:
    async with service_world() as world:
        ids = [f"{number}{SUBSCRIPTION[1:]}" for number in range(SUBSCRIPTIONS)]
        for number in range(APPS):
            subscription = ids[number % SUBSCRIPTIONS]
            world.state.container_app(f"app-{number}", f"{IMAGE}/app:{number}", subscription=subscription)
        # The imports and the login are not measured.
        await world.read(groups=frozenset({"batch"}))
        world.at.world.latency = LATENCY
        before, started = world.requests(), time.perf_counter()
        found = await world.read(subscriptions=tuple(ids), concurrency=WIDTH)
        seconds = time.perf_counter() - started
        assert len(found.images) == APPS
        return seconds, world.requests() - before
