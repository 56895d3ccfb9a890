"""
The workflows of docs/scale-out.md, as they stand there: what they name exists, and what they do is what a direct run does.

They are played on an emulated world: each step of ours is the real entrypoint in a process and a workspace of its own; artifacts
are carried between the workspaces as the pipelines would.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
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

TEXT = (ROOT / "docs" / "scale-out.md").read_text("utf-8")
OLD = timedelta(days=100)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


GITHUB, PIPELINES = map(yaml.safe_load, blocks("yaml"))
(CONFIG,) = map(json.loads, blocks("json"))
(COMMAND,) = blocks("sh")


# -- what they name exists -----------------------------------------------------------------------------------------------------


def test_the_workflow_for_github_uses_what_the_action_has() -> None:
    declared = set(action()["inputs"])
    assert GITHUB["permissions"] == {}
    assert GITHUB["concurrency"] == {"group": "acr-cleanup", "cancel-in-progress": False}
    for job in GITHUB["jobs"].values():
        assert job["permissions"]["id-token"] == "write"
        ours = [step["with"] for step in job["steps"] if step.get("uses") == "org/acr-cleanup@v1"]
        assert [set(each) <= declared for each in ours] == [True]
    assert "secrets." not in json.dumps(GITHUB)


def kebab(name: str) -> str:
    return re.sub("[A-Z]", lambda match: f"-{match.group().lower()}", name)


def ours_in(job: Mapping[str, Any]) -> dict[str, str]:
    """The inputs of the task, by the names of the action."""
    (inputs,) = (step["inputs"] for step in job["steps"] if step.get("task") == "AcrCleanup@1")
    return {kebab(name): value for name, value in inputs.items() if name != "azureSubscription"}


def test_the_pipeline_for_azure_uses_what_the_task_has() -> None:
    names = {each.name for each in OPTIONS}
    for job in PIPELINES["jobs"]:
        assert set(ours_in(job)) <= names
        assert any("azureSubscription" in step.get("inputs", {}) for step in job["steps"])


def test_both_read_the_clusters_of_the_configuration() -> None:
    theirs = {key: entry["resource_id"] for key, entry in CONFIG["kubernetes_clusters"].items()}
    collect = PIPELINES["jobs"][0]
    matrices = (GITHUB["jobs"]["collect"]["strategy"]["matrix"]["include"], collect["strategy"]["matrix"].values())
    for matrix in matrices:
        assert {each["cluster"]: each["id"] for each in matrix} == theirs


# -- what they do --------------------------------------------------------------------------------------------------------------


def filled(value: str, names: Mapping[str, str]) -> str:
    """The value as the pipeline would hand it on: `${{ matrix.cluster }}`, `$(cluster)`."""

    def fill(match: re.Match[str]) -> str:
        return names[match[1] or match[2]]

    return re.sub(r"\$\{\{ ([\w.]+) \}\}|\$\(([\w.]+)\)", fill, str(value))


class Played:
    """A pipeline of several jobs, each on a machine of its own; artifacts are all that they share."""

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

    async def github(self, **more: str) -> Iterator[Step]:
        """Every job of the workflow: those that collect, then the one that cleans."""
        login = self.job().login()
        known = {"vars.AZURE_CLIENT_ID": login["client-id"], "vars.AZURE_TENANT_ID": login["tenant-id"]}
        done = []
        collect, clean = GITHUB["jobs"]["collect"], GITHUB["jobs"]["clean"]
        assert clean["needs"] == "collect"
        matrix = collect["strategy"]["matrix"]["include"]
        cells = [{f"matrix.{name}": value for name, value in cell.items()} for cell in matrix]
        for steps, names, extra in [*((collect["steps"], cell, {}) for cell in cells), (clean["steps"], {}, more)]:
            job = self.job()
            for step in steps:
                given = {name: filled(value, known | names) for name, value in step.get("with", {}).items()}
                match step["uses"].partition("@")[0]:
                    case "actions/checkout":
                        (job.workspace / "acr-cleanup.json").write_text(json.dumps(CONFIG))
                    case "actions/upload-artifact":
                        assert step["if"] == "always()"
                        self.upload(job, given["path"], given["name"])
                    case "actions/download-artifact":
                        assert given["pattern"] == "usage-*"
                        self.download(job, given["path"])
                    case _:
                        done.append(await job.run(given | extra))
        return iter(done)

    async def pipelines(self, **more: str) -> Iterator[Step]:
        """The same of the pipeline; the task runs the same image with the same inputs, and brings the login."""
        login = self.job().login()
        done = []
        collect, clean = PIPELINES["jobs"]
        assert clean["dependsOn"] == collect["job"]
        cells = collect["strategy"]["matrix"].values()
        for each, variables, extra in [*((collect, cell, {}) for cell in cells), (clean, {}, more)]:
            job = self.job()
            names = {**variables, "Build.SourcesDirectory": str(job.workspace)}
            for step in each["steps"]:
                if step.get("checkout") == "self":
                    (job.workspace / "acr-cleanup.json").write_text(json.dumps(CONFIG))
                elif "publish" in step:
                    assert step["condition"] == "always()"
                    self.upload(job, filled(step["publish"], names), filled(step["artifact"], names))
                elif step.get("task") == "DownloadPipelineArtifact@2":
                    assert step["inputs"]["itemPattern"] == "usage-*/**"
                    self.download(job, filled(step["inputs"]["targetPath"], names))
                elif "task" in step:
                    given = {name: filled(value, names) for name, value in ours_in(each).items()}
                    done.append(await job.run(login | given | extra))
        return iter(done)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return install(tmp_path_factory.mktemp("image"))


@pytest.fixture
async def played(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[Played]:
    """A shop with two clusters: what either uses stays, and so does what a rollback of either would start."""
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
        made = Played(emulator, tmp_path, installed)
        made.job().trust()
        yield made


async def directly(played: Played) -> set[str]:
    """What a run over both clusters would delete."""
    job = played.job()
    step = await job.run({**job.login(), "config-file": job.write_config()})
    assert step.code == 0, step.log.text
    played.world.requests.clear()
    return step.planned


def asked(world: World) -> set[str]:
    return {each.service for each in world.requests} - {"proxy", "entra", "oidc", "arm"}


@pytest.mark.parametrize("service", ["github", "pipelines"])
async def test_the_last_job_deletes_exactly_what_a_direct_run_would(played: Played, service: str) -> None:
    expected = await directly(played)
    assert expected == {f"shop/web:1.{n}" for n in range(3)} | {"shop/api:1.0", "shop/api:2.0", "shop/api:2.1"}
    with_deletion: Any = {"dry-run": "false"}
    prod, test, clean = await getattr(played, service)(**with_deletion)

    for step in (prod, test):
        assert step.code == 0, step.log.text
        assert step.outputs["result"] == "success"
        assert step.deleted == step.planned == set()
        assert "Nothing was decided or deleted" in step.summary
    assert clean.code == 0, clean.log.text
    assert clean.deleted == expected
    assert clean.outputs["result"] == "success"
    for repository in ("shop/web", "shop/api"):
        tags = played.world.registry.repositories[repository].tags
        assert {f"{repository}:{tag}" for tag in tags}.isdisjoint(expected)


async def test_each_machine_speaks_to_what_it_must_reach_alone(played: Played) -> None:
    seen: list[set[str]] = []
    plain = Job.run

    async def watched(job: Job, *arguments: Any, **more: Any) -> Step:
        job.world.requests.clear()
        step = await plain(job, *arguments, **more)
        seen.append(asked(job.world))
        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "run", watched)
        await played.github()
    assert seen == [{"kubernetes/aks-prod"}, {"kubernetes/aks-test"}, {"acr"}]


async def test_a_blocked_reading_stops_the_last_job(played: Played) -> None:
    played.world.clusters["aks-test"].forbidden.add("pods")
    prod, test, clean = await played.github(**{"dry-run": "false"})

    assert (prod.code, test.code, clean.code) == (0, 3, 3), clean.log.text
    assert test.outputs["result"] == clean.outputs["result"] == "aborted"
    assert "list pods" in clean.summary
    assert "Collect it again" in clean.summary
    assert played.world.count(service="acr", method="DELETE") == 0


async def test_a_reading_that_never_came_stops_the_last_job(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Played.upload

    def lose(self: Played, job: Job, path: str, name: str) -> None:
        if name != "usage-aks-test":
            keep(self, job, path, name)

    monkeypatch.setattr(Played, "upload", lose)
    *_, clean = await played.github(**{"dry-run": "false"})

    assert clean.code == 3, clean.log.text
    assert "the file does not exist" in clean.summary
    assert played.world.count(service="acr", method="DELETE") == 0


async def test_the_command_for_anywhere_else_writes_such_a_file(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_id = CONFIG["kubernetes_clusters"]["aks-prod"]["resource_id"]
    words = shlex.split(COMMAND.replace("\\\n", " ").replace("$CLUSTER_ID", cluster_id))
    for name, value in played.emulator.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    arguments = words[words.index("ghcr.io/org/acr-cleanup") + 1 :]
    parsed = cli.parser().parse_args(arguments)
    settings = load_settings(None, {"registry": parsed.registry, "clusters": parsed.clusters}, {})
    assert [target.key for target in settings.clusters] == ["aks-prod"]
    job = played.job()
    process = await asyncio.create_subprocess_exec(
        job.python, "-I", job.script, *arguments, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **played.emulator.environment()}, stdout=-1, stderr=-1,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert "aks-prod" in out.decode()
    assert json.loads((tmp_path / "usage.json").read_text())["clusters"][0]["resource_id"] == cluster_id
