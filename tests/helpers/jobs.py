"""
Run the action like a GitHub runner: an installed package, a new process, `INPUT_*` variables and
the runner's files.

The output of the step is parsed like the runner parses it, so tests see which commands GitHub would
execute, and which lines it would show or hide.
https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.world import GITHUB_ISSUER, FederatedCredential
from acr_cleanup.reports import outputs as report_outputs
from tests.helpers.fork_server import ForkServer
from tests.helpers.paths import ROOT
from tests.helpers.secret_leaks import assert_none_leaked, files_below


def install(folder: Path) -> tuple[Path, Path]:
    """
    Install the package like the Dockerfile: in a virtual environment, with the entrypoint in
    another folder.

    A `.pth` file adds the dependencies of the environment that runs the tests. Returns the
    interpreter and the script.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    command: list[str | Path] = [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "acr_cleanup", packages / "acr_cleanup", ignore=caches)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    script = folder / "app" / "entrypoint.py"
    script.parent.mkdir()
    shutil.copy(ROOT / "entrypoint.py", script)
    return python, script


@functools.cache
def fork_server(python: Path) -> ForkServer:
    """Return the fork server of this interpreter, shared by all tests of this process."""
    return ForkServer(python)


@dataclass
class Annotation:
    level: str
    title: str
    message: str


