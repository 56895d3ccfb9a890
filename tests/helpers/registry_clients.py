"""
Registry clients on the emulator or on scripted answers, with the clock and credentials they need.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import aiohttp
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport
from multidict import CIMultiDict

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.registry.acr import AcrRegistry, open_registry
from acr_cleanup.registry.pace import Pace
from acr_cleanup.registry.restoring import Restorer

HOST = "contoso.azurecr.io"
AUDIENCE = "https://containerregistry.azure.net"


def instant_pace(concurrency: int = 8) -> Pace:
    """The usual pace on a simulated clock, so that pauses take no time."""
    time = FakeTime()
    return Pace(concurrency, clock=time, sleep=time.sleep)


@dataclass
class FakeTime:
    """A clock that only `sleep` moves. Sleeping lets other tasks run."""

    now: float = 1_000_000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def world_with_tags(tags: int = 3) -> World:
    """A world with the repository shop/web: tags v0000, v0001, …, each on its own manifest."""
    world = World()
    for number in range(tags):
        world.registry.push("shop/web", f"v{number:04}", age=timedelta(days=number))
    return world


class CountingCredential:
    """A credential that records the scopes it was received for."""

    def __init__(self, token: Callable[[], str] = lambda: "entra-token") -> None:
        self.token = token
        self.scopes: list[str] = []

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken(self.token(), 2**40)

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Do nothing."""


@dataclass
class EmulatedRegistry:
    """A registry client and the emulator behind it."""

    registry: AcrRegistry
    emulator: Emulator
    world: World
    login: CountingCredential

    @property
    def restorer(self) -> Restorer:
        return Restorer(self.registry.requests)

    def sent(self, method: str | None = None, path: str | None = None, status: int | None = None) -> int:
        """The number of requests that the registry has received."""
        return self.world.count(service="acr", method=method, path=path, status=status)


@asynccontextmanager
async def emulated_registry(
    world: World, *, trust: bool = True, pace: Pace | None = None
) -> AsyncIterator[EmulatedRegistry]:
    """Start the emulator and connect a registry client to it."""
    async with Emulator(world) as emulator:
        client = world.directory.client_id
        login = CountingCredential(lambda: emulator.authority.issue_token(AUDIENCE, client))
        context = ssl.create_default_context(cafile=emulator.ca_file if trust else None)
        connector = aiohttp.TCPConnector(ssl=context)
        async with (
            aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
            open_registry(
                emulator.registry_url,
                login,
                AioHttpTransport(session=session, session_owner=False),
                pace=pace or instant_pace(),
            ) as registry,
        ):
            yield EmulatedRegistry(registry, emulator, world, login)


@dataclass(frozen=True)
class ReceivedRequest:
    """One request, as the scripted registry received it."""

    method: str
    url: str
    headers: Mapping[str, str]
    form: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.url.removeprefix(f"https://{HOST}").partition("?")[0]

    @property
    def bearer(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


class HttpAnswer:
    """
    A response in the shape of azure-core's transports, for our own requests and for the SDK's.
    """

    def __init__(
        self, request: Any, status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.request = request
        self.status_code = status
        self.reason = ""
        self._data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = CIMultiDict({"Content-Type": "application/json; charset=utf-8", **(headers or {})})
        self.content_type = self.headers["Content-Type"]
        self.block_size = 4096

    async def read(self) -> bytes:
        return self._data

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), self.block_size):
            yield self._data[start : start + self.block_size]

    async def load_body(self) -> None:
        """Do nothing: the body is there."""

    async def close(self) -> None:
        """Do nothing."""

    def body(self) -> bytes:
        return self._data

    def text(self, encoding: str | None = None) -> str:
        return self._data.decode(encoding or "utf-8")

    def raise_for_status(self) -> None:
        raise AssertionError("not called")


Responder = Callable[[ReceivedRequest, Any], "HttpAnswer | Awaitable[HttpAnswer]"]


class ScriptedTransport(AsyncHttpTransport[Any, Any]):
    """A transport whose answers a function gives."""

    def __init__(self, answer: Responder) -> None:
        self._answer = answer
        self.received: list[ReceivedRequest] = []

    async def send(self, request: Any, **_: Any) -> Any:
        form = request.data if isinstance(request.data, dict) else {}
        received = ReceivedRequest(request.method, request.url, dict(request.headers), form)
        self.received.append(received)
        answer = self._answer(received, request)
        return answer if isinstance(answer, HttpAnswer) else await answer

    def count(self, path: str) -> int:
        return sum(request.path == path for request in self.received)

    async def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""


def jwt(**claims: Any) -> str:
    """An unsigned JSON web token."""
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)
    )
    return ".".join((*parts, "c2lnbmF0dXJl"))


@asynccontextmanager
async def scripted_registry(
    answer: Callable[[ReceivedRequest, Any], HttpAnswer], *, pace: Pace | None = None
) -> AsyncIterator[tuple[AcrRegistry, ScriptedTransport]]:
    """A registry client whose answers a function gives; token requests are answered for it."""

    def with_tokens(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path == "/oauth2/exchange":
            return HttpAnswer(request, 200, {"refresh_token": jwt(exp=2**33)})
        if received.path == "/oauth2/token":
            return HttpAnswer(request, 200, {"access_token": jwt(exp=2**33)})
        return answer(received, request)

    transport = ScriptedTransport(with_tokens)
    async with open_registry(HOST, CountingCredential(), transport, pace=pace or instant_pace()) as registry:
        yield registry, transport
