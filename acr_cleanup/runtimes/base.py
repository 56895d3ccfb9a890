"""What every place that we run in can do for a run: show progress, keep a log, show a result."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from rich.console import RenderableType

SECONDS_BETWEEN_LINES = 10.0
"""Where nothing can be redrawn, a stage says no more than this often how far it has come."""


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

    def group(self, title: str) -> AbstractContextManager[None]:
        """What is logged and shown inside belongs together, and may be folded away. Groups do not nest."""
        ...

    def annotate(self, level: Level, title: str, text: str) -> None:
        """Say something where it is seen without reading the log. There is room for few of these."""
        ...

    def mask(self, secret: str) -> None:
        """Never show this text again, whoever prints it."""
        ...

    async def id_token(self, audience: str) -> str:
        """A fresh token of this job for `audience`, as an OIDC issuer gives them. Raises `NoIdToken`."""
        ...

    def outputs(self, values: Mapping[str, str]) -> str:
        """Hand these on to whatever comes after the run; returns why that could not be done, or nothing."""
        ...

    def summary(self, markdown: str) -> str:
        """Show this where the run is looked at later; returns why that could not be done, or nothing."""
        ...

    def finish(self) -> None:
        """Nothing more will come: close what is open. May be called twice."""
        ...


class NoIdToken(Exception):
    """The CI system gives this job no token of its own: what was seen, and what to do. Never holds a token."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy


@dataclass
class Stage:
    """One stage of the progress as it stands; `spoken_at` is when a line last told of it."""

    began_at: float
    spoken_at: float = float("-inf")
    done: int = 0
    total: int | None = None
    ended: bool = False


@dataclass
class PlainProgress:
    """Progress as lines: one when a stage begins, one when it ends, and few in between."""

    clock: Callable[[], float] = time.monotonic
    stages: dict[str, Stage] = field(default_factory=dict)

    def line(self, name: str, done: int, total: int | None, detail: str = "") -> str | None:
        """What there is to say now, without a line break; mostly nothing."""
        now = self.clock()
        stage = self.stages.setdefault(name, Stage(began_at=now))
        stage.done, stage.total = done, total
        ends, ended = total is not None and done >= total, stage.ended
        stage.ended = ends
        if ended if ends else now - stage.spoken_at < SECONDS_BETWEEN_LINES:
            return None
        stage.spoken_at = now
        count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        seconds = now - stage.began_at
        took = f", done in {seconds:.0f} s" if ends and seconds >= 1 else ", done" if ends else ""
        remark = f" ({detail})" if detail and not ends else ""
        return tame(f"{name}: {count}{took}{remark}")


class _ToRuntime(logging.Handler):
    """Python's log, ours and the SDKs', through the runtime that knows how to show it."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime

    def emit(self, record: logging.LogRecord) -> None:
        level = max((each for each in Level if each <= record.levelno), default=Level.DEBUG)
        self._runtime.log(level, self.format(record))


def connect_log(runtime: Runtime, level: Level) -> None:
    """Let the runtime show what Python's loggers say from this level on."""
    root = logging.getLogger()
    root.handlers[:] = [_ToRuntime(runtime)]
    root.setLevel(level)
    if level > Level.DEBUG:
        # What the SDKs have to say at these levels is ours to translate.
        for name in ("azure", "msal", "aiohttp", "asyncio", "kubernetes", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


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


class Progress(Protocol):
    """Receives how far a stage of the run is; see `Runtime.progress`."""

    def __call__(self, stage: str, done: int, total: int | None, detail: str = "") -> None: ...
