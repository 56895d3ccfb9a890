"""
The small words that every report shares: counts, sizes, ages, and foreign text made harmless.

Tag names, image strings, object names and error texts are written by others. They may hold terminal escapes, line breaks,
workflow commands (`::set-output::`, `##vso[…]`) or markup. Nothing of theirs reaches a report but through `plain`
(terminals and logs), `markdown`, `code` or `html` (summaries).
https://docs.github.com/actions/reference/workflow-commands-for-github-actions
https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html import escape

TEXT_LIMIT = 300
"""Longest foreign text shown, in characters; what is cut is in report.json."""
PROSE_LIMIT = 3000
"""Longest message shown with its lines: a refused login lists claims, and the command that would let it in."""
NAME_LIMIT = 64
"""Longest tag name shown where many stand side by side."""

_LINES_SHOWN = 30
_LIST = re.compile(r"^(\s*\d*)([-+.)])")
_SPAN = re.compile(r"`([^`]+)`")
_SPACES = re.compile(r"[\s\u2028\u2029]+")
# At the end, too: our own words go on with a colon.
_COMMAND = re.compile(r":(?=:|$)|#(?=#|$)")
_MARKS = re.compile(r"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f])+")
_SUBJECT_TAG = re.compile(r"sha256-([0-9a-f]{12})[0-9a-f]{52}")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_PLURALS = {"repository": "repositories", "is": "are", "was": "were", "has": "have", "its": "their", "it": "they"}


def plain(text: str, limit: int = TEXT_LIMIT) -> str:
    """
    Foreign text for a terminal or a log: one line, nothing invisible, no command of a CI system, not longer than `limit`.

    >>> plain("\\x1b[31mred")
    '\\\\x1b[31mred'
    >>> plain("a\\n::add-mask::b ##vso[task.complete]")
    'a : :add-mask: :b # #vso[task.complete]'
    """
    # Long text is cut first, so that a megabyte of error page costs nothing; escapes can only make it longer again.
    shown = _SPACES.sub(" ", text[: limit * 2]).strip()
    shown = _MARKS.sub(r"\1", shown)
    if not shown.isprintable():
        shown = "".join(_visible(character) for character in shown)
    # A space, not a zero-width break: what one cannot see cannot be trusted or copied. Every pair is broken, not only those at
    # the start of a line, for wrapping could put any of them there.
    shown = _COMMAND.sub(lambda match: f"{match.group()} ", shown)
    return shown if len(shown) <= limit and len(text) <= limit * 2 else f"{shown[: limit - 1]}…"


def name(text: str) -> str:
    """
    A tag name where many stand side by side: long ones lose their middle, a digest in it all but its first twelve digits.

    >>> name("sha256-" + "0123456789abcdef" * 4 + ".sig")
    'sha256-0123456789ab….sig'
    """
    shown = _SUBJECT_TAG.sub(r"sha256-\1…", plain(text))
    if len(shown) <= NAME_LIMIT:
        return shown
    half = (NAME_LIMIT - 1) // 2
    return f"{shown[:half]}…{shown[-half:]}"


def html(text: str, limit: int = TEXT_LIMIT) -> str:
    """Foreign text inside an HTML element of a summary."""
    return escape(plain(text, limit)).replace("://", ":&#8203;//")


def markdown(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""
    Foreign text as Markdown prose that means exactly its letters; also within a table cell.

    Every mark of punctuation that could be markup becomes an entity: that holds in any place, where a backslash would not.
    Addresses and mentions are broken, so that they do not become links.

    >>> markdown("a|b <i> *c*")
    'a&#124;b &#60;i&#62; &#42;c&#42;'
    """
    shown = _MARKUP.sub(lambda match: f"&#{ord(match.group())};", plain(text, limit))
    # Renderers look for links after they have decoded entities; an invisible break of our own stops them.
    shown = re.sub(r"&#58;(?=//)", "&#58;&#8203;", shown)
    shown = re.sub(r"(?i)(www)(?=\.)", r"\1&#8203;", shown)
    return shown.replace("&#64;", "&#64;&#8203;")


# `-`, `+`, `.` and `)` can only begin a list at the start of a line, and foreign text never stands there alone; `.`, `,`, `(`, `/`
# and `-` are in every name, and entities of them would double the size of a summary.
# A colon alone is a colon; before a word it may begin an emoji or an address.
_MARKUP = re.compile(r"[\\`*_{}\[\]<>&|#!~$@]|:(?=\S)")


