"""One credential for every client: one request per scope, and failures that say what to do."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError

from acr_cleanup.access.clouds import CLOUDS, Cloud
from acr_cleanup.access.credentials import SingleFlightCredential, open_credential
from acr_cleanup.access.federation import AuthType, LoginChoice
from acr_cleanup.access.login import Login
from acr_cleanup.access.login_errors import explain
from acr_cleanup.access.network import open_network
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.world import GITHUB_ISSUER, FederatedCredential
from acr_cleanup.errors import IdentityError
from acr_cleanup.runtimes.base import NoIdToken

REGISTRY = CLOUDS["azurecloud"].registry_scope
ARM = CLOUDS["azurecloud"].resource_manager_scope


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No tool of the machine is found, and its endpoint for managed identities (moved to loopback) is not there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with dead_port() as port:
        monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", f"http://127.0.0.1:{port}")
        yield


@contextmanager
def dead_port() -> Iterator[int]:
    """A port that refuses every connection; it stays bound, for a port that is merely free is the next server's."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def cloud_of(emulator: Emulator) -> Cloud:
    return replace(CLOUDS["azurecloud"], authority=emulator.authority_url)


@asynccontextmanager
async def credential_in(cloud: Cloud, environ: dict[str, str]) -> AsyncIterator[SingleFlightCredential]:
    async with open_network(environ) as network, open_credential(cloud, network, environ) as credential:
        yield credential


async def refusal(cloud: Cloud, environ: dict[str, str], scope: str = REGISTRY) -> IdentityError:
    """The error that a user would see; its words are checked for what they must never hold."""
    with pytest.raises(IdentityError) as caught:
        async with credential_in(cloud, environ) as credential:
            await credential.get_token(scope)
    error = caught.value
    assert error.remedy
    shown = str(error)
    assert "\n" not in shown
    assert "Trace ID" not in shown
    assert "emulator-secret" not in shown
    assert "hunter2" not in shown
    return error


# -- with Entra ID ---------------------------------------------------------------------------------------------


async def test_a_service_principal_with_a_secret_gets_tokens() -> None:
    """From the authority that was named, and without asking it (or any other) anything else."""
    async with Emulator(World()) as emulator:
        async with credential_in(cloud_of(emulator), emulator.environment()) as credential:
            token = await credential.get_token(REGISTRY)
        assert emulator.authority.check_token(token.token, "https://containerregistry.azure.net")
        assert [(request.service, request.method) for request in emulator.world.requests] == [("entra", "POST")]


async def test_the_real_authority_is_reached_through_a_proxy() -> None:
    async with Emulator(World(face="proxy")) as emulator:
        for name, host in (
            ("azurecloud", "login.microsoftonline.com"),
            ("azureusgovernment", "login.microsoftonline.us"),
            ("azurechinacloud", "login.chinacloudapi.cn"),
        ):
            async with credential_in(CLOUDS[name], emulator.environment()) as credential:
                await credential.get_token(CLOUDS[name].resource_manager_scope)
            assert emulator.world.count(service="proxy", path=f"^{host}:443$", status=200) == 1
        assert emulator.world.count(service="entra") == emulator.world.count(service="proxy") == 3


async def test_a_federated_token_is_shown_to_the_authority_that_was_named(tmp_path: Path) -> None:
    """azure-identity's default chain would show it to the public cloud."""
    world = World()
    subject = FederatedCredential(world.directory.client_id, "https://issuer.example", "me")
    world.directory.federated.append(subject)
    async with Emulator(world) as emulator:
        claims = {"iss": subject.issuer, "sub": subject.subject, "aud": subject.audience}
        file = tmp_path / "token"
        file.write_text(emulator.authority.signer.sign(claims, 60))
        environ = {**emulator.environment(), "AZURE_CLIENT_SECRET": "", "AZURE_FEDERATED_TOKEN_FILE": str(file)}
        async with credential_in(cloud_of(emulator), environ) as credential:
            token = await credential.get_token(REGISTRY)
        assert emulator.authority.check_token(token.token, "https://containerregistry.azure.net")

        file.write_text("nonsense")
        assert "no token at all" in (await refusal(cloud_of(emulator), environ)).seen
        world.directory.federated[0] = replace(subject, subject="you")
        file.write_text(emulator.authority.signer.sign(claims, 60))
        assert "subject" in (await refusal(cloud_of(emulator), environ)).seen
        file.unlink()
        missing = await refusal(cloud_of(emulator), environ)
        assert "AZURE_FEDERATED_TOKEN_FILE" in missing.where
        assert str(file) in missing.where


