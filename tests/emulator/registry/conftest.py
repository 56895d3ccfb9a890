"""Fixtures: a world whose clock is fixed, and a client of its registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from acr_cleanup.emulator import World
from tests.helpers.emulator_clients import RegistryClient, registry_client


@pytest.fixture
def world() -> World:
    """Return a world whose clock does not move."""
    world = World()
    world.clock = lambda: datetime(2026, 5, 11, 21, 17, 46, 36567, tzinfo=UTC)
    return world


@pytest.fixture
async def registry(world: World) -> AsyncIterator[RegistryClient]:
    """Yield a client with a token for all scopes."""
    async with registry_client(world) as client:
        yield client
