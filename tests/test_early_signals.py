"""Signals that arrive before a command handles them: a message, and 128 + the number as exit code."""

from __future__ import annotations

import asyncio
import gc
import runpy
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from acr_cleanup.__main__ import entry
from acr_cleanup.concurrency import Stop
from acr_cleanup.signals import Interrupted, cancelled_on_signals, stop_signals
from tests.helpers.paths import ROOT

MESSAGE = "Cancelled. Nothing was deleted.\n"
SENT = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    handlers, thresholds = {number: signal.getsignal(number) for number in stop_signals()}, gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def code_of(work: Callable[[], object]) -> object:
    with pytest.raises(SystemExit) as ended:
        work()
    return ended.value.code


def guarded(work: Callable[[], object]) -> None:
    with cancelled_on_signals():
        work()


@pytest.mark.parametrize("sent", SENT)
def test_early_signal_ends_the_process_with_a_message(sent: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(lambda: guarded(lambda: signal.raise_signal(sent))) == 128 + sent
    assert capsys.readouterr().err == MESSAGE


def test_second_signal_does_not_interrupt_the_message() -> None:
    assert code_of(lambda: guarded(lambda: signal.raise_signal(signal.SIGTERM))) == 143
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("stream", [None, "closed"])
def test_early_signal_without_stderr_keeps_its_code(stream: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = (ROOT / "README.md").open(encoding="utf-8")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream else None)
    assert code_of(lambda: guarded(lambda: signal.raise_signal(signal.SIGHUP))) == 129


def test_interrupt_after_a_command_has_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    """The command may have deleted something, and has reported it."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert code_of(lambda: guarded(interrupted)) == 130
    assert capsys.readouterr().err == ""


def test_signal_in_an_event_loop_without_handler_ends_it() -> None:
    async def other() -> None:
        await asyncio.sleep(60)

    async def command() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(other())
            await asyncio.sleep(0)
            signal.raise_signal(signal.SIGTERM)

    assert code_of(lambda: guarded(lambda: asyncio.run(command()))) == 143


def test_command_that_handles_signals_is_not_interrupted() -> None:
    async def command() -> int:
        stop = Stop()
        with stop.on_signals():
            signal.raise_signal(signal.SIGTERM)
            await stop.event.wait()
        return stop.received

    received: list[int] = []
    guarded(lambda: received.append(asyncio.run(command())))
    assert received == [signal.SIGTERM]


def test_command_line_ends_cleanly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["acr-cleanup", "plan"])
    monkeypatch.setattr("acr_cleanup.cli.entry", lambda: signal.raise_signal(signal.SIGTERM))
    assert code_of(entry) == 143
    assert capsys.readouterr().err == MESSAGE


@pytest.mark.parametrize("variable", ["GITHUB_ACTIONS", "ACR_CLEANUP_RUNTIME"])
def test_container_ends_cleanly(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the step handles signals itself."""
    monkeypatch.setattr(sys, "argv", ["entrypoint.py"])
    monkeypatch.setenv(variable, "azure-devops" if variable == "ACR_CLEANUP_RUNTIME" else "true")
    monkeypatch.setattr("acr_cleanup.pipeline.run", lambda _: signal.raise_signal(signal.SIGTERM))
    assert code_of(lambda: runpy.run_path(str(ROOT / "entrypoint.py"), run_name="__main__")) == 143
    assert capsys.readouterr().err == MESSAGE


def test_interrupted_is_a_keyboard_interrupt() -> None:
    """Libraries and event loops let it pass, where they would catch or keep another exception."""
    assert issubclass(Interrupted, KeyboardInterrupt)
