"""
The Azure Pipelines task from end to end: the bundle, the Python package in it, and an emulated
Azure.

The method is Python, since these tests cannot run a container. They skip the installation of the
locked packages, which needs a package index. `make task` packs the task and runs these tests.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.world import PIPELINES_ISSUER, FederatedCredential
from tests.entries.test_task import MANIFEST, PACKED, TASK

pytestmark = pytest.mark.skipif(not PACKED, reason="`make task` packs the task and runs these tests.")

BUNDLE = TASK / "build" / "extension" / "AcrCleanupV1" / "index.js"
CONNECTION = "44444444-4444-4444-4444-444444444444"
OUTPUTS = {output["name"] for output in json.loads(MANIFEST.read_text("utf-8"))["outputVariables"]}

# A stand-in for `python3`. Its environments use the packages of the tests, and pip only checks that
# hashes are required.
PYTHON = """#!/bin/sh
case "$*" in
  *"-m venv "*) for folder; do :; done; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python" ;;
  *"-m pip "*) case "$*" in *--require-hashes*) ;; *) exit 9 ;; esac ;;
  *) exec {python} "$@" ;;
esac
"""


@dataclass
class Run:
    """The output of the task, and the commands in it."""

    log: str
    commands: list[tuple[str, dict[str, str], str]]

    @property
    def outputs(self) -> dict[str, str]:
        return {properties["variable"]: data for name, properties, data in self.commands if name == "task.setvariable"}

    @property
    def completed(self) -> tuple[str, str]:
        ((_, properties, data),) = (command for command in self.commands if command[0] == "task.complete")
        return properties["result"], data

    @property
    def summary(self) -> str:
        (path,) = (data for name, _, data in self.commands if name == "task.uploadsummary")
        return Path(path).read_text("utf-8")

    def issues(self, level: str) -> str:
        return "\n".join(
            data for name, properties, data in self.commands if name == "task.issue" and properties["type"] == level
        )


def commands_in(log: str) -> list[tuple[str, dict[str, str], str]]:
    """Return the commands that the agent would execute. It finds them anywhere in a line."""
    commands = []
    for line in re.split(r"\r\n|\n|\r", log):
        if match := re.search(r"##vso\[([\w.]+) ?([^\]]*)\](.*)", line, re.IGNORECASE):
            properties = dict(pair.split("=", 1) for pair in match[2].split(";") if "=" in pair)
            data = match[3]
            for escape, character in (("%0D", "\r"), ("%0A", "\n"), ("%AZP25", "%"), ("%25", "%")):
                data = data.replace(escape, character)
            commands.append((match[1], properties, data))
    return commands


class Agent:
    """
    A job on an agent without Docker.

    The emulated Entra ID trusts its connection after `trust`.
    """

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.workspace = folder / "1" / "s"
        for path in (self.workspace, folder / "_temp", folder / "_tool", folder / "bin"):
            path.mkdir(parents=True)
        python = folder / "bin" / "python3"
        python.write_text(PYTHON.replace("{python}", sys.executable))
        python.chmod(0o755)
        for tool in ("sh", "mkdir", "cp"):
            (folder / "bin" / tool).symlink_to(shutil.which(tool) or tool)

    def trust(self) -> None:
        directory = self.emulator.world.directory
        directory.federated.append(
            FederatedCredential(directory.client_id, PIPELINES_ISSUER, directory.pipelines_subject)
        )

    def variables(self, inputs: dict[str, str]) -> dict[str, str]:
        directory = self.emulator.world.directory
        emulated = {k: v for k, v in self.emulator.environment().items() if not k.startswith("AZURE_")}
        token = self.emulator.pipelines_environment()
        login = {"tenantid": directory.tenant, "serviceprincipalid": directory.client_id}
        scheme = "WorkloadIdentityFederation"
        job = {"scheme": "OAuth", "parameters": {"AccessToken": token.pop("SYSTEM_ACCESSTOKEN")}}
        given = {"connectedServiceNameARM": CONNECTION, "method": "python", **inputs}
        return {
            **emulated,
            **token,
            "PATH": str(self.folder / "bin"),
            "HOME": str(self.folder),
            "SYSTEM_DEFAULTWORKINGDIRECTORY": str(self.workspace),
            "BUILD_SOURCESDIRECTORY": str(self.workspace),
            "PIPELINE_WORKSPACE": str(self.workspace.parent),
            "AGENT_TEMPDIRECTORY": str(self.folder / "_temp"),
            "AGENT_TOOLSDIRECTORY": str(self.folder / "_tool"),
            "AGENT_VERSION": "4.265.1",
            "ENDPOINT_AUTH_SYSTEMVSSCONNECTION": json.dumps(job),
            f"ENDPOINT_AUTH_{CONNECTION}": json.dumps({"scheme": scheme, "parameters": login}),
            f"ENDPOINT_AUTH_SCHEME_{CONNECTION}": scheme,
            f"ENDPOINT_URL_{CONNECTION}": "https://management.azure.com/",
            **{f"INPUT_{name.upper()}": value for name, value in given.items()},
        }

    async def run(self, when: asyncio.Event | None = None, /, **inputs: str) -> Run:
        """Run the task. Cancel the job when the event is set."""
        node = shutil.which("node")
        assert node is not None
        process = await asyncio.create_subprocess_exec(
            node,
            BUNDLE,
            cwd=self.workspace,
            env=self.variables(inputs),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        if when is not None:
            await asyncio.wait_for(when.wait(), 60)
            process.send_signal(signal.SIGINT)
        out, _ = await asyncio.wait_for(process.communicate(), 90)
        log = out.decode()
        run = Run(log, commands_in(log))
        secret = self.emulator.world.directory.pipelines_access_token
        assert [data for name, _, data in run.commands if data == secret and name != "task.setsecret"] == []
        assert log.count(secret) == 1, "only in the command that masks it"
        assert set(run.outputs) == OUTPUTS, log
        return run


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    world = World(face="proxy")
    image = world.registry.image
    for tag in ("1.0", "1.1", "2.0"):
        world.registry.push("shop/web", tag, age=timedelta(days=100))
    cluster = ClusterState("aks-prod", resource_group="rg-prod")
    cluster.run(build.deployment("shop", "web", [image("shop/web", "2.0")]))
    world.clusters["aks-prod"] = cluster
    async with Emulator(world) as emulator:
        agent = Agent(emulator, tmp_path)
        config: Any = emulator.config()
        (agent.workspace / "acr-cleanup.json").write_text(json.dumps(config))
        yield agent


async def test_reviewed_plan_is_applied_by_second_run(agent: Agent) -> None:
    """
    The runs use federation, and the plan comes from the folder of the artifacts, as in the
    documented pipeline.
    """
    agent.trust()
    config = str(agent.workspace / "acr-cleanup.json")
    planned = await agent.run(configFile=config, dryRun="True", applyPlan=str(agent.workspace))
    assert planned.completed == ("Succeeded", ""), planned.log
    assert planned.outputs["result"] == "dry-run"
    assert json.loads(planned.outputs["plannedTags"]) == ["shop/web:1.0", "shop/web:1.1"]
    assert planned.outputs["deletedTags"] == "[]"
    assert Path(planned.outputs["planPath"]) == agent.workspace / "acr-cleanup" / "plan.json"
    assert "Dry run" in planned.summary
    assert "dryRun: false" in planned.summary
    assert "mermaid" not in planned.summary

    artifact = agent.workspace.parent / "plan" / "plan.json"
    artifact.parent.mkdir()
    shutil.copy(planned.outputs["planPath"], artifact)
    done = await agent.run(configFile=config, dryRun="False", applyPlan=str(artifact))
    assert done.completed == ("Succeeded", ""), done.log
    assert json.loads(done.outputs["deletedTags"]) == ["shop/web:1.0", "shop/web:1.1"]
    assert set(agent.emulator.world.registry.repositories["shop/web"].tags) == {"2.0"}


async def test_forbidden_kind_fails_task_without_deleting(agent: Agent) -> None:
    agent.trust()
    agent.emulator.world.clusters["aks-prod"].forbidden.add("pods")
    run = await agent.run(configFile="acr-cleanup.json", dryRun="false")
    result, message = run.completed
    assert (result, run.outputs["result"]) == ("Failed", "aborted")
    assert "nothing was deleted" in message
    assert "list pods" in run.issues("error")
    assert "aks-prod" in run.summary


async def test_invalid_inputs_are_issues_by_name(agent: Agent) -> None:
    agent.trust()
    run = await agent.run(configFile="acr-cleanup.json", olderThan="soon", maxDeletions="-1")
    assert run.completed[0] == "Failed"
    assert {"olderThan", "maxDeletions"} <= set(re.findall(r"\w+", run.issues("error")))


async def test_untrusted_connection_is_explained(agent: Agent) -> None:
    run = await agent.run(configFile="acr-cleanup.json")
    assert run.completed[0] == "Failed"
    assert "AADSTS70" in run.issues("error")
    assert "federated credential" in run.issues("error")


async def test_snapshot_is_collected(agent: Agent) -> None:
    agent.trust()
    run = await agent.run(configFile="acr-cleanup.json", collect=str(agent.workspace / "usage.json"))
    assert run.completed == ("Succeeded", ""), run.log
    assert (agent.workspace / "usage.json").is_file()
