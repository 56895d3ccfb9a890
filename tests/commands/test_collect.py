"""`acr-cleanup collect`: reads clusters into a usage snapshot, and changes nothing else."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.commands.collect import collect
from acr_cleanup.commands.names import names
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.tool_runs import Tool

OLD = timedelta(days=100)


@dataclass(frozen=True)
class CollectRun:
    """The result of a run of collect."""

    code: int
    content: Any
    """The snapshot; None without a file."""
    out: str
    err: str

    def cluster(self, key: str) -> Any:
        return next(cluster for cluster in self.content["clusters"] if cluster["cluster"] == key)


async def run(
    tool: Tool, *only: str, config: Any = None, name: str = "usage.json", names: Path | None = None, **options: Any
) -> CollectRun:
    """Collect the clusters (all, or `only` these) into the file `name`."""
    path = tool.folder / "collect.json"
    path.write_text(json.dumps(config or tool.emulator.config()), encoding="utf-8")
    settings = load_settings(path, options, os.environ)
    out, err = io.StringIO(), io.StringIO()
    file = tool.folder / name
    code = await collect(
        settings, Terminal(stdout=out, stderr=err, environ={}), os.environ, out=file, only=only, names=names
    )
    content = json.loads(file.read_text("utf-8")) if file.exists() else None
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return CollectRun(code, content, out.getvalue(), err.getvalue())


def config_with_snapshots(tool: Tool, **more: Any) -> dict[str, Any]:
    """Return a configuration that reads both clusters from the snapshot."""
    config = tool.emulator.config()
    config["kubernetes_clusters"] = {key: {"snapshot": "usage.json", **more} for key in config["kubernetes_clusters"]}
    return config


def cluster_requests(tool: Tool) -> list[Any]:
    return [request for request in tool.world.requests if request.service.startswith("kubernetes/")]


# -- snapshots of readable clusters --------------------------------------------------------------


async def test_collect_writes_and_shows_each_cluster(tool: Tool) -> None:
    before = datetime.now(UTC)
    ran = await run(tool)

    assert ran.code == 0
    assert [cluster["cluster"] for cluster in ran.content["clusters"]] == ["production", "test"]
    production = ran.cluster("production")
    assert production["resource_id"].endswith("/managedClusters/aks-production")
    assert production["access"] == "direct"
    assert production["blockers"] == []
    assert {image["tag"] for image in production["images"] if image["tag"]} == {"2.0"}
    assert before <= datetime.fromisoformat(production["read_at"]) <= datetime.fromisoformat(ran.content["created_at"])
    header, *rows = ran.out.splitlines()
    assert header.split() == ["Cluster", "Access", "Objects", "Uses", "Blockers"]
    for row, key in zip(rows, ("production", "test"), strict=False):
        cluster = ran.cluster(key)
        uses = [
            pair for kinds in cluster["uses"].values() for of in kinds.values() for at in of.values() for pair in at
        ]
        assert row.split() == [key, "direct", str(cluster["objects"]), str(len(uses)), "0"]
    assert "clusters: 2 of 2, done" in ran.err


async def test_collect_with_names_sends_no_request_to_the_registry(tool: Tool) -> None:
    names = await write_names(tool)
    sent = tool.world.count(service="acr")
    collected = await run(tool, names=names)
    assert collected.code == 0
    assert tool.world.count(service="acr") == sent


async def test_collect_finds_the_same_with_a_file_of_names(tool: Tool) -> None:
    cluster = next(iter(tool.world.clusters.values()))
    cluster.add(build.configmap("shop", "jobs", {"job": "image: shop/web:1.0"}))
    direct, by_file = await run(tool), await run(tool, names=await write_names(tool))
    assert direct.content is not None
    assert by_file.content is not None
    mentions = [cluster["mentions"] for cluster in direct.content["clusters"]]
    assert mentions == [cluster["mentions"] for cluster in by_file.content["clusters"]]
    assert {(mention["repository"], mention["tag"]) for of in mentions for mention in of} == {("shop/web", "1.0")}


async def test_snapshot_contains_no_text_of_a_cluster(tool: Tool) -> None:
    """Objects that name images are full of secrets; none of them is in the file."""
    secrets = [f"hunter{number}-Zx9" for number in range(8)]
    cluster = next(iter(tool.world.clusters.values()))
    web = build.deployment("shop", "jobs", ["busybox:1"])
    web["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "IMAGE", "value": "shop/web:1.0"},
        {"name": "DSN", "value": f"postgres://user:{secrets[0]}@db/{secrets[1]}"},
        {"name": "API_KEY", "value": secrets[2]},
    ]
    web["metadata"]["annotations"] = {"note": f"{secrets[3]} for shop/web"}
    data = {
        "values.yaml": f"image: shop/web\ntag: {secrets[4]}\npassword: {secrets[5]}\n",
        "url": f"https://contoso.azurecr.io/{{{{ .x }}}}?token={secrets[6]}",
        "web": secrets[7],
    }
    cluster.add(web, build.configmap("shop", "full-of-secrets", data))
    collected = await run(tool)
    text = json.dumps(collected.content)
    assert '"1.0"' in text
    assert [secret for secret in secrets if secret in text] == []


async def write_names(tool: Tool) -> Path:
    """Write the names of the registry."""
    file = tool.folder / "names.json"
    path = tool.folder / "names-config.json"
    path.write_text(json.dumps(tool.emulator.config()), encoding="utf-8")
    runtime = Terminal(stdout=io.StringIO(), stderr=io.StringIO(), environ={})
    assert await names(load_settings(path, {}, os.environ), runtime, os.environ, out=file) == 0
    return file


async def test_run_with_snapshot_deletes_the_same_tags(tool: Tool) -> None:
    """It does not contact the clusters."""
    direct = await tool.plan()
    await run(tool)
    tool.world.requests.clear()
    ran = await tool.apply(config_with_snapshots(tool))

    assert ran.code == 0, ran.out
    assert ran.deleted == direct.planned == {"shop/web:1.0"}
    assert not cluster_requests(tool)


async def test_only_limits_collect_to_the_named_clusters(tool: Tool) -> None:
    ran = await run(tool, "test")

    assert [cluster["cluster"] for cluster in ran.content["clusters"]] == ["test"]
    assert tool.world.count(service="kubernetes/aks-production") == 0


async def test_snapshot_contains_the_search_options(tool: Tool) -> None:
    """A later run checks that the snapshot was collected for its aliases and its Helm history."""
    options: dict[str, Any] = {"registry-aliases": "images.contoso.example", "helm-history": "2"}
    ran = await run(tool, **options)

    assert ran.content["registry"]["aliases"] == ["images.contoso.example"]
    assert ran.content["helm_history"] == 2


# -- clusters that cannot be read ----------------------------------------------------------------


async def test_collected_blockers_refuse_later_runs(tool: Tool) -> None:
    """They do so until the cluster is collected again, even if the cause is gone."""
    tool.world.clusters["test"].forbidden.add("pods")
    ran = await run(tool)

    assert ran.code == 3
    assert [blocker["kind"] for blocker in ran.cluster("test")["blockers"]] == ["pods"]
    assert ran.cluster("production")["blockers"] == []
    assert "1 of 2 clusters could not be read completely" in ran.out
    assert "test: list pods" in ran.out

    tool.world.clusters["test"].forbidden.clear()
    later = await tool.apply(config_with_snapshots(tool))
    assert later.code == 3
    assert "Collect it again" in later.out
    assert tool.world.count(service="acr", method="DELETE") == 0


async def test_stopped_cluster_is_written_with_a_blocker(tool: Tool) -> None:
    tool.world.clusters["test"].power_state = "Stopped"
    ran = await run(tool)

    assert ran.code == 3
    assert "stopped" in ran.cluster("test")["blockers"][0]["seen"]
    assert ran.cluster("test")["resource_id"].endswith("/aks-test")


async def test_waived_kind_blocks_neither_collect_nor_later_runs(tool: Tool) -> None:
    """Both report the waiver."""
    tool.world.clusters["test"].forbidden.add("jobs.batch")
    ran = await run(tool, waive_workloads="test: jobs.batch")

    assert ran.code == 0
    assert [blocker["kind"] for blocker in ran.cluster("test")["waived"]] == ["jobs.batch"]
    assert "test: jobs.batch is waived" in ran.out
    later = await tool.apply(config_with_snapshots(tool))
    assert later.code == 0, later.out
    assert any("jobs.batch is waived" in warning for warning in later.report["warnings"])


async def test_collected_blocker_can_be_waived_by_a_later_run(tool: Tool) -> None:
    tool.world.clusters["test"].forbidden.add("jobs.batch")
    await run(tool)
    later = await tool.apply(config_with_snapshots(tool), waive_workloads="test: jobs.batch")

    assert later.code == 0, later.out
    assert later.deleted == {"shop/web:1.0"}


# -- failures ------------------------------------------------------------------------------------


async def test_failed_login_writes_no_snapshot(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    ran = await run(tool)

    assert ran.code == 3
    assert ran.content is None
    assert "No usage snapshot was written" in ran.err


async def test_unexpected_error_is_shown_without_a_traceback(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("acr_cleanup.commands.collect.write_snapshot", fail)
    ran = await run(tool)

    assert ran.code == 1
    assert "ZeroDivisionError: a bug" in ran.err


async def test_full_disk_keeps_the_earlier_snapshot(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    await run(tool, "test")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acr_cleanup.records.whole_file.os.fsync", fail)
    ran = await run(tool)

    assert ran.code == 1
    assert "No space left on device" in ran.err
    assert [cluster["cluster"] for cluster in ran.content["clusters"]] == ["test"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_interrupted_collect_writes_no_snapshot(tool: Tool, number: signal.Signals) -> None:
    async def interrupt(_request: object) -> None:
        os.kill(os.getpid(), number)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)

    tool.world.faults.append(Fault(service="kubernetes/aks-test", before=interrupt, times=1))
    ran = await run(tool)

    assert ran.code == 128 + number
    assert ran.content is None
    assert "Cancelled" in ran.err


# -- merging snapshots ---------------------------------------------------------------------------


async def test_merged_snapshots_keep_their_ages(tool: Tool) -> None:
    first = await run(tool, "production", name="a.json")
    second = await run(tool, "test", name="b.json")
    config = tool.emulator.config()
    config["kubernetes_clusters"] = {"production": {"snapshot": "a.json"}, "test": {"snapshot": "b.json"}}
    tool.world.requests.clear()
    merged = await run(tool, config=config)

    assert merged.code == 0, merged.out
    for source, key in ((first, "production"), (second, "test")):
        assert merged.cluster(key) == source.cluster(key) | {"access": "snapshot"}
    assert not cluster_requests(tool)
    assert (await tool.apply(config_with_snapshots(tool))).deleted == {"shop/web:1.0"}


async def test_snapshot_can_be_updated_in_place(tool: Tool) -> None:
    """One cluster is read; the other is copied from the file that is overwritten."""
    old = await run(tool)
    config = tool.emulator.config()
    config["kubernetes_clusters"]["test"] = {"snapshot": "usage.json"}
    new = await run(tool, config=config)

    assert new.cluster("test") == old.cluster("test") | {"access": "snapshot"}
    assert new.cluster("production")["read_at"] > old.cluster("production")["read_at"]


async def test_missing_snapshot_is_merged_as_a_blocker(tool: Tool) -> None:
    config = tool.emulator.config()
    config["kubernetes_clusters"]["test"] = {"snapshot": "nowhere.json"}
    ran = await run(tool, config=config)

    assert ran.code == 3
    assert "does not exist" in ran.cluster("test")["blockers"][0]["seen"]


# -- snapshots that expire -----------------------------------------------------------------------


async def test_snapshot_that_expires_during_a_run_is_a_blocker(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is valid for the plan, but too old at the second look."""
    await run(tool)

    async def advance_clock(_request: object) -> None:
        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + timedelta(hours=25)

        monkeypatch.setattr("acr_cleanup.clusters.snapshot_reader.datetime", Later)

    # The registry is listed after the snapshot has been read for the plan.
    tool.world.faults.append(Fault(service="acr", path="_tags", before=advance_clock, times=1))
    ran = await tool.apply(config_with_snapshots(tool))

    assert ran.code == 3, ran.out
    assert ran.planned == {"shop/web:1.0"}
    assert any("max_age" in blocker["seen"] for blocker in ran.blockers)
    assert tool.world.count(service="acr", method="DELETE") == 0


# -- invalid arguments ---------------------------------------------------------------------------
