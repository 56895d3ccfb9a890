"""Other identities that may pull, and whose images are not read."""

from __future__ import annotations

import pytest

from acr_cleanup.core.usage import Puller
from acr_cleanup.emulator.services import SUBSCRIPTION, resource
from tests.helpers.service_worlds import IMAGE, REGISTRY_ID, service_world

PULL = "Microsoft.ContainerRegistry/registries/pull/read"


async def test_identity_with_right_to_pull_is_listed() -> None:
    async with service_world() as world:
        world.state.assign("p-1", "AcrPull", PULL, scope=REGISTRY_ID)
        world.state.assign("p-2", "Reader", "*/read", scope=f"/subscriptions/{SUBSCRIPTION}", kind="Group")
        world.state.assign("p-3", "AcrDelete", "Microsoft.ContainerRegistry/registries/artifacts/delete")
        pullers = (await world.read()).outside.pullers
        assert pullers == (Puller("p-1", "ServicePrincipal", "AcrPull"), Puller("p-2", "Group", "Reader"))
        assert (await world.read(pullers=False)).outside.pullers == ()


async def test_identity_of_service_that_was_read_is_not_listed() -> None:
    async with service_world() as world:
        app = world.state.container_app("shop-api", f"{IMAGE}/api:1")
        app["identity"] = {"principalId": "P-1", "userAssignedIdentities": {"/x": {"principalId": "P-2"}}}
        for principal in ("p-1", "p-2"):
            world.state.assign(principal, "AcrPull", PULL)
        assert (await world.read()).outside.pullers == ()


async def test_kubelet_of_configured_cluster_is_not_listed() -> None:
    async with service_world() as world:
        cluster = resource("Microsoft.ContainerService/fleets/x").replace("fleets/x", "managedClusters/aks").lower()
        profile = {"kubeletidentity": {"objectId": "k-1"}}
        world.state.add(cluster, {"identityProfile": profile})
        world.state.assign("k-1", "AcrPull", PULL)
        assert len((await world.read()).outside.pullers) == 1
        assert (await world.read(known_clusters={cluster})).outside.pullers == ()


async def test_token_is_listed_with_its_scope_map() -> None:
    async with service_world() as world:
        world.state.add(
            f"{REGISTRY_ID}/tokens/ci", {"scopeMapId": f"{REGISTRY_ID}/scopeMaps/_pull", "status": "enabled"}
        )
        world.state.add(f"{REGISTRY_ID}/tokens/old", {"scopeMapId": None, "status": "disabled"})
        assert (await world.read()).outside.pullers == (Puller("ci", "token", "_pull"),)


@pytest.mark.parametrize("path", ["roleAssignments$", "tokens$"])
async def test_list_that_cannot_be_read_is_a_row_and_no_blocker(path: str) -> None:
    async with service_world() as world:
        world.fault(path=path, status=403)
        found = await world.read()
        assert found.blocked == []
        (puller,) = found.outside.pullers
        assert puller.name == "unknown"
        assert puller.role.startswith("not listed: 403")
