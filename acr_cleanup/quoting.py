"""Foreign text made fit to stand in a message of ours: what a server, a file or an exception said, on one line."""

from __future__ import annotations

import re

# Every JSON web token begins with `{"`.
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*")
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")
# Whoever answers with the request that he was sent repeats what it was sent with: tokens of any form, and a login.
_SENT = re.compile(r"(?i)(\bbearer\s+|\bbasic\s+|\bclient_secret=)(?=[^\s&]*[0-9]|(?<==))[A-Za-z0-9._~%+/=-]{4,}")


def quoted(text: object, limit: int = 300) -> str:
    """
    One line of at most `limit` characters, without control characters; tokens and passwords in URLs are blotted out.

    >>> quoted("Error from server\\n\\x1b[31m(Forbidden)")
    'Error from server [31m(Forbidden)'
    >>> quoted("no answer from https://user:secret@proxy.example, Bearer eyJhbGciOiJub25lIn0.e30.")
    'no answer from https://***@proxy.example, Bearer ***'
    >>> quoted("Bearer 6f0514b9 is no login; basic authentication is")
    'Bearer *** is no login; basic authentication is'
    """
    line = _SENT.sub(r"\1***", _TOKEN.sub("***", _PASSWORD.sub("***@", str(text))))
    line = " ".join("".join(character if character.isprintable() else " " for character in line).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def phrase(text: object) -> str:
    """
    The same without its final stop, for the middle of a sentence.

    >>> phrase("The connection was refused. ")
    'The connection was refused'
    """
    return quoted(text).rstrip(". ")
