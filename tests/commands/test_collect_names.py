"""How `collect` uses the names of the registry."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from acr_cleanup import cli
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.reports.files import prepare_file
from tests.commands.test_collect import config_with_snapshots, run, write_names
from tests.helpers.tool_runs import Tool


async def test_unknown_cluster_is_refused_before_any_request(tool: Tool) -> None:
    """The message suggests a similar name."""
    with pytest.raises(ConfigurationError) as caught:
        await run(tool, "productoin", "test")
    (problem,) = caught.value.problems
    assert "production" in problem.seen
    assert tool.world.requests == []


def add_mention(tool: Tool) -> None:
    cluster = next(iter(tool.world.clusters.values()))
    cluster.add(build.configmap("shop", "jobs", {"job": "image: shop/web:1.0"}))


def cut_catalog(tool: Tool) -> None:
    """Let the catalog lack the repository that the clusters use, as a cut list does."""
    tool.world.faults.append(Fault(service="acr", path="_catalog$", status=200, body={"repositories": ["idle/thing"]}))


async def test_clusters_are_read_again_for_a_repository_that_the_catalog_lacks(tool: Tool) -> None:
    """The snapshot has the same mentions as with the whole catalog."""
    add_mention(tool)
    whole = await run(tool)
    cut_catalog(tool)

    ran = await run(tool)

    assert ran.code == 0
    assert "because the registry's list of repositories lacks shop/web" in ran.err
    mentions = [cluster["mentions"] for cluster in ran.content["clusters"]]
    assert any("1.0" in str(of_cluster) for of_cluster in mentions)
    assert mentions == [cluster["mentions"] for cluster in whole.content["clusters"]]


async def test_repository_that_the_names_file_lacks_keeps_every_tag(tool: Tool) -> None:
    """No object was searched for its tags, so any of them may be mentioned."""
    add_mention(tool)
    cut_catalog(tool)
    names = await write_names(tool)
    tool.world.faults.clear()
    assert (await run(tool, names=names)).code == 0

    ran = await tool.plan(config_with_snapshots(tool))

    assert ran.planned == set()
    assert "its repository is not among the names for the usage snapshot of production" in " ".join(ran.out.split())


async def test_unreadable_cache_rules_are_noted_in_the_snapshot(tool: Tool) -> None:
    """A run with the snapshot may be able to read them: the clusters were searched without them."""
    tool.world.faults.append(Fault(service="arm", path="/cacheRules$", status=403))
    config = tool.emulator.config()

    ran = await run(tool, config=config)

    assert all("The cache rules of the registry were not read" in str(of["notes"]) for of in ran.content["clusters"])


@pytest.mark.parametrize("name", ["", "folder", "file/usage.json", "nul\0.json", "x" * 300, "pipe"])
def test_unwritable_file_is_refused_without_changes(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigurationError) as caught:
        prepare_file(tmp_path / name, "out", "the usage snapshot")
    (problem,) = caught.value.problems
    assert "cannot be written" in problem.seen
    assert sorted(tmp_path.iterdir()) == before


def test_missing_folders_of_the_file_are_created(tmp_path: Path) -> None:
    """No other file remains in them."""
    prepare_file(tmp_path / "a" / "b" / "usage.json", "out", "the usage snapshot")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["collect", "--out", "usage.json", "--only", "unknown"], "The configuration has no cluster 'unknown'"),
        (["collect", "--out", "/dev/null"], "'/dev/null' cannot be written"),
        (["collect", "--out", "usage.json", "--helm-history", "many"], "helm-history"),
        (["plan", "--out", "/dev/null"], "'/dev/null' cannot be written: it exists and is not a regular file."),
    ],
)
def test_invalid_arguments_have_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("acr-cleanup.json").write_text(
        json.dumps({"kubernetes_clusters": {"a": {"snapshot": "a.json"}}, "container_registry": {"url": "contoso"}})
    )
    assert cli.run(arguments, {}) == 2
    assert message in capsys.readouterr().err
