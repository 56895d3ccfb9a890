"""
The workflows of docs/scale-out.md: they use existing inputs, and delete the same tags as a direct
run.

The tests run them as documented on an emulated world. Each step of the tool is a new process with
its own workspace, and artifacts are copied between the workspaces.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from acr_cleanup import cli
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.settings import OPTIONS
from acr_cleanup.settings.load import load_settings
from tests.helpers.jobs import Job, Step, install
from tests.helpers.paths import ROOT
from tests.settings.test_contract import action

pytestmark = pytest.mark.extended

TEXT = (ROOT / "docs" / "scale-out.md").read_text("utf-8")
OLD = timedelta(days=100)


def blocks(language: str) -> list[str]:
    """Return the code blocks of this language in the document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


GITHUB, PIPELINES = map(yaml.safe_load, blocks("yaml"))
(CONFIG,) = map(json.loads, blocks("json"))
(COMMAND,) = blocks("sh")


# -- inputs and clusters -------------------------------------------------------------------------


def test_github_workflow_uses_existing_inputs() -> None:
    """It also has minimal permissions, no parallel runs and no secrets."""
    declared = set(action()["inputs"])
    assert GITHUB["permissions"] == {}
    assert GITHUB["concurrency"] == {"group": "acr-cleanup", "cancel-in-progress": False}
    for job in GITHUB["jobs"].values():
        assert job["permissions"]["id-token"] == "write"
        (inputs,) = [step["with"] for step in job["steps"] if step.get("uses") == "org/acr-cleanup@v1"]
        assert set(inputs) <= declared
    assert "secrets." not in json.dumps(GITHUB)


def kebab_case(name: str) -> str:
    return re.sub("[A-Z]", lambda match: f"-{match.group().lower()}", name)


