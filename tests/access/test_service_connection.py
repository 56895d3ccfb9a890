"""
The token of a service connection: requested without blocking, and every refusal with a remedy.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from acr_cleanup.access import service_connection
from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.access.credentials import SingleFlightCredential, open_credential
from acr_cleanup.access.federation import AuthType, LoginChoice
from acr_cleanup.access.network import open_network
from acr_cleanup.access.service_connection import ServiceConnection
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.world import PIPELINES_ISSUER, FederatedCredential
from acr_cleanup.errors import IdentityError
from acr_cleanup.runtimes.base import NoIdToken
from tests.helpers.logins import cloud_of

REGISTRY = CLOUDS["azurecloud"].registry_scope
ARM = CLOUDS["azurecloud"].resource_manager_scope
CONNECTION = "44444444-4444-4444-4444-444444444444"
TOKEN = "pipelines-access-token"
SIGN_IN = "<html><head><title>Object moved</title></head><body>sign in pipelines-access-token</body></html>"


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_connection, "BACKOFF", 0.01)


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    world = World()
    directory = world.directory
    directory.federated.append(FederatedCredential(directory.client_id, PIPELINES_ISSUER, directory.pipelines_subject))
    async with Emulator(world) as emulator:
        yield emulator


def environment(azure: Emulator, **more: str) -> dict[str, str]:
    ours = {"SSL_CERT_FILE": azure.ca_file, "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": CONNECTION}
    return {**ours, **azure.pipelines_environment(), **more}


@asynccontextmanager
async def logged_in(azure: Emulator, **more: str) -> AsyncIterator[tuple[SingleFlightCredential, list[str]]]:
    """Open the credential of a step with a service connection. Yields it and the masked secrets."""
    directory, masked, environ = azure.world.directory, list[str](), environment(azure, **more)
    choice = LoginChoice(AuthType.AZURE_PIPELINES, directory.client_id, directory.tenant)
    async with (
        open_network(environ) as network,
        open_credential(cloud_of(azure), network, environ, choice, mask=masked.append) as credential,
    ):
        yield credential, masked


async def ask(azure: Emulator, **more: str) -> str:
    environ = environment(azure, **more)
    async with open_network(environ) as network:
        return await ServiceConnection.of(environ, network, lambda _: None)("ignored")


async def refusal(azure: Emulator, **more: str) -> NoIdToken:
    with pytest.raises(NoIdToken) as caught:
        await ask(azure, **more)
    assert TOKEN not in caught.value.seen + caught.value.remedy
    assert caught.value.remedy
    return caught.value


async def test_each_entra_request_uses_a_new_masked_token(azure: Emulator) -> None:
    async with logged_in(azure) as (credential, masked):
        tokens = await asyncio.gather(*(credential.get_token(scope) for scope in (REGISTRY, ARM, REGISTRY)))
    requests = [request for request in azure.world.requests if request.service == "oidc"]

    assert len(requests) == azure.world.count(service="entra") == 2
    assert {request.query for request in requests} == {f"api-version=7.1&serviceConnectionId={CONNECTION}"}
    assert {token.token for token in tokens} <= set(masked)
    assert TOKEN in masked
    assert sum(azure.authority.signer.verify(secret) is not None for secret in masked) == 4


async def test_token_is_requested_through_proxy_of_agent(azure: Emulator) -> None:
    """The host name of Azure DevOps is only known to the proxy of the emulator."""
    assert azure.authority.signer.verify(
        await ask(azure, **azure.environment("proxy"), **azure.pipelines_environment("proxy"))
    )
    assert azure.world.count(service="oidc") == 1


@pytest.mark.parametrize(
    ("missing", "word"),
    [
        ("SYSTEM_ACCESSTOKEN", "System.AccessToken"),
        ("SYSTEM_OIDCREQUESTURI", "container"),
        ("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "azureSubscription"),
    ],
)
async def test_missing_variable_is_reported_without_a_request(azure: Emulator, missing: str, word: str) -> None:
    refused = await refusal(azure, **{missing: " "})
    assert missing in refused.seen
    assert word in refused.remedy
    assert azure.world.requests == []


async def test_unresolved_macro_is_not_a_token(azure: Emulator) -> None:
    """Azure Pipelines does not replace a macro that it cannot resolve."""
    assert "has no System.AccessToken" in (await refusal(azure, SYSTEM_ACCESSTOKEN="$(System.AccessToken)")).seen


async def test_token_is_never_sent_without_tls(azure: Emulator) -> None:
    plain = azure.pipelines_environment()["SYSTEM_OIDCREQUESTURI"].replace("https", "http", 1)
    assert "https" in (await refusal(azure, SYSTEM_OIDCREQUESTURI=plain)).seen


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {}),
        (302, {"Location": "https://127.0.0.1:1/_signin", "Content-Type": "text/html"}),
        (203, {"Content-Type": "text/html; charset=utf-8"}),
        (200, {"Content-Type": "text/html"}),
    ],
)
async def test_rejected_access_token_is_explained(azure: Emulator, status: int, headers: Mapping[str, str]) -> None:
    """
    Azure DevOps redirects to a sign-in page, or returns it.

    The token must not follow the redirection.
    """
    fault = Fault(service="oidc", status=status, headers=headers, body=SIGN_IN)
    azure.world.faults.append(fault)
    refused = await refusal(azure)
    assert f"does not accept the System.AccessToken of this job (HTTP {status}" in refused.seen
    assert ("a sign-in page" in refused.seen) is (status != 401)
    assert fault.hits == 1, "a retry would give the same answer"


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_forbidden_connection_gets_place_to_permit_it(azure: Emulator, status: int) -> None:
    message = f"Not for {TOKEN}.\n##vso[task.complete result=Succeeded]"
    azure.world.faults.append(Fault(service="oidc", status=status, body={"message": message}))
    refused = await refusal(azure)
    assert CONNECTION in refused.seen
    assert f"HTTP {status}: Not for ***" in refused.seen
    assert refused.seen.isprintable()
    assert "permit this pipeline" in refused.remedy
    assert "workload identity federation" in refused.remedy


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(status=429), Fault(reset=True), Fault(malformed=True), Fault(hang=30)]
)
async def test_temporary_failure_is_retried(azure: Emulator, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(service_connection, "DEADLINE", 1.0)
    fault.service, fault.times, fault.hits, fault.matched = "oidc", 2, 0, 0
    azure.world.faults.append(fault)
    assert azure.authority.signer.verify(await ask(azure))
    assert fault.hits == 2


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(status=503, body=TOKEN), "(HTTP 503)"),
        (Fault(reset=True), "cannot be reached (ServerDisconnectedError)"),
        (Fault(malformed=True), "is not from Azure DevOps"),
        (Fault(status=200, body="[]"), "is not from Azure DevOps"),
        (Fault(status=200, body={"oidcToken": ""}), "is not from Azure DevOps"),
    ],
)
async def test_lasting_failure_is_explained(azure: Emulator, fault: Fault, seen: str) -> None:
    fault.service, fault.hits, fault.matched = "oidc", 0, 0
    azure.world.faults.append(fault)
    assert seen in (await refusal(azure)).seen
    assert fault.hits == 3


async def test_hanging_service_does_not_block_the_loop(azure: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential of the SDK blocks the event loop while it waits."""
    monkeypatch.setattr(service_connection, "DEADLINE", 0.3)
    azure.world.faults.append(Fault(service="oidc", hang=20))
    longest, last = 0.0, 0.0

    async def tick() -> None:
        nonlocal longest, last
        while True:
            last = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - last)

    environ = environment(azure)
    async with open_network(environ) as network:
        connection = ServiceConnection.of(environ, network, lambda _: None)
        ticking, began = asyncio.create_task(tick()), time.monotonic()
        with pytest.raises(NoIdToken, match="no answer within"):
            await connection("x")
        ticking.cancel()
    assert 0.9 < time.monotonic() - began < 15
    assert 0 < longest < 0.25


