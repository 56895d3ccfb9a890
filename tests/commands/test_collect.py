"""Collecting: clusters are read into a file, nothing else is touched, and the file says what could not be seen."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup import cli
from acr_cleanup.clusters.snapshot import SnapshotEntry, write_snapshot
from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.commands.collect import collect
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import Blocker, ClusterScan
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.reports.collected import CollectedReport
from acr_cleanup.reports.files import prepare_file
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings import load_settings
from tests.helpers import hostile_text as hostile
from tests.helpers.tool_runs import Tool, serving
from tests.reports.test_markdown import OURS, elements, html, whole

OLD = timedelta(days=100)


@dataclass(frozen=True)
class Collected:
    code: int
    content: Any
    out: str
    err: str

    def cluster(self, key: str) -> Any:
        return next(each for each in self.content["clusters"] if each["cluster"] == key)


@pytest.fixture
async def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """Two clusters, each of which uses an old tag that the other does not know of; a third tag is used by nobody."""
    world = World(face="proxy")
    for tag in ("1.0", "2.0", "2.1"):
        world.registry.push("shop/web", tag, age=OLD)
    for key, tag in (("production", "2.0"), ("test", "2.1")):
        cluster = ClusterState(f"aks-{key}")
        cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", tag)]))
        world.clusters[key] = cluster
    async with serving(world, tmp_path, monkeypatch) as served:
        yield served


async def run(tool: Tool, *only: str, config: Any = None, name: str = "usage.json", **options: Any) -> Collected:
    path = tool.folder / "collect.json"
    path.write_text(json.dumps(config or tool.emulator.config()), encoding="utf-8")
    settings = load_settings(path, options, os.environ)
    out, err = io.StringIO(), io.StringIO()
    file = tool.folder / name
    code = await collect(settings, Terminal(stdout=out, stderr=err, environ={}), os.environ, out=file, only=only)
    content = json.loads(file.read_text("utf-8")) if file.exists() else None
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Collected(code, content, out.getvalue(), err.getvalue())


def from_snapshots(tool: Tool, **more: Any) -> dict[str, Any]:
    """The configuration of a run that reads both clusters from the file."""
    config = tool.emulator.config()
    config["kubernetes_clusters"] = {key: {"snapshot": "usage.json", **more} for key in config["kubernetes_clusters"]}
    return config


# -- what it does --------------------------------------------------------------------------------------------------------------


async def test_everything_read_is_written_and_shown(tool: Tool) -> None:
    before = datetime.now(UTC)
    ran = await run(tool)

    assert ran.code == 0
    assert [each["cluster"] for each in ran.content["clusters"]] == ["production", "test"]
    production = ran.cluster("production")
    assert production["resource_id"].endswith("/managedClusters/aks-production")
    assert production["access"] == "direct"
    assert production["blockers"] == []
    assert {use["tag"] for use in production["uses"] if use["tag"]} == {"2.0"}
    assert before <= datetime.fromisoformat(production["read_at"]) <= datetime.fromisoformat(ran.content["created_at"])
    header, *rows = ran.out.splitlines()
    assert header.split() == ["Cluster", "Access", "Objects", "Uses", "Blockers"]
    for row, key in zip(rows, ("production", "test"), strict=False):
        each = ran.cluster(key)
        assert row.split() == [key, "direct", str(each["objects"]), str(len(each["uses"])), "0"]
    assert "clusters: 2 of 2, done" in ran.err


async def test_the_registry_is_never_contacted(tool: Tool) -> None:
    await run(tool)
    assert tool.world.count(service="acr") == 0


async def test_a_run_with_the_snapshot_deletes_what_a_direct_run_would(tool: Tool) -> None:
    direct = await tool.plan()
    await run(tool)
    tool.world.requests.clear()
    ran = await tool.apply(from_snapshots(tool))

    assert ran.code == 0, ran.out
    assert ran.deleted == direct.planned == {"shop/web:1.0"}
    assert not [each for each in tool.world.requests if each.service.startswith("kubernetes/")]


async def test_only_the_named_clusters_are_read(tool: Tool) -> None:
    ran = await run(tool, "test")

    assert [each["cluster"] for each in ran.content["clusters"]] == ["test"]
    assert tool.world.count(service="kubernetes/aks-production") == 0


async def test_what_it_was_told_to_look_for_is_in_the_file(tool: Tool) -> None:
    ran = await run(tool, **{"registry-aliases": "images.contoso.example", "helm-history": "2"})

    assert ran.content["registry"]["aliases"] == ["images.contoso.example"]
    assert ran.content["helm_history"] == 2


# -- what could not be seen ----------------------------------------------------------------------------------------------------


async def test_a_cluster_with_blockers_is_written_as_such_and_refused_later(tool: Tool) -> None:
    tool.world.clusters["test"].forbidden.add("pods")
    ran = await run(tool)

    assert ran.code == 3
    assert [each["kind"] for each in ran.cluster("test")["blockers"]] == ["pods"]
    assert ran.cluster("production")["blockers"] == []
    assert "1 of 2 clusters could not be read completely" in ran.out
    assert "test: list pods" in ran.out

    # The cause is gone, but nobody has looked since.
    tool.world.clusters["test"].forbidden.clear()
    later = await tool.apply(from_snapshots(tool))
    assert later.code == 3
    assert "Collect it again" in later.out
    assert tool.world.count(service="acr", method="DELETE") == 0


async def test_an_unreachable_cluster_is_written_as_unread(tool: Tool) -> None:
    tool.world.clusters["test"].power_state = "Stopped"
    ran = await run(tool)

    assert ran.code == 3
    assert "stopped" in ran.cluster("test")["blockers"][0]["seen"]
    assert ran.cluster("test")["resource_id"].endswith("/aks-test")


async def test_what_is_waived_blocks_neither_here_nor_later_and_is_told_in_both(tool: Tool) -> None:
    tool.world.clusters["test"].forbidden.add("jobs.batch")
    ran = await run(tool, waive="test: jobs.batch")

    assert ran.code == 0
    assert [each["kind"] for each in ran.cluster("test")["waived"]] == ["jobs.batch"]
    assert "test: jobs.batch is waived" in ran.out
    later = await tool.apply(from_snapshots(tool))
    assert later.code == 0, later.out
    assert any("jobs.batch is waived" in each for each in later.report["warnings"])


async def test_what_blocked_can_be_given_up_by_the_run_that_deletes(tool: Tool) -> None:
    tool.world.clusters["test"].forbidden.add("jobs.batch")
    await run(tool)
    later = await tool.apply(from_snapshots(tool), waive="test: jobs.batch")

    assert later.code == 0, later.out
    assert later.deleted == {"shop/web:1.0"}


async def test_no_login_writes_nothing_and_is_told(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    ran = await run(tool)

    assert ran.code == 3
    assert ran.content is None
    assert "No usage snapshot was written" in ran.err


async def test_what_nobody_foresaw_is_told_without_a_traceback(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("whatever")

    monkeypatch.setattr("acr_cleanup.commands.collect.write_snapshot", broken)
    ran = await run(tool)

    assert ran.code == 1
    assert "ZeroDivisionError: whatever" in ran.err


async def test_a_full_disk_is_told_and_leaves_what_was_there(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    await run(tool, "test")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acr_cleanup.clusters.snapshot.os.fsync", full)
    ran = await run(tool)

    assert ran.code == 1
    assert "No space left on device" in ran.err
    assert [each["cluster"] for each in ran.content["clusters"]] == ["test"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_reading_and_nothing_is_written(tool: Tool, number: signal.Signals) -> None:
    async def interrupt(_: object) -> None:
        os.kill(os.getpid(), number)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)

    tool.world.faults.append(Fault(service="kubernetes/aks-test", before=interrupt, times=1))
    ran = await run(tool)

    assert ran.code == 128 + number
    assert ran.content is None
    assert "Cancelled" in ran.err


# -- several into one ----------------------------------------------------------------------------------------------------------


async def test_several_snapshots_become_one_and_stay_as_old_as_they_are(tool: Tool) -> None:
    first = await run(tool, "production", name="a.json")
    second = await run(tool, "test", name="b.json")
    config = tool.emulator.config()
    config["kubernetes_clusters"] = {"production": {"snapshot": "a.json"}, "test": {"snapshot": "b.json"}}
    tool.world.requests.clear()
    merged = await run(tool, config=config)

    assert merged.code == 0, merged.out
    for one, key in ((first, "production"), (second, "test")):
        assert merged.cluster(key) == one.cluster(key) | {"access": "snapshot"}
    assert not [each for each in tool.world.requests if each.service.startswith("kubernetes/")]
    assert (await tool.apply(from_snapshots(tool))).deleted == {"shop/web:1.0"}


async def test_a_snapshot_may_be_renewed_in_place_of_itself(tool: Tool) -> None:
    """One cluster is read, the other is taken over from the very file that is written."""
    old = await run(tool)
    config = tool.emulator.config()
    config["kubernetes_clusters"]["test"] = {"snapshot": "usage.json"}
    new = await run(tool, config=config)

    assert new.cluster("test") == old.cluster("test") | {"access": "snapshot"}
    assert new.cluster("production")["read_at"] > old.cluster("production")["read_at"]


async def test_a_missing_snapshot_is_merged_as_a_blocked_cluster(tool: Tool) -> None:
    config = tool.emulator.config()
    config["kubernetes_clusters"]["test"] = {"snapshot": "nowhere.json"}
    ran = await run(tool, config=config)

    assert ran.code == 3
    assert "does not exist" in ran.cluster("test")["blockers"][0]["seen"]


# -- it grows old during a run -------------------------------------------------------------------------------------------------


async def test_a_snapshot_that_grows_too_old_during_a_run_blocks_the_deletion(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan was made with it in time; the look right before deleting finds it too old."""
    await run(tool)

    async def time_passes(_: object) -> None:
        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + timedelta(hours=25)

        monkeypatch.setattr("acr_cleanup.clusters.snapshot_reader.datetime", Later)

    # The registry is listed after the snapshot has been read for the plan.
    tool.world.faults.append(Fault(service="acr", path="_tags", before=time_passes, times=1))
    ran = await tool.apply(from_snapshots(tool))

    assert ran.code == 3, ran.out
    assert ran.planned == {"shop/web:1.0"}
    assert any("max_age" in each["seen"] for each in ran.blockers)
    assert tool.world.count(service="acr", method="DELETE") == 0