async def test_thirty_two_callers_make_one_request() -> None:
    async with Emulator(World(latency=0.05)) as emulator:
        async with credential_in(cloud_of(emulator), emulator.environment()) as credential:
            tokens = await asyncio.gather(*(credential.get_token(REGISTRY) for _ in range(32)))
            assert len(set(tokens)) == 1
            assert emulator.world.count(service="entra") == 1
            await asyncio.gather(*(credential.get_token(ARM.replace("core.", "")) for _ in range(32)))
        assert emulator.world.count(service="entra") == 2


@pytest.mark.parametrize(
    ("change", "seen", "remedy"),
    [
        ({"AZURE_CLIENT_SECRET": "hunter2"}, "the client secret is wrong (AADSTS7000215)", "AZURE_CLIENT_SECRET"),
        ({"AZURE_CLIENT_ID": "0" * 8}, "does not know the application (AADSTS700016)", "AZURE_CLIENT_ID"),
        ({"AZURE_TENANT_ID": "0" * 8}, "no such tenant in this cloud (AADSTS90002)", "AZURE_TENANT_ID"),
        ({"AZURE_TENANT_ID": "../x"}, "AZURE_TENANT_ID is neither", "Correct"),
        ({"AZURE_TENANT_ID": ""}, "AZURE_TENANT_ID is not set", "Set AZURE_TENANT_ID"),
        ({"AZURE_CLIENT_SECRET": ""}, "AZURE_CLIENT_SECRET is empty", "unset"),
    ],
)
async def test_what_is_wrong_with_a_service_principal_is_said(change: dict[str, str], seen: str, remedy: str) -> None:
    async with Emulator(World()) as emulator:
        error = await refusal(cloud_of(emulator), {**emulator.environment(), **change})
    assert seen in error.seen
    assert remedy in error.remedy


async def test_a_wrong_secret_is_never_made_up_for_by_somebody_else(tmp_path: Path) -> None:
    """Not even by a user who is logged in: who deletes must be who was meant to."""
    tool(tmp_path, 'echo \'{"accessToken": "of-the-user", "expiresOn": "2100-01-01 00:00:00.000000"}\'')
    async with Emulator(World()) as emulator:
        environ = {**emulator.environment(), "AZURE_CLIENT_SECRET": "hunter2"}
        assert "7000215" in (await refusal(cloud_of(emulator), environ)).seen


async def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    base = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}
    for path in (tmp_path / "missing.pem", Path(__file__)):
        error = await refusal(CLOUDS["azurecloud"], {**base, "AZURE_CLIENT_CERTIFICATE_PATH": str(path)})
        assert "AZURE_CLIENT_CERTIFICATE_PATH" in error.seen
        assert str(path) in error.seen


async def test_an_unknown_resource_is_said() -> None:
    async with Emulator(World()) as emulator:
        scope = "https://nothing.example/.default"
        assert "resource (AADSTS500011)" in (await refusal(cloud_of(emulator), emulator.environment(), scope)).seen


