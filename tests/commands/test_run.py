"""
`acr-cleanup plan` and `apply`, end to end over HTTPS: the default rule, and all reasons to refuse a
run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.emulator.kubernetes.run_command import run_command
from tests.helpers.in_memory_world import serving
from tests.helpers.tool_runs import Tool, serving_over_tls

OLD = timedelta(days=100)


@pytest.fixture
async def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """
    Serve a cluster that runs shop/web:2.0, of five tags, and the unused repository idle/thing.

    The tool uses real host names, through a proxy.
    """
    async with serving(_one_cluster(), tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
async def tool_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """The same on sockets, for run commands: `kubectl` is another process."""
    async with serving_over_tls(_one_cluster(), tmp_path, monkeypatch) as served:
        yield served


def _one_cluster() -> World:
    world = World(face="proxy", run_command=run_command)
    registry = world.registry
    for name in ("1.0", "1.1", "2.0"):
        registry.push("shop/web", name, age=OLD)
    registry.push("shop/web", "latest", age=OLD)
    registry.push("shop/web", "3.0", age=timedelta(days=1))
    registry.push("idle/thing", "1.0", age=OLD)
    cluster = ClusterState("aks-prod")
    cluster.run(build.deployment("shop", "web", [registry.image("shop/web", "2.0")]))
    world.clusters["production"] = cluster
    return world


async def test_apply_deletes_exactly_the_selected_tags(tool: Tool) -> None:
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert tool.left("shop/web") == {"2.0", "3.0", "latest"}
    assert tool.left("idle/thing") == {"1.0"}
    assert ran.report["counts"] == {
        "deleted": 2,
        "planned": 2,
        "kept": 3,
        "in_use": 1,
        "failed": 0,
        "deleted_manifests": 2,
        "bytes": ran.report["counts"]["bytes"],
    }
    assert ran.report["counts"]["bytes"] > 0


async def test_plan_shows_the_same_tags_without_deleting(tool: Tool) -> None:
    ran = await tool.plan()

    assert ran.code == 0
    assert ran.planned == {"shop/web:1.0", "shop/web:1.1"}
    assert ran.deleted == set()
    assert tool.world.count(service="acr", method="DELETE") == 0


async def test_second_apply_plans_nothing(tool: Tool) -> None:
    await tool.apply()
    second = await tool.apply()

    assert second.code == 0
    assert second.planned == set()


async def test_default_scope_lists_only_running_repositories(tool: Tool) -> None:
    """The catalog gives only the names to look for in the clusters."""
    await tool.apply()

    assert tool.world.count(service="acr", path="idle/thing") == 0
    assert tool.world.count(service="acr", path="_catalog") == 1


async def test_scope_all_reads_the_catalog(tool: Tool) -> None:
    ran = await tool.apply(scope="all")

    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1", "idle/thing:1.0"}


async def test_older_than_overrides_the_default(tool: Tool) -> None:
    ran = await tool.plan(**{"older-than": "101"})

    assert ran.planned == set()


async def test_tag_deployed_after_the_plan_is_in_use_now(tool: Tool) -> None:
    cluster = tool.world.clusters["production"]

    async def deploy(_request: object) -> None:
        cluster.run(build.deployment("shop", "again", [tool.world.registry.image("shop/web", "1.1")]))

    # The registry is listed after the clusters have been read for the plan.
    tool.world.faults.append(Fault(service="acr", path="_tags", before=deploy, times=1))
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.0"}
    assert ran.outcomes("1.1") == {"in use now"}
    assert "1.1" in tool.left("shop/web")


# -- blockers ------------------------------------------------------------------------------------


async def assert_refused(tool: Tool, *words: str) -> None:
    """Check that an apply is refused: it shows the plan and these words, and deletes nothing."""
    ran = await tool.apply()

    assert ran.code == 3
    assert ran.deleted == set()
    assert tool.world.count(service="acr", method="DELETE") == 0
    assert ran.report["verdict"] == "refused"
    assert ran.blockers
    for word in words:
        assert word in ran.out
    assert "Traceback" not in ran.out + ran.err


async def add_cluster(tool: Tool, **options: object) -> ClusterState:
    cluster = ClusterState("aks-two", **options)  # type: ignore[arg-type]
    tool.world.clusters["second"] = cluster
    cluster.run(build.deployment("shop", "other", [tool.world.registry.image("shop/web", "2.0")]))
    return cluster


async def test_stopped_cluster_blocks(tool: Tool) -> None:
    await add_cluster(tool, power_state="Stopped")

    await assert_refused(tool, "second", "stopped", "az aks start", "shop/web")


async def test_unknown_subscription_blocks(tool: Tool) -> None:
    config = tool.emulator.config()
    config["kubernetes_clusters"]["lost"] = {
        "name": "aks-prod",
        "subscription_id": "99999999-9999-9999-9999-999999999999",
        "resource_group": "rg-prod",
    }
    ran = await tool.apply(config)

    assert ran.code == 3
    assert tool.world.count(service="acr", method="DELETE") == 0
    assert "99999999-9999-9999-9999-999999999999" in ran.out
    assert ran.planned


async def test_forbidden_kind_blocks(tool: Tool) -> None:
    (await add_cluster(tool)).forbidden.add("cronjobs.batch")

    await assert_refused(tool, "cronjobs.batch", "403")


async def test_empty_list_without_the_right_to_list_blocks(tool: Tool) -> None:
    """Some authorizers answer with an empty list instead of 403."""
    (await add_cluster(tool)).hidden.add("statefulsets.apps")

    await assert_refused(tool, "statefulsets.apps", "empty")


async def test_list_that_keeps_expiring_blocks(tool: Tool) -> None:
    cluster = await add_cluster(tool)
    cluster.page_cap = 1
    cluster.run(build.deployment("shop", "more", [tool.world.registry.image("shop/web", "2.0")], replicas=3))
    cluster.expire_continue["pods"] = 1000

    await assert_refused(tool, "pods", "410")


async def test_unreachable_api_server_blocks(tool: Tool) -> None:
    await add_cluster(tool, reachable=False)

    await assert_refused(tool, "second")


async def test_unparsable_image_blocks_if_it_names_the_registry(tool: Tool) -> None:
    cluster = await add_cluster(tool)
    cluster.add(build.pod("odd", "theirs", ["ghcr.io/Bad Name:1"]))
    assert (await tool.plan()).code == 0

    cluster.add(build.pod("odd", "ours", ["contoso.azurecr.io/shop/web:$(TAG)"]))
    await assert_refused(tool, "odd", "$(TAG)")


@pytest.mark.extended
@pytest.mark.parametrize(
    ("knobs", "word"),
    [
        ({"truncate_log_at": 300}, "cut"),
        ({"exit_code": 1}, "exit code"),
        ({"empty_log": True}, "empty"),
        ({"prefix_line": "Warning: something is deprecated"}, "Warning"),
    ],
)
async def test_damaged_run_command_log_blocks(tool_over_tls: Tool, knobs: dict[str, object], word: str) -> None:
    await add_cluster(tool_over_tls, private=True, **knobs)

    await assert_refused(tool_over_tls, "second", word)


@pytest.mark.extended
async def test_private_cluster_is_read_by_run_command(tool_over_tls: Tool) -> None:
    cluster = await add_cluster(tool_over_tls, private=True)
    cluster.add(build.cronjob("batch", "nightly", [tool_over_tls.world.registry.image("shop/web", "1.0")]))

    ran = await tool_over_tls.apply()

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.1"}
    assert tool_over_tls.world.count(service="arm", path="runCommand") > 0


async def test_unknown_registry_is_refused_by_name(tool: Tool) -> None:
    config = tool.emulator.config()
    config["container_registry"]["url"] = "nosuch.azurecr.io"
    config["registry_aliases"] = ["contoso.azurecr.io"]
    ran = await tool.apply(config)

    assert ran.code == 3
    assert "nosuch.azurecr.io" in ran.out
    assert "Traceback" not in ran.out + ran.err


async def test_wrong_client_secret_is_refused_without_showing_it(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "not-the-secret")
    ran = await tool.apply()

    assert ran.code == 3
    assert ran.report["verdict"] == "refused"
    assert "not-the-secret" not in ran.out + ran.err
    assert "Traceback" not in ran.out + ran.err


async def test_max_deletions_refuses_the_whole_apply(tool: Tool) -> None:
    ran = await tool.apply(**{"max-deletions": "1"})

    assert ran.code == 3
    assert tool.world.count(service="acr", method="DELETE") == 0
    assert "max-deletions" in ran.out
    assert ran.planned == {"shop/web:1.0", "shop/web:1.1"}


# -- failures and locks --------------------------------------------------------------------------


async def test_failed_deletion_does_not_stop_the_others(tool: Tool) -> None:
    digest = tool.world.registry.repositories["shop/web"].tags["1.0"].digest
    tool.world.faults.append(Fault(service="acr", method="DELETE", path=digest, status=403))
    ran = await tool.apply()

    assert ran.code == 1
    assert ran.deleted == {"shop/web:1.1"}
    assert ran.report["counts"]["failed"] == 1
    assert ran.outcomes("1.0") == {"failed"}


async def test_unlistable_repository_is_kept_without_stopping_others(tool: Tool) -> None:
    registry, cluster = tool.world.registry, tool.world.clusters["production"]
    registry.push("shop/cart", "1.0", age=OLD)
    registry.push("shop/cart", "2.0", age=OLD)
    cluster.run(build.deployment("shop", "cart", [registry.image("shop/cart", "2.0")]))
    tool.world.faults.append(Fault(service="acr", path="shop/cart/_manifests", status=403))
    ran = await tool.apply()

    assert ran.code == 1
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert tool.left("shop/cart") == {"1.0", "2.0"}


async def test_locked_tag_is_kept_and_reported(tool: Tool) -> None:
    tool.world.registry.lock("shop/web", "1.0")
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.1"}
    assert "locked" in ran.out


async def test_locked_repository_is_kept(tool: Tool) -> None:
    tool.world.registry.lock("shop/web")
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.report["counts"]["planned"] == ran.report["counts"]["deleted"] == 0
    assert not ran.outcomes("1.0")


# -- exit codes and reports ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail_on", "dry_run", "failing", "code"),
    [
        ("delete-errors", False, True, 1),
        ("delete-errors", False, False, 0),
        ("none", False, True, 0),
        ("warnings", False, True, 0),
        ("planned-deletions", True, False, 1),
        ("planned-deletions", False, False, 0),
        ("delete-errors", True, False, 0),
        ("warnings,planned-deletions", True, False, 1),
    ],
)
async def test_fail_on_selects_the_exit_code(tool: Tool, fail_on: str, dry_run: bool, failing: bool, code: int) -> None:
    if failing:
        digest = tool.world.registry.repositories["shop/web"].tags["1.0"].digest
        tool.world.faults.append(Fault(service="acr", method="DELETE", path=digest, status=403))
    ran = await tool.run(dry_run=dry_run, **{"fail-on": fail_on})

    assert ran.code == code
    assert ran.deleted == ({"shop/web:1.1"} if failing else set() if dry_run else {"shop/web:1.0", "shop/web:1.1"})


async def test_fail_on_none_does_not_hide_a_refusal(tool: Tool) -> None:
    assert (await tool.apply(**{"max-deletions": "1", "fail-on": "none"})).code == 3


async def test_broken_report_does_not_stop_the_other_reports(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception in a report must not hide the deletions."""

    def fail(*_: object, **__: object) -> str:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("acr_cleanup.stages.publish.text.render", fail)
    monkeypatch.setattr("acr_cleanup.stages.publish.outputs", fail)
    ran = await tool.apply()

    assert ran.code == 1
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert ran.err.count("ZeroDivisionError: a bug") == 2
    assert "Traceback" not in ran.out + ran.err


async def test_deletions_are_reported_if_the_verification_fails(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("acr_cleanup.commands.run.verify", fail)
    ran = await tool.apply()

    assert ran.code != 0
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
