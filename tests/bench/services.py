"""Benchmark of reading services: 500 Container Apps in five subscriptions, 30 ms away."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from acr_cleanup.access import resource_manager
from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.images.names import Names
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
        seconds, requests = asyncio.run(_measure(load_settings(file, {}, environ, needs_clusters=False), environ))
    path = requests / WIDTH * SERVICE_LATENCY
    return [
        Row(
            f"wall time of reading {SERVICE_APPS} Container Apps in {SERVICE_SUBSCRIPTIONS} subscriptions, "
            f"{SERVICE_LATENCY * 1000:.0f} ms away",
            f"{seconds:.1f} s",
            f"its {requests} requests, {WIDTH} at a time: {path:.1f} s",
            f"{seconds / path:.2f} ×",
            "< 1.3 ×",
            seconds < 1.3 * path,
        )
    ]


async def _measure(settings: Settings, environ: dict[str, str]) -> tuple[float, int]:
    async def no_token(_: str) -> str:
        raise AssertionError

    async with open_azure(settings.cloud, settings.login, environ, id_tokens=no_token, mask=lambda _: None) as azure:
        # The imports and the login are not measured.
        await _read(settings, azure, frozenset({"batch"}))
        return min([await _read(settings, azure, frozenset({"auto"})) for _ in range(RUNS)])


async def _read(settings: Settings, azure: Azure, groups: frozenset[str]) -> tuple[float, int]:
    requests, answer = 0, resource_manager._answer

    async def counted(*arguments: Any) -> Any:
        nonlocal requests
        requests += 1
        return await answer(*arguments)

    search = ServiceSearch(
        settings.registry,
        subscriptions=tuple(f"{number}{SUBSCRIPTION[1:]}" for number in range(SERVICE_SUBSCRIPTIONS)),
        read_text=ServiceTexts(Names.of(settings.registry, ["shop/app"])).read,
        registry_subscription=settings.registry_subscription_id,
        registry_group=settings.registry_resource_group,
        groups=groups,
        concurrency=WIDTH,
    )
    with patch.object(resource_manager, "_answer", counted):
        started = time.perf_counter()
        scans, _ = await read_services(search, azure)
        seconds = time.perf_counter() - started
    assert groups == {"batch"} or sum(len(scan.uses) for scan in scans) == 2 * SERVICE_APPS
    return seconds, requests
