"""Tokens of the registry: few, renewed in time, and replaced when refused."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import uuid
from typing import Any

import pytest
from azure.core import AsyncPipelineClient
from azure.core.rest import HttpRequest

from acr_cleanup.access.jwt import claims_of
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.emulator import World
from acr_cleanup.errors import RegistryForbidden
from acr_cleanup.registry.acr import open_registry
from acr_cleanup.registry.tokens import RegistryTokens
from tests.helpers.registry_clients import (
    AUDIENCE,
    HOST,
    CountingCredential,
    FakeTime,
    HttpAnswer,
    ReceivedRequest,
    ScriptedTransport,
    emulated_registry,
    instant_pace,
    jwt,
)

NOW = FakeTime().now


class TokenService:
    """A registry that issues numbered tokens and answers 200 to every other request."""

    def __init__(self, time: FakeTime, *, lifetime: float = 4500, **claims: Any) -> None:
        self.time = time
        self.lifetime = lifetime
        self.claims = claims
        self.exchanges: list[ReceivedRequest] = []
        self.tokens: list[ReceivedRequest] = []
        self.transport = ScriptedTransport(self._answer)
        self.login = CountingCredential(lambda: f"entra-{len(self.login.scopes)}")
        self.policy = RegistryTokens(HOST, self.login, self.transport, instant_pace(), audience=AUDIENCE, clock=time)
        self.client: AsyncPipelineClient[HttpRequest, Any] = AsyncPipelineClient(
            f"https://{HOST}", policies=[self.policy], transport=self.transport
        )

    async def _answer(self, received: ReceivedRequest, request: Any) -> HttpAnswer:
        await asyncio.sleep(0)
        dates = {"iat": self.time.now, "exp": self.time.now + self.lifetime}
        if received.path == "/oauth2/exchange":
            self.exchanges.append(received)
            dates["exp"] += 9000
            return HttpAnswer(request, 200, {"refresh_token": jwt(n=len(self.exchanges), **dates, **self.claims)})
        if received.path == "/oauth2/token":
            self.tokens.append(received)
            return HttpAnswer(request, 200, {"access_token": jwt(n=len(self.tokens), **dates)})
        return HttpAnswer(request)

    async def get(self, path: str) -> str:
        """Send a request and return the token in it."""
        await self.client.send_request(HttpRequest("GET", f"https://{HOST}{path}"))
        return self.transport.received[-1].bearer

    @property
    def scopes(self) -> list[str]:
        return [received.form["scope"] for received in self.tokens]


async def test_concurrent_requests_share_one_token() -> None:
    service = TokenService(FakeTime())
    await asyncio.gather(*(service.get(f"/acr/v1/app{number}/_tags") for number in range(50)))
    assert (len(service.exchanges), len(service.tokens), len(service.login.scopes)) == (1, 1, 1)
    requests = [request for request in service.transport.received if "/oauth2/" not in request.path]
    assert len(requests) == 50
    assert {request.bearer for request in requests} == {jwt(n=1, iat=NOW, exp=NOW + 4500)}


async def test_token_requests_follow_the_protocol() -> None:
    service = TokenService(FakeTime())
    await service.get("/acr/v1/_catalog")
    exchange, token = service.exchanges[0], service.tokens[0]
    assert service.login.scopes == ["https://containerregistry.azure.net/.default"]
    assert exchange.form == {"grant_type": "access_token", "service": HOST, "access_token": "entra-1"}
    assert {key: token.form[key] for key in ("grant_type", "service", "scope")} == {
        "grant_type": "refresh_token",
        "service": HOST,
        "scope": "registry:catalog:* repository:*:*",
    }
    assert claims_of(token.form["refresh_token"])["n"] == 1


async def test_token_is_renewed_shortly_before_expiry() -> None:
    time = FakeTime()
    service = TokenService(time)
    first = await service.get("/acr/v1/a/_tags")
    time.now = NOW + 4500 - 301
    assert await service.get("/acr/v1/a/_tags") == first
    time.now = NOW + 4500 - 299
    assert await service.get("/acr/v1/a/_tags") != first
    assert (len(service.exchanges), len(service.tokens)) == (1, 2)


async def test_expired_refresh_token_is_renewed() -> None:
    time = FakeTime()
    service = TokenService(time)
    await service.get("/acr/v1/a/_tags")
    time.now += 4500 + 9000
    await service.get("/acr/v1/a/_tags")
    assert [received.form["access_token"] for received in service.exchanges] == ["entra-1", "entra-2"]


async def test_short_lived_token_is_used_for_most_of_its_life() -> None:
    time = FakeTime()
    service = TokenService(time, lifetime=100)
    first = await service.get("/acr/v1/a/_tags")
    time.now += 79
    assert await service.get("/acr/v1/a/_tags") == first
    time.now += 2
    assert await service.get("/acr/v1/a/_tags") != first


@pytest.mark.parametrize(("stated", "lifetime"), [({"expires_in": 600}, 480), ({}, 48), ({"expires_in": "soon"}, 48)])
async def test_opaque_token_is_used_as_long_as_the_answer_says(stated: dict[str, Any], lifetime: float) -> None:
    """Without a time, for a minute: https://distribution.github.io/distribution/spec/auth/token/."""
    time = FakeTime()
    service = TokenService(time)
    given = iter(range(9))

    async def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path == "/oauth2/token":
            return HttpAnswer(request, 200, {"access_token": f"opaque-{next(given)}", **stated})
        return await service._answer(received, request)

    service.transport._answer = answer
    tokens = []
    for seconds in (0, lifetime - 1, 2):
        time.now += seconds
        tokens.append(await service.get("/acr/v1/a/_tags"))
    assert tokens == ["opaque-0", "opaque-0", "opaque-1"]


