"""
An honest in-process Azure: one container registry with its token service, Entra ID, ARM and any number of AKS clusters.

Everything is served over real HTTPS on loopback, under a certificate authority of its own, from one in-memory
`World`. The demo and the tests run on it through the real SDKs; nothing else in the product knows that it exists.
"""

from acr_cleanup.emulator.server import Emulator
from acr_cleanup.emulator.world import World

__all__ = ["Emulator", "World"]
