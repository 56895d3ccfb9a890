"""The emulated resource manager, with the real SDK and on the wire."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import yaml
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerservice.aio import ContainerServiceClient

from acr_cleanup.emulator import Emulator, World, arm
from acr_cleanup.emulator.kubernetes.state import AKS_SERVER_APP, Auth, ClusterState
from acr_cleanup.emulator.roles import CLUSTERS
from tests.emulator.kubernetes.run_command import run_command

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
SCOPE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-prod/providers/Microsoft.ContainerService/managedClusters"
VERSION = "?api-version=2024-02-01"


def code_of(error: HttpResponseError) -> str | None:
    """Return the error code that the SDK parsed."""
    return None if error.error is None else error.error.code


class Credential:
    """A credential with one token of the emulator, by default for the resource manager."""

    def __init__(self, emulator: Emulator, audience: str | None = None) -> None:
        self._token = emulator.authority.issue_token(audience or emulator.resource_manager, "me")

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(self._token, 9_999_999_999)

    async def close(self) -> None:
        pass


@asynccontextmanager
async def sdk(
    *clusters: ClusterState, audience: str | None = None, subscription: str = SUBSCRIPTION
) -> AsyncIterator[Any]:
    """Start a world; yield (the SDK's client, the world, the emulator)."""
    world = World(clusters={cluster.name: cluster for cluster in clusters}, run_command=run_command)
    async with Emulator(world) as emulator:
        client = ContainerServiceClient(
            Credential(emulator, audience),  # type: ignore[arg-type]
            subscription,
            base_url=emulator.resource_manager,
            credential_scopes=[f"{emulator.resource_manager}/.default"],
            connection_verify=emulator.ca_file,
            polling_interval=0.02,
            retry_total=0,
        )
        async with client:
            yield client, world, emulator


@asynccontextmanager
async def plain(*clusters: ClusterState) -> AsyncIterator[Any]:
    """Start a world; yield a function that sends a request and returns (status, headers, body)."""
    world = World(clusters={cluster.name: cluster for cluster in clusters}, run_command=run_command)
    async with Emulator(world) as emulator:
        context = ssl.create_default_context(cafile=emulator.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            valid = emulator.authority.issue_token(emulator.resource_manager, "me")

            async def call(path: str, method: str = "GET", token: str | None = valid, **options: Any) -> Any:
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                url = emulator.resource_manager + path
                async with session.request(method, url, headers=headers, **options) as response:
                    body = await response.read()
                    return response.status, response.headers, await response.json() if body else None

            call.emulator = emulator  # type: ignore[attr-defined]
            yield call


# -- clusters --------------------------------------------------------------------------------------


async def test_sdk_lists_clusters_over_several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a subscription and in a resource group. Clusters without a right to read are left out."""
    monkeypatch.setattr(arm, "PAGE_SIZE", 2)
    clusters = [ClusterState(f"aks-{n}", resource_group="rg-a" if n < 5 else "RG-b") for n in range(7)]
    clusters.append(ClusterState("aks-secret"))
    async with sdk(*clusters) as (client, world, _):
        world.access.withhold(f"{CLUSTERS}/read", clusters[-1].resource_id)
        names = [cluster.name async for cluster in client.managed_clusters.list()]
        assert names == [f"aks-{n}" for n in range(7)]
        grouped = [cluster.name async for cluster in client.managed_clusters.list_by_resource_group("rg-B")]
        assert grouped == ["aks-5", "aks-6"]
        assert world.count(service="arm") == 4 + 1


async def test_sdk_reads_the_state_of_a_cluster() -> None:
    """Power, private access, Entra ID and the run command, by names in any case."""
    cluster = ClusterState(
        "aks-prod",
        power_state="Stopped",
        private=True,
        public_fqdn_of_private=True,
        disable_run_command=True,
        auth="entra-exec",
        azure_rbac=True,
        disable_local_accounts=True,
    )
    async with sdk(cluster, ClusterState("plain")) as (client, _, _e):
        cluster = await client.managed_clusters.get("RG-PROD", "AKS-Prod")
        assert cluster.name == "aks-prod"
        assert cluster.properties.power_state.code == "Stopped"
        assert cluster.properties.provisioning_state == "Succeeded"
        assert cluster.properties.private_fqdn.endswith(".privatelink.westeurope.azmk8s.io")
        assert cluster.properties.fqdn.endswith(".hcp.westeurope.azmk8s.io")
        assert cluster.properties.api_server_access_profile.enable_private_cluster
        assert cluster.properties.api_server_access_profile.disable_run_command
        assert cluster.properties.aad_profile.enable_azure_rbac
        assert cluster.properties.disable_local_accounts
        public = await client.managed_clusters.get("rg-prod", "plain")
        assert public.properties.power_state.code == "Running"
        assert public.properties.private_fqdn is None
        assert public.properties.aad_profile is None


async def test_missing_resources_answer_their_own_codes() -> None:
    """Cluster, resource group and subscription: each code has another remedy."""
    async with sdk(ClusterState("aks-prod")) as (client, _, emulator):
        with pytest.raises(ResourceNotFoundError) as no_cluster:
            await client.managed_clusters.get("rg-prod", "other")
        assert code_of(no_cluster.value) == "ResourceNotFound"
        with pytest.raises(ResourceNotFoundError) as no_group:
            await client.managed_clusters.get("rg-other", "aks-prod")
        assert code_of(no_group.value) == "ResourceGroupNotFound"
    async with sdk(ClusterState("aks-prod"), subscription="11111111-2222-3333-4444-555555555555") as (
        client,
        _,
        emulator,
    ):
        with pytest.raises(ResourceNotFoundError) as no_subscription:
            await client.managed_clusters.get("rg-prod", "aks-prod")
        assert code_of(no_subscription.value) == "SubscriptionNotFound"
        assert emulator.resource_manager.startswith("https://localhost:")


async def test_denied_action_answers_403_with_its_name() -> None:
    """Reader grants none of the others."""
    async with sdk(ClusterState("aks-prod")) as (client, world, _e):
        world.access.assign_only("Reader")
        await client.managed_clusters.get("rg-prod", "aks-prod")
        with pytest.raises(HttpResponseError) as refused:
            await client.managed_clusters.list_cluster_user_credentials("rg-prod", "aks-prod")
        assert refused.value.status_code == 403
        assert code_of(refused.value) == "AuthorizationFailed"
        assert "listClusterUserCredential/action" in refused.value.message
        with pytest.raises(HttpResponseError) as refused:
            await client.managed_clusters.begin_run_command("rg-prod", "aks-prod", {"command": "true"})
        assert "runcommand/action" in refused.value.message


async def test_tokens_for_other_audiences_are_refused() -> None:
    """401 with a challenge, and a code for each reason."""
    async with plain(ClusterState("aks-prod")) as call:
        wrong = call.emulator.authority.issue_token(AKS_SERVER_APP, "me")
        old = call.emulator.authority.issue_token(call.emulator.resource_manager, "me", lifetime=-5)
        for token, code in [
            (None, "AuthenticationFailed"),
            ("nonsense", "InvalidAuthenticationToken"),
            (old, "InvalidAuthenticationToken"),
            (wrong, "InvalidAuthenticationTokenAudience"),
        ]:
            status, headers, body = await call(f"{SCOPE}/aks-prod{VERSION}", token=token)
            assert (status, body["error"]["code"]) == (401, code)
            assert headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")
    async with sdk(ClusterState("aks-prod"), audience=AKS_SERVER_APP) as (client, _, _e):
        with pytest.raises(ClientAuthenticationError):
            await client.managed_clusters.get("rg-prod", "aks-prod")


async def test_invalid_requests_answer_4xx() -> None:
    """Missing api-version, unknown method, unknown path: 4xx with a code."""
    async with plain(ClusterState("aks-prod")) as call:
        assert (await call(f"{SCOPE}/aks-prod"))[2]["error"]["code"] == "MissingApiVersionParameter"
        assert (await call(f"{SCOPE}/aks-prod{VERSION}", "DELETE"))[0] == 405
        assert (await call(f"/subscriptions/nonsense/resourceGroups/x{VERSION}"))[0] == 400
        assert (await call(f"/elsewhere{VERSION}"))[0] == 404
        assert (await call(f"{SCOPE}/aks-prod/runCommand{VERSION}", "POST", data=b"{}"))[0] == 400
        assert (await call(f"{SCOPE}/aks-prod/commandResults/abc{VERSION}"))[0] == 404


# -- credentials -----------------------------------------------------------------------------------


async def kubeconfig_of(client: Any, name: str, **options: Any) -> Any:
    results = await client.managed_clusters.list_cluster_user_credentials("rg-prod", name, **options)
    assert [result.name for result in results.kubeconfigs] == ["clusterUser"]
    return yaml.safe_load(bytes(results.kubeconfigs[0].value))


async def test_user_credentials_have_four_forms() -> None:
    """
    Certificate and token, token alone, and Entra ID as `auth-provider` or `exec`, as requested.
    """
    auths: tuple[Auth, ...] = ("certificate", "token", "entra", "entra-exec")
    async with sdk(*(ClusterState(auth, auth=auth) for auth in auths)) as (client, _, emulator):
        users = {}
        for auth in auths:
            config = await kubeconfig_of(client, auth)
            users[auth] = config["users"][0]["user"]
            assert config["current-context"] == auth
            server = config["clusters"][0]["cluster"]
            assert server["server"] == emulator.kubernetes_url(auth)
            assert base64.b64decode(server["certificate-authority-data"]) == emulator.authority.ca_pem
        assert set(users["certificate"]) == {"client-certificate-data", "client-key-data", "token"}
        assert set(users["token"]) == {"token"}
        assert users["entra"]["auth-provider"]["config"]["apiserver-id"] == AKS_SERVER_APP
        arguments = users["entra-exec"]["exec"]["args"]
        assert users["entra-exec"]["exec"]["command"] == "kubelogin"
        assert arguments[arguments.index("--server-id") + 1] == AKS_SERVER_APP
        config = await kubeconfig_of(client, "entra", format="exec")
        assert "exec" in config["users"][0]["user"]
        config = await kubeconfig_of(client, "entra-exec", format="azure")
        assert "auth-provider" in config["users"][0]["user"]


async def test_proxy_face_kubeconfig_has_real_names() -> None:
    """The private name of a private cluster, unless the request asks for the public one."""
    cluster = ClusterState("aks-prod", private=True, public_fqdn_of_private=True)
    async with sdk(cluster) as (client, world, _):
        world.face = "proxy"
        private = await kubeconfig_of(client, "aks-prod")
        assert private["clusters"][0]["cluster"]["server"] == f"https://{cluster.private_fqdn}:443"
        public = await kubeconfig_of(client, "aks-prod", server_fqdn="public")
        assert public["clusters"][0]["cluster"]["server"] == f"https://{cluster.fqdn}:443"


@pytest.mark.parametrize("more", [{"private": True}, {"power_state": "Stopped"}])
async def test_unreachable_cluster_refuses_connections(more: dict[str, Any]) -> None:
    """Its credentials are given out all the same."""
    async with sdk(ClusterState("aks-prod", **more)) as (client, _, _e):
        server = (await kubeconfig_of(client, "aks-prod"))["clusters"][0]["cluster"]["server"]
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(server)


async def test_admin_credentials_need_local_accounts() -> None:
    """If local accounts are enabled, admins get a certificate, also on an Entra ID cluster."""
    strict = ClusterState("strict", auth="entra", disable_local_accounts=True)
    async with sdk(strict, ClusterState("lax", auth="entra")) as (client, world, _e):
        world.access.assign("Azure Kubernetes Service Cluster Admin Role")
        with pytest.raises(HttpResponseError) as refused:
            await client.managed_clusters.list_cluster_admin_credentials("rg-prod", "strict")
        assert refused.value.status_code == 400
        assert "disable local accounts" in refused.value.message
        result = await client.managed_clusters.list_cluster_admin_credentials("rg-prod", "lax")
        assert result.kubeconfigs[0].name == "clusterAdmin"
        assert "client-certificate-data" in yaml.safe_load(bytes(result.kubeconfigs[0].value))["users"][0]["user"]


# -- run command -----------------------------------------------------------------------------------


async def test_sdk_runs_a_command() -> None:
    """202, 202, 200, and the result with exit code, log and times."""
    async with sdk(ClusterState("aks-prod", run_command_polls=2)) as (client, world, _):
        request = {"command": "echo hello; echo trouble >&2; exit 3", "context": "", "clusterToken": ""}
        poller = await client.managed_clusters.begin_run_command("rg-prod", "aks-prod", request)
        result = await poller.result()
        assert result.properties.provisioning_state == "Succeeded"
        assert result.properties.exit_code == 3
        assert result.properties.logs == "hello\ntrouble\n"
        assert result.properties.started_at <= result.properties.finished_at
        polls = world.matching(service="arm", path="commandResults")
        assert [poll.status for poll in polls][:2] == [202, 202]
        assert polls[-1].status == 200


@pytest.mark.parametrize("more", [{"power_state": "Stopped"}, {"disable_run_command": True}])
async def test_stopped_or_disabled_cluster_refuses_commands(more: dict[str, Any]) -> None:
    """400 in AKS's own form, without an envelope."""
    async with sdk(ClusterState("aks-prod", **more)) as (client, _, _e):
        with pytest.raises(HttpResponseError) as refused:
            await client.managed_clusters.begin_run_command("rg-prod", "aks-prod", {"command": "true"})
        assert refused.value.status_code == 400
        assert code_of(refused.value) in {"OperationNotAllowed", "RunCommandDisabled"}


async def test_world_without_run_command_refuses_commands() -> None:
    """The demo's world has none: only tests need kubectl inside a cluster."""
    async with sdk(ClusterState("aks-prod")) as (client, world, _e):
        world.run_command = None
        with pytest.raises(HttpResponseError, match="run no commands") as refused:
            await client.managed_clusters.begin_run_command("rg-prod", "aks-prod", {"command": "true"})
        assert code_of(refused.value) == "OperationNotAllowed"


async def test_command_that_did_not_run_has_reason() -> None:
    """It has no exit code. This is the answer if the pod of a command cannot start."""
    async with sdk(ClusterState("aks-prod", run_command_reason="ImagePullBackoff")) as (client, _, _e):
        poller = await client.managed_clusters.begin_run_command("rg-prod", "aks-prod", {"command": "true"})
        result = await poller.result()
        assert result.properties.provisioning_state == "failed"
        assert result.properties.reason == "ImagePullBackoff"
        assert result.properties.exit_code is None
