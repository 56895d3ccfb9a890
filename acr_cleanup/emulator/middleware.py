"""The middleware of every emulated service: latency, faults, rate limits and the log of requests."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.faults import Fault, Hook, category_of
from acr_cleanup.emulator.requests import RequestRecord
from acr_cleanup.emulator.tokens import read_claims
from acr_cleanup.emulator.world import World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
