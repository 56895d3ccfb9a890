"""
Formats counts, sizes, ages and foreign text for every report.

Tag names, image strings, object names and error texts are foreign: others wrote them. They may
contain terminal escapes, line breaks, workflow commands (`::set-output::`, `##vso[…]`) or markup.
They reach a report only through `plain` (terminals and logs), or through `markdown`, `code`,
`prose` or `html` (summaries).
https://docs.github.com/actions/reference/workflow-commands-for-github-actions
https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from html import escape

from acr_cleanup import quoting
from acr_cleanup.quoting import TEXT_LIMIT, in_utc

PROSE_LIMIT = 3000
"""
Maximum length of a message with several lines: a failed login lists claims, and a command for the
administrator.
"""
NAME_LIMIT = 64
"""Maximum length of a tag name in a list or a table."""

plain = quoting.plain

_LINES_SHOWN = 30
_LIST = re.compile(r"^(\s*\d*)([-+.)])")
_SPAN = re.compile(r"`([^`]+)`")
_SUBJECT_TAG = re.compile(r"sha256-([0-9a-f]{12})[0-9a-f]{52}")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_PLURALS = {
    "repository": "repositories",
    "entry": "entries",
    "is": "are",
    "was": "were",
    "has": "have",
    "belongs": "belong",
    "exists": "exist",
    "counts": "count",
    "selects": "select",
    "its": "their",
    "it": "they",
}


def name(text: str) -> str:
    """
    Shorten a tag name for a list: its middle is cut, and a digest keeps its first twelve digits.

    >>> name("sha256-" + "0123456789abcdef" * 4 + ".sig")
    'sha256-0123456789ab….sig'
    """
    shown = _SUBJECT_TAG.sub(r"sha256-\1…", plain(text))
    if len(shown) <= NAME_LIMIT:
        return shown
    half = (NAME_LIMIT - 1) // 2
    return f"{shown[:half]}…{shown[-half:]}"


def html(text: str, limit: int = TEXT_LIMIT) -> str:
    """Escape foreign text for an HTML element of a summary."""
    return escape(plain(text, limit)).replace("://", ":&#8203;//")


def markdown(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""
    Escape foreign text as Markdown without markup, also for a table cell.

    Punctuation that could be markup becomes an entity, because a backslash does not work
    everywhere. Addresses and @mentions are broken, so that they do not become links.

    >>> markdown("a|b <i> *c*")
    'a&#124;b &#60;i&#62; &#42;c&#42;'
    """
    shown = _MARKUP.sub(lambda match: f"&#{ord(match.group())};", plain(text, limit))
    # Renderers look for links after they decoded the entities. A zero-width space prevents a link.
    shown = re.sub(r"&#58;(?=//)", "&#58;&#8203;", shown)
    shown = re.sub(r"(?i)(www)(?=\.)", r"\1&#8203;", shown)
    return shown.replace("&#64;", "&#64;&#8203;")


# `-`, `+`, `.` and `)` begin a list only at the start of a line, where foreign text is never placed
# without other text. They, and `,`, `(` and `/`, occur in every name, so entities would double the
# size of a summary. A colon before a word may begin an emoji or an address.
_MARKUP = re.compile(r"[\\`*_{}\[\]<>&|#!~$@]|:(?=\S)")


def code(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""
    Format foreign text as a code span, also for a table cell.

    Text with a backtick or a `|` becomes an HTML element instead. A code span does not decode
    entities, and a table is split into cells before code spans are recognised.

    >>> code("v1.0"), code("a|b")
    ('`v1.0`', '<code>a&#124;b</code>')
    """
    shown = plain(text, limit)
    if "`" in shown or "|" in shown:
        return f"<code>{markdown(text, limit)}</code>"
    return f"`{shown or ' '}`"


def prose(text: str, limit: int = PROSE_LIMIT) -> str:
    r"""
    Format a message as Markdown: line breaks are kept, and text in backticks becomes a code span.

    Our own messages put commands into backticks. Foreign text in a message is escaped inside and
    outside a span.

    >>> prose("Run `az login`,\nor *ask*")
    'Run `az login`,<br>or &#42;ask&#42;'
    """
    lines = [line for line in text[: limit * 2].splitlines()[:_LINES_SHOWN] if line.strip()]
    shown, left = [], limit
    for line in lines:
        # Every second part of the split was between two backticks.
        parts = _SPAN.split(line)
        spans = [code(part, left) if number % 2 else _spaced(part, left) for number, part in enumerate(parts)]
        # Without a space, two adjacent spans would be parsed as one.
        between = (span or (" " if 0 < number < len(spans) - 1 else "") for number, span in enumerate(spans))
        # The start of a line could begin a list.
        shown.append(_LIST.sub(lambda match: f"{match[1]}&#{ord(match[2])};", "".join(between)))
        left = max(left - len(line), 1)
    return "<br>".join(shown)


def _spaced(text: str, limit: int) -> str:
    """Escape text like `markdown`, but keep a space at its start and at its end."""
    shown = markdown(text, limit)
    if not shown:
        return " " if text else ""
    # `plain` puts a space after a colon at the end.
    return f"{' ' if text[0].isspace() else ''}{shown.rstrip()}{' ' if text[-1].isspace() else ''}"


def count(number: int, noun: str) -> str:
    """
    Format a number with its noun.

    >>> count(1, "tag"), count(1234, "repository")
    ('1 tag', '1,234 repositories')
    """
    return f"{number:,} {plural(number, noun)}"


def plural(number: int, noun: str) -> str:
    """Return the noun (or verb) in the form that agrees with the number."""
    return noun if number == 1 else _PLURALS.get(noun, f"{noun}s")


def size(number: int) -> str:
    """
    Format bytes in IEC units, with at most four digits.

    >>> size(0), size(1023), size(1536), size(12_670_000_000)
    ('0 B', '1023 B', '1.5 KiB', '11.8 GiB')
    """
    value, unit = float(number), 0
    # 1023.5 would be rounded to 1024.
    while value >= 1023.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 99.95 else f"{value:.1f} {_UNITS[unit]}"


def age(duration: timedelta) -> str:
    """
    Format an age in its largest unit.

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
    Format the duration of a run.

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
    """Format a time as RFC 3339 in UTC: `2026-11-22T10:00:00Z`."""
    if moment is None:
        return None
    return in_utc(moment).isoformat().replace("+00:00", "Z")


def date(moment: datetime | None) -> str:
    return f"{in_utc(moment):%Y-%m-%d}" if moment is not None else "unknown"


def listing(parts: Iterable[str]) -> str:
    """
    Join texts with commas and "and".

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def first_few(texts: Iterable[str]) -> str:
    """
    Join distinct texts; of more than three, name two and count the others. "" without texts.

    >>> first_few(["a", "b", "a"]), first_few(["a", "b", "c", "d"])
    ('a and b', 'a, b and 2 others')
    """
    distinct = list(dict.fromkeys(texts))
    if len(distinct) > 3:
        return f"{distinct[0]}, {distinct[1]} and {len(distinct) - 2:,} others"
    return listing(distinct) if distinct else ""


def name_list(names: Iterable[str], limit: int = 12) -> str:
    """
    Join foreign names, at most `limit` of them, and count the others.

    >>> name_list(["a", "b", "c"], 1)
    'a and 2 more'
    """
    shown = [name(text) for text in names]
    hidden = [f"{len(shown) - limit:,} more"] if len(shown) > limit else []
    return listing([*shown[:limit], *hidden]) if shown else "none"
