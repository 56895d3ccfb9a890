"""Foreign text in logs, annotations, summaries and outputs: no commands and no markup."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.quoting import quoted
from acr_cleanup.reports import text as plain_text
from acr_cleanup.reports import words
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.markdown import render
from acr_cleanup.reports.outputs import outputs
from acr_cleanup.runtimes.azure_devops import AzureDevOps
from acr_cleanup.runtimes.base import Level
from acr_cleanup.runtimes.github import GitHub
from acr_cleanup.runtimes.terminal import Terminal
from tests.helpers import hostile_text as hostile
from tests.helpers.damaged_documents import HOSTILE, fuzz_test, texts
from tests.helpers.jobs import Log
from tests.reports.test_markdown import CONTEXT, OURS, elements, html, whole
from tests.reports.test_words import harmless, shown

PIECES = (
    *HOSTILE,
    ":",
    "#",
    "[",
    "\n",
    "\r",
    " ",
    "\t",
    "::",
    "##",
    "%",
    "\u200b",
    "\x85",
    "</td>",
    "<td>",
    "&lt;",
    "&#60;",
    "https://",
    "www.",
    "@org",
    "**",
    "~~",
    "|",
    "\\",
    "e\u0301",
    "```",
    "::endgroup::",
    "::stop-commands::x",
    "::x::",
    "add-mask",
    "name=",
    ",",
)
foreign = texts | st.lists(st.sampled_from(PIECES) | st.characters(), max_size=14).map("".join)


@contextlib.contextmanager
def step_files() -> Iterator[tuple[Path, Path]]:
    """The output and summary files of a step, named in the environment."""
    with tempfile.TemporaryDirectory(prefix="acr-cleanup-fuzz-") as folder:
        files = Path(folder, "output"), Path(folder, "summary")
        for file in files:
            file.touch()
        with mock.patch.dict(os.environ, {"GITHUB_OUTPUT": str(files[0]), "GITHUB_STEP_SUMMARY": str(files[1])}):
            yield files


def read_outputs(path: Path) -> dict[str, str]:
    """The outputs as GitHub's runner reads them; an incomplete file would fail the step."""
    lines = iter(re.split(r"\r\n|\n|\r", path.read_bytes().decode()))
    values = {}
    for line in filter(None, lines):
        name, separator, delimiter = line.partition("<<")
        assert separator
        values[name] = "\n".join(iter(lambda: next(lines), delimiter))
    return values


@fuzz_test
@given(foreign, foreign, st.sampled_from(Level))
def test_logged_text_is_never_a_command_to_github(text: str, title: str, level: Level) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        runtime = GitHub(Level.DEBUG)
        runtime.log(level, text)
        runtime.annotate(level, title, text)
        runtime.progress(title, 1, 3, text)
        with runtime.group(title):
            runtime.show(f"{text}\n{title}")
        runtime.log(Level.INFO, f"{text}:")
        runtime.finish()
    # `Log` fails on any command that is not ours, and if commands are still stopped at the end.
    log = Log(out.getvalue())
    assert log.others == []
    assert log.masks == []
    assert len(log.annotations) == 1
    assert len(log.groups) == 1
    assert "\x1b" not in out.getvalue()


@fuzz_test
@given(foreign, foreign, st.sampled_from(Level))
def test_logged_text_is_harmless_in_pipelines_and_terminals(text: str, title: str, level: Level) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out):
        runtime = AzureDevOps(Level.DEBUG, environ={})
        runtime.log(level, text)
        runtime.annotate(level, title, text)
        runtime.progress(title, 1, 3, text)
        runtime.show(f"{text}\n{title}")
    terminal = Terminal(stdout=out, stderr=err, environ={})
    terminal.log(level, text)
    terminal.progress(title, 1, 3, text)
    terminal.show(f"{text}\n{title}")
    terminal.finish()
    written = out.getvalue() + err.getvalue()
    assert not re.search(r"##\[|##vso\[", written)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", written)


@fuzz_test
@given(st.dictionaries(st.sampled_from(["a", "deleted-tags", "result"]), foreign, min_size=1))
def test_outputs_are_read_back_unchanged(values: dict[str, str]) -> None:
    with step_files() as (output, _):
        assert GitHub().outputs(values) == ""
        read = read_outputs(output)
    assert read.keys() == values.keys()
    for name, value in values.items():
        writable = value.encode("utf-8", "backslashreplace").decode()
        # A carriage return at the end and the line break after it count as one line break.
        assert read[name] == re.sub(r"\r\n|\r", "\n", f"{writable}\n")[:-1]


@fuzz_test
@given(foreign)
def test_rendered_names_are_harmless_and_unchanged(text: str) -> None:
    assert harmless(words.plain(text))
    assert harmless(f"{words.plain(text)}: {words.name(text)}")
    assert quoted(text).isprintable()
    rendered = html(f"x {words.markdown(text)} x")
    assert shown(rendered.removeprefix("<p>").removesuffix("</p>\n")) == f"x {words.plain(text)} x"
    assert not re.search("[<>]", words.html(text))
    for cell in (words.markdown(text), words.code(text), words.prose(text)):
        table = html(f"| a | b |\n| - | - |\n| x{cell}x | last |\n")
        assert table.count("<td>") == 2
        assert "<td>last</td>" in table
        assert set(elements(f"x{cell}x")) <= {"p", "/p", "code", "/code", "br"}


@fuzz_test
@given(foreign.filter(lambda text: text.strip() != ""))
def test_report_with_hostile_text_is_well_formed(text: str) -> None:
    """In the summary, on the terminal and in the outputs, in every place of a name."""
    result = hostile.result(text)
    summary = render(result, CONTEXT)
    assert set(elements(summary)) <= OURS | {f"/{name}" for name in OURS}
    assert whole(summary)
    assert "::" not in summary
    assert not re.search(r"##\[|##vso", summary)
    assert all(line.isprintable() for line in summary.replace("\u200b", "").splitlines())
    on_terminal = str(plain_text.render(result, Context()))
    assert not re.search(r"(?m)^\s*::|##", on_terminal)
    with step_files() as (output, _):
        assert GitHub().outputs(outputs(result, Context())) == ""
        assert "result" in read_outputs(output)
