"""The caller's HTTP transport, with our limits: on time, on size, and on what it may repeat by itself."""

from __future__ import annotations

import asyncio
from typing import Any, Self, TypeAlias

import aiohttp
from azure.core.exceptions import ServiceResponseTimeoutError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

CONNECT_WITHIN, READ_WITHIN, ANSWER_WITHIN = 10.0, 20.0, 60.0
"""Seconds: to connect; between two pieces of an answer; until its headers are there, proxies and all."""

Transport: TypeAlias = AsyncHttpTransport[HttpRequest, AsyncHttpResponse]


class SharedTransport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """The caller's transport with our time limits, for several pipelines none of which may close it."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def send(self, request: HttpRequest, **options: Any) -> AsyncHttpResponse:
        options.setdefault("connection_timeout", CONNECT_WITHIN)
        options.setdefault("read_timeout", READ_WITHIN)
        if request.method == "DELETE":
            options["middlewares"] = (_once,)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self._inner.send(request, **options)
        except TimeoutError as error:
            raise ServiceResponseTimeoutError("no answer within the time limit", error=error) from error

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        """Left to the owner."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Left to the owner."""


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """
    Keeps aiohttp from silently repeating a DELETE whose connection was lost.

    The repetition's 404 would say that somebody else had deleted what we did. A connection never made may pass: nothing was sent.
    """
    try:
        return await send(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error) or type(error).__name__) from error


async def read_bounded(response: AsyncHttpResponse, largest: int) -> bytes:
    """The body of a streamed response; raises `TooLargeError` if it has more than `largest` bytes."""
    length = response.headers.get("Content-Length", "")
    # What is packed is longer than it says: a kilobyte may be a megabyte.
    if response.headers.get("Content-Encoding") or not length.isdecimal():
        parts, size = [], 0
        async for part in response.iter_bytes():
            size += len(part)
            if size > largest:
                break
            parts.append(part)
        else:
            return b"".join(parts)
    elif int(length) <= largest:
        return await response.read()
    await response.close()
    raise TooLargeError


class TooLargeError(Exception):
    """An answer beyond what it may hold."""
