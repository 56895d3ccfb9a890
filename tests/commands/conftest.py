"""Fixtures of the commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.emulator.kubernetes.run_command import run_command
from tests.helpers.in_memory_world import serving
from tests.helpers.stage import OLD, Stage, shorten_pauses, staged, staged_over_tls
from tests.helpers.tool_runs import Tool


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Serve `shop/web`: 1.0 and 1.1 are old and unused, 2.0 runs. Retries do not wait."""
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
async def stage_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """The same on sockets, for commands that run in another thread or load certificates."""
    shorten_pauses(monkeypatch)
    async with staged_over_tls(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
async def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """Serve two clusters that use one old tag each, 2.0 and 2.1; the old tag 1.0 is unused."""
    world = World(face="proxy", run_command=run_command)
    for tag in ("1.0", "2.0", "2.1"):
        world.registry.push("shop/web", tag, age=OLD)
    for key, tag in (("production", "2.0"), ("test", "2.1")):
        cluster = ClusterState(f"aks-{key}")
        cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", tag)]))
        world.clusters[key] = cluster
    async with serving(world, tmp_path, monkeypatch) as served:
        yield served
