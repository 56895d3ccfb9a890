"""The emulated resource manager against recordings and official examples of AKS."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from acr_cleanup.emulator import World
from acr_cleanup.emulator.arm_shapes import describe_cluster, describe_registry
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.emulator.test_arm import SCOPE, VERSION, plain
from tests.helpers.emulated_api_server import keys
from tests.helpers.paths import SHARED

pytestmark = pytest.mark.recordings

WIRE = SHARED / "acr-wire"
# Members of a registry that are newer than the recordings and the official example.
NEWER = {".properties.roleAssignmentMode"} | {
    f".properties.policies.softDeletePolicy{member}" for member in ("", ".retentionDays", ".status")
}
# Headers of the transport, and of features that the emulator does not have.
_UNCOMPARED_HEADERS = {
    "content-length",
    "date",
    "transfer-encoding",
    "vary",
    "server",
    "x-ms-ratelimit-remaining-subscription-writes",
}


def exchanges(name: str, folder: str = "aks-recordings") -> list[Any]:
    """Return the recorded requests and responses of a file."""
    path = WIRE / folder / f"{name}.yaml"
    if not path.exists():
        pytest.skip(f"the recordings (shared/data/acr-wire/{folder}) are missing")
    interactions: list[Any] = yaml.safe_load(path.read_text())["interactions"]
    return interactions


def example(name: str, folder: str = "aks-swagger-2024-02-01") -> Any:
    """Return an official example."""
    path: Path = WIRE / folder / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the official examples (shared/data/acr-wire/{folder}) are missing")
    return json.loads(path.read_text())


def body(exchange: Any) -> Any:
    return json.loads(exchange["response"]["body"]["string"])


@pytest.mark.parametrize(
    ("recording", "cluster"),
    [
        ("get_private_cluster", ClusterState("c", private=True)),
        ("private_cluster_public_fqdn", ClusterState("c", private=True, public_fqdn_of_private=True)),
        ("get_managed_aad_cluster", ClusterState("c", auth="entra")),
        ("get_aad_azure_rbac", ClusterState("c", auth="entra", azure_rbac=True)),
        ("disable_local_accounts", ClusterState("c", auth="entra", disable_local_accounts=True)),
    ],
)
def test_cluster_fields_are_in_the_recordings(recording: str, cluster: ClusterState) -> None:
    """Fields that decide how a cluster is reached must be in the same recording."""
    recorded_keys: set[str] = set()
    for name in (recording, "disable_local_accounts", "private_cluster_public_fqdn"):
        for exchange in exchanges(name):
            if exchange["response"]["body"]["string"]:
                recorded_keys |= set(keys(body(exchange)))
    assert set(keys(describe_cluster(cluster))) <= recorded_keys
    recorded = body(exchanges(recording)[-1])["properties"]
    properties = describe_cluster(cluster)["properties"]
    for field in ("fqdn", "privateFQDN", "aadProfile"):
        assert (field in properties) == (field in recorded), field
    assert ("apiServerAccessProfile" in properties) == ("enablePrivateCluster" in str(recorded))


async def test_answers_have_keys_of_official_examples() -> None:
    """A misspelt key would be missing for a client."""
    async with plain(ClusterState("clustername1")) as call:
        _, _, listed = await call(f"{SCOPE}{VERSION}")
        expected = example("ManagedClustersListByResourceGroup")["responses"]["200"]["body"]
        assert set(listed) == set(expected)
        assert {"id", "location", "name", "type", "properties"} <= set(listed["value"][0]) & set(expected["value"][0])
        _, _, credentials = await call(f"{SCOPE}/clustername1/listClusterUserCredential{VERSION}", "POST")
        expected = example("ManagedClustersListClusterUserCredentials")["responses"]["200"]["body"]
        assert set(keys(credentials)) == set(keys(expected))
        status, headers, started = await call(
            f"{SCOPE}/clustername1/runCommand{VERSION}", "POST", json={"command": "echo hi", "context": ""}
        )
        assert (status, started) == (202, None)
        official = example("RunCommandRequest")["responses"]["202"]["headers"]["location"].lower()
        place = headers["Location"].lower().partition("/subscriptions/")[2]
        assert (
            place.rpartition("/")[0].replace("rg-prod", "rg1")
            == official.partition("/subscriptions/")[2].rpartition("/")[0]
        )
        path = headers["Location"].removeprefix(call.emulator.resource_manager)
        status = 202
        while status == 202:
            status, _, result = await call(path)
        expected = example("RunCommandResultSucceed")["responses"]["200"]["body"]
        assert set(keys(result)) == set(keys(expected))


async def test_run_command_answers_as_recorded() -> None:
    """
    202 without a body or Retry-After, 202 Running with the address again, 200 with the result.
    """
    posted, running, done = exchanges("run_command")
    async with plain(ClusterState("cmdtest000002")) as call:
        status, headers, answer = await call(
            f"{SCOPE}/cmdtest000002/runCommand{VERSION}", "POST", data=posted["request"]["body"]
        )
        assert (status, answer) == (posted["response"]["status"]["code"], None)
        assert "Retry-After" not in headers
        location = headers["Location"]
        recorded = posted["response"]["headers"]["location"][0]
        assert "/managedclusters/" in location
        assert "/managedclusters/" in recorded
        path = location.removeprefix(call.emulator.resource_manager)
        status, headers, answer = await call(path)
        assert status == running["response"]["status"]["code"]
        assert headers["Location"] == location
        assert set(keys(answer)) == set(keys(body(running)))
        assert answer["properties"] == body(running)["properties"]
        while status == 202:
            status, headers, answer = await call(path)
        assert status == done["response"]["status"]["code"]
        assert list(keys(answer)) == list(keys(body(done)))
        assert answer["properties"]["provisioningState"] == body(done)["properties"]["provisioningState"]


@pytest.mark.parametrize("name", ["credentials_user_newer", "credentials__test_aks_availability_zones"])
async def test_credentials_have_the_recorded_form(name: str) -> None:
    """The kubeconfig has the recorded keys, and user and context are named alike."""
    (exchange,) = exchanges(name)
    recorded = yaml.safe_load(base64.b64decode(body(exchange)["kubeconfigs"][0]["value"]))
    async with plain(ClusterState("aks-prod", resource_group="rg-prod")) as call:
        _, headers, answer = await call(f"{SCOPE}/aks-prod/listClusterUserCredential{VERSION}", "POST")
        for header, values in exchange["response"]["headers"].items():
            if header not in _UNCOMPARED_HEADERS:
                assert headers[header] == values[0], header
        emulated = yaml.safe_load(base64.b64decode(answer["kubeconfigs"][0]["value"]))
    assert list(keys(emulated)) == list(keys(recorded))
    assert emulated["users"][0]["name"] == "clusterUser_rg-prod_aks-prod"
    assert recorded["users"][0]["name"].startswith("clusterUser_")


async def test_missing_cluster_answers_as_recorded() -> None:
    """The envelope, the code, the sentence and the headers."""
    (exchange,) = exchanges("create_conflict_error")
    async with plain(ClusterState("aks-prod", resource_group="clitest000001")) as call:
        path = SCOPE.replace("rg-prod", "clitest000001")
        status, headers, answer = await call(f"{path}/cliakstest000002{VERSION}")
    assert status == exchange["response"]["status"]["code"]
    assert answer == body(exchange)
    for header, values in exchange["response"]["headers"].items():
        if header not in _UNCOMPARED_HEADERS:
            assert headers[header] == values[0], header


def test_registry_fields_are_recorded_or_official() -> None:
    """A policy with another name would be read as one that is off."""
    official = example("RegistryGet", "acr-arm-2023-11-01-preview")["responses"]["200"]["body"]
    known = {*keys(official), *keys(body(exchanges("acr_registry_get", "acr-arm-recordings")[1]))}
    assert set(keys(describe_registry(World().registry))) - known == NEWER


@pytest.mark.parametrize(("kind", "exchange"), [("scopeMaps", 1), ("tokens", 4)])
async def test_parts_of_registry_have_the_recorded_members(kind: str, exchange: int) -> None:
    recorded = body(exchanges("acr_scope_maps_tokens", "acr-arm-recordings")[exchange])
    async with plain() as call:
        registry_id = call.emulator.world.registry.resource_id
        call.emulator.world.services.connected_registry(registry_id, "edge", "shop/web")
        status, _, answer = await call(f"{registry_id}/{kind}/edge-sync{VERSION}")
    assert (status, answer["type"]) == (200, recorded["type"])
    assert set(keys(answer)) <= set(keys(recorded))


async def test_missing_part_of_registry_answers_as_recorded() -> None:
    missing = exchanges("acr_scope_maps_tokens", "acr-arm-recordings")[0]
    async with plain() as call:
        registry_id = call.emulator.world.registry.resource_id
        status, _, answer = await call(f"{registry_id}/scopeMaps/acr-token-scope-map{VERSION}")
    assert status == missing["response"]["status"]["code"]
    assert answer["error"] == body(missing)["error"]