async def test_an_authority_that_cannot_be_reached_is_said_soon() -> None:
    environ = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "hunter2"}
    with dead_port() as port:
        cloud = replace(CLOUDS["azurecloud"], authority=f"https://localhost:{port}")
        started = time.monotonic()
        error = await refusal(cloud, environ)
        assert time.monotonic() - started < 30
    assert "cannot be reached" in error.seen
    assert "SSLContext" not in error.seen
    assert error.where == cloud.authority


async def test_an_authority_that_is_not_trusted_is_said() -> None:
    async with Emulator(World()) as emulator:
        environ = {**emulator.environment(), "SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": ""}
        assert "SSL_CERT_FILE" in (await refusal(cloud_of(emulator), environ)).remedy


@pytest.mark.parametrize("body", [b"<html>Please log in to the hotel</html>", b"[]", b"{", b"", b"{}", b'"x"'])
async def test_an_answer_that_is_not_entra_ids_is_one_sentence(body: bytes) -> None:
    world = World()
    world.faults.append(Fault(service="entra", status=200, body=body))
    async with Emulator(world) as emulator:
        await refusal(cloud_of(emulator), emulator.environment())


# -- with nobody -----------------------------------------------------------------------------------------------


def tool(folder: Path, script: str, name: str = "az") -> None:
    """A stand-in for a tool of the user."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


async def test_nobody_logged_in_is_said_at_once() -> None:
    started = time.monotonic()
    error = await refusal(CLOUDS["azurecloud"], {})
    assert error.seen == "Nobody is logged in to Azure."
    assert "az login" in error.remedy
    assert time.monotonic() - started < 30


async def test_a_proxy_is_not_asked_for_the_identity_of_this_machine() -> None:
    """It would answer for an endpoint that is not there, and the SDK would try for half a minute."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as proxy:
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        assert "Nobody" in (await refusal(CLOUDS["azurecloud"], {"HTTP_PROXY": url, "HTTPS_PROXY": url})).seen
    assert asked == []


async def test_the_user_of_the_command_line_is_found(tmp_path: Path) -> None:
    tool(tmp_path, 'echo \'{"accessToken": "of-the-user", "expiresOn": "2100-01-01 00:00:00.000000"}\'')
    # As GitHub passes secrets that do not exist.
    environ = {"AZURE_TENANT_ID": "", "AZURE_CLIENT_ID": "", "AZURE_CLIENT_SECRET": ""}
    async with credential_in(CLOUDS["azurecloud"], environ) as credential:
        assert (await credential.get_token(REGISTRY)).token == "of-the-user"


async def test_a_login_that_has_expired_is_told_from_none(tmp_path: Path) -> None:
    tool(tmp_path, "echo 'ERROR: AADSTS70043: The refresh token has expired. Trace ID: x' >&2; exit 1")
    error = await refusal(CLOUDS["azurecloud"], {})
    assert "has expired (AADSTS70043)" in error.seen
    assert "az login" in error.remedy


async def test_a_managed_identity_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": "forbidden"}'
        head = f"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as endpoint:
        url = f"http://127.0.0.1:{endpoint.sockets[0].getsockname()[1]}"
        monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", url)
        assert "managed identity" in (await refusal(CLOUDS["azurecloud"], {})).seen


