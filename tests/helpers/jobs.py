"""
Runs the action as a runner does: the installed package, a process of its own, `INPUT_*` variables, and the runner's files.

What the step prints is read as the runner reads it, so that a test sees what GitHub would obey, show and hide.
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
from acr_cleanup.emulator.world import GITHUB_ISSUER, PIPELINES_ISSUER, FederatedCredential
from tests.helpers.fork_server import ForkServer
from tests.helpers.paths import ROOT
from tests.helpers.secret_leaks import assert_none_leaked, files_below


def install(folder: Path) -> tuple[Path, Path]:
    """
    What the Dockerfile does: a virtual environment that holds a copy of the package, and the entrypoint elsewhere.

    The dependencies are those of the environment that runs the tests, by a `.pth` file. Returns the interpreter and the script.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    asked: list[str | Path] = [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "acr_cleanup", packages / "acr_cleanup", ignore=skipped)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    script = folder / "app" / "entrypoint.py"
    script.parent.mkdir()
    shutil.copy(ROOT / "entrypoint.py", script)
    return python, script


@functools.cache
def fork_server(python: Path) -> ForkServer:
    """The one of this interpreter, for all tests of this process."""
    return ForkServer(python)


@dataclass
class Annotation:
    level: str
    title: str
    message: str


@dataclass
class Log:
    """The output of a step, as the runner takes it."""

    text: str
    lines: list[str] = field(default_factory=list)
    """What is shown, without the commands."""
    annotations: list[Annotation] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Commands that a step of ours never gives."""

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
        assert not stopped, "the runner was never told to listen again"
        assert open_groups == 0
        assert all("##[" not in line and "##vso[" not in line for line in self.lines)

    def of(self, level: str) -> list[Annotation]:
        return [each for each in self.annotations if each.level == level]

    @property
    def shown(self) -> str:
        """Everything that a person can read."""
        return "\n".join([*self.lines, *self.groups, *(f"{each.title}: {each.message}" for each in self.annotations)])


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
    """What a step left behind."""

    code: int
    log: Log
    outputs: Mapping[str, str]
    summary: str
    report: Mapping[str, Any]
    seconds: float
    """From the signal (or the start) to the end."""

    @property
    def deleted(self) -> set[str]:
        return set(json.loads(self.outputs["deleted-tags"]))

    @property
    def planned(self) -> set[str]:
        return set(json.loads(self.outputs["planned-tags"]))


def _give_up_override() -> None:
    # prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE): what is executed next does not get it, whoever it runs as.
    ctypes.CDLL(None).prctl(24, 1)


@dataclass
class Job:
    """A job on a runner, whose steps act on an emulated world."""

    emulator: Emulator
    folder: Path
    python: Path
    script: Path
    environment: dict[str, str] = field(default_factory=dict)
    obeys_modes: bool = False
    """Let the step be bound by the modes of files even as root, as it is on a file system that is mounted read-only."""
    from_scratch: bool = False
    """Let the step import everything by itself, as in a container; so do all that are interrupted."""

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
        """Let the application trust the job's token."""
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
        """The environment of the step; what azure-identity could use instead of the token of the job is not in it."""
        theirs = self.emulator.environment()
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(self.folder / "commands" / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "commands" / "summary"),
            "RUNNER_TEMP": str(self.folder / "temp"),
            **{name: value for name, value in theirs.items() if not name.startswith("AZURE_")},
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
        """Run the step; `interrupt` sends it a signal as soon as the event is set."""
        code, text, took = await self.start(inputs, without=without, interrupt=interrupt, limit=limit)
        outputs = self.outputs()
        report = self.workspace / outputs.get("report-path", "")
        return Step(
            code,
            Log(text),
            outputs,
            (self.folder / "commands" / "summary").read_text()
            if (self.folder / "commands" / "summary").exists()
            else "",
            json.loads(report.read_text()) if report.is_file() else {},
            took,
        )

    async def start(
        self,
        inputs: Mapping[str, str],
        *,
        without: Sequence[str],
        interrupt: tuple[asyncio.Event, signal.Signals] | None,
        limit: float,
    ) -> tuple[int, str, float]:
        """Run the process; returns its exit code, what it printed, and how long it took (or to end, if it was interrupted)."""
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
        # The runner is told its masks in the log, and takes those lines out of it.
        shown = "\n".join(line for line in text.splitlines() if not line.startswith("::add-mask::"))
        left = (*self.workspace.rglob("*.json"), *self.workspace.rglob("*.jsonl"), *self.workspace.rglob("*.md"))
        assert_none_leaked(
            self.emulator, {"log": shown} | files_below(self.folder / "commands", self.folder / "temp", *left)
        )
        return process.returncode or 0, text, took

    def outputs(self) -> dict[str, str]:
        """The outputs as the runner reads them: `name<<delimiter`, lines, delimiter."""
        path = self.folder / "commands" / "output"
        lines = iter(path.read_text().split("\n") if path.is_file() else ())
        found: dict[str, str] = {}
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
            found[name] = "\n".join(value)
        return found