async def test_untrusted_certificate_is_explained(azure: Emulator) -> None:
    assert "SSL_CERT_FILE" in (await refusal(azure, SSL_CERT_FILE="")).remedy


# -- refusals of Entra ID --------------------------------------------------------------------------

ENTRA_SUBJECT = "/eid1/c/pub/t/abc/a/def/sc/33333333-3333-3333-3333-333333333333/44444444-4444-4444-4444-444444444444"


@pytest.mark.parametrize(
    "subject", ["sc://contoso/shop/renamed", ENTRA_SUBJECT, "sc://c/s/'; rm -rf ~ #`$(x)\n##vso[x]"]
)
async def test_untrusted_connection_gets_subject_and_remedy(azure: Emulator, subject: str) -> None:
    azure.world.directory.pipelines_subject = subject
    async with logged_in(azure) as (credential, masked):
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    error = caught.value

    assert "AADSTS700213" in error.seen
    assert f"sub={subject[:20]}" in error.seen
    assert error.seen.isprintable()
    assert "renamed or converted" in error.remedy
    command = shlex.split(error.remedy.rpartition("\n")[2][1:-1])
    assert command[:7] == ["az", "ad", "app", "federated-credential", "create", "--id", azure.world.directory.client_id]
    assert json.loads(command[-1])["subject"] == subject
    assert json.loads(command[-1])["issuer"] == PIPELINES_ISSUER
    assert not any(secret and secret in str(error) for secret in masked)


@pytest.mark.parametrize("wrong", ["client_id", "tenant"])
async def test_wrong_ids_are_blamed_on_the_connection(azure: Emulator, wrong: str) -> None:
    directory = azure.world.directory
    ids: dict[str, Any] = {"client_id": directory.client_id, "tenant": directory.tenant} | {wrong: "0" * 8}
    environ = environment(azure)
    choice = LoginChoice(AuthType.AZURE_PIPELINES, ids["client_id"], ids["tenant"])
    async with (
        open_network(environ) as network,
        open_credential(cloud_of(azure), network, environ, choice) as credential,
    ):
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    assert "of the service connection" in caught.value.remedy
    assert "AZURE_" not in caught.value.remedy


async def test_missing_token_is_a_login_error_with_place(azure: Emulator) -> None:
    async with logged_in(azure, SYSTEM_ACCESSTOKEN="") as (credential, _):
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    assert caught.value.where == "auth-type azure-pipelines"
    assert "SYSTEM_ACCESSTOKEN" in str(caught.value)
