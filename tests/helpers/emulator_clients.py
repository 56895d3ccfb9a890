"""A plain HTTPS client of the emulated registry that fetches exactly the tokens it is told to."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from acr_cleanup.emulator import Emulator, World

REGISTRY_AUDIENCE = "https://containerregistry.azure.net"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the registry."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    @property
    def code(self) -> str:
        """The code of the first error in the body."""
        return str(self.json["errors"][0]["code"])


class RegistryClient:
    """Speaks to the registry under one access token; `scope` says what `login` asks for."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session
        self.base = f"https://{emulator.registry_url}"
        self.token: str | None = None

    async def refresh_token(self) -> str:
        """Exchanges an Entra ID token for a refresh token of the registry."""
        form = {
            "grant_type": "access_token",
            "service": self.emulator.registry_url,
            "access_token": self.emulator.authority.issue_token(
                REGISTRY_AUDIENCE, self.emulator.world.directory.client_id
            ),
        }
        answer = await self.call("POST", "/oauth2/exchange", data=form)
        assert answer.status == 200, answer
        return str(answer.json["refresh_token"])

    async def login(self, *scopes: str) -> None:
        """From now on every call carries an access token for the scopes."""
        form = {
            "grant_type": "refresh_token",
            "service": self.emulator.registry_url,
            "scope": " ".join(scopes or ("registry:catalog:*", "repository:*:*")),
            "refresh_token": await self.refresh_token(),
        }
        answer = await self.call("POST", "/oauth2/token", data=form)
        assert answer.status == 200, answer
        self.token = answer.json["access_token"]

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Sends one request, its path exactly as given."""
        headers = dict(options.pop("headers", {}))
        if self.token is not None and not path.startswith("/oauth2/"):
            headers.setdefault("Authorization", f"Bearer {self.token}")
        url = URL(self.base + path, encoded=True)
        async with self.session.request(method, url, headers=headers, **options) as response:
            body = await response.read()
            json = None
            if "json" in response.content_type and body:
                json = await response.json(content_type=None)
            return Answer(response.status, response.headers, body, json)

    async def get(self, path: str) -> Answer:
        """GET."""
        return await self.call("GET", path)

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self.call("DELETE", path)


@asynccontextmanager
async def registry_client(world: World, *, login: bool = True) -> AsyncIterator[RegistryClient]:
    """A started emulator and a client of its registry, by default allowed everything."""
    async with Emulator(world) as emulator:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=emulator.ca_file))
        async with aiohttp.ClientSession(connector=connector) as session:
            client = RegistryClient(emulator, session)
            if login:
                await client.login()
            yield client
