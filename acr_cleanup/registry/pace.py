"""
Limit and repeat the requests to the registry: slots and pauses per category, and every retry.

Requests are repeated only here (the SDK's own retries are off). Only the code that repeats a DELETE
can know that the first one may have been carried out before its answer was lost.
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
"""
The limit in Microsoft's own tool: https://github.com/Azure/acr-cli (`acr purge --concurrency`).
"""

TRIES = 5
PATIENCE = 240.0
"""
Seconds that one request may wait because of 429.

The limit also applies to a category in which every answer is 429. It is four of the registry's
rate limit windows, which are a minute long.
"""

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 20.0

NO_ANSWER = (ServiceRequestError, ServiceResponseError, IncompleteReadError, aiohttp.ClientError, OSError)
"""Errors of a request without a complete answer. (TimeoutError is an OSError.)"""

REPEATED_STATUSES = frozenset({408, 500, 502, 503, 504})
TOO_MANY_REQUESTS = 429

_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)


class Category(StrEnum):
    """
    The kinds of requests that the registry limits separately.

    https://learn.microsoft.com/azure/container-registry/container-registry-skus
    """

    READ = "read"
    DELETE = "delete"
    WRITE = "write"
    TOKEN = "token"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Reply:
    """
    One complete answer.

    `uncertain`: an earlier attempt was cut off or failed in the server, so it may have been carried
        out.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    uncertain: bool = False


class Pace:
    """
    Sends requests within the limits of each category and repeats those that may still succeed.

    - `concurrency`: requests in flight in all categories, and so connections.
    - `tries`: attempts of one request, not counting those answered with 429.
    - `patience`: seconds that one request may wait because of 429.
    - `clock`: seconds; must be monotonic.
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
        # A pause of the deletions must not delay the look that the next ones wait for.
        self._resume_at = dict.fromkeys(Category, float("-inf"))
        # When each category that gets only 429 got the first one.
        self._throttled_since: dict[Category, float] = {}

    async def run(self, category: Category, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """
        Send until an answer is final, and return it. Its status may be an error.

        If no attempt is answered, raises the last error of `send` (one of `NO_ANSWER`). Any other
        error of `send` is raised at once.
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
                    # Otherwise 500 requests would wait one after the other for a registry that
                    # answers none.
                    if now + pause - min(first_pause, self._first_throttled(category, now)) > self._patience:
                        return reply
                    # The rate limit is the category's, not this request's: any such request during
                    # the pause would prolong it.
                    self._resume_at[category] = max(self._resume_at[category], now + pause)
                    pauses += 1
                    continue
                self._throttled_since.pop(category, None)
                if reply.status not in REPEATED_STATUSES:
                    return replace(reply, uncertain=True) if uncertain else reply
                tries += 1
                uncertain = True
                delay = max(retry_after(reply.headers) or 0.0, self._backoff(tries))
                if tries >= self._tries or delay > self._patience:
                    return replace(reply, uncertain=True)
                await self._sleep(delay)

    async def _send(self, category: Category, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """
        Send once, in the order of the calls, so that many deletions do not delay a list for long.
        """
        while True:
            await self._until_resumed(category)
            if category is Category.TOKEN:
                # A request that holds a slot waits for this token. To wait for another slot here
                # would be a deadlock.
                return await send()
            async with self._in_flight:
                # A pause may have begun while this request waited for the slot.
                if self._resume_at[category] <= self._clock():
                    return await send()

    def _first_throttled(self, category: Category, now: float) -> float:
        since = self._throttled_since.setdefault(category, now)
        if now - max(since, self._resume_at[category]) > self._patience:
            # No request in this category for longer than `patience`: reset the 429 timer.
            since = self._throttled_since[category] = now
        return since

    async def _until_resumed(self, category: Category) -> None:
        while (left := self._resume_at[category] - self._clock()) > 0:
            await self._sleep(left)

    def _backoff(self, tries: int) -> float:
        # Half of it is random, so that requests that failed at the same time are not repeated at
        # the same time.
        longest = min(FIRST_BACKOFF * 2.0 ** (tries - 1), LONGEST_BACKOFF)
        return longest * (0.5 + 0.5 * self._jitter())


def cause_of(error: BaseException) -> BaseException:
    """The network error inside an SDK error, because its text is more precise."""
    return getattr(error, "inner_exception", None) or error


def _tries_worth(cause: BaseException) -> int:
    """
    How many attempts make sense after this error.

    Few for a mistyped name: the user waits for the message.
    """
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
            # Each attempt takes the whole time limit.
            return 3
    return TRIES


def retry_after(headers: Mapping[str, str]) -> float | None:
    """
    Seconds to wait before the next request; None if the answer has no valid Retry-After.

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