@pytest.mark.parametrize("skew", [-5000.0, 86400.0], ids=["our clock is ahead", "our clock is behind"])
async def test_token_lifetime_ignores_clock_differences(skew: float) -> None:
    time = FakeTime()
    service = TokenService(FakeTime(NOW + skew))
    service.policy._clock = time
    first = await service.get("/acr/v1/a/_tags")
    time.now += 4000
    assert await service.get("/acr/v1/a/_tags") == first
    time.now += 500
    assert await service.get("/acr/v1/a/_tags") != first


@pytest.mark.parametrize("claims", [{"exp": "soon"}, {"exp": True}, {"exp": 1e300}, {"exp": None}, {"exp": []}])
async def test_malformed_expiry_counts_as_short_lifetime(claims: dict[str, Any]) -> None:
    time = FakeTime()
    service = TokenService(time)
    token = _token(claims)

    async def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path == "/oauth2/token":
            service.tokens.append(received)
            return HttpAnswer(request, 200, {"access_token": token})
        return await TokenService._answer(service, received, request)

    service.transport._answer = answer
    for passed in (0, 40, 40):
        time.now += passed
        assert await service.get("/acr/v1/a/_tags") == token
    assert len(service.tokens) == 2


def _token(claims: dict[str, Any]) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{payload}.x"


# -- registries that grant no wildcard


async def test_abac_tokens_name_ten_repositories_each() -> None:
    service = TokenService(FakeTime(), aad_identity="yes")
    names = [f"app{number:02}" for number in range(25)]
    service.policy.announce(names)
    await asyncio.gather(*(service.get(f"/acr/v1/{name}/_tags?n=1000") for name in names for _ in range(3)))
    assert len(service.exchanges) == 1
    assert sorted(service.scopes) == [
        " ".join(f"repository:app{number:02}:pull,delete,metadata_read" for number in batch)
        for batch in (range(10), range(10, 20), range(20, 25))
    ]


async def test_unannounced_repository_gets_its_own_token() -> None:
    service = TokenService(FakeTime(), aad_identity="yes")
    service.policy.announce(["team/a"])
    await service.get("/v2/team%2Fa/manifests/sha256%3A00")
    await service.get("/acr/v1/team%2Fb/_tags/1.0?api-version=2021-07-01")
    await service.get("/acr/v1/team/b/_manifests")
    await service.get("/acr/v1/_catalog?n=1000")
    assert service.scopes == [
        "repository:team/a:pull,delete,metadata_read",
        "repository:team/b:pull,delete,metadata_read",
        "registry:catalog:*",
    ]


