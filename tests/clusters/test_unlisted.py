"""Clusters that the configuration forgot: each is named, and what cannot be listed never looks like nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.core.async_paging import AsyncItemPaged

from acr_cleanup.access import resource_manager
from acr_cleanup.clusters import unlisted as forgotten
from acr_cleanup.clusters.arm_errors import Subscription
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.clusters.targets import AksCluster, ClusterTarget, KubeconfigCluster, SnapshotCluster
from acr_cleanup.clusters.unlisted import find_unlisted
from acr_cleanup.core.usage import Outside
from acr_cleanup.emulator import arm
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes.state import ClusterState
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


async def test_a_cluster_that_is_not_configured_is_warned_of_by_name() -> None:
    async with edge(*states(ClusterState(TEST, resource_group="rg-test"))) as at:
        found = await find(at)
        assert found.blockers == ()
        (warning,) = found.warnings
        for words in (
            "aks-test in resource group rg-test of subscription 00000000-0000-0000-0000-000000000000",
            "is not in the configuration: what only it uses counts as unused",
            "If it never pulls from this registry, all this does no harm; once added, it is not mentioned again.",
        ):
            assert words in warning


async def test_the_lines_to_add_are_lines_of_a_configuration_file() -> None:
    async with edge(*states(ClusterState(TEST, resource_group="rg-test"))) as at:
        (blocker,) = (await find(at, required=True)).blockers
        entry = blocker.remedy.partition("`kubernetes_clusters`: ")[2].partition("}. ")[0] + "}"
        added = yaml.safe_load(entry)
        assert added == {TEST: {"resource_id": AksCluster(TEST, TEST, HERE, "rg-test").resource_id}}
        assert at.world.count(service="arm", path="permissions") == 1


async def test_where_all_are_required_it_is_a_blocker_that_cannot_be_waived() -> None:
    async with edge(*states(ClusterState(TEST))) as at:
        found = await find(at, required=True)
        assert found.warnings == ()
        (blocker,) = found.blockers
        assert (blocker.where, blocker.kind) == (TEST, "")


async def test_all_configured_is_nothing_to_say_whatever_the_case() -> None:
    async with edge(*states()) as at:
        shouted = AksCluster("prod", "AKS-Prod", HERE.upper(), "RG-PROD")
        for required in (False, True):
            assert await find(at, shouted, required=required) == Outside()


@pytest.mark.parametrize(
    ("state", "words", "way_out"),
    [
        ({"power_state": "Stopped"}, "(stopped)", "It must run to be read."),
        ({"provisioning_state": "Deleting"}, "(deleting)", "when it is gone, there is nothing left to do"),
    ],
    ids=["stopped", "deleting"],
)
async def test_a_cluster_that_does_not_run_is_forgotten_all_the_same(state: Any, words: str, way_out: str) -> None:
    async with edge(*states(ClusterState(TEST, **state))) as at:
        (blocker,) = (await find(at, required=True)).blockers
        assert words in blocker.seen
        assert way_out in blocker.remedy


async def test_every_page_of_the_list_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "PAGE_SIZE", 2)
    others = [ClusterState(f"aks-{number}") for number in range(5)]
    async with edge(*states(*others)) as at:
        found = await find(at, required=True)
        assert {each.where for each in found.blockers} == {each.name for each in others}
        assert at.world.count(service="arm", path="managedClusters$") == 3


async def test_many_are_named_in_one_sentence() -> None:
    others = [ClusterState(f"aks-{number:02}") for number in range(30)]
    async with edge(*states(*others)) as at:
        warnings = (await find(at)).warnings
        assert len(warnings) == 11
        assert [each.name for each in others if each.name not in "".join(warnings)] == []


# -- where it looks -----------------------------------------------------------------------------------------------------


async def test_by_default_it_looks_where_configured_clusters_are() -> None:
    async with edge(*states(ClusterState(TEST, subscription_id=THERE))) as at:
        assert await find(at) == Outside()
        assert at.world.count(service="arm", path=THERE) == 0


async def test_named_subscriptions_take_the_place_of_those() -> None:
    async with edge(*states(ClusterState("aks-near"), ClusterState(TEST, subscription_id=THERE))) as at:
        found = await find(at, subscriptions=[THERE], required=True)
        assert [each.where for each in found.blockers] == [TEST]
        assert at.world.count(service="arm", path=HERE) == 0


async def test_requiring_all_where_nobody_knows_a_subscription_is_a_blocker(tmp_path: Path) -> None:
    async with edge(*states()) as at:
        elsewhere = KubeconfigCluster("k", tmp_path / "absent")
        assert await find(at, elsewhere) == Outside()
        (blocker,) = (await find(at, elsewhere, required=True)).blockers
        assert "`subscriptions`" in blocker.remedy


# -- other ways to a cluster --------------------------------------------------------------------------------------------


async def test_an_aks_cluster_reached_by_a_kubeconfig_is_known_by_its_host(tmp_path: Path) -> None:
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
async def test_a_kubeconfig_that_cannot_be_read_matches_nothing_and_raises_nothing(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    async with edge(*states(ClusterState(TEST))) as at:
        found = await find(at, target(PROD), KubeconfigCluster("t", path))
        assert len(found.warnings) == 1


async def test_a_snapshot_with_a_resource_id_stands_for_its_cluster(tmp_path: Path) -> None:
    known = SnapshotCluster(
        "t", tmp_path / "usage.json", resource_id=AksCluster("t", TEST, HERE, "rg-prod").resource_id
    )
    async with edge(*states(ClusterState(TEST))) as at:
        assert await find(at, target(PROD), known, required=True) == Outside()
        found = await find(at, known)
        assert "aks-prod" in found.warnings[0], "its subscription is one to look in"


async def test_a_snapshot_of_an_unknown_cluster_matches_nothing_and_says_what_would(tmp_path: Path) -> None:
    async with edge(*states(ClusterState(TEST))) as at:
        found = await find(at, target(PROD), SnapshotCluster("afar", tmp_path / "usage.json"))
        (warning,) = found.warnings
        assert "If a usage snapshot stands for it (afar), give that entry this `resource_id`" in warning


# -- what cannot be listed ----------------------------------------------------------------------------------------------

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
async def test_a_list_that_fails_is_told_only_to_whom_it_matters(
    failure: str, path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_pause(*_: object, **__: object) -> None: ...

    monkeypatch.setattr("azure.core.pipeline.policies.AsyncRetryPolicy.sleep", no_pause)
    caplog.set_level(logging.DEBUG, forgotten.__name__)
    async with edge(*states()) as at:
        at.world.faults.append(Fault(service="arm", path=path, **FAILURES[failure]))

        quiet = await find(at)
        assert quiet == Outside()
        assert any("is not searched" in record.message for record in caplog.records) == path.startswith("managed")

        asked = await find(at, subscriptions=[HERE])
        assert asked.blockers == ()
        (warning,) = asked.warnings
        assert f"Whether subscription {HERE} has clusters that are not in the configuration cannot be told" in warning

        required = await find(at, required=True)
        (blocker,) = required.blockers
        assert blocker.where == f"subscription {HERE}"
        assert blocker.seen
        assert blocker.remedy
        if failure == "forbidden":
            assert "Grant the identity, on this subscription, the role Reader." in blocker.remedy


async def test_a_list_that_azure_shortened_without_a_word_proves_nothing() -> None:
    hidden = ClusterState(TEST, denied_actions={"read"})
    async with edge(*states(hidden)) as at:
        assert await find(at) == Outside(), "nobody asked, and an identity with rights on single clusters is no mistake"
        (warning,) = (await find(at, subscriptions=[HERE])).warnings
        (blocker,) = (await find(at, required=True)).blockers
        for text in (warning, str(blocker)):
            assert "sees only those clusters that it has been given rights on" in text
            assert "the role Reader" in text


async def test_what_was_seen_is_told_even_if_not_all_could_be() -> None:
    hidden = ClusterState("aks-hidden", denied_actions={"read"})
    async with edge(*states(ClusterState(TEST), hidden)) as at:
        found = await find(at, required=True)
        assert [each.where for each in found.blockers] == [TEST, f"subscription {HERE}"]


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
async def test_a_list_is_complete_only_for_whom_may_read_every_cluster(granted: Any, complete: bool) -> None:
    async with edge(*states()) as at:
        at.world.faults.append(Fault(service="arm", path="permissions", status=200, body={"value": granted}))
        assert (await find(at, required=True) == Outside()) is complete


async def test_a_cluster_without_an_id_makes_the_list_unread() -> None:
    async with edge(*states()) as at:
        at.world.faults.append(
            Fault(service="arm", path="managedClusters$", status=200, body={"value": [{"name": "x"}]})
        )
        (blocker,) = (await find(at, required=True)).blockers
        assert "a cluster without a resource id" in blocker.seen


class EndlessClient:
    """A client whose list of clusters is followed by one more empty page for ever. Answers without any I/O."""

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
    """The SDK follows empty pages by recursion, which ended in a RecursionError after some 300 of them."""
    client = EndlessClient()
    with pytest.raises(ReadFailure, match=r"the list does not end: more than 1,000 pages\."):
        await forgotten._list(client, Subscription(HERE))  # type: ignore[arg-type]
    assert client.pages == 1_001


@pytest.mark.parametrize("path", ["managedClusters$", "permissions$"], ids=["list", "permissions"])
async def test_an_endless_list_is_a_blocker(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_manager, "LIST_PAGES", 3)
    async with edge(*states()) as at:
        body = {"value": [], "nextLink": endless(at, path)}
        at.world.faults.append(Fault(service="arm", path=path, status=200, body=body))
        (blocker,) = (await find(at, required=True)).blockers
        assert "the list does not end: more than 3 pages." in blocker.seen
        assert at.world.count(service="arm", path=path) == 4


async def test_a_list_that_takes_too_long_is_a_blocker(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages come in that time: none of these does."""
    monkeypatch.setattr(forgotten, "_LIST_SECONDS", 0.2)
    async with edge(*states()) as at:
        at.world.faults.append(Fault(service="arm", path="managedClusters$", hang=30.0))
        (blocker,) = (await find(at, required=True)).blockers
        assert "within 0.2 seconds" in blocker.seen