CONNECTION = "44444444-4444-4444-4444-444444444444"


@dataclass
class TaskStep:
    """What a step of Azure Pipelines left for the task that had started it."""

    code: int
    log: str
    result: Mapping[str, Any]
    summary: str
    report: Mapping[str, Any]
    seconds: float

    @property
    def outputs(self) -> Mapping[str, str]:
        outputs: Mapping[str, str] = self.result["outputs"]
        return outputs

    @property
    def deleted(self) -> set[str]:
        return set(json.loads(self.outputs["deletedTags"]))

    @property
    def planned(self) -> set[str]:
        return set(json.loads(self.outputs["plannedTags"]))

    def of(self, level: str) -> list[Annotation]:
        found = self.result["annotations"]
        return [Annotation(each["level"], each["title"], each["text"]) for each in found if each["level"] == level]


@dataclass
class TaskJob(Job):
    """The same of Azure Pipelines: what the task hands to its child, and what it finds afterwards."""

    @property
    def result_file(self) -> Path:
        return self.folder / "commands" / "result.json"

    @property
    def summary_file(self) -> Path:
        return self.folder / "commands" / "ACR cleanup.md"

    def trust(self) -> None:
        """Let the application trust the service connection."""
        directory = self.world.directory
        credential = FederatedCredential(directory.client_id, PIPELINES_ISSUER, directory.pipelines_subject)
        directory.federated.append(credential)

    def login(self) -> dict[str, str]:
        return {"auth-type": "azure-pipelines"}

    def variables(self, inputs: Mapping[str, str]) -> dict[str, str]:
        directory, theirs = self.world.directory, self.emulator.environment()
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TF_BUILD": "True",
            "ACR_CLEANUP_RUNTIME": "azure-devops",
            "ACR_CLEANUP_INPUTS": json.dumps(dict(inputs)),
            "ACR_CLEANUP_RESULT": str(self.result_file),
            "ACR_CLEANUP_SUMMARY": str(self.summary_file),
            "AGENT_TEMPDIRECTORY": str(self.folder / "temp"),
            "AZURE_TENANT_ID": directory.tenant,
            "AZURE_CLIENT_ID": directory.client_id,
            "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": CONNECTION,
            **{name: value for name, value in theirs.items() if not name.startswith("AZURE_")},
            **self.emulator.pipelines_environment(),
            **self.environment,
        }

    async def task(
        self,
        inputs: Mapping[str, str],
        *,
        without: Sequence[str] = (),
        interrupt: tuple[asyncio.Event, signal.Signals] | None = None,
        limit: float = 60,
    ) -> TaskStep:
        """Run the step; `interrupt` sends it a signal as soon as the event is set."""
        for file in (self.result_file, self.summary_file):
            file.unlink(missing_ok=True)
        code, text, took = await self.start(inputs, without=without, interrupt=interrupt, limit=limit)
        assert not any("##[" in line or "##vso[" in line for line in text.splitlines()), text
        result = json.loads(self.result_file.read_text()) if self.result_file.is_file() else {}
        report = self.folder / (result.get("report") or "none")
        return TaskStep(
            code,
            text,
            result,
            self.summary_file.read_text() if self.summary_file.is_file() else "",
            json.loads(report.read_text()) if report.is_file() else {},
            took,
        )
