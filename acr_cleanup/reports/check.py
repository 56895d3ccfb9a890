"""Renders the result of `acr-cleanup check`: as text, as a Markdown summary, and as JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from acr_cleanup.reports import words
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.tone import Tone

_LIMIT = 3000
"""Maximum characters of a text. A remedy may hold two commands with long resource ids."""
_SHOWN = 200
_COMMAND = re.compile(r"`([^`]+)`")
_WORD = re.compile(r"(?:'[^']*'|[^\s'])+")


class Mark(StrEnum):
    """The answer of one part."""

    OK = "ok"
    FAILED = "failed"
    """A run would refuse, or fail."""
    UNKNOWN = "unknown"
    """It could not be asked, or a run only warns of it."""


_SIGNS = {Mark.OK: ("✓", "green", "✅"), Mark.FAILED: ("✗", "red", "❌"), Mark.UNKNOWN: ("?", "yellow", "❔")}


@dataclass(frozen=True, slots=True)
class Check:
    """
    One line of the page.

    part: its heading. remedy: what mends it, as sentences; a command is in backticks.
    """

    part: str
    mark: Mark
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All checks, in the order of the page. login_server: the host of the registry."""

    login_server: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> int:
        return sum(check.mark is Mark.FAILED for check in self.checks)

    @property
    def unknown(self) -> int:
        return sum(check.mark is Mark.UNKNOWN for check in self.checks)

    @property
    def headline(self) -> str:
        checks = words.count(len(self.checks), "check")
        unknown = f" {self.unknown:,} could not be answered." if self.unknown else ""
        if self.failed:
            return f"{self.failed:,} of {checks} failed.{unknown} Nothing was planned or deleted."
        return f"Ready: none of {checks} failed.{unknown} Nothing was planned or deleted."

    def __str__(self) -> str:
        """Return plain lines without colour."""
        return "\n".join(line for _, line in self._lines())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for style, line in self._lines():
            text = line.lstrip()
            indent = len(line) - len(text)
            command, width = _COMMAND.fullmatch(text), max(20, options.max_width - indent)
            lines = continued(command[1], width).splitlines() if command else textwrap.wrap(text, width) or [""]
            # Not padded to the width: a space after the backslash would end the command.
            yield from (Text(f"{' ' * indent}{part}", style=style, overflow="fold") for part in lines)

    def as_json(self) -> str:
        checks = [
            {"part": each.part, "mark": each.mark, "text": each.text, "remedy": each.remedy} for each in self.checks
        ]
        document = {"schema_version": 1, "registry": self.login_server, "ok": not self.failed, "checks": checks}
        return json.dumps(document, indent=2, ensure_ascii=False)

    def markdown(self, dialect: Dialect = GITHUB) -> str:
        """Render the summary."""
        tone = Tone.BAD if self.failed else Tone.WARNING if self.unknown else Tone.GOOD
        blocks = ["## 🧹 ACR cleanup: check", dialect.verdict(tone, words.markdown(self.headline))]
        for part, checks in groupby(self.checks[:_SHOWN], key=lambda check: check.part):
            blocks += [f"### {words.markdown(part)}", "\n".join(map(_item, checks))]
        if (hidden := len(self.checks) - _SHOWN) > 0:
            blocks.append(f"… and {hidden:,} more checks in the log")
        return dialect.broken("\n\n".join(blocks) + "\n")

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Yield the style and the text of each line."""
        for part, checks in groupby(self.checks, key=lambda check: check.part):
            yield "bold", words.plain(part)
            for check in checks:
                sign, style, _ = _SIGNS[check.mark]
                yield style if check.mark is not Mark.OK else "", f"  {sign} {words.plain(check.text, _LIMIT)}"
                for line in check.remedy.splitlines():
                    yield "", f"    {words.plain(line, _LIMIT).rstrip()}"
            yield "", ""
        yield "bold", self.headline


def _item(check: Check) -> str:
    remedy = "<br>".join(words.prose(line, _LIMIT) for line in check.remedy.splitlines())
    text = f"- {_SIGNS[check.mark][2]} {words.prose(check.text, _LIMIT)}"
    return f"{text}<br>{remedy}" if remedy else text


def continued(command: str, width: int) -> str:
    """
    Break a command into lines that a shell joins again: wrapped text could not be pasted.

    >>> print(continued("az role create --role 'Cluster User' --scope /x", 24))
    az role create --role \\
      'Cluster User' \\
      --scope /x
    """
    lines: list[str] = []
    for word in _WORD.findall(command):
        if lines and len(lines[-1]) + len(word) + 3 <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}" if lines else word)
    return " \\\n".join(lines)
