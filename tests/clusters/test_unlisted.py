"""Clusters outside the configuration: each is reported, and so is a list that may be incomplete."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.core.async_paging import AsyncItemPaged

from acr_cleanup.access import resource_manager
from acr_cleanup.access.arm_errors import Subscription
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters import unlisted
from acr_cleanup.clusters.target import ClusterTarget
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster, SnapshotCluster
from acr_cleanup.clusters.unlisted import find_unlisted
from acr_cleanup.core.usage import Outside
from acr_cleanup.emulator import arm
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.roles import CLUSTERS
from acr_cleanup.errors import IdentityError
from tests.helpers.emulated_clusters import Edge, edge, target
from tests.helpers.stage import assert_invariants, staged

HERE = "00000000-0000-0000-0000-000000000000"
THERE = "99999999-9999-9999-9999-999999999999"
PROD = ClusterState("aks-prod")
TEST = "aks-test"


def states(*others: ClusterState) -> tuple[ClusterState, ...]:
    return (ClusterState("aks-prod"), *others)


async def find(at: Edge, *targets: ClusterTarget, subscriptions: Sequence[str] = (), required: bool = False) -> Outside:
    return await find_unlisted(targets or (target(PROD),), subscriptions, at.azure, required=required)


async def test_unlisted_cluster_is_a_warning() -> None:
    async with edge(*states(ClusterState(TEST, resource_group="rg-test"))) as at:
        outside = await find(at)
        assert outside.blockers == ()
        (warning,) = outside.warnings
        for words in (
            "aks-test in resource group rg-test of subscription 00000000-0000-0000-0000-000000000000",
            "is not in the configuration. Images that only it uses count as unused",
            "If it never pulls from this registry, deletions do not affect it; once added, it is not reported again.",
        ):
            assert words in warning


async def test_remedy_has_valid_configuration_entry() -> None:
    async with edge(*states(ClusterState(TEST, resource_group="rg-test"))) as at:
        (blocker,) = (await find(at, required=True)).blockers
        entry = blocker.remedy.partition("`kubernetes_clusters`: ")[2].partition("}. ")[0] + "}"
        added = yaml.safe_load(entry)
        assert added == {TEST: {"resource_id": AksCluster(TEST, TEST, HERE, "rg-test").resource_id}}
        assert at.world.count(service="arm", path="permissions") == 1


async def test_unlisted_cluster_blocks_if_all_are_required() -> None:
    """The blocker has no kind, so it cannot be waived."""
    async with edge(*states(ClusterState(TEST))) as at:
        outside = await find(at, required=True)
        assert outside.warnings == ()
        (blocker,) = outside.blockers
        assert (blocker.where, blocker.kind) == (TEST, "")


async def test_configured_cluster_is_recognised_in_any_case() -> None:
    async with edge(*states()) as at:
        shouted = AksCluster("prod", "AKS-Prod", HERE.upper(), "RG-PROD")
        for required in (False, True):
            assert await find(at, shouted, required=required) == Outside()


@pytest.mark.parametrize(
    ("state", "words", "way_out"),
    [
        ({"power_state": "Stopped"}, "(stopped)", "It must be running to be read."),
        ({"provisioning_state": "Deleting"}, "(deleting)", "Or wait until it is deleted."),
    ],
    ids=["stopped", "deleting"],
)
async def test_unlisted_cluster_counts_if_not_running(state: Any, words: str, way_out: str) -> None:
    async with edge(*states(ClusterState(TEST, **state))) as at:
        (blocker,) = (await find(at, required=True)).blockers
        assert words in blocker.seen
        assert way_out in blocker.remedy


async def test_all_pages_of_cluster_list_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "PAGE_SIZE", 2)
    others = [ClusterState(f"aks-{number}") for number in range(5)]
    async with edge(*states(*others)) as at:
        outside = await find(at, required=True)
        assert {blocker.where for blocker in outside.blockers} == {cluster.name for cluster in others}
        assert at.world.count(service="arm", path="managedClusters$") == 3


async def test_many_unlisted_clusters_share_one_sentence() -> None:
    others = [ClusterState(f"aks-{number:02}") for number in range(30)]
    async with edge(*states(*others)) as at:
        warnings = (await find(at)).warnings
        assert len(warnings) == 11
        assert [cluster.name for cluster in others if cluster.name not in "".join(warnings)] == []


# -- where it looks --------------------------------------------------------------------------------


async def test_subscriptions_of_targets_are_searched_by_default() -> None:
    async with edge(*states(ClusterState(TEST, subscription_id=THERE))) as at:
        assert await find(at) == Outside()
        assert at.world.count(service="arm", path=THERE) == 0


async def test_named_subscriptions_replace_default() -> None:
    async with edge(*states(ClusterState("aks-near"), ClusterState(TEST, subscription_id=THERE))) as at:
        outside = await find(at, subscriptions=[THERE], required=True)
        assert [blocker.where for blocker in outside.blockers] == [TEST]
        assert at.world.count(service="arm", path=HERE) == 0


async def test_require_all_without_subscription_is_a_blocker(tmp_path: Path) -> None:
    async with edge(*states()) as at:
        elsewhere = KubeconfigCluster("k", tmp_path / "absent")
        assert await find(at, elsewhere) == Outside()
        (blocker,) = (await find(at, elsewhere, required=True)).blockers
        assert "`subscriptions`" in blocker.remedy


# -- other ways to a cluster -----------------------------------------------------------------------


async def test_kubeconfig_target_is_recognised_by_host(tmp_path: Path) -> None:
    other = ClusterState(TEST)
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k"}}],
                "clusters": [{"name": "k", "cluster": {"server": f"https://{str(other.fqdn).upper()}:443"}}],
            }
        )
    )
    async with edge(*states(other)) as at:
        assert await find(at, target(PROD), KubeconfigCluster("t", path), required=True) == Outside()


@pytest.mark.parametrize("content", ["", "nonsense: [", "clusters: 3", "current-context: c\ncontexts: []"])
async def test_unreadable_kubeconfig_recognises_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    async with edge(*states(ClusterState(TEST))) as at:
        outside = await find(at, target(PROD), KubeconfigCluster("t", path))
        assert len(outside.warnings) == 1


async def test_snapshot_with_resource_id_is_recognised(tmp_path: Path) -> None:
    known = SnapshotCluster(
        "t", tmp_path / "usage.json", resource_id=AksCluster("t", TEST, HERE, "rg-prod").resource_id
    )
    async with edge(*states(ClusterState(TEST))) as at:
        assert await find(at, target(PROD), known, required=True) == Outside()
        outside = await find(at, known)
        assert "aks-prod" in outside.warnings[0], "the subscription of the snapshot is searched"


async def test_snapshot_without_resource_id_is_named_in_remedy(tmp_path: Path) -> None:
    async with edge(*states(ClusterState(TEST))) as at:
        outside = await find(at, target(PROD), SnapshotCluster("afar", tmp_path / "usage.json"))
        (warning,) = outside.warnings
        assert "If a usage snapshot is of this cluster (afar), give that entry this `resource_id`" in warning


# -- what cannot be listed -------------------------------------------------------------------------

_FORBIDDEN = {"error": {"code": "AuthorizationFailed", "message": "no"}}
FAILURES: dict[str, dict[str, Any]] = {
    "forbidden": {"status": 403, "body": _FORBIDDEN},
    "not-json": {"malformed": True},
    "gone": {"status": 404, "body": {"error": {"code": "SubscriptionNotFound", "message": "no"}}},
    "cut": {"truncate": 0.5},
    "bad-request": {"status": 400},
    "login": {"status": 401},
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("path", ["managedClusters$", "permissions$"], ids=["list", "permissions"])
async def test_failed_list_is_reported_only_on_request(
    failure: str, path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_pause(*_: object, **__: object) -> None: ...

    monkeypatch.setattr("azure.core.pipeline.policies.AsyncRetryPolicy.sleep", no_pause)
    caplog.set_level(logging.DEBUG, unlisted.__name__)
    async with edge(*states()) as at:
        at.world.faults.append(Fault(service="arm", path=path, **FAILURES[failure]))

        quiet = await find(at)
        assert quiet == Outside()
        assert any("is not searched" in record.message for record in caplog.records) == path.startswith("managed")

        asked = await find(at, subscriptions=[HERE])
        assert asked.blockers == ()
        (warning,) = asked.warnings
        assert f"Subscription {HERE} may have clusters that are not in the configuration" in warning

        required = await find(at, required=True)
        (blocker,) = required.blockers
        assert blocker.where == f"subscription {HERE}"
        assert blocker.seen
        assert blocker.remedy
        if failure == "forbidden":
            assert "Grant the identity, on this subscription, the role Reader." in blocker.remedy


async def test_silently_shortened_list_is_reported() -> None:
    hidden = ClusterState(TEST)
    async with edge(*states(hidden)) as at:
        at.emulator.world.access.withhold(f"{CLUSTERS}/read", hidden.resource_id)
        assert await find(at) == Outside(), "not requested, and rights on single clusters are a valid setup"
        (warning,) = (await find(at, subscriptions=[HERE])).warnings
        (blocker,) = (await find(at, required=True)).blockers
        for text in (warning, str(blocker)):
            assert "sees only the clusters on which it has rights" in text
            assert "the role Reader" in text


async def test_partial_list_still_reports_unlisted_clusters() -> None:
    hidden = ClusterState("aks-hidden")
    async with edge(*states(ClusterState(TEST), hidden)) as at:
        at.emulator.world.access.withhold(f"{CLUSTERS}/read", hidden.resource_id)
        outside = await find(at, required=True)
        assert [blocker.where for blocker in outside.blockers] == [TEST, f"subscription {HERE}"]


@pytest.mark.parametrize(
    ("granted", "complete"),
    [
        ([{"actions": ["*"]}], True),
        ([{"actions": ["*/read"]}], True),
        ([{"actions": ["microsoft.containerservice/MANAGEDCLUSTERS/read"], "notActions": []}], True),
        ([{"actions": ["*"], "notActions": ["Microsoft.ContainerService/*"]}], False),
        ([{"actions": ["*"], "notActions": ["Microsoft.ContainerService/*"]}, {"actions": ["*/read"]}], True),
        ([{"actions": ["Microsoft.ContainerService/managedClusters/listClusterUserCredential/action"]}], False),
        ([{"dataActions": ["*"]}], False),
        ([{"actions": None}, "nonsense", 3], False),
        ([], False),
        (None, False),
        ("nonsense", False),
    ],
)
async def test_list_is_complete_only_with_right_to_all(granted: Any, complete: bool) -> None:
    async with edge(*states()) as at:
        at.world.faults.append(Fault(service="arm", path="permissions", status=200, body={"value": granted}))
        assert (await find(at, required=True) == Outside()) is complete


async def test_cluster_without_id_is_a_blocker() -> None:
    async with edge(*states()) as at:
        at.world.faults.append(
            Fault(service="arm", path="managedClusters$", status=200, body={"value": [{"name": "x"}]})
        )
        (blocker,) = (await find(at, required=True)).blockers
        assert "a cluster without a resource id" in blocker.seen


class EndlessClient:
    """A client whose list of clusters has endless empty pages. It answers without I/O."""

    def __init__(self) -> None:
        self.pages = 0
        self.managed_clusters = self

    def list(self, **_: Any) -> AsyncItemPaged[Any]:
        async def get_page(_: str | None) -> None:
            self.pages += 1

        async def open_page(_: None) -> tuple[str, list[Any]]:
            return f"page {self.pages}", []

        return AsyncItemPaged(get_page, open_page)


async def test_endless_empty_pages_end_at_the_page_limit() -> None:
    """
    The SDK itself follows empty pages by recursion, up to a RecursionError after a few hundred.
    """
    client = EndlessClient()
    with pytest.raises(ReadFailure, match=r"the list does not end: more than 1,000 pages\."):
        await unlisted._list(client, Subscription(HERE))  # type: ignore[arg-type]
    assert client.pages == 1_001


@pytest.mark.parametrize("path", ["managedClusters$", "permissions$"], ids=["list", "permissions"])
async def test_endless_list_is_a_blocker(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_manager, "LIST_PAGES", 3)
    async with edge(*states()) as at:
        body = {"value": [], "nextLink": endless(at, path)}
        at.world.faults.append(Fault(service="arm", path=path, status=200, body=body))
        (blocker,) = (await find(at, required=True)).blockers
        assert "the list does not end: more than 3 pages." in blocker.seen
        assert at.world.count(service="arm", path=path) == 4


async def test_slow_list_is_a_blocker(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page arrives in that time, so the page limit cannot be met first."""
    monkeypatch.setattr(unlisted, "_LIST_SECONDS", 0.2)
    async with edge(*states()) as at:
        at.world.faults.append(Fault(service="arm", path="managedClusters$", hang=30.0))
        (blocker,) = (await find(at, required=True)).blockers
        assert "within 0.2 seconds" in blocker.seen


