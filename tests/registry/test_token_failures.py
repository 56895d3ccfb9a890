"""Token requests that fail: cause and remedy, repetition, and what is not repeated."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from azure.core import AsyncPipelineClient
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.core.rest import HttpRequest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.errors import IdentityError, RegistryClosed, RegistryError, RegistryForbidden, RegistryUnreachable
from acr_cleanup.registry.acr import open_registry
from acr_cleanup.registry.tokens import LARGEST_ANSWER, REFUSAL_STAYS, RegistryTokens
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
)

_ROLE = (
    "role AcrPull and AcrDelete (where the registry uses ABAC: Container Registry Repository Contributor, and for scope "
    "'all' Container Registry Repository Catalog Lister) on the registry"
)
_WAIT = "A new role takes up to ten minutes to work."
_NOT_ACCEPTED = "the registry did not accept this identity"
_TENANT = (
    f"Give it the {_ROLE}, and check that it belongs to the registry's tenant and that cloud.audience, if set, is right. "
    f"{_WAIT}"
)
_PROXY = "Check container_registry.url, and whether a proxy answers in its place."
_ASKING = "asking for an access token"
_NO_REGISTRY = "signing in: the server does not answer like an Azure container registry: 404 Not Found."


@pytest.mark.parametrize(
    ("where", "status", "error", "text"),
    [
        ("exchange", 401, RegistryClosed, f"signing in: {_NOT_ACCEPTED}: 401 Unauthorized. {_TENANT}"),
        ("exchange", 400, RegistryClosed, f"signing in: {_NOT_ACCEPTED}: 400 Bad Request. {_TENANT}"),
        ("exchange", 403, RegistryClosed,
         f"signing in: rights are missing: 403 Forbidden. Give the identity the {_ROLE}. {_WAIT}"),
        ("exchange", 404, RegistryError, f"{_NO_REGISTRY} {_PROXY}"),
        ("exchange", 503, RegistryError,
         "signing in: the registry failed repeatedly: 503 Service Unavailable. Run again later."),
        ("token", 401, RegistryForbidden, f"{_ASKING}: {_NOT_ACCEPTED}: 401 Unauthorized. {_TENANT}"),
        ("token", 200, RegistryError, f"{_ASKING}: the response has no access_token. {_PROXY}"),
        ("token", 200, RegistryError, f"{_ASKING}: the response is too large for a token. {_PROXY}"),
    ],
)  # fmt: skip
async def test_refused_login_names_cause_and_remedy(where: str, status: int, error: type[Exception], text: str) -> None:
    world = World()
    body = b"x" * (LARGEST_ANSWER + 1) if "too large" in text else b"[]"
    world.faults.append(Fault(path=f"/oauth2/{where}", status=status, body=body))
    async with emulated_registry(world) as connected:
        with pytest.raises(error) as caught:
            await connected.registry.list_repository("shop/web")
    assert str(caught.value) == f"registry {connected.emulator.registry_url}: {text}"


async def test_refused_login_is_requested_only_once() -> None:
    world = World()
    world.access.assign_only()
    async with emulated_registry(world) as connected:
        failures = await asyncio.gather(*(connected.registry.catalog() for _ in range(50)), return_exceptions=True)
        assert {type(failure) for failure in failures} == {RegistryClosed}
        assert connected.sent() == 1


_LOG_IN = "Log in (`az login`), or set AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret or a federated token."
_CHECK_NETWORK = "Check the network, HTTPS_PROXY and, for a private authority, SSL_CERT_FILE."


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (
            ClientAuthenticationError("AADSTS700016: no such app\nTrace: 1"),
            f"Entra ID: no token for {AUDIENCE}/.default: AADSTS700016: no such app Trace: 1. {_LOG_IN}",
        ),
        (ServiceRequestError("cannot connect"), f"Entra ID: no answer: cannot connect. {_CHECK_NETWORK}"),
        (IdentityError("no login"), "no login"),
    ],
)
async def test_missing_login_raises_identity_error(raised: Exception, text: str) -> None:
    def fail() -> str:
        raise raised

    transport = ScriptedTransport(lambda _, request: HttpAnswer(request))
    async with open_registry(HOST, CountingCredential(fail), transport, pace=instant_pace()) as registry:
        with pytest.raises(IdentityError) as caught:
            await registry.catalog()
    assert str(caught.value) == text
    assert transport.received == []


@pytest.mark.parametrize("path", ["/oauth2/exchange", "/oauth2/token"])
async def test_token_request_is_repeated_after_transient_failures(path: str) -> None:
    world = World()
    world.registry.push("shop/web", "1")
    world.faults += [Fault(path=path, times=1, reset=True), Fault(path=path, times=1, status=503)]
    async with emulated_registry(world) as connected:
        assert (await connected.registry.list_repository("shop/web")).tags


async def test_token_request_without_connection_raises_unreachable() -> None:
    def broken(received: ReceivedRequest, request: Any) -> HttpAnswer:
        del received, request
        raise ServiceRequestError("x", error=_connect_error())

    async with open_registry(HOST, CountingCredential(), ScriptedTransport(broken), pace=instant_pace()) as registry:
        with pytest.raises(RegistryUnreachable):
            await registry.catalog()


def _connect_error() -> Exception:
    key = aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None)
    return aiohttp.ClientConnectorError(key, OSError(111, "Connection refused"))


async def test_refused_login_is_requested_again_later() -> None:
    """A new role takes effect after some minutes; a restore may run that long."""
    time, refused = FakeTime(), True

    def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path == "/oauth2/exchange":
            return HttpAnswer(request, 401 if refused else 200, {"refresh_token": "opaque"})
        return HttpAnswer(request, 200, {"access_token": "opaque"})

    login, transport = CountingCredential(lambda: "entra"), ScriptedTransport(answer)
    policy = RegistryTokens(HOST, login, transport, instant_pace(), audience=AUDIENCE, clock=time)
    client: AsyncPipelineClient[HttpRequest, Any] = AsyncPipelineClient(
        f"https://{HOST}", policies=[policy], transport=transport
    )
    for later, exchanges in ((0, 1), (REFUSAL_STAYS - 1, 1), (2, 2)):
        time.now += later
        with pytest.raises(RegistryClosed):
            await client.send_request(HttpRequest("GET", f"https://{HOST}/acr/v1/a/_tags"))
        assert [received.path for received in transport.received].count("/oauth2/exchange") == exchanges
    refused = False
    time.now += REFUSAL_STAYS + 1
    await client.send_request(HttpRequest("GET", f"https://{HOST}/acr/v1/a/_tags"))
    assert transport.received[-1].bearer == "opaque"