def task_inputs(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the inputs of the job's AcrCleanup task, with the names of the action."""
    (inputs,) = (step["inputs"] for step in job["steps"] if step.get("task") == "AcrCleanup@1")
    return {kebab_case(name): value for name, value in inputs.items() if name != "azureSubscription"}


def test_azure_pipeline_uses_existing_inputs() -> None:
    names = {option.name for option in OPTIONS}
    for job in PIPELINES["jobs"]:
        assert set(task_inputs(job)) <= names
        assert any("azureSubscription" in step.get("inputs", {}) for step in job["steps"])


def test_both_workflows_read_the_configured_clusters() -> None:
    configured = {key: entry["resource_id"] for key, entry in CONFIG["kubernetes_clusters"].items()}
    collect = PIPELINES["jobs"][0]
    matrices = (GITHUB["jobs"]["collect"]["strategy"]["matrix"]["include"], collect["strategy"]["matrix"].values())
    for matrix in matrices:
        assert {cell["cluster"]: cell["id"] for cell in matrix} == configured


# -- whole workflows -----------------------------------------------------------------------------


def expand(value: str, variables: Mapping[str, str]) -> str:
    """Replace variables such as `${{ matrix.cluster }}` and `$(cluster)`."""

    def replacement(match: re.Match[str]) -> str:
        return variables[match[1] or match[2]]

    return re.sub(r"\$\{\{ ([\w.]+) \}\}|\$\(([\w.]+)\)", replacement, str(value))


class WorkflowRun:
    """Runs the documented workflows; jobs share only artifacts."""

    def __init__(self, emulator: Emulator, folder: Path, installed: tuple[Path, Path]) -> None:
        self.emulator = emulator
        self.folder = folder
        self.installed = installed
        self.jobs = 0

    @property
    def world(self) -> World:
        return self.emulator.world

    def job(self) -> Job:
        self.jobs += 1
        folder = self.folder / f"job-{self.jobs}"
        folder.mkdir()
        return Job(self.emulator, folder, *self.installed)

    def upload(self, job: Job, path: str, name: str) -> None:
        source = job.workspace / path
        if source.is_file():
            target = self.folder / "artifacts" / name
            target.mkdir(parents=True)
            shutil.copy(source, target)

    def download(self, job: Job, path: str) -> None:
        shutil.copytree(self.folder / "artifacts", job.workspace / path)

    async def github(self, **extra_inputs: str) -> list[Step]:
        """
        Run the workflow for GitHub, and return the steps of the tool.

        `extra_inputs`: further inputs of the last step.
        """
        login = self.job().login()
        repository_variables = {"vars.AZURE_CLIENT_ID": login["client-id"], "vars.AZURE_TENANT_ID": login["tenant-id"]}
        tool_steps: list[Step] = []
        collect, clean = GITHUB["jobs"]["collect"], GITHUB["jobs"]["clean"]
        assert clean["needs"] == "collect"
        matrix = collect["strategy"]["matrix"]["include"]
        cells = [{f"matrix.{name}": value for name, value in cell.items()} for cell in matrix]
        jobs = [*((collect["steps"], cell, {}) for cell in cells), (clean["steps"], {}, extra_inputs)]
        for steps, variables, extra in jobs:
            job = self.job()
            for step in steps:
                inputs = {
                    name: expand(value, repository_variables | variables)
                    for name, value in step.get("with", {}).items()
                }
                match step["uses"].partition("@")[0]:
                    case "actions/checkout":
                        (job.workspace / "acr-cleanup.json").write_text(json.dumps(CONFIG))
                    case "actions/upload-artifact":
                        assert step["if"] == "always()"
                        self.upload(job, inputs["path"], inputs["name"])
                    case "actions/download-artifact":
                        assert inputs["pattern"] == "usage-*"
                        self.download(job, inputs["path"])
                    case _:
                        tool_steps.append(await job.run(inputs | extra))
        return tool_steps

    async def pipelines(self, **extra_inputs: str) -> list[Step]:
        """
        Run the pipeline for Azure DevOps, and return the steps of the tool.

        The task runs the same image with the same inputs, and adds the login.
        """
        login = self.job().login()
        tool_steps: list[Step] = []
        collect, clean = PIPELINES["jobs"]
        assert clean["dependsOn"] == collect["job"]
        cells = collect["strategy"]["matrix"].values()
        jobs = [*((collect, cell, {}) for cell in cells), (clean, {}, extra_inputs)]
        for definition, cell, extra in jobs:
            job = self.job()
            variables = {**cell, "Build.SourcesDirectory": str(job.workspace)}
            for step in definition["steps"]:
                if step.get("checkout") == "self":
                    (job.workspace / "acr-cleanup.json").write_text(json.dumps(CONFIG))
                elif "publish" in step:
                    assert step["condition"] == "always()"
                    self.upload(job, expand(step["publish"], variables), expand(step["artifact"], variables))
                elif step.get("task") == "DownloadPipelineArtifact@2":
                    assert step["inputs"]["itemPattern"] == "usage-*/**"
                    self.download(job, expand(step["inputs"]["targetPath"], variables))
                elif "task" in step:
                    inputs = {name: expand(value, variables) for name, value in task_inputs(definition).items()}
                    tool_steps.append(await job.run(login | inputs | extra))
        return tool_steps


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return install(tmp_path_factory.mktemp("image"))


@pytest.fixture
async def workflow(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[WorkflowRun]:
    """
    Serve two clusters that use different tags of `shop/web` and `shop/api`, one of them by digest.
    """
    world = World(face="proxy")
    image = world.registry.image
    for tag in ("1.0", "1.1", "1.2", "2.0", "2.1"):
        world.registry.push("shop/web", tag, age=OLD)
        world.registry.push("shop/api", tag, age=OLD)
    for name, group, tag in (("aks-prod", "rg-prod", "2.0"), ("aks-test", "rg-test", "2.1")):
        cluster = ClusterState(name, resource_group=group)
        cluster.run(build.deployment("shop", "web", [image("shop/web", tag)]))
        world.clusters[name] = cluster
    world.clusters["aks-prod"].run(build.deployment("shop", "api", [image("shop/api", "1.1")]))
    world.clusters["aks-test"].add(
        build.pod(
            "shop", "digest", [image("shop/api", digest=world.registry.repositories["shop/api"].tags["1.2"].digest)]
        )
    )
    async with Emulator(world) as emulator:
        run = WorkflowRun(emulator, tmp_path, installed)
        run.job().trust()
        yield run


async def plan_directly(workflow: WorkflowRun) -> set[str]:
    """Return the tags that a run over both clusters would delete."""
    job = workflow.job()
    step = await job.run({**job.login(), "config-file": job.write_config()})
    assert step.code == 0, step.log.text
    workflow.world.requests.clear()
    return step.planned


def contacted_services(world: World) -> set[str]:
    """Return the registry and the API servers that got requests."""
    return {request.service for request in world.requests} - {"proxy", "entra", "oidc", "arm"}


@pytest.mark.parametrize("service", ["github", "pipelines"])
async def test_last_job_deletes_the_tags_of_a_direct_run(workflow: WorkflowRun, service: str) -> None:
    expected = await plan_directly(workflow)
    assert expected == {f"shop/web:1.{n}" for n in range(3)} | {"shop/api:1.0", "shop/api:2.0", "shop/api:2.1"}
    inputs: Any = {"dry-run": "false"}
    prod, test, clean = await getattr(workflow, service)(**inputs)

    for step in (prod, test):
        assert step.code == 0, step.log.text
        assert step.outputs["result"] == "success"
        assert step.deleted == step.planned == set()
        assert "Nothing was decided or deleted" in step.summary
    assert clean.code == 0, clean.log.text
    assert clean.deleted == expected
    assert clean.outputs["result"] == "success"
    for repository in ("shop/web", "shop/api"):
        tags = workflow.world.registry.repositories[repository].tags
        assert {f"{repository}:{tag}" for tag in tags}.isdisjoint(expected)


async def test_each_job_contacts_only_its_own_services(workflow: WorkflowRun) -> None:
    """A job that collects contacts one cluster, and the registry for its names; the last job no cluster."""
    services: list[set[str]] = []
    run_job = Job.run

    async def recording_run(job: Job, *arguments: Any, **options: Any) -> Step:
        job.world.requests.clear()
        step = await run_job(job, *arguments, **options)
        services.append(contacted_services(job.world))
        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "run", recording_run)
        await workflow.github()
    assert services == [{"acr", "kubernetes/aks-prod"}, {"acr", "kubernetes/aks-test"}, {"acr"}]


async def test_collected_blocker_refuses_the_last_job(workflow: WorkflowRun) -> None:
    workflow.world.clusters["aks-test"].forbidden.add("pods")
    prod, test, clean = await workflow.github(**{"dry-run": "false"})

    assert (prod.code, test.code, clean.code) == (0, 3, 3), clean.log.text
    assert test.outputs["result"] == clean.outputs["result"] == "aborted"
    assert "list pods" in clean.summary
    assert "Collect it again" in clean.summary
    assert workflow.world.count(service="acr", method="DELETE") == 0


async def test_missing_snapshot_refuses_the_last_job(workflow: WorkflowRun, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = WorkflowRun.upload

    def upload_others(self: WorkflowRun, job: Job, path: str, name: str) -> None:
        if name != "usage-aks-test":
            upload(self, job, path, name)

    monkeypatch.setattr(WorkflowRun, "upload", upload_others)
    *_, clean = await workflow.github(**{"dry-run": "false"})

    assert clean.code == 3, clean.log.text
    assert "the file does not exist" in clean.summary
    assert workflow.world.count(service="acr", method="DELETE") == 0


async def test_documented_docker_command_writes_a_snapshot(
    workflow: WorkflowRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test runs its arguments without Docker."""
    cluster_id = CONFIG["kubernetes_clusters"]["aks-prod"]["resource_id"]
    command = shlex.split(COMMAND.replace("\\\n", " ").replace("$CLUSTER_ID", cluster_id))
    for name, value in workflow.emulator.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    arguments = command[command.index("ghcr.io/org/acr-cleanup") + 1 :]
    parsed = cli.parser().parse_args(arguments)
    settings = load_settings(None, {"registry": parsed.registry, "clusters": parsed.clusters}, {})
    assert [target.key for target in settings.clusters] == ["aks-prod"]
    job = workflow.job()
    process = await asyncio.create_subprocess_exec(
        job.python, "-I", job.script, *arguments, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **workflow.emulator.environment()}, stdout=-1, stderr=-1,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert "aks-prod" in out.decode()
    assert json.loads((tmp_path / "usage.json").read_text())["clusters"][0]["resource_id"] == cluster_id
