"""
An in-process Azure: a container registry with its token service, Entra ID, ARM and AKS clusters.

All services answer over real HTTPS on loopback, with certificates of a new authority. Their state
is one in-memory `World`. The demo and the tests run on it through the real SDKs. No other part of
the product imports it.
"""

from acr_cleanup.emulator.server import Emulator
from acr_cleanup.emulator.world import World

__all__ = ["Emulator", "World"]
