"""The usage index during an apply: read again before it is too old to delete on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from acr_cleanup.core.usage import Blocker, UsageIndex

USAGE_STAYS_FRESH = 300.0
"""
Seconds. In a long apply, the clusters are read again this often: new workloads may have been
deployed.
"""


class UsageBlockedError(Exception):
    """The clusters can no longer be read completely."""

    def __init__(self, blockers: tuple[Blocker, ...]) -> None:
        super().__init__("usage is blocked")
        self.blockers = blockers


@dataclass
class FreshUsage:
    """A usage index that is read again when it is too old. Concurrent callers share one reading."""

    read: Callable[[], Awaitable[UsageIndex]]
    _index: UsageIndex | None = None
    _read_at: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> UsageIndex:
        """
        Return an index younger than `USAGE_STAYS_FRESH`. Raises `UsageBlockedError` if it has
        blockers.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._index is None or now - self._read_at > USAGE_STAYS_FRESH:
                # Dated before the reading: a workload deployed during it may have been missed.
                self._index, self._read_at = await self.read(), now
            if self._index.blockers:
                raise UsageBlockedError(self._index.blockers)
            return self._index