def endless(at: Edge, path: str) -> str:
    """A link to the next page that leads to the same list again."""
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


async def test_hostile_names_stay_on_their_line() -> None:
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


async def test_without_a_login_nothing_is_pretended() -> None:
    async with edge(*states()) as at:
        at.world.faults.append(Fault(service="entra", status=401, body={"error": "invalid_client"}))
        with pytest.raises(IdentityError):
            await find(at)


# -- in a run -----------------------------------------------------------------------------------------------------------


async def test_a_run_warns_of_it_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config()
        stage.another("test")
        ran = await stage.tool.apply(config)
        assert (ran.code, ran.deleted) == (0, {"shop/web:1.0", "shop/web:1.1"})
        assert any("AKS cluster aks-test" in warning for warning in ran.report["warnings"])
        assert "aks-test" in ran.out
        assert stage.world.count(service="arm", path="managedClusters$") == 1, "nobody needs to know it twice"
        assert_invariants(ran, stage)


async def test_a_run_that_requires_all_clusters_refuses_and_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config() | {"require_all_clusters": True}
        stage.another("test")
        ran = await stage.tool.apply(config)
        assert (ran.code, ran.deleted) == (3, set())
        assert [each["where"] for each in ran.blockers] == ["aks-test"]
        assert ran.planned, "the plan is shown all the same"
        assert_invariants(ran, stage)


async def test_a_cluster_that_appears_after_the_plan_stops_the_deleting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config() | {"require_all_clusters": True}

        async def appear(_: object) -> None:
            stage.another("new")

        stage.fault(service="arm", path="managedClusters$", after_handler=appear, times=1)
        ran = await stage.tool.apply(config)
        assert (ran.code, ran.deleted) == (3, set())
        assert [each["where"] for each in ran.blockers] == ["aks-new"]
