"""What goes wrong on purpose, how fast the registry may be asked, and the log of every request."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.tokens import read_claims
from acr_cleanup.emulator.world import RequestRecord, World

Hook = Callable[[web.Request], Awaitable[None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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


def identity_of(request: web.Request) -> str | None:
    """Who the request says it is: the client of its bearer token, or the name in its client certificate."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        claims = read_claims(token) or {}
        name = claims.get("appid") or claims.get("sub")
        return str(name) if name else None
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return None


def middleware(world: World, service: str) -> Any:
    """The one middleware of every service: latency, faults, and a `RequestRecord` for each request."""

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        arrived = time.time()
        status = 0
        try:
            if world.latency:
                await asyncio.sleep(world.latency)
            response = await _answer(world, service, request, handler)
            status = 0 if isinstance(response, _Cut) else response.status
        except web.HTTPException as error:
            status = error.status
            raise
        else:
            return response
        finally:
            raw = request.rel_url.raw_query_string
            world.requests.append(
                RequestRecord(service, request.method, request.path, raw, status, identity_of(request), arrived)
            )

    return handle


class _Cut(web.Response):
    """Stands for an answer that never arrives: by now the connection is gone."""


def _cut(request: web.Request) -> _Cut:
    if request.transport is not None:
        request.transport.abort()
    return _Cut()


async def _answer(world: World, service: str, request: web.Request, handler: Handler) -> web.StreamResponse:
    behind: list[Hook] = []
    hit = await _first_that_harms(world, service, request, behind)
    if hit is not None and (hit.reset or hit.hang):
        await _wait_while_connected(request, hit.hang)
        return _cut(request)
    if hit is not None and hit.status is not None:
        return _made_up(hit)
    refused = _refused(world, request) if service == "acr" and world.budgets else None
    response = refused or await handler(request)
    for hook in behind:
        await hook(request)
    if hit is None or not isinstance(response, web.Response):
        return response
    return await _spoilt(request, response, hit)


async def _first_that_harms(world: World, service: str, request: web.Request, behind: list[Hook]) -> Fault | None:
    """Lets every matching fault delay and hook, up to the first that does not let the request through."""
    for fault in list(world.faults):
        if not fault.matches(service, request) or not fault.take():
            continue
        if fault.before is not None:
            await fault.before(request)
        if fault.behind is not None:
            behind.append(fault.behind)
        if fault.latency:
            await asyncio.sleep(fault.latency)
        if not fault.passes:
            return fault
    return None


async def _wait_while_connected(request: web.Request, seconds: float) -> None:
    ends = time.monotonic() + seconds
    # A hanging request must not keep the server from ending when its client has long gone.
    while time.monotonic() < ends and request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def _made_up(fault: Fault) -> web.Response:
    body = json.dumps(fault.body) if isinstance(fault.body, dict) else fault.body
    data = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": "application/json; charset=utf-8", **fault.headers}
    return web.Response(status=fault.status or 500, headers=headers, body=data)


async def _spoilt(request: web.Request, response: web.Response, fault: Fault) -> web.StreamResponse:
    whole = response.body if isinstance(response.body, bytes) else b""
    if fault.malformed:
        response.body = whole[: len(whole) // 2] + b"\x00<html>"
        return response
    # The headers promise the whole body, so that a client can tell that something is missing.
    part = web.StreamResponse(status=response.status, headers=response.headers)
    part.content_length = len(whole)
    await part.prepare(request)
    await part.write(whole[: int(len(whole) * (fault.truncate or 0.0))])
    if request.transport is not None:
        request.transport.close()
    return part


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


def _refused(world: World, request: web.Request) -> web.Response | None:
    """The 429 of the registry when the budget of the request's category is used up; Retry-After counts down."""
    category = category_of(request.method, request.path)
    # Listing referrers is counted as reading too.
    for name in (category, "DataplaneRead") if category == "ListReferrers" else (category,):
        budget = world.budgets.get(name)
        left = budget.spend(time.monotonic()) if budget is not None else None
        if left is not None:
            error = {"code": "TOOMANYREQUESTS", "message": "too many requests", "detail": {"category": name}}
            return web.json_response(
                {"errors": [error]}, status=429, headers={"Retry-After": str(max(1, math.ceil(left)))}
            )
    return None
