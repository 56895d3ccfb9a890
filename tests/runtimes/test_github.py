"""The runtime of a GitHub job: files, annotations and tokens, and no text that the runner obeys."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.runtimes import github
from acr_cleanup.runtimes.base import Level, NoIdToken, Runtime, connect_log
from acr_cleanup.runtimes.github import GitHub
from tests.helpers.jobs import Log

HOSTILE = "a\n::add-mask::x\r\n  ::error::y ##[error]z ##vso[task.complete]\x1b[2J\u2028::set-output name=a::b"


@pytest.fixture
def runtime() -> GitHub:
    return GitHub()


def printed(capsys: pytest.CaptureFixture[str]) -> Log:
    out, err = capsys.readouterr()
    assert err == ""
    return Log(out)


def test_github_implements_the_protocol(runtime: GitHub) -> None:
    checked: Runtime = runtime
    checked.finish()


def test_inputs_are_read_by_their_workflow_names(runtime: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPUT_DRY-RUN", " false ")
    monkeypatch.setenv("INPUT_OLDER THAN", "1")
    assert runtime.input("dry-run") == "false"
    assert runtime.input("registry") == ""
    assert runtime.input_names() == ("dry-run", "older than")


def test_no_output_is_a_command(runtime: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    with runtime.group(HOSTILE):
        runtime.log(Level.INFO, HOSTILE)
        runtime.log(Level.ERROR, HOSTILE)
        runtime.progress(HOSTILE, 1, 2, HOSTILE)
        runtime.show(HOSTILE)
    runtime.annotate(Level.WARNING, HOSTILE, HOSTILE)
    runtime.finish()
    log = printed(capsys)

    assert log.masks == []
    assert log.others == []
    assert [annotation.level for annotation in log.annotations] == ["warning"]
    assert "\x1b" not in log.text
    assert "##[" not in log.text
    assert "##vso[" not in log.text


def test_results_are_shown_with_commands_stopped(runtime: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    runtime.show("first")
    runtime.show("second")
    text = capsys.readouterr().out
    pauses = {line.rpartition("::")[2] for line in text.splitlines() if line.startswith("::stop-commands::")}

    assert len(pauses) == 2, "the token that ends a pause must not be predictable"
    assert Log(text).lines == ["first", "second"]


def test_annotations_are_bounded_and_the_last_counts(runtime: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(25):
        runtime.annotate(Level.ERROR, f"title {number}", "text")
    for number in range(9):
        runtime.annotate(Level.WARNING, f"title {number}", "text")
    runtime.finish()
    runtime.finish()
    log = printed(capsys)

    assert len(log.of("error")) == 10
    assert log.of("error")[-1].message.startswith("There are 16 more")
    assert len(log.of("warning")) == 9
    assert "error: title 24: text" in log.lines, "further messages are in the log"


def test_annotation_length_is_bounded(runtime: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    runtime.annotate(Level.ERROR, "t" * 5000, "x" * 5000)
    (annotation,) = printed(capsys).annotations

    assert len(annotation.message) <= 4096
    assert len(annotation.title) <= 255
    assert annotation.message.endswith("…")


def test_nested_groups_are_one_group(runtime: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    with runtime.group("outer"), runtime.group("inner"):
        runtime.log(Level.INFO, "text")
    with pytest.raises(ZeroDivisionError), runtime.group("broken"):
        raise ZeroDivisionError
    assert printed(capsys).groups == ["outer", "broken"]


def test_progress_prints_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    runtime = GitHub(clock=lambda: now[0])
    for done in range(1001):
        now[0] = done / 20
        runtime.progress("tags", done, 1000, f"tag {done}")
    lines = printed(capsys).lines

    assert len(lines) == 6
    assert lines[-1] == "tags: 1,000 of 1,000, done in 50 s"


def test_mask_is_printed_per_secret_but_not_if_empty(runtime: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    for secret in ("", "  ", "hunter2", "two\nlines % more"):
        runtime.mask(secret)
    assert printed(capsys).masks == ["hunter2", "two\nlines % more"]


def test_log_respects_level_and_job_debugging(
    runtime: GitHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.log(Level.DEBUG, "hidden")
    runtime.level = Level.DEBUG
    runtime.log(Level.DEBUG, "asked for by an input")
    monkeypatch.setenv("RUNNER_DEBUG", "1")
    runtime.log(Level.DEBUG, "asked for\nby the job")
    assert capsys.readouterr().out == "debug: asked for by an input\n::debug::asked for%0Aby the job\n"


def test_python_log_is_passed_on(runtime: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    try:
        connect_log(runtime, Level.INFO)
        logging.getLogger("acr_cleanup").warning("text\n::error::%s", "x")
        logging.getLogger("azure.identity").warning("not this")
    finally:
        logging.getLogger().handlers[:] = before
    assert capsys.readouterr().out == "warning: text\n: :error::x\n"


# -- outputs and summary -------------------------------------------------------------------------


def test_outputs_and_summary_are_appended(runtime: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, summary = tmp_path / "output", tmp_path / "summary"
    for name, path in (("GITHUB_OUTPUT", output), ("GITHUB_STEP_SUMMARY", summary)):
        path.write_text("before\n")
        monkeypatch.setenv(name, str(path))
    assert runtime.outputs({"a": "x\ny", "b": "half a pair: \ud800"}) == ""
    assert runtime.summary("# Töpfe \ud800\n") == ""

    lines = output.read_text().splitlines()
    assert lines[0] == "before"
    delimiter = lines[1].removeprefix("a<<")
    assert lines[2:5] == ["x", "y", delimiter]
    assert lines[6] == "half a pair: \\ud800"
    assert summary.read_text() == "before\n# Töpfe \\ud800\n"


@pytest.mark.parametrize("kind", ["unset", "missing", "folder"])
def test_unwritable_file_is_returned_as_fault(
    runtime: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / "file"
    if kind == "folder":
        path.mkdir()
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        if kind != "unset":
            monkeypatch.setenv(name, str(path))
    for fault in (runtime.outputs({"a": "x"}), runtime.summary("text")):
        assert fault
        assert ("is not set" in fault) if kind == "unset" else (str(path) in fault)
    assert capsys.readouterr().out == "", "not by the command that GitHub no longer supports"
    assert path.exists() == (kind == "folder")


def test_closed_stdout_does_not_stop_the_run(runtime: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    class ClosedPipe:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", ClosedPipe())
    runtime.log(Level.ERROR, "x")
    runtime.annotate(Level.ERROR, "x", "y")
    runtime.show("x")
    runtime.finish()


# -- the token of the job ------------------------------------------------------------------------


@pytest.fixture
async def issuer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    monkeypatch.setattr(github, "BACKOFF", 0.01)
    async with Emulator(World()) as emulator:
        for name, value in {**emulator.environment(), **emulator.github_environment()}.items():
            monkeypatch.setenv(name, value)
        yield emulator


async def test_id_token_has_its_audience_and_is_masked(
    issuer: Emulator, runtime: GitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = [await runtime.id_token("api://Some Where&else") for _ in range(2)]
    claims = issuer.authority.signer.verify(tokens[0])

    assert claims is not None
    assert claims["aud"] == "api://Some Where&else"
    assert tokens[0] != tokens[1], "each token is new"
    assert printed(capsys).masks == tokens


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(status=429), Fault(reset=True), Fault(malformed=True), Fault(hang=30)]
)
async def test_id_token_request_is_repeated_after_failures(
    issuer: Emulator, runtime: GitHub, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(github, "DEADLINE", 1.0)
    fault.service, fault.times, fault.hits, fault.matched = "oidc", 2, 0, 0
    issuer.world.faults.append(fault)
    assert issuer.authority.signer.verify(await runtime.id_token("x"))
    assert fault.hits == 2


@pytest.mark.parametrize(
    ("fault", "seen", "requests"),
    [
        (Fault(status=503, body="request-token"), "answered 503", 3),
        (Fault(status=403), "answered 403", 1),
        (Fault(reset=True), "cannot be reached (ConnectionError)", 3),
        (Fault(malformed=True), "not from GitHub's token issuer", 3),
    ],
)
async def test_permanent_id_token_failure_names_the_cause(
    issuer: Emulator, runtime: GitHub, fault: Fault, seen: str, requests: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fault.service, fault.hits, fault.matched = "oidc", 0, 0
    issuer.world.faults.append(fault)
    with pytest.raises(NoIdToken) as caught:
        await runtime.id_token("x")

    assert seen in caught.value.seen
    assert caught.value.remedy
    assert fault.hits == requests
    assert "request-token" not in caught.value.seen + caught.value.remedy + capsys.readouterr().out


async def test_hanging_issuer_blocks_neither_loop_nor_run(
    issuer: Emulator, runtime: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github, "DEADLINE", 0.3)
    issuer.world.faults.append(Fault(service="oidc", hang=20))
    began = time.monotonic()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(NoIdToken, match="no answer within"):
        await runtime.id_token("x")
    ticking.cancel()
    assert time.monotonic() - began < 15
    assert ticks > 3


async def test_untrusted_issuer_names_the_remedy(
    issuer: Emulator, runtime: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NoIdToken) as caught:
        await runtime.id_token("x")
    assert "SSL_CERT_FILE" in caught.value.remedy


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
async def test_one_certificate_variable_is_enough(
    issuer: Emulator, runtime: GitHub, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"} - {variable}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", issuer.ca_file if variable == "REQUESTS_CA_BUNDLE" else "")
    assert await runtime.id_token("x")


@pytest.mark.parametrize("missing", ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
async def test_missing_permission_is_named_in_the_remedy(
    issuer: Emulator, runtime: GitHub, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    with pytest.raises(NoIdToken) as caught:
        await runtime.id_token("x")
    assert "id-token: write" in caught.value.remedy
    assert issuer.world.requests == []


@pytest.mark.parametrize(
    ("event", "fork"),
    [
        ({"pull_request": {"head": {"repo": {"full_name": "m/x"}}, "base": {"repo": {"full_name": "c/x"}}}}, True),
        ({"pull_request": {"head": {"repo": None}, "base": {"repo": {"full_name": "c/x"}}}}, True),
        ({"pull_request": {"head": {"repo": {"full_name": "c/x"}}, "base": {"repo": {"full_name": "c/x"}}}}, False),
        ({"pull_request": {"head": 7}}, False),
        ({"ref": "refs/heads/main"}, False),
        ([], False),
        (None, False),
    ],
)
async def test_fork_is_recognised_by_the_event(
    runtime: GitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, event: object, fork: bool
) -> None:
    path = tmp_path / "event.json"
    if event is not None:
        path.write_text(json.dumps(event))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(path))
    with pytest.raises(NoIdToken) as caught:
        await runtime.id_token("x")
    assert ("fork" in caught.value.seen) is fork
