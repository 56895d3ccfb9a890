"""Clocks that follow the virtual time of a loop, for tests in which tokens and budgets expire."""

from __future__ import annotations

import asyncio
import time

import pytest

from acr_cleanup.access.credentials import SingleFlightCredential
from acr_cleanup.registry.tokens import RegistryTokens


def use_virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let `time.time` and `time.monotonic` advance with the running loop.

    The tool compares a token's expiry with the wall clock. Without this, tokens would never expire
    in a `VirtualTimeLoop`.
    """
    # A whole second: the emulator's tokens expire at whole seconds, so a fraction would shorten them.
    start = int(time.time())

    def seconds() -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0

    def now() -> float:
        return start + seconds()

    monkeypatch.setattr(time, "time", now)
    monkeypatch.setattr(time, "monotonic", seconds)
    # The defaults were evaluated at import, so they still refer to the real clock.
    positional = SingleFlightCredential.__init__.__defaults__
    keywords = RegistryTokens.__init__.__kwdefaults__
    assert positional is not None
    assert keywords is not None
    assert positional[0] is keywords["clock"]
    monkeypatch.setattr(SingleFlightCredential.__init__, "__defaults__", (now, *positional[1:]))
    monkeypatch.setitem(keywords, "clock", now)
