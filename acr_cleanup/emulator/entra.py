"""Entra ID's token endpoint, and the OIDC issuers of GitHub and Azure Pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from acr_cleanup.emulator.world import World

if TYPE_CHECKING:
    from acr_cleanup.emulator.server import Emulator


def entra_app(world: World, emulator: Emulator) -> web.Application:
    """Entra ID for the world's directory."""
    del world, emulator
    return web.Application()


def oidc_app(world: World, emulator: Emulator) -> web.Application:
    """The issuers of GitHub and Azure Pipelines."""
    del world, emulator
    return web.Application()
