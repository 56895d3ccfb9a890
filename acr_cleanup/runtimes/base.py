"""What every place that we run in can do for a run: show progress, keep a log, show a result."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Protocol

from rich.console import RenderableType


class Level(IntEnum):
    """How much a line of the log matters; `Level["DEBUG"]` reads a setting."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @property
    def word(self) -> str:
        return self.name.lower()


class Runtime(Protocol):
    """
    A terminal or a CI system. Strings in, strings out: it knows no word of what the run is about.

    None of these raises for want of somebody to listen: a run must not stop half-way because its output is a closed pipe.
    """

    def progress(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        """
        How far a stage has come. The first call begins it, `done == total` ends it; `total` is None while it is not known.

        May be called as often as it likes; `detail` names what is being worked on.
        """
        ...

    def log(self, level: Level, text: str) -> None:
        """A line (or lines) for whoever watches the run."""
        ...

    def show(self, content: RenderableType) -> None:
        """A result. What is not text is rendered by rich where there is a terminal, and is its `str` where there is none."""
        ...

    def finish(self) -> None:
        """Nothing more will come: close what is open. May be called twice."""
        ...


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
# A command of a CI system: `::` where a line begins, `##[` and `##vso[` anywhere in it.
_COMMAND = re.compile(r"(?m)^(\s*:)(?=:)|#(?=#)")


def tame(text: str) -> str:
    r"""
    The last guard before text leaves us: no terminal escapes, no commands of a CI system. Lines stay lines.

    Those who write the text have their own rules; this holds for what they forgot.

    >>> tame("\x1b[2Jgone")
    '\\x1b[2Jgone'
    >>> tame("one\n  ::set-output name=x::1")
    'one\n  : :set-output name=x::1'
    """
    visible = _CONTROL.sub(_escaped, text.replace("\r\n", "\n"))
    return _COMMAND.sub(lambda match: f"{match.group()} ", visible)


def _escaped(match: re.Match[str]) -> str:
    code_point = ord(match.group())
    return f"\\x{code_point:02x}" if code_point < 0x100 else f"\\u{code_point:04x}"
