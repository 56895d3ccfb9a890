"""Quote foreign text in our messages: one short line without control characters or secrets."""

from __future__ import annotations

import re
from datetime import UTC, datetime

TEXT_LIMIT = 300
"""Maximum length of foreign text, in characters; report.json has all of it."""

# Every JSON web token begins with `{"`.
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*")
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")
# A server that echoes the request also echoes its credentials: tokens and client secrets.
_CREDENTIALS = re.compile(
    r"(?i)(\bbearer\s+|\bbasic\s+|\bclient_secret=)(?=[^\s&]*[0-9]|(?<==))[A-Za-z0-9._~%+/=-]{4,}"
)

# Text that `plain` does not change: most names of tags and repositories.
_PLAIN = re.compile(r"[A-Za-z0-9_./@-]*").fullmatch
_SPACES = re.compile(r"[\s\u2028\u2029]+")
# Also at the end of the text, because our own words may continue with a colon.
_COMMAND = re.compile(r":(?=:|$)|#(?=#|$)")
_MARKS = re.compile(r"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f])+")


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


def plain(text: str, limit: int = TEXT_LIMIT) -> str:
    """
    Escape foreign text for a terminal or a log.

    The result is one line without invisible characters and without commands of a CI system. It has
    at most `limit` characters.

    >>> plain("\\x1b[31mred")
    '\\\\x1b[31mred'
    >>> plain("a\\n::add-mask::b ##vso[task.complete]")
    'a : :add-mask: :b # #vso[task.complete]'
    """
    if len(text) <= limit and _PLAIN(text):
        return text
    # Long text is cut first, so that a large error page costs no time. Escapes can make it longer
    # again, so it is cut once more at the end.
    shown = _SPACES.sub(" ", text[: limit * 2]).strip()
    shown = _MARKS.sub(r"\1", shown)
    if not shown.isprintable():
        shown = "".join(_visible(character) for character in shown)
    # Commands are broken with a space. A zero-width break would be invisible and copied along with
    # the text. Every command is broken, because wrapping could move it to the start of a line.
    shown = _COMMAND.sub(lambda match: f"{match.group()} ", shown)
    return shown if len(shown) <= limit and len(text) <= limit * 2 else f"{shown[: limit - 1]}…"


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

    A time that has no equivalent in UTC becomes the nearest one that has: `astimezone` raises
    `OverflowError` for it.

    >>> in_utc(datetime.fromisoformat("0001-01-01T00:00:00+14:00"))
    datetime.datetime(1, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment.replace(tzinfo=UTC)


def _visible(character: str) -> str:
    # Not printable: controls, format characters (bidi overrides, zero-width), surrogates, private
    # use, unassigned.
    if character.isprintable():
        return character
    code_point = ord(character)
    if code_point < 0x100:
        return f"\\x{code_point:02x}"
    return f"\\u{code_point:04x}" if code_point < 0x10000 else f"\\U{code_point:08x}"
