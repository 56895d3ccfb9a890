"""Runs the tool in a new process, for tests of streams, exit codes and signals."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.paths import ROOT
from tests.helpers.stage import Stage


@dataclass(frozen=True)
class EndedProcess:
    """The result of a process."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "acr-cleanup" / "report.json").read_text())  # type: ignore[no-any-return]


async def start_process(
    stage: Stage, *arguments: str, environ: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """
    Start the tool in the folder of the stage.

    `environ`: replaces the variables that lead the tool to the emulator.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(stage.tool.folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **(stage.tool.emulator.environment() if environ is None else environ),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "acr_cleanup", *arguments,
        cwd=stage.tool.folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def wait_for_end(stage: Stage, process: asyncio.subprocess.Process) -> EndedProcess:
    """Wait at most 60 seconds for the end of a process."""
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return EndedProcess(process.returncode or 0, out.decode(), err.decode(), stage.tool.folder)


async def run_process(stage: Stage, *arguments: str, environ: Mapping[str, str] | None = None) -> EndedProcess:
    """Start the tool and wait for its end."""
    return await wait_for_end(stage, await start_process(stage, *arguments, environ=environ))


async def wait_for_request(stage: Stage, **criteria: Any) -> None:
    """
    Wait at most 30 seconds until the emulator got a request that matches `World.count(**criteria)`.
    """
    async with asyncio.timeout(30):
        while not stage.world.count(**criteria):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def write_config(stage: Stage, name: str = "file.json", config: Mapping[str, Any] | None = None) -> str:
    """Write `config`, by default that of the stage, as JSON or YAML; return `name`."""
    path = stage.tool.folder / name
    content = config or stage.config or stage.tool.emulator.config()
    path.write_text(yaml.safe_dump(dict(content)) if path.suffix != ".json" else json.dumps(content))
    return name
