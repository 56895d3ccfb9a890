"""
An honest in-process Azure: one container registry with its token service, Entra ID, ARM and any number of AKS clusters.

Everything is served over real HTTPS on loopback, under a certificate authority of its own, from one in-memory
`World`. The demo and the tests run on it through the real SDKs; nothing else in the product knows that it exists.
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
    # Imported on demand: the stand-in for kubectl lives in this package and must start without a web server.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
