"""The runtime of the command line, with and without a terminal."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from acr_cleanup.runtimes.base import SECONDS_BETWEEN_LINES, Level, Runtime
from acr_cleanup.runtimes.terminal import Terminal

PLAIN_ENVIRONMENT = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "25"}


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


class BothForms:
    """Content with one form for text and one for rich."""

    def __str__(self) -> str:
        return "plain form"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("rich form", "bold red")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def terminal(
    out: io.StringIO, err: io.StringIO, environ: dict[str, str] | None = None, **more: Any
) -> tuple[Terminal, io.StringIO, io.StringIO]:
    runtime = Terminal(stdout=out, stderr=err, environ=PLAIN_ENVIRONMENT if environ is None else environ, **more)
    return runtime, out, err


def captured_terminal() -> tuple[Terminal, io.StringIO, io.StringIO, Clock]:
    clock = Clock()
    return (*terminal(io.StringIO(), io.StringIO(), clock=clock), clock)


def test_terminal_implements_the_protocol() -> None:
    runtime: Runtime = captured_terminal()[0]

    runtime.finish()


def test_only_results_go_to_stdout() -> None:
    runtime, out, err, _ = captured_terminal()

    runtime.progress("repositories", 0, 2)
    runtime.log(Level.WARNING, "careful")
    runtime.show("the result")
    runtime.finish()

    assert out.getvalue() == "the result\n"
    assert err.getvalue() == "repositories: 0 of 2\nwarning: careful\n"


def test_pipe_gets_plain_text_without_escapes() -> None:
    runtime, out, err, _ = captured_terminal()

    runtime.progress("repositories", 1, 2, "shop/web")
    runtime.show(BothForms())
    runtime.finish()

    assert out.getvalue() == "plain form\n"
    assert "\x1b" not in err.getvalue()


def test_stage_prints_start_end_and_few_lines_between() -> None:
    """The log of a CI system is read afterwards, not watched."""
    runtime, _, err, clock = captured_terminal()

    for done in range(1001):
        runtime.progress("tags", done, 1000, f"tag {done}")
        clock.now += 0.03

    lines = err.getvalue().splitlines()
    assert lines[0] == "tags: 0 of 1,000 (tag 0)"
    assert lines[-1] == "tags: 1,000 of 1,000, done in 30 s"
    # Lines at 0, 10 and 20 seconds and at the end; also at 30 seconds, if rounding puts it before
    # the end.
    assert len(lines) in {2 + int(29 // SECONDS_BETWEEN_LINES), 2 + int(30 // SECONDS_BETWEEN_LINES)}


def test_end_of_stage_is_printed_once() -> None:
    runtime, _, err, _ = captured_terminal()

    for _ in range(3):
        runtime.progress("clusters", 2, 2)
    runtime.progress("more", 0, 0)

    assert err.getvalue() == "clusters: 2 of 2, done\nmore: 0 of 0, done\n"


def test_stage_without_total_prints_its_count() -> None:
    runtime, _, err, _ = captured_terminal()

    runtime.progress("catalog", 1200, None)

    assert err.getvalue() == "catalog: 1,200\n"


@pytest.mark.parametrize(("level", "expected"), [*zip(Level, (4, 3, 2, 1), strict=True)])
def test_log_respects_the_level(level: Level, expected: int) -> None:
    runtime, _, err = terminal(io.StringIO(), io.StringIO(), level=level)

    for message_level in Level:
        runtime.log(message_level, "x")

    assert len(err.getvalue().splitlines()) == expected


def test_hostile_text_is_tamed_in_all_output() -> None:
    runtime, out, err, _ = captured_terminal()
    text = "\x1b[2J\n::add-mask::x ##vso[task.complete]"

    runtime.progress("stage", 0, 1, text)
    runtime.log(Level.INFO, text)
    runtime.show(text)

    for written in (out.getvalue(), err.getvalue()):
        assert "\x1b" not in written
        assert "##vso" not in written
        assert not any(line.lstrip().startswith("::") for line in written.splitlines())


def test_terminal_gets_live_display_and_rich_form() -> None:
    runtime, out, err = terminal(Tty(), Tty())

    assert runtime.interactive
    runtime.progress("repositories", 1, 2, "[bold]shop/web[/]")
    runtime.log(Level.ERROR, "seen")
    runtime.show(BothForms())
    runtime.progress("repositories", 2, 2)
    runtime.finish()
    runtime.finish()

    assert "rich form" in out.getvalue()
    assert "plain form" not in out.getvalue()
    assert "[bold]shop/web[/]" in err.getvalue()
    assert "error: seen" in err.getvalue()
    # The display is closed: the hidden cursor is shown again.
    assert err.getvalue().count("\x1b[?25l") == err.getvalue().count("\x1b[?25h") > 0


@pytest.mark.parametrize(
    ("environ", "interactive", "colour"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"CI": "true"}, False, False),
        ({"CI": "false"}, True, True),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_environment_decides_display_and_colour(environ: dict[str, str], interactive: bool, colour: bool) -> None:
    runtime, out, _ = terminal(Tty(), Tty(), {**PLAIN_ENVIRONMENT, **environ})
    runtime.show(BothForms())
    runtime.finish()

    assert runtime.interactive is interactive
    assert ("\x1b[1;31m" in out.getvalue()) is colour


def test_ascii_stream_gets_escapes() -> None:
    """`LANG=C` must not end a run."""
    raw = io.BytesIO()
    runtime, _, _ = terminal(io.TextIOWrapper(raw, encoding="ascii"), io.StringIO())  # type: ignore[arg-type]

    runtime.show("… ✓")
    runtime.finish()

    assert raw.getvalue() == b"\\u2026 \\u2713\n"


def test_missing_streams_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may be started with its streams closed."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    runtime = Terminal(environ=PLAIN_ENVIRONMENT)

    runtime.progress("x", 0, 1)
    runtime.log(Level.ERROR, "x")
    runtime.show("x")
    runtime.finish()


SCRIPT = """
import sys
from acr_cleanup.runtimes.terminal import Terminal
runtime = Terminal(environ={})
for number in range(20000):
    runtime.show(f"line {number}")
runtime.finish()
print("further output")
open(sys.argv[1], "w").write("reached the end")
"""


@pytest.fixture
def script(tmp_path: Path) -> tuple[list[str], Path]:
    reached = tmp_path / "reached"
    return [sys.executable, "-c", SCRIPT, str(reached)], reached


def test_closed_pipe_ends_output_but_not_the_run(script: tuple[list[str], Path]) -> None:
    """`| head` must neither stop a run that deletes nor cause an error message at its end."""
    command, reached = script
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (0, b"")
    assert reached.read_text() == "reached the end"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_reported_and_does_not_stop_the_run(script: tuple[list[str], Path]) -> None:
    command, reached = script
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)

    assert done.returncode == 0
    assert done.stderr.startswith(b"error: Some of the output could not be written")
    assert reached.exists()


def test_live_display_fits_the_width() -> None:
    runtime, _, err = terminal(Tty(), Tty())

    runtime.progress("repositories", 0, 3, "x" * 500)
    runtime.finish()

    assert "x" * 80 not in err.getvalue()
