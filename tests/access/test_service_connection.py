"""The token of a service connection: asked for without standing still, and every refusal told by what helps."""

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
from tests.access.test_login import cloud_of

REGISTRY = CLOUDS["azurecloud"].registry_scope
ARM = CLOUDS["azurecloud"].resource_manager_scope
CONNECTION = "44444444-4444-4444-4444-444444444444"
TOKEN = "pipelines-access-token"
SIGN_IN = "<html><head><title>Object moved</title></head><body>sign in pipelines-access-token</body></html>"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """The credential of a step with a service connection, and what it asked to mask."""
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


async def test_every_token_of_entra_is_proven_by_a_fresh_one_and_all_are_masked(azure: Emulator) -> None:
    async with logged_in(azure) as (credential, masked):
        tokens = await asyncio.gather(*(credential.get_token(scope) for scope in (REGISTRY, ARM, REGISTRY)))
    requests = [each for each in azure.world.requests if each.service == "oidc"]

    assert len(requests) == azure.world.count(service="entra") == 2
    assert {each.query for each in requests} == {f"api-version=7.1&serviceConnectionId={CONNECTION}"}
    assert {each.token for each in tokens} <= set(masked)
    assert TOKEN in masked
    assert sum(azure.authority.signer.verify(each) is not None for each in masked) == 4


async def test_the_token_goes_through_the_proxy_of_the_agent(azure: Emulator) -> None:
    """Whose name of Azure DevOps nothing else here would know."""
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
async def test_what_is_missing_is_told_before_anybody_is_asked(azure: Emulator, missing: str, word: str) -> None:
    found = await refusal(azure, **{missing: " "})
    assert missing in found.seen
    assert word in found.remedy
    assert azure.world.requests == []


async def test_a_variable_that_the_pipeline_does_not_know_is_no_token(azure: Emulator) -> None:
    """Azure Pipelines leaves a macro that it cannot resolve as it stands."""
    assert "has no System.AccessToken" in (await refusal(azure, SYSTEM_ACCESSTOKEN="$(System.AccessToken)")).seen


async def test_no_token_goes_over_a_line_that_anybody_can_read(azure: Emulator) -> None:
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
async def test_an_access_token_that_is_not_accepted_is_told_however_it_is_said(
    azure: Emulator, status: int, headers: Mapping[str, str]
) -> None:
    """Azure DevOps sends strangers to a page where people sign in, or shows it; nobody follows it there with a token."""
    fault = Fault(service="oidc", status=status, headers=headers, body=SIGN_IN)
    azure.world.faults.append(fault)
    found = await refusal(azure)
    assert f"does not accept the System.AccessToken of this job (HTTP {status}" in found.seen
    assert ("a page to sign in" in found.seen) is (status != 401)
    assert fault.hits == 1, "nothing would be different the next time"


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_connection_that_the_pipeline_may_not_use_is_told_with_where_to_permit_it(
    azure: Emulator, status: int
) -> None:
    message = f"Not for {TOKEN}.\n##vso[task.complete result=Succeeded]"
    azure.world.faults.append(Fault(service="oidc", status=status, body={"message": message}))
    found = await refusal(azure)
    assert CONNECTION in found.seen
    assert f"HTTP {status}: Not for ***" in found.seen
    assert found.seen.isprintable()
    assert "permit this pipeline" in found.remedy
    assert "workload identity federation" in found.remedy


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(status=429), Fault(reset=True), Fault(malformed=True), Fault(hang=30)]
)
async def test_a_service_that_stumbles_is_asked_again(
    azure: Emulator, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
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
        (Fault(malformed=True), "is not Azure DevOps"),
        (Fault(status=200, body="[]"), "is not Azure DevOps"),
        (Fault(status=200, body={"oidcToken": ""}), "is not Azure DevOps"),
    ],
)
async def test_a_service_that_keeps_failing_is_told_in_words(azure: Emulator, fault: Fault, seen: str) -> None:
    fault.service, fault.hits, fault.matched = "oidc", 0, 0
    azure.world.faults.append(fault)
    assert seen in (await refusal(azure)).seen
    assert fault.hits == 3


async def test_a_service_that_never_answers_holds_up_nobody_else(
    azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own credential would stand still here, and everybody with it."""
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


async def test_a_service_behind_an_unknown_authority_is_told_so(azure: Emulator) -> None:
    assert "SSL_CERT_FILE" in (await refusal(azure, SSL_CERT_FILE="")).remedy


# -- what Entra ID says of it ----------------------------------------------------------------------------------

ENTRA_SUBJECT = "/eid1/c/pub/t/abc/a/def/sc/33333333-3333-3333-3333-333333333333/44444444-4444-4444-4444-444444444444"


@pytest.mark.parametrize(
    "subject", ["sc://contoso/shop/renamed", ENTRA_SUBJECT, "sc://c/s/'; rm -rf ~ #`$(x)\n##vso[x]"]
)
async def test_a_connection_that_nobody_trusts_is_told_with_its_subject_and_the_command_that_helps(
    azure: Emulator, subject: str
) -> None:
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
    assert not any(each and each in str(error) for each in masked)


@pytest.mark.parametrize("wrong", ["client_id", "tenant"])
async def test_a_wrong_application_or_tenant_is_looked_for_in_the_service_connection(
    azure: Emulator, wrong: str
) -> None:
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


async def test_what_is_missing_is_a_failed_login_that_says_where(azure: Emulator) -> None:
    async with logged_in(azure, SYSTEM_ACCESSTOKEN="") as (credential, _):
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    assert caught.value.where == "auth-type azure-pipelines"
    assert "SYSTEM_ACCESSTOKEN" in str(caught.value)
