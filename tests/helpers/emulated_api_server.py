"""A world with one cluster, a client of its API server, and captured answers of a real server."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes.state import DEFINITIONS, ClusterState
from tests.helpers.paths import DATA, SHARED

_PLACES = (DATA / "kubernetes", SHARED / "kubernetes")
JSON_ACCEPT = "application/json"


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """One answer of an API server."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class ApiClient:
    """A client of one emulated API server. It sends `token`, by default that of the cluster."""

    def __init__(self, emulator: Emulator, cluster: ClusterState, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.cluster = cluster
        self.session = session
        self.token: str | None = cluster.token

    async def get(self, path: str, *, accept: str = JSON_ACCEPT, method: str = "GET", **options: Any) -> ApiAnswer:
        """Send one request. The path may include a query."""
        headers = {"Accept": accept, "Accept-Encoding": "identity", **options.pop("headers", {})}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        url = self.emulator.kubernetes_url(self.cluster) + path
        async with self.session.request(method, url, headers=headers, auto_decompress=False, **options) as response:
            return ApiAnswer(response.status, response.headers, await response.read())

    async def walk(self, path: str, limit: int) -> list[Any]:
        """Return all pages of a list."""
        pages: list[Any] = []
        token = ""
        while True:
            query = f"?limit={limit}" + (f"&continue={token}" if token else "")
            answer = await self.get(path + query)
            assert answer.status == 200, answer.body
            pages.append(answer.json)
            token = answer.json["metadata"].get("continue", "")
            if not token:
                return pages


@asynccontextmanager
async def api_of(cluster: ClusterState) -> AsyncIterator[ApiClient]:
    """Start a world with one cluster; yield a client of its API server."""
    world = World(clusters={cluster.name: cluster})
    async with Emulator(world) as emulator:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=emulator.ca_file))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield ApiClient(emulator, cluster, session)


class Captured:
    """The captured answers of a real API server, by file name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        index = json.loads((folder / "INDEX.json").read_text())
        self.entries: dict[str, Any] = {entry["file"].removeprefix("responses/"): entry for entry in index}

    def text(self, name: str) -> str:
        """Return the body of an answer."""
        return (self._folder / "responses" / name).read_text()

    def json(self, name: str) -> Any:
        """Return the body of an answer as JSON."""
        return json.loads(self.text(name))

    def headers(self, name: str) -> dict[str, str]:
        """Return the headers of an answer."""
        return dict(self.entries[name]["response_headers"])

    def cluster(self) -> ClusterState:
        """Return a cluster with all captured objects."""
        cluster = ClusterState("captured", auth="token")
        for name, entry in self.entries.items():
            if not name.startswith("list/") or entry["query"] or not name.endswith(".json"):
                continue
            page = self.json(name)
            if page["kind"].endswith("List") and "items" in page and "/namespaces/" not in entry["path"]:
                _store(cluster, page, entry["path"])
        return cluster


def _store(cluster: ClusterState, page: Any, path: str) -> None:
    if page["kind"] == "PartialObjectMetadataList":
        return
    group = page["apiVersion"].rpartition("/")[0]
    plural = path.rpartition("/")[2]
    key = f"{plural}.{group}" if group else plural
    kind = page["kind"].removesuffix("List")
    cluster.objects[key] = [{"apiVersion": page["apiVersion"], "kind": kind, **item} for item in page["items"]]
    assert key != DEFINITIONS or page["items"]


def captured() -> Captured:
    """Return the captured answers; skip the test if they are missing."""
    for place in _PLACES:
        if (place / "INDEX.json").exists():
            return Captured(place)
    pytest.skip("the captured answers of an API server (shared/data/kubernetes) are missing")


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    """Yield the path of each key in a value, such as `.items[].kind`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{prefix}.{key}"
            yield from keys(inner, f"{prefix}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{prefix}[]")