@pytest.mark.parametrize("refusal", ["refused", "granted nothing"])
async def test_registry_without_wildcards_is_asked_for_each_repository(refusal: str) -> None:
    service = TokenService(FakeTime())

    async def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path == "/oauth2/token" and received.form["scope"].endswith(":*"):
            service.tokens.append(received)
            status = 401 if refusal == "refused" else 200
            return HttpAnswer(request, status, {"access_token": jwt(access=[], iat=NOW, exp=NOW + 4500)})
        return await service._answer(received, request)

    service.transport._answer = answer
    own = "repository:a:pull,delete,metadata_read"
    first = await service.get("/acr/v1/a/_tags")
    assert claims_of(first)["n"] == len(service.tokens)
    assert set(service.scopes) == {"registry:catalog:* repository:*:*", own}
    assert await service.get("/acr/v1/a/_manifests") == first
    assert service.scopes.count(own) == 1


async def test_identity_without_the_catalog_still_reads_repositories() -> None:
    service = TokenService(FakeTime(), aad_identity="yes")

    async def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        refused = received.path == "/oauth2/token" and received.form["scope"] == "registry:catalog:*"
        return HttpAnswer(request, 401, {}) if refused else await service._answer(received, request)

    service.transport._answer = answer
    with pytest.raises(RegistryForbidden):
        await service.get("/acr/v1/_catalog")
    assert await service.get("/acr/v1/a/_tags")
    with pytest.raises(RegistryForbidden):
        await service.get("/acr/v1/_catalog")


async def test_abac_causes_no_refused_request() -> None:
    world = World()
    world.registry.abac = True
    names = [f"app{number}" for number in range(12)]
    for name in names:
        world.registry.push(name, "1")
    async with emulated_registry(world) as connected:
        connected.registry.announce(names)
        await asyncio.gather(*map(connected.registry.list_repository, names))
        assert await connected.registry.untag("app3", "1") is OutcomeKind.DELETED
        assert (connected.sent(path="exchange"), connected.sent(path="/oauth2/token")) == (1, 2)
        assert connected.sent(status=401) == 0
        assert len(await connected.registry.catalog()) == 12


async def test_abac_without_catalog_lister_names_that_role() -> None:
    world = World()
    world.registry.abac = True
    world.access.assign_only("Container Registry Repository Contributor")
    async with emulated_registry(world) as connected:
        with pytest.raises(RegistryForbidden, match="Container Registry Repository Catalog Lister"):
            await connected.registry.catalog()


# -- refused tokens


async def test_switch_to_abac_costs_one_refused_request() -> None:
    """
    The switch invalidates all tokens. The SDK handles the refused request.

    Further tokens of ours name their repositories.
    """
    world = World()
    for number in range(40):
        world.registry.push("shop/web", f"v{number}")
    async with emulated_registry(world) as connected:
        await connected.registry.list_repository("shop/web")
        world.registry.abac = True
        outcomes = [await connected.registry.untag("shop/web", f"v{number}") for number in range(40)]
        assert set(outcomes) == {OutcomeKind.DELETED}
        assert connected.sent("DELETE", status=401) == 1
        assert connected.sent("DELETE") == 41


