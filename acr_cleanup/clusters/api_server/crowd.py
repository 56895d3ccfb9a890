"""How many requests to one API server are in flight: fewer after it said that it is busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_RECOVERY = 20
"""Answers in a row that are not 429, after which one more request may be in flight."""


class Crowd:
    """
    A limit of requests in flight. It is halved by each 429, and recovers slowly.

    Requests that all wait the same time come back together, and are refused together.
    """

    def __init__(self, limit: int = 32) -> None:
        self.limit = self._most = limit
        self._running = 0
        self._answers = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it for one request."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < self.limit)
            self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            async with self._changed:
                self._changed.notify_all()

    def note(self, *, busy: bool) -> None:
        """Count an answer. busy: it was 429."""
        if busy:
            self.limit = max(1, min(self.limit, self._running) // 2)
            self._answers = 0
        elif self.limit < self._most:
            self._answers += 1
            if self._answers % _RECOVERY == 0:
                self.limit += 1
