"""AKS clusters and kubeconfig clusters: each way to read them, and each reason for a blocker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

from acr_cleanup.clusters.target import Access
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes.kubeconfig import kubeconfig
from acr_cleanup.emulator.roles import CLUSTERS
from acr_cleanup.errors import IdentityError
from tests.helpers.cluster_objects import OURS, blockers
from tests.helpers.emulated_clusters import SHOP, edge, shop

pytestmark = pytest.mark.extended

AUTHS = ["certificate", "token", "entra", "entra-exec"]


def tags(scan: ClusterScan) -> set[str]:
    return {str(use.reference) for use in scan.uses if use.reference.tag}


@pytest.mark.parametrize("auth", AUTHS)
async def test_public_cluster_is_read_directly_with_any_login(auth: Any) -> None:
    async with edge(shop(auth=auth), registry=OURS) as at:
        scan = await at.read()
        assert (tags(scan), scan.blockers, scan.access) == (SHOP, (), "direct")
        assert scan.objects > 5
        assert at.world.count(service="arm", path=".*Admin.*") == 0, "never the administrator's credentials"


@pytest.mark.parametrize("auth", AUTHS)
async def test_unreachable_private_cluster_is_read_by_run_command(auth: Any) -> None:
    async with edge(shop(auth=auth, private=True), registry=OURS) as at:
        scan = await at.read()
        assert (tags(scan), scan.blockers, scan.access) == (SHOP, (), "run-command")


async def test_private_cluster_behind_proxy_is_read_by_run_command() -> None:
    """A proxy that does not reach the private cluster does not prevent the run command."""
    async with edge(shop(auth="entra-exec", private=True), registry=OURS, face="proxy") as at:
        scan = await at.read()
        assert (tags(scan), scan.blockers, scan.access) == (SHOP, (), "run-command")


async def test_reachable_private_cluster_is_read_directly() -> None:
    async with edge(shop(private=True, reachable=True), registry=OURS) as at:
        scan = await at.read()
        assert (tags(scan), scan.blockers, scan.access) == (SHOP, (), "direct")
        assert at.world.count(service="arm", path=".*runCommand.*") == 0


async def test_unreachable_public_cluster_does_not_fall_back() -> None:
    """A public cluster is read by a run command only if that is configured."""
    async with edge(shop(reachable=False), registry=OURS) as at:
        scan = await at.read()
        assert "cannot be reached" in blockers(scan)
        assert "access: run-command" in blockers(scan)
        scan = await at.read(Access.RUN_COMMAND)
        assert (tags(scan), scan.blockers) == (SHOP, ())


async def test_direct_access_never_falls_back() -> None:
    async with edge(shop(private=True), registry=OURS) as at:
        scan = await at.read(Access.DIRECT)
        assert len(scan.blockers) == 1
        assert "cannot be reached" in blockers(scan)


async def test_cluster_is_read_through_proxy() -> None:
    """The real host names are used, and the proxy forwards to the emulator."""
    async with edge(shop(auth="entra-exec"), registry=OURS, face="proxy") as at:
        scan = await at.read()
        assert (tags(scan), scan.blockers) == (SHOP, ())
        assert at.world.count(service="proxy") > 0


# -- what cannot be read ---------------------------------------------------------------------------


async def test_stopped_cluster_is_a_blocker() -> None:
    """A stopped cluster is never taken for an empty one."""
    async with edge(shop(power_state="Stopped"), registry=OURS) as at:
        scan = await at.read()
        (blocker,) = scan.blockers
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
async def test_missing_cluster_blocker_names_keys_to_check(wrong: dict[str, str], words: list[str]) -> None:
    place = {"name": "aks-prod", "subscription_id": "00000000-0000-0000-0000-000000000000", "resource_group": "rg-prod"}
    async with edge(shop(), registry=OURS) as at:
        (scan,) = await at.scan(AksCluster(key="prod", **(place | wrong)))  # type: ignore[arg-type]
        assert len(scan.blockers) == 1
        assert [word for word in words if word not in blockers(scan)] == []


@pytest.mark.parametrize(
    ("action", "access", "role"),
    [
        ("read", Access.AUTO, "the role Reader"),
        ("listClusterUserCredential/action", Access.AUTO, "Azure Kubernetes Service Cluster User Role"),
        ("runcommand/action", Access.RUN_COMMAND, "runcommand/action"),
        ("commandResults/read", Access.RUN_COMMAND, "commandResults/read"),
    ],
)
async def test_missing_right_in_azure_blocker_names_role(action: str, access: Access, role: str) -> None:
    cluster = shop()
    async with edge(cluster, registry=OURS) as at:
        at.emulator.world.access.withhold(f"{CLUSTERS}/{action}", cluster.resource_id)
        scan = await at.read(access)
        (blocker,) = scan.blockers
        assert "403" in blocker.seen
        assert "AuthorizationFailed" in blocker.seen
        assert role in blocker.remedy


@pytest.mark.parametrize("access", [Access.DIRECT, Access.RUN_COMMAND])
@pytest.mark.parametrize("resource", ["cronjobs.batch", "pods", "deployments.apps"])
async def test_forbidden_kind_is_a_blocker(resource: str, access: Access) -> None:
    """Uses of the other kinds count all the same."""
    async with edge(shop(forbidden={resource}), registry=OURS) as at:
        scan = await at.read(access)
        assert len(scan.blockers) == 1
        assert resource in blockers(scan)
        assert "orbidden" in blockers(scan)
        assert tags(scan) & SHOP, "uses of the other kinds count"


@pytest.mark.parametrize("access", [Access.DIRECT, Access.RUN_COMMAND])
async def test_empty_list_of_forbidden_kind_is_a_blocker(access: Access) -> None:
    async with edge(shop(hidden={"cronjobs.batch"}), registry=OURS) as at:
        scan = await at.read(access)
        (blocker,) = scan.blockers
        assert blocker.call == "list cronjobs.batch"
        assert "empty list" in blocker.seen


async def test_expired_list_is_restarted_until_limit() -> None:
    cluster = shop(page_cap=1)
    async with edge(cluster, registry=OURS) as at:
        cluster.expire_continue = {"pods": 1, "replicasets.apps": 2}
        scan = await at.read()
        assert (tags(scan), scan.blockers) == (SHOP, ())
        cluster.expire_continue = {"replicasets.apps": 1000}
        scan = await at.read()
        assert "list replicasets.apps: 410" in blockers(scan)


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
async def test_failed_list_is_a_blocker(fault: dict[str, Any], words: list[str]) -> None:
    async with edge(shop(), registry=OURS) as at:
        at.world.faults.append(Fault(service="kubernetes/aks-prod", path="/cronjobs$", **fault))
        scan = await at.read()
        assert scan.blockers
        assert [word for word in words if word not in blockers(scan)] == []
        assert "contoso.azurecr.io/shop/web:2" in tags(scan)


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 429, "headers": {"Retry-After": "0"}}, {"reset": True}], ids=str
)
async def test_passing_failure_of_list_is_retried(fault: dict[str, Any]) -> None:
    async with edge(shop(), registry=OURS) as at:
        at.world.faults.append(Fault(service="kubernetes/aks-prod", path="/cronjobs$", times=1, **fault))
        scan = await at.read()
        assert (tags(scan), scan.blockers) == (SHOP, ())


@pytest.mark.parametrize("fault", [{"reset": True}, {"truncate": 0.5}, {"status": 503}], ids=str)
async def test_lost_credentials_answer_is_requested_again(fault: dict[str, Any]) -> None:
    """The request is a POST, which clients do not repeat by default."""
    async with edge(shop(), registry=OURS) as at:
        at.world.faults.append(Fault(service="arm", path="/listClusterUserCredential$", times=1, **fault))
        scan = await at.read()
        assert (tags(scan), scan.blockers) == (SHOP, ())


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
async def test_malformed_azure_answer_is_a_blocker(path: str, fault: dict[str, Any]) -> None:
    """It neither crashes the scan nor counts as an answer."""
    async with edge(shop(reachable=False), registry=OURS) as at:
        at.world.faults.append(Fault(service="arm", path=path, **fault))
        scan = await at.read()
        assert scan.blockers
        assert scan.uses == ()


async def test_failing_cluster_does_not_affect_others() -> None:
    good, bad = shop("aks-good"), shop("aks-bad", power_state="Stopped")
    async with edge(good, bad, registry=OURS) as at:
        progress: list[str] = []
        scans = await at.scan(
            AksCluster("a", "aks-bad", bad.subscription_id, bad.resource_group),
            AksCluster("b", "aks-good", good.subscription_id, good.resource_group),
            KubeconfigCluster("c", Path("/nowhere/config")),
            progress=lambda scan: progress.append(scan.cluster),
        )
        assert [scan.cluster for scan in scans] == ["a", "b", "c"]
        assert [bool(scan.blockers) for scan in scans] == [True, False, True]
        assert tags(scans[1]) == SHOP
        assert sorted(progress) == ["a", "b", "c"]


async def test_clusters_are_read_in_parallel_with_shared_tokens() -> None:
    """All clusters share one token for Azure Resource Manager and one for AKS."""
    clusters = [shop(f"aks-{n}", auth="entra-exec") for n in range(8)]
    async with edge(*clusters, registry=OURS) as at:
        at.world.latency = 0.5
        started = time.monotonic()
        targets = [AksCluster(c.name, c.name, c.subscription_id, c.resource_group) for c in clusters]
        scans = await at.scan(*targets)
        assert all(tags(scan) == SHOP and not scan.blockers for scan in scans)
        # Each cluster needs at least five answers, one after the other: 20 seconds if the clusters
        # were read in sequence.
        assert time.monotonic() - started < 14
        assert at.world.count(service="entra", method="POST") == 2


async def test_missing_login_raises_identity_error() -> None:
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


async def test_cancellation_ends_the_scan() -> None:
    async with edge(shop(), registry=OURS) as at:
        at.world.faults.append(Fault(service="arm", hang=30.0))
        task = asyncio.create_task(at.read())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# -- any Kubernetes --------------------------------------------------------------------------------


async def test_kubeconfig_cluster_is_read_in_named_context(tmp_path: Path) -> None:
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
            (scan,) = await at.scan(KubeconfigCluster("any", path, context), trust=())
            assert (tags(scan), scan.blockers, scan.access) == (SHOP, (), "kubeconfig")
        (scan,) = await at.scan(KubeconfigCluster("any", path, "other"))
        assert "no context named 'other' (it has: aks-prod)" in blockers(scan)


async def test_scan_without_clusters_is_empty() -> None:
    async with edge(shop(), registry=OURS) as at:
        assert await at.scan() == ()


def test_sdks_are_imported_only_for_reading() -> None:
    """A wrong configuration is reported at once."""
    code = (
        "import sys, acr_cleanup.clusters.targets, acr_cleanup.clusters.scan_clusters;"
        "print([m for m in ('kubernetes', 'azure.mgmt', 'aiohttp') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