# -- wrong use -----------------------------------------------------------------------------------------------------------------


async def test_an_unknown_cluster_is_told_before_anything_is_read(tool: Tool) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await run(tool, "productoin", "test")
    (problem,) = refused.value.problems
    assert "production" in problem.seen
    assert tool.world.requests == []


@pytest.mark.parametrize("name", ["", "folder", "file/usage.json", "nul\0.json", "x" * 300, "pipe"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigurationError) as refused:
        prepare_file(tmp_path / name, "out", "the usage snapshot")
    (problem,) = refused.value.problems
    assert "cannot be written" in problem.seen
    assert sorted(tmp_path.iterdir()) == before


def test_folders_on_the_way_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    prepare_file(tmp_path / "a" / "b" / "usage.json", "out", "the usage snapshot")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["collect", "--out", "usage.json", "--only", "nobody"], "The configuration has no cluster 'nobody'"),
        (["collect", "--out", "/dev/null"], "'/dev/null' cannot be written"),
        (["collect", "--out", "usage.json", "--helm-history", "many"], "helm-history"),
        (["plan", "--out", "/dev/null"], "'/dev/null' cannot be written: it exists and is not a regular file."),
    ],
)
def test_wrong_use_is_exit_code_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("acr-cleanup.json").write_text(
        json.dumps({"kubernetes_clusters": {"a": {"snapshot": "a.json"}}, "container_registry": {"url": "contoso"}})
    )
    assert cli.run(arguments, {}) == 2
    assert said in capsys.readouterr().err


