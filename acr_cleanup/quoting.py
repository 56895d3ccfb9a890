"""Foreign text made fit to stand in a message of ours: what a server, a file or an exception said, on one line."""

from __future__ import annotations

import re

# Every JSON web token begins with `{"`.
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*")
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")


def quoted(text: object, limit: int = 300) -> str:
    """
    One line of at most `limit` characters, without control characters; tokens and passwords in URLs are blotted out.

    >>> quoted("Error from server\\n\\x1b[31m(Forbidden)")
    'Error from server [31m(Forbidden)'
    >>> quoted("no answer from https://user:secret@proxy.example, Bearer eyJhbGciOiJub25lIn0.e30.")
    'no answer from https://***@proxy.example, Bearer ***'
    """
    line = _TOKEN.sub("***", _PASSWORD.sub("***@", str(text)))
    line = " ".join("".join(character if character.isprintable() else " " for character in line).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def phrase(text: object) -> str:
    """
    The same without its final stop, for the middle of a sentence.

    >>> phrase("The connection was refused. ")
    'The connection was refused'
    """
    return quoted(text).rstrip(". ")
