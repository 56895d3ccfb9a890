"""What could not be read, in words: the exception that becomes a blocker."""

from __future__ import annotations

import msgspec

from acr_cleanup.core.usage import Blocker
from acr_cleanup.quoting import quoted


class ReadFailure(Exception):
    """A cluster, or one kind of object in it, could not be read: `call` was attempted, `seen` is what came back."""

    def __init__(self, call: str, seen: str, remedy: str, *, kind: str = "") -> None:
        super().__init__(f"{call}: {seen}")
        self.call = call
        self.seen = seen
        self.remedy = remedy
        self.kind = kind
        """The one kind of object that is unread (`Blocker.kind`), if it is just one."""

    def blocker(self, cluster: str) -> Blocker:
        return Blocker(cluster, self.call, self.seen, self.remedy, self.kind)


class Unreachable(ReadFailure):
    """The API server gave no answer at all: another way to it (a run command) may still work."""


def describe(status: int, reason: str, body: bytes) -> str:
    """
    An answer in words, for a Status object by its message.

    >>> describe(403, "Forbidden", b'{"message": "pods is forbidden"}')
    '403 Forbidden: pods is forbidden'
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    message = document.get("message") if isinstance(document, dict) else None
    text = quoted(message if message is not None else body.decode(errors="replace"))
    return f"{status} {quoted(reason, 60)}".strip() + (f": {text}" if text else "")


def or_waive(remedy: str, cluster: str, kind: str) -> str:
    """A remedy, and the way on without it."""
    return f'{remedy} Or give up what only they use: waive: "{cluster}: {kind}".'
