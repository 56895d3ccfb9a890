"""A plain HTTPS client of the emulated registry. It requests tokens only on demand."""

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
class RegistryAnswer:
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
    """A client of the registry with at most one access token."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session
        self.base = f"https://{emulator.registry_url}"
        self.token: str | None = None

    async def refresh_token(self) -> str:
        """Return a refresh token of the registry, in exchange for an Entra ID token."""
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
        """
        Get an access token for the scopes, by default all, and send it with every further call.
        """
        form = {
            "grant_type": "refresh_token",
            "service": self.emulator.registry_url,
            "scope": " ".join(scopes or ("registry:catalog:*", "repository:*:*")),
            "refresh_token": await self.refresh_token(),
        }
        answer = await self.call("POST", "/oauth2/token", data=form)
        assert answer.status == 200, answer
        self.token = answer.json["access_token"]

    async def call(self, method: str, path: str, **options: Any) -> RegistryAnswer:
        """Send one request. The path is sent as it is, without encoding."""
        headers = dict(options.pop("headers", {}))
        if self.token is not None and not path.startswith("/oauth2/"):
            headers.setdefault("Authorization", f"Bearer {self.token}")
        url = URL(self.base + path, encoded=True)
        async with self.session.request(method, url, headers=headers, **options) as response:
            body = await response.read()
            json = None
            if "json" in response.content_type and body:
                json = await response.json(content_type=None)
            return RegistryAnswer(response.status, response.headers, body, json)

    async def get(self, path: str) -> RegistryAnswer:
        """Send a GET request."""
        return await self.call("GET", path)

    async def delete(self, path: str) -> RegistryAnswer:
        """Send a DELETE request."""
        return await self.call("DELETE", path)


@asynccontextmanager
async def registry_client(world: World, *, login: bool = True) -> AsyncIterator[RegistryClient]:
    """Start an emulator; yield a client of its registry. `login`: get a token for all scopes."""
    async with Emulator(world) as emulator:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=emulator.ca_file))
        async with aiohttp.ClientSession(connector=connector) as session:
            client = RegistryClient(emulator, session)
            if login:
                await client.login()
            yield client