def endless(at: Edge, path: str) -> str:
    """Return a link to the next page that leads to the same list."""
    provider = {"managedClusters$": "ContainerService", "permissions$": "Authorization"}[path]
    name = f"providers/Microsoft.{provider}/{path.removesuffix('$')}"
    return f"{at.emulator.resource_manager}/subscriptions/{HERE}/{name}?api-version=1"


async def test_permissions_on_a_later_page_count() -> None:
    async with edge(*states()) as at:
        pages: list[dict[str, Any]] = [
            {"value": [], "nextLink": endless(at, "permissions$")},
            {"value": [{"actions": ["*"]}]},
        ]
        at.world.faults += [Fault(service="arm", path="permissions$", times=1, status=200, body=page) for page in pages]
        assert await find(at, required=True) == Outside()


async def test_hostile_names_are_quoted() -> None:
    evil = (
        "/subscriptions/s/resourceGroups/rg\n::error::x/providers/Microsoft.ContainerService/managedClusters/a\x1b[31m"
    )
    async with edge(*states()) as at:
        at.world.faults.append(
            Fault(service="arm", path="managedClusters$", status=200, body={"value": [{"id": evil}]})
        )
        (warning,) = (await find(at)).warnings
        assert "\n" not in warning
        assert "\x1b" not in warning


