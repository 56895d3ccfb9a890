"""
An in-process Azure: a container registry with its token service, Entra ID, ARM and AKS clusters.

All services answer over real HTTPS on loopback, with certificates of a new authority. Their state
is one in-memory `World`. The demo and the tests run on it through the real SDKs. No other part of
the product imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acr_cleanup.emulator.server import Emulator
    from acr_cleanup.emulator.world import World

__all__ = ["Emulator", "World"]

_HOMES = {"Emulator": "acr_cleanup.emulator.server", "World": "acr_cleanup.emulator.world"}


def __getattr__(name: str) -> Any:
    # Imported on demand: the stand-in for kubectl is in this package, and must start without
    # importing a web server.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
