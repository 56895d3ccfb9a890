"""
The emulated registry against recordings of a real one.

Each recording is replayed. The world is filled with the content that the recorded answers show. The
same requests are sent in the same order. Each answer must have the recorded status, headers and
body.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from acr_cleanup.emulator import World
from acr_cleanup.emulator.registry.repository import DOCKER_LIST, Attributes, ManifestState, RepositoryState, TagState
from tests.helpers.emulator_clients import RegistryAnswer, RegistryClient, registry_client
from tests.helpers.paths import SHARED

FOLDER = SHARED / "acr-wire/acr-recordings"
FILES = sorted(FOLDER.glob("*.yaml")) if FOLDER.exists() else []

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not FILES, reason=f"the public recordings {FOLDER} are missing"),
]

# Headers of the transport, and the date.
UNCOMPARED_HEADERS = {"date", "connection", "content-length", "transfer-encoding"}
LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)


class Exchange:
    """One recorded request and its answer."""

    def __init__(self, recorded: dict[str, Any]) -> None:
        request, response = recorded["request"], recorded["response"]
        self.method: str = request["method"]
        url = urlsplit(request.get("uri") or request["url"])
        self.path = url.path + (f"?{url.query}" if url.query else "")
        self.request_body = request.get("body")
        status = response["status"]
        self.status: int = status["code"] if isinstance(status, dict) else status
        self.headers = {
            name.lower(): value if isinstance(value, str) else value[0] for name, value in response["headers"].items()
        }
        body = response["body"]
        self.text: str = body["string"] if isinstance(body, dict) else body
        self.json: Any = json.loads(self.text) if self.text.startswith("{") else None

    @property
    def repository(self) -> str:
        match = re.match(r"/(?:acr/v1|v2)/([^/?]+)", self.path)
        return unquote(match[1]) if match is not None else ""


def exchanges(file: Path) -> list[Exchange]:
    return [Exchange(item) for item in yaml.safe_load(file.read_text(encoding="utf-8"))["interactions"]]


def moment(text: str) -> datetime:
    # Python cannot parse a seventh digit.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d", r"\1", text))


def add_manifest(state: RepositoryState, shown: dict[str, Any]) -> None:
    """Add a manifest with the recorded digest, which is not the digest of its body."""
    children = [
        {
            "digest": child["digest"],
            "platform": {"architecture": child["architecture"], "os": child["os"]},
        }
        for child in shown.get("references", ())
    ]
    state.manifests[shown["digest"]] = ManifestState(
        digest=shown["digest"],
        body=json.dumps({"manifests": children}).encode(),
        media_type=shown["mediaType"],
        size=shown["imageSize"],
        created=moment(shown["createdTime"]),
        updated=moment(shown["lastUpdateTime"]),
        architecture=shown.get("architecture"),
        os=shown.get("os"),
        tags=dict.fromkeys(shown.get("tags", ())),
    )


def add_unlisted(state: RepositoryState, digest: str) -> ManifestState:
    """Return a manifest that a recorded tag names; add it, unlisted, if no recorded list has it."""
    return state.manifests.setdefault(
        digest, ManifestState(digest, b"{}", DOCKER_LIST, 0, LONG_AGO, LONG_AGO, attributes=Attributes(list=False))
    )


def add_tag(state: RepositoryState, name: str, digest: str, created: datetime, updated: datetime) -> None:
    state.tags[name] = TagState(name, digest, created, updated)
    add_unlisted(state, digest).tags[name] = None


def fill(world: World, recorded: list[Exchange]) -> None:
    """Fill the world with the content that the recorded answers show."""
    repositories = world.registry.repositories
    for exchange in recorded:
        if exchange.status >= 300 or exchange.path.startswith("/oauth2/"):
            continue
        shown = exchange.json or {}
        for name in shown.get("repositories", ()):
            repositories.setdefault(name, RepositoryState(name, LONG_AGO, LONG_AGO))
        if exchange.repository == "_catalog":
            continue
        state = repositories.setdefault(exchange.repository, RepositoryState(exchange.repository, LONG_AGO, LONG_AGO))
        if "manifestCount" in shown:
            state.created, state.updated = moment(shown["createdTime"]), moment(shown["lastUpdateTime"])
        for manifest in (*shown.get("manifests", ()), *filter(None, [shown.get("manifest")])):
            add_manifest(state, manifest)
        for digest in shown.get("manifestsDeleted", ()):
            add_unlisted(state, digest)
        for name in shown.get("tagsDeleted", ()):
            add_tag(state, name, shown["manifestsDeleted"][0], LONG_AGO, LONG_AGO)
        for tag in (*shown.get("tags", ()), *filter(None, [shown.get("tag")])):
            add_tag(state, tag["name"], tag["digest"], moment(tag["createdTime"]), moment(tag["lastUpdateTime"]))
        deleted = exchange.headers.get("x-ms-int-docker-content-digest")
        if deleted is not None:
            add_tag(state, exchange.path.rpartition("/")[2], deleted, LONG_AGO, LONG_AGO)


def comparable(body: Any, host: str) -> Any:
    """
    Return a body without the fields that the emulator cannot know or that are newer than the
    recording.
    """
    if isinstance(body, dict):
        unknown = {"manifestCount", "tagCount", "configMediaType"}
        return {key: comparable(value, host) for key, value in body.items() if key not in unknown}
    if isinstance(body, list):
        return [comparable(item, host) for item in body]
    if isinstance(body, str):
        # Compare times to the microsecond, and other text literally.
        return moment(body) if re.fullmatch(r"[\dT:.-]+Z", body) else body.replace(host, "HOST")
    return body


async def replay(registry: RegistryClient, exchange: Exchange) -> RegistryAnswer:
    body = exchange.request_body
    if exchange.status == 401:
        # The SDK sent this request without a token, or with an invalid one.
        token, registry.token = registry.token, None
        try:
            return await registry.call(exchange.method, exchange.path, data=body)
        finally:
            registry.token = token
    return await registry.call(exchange.method, exchange.path, data=body)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_recorded_requests_get_recorded_answers(file: Path) -> None:
    recorded = exchanges(file)
    world = World()
    async with registry_client(world) as registry:
        fill(world, recorded)
        for exchange in recorded:
            if exchange.path.startswith("/oauth2/"):
                continue
            request = f"{exchange.method} {exchange.path}"
            answer = await replay(registry, exchange)
            assert answer.status == exchange.status, request
            assert comparable(answer.json, registry.emulator.registry_url) == comparable(
                exchange.json, "fake_url.azurecr.io"
            ), request
            ours = {name.lower(): value for name, value in answer.headers.items()}
            assert exchange.headers.keys() - ours.keys() <= UNCOMPARED_HEADERS, request
            for header in ("content-type", "docker-distribution-api-version", "x-ms-int-docker-content-digest", "link"):
                assert ours.get(header) == exchange.headers.get(header), request
            if exchange.json is None:
                assert answer.body.decode().strip() == exchange.text.strip()


def test_recordings_include_every_used_operation() -> None:
    """Without this, a replay of no requests would pass."""
    requests = {
        (exchange.method, re.sub(r"(_tags|_manifests|manifests)/.*", r"\1/X", exchange.path.partition("?")[0]))
        for file in FILES
        for exchange in exchanges(file)
        if exchange.status < 300
    }
    kinds = {(method, re.sub(r"^/acr/v1/[^_/][^/]*", "/acr/v1/R", path)) for method, path in requests}
    assert {
        ("GET", "/acr/v1/_catalog"),
        ("GET", "/acr/v1/R"),
        ("PATCH", "/acr/v1/R"),
        ("DELETE", "/acr/v1/R"),
        ("GET", "/acr/v1/R/_tags"),
        ("GET", "/acr/v1/R/_tags/X"),
        ("PATCH", "/acr/v1/R/_tags/X"),
        ("DELETE", "/acr/v1/R/_tags/X"),
        ("GET", "/acr/v1/R/_manifests"),
        ("GET", "/acr/v1/R/_manifests/X"),
    } <= kinds