async def test_missing_login_is_raised() -> None:
    async with edge(*states()) as at:
        at.world.faults.append(Fault(service="entra", status=401, body={"error": "invalid_client"}))
        with pytest.raises(IdentityError):
            await find(at)


# -- in a run --------------------------------------------------------------------------------------


async def test_run_warns_and_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config()
        stage.another("test")
        ran = await stage.tool.apply(config)
        assert (ran.code, ran.deleted) == (0, {"shop/web:1.0", "shop/web:1.1"})
        assert any("AKS cluster aks-test" in warning for warning in ran.report["warnings"])
        assert "aks-test" in ran.out
        assert stage.world.count(service="arm", path="managedClusters$") == 1, "warnings need no second search"
        assert_invariants(ran, stage)


async def test_run_requiring_all_clusters_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config() | {"require_all_clusters": True}
        stage.another("test")
        ran = await stage.tool.apply(config)
        assert (ran.code, ran.deleted) == (3, set())
        assert [blocker["where"] for blocker in ran.blockers] == ["aks-test"]
        assert ran.planned, "the plan is shown"
        assert_invariants(ran, stage)


async def test_cluster_created_after_plan_stops_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config() | {"require_all_clusters": True}

        async def appear(_: object) -> None:
            stage.another("new")

        stage.fault(service="arm", path="managedClusters$", after_handler=appear, times=1)
        ran = await stage.tool.apply(config)
        assert (ran.code, ran.deleted) == (3, set())
        assert [blocker["where"] for blocker in ran.blockers] == ["aks-new"]
