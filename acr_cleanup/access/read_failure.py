"""
The exception for a cluster, or one kind of object in it, that could not be read. It becomes a
blocker.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from acr_cleanup.core.usage import Blocker
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted

logger = logging.getLogger(__name__)
T = TypeVar("T")


class ReadFailure(Exception):
    """
    A cluster, or one kind of object in it, could not be read.

    call: what was attempted.
    seen: what happened instead, as a sentence.
    remedy: what the user can do, as sentences.
    kind: the kind of object (as in `Blocker.kind`) if exactly one kind could not be read.
    """

    def __init__(self, call: str, seen: str, remedy: str, *, kind: str = "") -> None:
        super().__init__(f"{call}: {seen}")
        self.call = call
        self.seen = seen
        self.remedy = remedy
        self.kind = kind

    def blocker(self, cluster: str) -> Blocker:
        return Blocker(cluster, self.call, self.seen, self.remedy, self.kind)


class Unreachable(ReadFailure):
    """
    The API server did not answer at all, so another way to it (a run command) may still work.

    timed_out: it accepted the request, and did not answer in time.
    """

    def __init__(self, call: str, seen: str, remedy: str, *, timed_out: bool = False) -> None:
        super().__init__(call, seen, remedy)
        self.timed_out = timed_out


def unexpected(call: str, error: Exception) -> ReadFailure:
    """Describe an exception that no handler expects."""
    return ReadFailure(
        call,
        f"an unexpected error: {type(error).__name__}: {quoted(error)}.",
        "Run with `--log-level debug`, and report it if the details do not explain it.",
    )


async def attempt(call: str, read: Callable[[], Awaitable[T]]) -> tuple[T | None, ReadFailure | None]:
    """Await `read()`; return its result, or why it failed: what else there is, is read. Raises only `IdentityError`."""
    try:
        return await read(), None
    except IdentityError:
        raise
    except ReadFailure as failure:
        return None, failure
    except Exception as error:  # any failure is told as one
        logger.debug("%s failed", call, exc_info=True)
        return None, unexpected(call, error)


def or_waive(remedy: str, cluster: str, kind: str) -> str:
    """Add the other remedy: to waive this kind of object in this cluster."""
    return f'{remedy} Or do not protect images that only they use: waive: "{cluster}: {kind}".'
