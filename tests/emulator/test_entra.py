"""Entra ID and the issuers of ID tokens, with the real azure-identity and on the wire."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import AzurePipelinesCredential
from azure.identity.aio import ClientAssertionCredential, ClientSecretCredential

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes.state import AKS_SERVER_APP
from acr_cleanup.emulator.world import GITHUB_ISSUER, PIPELINES_ISSUER, FederatedCredential

REGISTRY_SCOPE = "https://containerregistry.azure.net/.default"
EXCHANGE = "api://AzureADTokenExchange"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(World()) as emulator:
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=emulator.ca_file))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


def secret_credential(emulator: Emulator, **changes: Any) -> ClientSecretCredential:
    directory = emulator.world.directory
    options = {
        "tenant_id": directory.tenant,
        "client_id": directory.client_id,
        "client_secret": directory.client_secret,
    }
    return ClientSecretCredential(
        **(options | changes),
        authority=emulator.authority_url,
        disable_instance_discovery=True,
        connection_verify=emulator.ca_file,
    )


@pytest.mark.parametrize(
    "scope",
    [
        REGISTRY_SCOPE,
        f"{AKS_SERVER_APP}/.default",
        "https://management.azure.com/.default",
        "https://management.core.windows.net//.default",
        "https://management.usgovcloudapi.net/.default",
    ],
)
async def test_client_secret_gets_a_token_for_audience(emulator: Emulator, scope: str) -> None:
    async with secret_credential(emulator) as credential:
        token = await credential.get_token(scope)
    claims = emulator.authority.check_token(token.token, scope.removesuffix("/.default"))
    assert claims is not None
    assert claims["appid"] == emulator.world.directory.client_id
    assert emulator.authority.check_token(token.token, "https://graph.microsoft.com") is None


async def test_resource_manager_names_are_one_audience(emulator: Emulator) -> None:
    for name in ("https://management.azure.com/", "https://management.core.windows.net", emulator.resource_manager):
        assert (
            emulator.authority.check_token(emulator.authority.issue_token(name, "me"), emulator.resource_manager)
            is not None
        )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_secret": "wrong"}, "AADSTS7000215"),
        ({"client_id": "99999999-0000-0000-0000-000000000000"}, "AADSTS700016"),
        ({"tenant_id": "99999999-0000-0000-0000-000000000000"}, "tenant"),
    ],
)
async def test_wrong_login_answers_its_aadsts_code(emulator: Emulator, changes: dict[str, str], code: str) -> None:
    async with secret_credential(emulator, **changes) as credential:
        with pytest.raises((ClientAuthenticationError, ValueError), match=code):
            await credential.get_token(REGISTRY_SCOPE)


async def test_unknown_resource_is_refused(emulator: Emulator) -> None:
    async with secret_credential(emulator) as credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS500011"):
            await credential.get_token("https://elsewhere.example/.default")


async def github_assertion(emulator: Emulator, http: aiohttp.ClientSession, audience: str = EXCHANGE) -> str:
    environment = emulator.github_environment()
    headers = {"Authorization": f"Bearer {environment['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
    url = f"{environment['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={audience}"
    async with http.get(url, headers=headers) as response:
        assert response.status == 200
        return str((await response.json())["value"])


async def test_github_job_logs_in_without_secret(emulator: Emulator, http: aiohttp.ClientSession) -> None:
    directory = emulator.world.directory
    directory.federated.append(FederatedCredential("github-app", GITHUB_ISSUER, directory.github_subject))
    assertion = await github_assertion(emulator, http)
    async with ClientAssertionCredential(
        directory.tenant,
        "github-app",
        lambda: assertion,
        authority=emulator.authority_url,
        connection_verify=emulator.ca_file,
    ) as credential:
        token = await credential.get_token(REGISTRY_SCOPE)
    claims = emulator.authority.check_token(token.token, REGISTRY_SCOPE.removesuffix("/.default"))
    assert claims is not None
    assert claims["appid"] == "github-app"


@pytest.mark.parametrize(
    ("federated", "code"),
    [
        (FederatedCredential("app", "https://elsewhere", "repo:contoso/shop:ref:refs/heads/main"), "AADSTS700211"),
        (FederatedCredential("app", GITHUB_ISSUER, "repo:contoso/other:ref:refs/heads/main"), "AADSTS700213"),
        (
            FederatedCredential("app", GITHUB_ISSUER, "repo:contoso/shop:ref:refs/heads/main", "api://other"),
            "AADSTS700212",
        ),
    ],
)
async def test_assertion_must_match_a_federated_credential(
    emulator: Emulator, http: aiohttp.ClientSession, federated: FederatedCredential, code: str
) -> None:
    emulator.world.directory.federated.append(federated)
    assertion = await github_assertion(emulator, http)
    async with ClientAssertionCredential(
        emulator.world.directory.tenant,
        "app",
        lambda: assertion,
        authority=emulator.authority_url,
        connection_verify=emulator.ca_file,
    ) as credential:
        with pytest.raises(ClientAuthenticationError, match=code):
            await credential.get_token(REGISTRY_SCOPE)


async def test_assertion_of_another_signer_is_refused(emulator: Emulator) -> None:
    emulator.world.directory.federated.append(FederatedCredential("app", GITHUB_ISSUER, "anyone"))
    async with ClientAssertionCredential(
        emulator.world.directory.tenant,
        "app",
        lambda: Emulator().authority.signer.sign({"iss": GITHUB_ISSUER, "sub": "anyone", "aud": EXCHANGE}, 60),
        authority=emulator.authority_url,
        connection_verify=emulator.ca_file,
    ) as credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS700024"):
            await credential.get_token(REGISTRY_SCOPE)


async def test_pipelines_job_logs_in_with_service_connection(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = emulator.world.directory
    directory.federated.append(FederatedCredential("pipelines-app", PIPELINES_ISSUER, directory.pipelines_subject))
    environment = emulator.pipelines_environment()
    monkeypatch.setenv("SYSTEM_OIDCREQUESTURI", environment["SYSTEM_OIDCREQUESTURI"])
    # The asynchronous credential also fetches its OIDC token with blocking calls, which would block
    # the emulator. So the synchronous one runs in a thread.
    credential = AzurePipelinesCredential(
        tenant_id=directory.tenant,
        client_id="pipelines-app",
        service_connection_id="44444444-4444-4444-4444-444444444444",
        system_access_token=environment["SYSTEM_ACCESSTOKEN"],
        authority=emulator.authority_url,
        connection_verify=emulator.ca_file,
    )
    token = await asyncio.to_thread(credential.get_token, REGISTRY_SCOPE)
    assert emulator.authority.check_token(token.token, REGISTRY_SCOPE.removesuffix("/.default")) is not None


async def test_issuers_refuse_requests_without_job_token(emulator: Emulator, http: aiohttp.ClientSession) -> None:
    async with http.get(emulator.github_environment()["ACTIONS_ID_TOKEN_REQUEST_URL"]) as response:
        assert response.status == 401
    async with http.post(emulator.pipelines_environment()["SYSTEM_OIDCREQUESTURI"]) as response:
        assert response.status == 401


async def test_token_expires_after_configured_lifetime(emulator: Emulator) -> None:
    emulator.world.directory.token_lifetime = 0
    async with secret_credential(emulator) as credential:
        token = await credential.get_token(REGISTRY_SCOPE)
    assert emulator.authority.check_token(token.token, REGISTRY_SCOPE.removesuffix("/.default")) is None


async def test_discovery_names_the_requested_authority(emulator: Emulator, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{emulator.authority_url}/common/discovery/instance?api-version=1.1") as response:
        endpoint = (await response.json())["tenant_discovery_endpoint"]
    async with http.get(endpoint) as response:
        configuration = await response.json()
    assert configuration["token_endpoint"].startswith(f"{emulator.authority_url}/{emulator.world.directory.tenant}/")