@dataclass
class Log:
    """The output of a step, parsed like the runner parses it."""

    text: str
    lines: list[str] = field(default_factory=list)
    """The lines without commands."""
    annotations: list[Annotation] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Commands that acr-cleanup never uses."""

    def __post_init__(self) -> None:
        stopped, open_groups = "", 0
        for line in self.text.splitlines():
            name, properties, data = _command(line)
            if stopped:
                if name == stopped:
                    stopped = ""
                else:
                    self.lines.append(line)
            elif name == "stop-commands":
                stopped = data
            elif name == "add-mask":
                self.masks.append(data)
            elif name in ("error", "warning", "notice"):
                self.annotations.append(Annotation(name, properties.get("title", ""), data))
            elif name == "group":
                self.groups.append(data)
                open_groups += 1
                assert open_groups == 1, "groups do not nest"
            elif name == "endgroup":
                open_groups -= 1
            elif name:
                self.others.append(line)
            else:
                self.lines.append(line)
        assert not stopped, "commands were not resumed"
        assert open_groups == 0
        assert all("##[" not in line and "##vso[" not in line for line in self.lines)

    def of(self, level: str) -> list[Annotation]:
        return [annotation for annotation in self.annotations if annotation.level == level]

    @property
    def shown(self) -> str:
        """Everything that the runner shows."""
        annotations = (f"{annotation.title}: {annotation.message}" for annotation in self.annotations)
        return "\n".join([*self.lines, *self.groups, *annotations])


def _command(line: str) -> tuple[str, dict[str, str], str]:
    text = line.lstrip()
    if not text.startswith("::") or "::" not in text[2:]:
        return "", {}, ""
    head, _, data = text[2:].partition("::")
    name, _, rest = head.partition(" ")
    pairs = (pair.partition("=") for pair in rest.split(",") if "=" in pair)
    return name, {key.strip(): unquote(value) for key, _, value in pairs}, unquote(data)


@dataclass
class Step:
    """The result of a step."""

    code: int
    log: Log
    outputs: Mapping[str, str]
    """By the names that the CI system knows them by."""
    summary: str
    report: Mapping[str, Any]
    seconds: float
    """From the signal (or the start) to the end."""

    def output(self, name: str) -> str:
        """Return an output by its name in action.yml."""
        return self.outputs[name]

    @property
    def deleted(self) -> set[str]:
        return set(json.loads(self.output("deleted-tags")))

    @property
    def planned(self) -> set[str]:
        return set(json.loads(self.output("planned-tags")))

    @property
    def is_complete(self) -> bool:
        """Does the step have every output?"""
        return set(self.outputs) == set(report_outputs.NAMES)

    def assert_no_foreign_command(self) -> None:
        """Check that the CI system would execute no command from foreign text."""
        assert self.log.others == []
        assert {annotation.level for annotation in self.log.annotations} <= {"error", "warning", "notice"}
        assert "contoso" not in self.log.masks
        assert "\x1b" not in self.log.text + self.summary


def _give_up_override() -> None:
    # prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE): the executed program does not get it, even as root.
    ctypes.CDLL(None).prctl(24, 1)


@dataclass
class Job:
    """A job on a runner. Its steps act on an emulated world."""

    emulator: Emulator
    folder: Path
    python: Path
    script: Path
    environment: dict[str, str] = field(default_factory=dict)
    obeys_modes: bool = False
    """Enforce the modes of files even for root, like a file system that is mounted read-only."""
    from_scratch: bool = False
    """Start a new interpreter, as in a container. Interrupted steps always do."""

    def __post_init__(self) -> None:
        for name in ("workspace", "home", "temp", "commands"):
            (self.folder / name).mkdir()
        for name in ("output", "summary"):
            (self.folder / "commands" / name).touch()

    @property
    def world(self) -> World:
        return self.emulator.world

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def trust(self) -> None:
        """Let the application trust the token of the job."""
        directory = self.world.directory
        credential = FederatedCredential(directory.client_id, GITHUB_ISSUER, directory.github_subject)
        directory.federated.append(credential)

    def write_config(self, more: Mapping[str, Any] | None = None, name: str = "cleanup.json") -> str:
        (self.workspace / name).write_text(json.dumps({**self.emulator.config(), **(more or {})}))
        return name

    def login(self) -> dict[str, str]:
        directory = self.world.directory
        return {"client-id": directory.client_id, "tenant-id": directory.tenant}

    def variables(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """
        Return the environment of the step.

        It has no login that azure-identity could use instead of the job's token.
        """
        emulated = self.emulator.environment()
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(self.folder / "commands" / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "commands" / "summary"),
            "RUNNER_TEMP": str(self.folder / "temp"),
            **{name: value for name, value in emulated.items() if not name.startswith("AZURE_")},
            **self.emulator.github_environment(),
            **{f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in inputs.items()},
            **self.environment,
        }

    async def run(
        self,
        inputs: Mapping[str, str],
        *,
        without: Sequence[str] = (),
        interrupt: tuple[asyncio.Event, signal.Signals] | None = None,
        limit: float = 60,
    ) -> Step:
        """
        Run the step.

        without: variables to remove. interrupt: send this signal as soon as the event is set.
        limit: the timeout in seconds.
        """
        code, text, seconds = await self.start(inputs, without=without, interrupt=interrupt, limit=limit)
        outputs = self.outputs()
        report = self.workspace / outputs.get("report-path", "")
        summary = self.folder / "commands" / "summary"
        return Step(
            code,
            Log(text),
            outputs,
            summary.read_text() if summary.exists() else "",
            json.loads(report.read_text()) if report.is_file() else {},
            seconds,
        )

    async def start(
        self,
        inputs: Mapping[str, str],
        *,
        without: Sequence[str],
        interrupt: tuple[asyncio.Event, signal.Signals] | None,
        limit: float,
    ) -> tuple[int, str, float]:
        """
        Run the process. Returns its exit code, its output and the seconds that it took.

        The seconds of an interrupted process count from the signal.
        """
        variables = self.variables(inputs)
        for name in without:
            variables.pop(name, None)
        began = time.monotonic()
        if interrupt is None and not self.obeys_modes and not self.from_scratch:
            code, text = await fork_server(self.python).run(
                self.script, folder=self.workspace, environment=variables, limit=limit
            )
            assert "Traceback" not in text, text
            return code, text, time.monotonic() - began
        process = await asyncio.create_subprocess_exec(
            self.python, "-I", "-u", self.script,
            cwd=self.workspace, env=variables, preexec_fn=_give_up_override if self.obeys_modes else None,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        if interrupt is not None:
            event, number = interrupt
            await asyncio.wait_for(event.wait(), limit)
            began = time.monotonic()
            process.send_signal(number)
        try:
            out, _ = await asyncio.wait_for(process.communicate(), limit)
        except TimeoutError:
            process.kill()
            raise
        took = time.monotonic() - began
        text = out.decode()
        assert "Traceback" not in text, text
        # The runner removes the lines with masks from the log.
        shown = "\n".join(line for line in text.splitlines() if not line.startswith("::add-mask::"))
        reports = (*self.workspace.rglob("*.json"), *self.workspace.rglob("*.jsonl"), *self.workspace.rglob("*.md"))
        assert_none_leaked(
            self.emulator, {"log": shown} | files_below(self.folder / "commands", self.folder / "temp", *reports)
        )
        return process.returncode or 0, text, took

    def outputs(self) -> dict[str, str]:
        """Parse the outputs like the runner: `name<<delimiter`, lines, delimiter."""
        path = self.folder / "commands" / "output"
        lines = iter(path.read_text().split("\n") if path.is_file() else ())
        outputs: dict[str, str] = {}
        for line in lines:
            if not line:
                continue
            name, separator, delimiter = line.partition("<<")
            assert separator, line
            value = []
            for inner in lines:
                if inner == delimiter:
                    break
                value.append(inner)
            else:
                raise AssertionError(f"{name} does not end")
            outputs[name] = "\n".join(value)
        return outputs
