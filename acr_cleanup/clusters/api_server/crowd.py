"""
How many requests to an API server are in flight, and so how many connections it has.

Over HTTP/1.1, each request in flight has its own connection. A connection costs both sides a TLS
handshake, and takes 256 KiB here: the buffer of asyncio.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CONNECTIONS = 6
"""To one API server. More hardly shorten a scan."""
_AT_FIRST, _AT_MOST = 200, 260
"""
To all API servers of a run. They share the first number equally. The rest is for those that are slow to
answer.
"""
_RECOVERY = 20
"""Answers in a row that are not 429, after which one more request may be in flight."""
_STALLED, _BUSY = 0.1, 0.5
"""
Seconds without an answer, after which a server gets more connections; and the share of them that this
process may compute. If it computes longer, more connections would only keep it busier.
"""


class SharedConnections:
    """
    The connections to the API servers of a run.

    servers: how many are read at once.
    """

    def __init__(self, servers: int = 1) -> None:
        self.each = min(CONNECTIONS, max(1, _AT_FIRST // max(1, servers)))
        self._free = max(0, _AT_MOST - self.each * servers)

    def take(self, most: int) -> int:
        """Take up to `most` connections for a server that needs more than `each`. Returns how many."""
        taken = min(most, self._free)
        self._free -= taken
        return taken

    def give_back(self, taken: int) -> None:
        self._free += taken


class Crowd:
    """
    A limit of requests in flight. It is halved by each 429, and recovers slowly.

    Requests that all wait the same time come back together, and are refused together.

    shared: may allow fewer connections than `limit`.
    """

    def __init__(self, limit: int = CONNECTIONS, shared: SharedConnections | None = None) -> None:
        self.limit = self._most = limit
        self._shared = shared or SharedConnections()
        self._further = 0
        self._running = 0
        self._answers = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and occupy it during one request."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
            yield
        finally:
            # A request that was cancelled while it waited had no place.
            if not turn.cancelled():
                self._running -= 1
                self._answered = True
            self._admit()

    def note(self, *, busy: bool) -> None:
        """Count an answer. busy: it was 429."""
        if busy:
            self.limit = max(1, min(self.limit, self._running) // 2)
            self._answers = 0
        elif self.limit < self._most:
            self._answers += 1
            if self._answers % _RECOVERY == 0:
                self.limit += 1

    def close(self) -> None:
        """Leave its further connections to other servers."""
        if self._timer is not None:
            self._timer.cancel()
        self._shared.give_back(self._further)

    def _admit(self) -> None:
        connections = self._shared.each + self._further
        while self._waiting and self._running < min(self.limit, connections):
            turn = self._waiting.popleft()
            if not turn.done():
                self._running += 1
                turn.set_result(None)
        if self._waiting and self._timer is None and connections < self.limit:
            self._answered = False
            self._timer = asyncio.get_running_loop().call_later(_STALLED, self._look_for_answers, time.process_time())

    def _look_for_answers(self, cpu: float) -> None:
        self._timer = None
        if self._waiting and not self._answered and time.process_time() - cpu < _STALLED * _BUSY:
            # At most twice as many: each costs a handshake, and one more may be enough.
            connections = self._shared.each + self._further
            self._further += self._shared.take(max(0, min(connections, self.limit - connections)))
        self._admit()
