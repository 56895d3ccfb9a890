"""The caller's HTTP transport with limits: time, size, and no silent repetition of deletions."""

from __future__ import annotations

import asyncio
from typing import Any, Self, TypeAlias

import aiohttp
from azure.core.exceptions import ServiceResponseTimeoutError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

CONNECT_WITHIN, READ_WITHIN, ANSWER_WITHIN = 10.0, 20.0, 60.0
"""
Seconds: to connect; between two parts of a response; until the headers arrive, through any proxies.
"""

Transport: TypeAlias = AsyncHttpTransport[HttpRequest, AsyncHttpResponse]


class SharedTransport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """
    The caller's transport with time limits.

    Several pipelines share it; none of them may close it.
    """

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
        """Do nothing: the owner closes it."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: the owner closes it."""


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """
    Keep aiohttp from silently repeating a DELETE whose connection was lost.

    The repeated request would get a 404 although the first one deleted the manifest. A connection
    that was never made may be repeated: no request was sent.
    """
    try:
        return await send(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error) or type(error).__name__) from error


async def read_bounded(response: AsyncHttpResponse, largest: int) -> bytes:
    """
    Read the body of a streamed response.

    Raises `TooLargeError` if it has more than `largest` bytes.
    """
    length = response.headers.get("Content-Length", "")
    if length == "0":
        # Nothing is left to read, as after most deletions.
        return b""
    # Content-Length counts compressed bytes: a kilobyte may unpack to a megabyte.
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
    """A response larger than allowed."""