async def test_a_login_can_be_asked_for_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AZURE_TOKEN_CREDENTIALS narrows the chain, as in every tool on azure-identity."""
    tool(tmp_path, 'echo \'{"accessToken": "of-the-user", "expiresOn": "2100-01-01 00:00:00.000000"}\'')
    principal = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}
    for name in ("dev", "AzureCliCredential"):
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", name)
        async with credential_in(CLOUDS["azurecloud"], {**principal, **os.environ}) as credential:
            assert (await credential.get_token(REGISTRY)).token == "of-the-user"
    for name in ("EnvironmentCredential", "nonsense"):
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", name)
        assert "AZURE_TOKEN_CREDENTIALS" in (await refusal(CLOUDS["azurecloud"], dict(os.environ))).seen


# -- the cache -------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Issuer:
    """Stands for a credential of azure-identity: counts, waits, and fails when told to."""

    def __init__(self, clock: Clock, lifetime: float = 3600) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.asked: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.closed = False

    async def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **kwargs: Any
    ) -> AccessToken:
        self.asked.append((*scopes, claims, tenant_id))
        await asyncio.sleep(0.01)
        if self.failure is not None:
            raise self.failure
        return AccessToken(f"token-{len(self.asked)}", int(self.clock.now + self.lifetime))

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def made(clock: Clock, **knobs: Any) -> tuple[SingleFlightCredential, Issuer]:
    issuer = Issuer(clock, **knobs)
    return SingleFlightCredential(Login("me", issuer, found=True), "https://login.example", clock), issuer


async def test_a_token_is_renewed_five_minutes_before_it_expires() -> None:
    clock = Clock()
    credential, issuer = made(clock)
    for passed, requests in ((0, 1), (3299, 1), (3300, 2), (6599, 2), (6600, 3)):
        clock.now = 1_000_000.0 + passed
        await credential.get_token("a")
        assert len(issuer.asked) == requests, passed


async def test_a_token_that_lives_shorter_is_renewed_at_half_its_life() -> None:
    clock = Clock()
    credential, issuer = made(clock, lifetime=60)
    for passed, requests in ((0, 1), (29, 1), (30, 2)):
        clock.now = 1_000_000.0 + passed
        await credential.get_token("a")
        assert len(issuer.asked) == requests, passed


async def test_scopes_and_tenants_are_kept_apart() -> None:
    credential, issuer = made(Clock())
    for _ in range(2):
        await credential.get_token("a")
        await credential.get_token("b")
        await credential.get_token("a", tenant_id="t")
    assert issuer.asked == [("a", None, None), ("b", None, None), ("a", None, "t")]


async def test_a_claims_challenge_always_reaches_entra_id() -> None:
    credential, issuer = made(Clock())
    await credential.get_token("a")
    await credential.get_token("a", claims="{}")
    assert issuer.asked == [("a", None, None), ("a", "{}", None)]


async def test_one_cancelled_caller_fails_no_other() -> None:
    credential, issuer = made(Clock())
    first = asyncio.create_task(credential.get_token("a"))
    second = asyncio.create_task(credential.get_token("a"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).token == "token-1"
    assert len(issuer.asked) == 1


async def test_a_failure_reaches_every_caller_and_is_not_kept() -> None:
    credential, issuer = made(Clock())
    issuer.failure = ClientAuthenticationError(message="AADSTS7000222: expired")
    results = await asyncio.gather(*(credential.get_token("a") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, IdentityError) for result in results)
    assert len(issuer.asked) == 1
    issuer.failure = None
    assert (await credential.get_token("a")).token == "token-2"


async def test_a_token_that_cannot_be_renewed_serves_until_it_expires() -> None:
    clock = Clock()
    credential, issuer = made(clock)
    await credential.get_token("a")
    issuer.failure = ClientAuthenticationError(message="Entra ID is down")
    clock.now += 3500
    assert (await credential.get_token("a")).token == "token-1"
    clock.now += 100
    with pytest.raises(IdentityError):
        await credential.get_token("a")


async def test_closing_gives_up_what_is_being_asked_for() -> None:
    credential, issuer = made(Clock())
    async with credential:
        asking = asyncio.create_task(credential.get_token("a"))
        await asyncio.sleep(0)
    assert issuer.closed
    with pytest.raises(asyncio.CancelledError):
        await asking


def test_foreign_words_are_one_printable_line_of_bearable_length() -> None:
    login = Login("me", Issuer(Clock()), found=True)
    for text in ("AADSTS999999: a\n::error::b\x1b[31m" + "x" * 900, "a\r\n##vso[task.complete]" + "x" * 900):
        for error in (ClientAuthenticationError(message=text), ValueError(text), CredentialUnavailableError(text)):
            shown = str(explain(error, login, "https://login.example"))
            assert shown.isprintable()
            assert len(shown) < 500


# -- as a job of a pipeline ------------------------------------------------------------------------------------


class JobTokens:
    """Gives tokens of a job, as GitHub would, and remembers them."""

    def __init__(self, emulator: Emulator) -> None:
        self.given: list[str] = []
        self.claims: dict[str, Any] = {}
        self._emulator = emulator

    async def __call__(self, audience: str) -> str:
        directory = self._emulator.world.directory
        claims = {"iss": GITHUB_ISSUER, "sub": directory.github_subject, "aud": audience, "jti": len(self.given)}
        self.given.append(self._emulator.authority.signer.sign(claims | self.claims, 300))
        return self.given[-1]


@asynccontextmanager
async def as_a_job(
    emulator: Emulator, choice: LoginChoice | None = None, environ: dict[str, str] | None = None
) -> AsyncIterator[tuple[SingleFlightCredential, JobTokens, list[str]]]:
    """The credential of a job, the issuer of its tokens, and what it asked to mask."""
    directory, issuer, masked = emulator.world.directory, JobTokens(emulator), list[str]()
    choice = choice or LoginChoice(AuthType.OIDC, directory.client_id, directory.tenant)
    environ = {"SSL_CERT_FILE": emulator.ca_file, **(environ or {})}
    async with (
        open_network(environ) as network,
        open_credential(
            cloud_of(emulator), network, environ, choice, id_tokens=issuer, mask=masked.append
        ) as credential,
    ):
        yield credential, issuer, masked


def trusting(subject: str = "repo:contoso/shop:ref:refs/heads/main", **more: str) -> World:
    world = World()
    world.directory.federated.append(FederatedCredential(world.directory.client_id, GITHUB_ISSUER, subject, **more))
    return world


async def test_every_token_of_entra_is_proven_by_a_fresh_one_of_the_job() -> None:
    async with Emulator(trusting()) as emulator, as_a_job(emulator) as (credential, issuer, masked):
        tokens = await asyncio.gather(*(credential.get_token(scope) for scope in (REGISTRY, ARM, REGISTRY)))
        assert len(set(issuer.given)) == 2
        assert emulator.world.count(service="entra") == 2
        assert {each.token for each in tokens} <= set(masked)


async def test_the_audience_of_the_token_is_the_one_that_was_chosen() -> None:
    world = trusting(audience="api://AzureADTokenExchangeChina")
    choice = LoginChoice(
        AuthType.OIDC, world.directory.client_id, world.directory.tenant, "api://AzureADTokenExchangeChina"
    )
    async with Emulator(world) as emulator:
        async with as_a_job(emulator, choice) as (credential, _, _):
            await credential.get_token(REGISTRY)
        async with as_a_job(emulator) as (credential, _, _):
            with pytest.raises(IdentityError, match="audience"):
                await credential.get_token(REGISTRY)


@pytest.mark.parametrize(
    ("trusted", "claims", "code"),
    [
        ("repo:contoso/shop:environment:production", {}, 700213),
        ("repo:contoso/shop:ref:refs/heads/main", {"iss": "https://ghe.example/_services/token"}, 700211),
        (None, {"environment": "production", "job_workflow_ref": "org/w/.github/workflows/x.yml@v1"}, 70025),
    ],
)
async def test_a_job_that_nobody_trusts_is_told_what_it_said_and_what_would_help(
    trusted: str | None, claims: dict[str, str], code: int
) -> None:
    world = trusting(trusted or "")
    if trusted is None:
        world.directory.federated.clear()
    async with Emulator(world) as emulator, as_a_job(emulator) as (credential, issuer, _):
        issuer.claims = claims
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    error = caught.value

    assert f"AADSTS{code}" in error.seen
    for name, value in {"sub": "repo:contoso/shop:ref:refs/heads/main", "aud": "api://AzureADTokenExchange"}.items():
        assert f"{name}={value}" in error.seen
    for name, value in claims.items():
        assert f"{name}={value}" in error.seen
    assert issuer.given[0] not in str(error)
    command = shlex.split(error.remedy.rpartition("\n")[2].strip("`"))
    assert command[:7] == ["az", "ad", "app", "federated-credential", "create", "--id", world.directory.client_id]
    assert json.loads(command[-1]) == {
        "name": "repo-contoso-shop-ref-refs-heads-main",
        "issuer": claims.get("iss", GITHUB_ISSUER),
        "subject": "repo:contoso/shop:ref:refs/heads/main",
        "audiences": ["api://AzureADTokenExchange"],
    }


async def test_the_command_that_helps_is_safe_to_copy() -> None:
    """Anybody may name a branch."""
    evil = "repo:c/s:ref:refs/heads/'; rm -rf ~ #`$(x)\n::error::"
    async with Emulator(trusting()) as emulator, as_a_job(emulator) as (credential, issuer, _):
        issuer.claims = {"sub": evil}
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    assert "\n" not in caught.value.seen
    assert caught.value.remedy.count("\n") == 1
    command = shlex.split(caught.value.remedy.rpartition("\n")[2][1:-1])
    assert len(command) == 9
    assert json.loads(command[-1])["subject"] == evil


async def test_a_token_that_is_none_is_still_told_in_words() -> None:
    async with Emulator(trusting()) as emulator, as_a_job(emulator) as (credential, issuer, _):
        issuer.given.append("nonsense")
        credential.login.federation.id_tokens = lambda _: asyncio.sleep(0, "nonsense")  # type: ignore[union-attr]
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    assert "no token at all" in caught.value.seen


async def test_a_job_without_a_token_is_told_why() -> None:
    async def none(_: str) -> str:
        raise NoIdToken("This job may not ask.", "Grant it.")

    async with Emulator(trusting()) as emulator, as_a_job(emulator) as (credential, _, _):
        credential.login.federation.id_tokens = none  # type: ignore[union-attr]
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
        assert (caught.value.seen, caught.value.remedy) == ("This job may not ask.", "Grant it.")
        assert emulator.world.count(service="entra") == 0


async def test_a_wrong_application_or_tenant_is_told_by_the_names_of_the_inputs() -> None:
    async with Emulator(trusting()) as emulator:
        directory = emulator.world.directory
        for client, tenant, word in (
            ("0" * 8, directory.tenant, "client-id"),
            (directory.client_id, "0" * 8, "tenant-id"),
        ):
            async with as_a_job(emulator, LoginChoice(AuthType.OIDC, client, tenant)) as (credential, _, _):
                with pytest.raises(IdentityError) as caught:
                    await credential.get_token(REGISTRY)
            assert word in caught.value.remedy
            assert "AZURE_" not in caught.value.remedy


async def test_the_environment_when_chosen_is_all_there_is() -> None:
    async with Emulator() as emulator:
        choice = LoginChoice(AuthType.ENVIRONMENT)
        async with as_a_job(emulator, choice, emulator.environment()) as (credential, issuer, masked):
            await credential.get_token(REGISTRY)
            assert issuer.given == []
            assert "emulator-secret" in masked
        with pytest.raises(IdentityError, match="looks nowhere else"):
            async with as_a_job(emulator, choice):
                pass


async def test_a_managed_identity_when_chosen_is_all_there_is() -> None:
    """Not even a secret in the environment that would work."""
    async with Emulator() as emulator:
        choice = LoginChoice(AuthType.MANAGED_IDENTITY)
        async with as_a_job(emulator, choice, emulator.environment()) as (credential, _, _):
            with pytest.raises(IdentityError, match="managed identity") as caught:
                await credential.get_token(REGISTRY)
        assert "client-id" in caught.value.remedy
        assert emulator.world.count(service="entra") == 0
