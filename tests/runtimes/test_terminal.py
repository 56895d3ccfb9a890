"""A command line, with and without somebody who watches."""

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


class Both:
    """Something that has a form for each kind of place."""

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
    made = Terminal(stdout=out, stderr=err, environ=PLAIN_ENVIRONMENT if environ is None else environ, **more)
    return made, out, err


def without() -> tuple[Terminal, io.StringIO, io.StringIO, Clock]:
    clock = Clock()
    return (*terminal(io.StringIO(), io.StringIO(), clock=clock), clock)


def test_it_is_a_runtime() -> None:
    runtime: Runtime = without()[0]

    runtime.finish()


def test_results_go_to_stdout_and_all_else_to_stderr() -> None:
    made, out, err, _ = without()

    made.progress("repositories", 0, 2)
    made.log(Level.WARNING, "careful")
    made.show("the result")
    made.finish()

    assert out.getvalue() == "the result\n"
    assert err.getvalue() == "repositories: 0 of 2\nwarning: careful\n"


def test_without_a_terminal_there_is_no_escape_and_the_plain_form() -> None:
    made, out, err, _ = without()

    made.progress("repositories", 1, 2, "shop/web")
    made.show(Both())
    made.finish()

    assert out.getvalue() == "plain form\n"
    assert "\x1b" not in err.getvalue()


def test_a_stage_tells_of_its_start_its_end_and_seldom_in_between() -> None:
    """A log of a CI system is read by people, not watched."""
    made, _, err, clock = without()

    for done in range(1001):
        made.progress("tags", done, 1000, f"tag {done}")
        clock.now += 0.03

    lines = err.getvalue().splitlines()
    assert lines[0] == "tags: 0 of 1,000 (tag 0)"
    assert lines[-1] == "tags: 1,000 of 1,000, done in 30 s"
    # At 0, 10 and 20 seconds, and the end; at 30 seconds, if rounding lets it come before the end.
    assert len(lines) in {2 + int(29 // SECONDS_BETWEEN_LINES), 2 + int(30 // SECONDS_BETWEEN_LINES)}


def test_the_end_of_a_stage_is_told_once_and_at_once() -> None:
    made, _, err, _ = without()

    for _ in range(3):
        made.progress("clusters", 2, 2)
    made.progress("more", 0, 0)

    assert err.getvalue() == "clusters: 2 of 2, done\nmore: 0 of 0, done\n"


def test_a_stage_may_not_know_its_total() -> None:
    made, _, err, _ = without()

    made.progress("catalog", 1200, None)

    assert err.getvalue() == "catalog: 1,200\n"


@pytest.mark.parametrize(("level", "expected"), [*zip(Level, (4, 3, 2, 1), strict=True)])
def test_the_level_decides_what_is_logged(level: Level, expected: int) -> None:
    made, _, err = terminal(io.StringIO(), io.StringIO(), level=level)

    for each in Level:
        made.log(each, "x")

    assert len(err.getvalue().splitlines()) == expected


def test_hostile_text_is_tamed_on_every_way_out() -> None:
    made, out, err, _ = without()
    text = "\x1b[2J\n::add-mask::x ##vso[task.complete]"

    made.progress("stage", 0, 1, text)
    made.log(Level.INFO, text)
    made.show(text)

    for written in (out.getvalue(), err.getvalue()):
        assert "\x1b" not in written
        assert "##vso" not in written
        assert not any(line.lstrip().startswith("::") for line in written.splitlines())


def test_a_terminal_gets_a_live_display_and_the_rich_form() -> None:
    made, out, err = terminal(Tty(), Tty())

    assert made.interactive
    made.progress("repositories", 1, 2, "[bold]shop/web[/]")
    made.log(Level.ERROR, "seen")
    made.show(Both())
    made.progress("repositories", 2, 2)
    made.finish()
    made.finish()

    assert "rich form" in out.getvalue()
    assert "plain form" not in out.getvalue()
    assert "[bold]shop/web[/]" in err.getvalue()
    assert "error: seen" in err.getvalue()
    # The display is closed: the cursor that it hid is shown again.
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
def test_what_the_environment_asks_for(environ: dict[str, str], interactive: bool, colour: bool) -> None:
    made, out, _ = terminal(Tty(), Tty(), {**PLAIN_ENVIRONMENT, **environ})
    made.show(Both())
    made.finish()

    assert made.interactive is interactive
    assert ("\x1b[1;31m" in out.getvalue()) is colour


def test_a_stream_without_the_letters_gets_escapes() -> None:
    """`LANG=C` must not end a run."""
    raw = io.BytesIO()
    made, _, _ = terminal(io.TextIOWrapper(raw, encoding="ascii"), io.StringIO())  # type: ignore[arg-type]

    made.show("… ✓")
    made.finish()

    assert raw.getvalue() == b"\\u2026 \\u2713\n"


def test_without_streams_there_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may be started with its streams closed."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    made = Terminal(environ=PLAIN_ENVIRONMENT)

    made.progress("x", 0, 1)
    made.log(Level.ERROR, "x")
    made.show("x")
    made.finish()


SCRIPT = """
import sys
from acr_cleanup.runtimes.terminal import Terminal
made = Terminal(environ={})
for number in range(20000):
    made.show(f"line {number}")
made.finish()
print("somebody else still prints")
open(sys.argv[1], "w").write("reached the end")
"""


@pytest.fixture
def script(tmp_path: Path) -> tuple[list[str], Path]:
    reached = tmp_path / "reached"
    return [sys.executable, "-c", SCRIPT, str(reached)], reached


def test_a_reader_who_leaves_ends_the_output_but_not_the_run(script: tuple[list[str], Path]) -> None:
    """`| head` must neither stop a run that deletes nor end it with a complaint."""
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
def test_a_full_disk_does_not_stop_the_run_and_is_told(script: tuple[list[str], Path]) -> None:
    command, reached = script
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)

    assert done.returncode == 0
    assert done.stderr.startswith(b"error: Some of the output could not be written")
    assert reached.exists()


def test_a_live_display_stays_within_the_width() -> None:
    made, _, err = terminal(Tty(), Tty())

    made.progress("repositories", 0, 3, "x" * 500)
    made.finish()

    assert "x" * 80 not in err.getvalue()
