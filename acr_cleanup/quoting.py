"""Quote foreign text in our messages: one short line without control characters or secrets."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# Every JSON web token begins with `{"`.
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*")
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")
# A server that echoes the request also echoes its credentials: tokens and client secrets.
_CREDENTIALS = re.compile(
    r"(?i)(\bbearer\s+|\bbasic\s+|\bclient_secret=)(?=[^\s&]*[0-9]|(?<==))[A-Za-z0-9._~%+/=-]{4,}"
)


def quoted(text: object, limit: int = 300) -> str:
    """
    Make one line of at most `limit` characters.

    Control characters are removed; tokens, client secrets and passwords in URLs become `***`.

    >>> quoted("Error from server\\n\\x1b[31m(Forbidden)")
    'Error from server [31m(Forbidden)'
    >>> quoted("no answer from https://user:secret@proxy.example, Bearer eyJhbGciOiJub25lIn0.e30.")
    'no answer from https://***@proxy.example, Bearer ***'
    >>> quoted("Bearer 6f0514b9 is no login; basic authentication is")
    'Bearer *** is no login; basic authentication is'
    """
    line = _CREDENTIALS.sub(r"\1***", _TOKEN.sub("***", _PASSWORD.sub("***@", str(text))))
    line = " ".join("".join(character if character.isprintable() else " " for character in line).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def phrase(text: object) -> str:
    """
    Quote text without the full stop at its end, for use inside a sentence.

    >>> phrase("The connection was refused. ")
    'The connection was refused'
    """
    return quoted(text).rstrip(". ")


def in_utc(moment: datetime) -> datetime:
    """
    Convert a time of a foreign document to UTC.

    A time that has no equivalent in UTC becomes the nearest one that has: `astimezone` raises `OverflowError` for it.

    >>> in_utc(datetime.fromisoformat("0001-01-01T00:00:00+14:00"))
    datetime.datetime(1, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment.replace(tzinfo=UTC)
