"""Runs the real step of the action on a golden scenario, and makes its output reproducible."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import re
import shutil
import threading
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.world import GITHUB_ISSUER, FederatedCredential
from acr_cleanup.pipeline import run
from acr_cleanup.runtimes.github import GitHub
from tests.helpers.golden_worlds import GoldenScenario
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory

T = TypeVar("T")

_RESOURCE_ID = (
    "/subscriptions/{0.subscription_id}/resourceGroups/{0.resource_group}"
    "/providers/Microsoft.ContainerService/managedClusters/{0.name}"
)


# -- connections ----------------------------------------------------------------------------------


class ServedOverTls:
    """
    Serves a world over TLS, from a thread.

    The step needs the thread, because it runs its own event loop, as on a runner. Change the world
    from outside only while no request is under way.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="emulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def emulators(self) -> list[Emulator]:
        return [self._emulator]

    def environment(self) -> dict[str, str]:
        return {**self._emulator.environment(), **self._emulator.github_environment()}

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  (raised again by `__enter__`)
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with Emulator(self._world) as self._emulator:
            self._ready.set()
            await self._end.wait()


class ServedInMemory:
    """
    Serves a world in the event loop of the step: the same answers in a fifth of the time.

    Requests that leave that loop need `ServedOverTls`, such as the request for GitHub's token.
    """

    def __init__(self, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._world = world
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.emulators: list[Emulator] = []

    def __enter__(self) -> Self:
        connect_in_memory(self._monkeypatch)
        self._monkeypatch.setattr(asyncio, "run", lambda work: run_in_virtual_time(lambda: self._run_with_world(work)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: pytest undoes the patches at the end of the test."""

    def environment(self) -> dict[str, str]:
        return {}

    async def _run_with_world(self, work: Coroutine[Any, Any, T]) -> T:
        async with serve_in_memory(self._world, self._folder) as tool:
            self.emulators.append(tool.emulator)
            return await work


# -- steps ----------------------------------------------------------------------------------------


@dataclass
class Step:
    """The results of a step."""

    code: int
    log: str
    summary: str
    outputs: dict[str, str]
    report_dir: Path


@dataclass
class Runner:
    """A GitHub runner and its folders, on which the steps of a scenario run."""

    scenario: GoldenScenario
    served: ServedOverTls | ServedInMemory
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.workspace = self.folder / "workspace"
        for name in ("workspace", "temp", "commands"):
            (self.folder / name).mkdir()
        if (given := self.scenario.folder / "workspace").is_dir():
            shutil.copytree(given, self.workspace, dirs_exist_ok=True)

    def step(self, inputs: Mapping[str, str]) -> Step:
        """Run one step in this process, and restore the process's environment."""
        outputs, summary = (self.folder / "commands" / name for name in ("output", "summary"))
        for path in (outputs, summary):
            path.write_text("", encoding="utf-8")
        given = {"auth-type": "environment", **self._default_inputs(inputs), **inputs}
        variables = {
            **self.served.environment(),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(summary),
            "RUNNER_TEMP": str(self.folder / "temp"),
            **{f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in given.items()},
        }
        if given["auth-type"] == "oidc":
            variables = {name: value for name, value in variables.items() if not name.startswith("AZURE_")}
        log = io.StringIO()
        with self.monkeypatch.context() as patch, contextlib.redirect_stdout(log), _restored_logging():
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.chdir(self.workspace)
            code = run(GitHub())
        values = _parse_outputs(outputs.read_text(encoding="utf-8"))
        return Step(
            code,
            log.getvalue(),
            summary.read_text(encoding="utf-8"),
            values,
            (self.workspace / (values.get("report-path") or "acr-cleanup/report.json")).parent,
        )

    def _default_inputs(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """The login, and without a configuration file also the registry and the clusters."""
        directory = self.scenario.world.directory
        login = {"client-id": directory.client_id, "tenant-id": directory.tenant}
        if "config-file" in inputs:
            return login
        clusters = self.scenario.world.clusters.items()
        ids = [_RESOURCE_ID.format(state) for key, state in clusters if key not in self.scenario.clusters.unconfigured]
        return {**login, "registry": self.scenario.registry.state.login_server, "clusters": "\n".join(ids)}

    def trust_github(self) -> None:
        """Add a federated credential, so that the application accepts the job's token."""
        directory = self.scenario.world.directory
        directory.federated.append(FederatedCredential(directory.client_id, GITHUB_ISSUER, directory.github_subject))


def _parse_outputs(text: str) -> dict[str, str]:
    """Parse the outputs as the runner does: `name<<delimiter`, lines, delimiter."""
    values: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, _, delimiter = line.partition("<<")
        values[name] = "\n".join(iter(lambda: next(lines), delimiter))
    return values


@contextlib.contextmanager
def _restored_logging() -> Iterator[None]:
    """Restore the handlers and levels that a step changes for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logging.getLogger(name).level for name in ("azure", "msal", "aiohttp", "asyncio", "kubernetes", "urllib3")
    }
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


# -- results --------------------------------------------------------------------------------------

# Summaries write dates with non-breaking hyphens, and some with the time of day.
_DATE = re.compile(r"(\d{4})([-‑])(\d{2})\2(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?UTC|Z)?)?")
_DURATION = re.compile(r"(?<=This took )(?:\d+ min )?\d+(?:\.\d+)? s(?=\.)")
# The hash of a reviewed plan changes with every run, because the plan contains its time.
_HASH = re.compile(r"(?<=›, )sha256:[0-9a-f]{12}(?=\))")


def stable(text: str, now: datetime) -> str:
    """Replace dates by days from now, and durations and hashes by placeholders."""

    def days(match: re.Match[str]) -> str:
        moment = date(int(match[1]), int(match[3]), int(match[4]))
        ago = (now.date() - moment).days
        return "‹today›" if ago == 0 else f"‹{ago}d ago›" if ago > 0 else f"‹in {-ago}d›"

    return _HASH.sub("‹hash›", _DURATION.sub("‹time›", _DATE.sub(days, text)))


def published_texts(step: Step, workspace: Path) -> dict[str, str]:
    """All texts that a step writes, by name, without `::add-mask::` (it contains secrets)."""
    log = "\n".join(line for line in step.log.splitlines() if not line.startswith("::add-mask::"))
    files = {
        str(path.relative_to(workspace)): path.read_text(encoding="utf-8")
        for path in workspace.rglob("*")
        if path.is_file()
    }
    return {"the log": log, "the summary": step.summary, "the outputs": json.dumps(step.outputs), **files}
