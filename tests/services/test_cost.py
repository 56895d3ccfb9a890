"""Reading services costs their requests, side by side: measured in virtual time, 30 ms away."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from acr_cleanup.commands.connections import configured_clusters
from acr_cleanup.emulator import World
from acr_cleanup.emulator.services import SUBSCRIPTION
from acr_cleanup.settings.load import load_settings
from acr_cleanup.stages.connect import open_azure
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.service_worlds import IMAGE

APPS, SUBSCRIPTIONS, LATENCY, WIDTH = 500, 5, 0.03, 8


def test_500_apps_take_little_more_than_their_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_in_memory(monkeypatch)
    world = World(face="proxy")
    ids = [f"{number}{SUBSCRIPTION[1:]}" for number in range(SUBSCRIPTIONS)]
    for number in range(APPS):
        world.services.container_app(f"app-{number}", f"{IMAGE}/app:{number}", subscription=ids[number % SUBSCRIPTIONS])
    world.latency = LATENCY

    async def read() -> float:
        async with serve_in_memory(world, tmp_path) as tool:
            options = {"subscriptions": ",".join(ids), "concurrency": str(WIDTH)}
            config = tool.folder / "config.json"
            config.write_text(json.dumps(tool.emulator.config()), encoding="utf-8")
            settings = load_settings(config, options, os.environ, needs_clusters=False)

            async def no_token(_: str) -> str:
                raise AssertionError

            async with open_azure(
                settings.cloud, settings.login, os.environ, id_tokens=no_token, mask=lambda _: None
            ) as azure:
                started = asyncio.get_running_loop().time()
                scans, _ = await configured_clusters(azure, settings).read_services(["shop/app"], planned=False)
                assert sum(len(scan.uses) for scan in scans) == 2 * APPS
                return asyncio.get_running_loop().time() - started

    seconds = run_in_virtual_time(read)
    requests = world.count(service="arm")
    assert seconds < 1.3 * requests / WIDTH * LATENCY, (seconds, requests)
    lists = [record.path for record in world.requests if "/resourceGroups/" not in record.path]
    assert len(lists) == len(set(lists)), "each type is listed once per subscription"
