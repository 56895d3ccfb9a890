"""The middleware of all emulated services: latency, faults, rate limits and the request log."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.faults import Fault, Hook, category_of
from acr_cleanup.emulator.requests import RequestRecord
from acr_cleanup.emulator.tokens import read_claims
from acr_cleanup.emulator.world import World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def identity_of(request: web.Request) -> str | None:
    """
    Return the client of the bearer token, or the common name of the client certificate.

    The token is not verified. Returns None for an anonymous request.
    """
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
    """Return the middleware of one service, which also adds a `RequestRecord` for each request."""

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        arrived = time.time()
        status = 0
        try:
            if world.latency:
                await asyncio.sleep(world.latency)
            response = await _answer(world, service, request, handler)
            status = 0 if isinstance(response, _Cut) else response.status
            if not response.prepared:
                response.headers["Date"] = format_datetime(world.clock().astimezone(UTC), usegmt=True)
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
    """A placeholder for an answer that is not sent, because the connection has been cut."""


def _cut(request: web.Request) -> _Cut:
    if request.transport is not None:
        request.transport.abort()
    return _Cut()


async def _answer(world: World, service: str, request: web.Request, handler: Handler) -> web.StreamResponse:
    hooks: list[Hook] = []
    fault = await _find_fault(world, service, request, hooks)
    if fault is not None and (fault.reset or fault.hang):
        await _wait_while_connected(request, fault.hang)
        return _cut(request)
    if fault is not None and fault.status is not None:
        return _fault_response(fault)
    refusal = _rate_limit_refusal(world, request) if service == "acr" and world.budgets else None
    response = refusal or await handler(request)
    for hook in hooks:
        await hook(request)
    if fault is None or not isinstance(response, web.Response):
        return response
    return await _damage(request, response, fault)


async def _find_fault(world: World, service: str, request: web.Request, hooks: list[Hook]) -> Fault | None:
    """
    Return the first matching fault that changes the answer.

    Apply the delays and `before` hooks of the faults up to it, and collect their `after_handler`
    hooks in `hooks`.
    """
    for fault in list(world.faults):
        if not fault.matches(service, request) or not fault.take():
            continue
        if fault.before is not None:
            await fault.before(request)
        if fault.after_handler is not None:
            hooks.append(fault.after_handler)
        if fault.latency:
            await asyncio.sleep(fault.latency)
        if not fault.passes:
            return fault
    return None


async def _wait_while_connected(request: web.Request, seconds: float) -> None:
    ends = time.monotonic() + seconds
    # Return early if the client has disconnected: a hanging request must not delay the server's
    # end.
    while time.monotonic() < ends and request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def _fault_response(fault: Fault) -> web.Response:
    body = json.dumps(fault.body) if isinstance(fault.body, dict) else fault.body
    data = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": "application/json; charset=utf-8", **fault.headers}
    return web.Response(status=fault.status or 500, headers=headers, body=data)


async def _damage(request: web.Request, response: web.Response, fault: Fault) -> web.StreamResponse:
    whole = response.body if isinstance(response.body, bytes) else b""
    if fault.malformed:
        response.body = whole[: len(whole) // 2] + b"\x00<html>"
        return response
    # Content-Length is that of the whole body, so that a client notices the missing part.
    part = web.StreamResponse(status=response.status, headers=response.headers)
    part.content_length = len(whole)
    await part.prepare(request)
    await part.write(whole[: int(len(whole) * (fault.truncate or 0.0))])
    if request.transport is not None:
        request.transport.close()
    return part


def _rate_limit_refusal(world: World, request: web.Request) -> web.Response | None:
    """
    Return the registry's 429 if the budget of the request's category is used up, else None.

    Retry-After is the time until the window of the budget ends.
    """
    category = category_of(request.method, request.path)
    # A list of referrers also counts as a read.
    for name in (category, "DataplaneRead") if category == "ListReferrers" else (category,):
        budget = world.budgets.get(name)
        left = budget.spend(time.monotonic()) if budget is not None else None
        if left is not None:
            error = {"code": "TOOMANYREQUESTS", "message": "too many requests", "detail": {"category": name}}
            return web.json_response(
                {"errors": [error]}, status=429, headers={"Retry-After": str(max(1, math.ceil(left)))}
            )
    return None
