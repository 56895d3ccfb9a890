"""
The command line: results on stdout, progress and log on stderr.

If stderr is a terminal, a live display has one line for each stage. Otherwise a few plain lines are
printed.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from acr_cleanup.runtimes.base import Level, NoIdToken, PlainProgress, tame

_STYLES = {Level.DEBUG: "dim", Level.INFO: "", Level.WARNING: "yellow", Level.ERROR: "bold red"}


class Terminal:
    """
    The `Runtime` of the command line.

    `interactive`: stderr is a terminal that can redraw lines and is not recorded (`CI`). There is
    no colour with `NO_COLOR` (https://no-color.org) and on dumb terminals.
    """

    def __init__(
        self,
        level: Level = Level.INFO,
        *,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._level = level
        # A stream is None if it was closed when the process started.
        self._out = _Stream(sys.stdout if stdout is None else stdout)
        self._err = _Stream(sys.stderr if stderr is None else stderr)
        self._plain = PlainProgress(clock)
        self._tasks: dict[str, TaskID] = {}
        self._live: Progress | None = None

        # The pseudo-terminal of a CI system records each redrawn line as a new one.
        capable = environ.get("TERM", "") != "dumb" and environ.get("CI", "").lower() in {"", "0", "false"}
        colour = capable and not environ.get("NO_COLOR")
        self.interactive = capable and self._err.isatty()
        self._rich_out = _console(self._out, environ, colour=colour) if capable and self._out.isatty() else None
        self._rich_err = _console(self._err, environ, colour=colour) if self.interactive else None

    def progress(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        if self._rich_err is not None:
            self._draw(stage, done, total, detail)
        elif line := self._plain.line(stage, done, total, detail):
            self._err.write(f"{line}\n")
            self._err.flush()

    def log(self, level: Level, text: str) -> None:
        if level < self._level:
            return
        prefix = "" if level is Level.INFO else f"{level.word}: "
        line = prefix + tame(text).rstrip("\n")
        if self._rich_err is not None:
            # Through rich, so that the line appears above the live display and does not break it.
            self._rich_err.print(Text(line, _STYLES[level]), soft_wrap=True)
        else:
            self._err.write(f"{line}\n")
        self._err.flush()

    def show(self, content: RenderableType) -> None:
        # Both streams may be the same screen: output in the middle of a live display would break
        # it.
        was_live = self._live is not None
        self._stop_display()
        if was_live and self._rich_out is not None:
            self._out.write("\n")
        if self._rich_out is not None and not isinstance(content, str):
            self._rich_out.print(content)
        else:
            self._out.write(f"{tame(str(content))}\n")
        self._out.flush()

    def write(self, pieces: Iterable[str]) -> None:
        """Write a document to stdout as it is, for another program: no colour, no frames."""
        self._stop_display()
        for piece in pieces:
            self._out.write(piece)
        self._out.flush()

    def finish(self) -> None:
        self._stop_display()
        self._out.flush()
        if fault := self._out.fault:
            self._out.fault = ""
            self.log(Level.ERROR, f"Some of the output could not be written: {fault}")
        self._err.flush()

    @contextmanager
    def group(self, title: str) -> Iterator[None]:  # noqa: ARG002  (the results have headings)
        yield

    def annotate(self, level: Level, title: str, text: str) -> None:
        """Do nothing: the terminal shows the log itself."""

    def mask(self, secret: str) -> None:
        """Do nothing: a terminal cannot mask text. Secrets are never printed."""

    async def id_token(self, audience: str) -> str:  # noqa: ARG002
        raise NoIdToken("Only a job of a CI system has an ID token.", "Log in another way.")

    def outputs(self, values: Mapping[str, str]) -> str:  # noqa: ARG002  (they are in the report files)
        return ""

    def summary(self, markdown: str) -> str:  # noqa: ARG002  (it is in summary.md)
        return ""

    def _draw(self, stage: str, done: int, total: int | None, detail: str) -> None:
        if self._live is None:
            self._live = Progress(*_columns(), console=self._rich_err, refresh_per_second=8, expand=True)
            self._live.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._live.add_task(tame(stage), total=total, detail="")
        ends = total is not None and done >= total
        self._live.update(self._tasks[stage], total=total, completed=done, detail="" if ends else tame(detail))

    def _stop_display(self) -> None:
        """End the live display; stages that are not finished begin a new one."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._tasks.clear()


class _Stream(io.TextIOBase):
    """
    A stream that ignores closed pipes and characters that its encoding cannot represent.

    After the reader is gone (`| head`), further output is dropped: a run that deletes must not stop
    because of that. Characters that the encoding cannot represent are written as escapes.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.fault = ""
        """Why output was lost; empty for a closed pipe."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # it is closed
            return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._stream is not None:
            safe = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
            try:
                self._stream.write(safe)
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        stream, self._stream = self._stream, None
        if not isinstance(error, BrokenPipeError):
            self.fault = str(error)
        # The interpreter flushes its streams again when it ends, and would report the closed pipe.
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        try:
            descriptor = stream.fileno() if stream is not None else -1
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, descriptor)
            finally:
                os.close(null)
        except (OSError, ValueError):
            pass


class _Count(ProgressColumn):
    """`3/8`, or `3` while the total is unknown."""

    def render(self, task: Task) -> Text:
        done = f"{int(task.completed):,}"
        return Text(done if task.total is None else f"{done}/{int(task.total):,}", "bold")


def _columns() -> tuple[ProgressColumn, ...]:
    # The detail fills the rest of the line. It is cut, not wrapped, so that the display keeps its
    # height.
    detail = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        _Count(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", style="dim", markup=False, table_column=detail),
    )


def _console(stream: _Stream, environ: Mapping[str, str], *, colour: bool) -> Console:
    return Console(
        file=stream,  # type: ignore[arg-type]
        force_terminal=True,
        color_system="auto" if colour else None,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
        _environ=environ,
    )
