"""The data plane and the token service of one Azure container registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from acr_cleanup.emulator.world import World

if TYPE_CHECKING:
    from acr_cleanup.emulator.server import Emulator


def acr_app(world: World, emulator: Emulator) -> web.Application:
    """The registry of the world."""
    del world, emulator
    return web.Application()