# -- foreign text --------------------------------------------------------------------------------------------------------------


def test_no_foreign_text_is_markup_or_a_command() -> None:
    """Neither in the table nor in the summary; all of it comes from clusters, or from a file that others wrote."""
    for text in hostile.TEXTS:
        blocker = Blocker(text, text, text, text, text)
        scan = ClusterScan(text, blockers=(blocker,), waived=(blocker,), access=text, notes=(text,))
        report = CollectedReport((scan,), text)
        for line in str(report).splitlines():
            assert line.isprintable()
            assert "##vso[" not in line
            assert "##[" not in line
            assert not line.lstrip().startswith("::")
        shown = report.markdown()
        assert set(elements(shown)) <= OURS | {f"/{each}" for each in OURS}
        assert whole(shown)
        assert "::" not in shown
        assert not re.search(r"##\[|##vso", shown)
        assert all(line.isprintable() for line in shown.replace("\u200b", "").splitlines())
        assert html(shown).count("<td") == 5


def test_a_snapshot_of_hostile_names_is_told_without_harm(tmp_path: Path) -> None:
    from acr_cleanup.clusters.read_failure import ReadFailure  # noqa: PLC0415
    from acr_cleanup.clusters.snapshot_reader import read_snapshot  # noqa: PLC0415

    path = tmp_path / "usage.json"
    clusters = [
        SnapshotEntry(ClusterScan(text), datetime.now(UTC), text) for text in ("::error::\n", "\x1b[2J##vso[x]")
    ]
    write_snapshot(path, Registry("a.azurecr.io"), clusters, helm_history=0, created_at=datetime.now(UTC))
    with pytest.raises(ReadFailure) as refused:
        read_snapshot(SnapshotCluster("production", path), Registry("a.azurecr.io"), 0)
    assert refused.value.seen.isprintable()
