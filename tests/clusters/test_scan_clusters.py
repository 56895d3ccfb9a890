"""Clusters as Azure has them: each way in, and each reason why one cannot be read."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

from acr_cleanup.clusters.targets import Access, AksCluster, KubeconfigCluster
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes.kubeconfig import kubeconfig
from acr_cleanup.errors import IdentityError
from tests.helpers.cluster_objects import OURS, blockers
from tests.helpers.emulated_clusters import SHOP, edge, shop

AUTHS = ["certificate", "token", "entra", "entra-exec"]


def tags(found: ClusterScan) -> set[str]:
    return {str(use.reference) for use in found.uses if use.reference.tag}


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_cluster_is_read_directly_however_its_users_log_in(auth: Any) -> None:
    async with edge(shop(auth=auth), registry=OURS) as at:
        found = await at.read()
        assert (tags(found), found.blockers, found.access) == (SHOP, (), "direct")
        assert found.objects > 5
        assert at.world.count(service="arm", path=".*Admin.*") == 0, "never the administrator's credentials"


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_private_cluster_that_cannot_be_reached_is_read_by_a_run_command(auth: Any) -> None:
    async with edge(shop(auth=auth, private=True), registry=OURS) as at:
        found = await at.read()
        assert (tags(found), found.blockers, found.access) == (SHOP, (), "run-command")


async def test_a_proxy_that_does_not_reach_a_private_cluster_is_no_obstacle() -> None:
    async with edge(shop(auth="entra-exec", private=True), registry=OURS, face="proxy") as at:
        found = await at.read()
        assert (tags(found), found.blockers, found.access) == (SHOP, (), "run-command")


async def test_a_private_cluster_that_can_be_reached_is_read_directly() -> None:
    async with edge(shop(private=True, reachable=True), registry=OURS) as at:
        found = await at.read()
        assert (tags(found), found.blockers, found.access) == (SHOP, (), "direct")
        assert at.world.count(service="arm", path=".*runCommand.*") == 0


async def test_only_a_private_cluster_falls_back_to_a_run_command() -> None:
    async with edge(shop(reachable=False), registry=OURS) as at:
        found = await at.read()
        assert "cannot be reached" in blockers(found)
        assert "access: run-command" in blockers(found)
        found = await at.read(Access.RUN_COMMAND)
        assert (tags(found), found.blockers) == (SHOP, ())


async def test_direct_means_direct() -> None:
    async with edge(shop(private=True), registry=OURS) as at:
        found = await at.read(Access.DIRECT)
        assert len(found.blockers) == 1
        assert "cannot be reached" in blockers(found)


async def test_a_cluster_is_read_by_its_real_names_through_the_proxy() -> None:
    async with edge(shop(auth="entra-exec"), registry=OURS, face="proxy") as at:
        found = await at.read()
        assert (tags(found), found.blockers) == (SHOP, ())
        assert at.world.count(service="proxy") > 0


# -- what cannot be read ---------------------------------------------------------------------------


async def test_a_stopped_cluster_is_a_blocker_and_never_an_empty_one() -> None:
    async with edge(shop(power_state="Stopped"), registry=OURS) as at:
        found = await at.read()
        (blocker,) = found.blockers
        assert blocker.where == "prod"
        assert "aks-prod" in blocker.call
        assert "stopped" in blocker.seen
        assert "az aks start -g rg-prod -n aks-prod" in blocker.remedy
        assert "remove it from the configuration" in blocker.remedy
        assert at.world.count(service="arm") == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"subscription_id": "11111111-2222-3333-4444-555555555555"},
            ["404", "SubscriptionNotFound", "`subscription_id`"],
        ),
        ({"subscription_id": "nonsense"}, ["InvalidSubscriptionId", "`subscription_id`"]),
        ({"resource_group": "rg-other"}, ["404", "ResourceGroupNotFound", "`resource_group`"]),
        ({"name": "aks-other"}, ["404", "ResourceNotFound", "`name` and `resource_group`"]),
        ({"name": "a/b?c"}, ["`name`"]),
        ({"name": ""}, ["`name`"]),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_cluster_that_is_not_there_is_a_blocker_that_says_what_to_check(
    wrong: dict[str, str], words: list[str]
) -> None:
    place = {"name": "aks-prod", "subscription_id": "00000000-0000-0000-0000-000000000000", "resource_group": "rg-prod"}
    async with edge(shop(), registry=OURS) as at:
        (found,) = await at.scan(AksCluster(key="prod", **(place | wrong)))  # type: ignore[arg-type]
        assert len(found.blockers) == 1
        assert [word for word in words if word not in blockers(found)] == []


@pytest.mark.parametrize(
    ("action", "access", "role"),
    [
        ("read", Access.AUTO, "the role Reader"),
        ("listClusterUserCredential/action", Access.AUTO, "Azure Kubernetes Service Cluster User Role"),
        ("runcommand/action", Access.RUN_COMMAND, "runcommand/action"),
        ("commandResults/read", Access.RUN_COMMAND, "commandResults/read"),
    ],
)
async def test_a_missing_right_in_azure_is_a_blocker_that_names_the_role(
    action: str, access: Access, role: str
) -> None:
    async with edge(shop(denied_actions={action}), registry=OURS) as at:
        found = await at.read(access)
        (blocker,) = found.blockers
        assert "403" in blocker.seen
        assert "AuthorizationFailed" in blocker.seen
        assert role in blocker.remedy


@pytest.mark.parametrize("access", [Access.DIRECT, Access.RUN_COMMAND])
@pytest.mark.parametrize("resource", ["cronjobs.batch", "pods", "deployments.apps"])
async def test_403_on_one_kind_is_a_blocker(resource: str, access: Access) -> None:
    async with edge(shop(forbidden={resource}), registry=OURS) as at:
        found = await at.read(access)
        assert len(found.blockers) == 1
        assert resource in blockers(found)
        assert "orbidden" in blockers(found)
        assert tags(found) & SHOP, "what could be read counts all the same"


@pytest.mark.parametrize("access", [Access.DIRECT, Access.RUN_COMMAND])
async def test_an_empty_list_for_a_kind_it_may_not_list_is_a_blocker(access: Access) -> None:
    async with edge(shop(hidden={"cronjobs.batch"}), registry=OURS) as at:
        found = await at.read(access)
        (blocker,) = found.blockers
        assert blocker.call == "list cronjobs.batch"
        assert "empty list" in blocker.seen


async def test_an_expired_continue_is_read_again_and_blocks_only_if_it_never_ends() -> None:
    cluster = shop(page_cap=1)
    async with edge(cluster, registry=OURS) as at:
        cluster.expire_continue = {"pods": 1, "replicasets.apps": 2}
        found = await at.read()
        assert (tags(found), found.blockers) == (SHOP, ())
        cluster.expire_continue = {"replicasets.apps": 1000}
        found = await at.read()
        assert "list replicasets.apps: 410" in blockers(found)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 503, "body": "service unavailable"}, ["list cronjobs.batch", "503"]),
        ({"status": 429, "headers": {"Retry-After": "0"}}, ["list cronjobs.batch", "429"]),
        ({"status": 500}, ["list cronjobs.batch", "500"]),
        ({"status": 401}, ["logging in", "401"]),
        ({"status": 200, "body": "<html>"}, ["list cronjobs.batch", "JSON"]),
        ({"reset": True}, ["cannot be reached"]),
        ({"hang": 30.0}, ["no answer in time"]),
        ({"truncate": 0.5}, ["prod"]),
        ({"malformed": True}, ["list cronjobs.batch", "JSON"]),
    ],
    ids=str,
)
async def test_a_kind_that_the_api_server_does_not_give_is_a_blocker(fault: dict[str, Any], words: list[str]) -> None:
    async with edge(shop(), registry=OURS) as at:
        at.world.faults.append(Fault(service="kubernetes/aks-prod", path="/cronjobs$", **fault))
        found = await at.read()
        assert found.blockers
        assert [word for word in words if word not in blockers(found)] == []
        assert "contoso.azurecr.io/shop/web:2" in tags(found)


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 429, "headers": {"Retry-After": "0"}}, {"reset": True}], ids=str
)
async def test_what_passes_is_waited_for(fault: dict[str, Any]) -> None:
    async with edge(shop(), registry=OURS) as at:
        at.world.faults.append(Fault(service="kubernetes/aks-prod", path="/cronjobs$", times=1, **fault))
        found = await at.read()
        assert (tags(found), found.blockers) == (SHOP, ())


@pytest.mark.parametrize("fault", [{"reset": True}, {"truncate": 0.5}, {"status": 503}], ids=str)
async def test_credentials_are_asked_for_again_when_the_answer_is_lost(fault: dict[str, Any]) -> None:
    """By a POST, which nobody would send twice who did not know that it only reads."""
    async with edge(shop(), registry=OURS) as at:
        at.world.faults.append(Fault(service="arm", path="/listClusterUserCredential$", times=1, **fault))
        found = await at.read()
        assert (tags(found), found.blockers) == (SHOP, ())


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 200, "body": "<html>sign in</html>"},
        {"status": 200, "body": "{}"},
        {"status": 200, "body": '{"properties": "text"}'},
        {"status": 401, "body": "no"},
        {"status": 400, "body": '{"code": "BadRequest", "message": "flat"}'},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/managedClusters/aks-prod$", "/listClusterUserCredential$"])
async def test_no_answer_of_azure_makes_it_crash_or_be_believed(path: str, fault: dict[str, Any]) -> None:
    async with edge(shop(reachable=False), registry=OURS) as at:
        at.world.faults.append(Fault(service="arm", path=path, **fault))
        found = await at.read()
        assert found.blockers
        assert found.uses == ()


async def test_one_cluster_that_fails_leaves_the_others_read() -> None:
    good, bad = shop("aks-good"), shop("aks-bad", power_state="Stopped")
    async with edge(good, bad, registry=OURS) as at:
        told: list[str] = []
        scans = await at.scan(
            AksCluster("a", "aks-bad", bad.subscription_id, bad.resource_group),
            AksCluster("b", "aks-good", good.subscription_id, good.resource_group),
            KubeconfigCluster("c", Path("/nowhere/config")),
            progress=lambda found: told.append(found.cluster),
        )
        assert [found.cluster for found in scans] == ["a", "b", "c"]
        assert [bool(found.blockers) for found in scans] == [True, False, True]
        assert tags(scans[1]) == SHOP
        assert sorted(told) == ["a", "b", "c"]


async def test_clusters_are_read_in_parallel_with_one_token_each_for_azure_and_for_aks() -> None:
    clusters = [shop(f"aks-{n}", auth="entra-exec") for n in range(8)]
    async with edge(*clusters, registry=OURS) as at:
        at.world.latency = 0.5
        started = time.monotonic()
        targets = [AksCluster(c.name, c.name, c.subscription_id, c.resource_group) for c in clusters]
        scans = await at.scan(*targets)
        assert all(tags(found) == SHOP and not found.blockers for found in scans)
        # At least five answers wait for one another in each cluster: 20 seconds, were they read one after the other.
        assert time.monotonic() - started < 14
        assert at.world.count(service="entra", method="POST") == 2


async def test_no_login_ends_the_run_with_its_own_error() -> None:
    class NoLogin:
        async def get_token(self, *scopes: str, **_: Any) -> Any:
            raise IdentityError("Nobody is logged in.", remedy="Run `az login`.")

        async def close(self) -> None: ...

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

    async with edge(shop(), registry=OURS) as at:
        with pytest.raises(IdentityError):
            await at.read(credential=NoLogin())


async def test_cancelling_ends_the_reading() -> None:
    async with edge(shop(), registry=OURS) as at:
        at.world.faults.append(Fault(service="arm", hang=30.0))
        task = asyncio.create_task(at.read())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# -- any Kubernetes --------------------------------------------------------------------------------


async def test_a_kubeconfig_cluster_is_read_in_the_context_that_is_named(tmp_path: Path) -> None:
    cluster = shop()
    async with edge(cluster, registry=OURS) as at:
        text = kubeconfig(
            cluster,
            server=at.emulator.kubernetes_url(cluster),
            ca_pem=at.emulator.authority.ca_pem,
            role="clusterUser",
            auth="certificate",
            tenant="",
            certificate=at.emulator.authority.client_certificate(cluster),
        )
        path = tmp_path / "config"
        path.write_text(text)
        for context in ("aks-prod", None):
            (found,) = await at.scan(KubeconfigCluster("any", path, context), trust=())
            assert (tags(found), found.blockers, found.access) == (SHOP, (), "kubeconfig")
        (found,) = await at.scan(KubeconfigCluster("any", path, "other"))
        assert "no context named 'other' (it has: aks-prod)" in blockers(found)


async def test_without_clusters_there_is_nothing_to_read() -> None:
    async with edge(shop(), registry=OURS) as at:
        assert await at.scan() == ()


def test_the_sdks_are_loaded_only_when_a_cluster_is_read() -> None:
    """A wrong configuration is reported at once."""
    code = (
        "import sys, acr_cleanup.clusters.targets, acr_cleanup.clusters.scan_clusters;"
        "print([m for m in ('kubernetes', 'azure.mgmt', 'aiohttp') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
