"""The connection to an API server that may be unreachable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acr_cleanup.access.read_failure import Unreachable
from acr_cleanup.clusters.api_server.client import Ask, HttpAnswer


class Connection:
    """
    An `Ask` that fails at once after its first request had no response, until any request has one.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._answered = False
        self.dead: Unreachable | None = None
        """Why the server is given up: no request has had a response."""

    async def __call__(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> HttpAnswer:
        if self.dead is not None:
            raise self.dead
        try:
            answer = await self._ask(method, path, body, accept=accept)
        except Unreachable as unreachable:
            if not self._answered:
                self.dead = unreachable
            raise
        self._answered, self.dead = True, None
        return answer
