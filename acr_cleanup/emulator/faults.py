"""Values that make a world fail on purpose: faults, and the rate limits of the registry."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Hook = Callable[[web.Request], Awaitable[None]]


@dataclass(slots=True)
class Fault:
    """
    A failure of the requests that it matches.

    A request matches by `service` ("acr", "entra", "oidc", "arm", "logs", "kubernetes/<cluster>"),
    `method`, a regex in the decoded `path` and a regex in the raw `query`. None matches every
    request. The first `after` matches are not hit; the next `times` are (None: all further
    matches). If several faults match, the first that is not exhausted hits the request. A fault
    that only delays or calls a hook does not end the search.

    Effects, in this order:
    `before`: a hook, awaited before the handler.
    `latency`: a delay in seconds.
    `reset`: the connection is cut.
    `hang`: no answer for this many seconds; then the connection is cut.
    `status`: this answer in place of the handler's, with `headers` and `body`.
    `after_handler`: a hook, awaited after the handler and before its answer is sent.
    `truncate`: this share of the body is sent; then the connection is cut.
    `malformed`: the body is not JSON.
    """

    service: str | None = None
    method: str | None = None
    path: str | None = None
    query: str | None = None
    times: int | None = None
    after: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | dict[str, Any] = b""
    reset: bool = False
    hang: float = 0.0
    latency: float = 0.0
    truncate: float | None = None
    malformed: bool = False
    before: Hook | None = None
    after_handler: Hook | None = None
    # The number of requests that matched so far, hit or not.
    matched: int = 0
    # The number of requests that were hit.
    hits: int = 0

    def matches(self, service: str, request: web.Request) -> bool:
        """Return whether the fault applies to a request, without counting it."""
        return (
            (self.service is None or self.service == service)
            and (self.method is None or self.method == request.method)
            and (self.path is None or re.search(self.path, request.path) is not None)
            and (self.query is None or re.search(self.query, request.rel_url.raw_query_string) is not None)
        )

    def take(self) -> bool:
        """Count one match; return whether the fault hits it."""
        self.matched += 1
        if self.matched <= self.after or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    @property
    def passes(self) -> bool:
        """Whether the request gets the handler's answer without change."""
        return not (self.reset or self.hang or self.status or self.malformed or self.truncate is not None)


@dataclass(slots=True)
class Budget:
    """
    A rate limit: `limit` requests of one category per window of `seconds`.

    A window opens with its first request.
    """

    limit: int
    seconds: float = 60.0
    opened: float = float("-inf")
    used: int = 0

    def spend(self, now: float) -> float | None:
        """
        Count one request; return None, or the seconds until the window ends if the limit is
        reached.
        """
        if now >= self.opened + self.seconds:
            self.opened, self.used = now, 0
        if self.used >= self.limit:
            return self.opened + self.seconds - now
        self.used += 1
        return None


def category_of(method: str, path: str) -> str:
    """
    Return the rate category of a request to the registry.

    https://learn.microsoft.com/azure/container-registry/container-registry-skus
    """
    if path.startswith("/oauth2/"):
        return "OAuth"
    if method == "DELETE":
        return "DataplaneDelete"
    if method in {"PUT", "PATCH", "POST"}:
        return "DataplaneWrite"
    return "ListReferrers" if "/referrers/" in path else "DataplaneRead"
