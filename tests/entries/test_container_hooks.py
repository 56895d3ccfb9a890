"""
A runner on Kubernetes starts the action through container hooks, with a script of its own.

https://github.com/actions/runner-container-hooks/blob/v0.8.1/packages/k8s/src/hooks/run-container-step.ts
"""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import yaml

from acr_cleanup.emulator import World
from tests.helpers.jobs import Job, Log
from tests.helpers.paths import ROOT
from tests.helpers.shop_jobs import inline, shop_job

pytestmark = pytest.mark.extended

RUNS = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))["runs"]


@pytest.fixture
async def job(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[Job]:
    async with shop_job(Job, World(face="proxy"), tmp_path, installed) as job:
        yield job


def launcher(job: Job) -> Path:
    """Return `runs.entrypoint` as the image has it, with the interpreter of the installed package."""
    assert RUNS["entrypoint"] == "/app/entrypoint.py"
    first, _, rest = (ROOT / "entrypoint.py").read_text("utf-8").partition("\n")
    assert first == "#!/opt/venv/bin/python -Iu"
    path = job.folder / "entrypoint.py"
    path.write_text(f"#!{job.python} -Iu\n{rest}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def hook_script(folder: Path, entry_point: Path, arguments: list[str], environment: Mapping[str, str]) -> str:
    """Write what the hooks write: the environment is quoted for a shell and given to `env`."""

    def quoted(value: str) -> str:
        for character in '\\"$`':
            value = value.replace(character, f"\\{character}")
        return value

    prefix = " ".join(f'"{name}={quoted(value)}"' for name, value in environment.items())
    return f"#!/bin/sh -l\ncd {folder} && exec env {prefix}  {entry_point} {' '.join(arguments)}\n"


@pytest.mark.parametrize("hooks", ["0.8", "0.6"])
async def test_hooks_start_the_action_with_its_inputs(job: Job, hooks: str) -> None:
    """Hooks before 0.7 set no GITHUB_ACTIONS. An input with a dash and several lines reaches the step."""
    environment = job.variables({**inline(job), "dry-run": "true", "exclude-tags": "latest\n1.1"})
    if hooks == "0.6":
        del environment["GITHUB_ACTIONS"]
        environment["GITHUB_ACTION"] = "__org_acr-cleanup"
    script = job.folder / "step.sh"
    # The runner splits missing arguments into one empty argument.
    script.write_text(hook_script(job.workspace, launcher(job), [""], environment))
    step = await asyncio.create_subprocess_exec(
        "sh",
        "-e",
        script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"]},
    )
    printed = (await step.communicate())[0].decode()
    assert step.returncode == 0, printed
    Log(printed)
    outputs = job.outputs()
    assert outputs["result"] == "dry-run"
    assert outputs["planned-tags"] == '["shop/web:1.0"]'
    assert (job.folder / "commands" / "summary").read_text()
