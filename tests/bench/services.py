"""Benchmark of reading services: 500 Container Apps in five subscriptions, 30 ms away."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from azure.core.rest import HttpRequest

from acr_cleanup.access import resource_manager
from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.concurrency import gather
from acr_cleanup.emulator.services import SUBSCRIPTION
from acr_cleanup.services.reader import ServiceSearch
from acr_cleanup.services.scan import read_services
from acr_cleanup.settings import Settings
from acr_cleanup.settings.load import load_settings
from acr_cleanup.stages.connect import open_azure
from acr_cleanup.stages.read import ServiceTexts
from tests.bench.rows import Row
from tests.bench.serving import SERVICE_APPS, SERVICE_LATENCY, SERVICE_SUBSCRIPTIONS, served

WIDTH, RUNS = 8, 3


def many_services() -> list[Row]:
    """Wall time (the best of some runs), compared with the requests themselves, sent `WIDTH` at a time."""
    with served("services") as world, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(world.config), encoding="utf-8")
        environ = {**os.environ, **world.environment}
        seconds, again, requests = asyncio.run(
            _measure(load_settings(file, {}, environ, needs_clusters=False), environ)
        )
    path = requests / WIDTH * SERVICE_LATENCY
    claim = f"wall time of reading {SERVICE_APPS} Container Apps in {SERVICE_SUBSCRIPTIONS} subscriptions, "
    claim += f"{SERVICE_LATENCY * 1000:.0f} ms away"
    yardsticks = {
        f"its {requests} requests, {WIDTH} at a time, without any work: {path:.1f} s": path,
        f"the same requests, sent again {WIDTH} at a time: {again:.1f} s": again,
    }
    return [
        Row(claim, f"{seconds:.1f} s", yardstick, f"{seconds / base:.2f} ×", "< 1.3 ×", seconds < 1.3 * base)
        for yardstick, base in yardsticks.items()
    ]


async def _measure(settings: Settings, environ: dict[str, str]) -> tuple[float, float, int]:
    """Return the seconds of a reading and of its requests sent again, and the number of requests."""

    async def no_token(_: str) -> str:
        raise AssertionError

    async with open_azure(settings.cloud, settings.login, environ, id_tokens=no_token, mask=lambda _: None) as azure:
        # The imports and the login are not measured.
        await _read(settings, azure, frozenset({"batch"}))
        runs = [await _read(settings, azure, frozenset({"auto"})) for _ in range(RUNS)]
        seconds, requests = min(runs, key=lambda run: run[0])
        return seconds, min([await _send_again(azure, requests) for _ in range(RUNS)]), len(requests)


async def _send_again(azure: Azure, requests: Sequence[HttpRequest]) -> float:
    async with resource_manager.open_manager(azure) as manager:
        client = await manager.client(SUBSCRIPTION)
        started = time.perf_counter()
        await gather([partial(resource_manager._answer, client, request) for request in requests], limit=WIDTH)
        return time.perf_counter() - started


async def _read(settings: Settings, azure: Azure, groups: frozenset[str]) -> tuple[float, list[HttpRequest]]:
    requests, answer = list[HttpRequest](), resource_manager._answer

    async def counted(client: Any, request: HttpRequest) -> Any:
        requests.append(copy(request))
        return await answer(client, request)

    search = ServiceSearch(
        settings.registry_place,
        subscriptions=tuple(f"{number}{SUBSCRIPTION[1:]}" for number in range(SERVICE_SUBSCRIPTIONS)),
        read_text=ServiceTexts(Names.of(settings.registry, ["shop/app"])).read,
        groups=groups,
        concurrency=WIDTH,
    )
    with patch.object(resource_manager, "_answer", counted):
        started = time.perf_counter()
        scans, _ = await read_services(search, azure)
        seconds = time.perf_counter() - started
    assert groups == {"batch"} or sum(len(scan.uses) for scan in scans) == 2 * SERVICE_APPS
    return seconds, requests