@pytest.mark.parametrize("claim", ["a~?>", "aa~?>", "aaa~?>"])
async def test_claims_that_the_sdk_cannot_parse_are_handled(claim: str) -> None:
    """The SDK's parser fails on the URL-safe base64 alphabet; our own token then replaces it."""
    refused: list[str] = []

    def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path == "/oauth2/exchange":
            return HttpAnswer(request, 200, {"refresh_token": jwt(exp=2**33, name=claim)})
        if received.path == "/oauth2/token":
            everything = "repository:*:*" in received.form["scope"]
            return HttpAnswer(request, 200, {"access_token": jwt(exp=2**33, everything=everything)})
        if claims_of(received.bearer).get("everything"):
            refused.append(received.path)
            challenge = f'Bearer realm="https://{HOST}/oauth2/token",service="{HOST}",scope="repository:a:pull"'
            return HttpAnswer(request, 401, {}, {"Www-Authenticate": challenge})
        return HttpAnswer(request, 202)

    async with open_registry(HOST, CountingCredential(), ScriptedTransport(answer), pace=instant_pace()) as registry:
        for tag in ("1", "2", "3"):
            assert await registry.untag("a", tag) is OutcomeKind.DELETED
    assert len(refused) == 1


async def test_permanent_401_means_missing_rights_after_few_requests() -> None:
    def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path == "/oauth2/exchange":
            return HttpAnswer(request, 200, {"refresh_token": jwt(exp=2**33, name="a~?>")})
        if received.path == "/oauth2/token":
            return HttpAnswer(request, 200, {"access_token": jwt(exp=2**33)})
        return HttpAnswer(request, 401, {}, {"Www-Authenticate": 'Bearer realm="x"'})

    transport = ScriptedTransport(answer)
    async with open_registry(HOST, CountingCredential(), transport, pace=instant_pace()) as registry:
        with pytest.raises(RegistryForbidden, match=r"rights are missing: 401.*AcrDelete"):
            await registry.untag("a", "1")
    assert len(transport.received) < 10


async def test_token_refused_for_a_deletion_is_kept() -> None:
    """
    Without the right to delete, every deletion is challenged. The token is still good for reading.
    """
    world = World()
    world.registry.push("shop/web", "1")
    world.registry.challenges_missing_rights = True
    world.access.assign_only("AcrPull")
    async with emulated_registry(world) as connected:
        for _ in range(3):
            with pytest.raises(RegistryForbidden):
                await connected.registry.untag("shop/web", "1")
        before = connected.sent(path="oauth2")
        await connected.registry.list_repository("shop/web")
        assert connected.sent(path="oauth2") == before


async def test_requests_are_logged_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    """Not otherwise: the log takes as much CPU as a small request."""
    world = World()
    world.registry.push("shop/web", "1")
    for level, logged in ((logging.WARNING, False), (logging.DEBUG, True)):
        caplog.set_level(level, logger="azure")
        async with emulated_registry(world) as connected:
            await connected.registry.list_repository("shop/web")
        assert ("/acr/v1/shop%2Fweb/_tags" in caplog.text) is logged


async def test_request_names_the_tool_and_the_sdk_that_sent_it() -> None:
    """The ids of requests differ. Support at Microsoft asks for them."""

    def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path.startswith("/oauth2/"):
            return HttpAnswer(request, 200, {"refresh_token": jwt(exp=2**33), "access_token": jwt(exp=2**33)})
        return HttpAnswer(request, 202)

    transport = ScriptedTransport(answer)
    async with open_registry(HOST, CountingCredential(), transport, pace=instant_pace()) as registry:
        for tag in ("1", "2"):
            await registry.untag("a", tag)
    headers = [received.headers for received in transport.received if received.method == "DELETE"]
    for header in headers:
        assert re.match(r"acr-cleanup/\S+ azsdk-python-azure-containerregistry/", header["User-Agent"])
        assert str(uuid.UUID(header["x-ms-client-request-id"])) == header["x-ms-client-request-id"]
    assert len({header["x-ms-client-request-id"] for header in headers}) == 2


async def test_tokens_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = World()
    world.registry.push("shop/web", "1")
    async with emulated_registry(world) as connected:
        await connected.registry.list_repository("shop/web")
        world.registry.abac = True
        await connected.registry.untag("shop/web", "1")
    assert caplog.records
    assert "eyJ" not in caplog.text


def test_repr_contains_no_token() -> None:
    service = TokenService(FakeTime())
    service.policy._everything.value = "secret"
    assert "secret" not in repr(service.policy) + repr(service.policy._everything)
