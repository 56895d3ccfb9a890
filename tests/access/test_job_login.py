"""The login of a pipeline job by a token of the job, and by the other auth-types."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from acr_cleanup.access.credentials import SingleFlightCredential, open_credential
from acr_cleanup.access.federation import AuthType, LoginChoice
from acr_cleanup.access.network import open_network
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.world import GITHUB_ISSUER, FederatedCredential
from acr_cleanup.errors import IdentityError
from acr_cleanup.runtimes.base import NoIdToken
from tests.helpers.logins import ARM, REGISTRY, cloud_of


class JobTokens:
    """A stand-in for the issuer of GitHub. It remembers the tokens that it issues."""

    def __init__(self, emulator: Emulator) -> None:
        self.issued: list[str] = []
        self.claims: dict[str, Any] = {}
        self._emulator = emulator

    async def __call__(self, audience: str) -> str:
        directory = self._emulator.world.directory
        claims = {"iss": GITHUB_ISSUER, "sub": directory.github_subject, "aud": audience, "jti": len(self.issued)}
        self.issued.append(self._emulator.authority.signer.sign(claims | self.claims, 300))
        return self.issued[-1]


@asynccontextmanager
async def job_credential(
    emulator: Emulator, choice: LoginChoice | None = None, environ: dict[str, str] | None = None
) -> AsyncIterator[tuple[SingleFlightCredential, JobTokens, list[str]]]:
    """
    Open the credential of a job.

    Yields it, the issuer of the job's tokens, and the masked secrets.
    """
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


def world_trusting(subject: str = "repo:contoso/shop:ref:refs/heads/main", **more: str) -> World:
    world = World()
    world.directory.federated.append(FederatedCredential(world.directory.client_id, GITHUB_ISSUER, subject, **more))
    return world


async def test_each_entra_request_uses_a_new_job_token() -> None:
    async with Emulator(world_trusting()) as emulator, job_credential(emulator) as (credential, issuer, masked):
        tokens = await asyncio.gather(*(credential.get_token(scope) for scope in (REGISTRY, ARM, REGISTRY)))
        assert len(set(issuer.issued)) == 2
        assert emulator.world.count(service="entra") == 2
        assert {token.token for token in tokens} <= set(masked)


async def test_job_token_has_the_chosen_audience() -> None:
    world = world_trusting(audience="api://AzureADTokenExchangeChina")
    choice = LoginChoice(
        AuthType.OIDC, world.directory.client_id, world.directory.tenant, "api://AzureADTokenExchangeChina"
    )
    async with Emulator(world) as emulator:
        async with job_credential(emulator, choice) as (credential, _, _):
            await credential.get_token(REGISTRY)
        async with job_credential(emulator) as (credential, _, _):
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
async def test_untrusted_job_gets_claims_and_remedy(trusted: str | None, claims: dict[str, str], code: int) -> None:
    world = world_trusting(trusted or "")
    if trusted is None:
        world.directory.federated.clear()
    async with Emulator(world) as emulator, job_credential(emulator) as (credential, issuer, _):
        issuer.claims = claims
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    error = caught.value

    assert f"AADSTS{code}" in error.seen
    for name, value in {"sub": "repo:contoso/shop:ref:refs/heads/main", "aud": "api://AzureADTokenExchange"}.items():
        assert f"{name}={value}" in error.seen
    for name, value in claims.items():
        assert f"{name}={value}" in error.seen
    assert issuer.issued[0] not in str(error)
    command = shlex.split(error.remedy.rpartition("\n")[2].strip("`"))
    assert command[:7] == ["az", "ad", "app", "federated-credential", "create", "--id", world.directory.client_id]
    assert json.loads(command[-1]) == {
        "name": "repo-contoso-shop-ref-refs-heads-main",
        "issuer": claims.get("iss", GITHUB_ISSUER),
        "subject": "repo:contoso/shop:ref:refs/heads/main",
        "audiences": ["api://AzureADTokenExchange"],
    }


@pytest.mark.parametrize(
    "issuer",
    [
        "https://token.actions.githubusercontent.com/contoso",
        "https://github.contoso.com/_services/token",
        "https://token.actions.contoso.ghe.com",
    ],
    ids=["an enterprise", "GitHub Enterprise Server", "data residency"],
)
async def test_other_issuers_of_github_log_in(issuer: str) -> None:
    """The issuer of the token is never assumed: a refusal names it, and the command trusts it."""
    world = World()
    subject = world.directory.github_subject
    async with Emulator(world) as emulator, job_credential(emulator) as (credential, tokens, _):
        tokens.claims = {"iss": issuer}
        world.directory.federated.append(FederatedCredential(world.directory.client_id, GITHUB_ISSUER, subject))
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
        assert f"iss={issuer}" in caught.value.seen
        assert f'"issuer": "{issuer}"' in caught.value.remedy
        world.directory.federated.append(FederatedCredential(world.directory.client_id, issuer, subject))
        assert (await credential.get_token(REGISTRY)).token


async def test_suggested_command_is_safe_to_copy() -> None:
    """The name of a branch may be hostile."""
    evil = "repo:c/s:ref:refs/heads/'; rm -rf ~ #`$(x)\n::error::"
    async with Emulator(world_trusting()) as emulator, job_credential(emulator) as (credential, issuer, _):
        issuer.claims = {"sub": evil}
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    assert "\n" not in caught.value.seen
    assert caught.value.remedy.count("\n") == 1
    command = shlex.split(caught.value.remedy.rpartition("\n")[2][1:-1])
    assert len(command) == 9
    assert json.loads(command[-1])["subject"] == evil


async def test_invalid_job_token_is_explained() -> None:
    async with Emulator(world_trusting()) as emulator, job_credential(emulator) as (credential, issuer, _):
        issuer.issued.append("nonsense")
        credential.login.federation.id_tokens = lambda _: asyncio.sleep(0, "nonsense")  # type: ignore[union-attr]
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    assert "not a valid token" in caught.value.seen


async def test_job_without_token_gets_reason_of_ci_system() -> None:
    async def none(_: str) -> str:
        raise NoIdToken("This job may not ask.", "Grant it.")

    async with Emulator(world_trusting()) as emulator, job_credential(emulator) as (credential, _, _):
        credential.login.federation.id_tokens = none  # type: ignore[union-attr]
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
        assert (caught.value.seen, caught.value.remedy) == ("This job may not ask.", "Grant it.")
        assert emulator.world.count(service="entra") == 0


async def test_wrong_ids_are_reported_by_input_names() -> None:
    async with Emulator(world_trusting()) as emulator:
        directory = emulator.world.directory
        for client, tenant, word in (
            ("0" * 8, directory.tenant, "client-id"),
            (directory.client_id, "0" * 8, "tenant-id"),
        ):
            async with job_credential(emulator, LoginChoice(AuthType.OIDC, client, tenant)) as (credential, _, _):
                with pytest.raises(IdentityError) as caught:
                    await credential.get_token(REGISTRY)
            assert word in caught.value.remedy
            assert "AZURE_" not in caught.value.remedy


async def test_environment_login_uses_no_job_token() -> None:
    async with Emulator() as emulator:
        choice = LoginChoice(AuthType.ENVIRONMENT)
        async with job_credential(emulator, choice, emulator.environment()) as (credential, issuer, masked):
            await credential.get_token(REGISTRY)
            assert issuer.issued == []
            assert "emulator-secret" in masked
        with pytest.raises(IdentityError, match="uses no other source"):
            async with job_credential(emulator, choice):
                pass


async def test_managed_identity_login_uses_no_secret() -> None:
    """A valid secret in the environment is ignored."""
    async with Emulator() as emulator:
        choice = LoginChoice(AuthType.MANAGED_IDENTITY)
        async with job_credential(emulator, choice, emulator.environment()) as (credential, _, _):
            with pytest.raises(IdentityError, match="managed identity") as caught:
                await credential.get_token(REGISTRY)
        assert "client-id" in caught.value.remedy
        assert emulator.world.count(service="entra") == 0
