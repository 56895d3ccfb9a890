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
    What happens to the requests that it matches, instead of (or around) the real handler.

    A request matches by `service` ("acr", "entra", "oidc", "arm", "kubernetes/<cluster>"), `method`, a regex found in
    the decoded `path` and one found in the raw `query`; None matches everything. The first `after` matches are let
    through, then `times` of them are hit (None: all further ones). Of several faults that match, the first that is
    not exhausted is taken; one that only delays or hooks lets the next one be looked for as well.

    Kinds, in the order in which they are tried: `before` (awaited, then the request goes on), `latency` seconds,
    `reset` (the connection is cut), `hang` seconds and then cut, `status` (with `headers` and `body`); around the
    real answer: `truncate` (that share of the body is sent, then the connection is cut), `malformed` (the body is no
    JSON any more), and `behind` (awaited when the real handler is through, before its answer is sent).
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
    behind: Hook | None = None
    # How many requests matched so far, the ones let through included.
    seen: int = 0
    # How many requests were hit.
    hits: int = 0

    def matches(self, service: str, request: web.Request) -> bool:
        """Whether the request is one of those meant; counts nothing."""
        return (
            (self.service is None or self.service == service)
            and (self.method is None or self.method == request.method)
            and (self.path is None or re.search(self.path, request.path) is not None)
            and (self.query is None or re.search(self.query, request.rel_url.raw_query_string) is not None)
        )

    def take(self) -> bool:
        """Counts one match; says whether it is to be hit."""
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    @property
    def passes(self) -> bool:
        """Whether the request still reaches its handler unharmed."""
        return not (self.reset or self.hang or self.status or self.malformed or self.truncate is not None)


@dataclass(slots=True)
class Budget:
    """`limit` requests of one category per window of `seconds`; the window opens with the first request."""

    limit: int
    seconds: float = 60.0
    opened: float = float("-inf")
    used: int = 0

    def spend(self, now: float) -> float | None:
        """Takes one request; returns None, or the seconds until the window ends when nothing is left."""
        if now >= self.opened + self.seconds:
            self.opened, self.used = now, 0
        if self.used >= self.limit:
            return self.opened + self.seconds - now
        self.used += 1
        return None


def category_of(method: str, path: str) -> str:
    """
    The rate category in which the registry counts a request.

    https://learn.microsoft.com/azure/container-registry/container-registry-skus
    """
    if path.startswith("/oauth2/"):
        return "OAuth"
    if method == "DELETE":
        return "DataplaneDelete"
    if method in {"PUT", "PATCH", "POST"}:
        return "DataplaneWrite"
    return "ListReferrers" if "/referrers/" in path else "DataplaneRead"
