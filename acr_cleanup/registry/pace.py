"""
How fast the registry may be asked: a budget per kind of call, one pause for everybody, and every retry.

Retrying happens here and nowhere else (the SDK's own is off), because only whoever repeats a DELETE can know that the first
one may have been carried out before its answer was lost.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite

import aiohttp
from azure.core.exceptions import IncompleteReadError, ServiceRequestError, ServiceResponseError

MOST_DELETES_AT_ONCE = 32
"""What the registry's makers allow their own tool: https://github.com/Azure/acr-cli (`acr purge --concurrency`)."""

TRIES = 5
PATIENCE = 240.0
"""Seconds that one request, or one category in which nothing else is answered, may spend waiting on 429: four of the
registry's windows, which are a minute long."""

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 20.0

NO_ANSWER = (ServiceRequestError, ServiceResponseError, IncompleteReadError, aiohttp.ClientError, OSError)
"""A request that ended without a whole answer. (TimeoutError is an OSError.)"""

REPEATED_STATUSES = frozenset({408, 500, 502, 503, 504})
TOO_MANY_REQUESTS = 429

_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)


class Category(StrEnum):
    """The registry counts these separately. https://learn.microsoft.com/azure/container-registry/container-registry-skus"""

    READ = "read"
    DELETE = "delete"
    WRITE = "write"
    TOKEN = "token"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Reply:
    """
    One answer, whole.

    `uncertain`: an earlier try of the same request was cut off, or failed on the server's side, and may have been carried out.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    uncertain: bool = False


class Pace:
    """
    Lets requests through, category by category, and repeats what is worth repeating.

    `concurrency`: requests in flight, of all categories together; so many connections are needed. `tries`: attempts at one
    request, not counting those that met 429. `patience`: seconds that one request may wait on 429. `clock` must never go back.
    """

    def __init__(
        self,
        concurrency: int = 8,
        *,
        tries: int = TRIES,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._slots = {
            Category.READ: asyncio.Semaphore(concurrency),
            Category.DELETE: asyncio.Semaphore(min(concurrency, MOST_DELETES_AT_ONCE)),
            Category.WRITE: asyncio.Semaphore(concurrency),
            Category.TOKEN: asyncio.Semaphore(concurrency),
        }
        self._in_flight = asyncio.Semaphore(concurrency)
        self._tries = tries
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._resume_at = float("-inf")
        # Since when a category has met 429 and nothing else.
        self._starving: dict[Category, float] = {}

    async def run(self, category: Category, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """
        Send until there is an answer that repeating would not change, and return that: an error status may be among them.

        Raises what `send` raised last (one of `NO_ANSWER`) when no try was answered, and anything else it raises at once.
        """
        async with self._slots[category]:
            tries, pauses, uncertain = 0, 0, False
            first_pause: float | None = None
            while True:
                try:
                    reply = await self._send(category, send)
                except NO_ANSWER as error:
                    tries += 1
                    cause = cause_of(error)
                    if tries >= min(self._tries, _tries_worth(cause)):
                        raise
                    uncertain = uncertain or not isinstance(cause, _NEVER_SENT)
                    await self._sleep(self._backoff(tries))
                    continue
                if reply.status == TOO_MANY_REQUESTS:
                    now = self._clock()
                    first_pause = now if first_pause is None else first_pause
                    pause = retry_after(reply.headers) or self._backoff(pauses + 1)
                    # Five hundred requests must not, one after the other, wait for a registry that answers none of them.
                    if now + pause - min(first_pause, self._hungry_since(category, now)) > self._patience:
                        return reply
                    # The budget is the registry's, not this request's: whoever asks meanwhile only makes it worse.
                    self._resume_at = max(self._resume_at, now + pause)
                    pauses += 1
                    continue
                self._starving.pop(category, None)
                if reply.status not in REPEATED_STATUSES:
                    return replace(reply, uncertain=True) if uncertain else reply
                tries += 1
                uncertain = True
                delay = max(retry_after(reply.headers) or 0.0, self._backoff(tries))
                if tries >= self._tries or delay > self._patience:
                    return replace(reply, uncertain=True)
                await self._sleep(delay)

    async def _send(self, category: Category, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """One try, in its turn. Turns are taken in the order of asking, so that deletions do not keep a list waiting for long."""
        while True:
            await self._until_resumed()
            if category is Category.TOKEN:
                # Asked for by a request that has the turn, and does not use it meanwhile: to wait for another would be to wait
                # for one another.
                return await send()
            async with self._in_flight:
                # A pause may have begun while this one was waiting.
                if self._resume_at <= self._clock():
                    return await send()

    def _hungry_since(self, category: Category, now: float) -> float:
        since = self._starving.setdefault(category, now)
        if now - max(since, self._resume_at) > self._patience:
            # Nobody has asked for long: that hunger is over.
            since = self._starving[category] = now
        return since

    async def _until_resumed(self) -> None:
        while (left := self._resume_at - self._clock()) > 0:
            await self._sleep(left)

    def _backoff(self, tries: int) -> float:
        # Half of it random, so that many who failed together do not come back together.
        longest = min(FIRST_BACKOFF * 2.0 ** (tries - 1), LONGEST_BACKOFF)
        return longest * (0.5 + 0.5 * self._jitter())


def cause_of(error: BaseException) -> BaseException:
    """The network's own error beneath the SDK's, which tells more."""
    return getattr(error, "inner_exception", None) or error


def _tries_worth(cause: BaseException) -> int:
    """How many tries a request deserves that ended like this; somebody may be waiting to hear of a mistyped name."""
    match cause:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | aiohttp.InvalidURL():
            return 1
        case aiohttp.ClientHttpProxyError(status=status) if 400 <= status < 500:
            return 1
        case aiohttp.ClientConnectorDNSError(os_error=error) if error.errno == socket.EAI_NONAME:
            return 2
        case aiohttp.ConnectionTimeoutError():
            return TRIES
        case TimeoutError():
            # Each has cost the whole time limit already.
            return 3
    return TRIES


def retry_after(headers: Mapping[str, str]) -> float | None:
    """
    Seconds that an answer asks us to wait, None if it does not say (or says nonsense).

    >>> retry_after({"Retry-After": "17"})
    17.0
    >>> retry_after({"Retry-After": "soon"}) is None
    True
    """
    for name, unit in (("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001), ("Retry-After", 1.0)):
        text = headers.get(name)
        if not text:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            seconds = _until(text) if unit == 1.0 else float("nan")
        if isfinite(seconds):
            return max(seconds, 0.0)
    return None


def _until(text: str) -> float:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    except (ValueError, OverflowError):
        return float("nan")
