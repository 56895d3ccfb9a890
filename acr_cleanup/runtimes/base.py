"""The interface of every runtime: progress, log, results, outputs and the job's own token."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType

SECONDS_BETWEEN_LINES = 10.0
"""The shortest time between two progress lines of one stage, where lines cannot be redrawn."""


class Level(IntEnum):
    """The severity of a log line; `Level["DEBUG"]` parses a setting."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @property
    def word(self) -> str:
        return self.name.lower()


class Runtime(Protocol):
    """
    A terminal or a CI system. Strings in, strings out: it knows nothing about registries.

    No method raises because of a closed output: a run must not stop half-way when its pipe closes.
    """

    def progress(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        """
        Show the progress of a stage. The first call begins it, `done == total` ends it.

        `total` is None while it is unknown. `detail` names the current item. May be called often.
        """
        ...

    def log(self, level: Level, text: str) -> None:
        """Write one or more lines to the log."""
        ...

    def show(self, content: RenderableType) -> None:
        """
        Print a result.

        Other content than text is rendered by rich on a terminal, else by `str`.
        """
        ...

    def group(self, title: str) -> AbstractContextManager[None]:
        """
        Group the log and results inside under a title, folded where possible.

        Groups do not nest.
        """
        ...

    def annotate(self, level: Level, title: str, text: str) -> None:
        """Show a message outside the log, on the page of the run. Only a few are shown."""
        ...

    def mask(self, secret: str) -> None:
        """Replace this text in all further output of the job."""
        ...

    async def id_token(self, audience: str) -> str:
        """A new OIDC token of this job for `audience`. Raises `NoIdToken`."""
        ...

    def outputs(self, values: Mapping[str, str]) -> str:
        """Set the outputs for later steps. Returns why that failed, or an empty text."""
        ...

    def summary(self, markdown: str) -> str:
        """Add to the summary on the page of the run. Returns why that failed, or an empty text."""
        ...

    def finish(self) -> None:
        """End the output and close what is open. May be called twice."""
        ...


class NoIdToken(Exception):
    """The CI system gives this job no ID token. Never contains a token."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy


@dataclass
class Stage:
    """The progress of one stage; `printed_at` is the time of its last line."""

    began_at: float
    printed_at: float = float("-inf")
    done: int = 0
    total: int | None = None
    ended: bool = False


@dataclass
class PlainProgress:
    """Progress as lines: one when a stage begins, one when it ends, and a few in between."""

    clock: Callable[[], float] = time.monotonic
    stages: dict[str, Stage] = field(default_factory=dict)

    def line(self, name: str, done: int, total: int | None, detail: str = "") -> str | None:
        """The line to print now, without a line break; usually None."""
        now = self.clock()
        stage = self.stages.setdefault(name, Stage(began_at=now))
        stage.done, stage.total = done, total
        ends, ended_before = total is not None and done >= total, stage.ended
        stage.ended = ends
        if ended_before if ends else now - stage.printed_at < SECONDS_BETWEEN_LINES:
            return None
        stage.printed_at = now
        count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        seconds = now - stage.began_at
        end = f", done in {seconds:.0f} s" if ends and seconds >= 1 else ", done" if ends else ""
        remark = f" ({detail})" if detail and not ends else ""
        return tame(f"{name}: {count}{end}{remark}")


class _ToRuntime(logging.Handler):
    """Passes the records of Python's loggers, ours and the SDKs', to the runtime."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime

    def emit(self, record: logging.LogRecord) -> None:
        level = max((known for known in Level if known <= record.levelno), default=Level.DEBUG)
        self._runtime.log(level, self.format(record))


def connect_log(runtime: Runtime, level: Level) -> None:
    """Let the runtime show the records of Python's loggers from this level on."""
    root = logging.getLogger()
    root.handlers[:] = [_ToRuntime(runtime)]
    root.setLevel(level)
    if level > Level.DEBUG:
        # Our own messages translate the warnings and errors of the SDKs.
        for name in ("azure", "msal", "aiohttp", "asyncio", "kubernetes", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
# Commands of CI systems: `::` at the start of a line, `##[` and `##vso[` anywhere in it.
_COMMAND = re.compile(r"(?m)^(\s*:)(?=:)|#(?=#)")


def tame(text: str) -> str:
    r"""
    Remove terminal escapes and commands of CI systems from text. Line breaks are kept.

    This is the last check before output. The code that builds a text has its own, stricter rules.

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