def code(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""
    Foreign text as a code span, also within a table cell.

    Within a code span no entity is decoded, and a table splits its cells before it looks for spans: text with a backtick or a
    `|` becomes an HTML element, which holds in both.

    >>> code("v1.0"), code("a|b")
    ('`v1.0`', '<code>a&#124;b</code>')
    """
    shown = plain(text, limit)
    if "`" in shown or "|" in shown:
        return f"<code>{markdown(text, limit)}</code>"
    return f"`{shown or ' '}`"


def prose(text: str, limit: int = PROSE_LIMIT) -> str:
    r"""
    A message as Markdown: its lines stay lines, and what it holds in a pair of backticks becomes a code span.

    Messages of ours name commands that way; in one that quotes foreign text, that text is as harmless in a span as outside.

    >>> prose("Run `az login`,\nor *ask*")
    'Run `az login`,<br>or &#42;ask&#42;'
    """
    lines = [line for line in text[: limit * 2].splitlines()[:_LINES_SHOWN] if line.strip()]
    shown, left = [], limit
    for line in lines:
        # Every second part of the split is what stood between two backticks.
        parts = _SPAN.split(line)
        spans = [code(part, left) if number % 2 else _spaced(part, left) for number, part in enumerate(parts)]
        # Two spans that touched would be read as one.
        between = (span or (" " if 0 < number < len(spans) - 1 else "") for number, span in enumerate(spans))
        # Other than text within a line, this may stand where a list would begin.
        shown.append(_LIST.sub(lambda match: f"{match[1]}&#{ord(match[2])};", "".join(between)))
        left = max(left - len(line), 1)
    return "<br>".join(shown)


def _spaced(text: str, limit: int) -> str:
    """As `markdown`, with the spaces that join it to its neighbours."""
    shown = markdown(text, limit)
    if not shown:
        return " " if text else ""
    # After a colon at its end there is a space already.
    return f"{' ' if text[0].isspace() else ''}{shown.rstrip()}{' ' if text[-1].isspace() else ''}"


def count(number: int, noun: str) -> str:
    """
    A number with its noun.

    >>> count(1, "tag"), count(1234, "repository")
    ('1 tag', '1,234 repositories')
    """
    return f"{number:,} {plural(number, noun)}"


def plural(number: int, noun: str) -> str:
    """The noun (or verb) alone, agreeing with the number."""
    return noun if number == 1 else _PLURALS.get(noun, f"{noun}s")


def size(number: int) -> str:
    """
    Bytes in IEC units, three figures at most.

    >>> size(0), size(1023), size(1536), size(12_670_000_000)
    ('0 B', '1023 B', '1.5 KiB', '11.8 GiB')
    """
    value, unit = float(number), 0
    # 1023.5 would round to four figures.
    while value >= 1023.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 99.95 else f"{value:.1f} {_UNITS[unit]}"


def unit(number: int) -> tuple[str, int]:
    """
    The IEC unit in which `size` would show so many bytes, and how many bytes it has.

    >>> unit(12_670_000_000), unit(5)
    (('GiB', 1073741824), ('B', 1))
    """
    name = size(number).rpartition(" ")[2]
    return name, 1024 ** _UNITS.index(name)


def age(duration: timedelta) -> str:
    """
    How long ago, in its largest unit.

    >>> age(timedelta(days=312, hours=5)), age(timedelta(hours=5)), age(timedelta(seconds=3))
    ('312d', '5h', 'now')
    """
    minutes = int(duration.total_seconds()) // 60
    if minutes < 0:
        return "in the future"
    if minutes >= 24 * 60:
        return f"{minutes // (24 * 60):,}d"
    if minutes >= 60:
        return f"{minutes // 60}h"
    return f"{minutes}m" if minutes else "now"


def elapsed(duration: timedelta) -> str:
    """
    How long something took.

    >>> elapsed(timedelta(seconds=0.4)), elapsed(timedelta(seconds=41)), elapsed(timedelta(minutes=3, seconds=5))
    ('0.4 s', '41 s', '3 min 5 s')
    """
    seconds = duration.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def timestamp(moment: datetime | None) -> str | None:
    """UTC, to the second if it is whole: `2026-11-22T10:00:00Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def date(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}" if moment is not None else "unknown"


def listing(parts: Iterable[str]) -> str:
    """
    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _visible(character: str) -> str:
    # What is not printable: controls, format characters (bidi overrides, zero-width), surrogates, private use, unassigned.
    if character.isprintable():
        return character
    code_point = ord(character)
    if code_point < 0x100:
        return f"\\x{code_point:02x}"
    return f"\\u{code_point:04x}" if code_point < 0x10000 else f"\\U{code_point:08x}"
