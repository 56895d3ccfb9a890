"""The shared credential: one request per scope, renewed in time."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError

from acr_cleanup.access.credentials import SingleFlightCredential
from acr_cleanup.access.login import Login
from acr_cleanup.access.login_errors import explain
from acr_cleanup.errors import IdentityError


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Issuer:
    """
    A stand-in for a credential of azure-identity.

    It counts requests, waits, and raises `failure`.
    """

    def __init__(self, clock: Clock, lifetime: float = 3600) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.requests: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.closed = False

    async def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **kwargs: Any
    ) -> AccessToken:
        self.requests.append((*scopes, claims, tenant_id))
        await asyncio.sleep(0.01)
        if self.failure is not None:
            raise self.failure
        return AccessToken(f"token-{len(self.requests)}", int(self.clock.now + self.lifetime))

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def credential_with(clock: Clock, **options: Any) -> tuple[SingleFlightCredential, Issuer]:
    issuer = Issuer(clock, **options)
    login = Login("me", issuer, configured=True)
    return SingleFlightCredential(login, "https://login.example", clock), issuer


async def test_token_is_renewed_five_minutes_early() -> None:
    clock = Clock()
    credential, issuer = credential_with(clock)
    for passed, requests in ((0, 1), (3299, 1), (3300, 2), (6599, 2), (6600, 3)):
        clock.now = 1_000_000.0 + passed
        await credential.get_token("a")
        assert len(issuer.requests) == requests, passed


async def test_short_token_is_renewed_at_half_life() -> None:
    clock = Clock()
    credential, issuer = credential_with(clock, lifetime=60)
    for passed, requests in ((0, 1), (29, 1), (30, 2)):
        clock.now = 1_000_000.0 + passed
        await credential.get_token("a")
        assert len(issuer.requests) == requests, passed


async def test_tokens_are_cached_by_scope_and_tenant() -> None:
    credential, issuer = credential_with(Clock())
    for _ in range(2):
        await credential.get_token("a")
        await credential.get_token("b")
        await credential.get_token("a", tenant_id="t")
    assert issuer.requests == [("a", None, None), ("b", None, None), ("a", None, "t")]


async def test_claims_challenge_bypasses_the_cache() -> None:
    credential, issuer = credential_with(Clock())
    await credential.get_token("a")
    await credential.get_token("a", claims="{}")
    assert issuer.requests == [("a", None, None), ("a", "{}", None)]


async def test_cancelled_caller_does_not_fail_others() -> None:
    credential, issuer = credential_with(Clock())
    first = asyncio.create_task(credential.get_token("a"))
    second = asyncio.create_task(credential.get_token("a"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).token == "token-1"
    assert len(issuer.requests) == 1


async def test_failure_reaches_all_callers_and_is_not_cached() -> None:
    credential, issuer = credential_with(Clock())
    issuer.failure = ClientAuthenticationError(message="AADSTS7000222: expired")
    results = await asyncio.gather(*(credential.get_token("a") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, IdentityError) for result in results)
    assert len(issuer.requests) == 1
    issuer.failure = None
    assert (await credential.get_token("a")).token == "token-2"


async def test_token_is_used_until_expiry_if_renewal_fails() -> None:
    clock = Clock()
    credential, issuer = credential_with(clock)
    await credential.get_token("a")
    issuer.failure = ClientAuthenticationError(message="Entra ID is down")
    clock.now += 3500
    assert (await credential.get_token("a")).token == "token-1"
    clock.now += 100
    with pytest.raises(IdentityError):
        await credential.get_token("a")


async def test_closing_cancels_pending_requests() -> None:
    credential, issuer = credential_with(Clock())
    async with credential:
        request = asyncio.create_task(credential.get_token("a"))
        await asyncio.sleep(0)
    assert issuer.closed
    with pytest.raises(asyncio.CancelledError):
        await request


def test_foreign_text_is_one_short_printable_line() -> None:
    login = Login("me", Issuer(Clock()), configured=True)
    # The sentence of Entra ID is shown as a whole; a longer one is not from Entra ID.
    entra = "AADSTS999999: a\n::error::b\x1b[31m" + "x" * 9000
    for text, limit in ((entra, 2300), ("a\r\n##vso[task.complete]" + "x" * 900, 500)):
        for error in (ClientAuthenticationError(message=text), ValueError(text), CredentialUnavailableError(text)):
            shown = str(explain(error, login, "https://login.example"))
            assert shown.isprintable()
            assert len(shown) < limit
