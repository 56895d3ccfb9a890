"""
Recorded responses of a real registry, given to our registry client unchanged.

They are public material next to the project, not a part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.errors import NotListed, RegistryError, RegistryForbidden
from tests.helpers.paths import SHARED
from tests.helpers.registry_clients import HttpAnswer, ReceivedRequest, scripted_registry

RECORDINGS = SHARED / "acr-wire" / "acr-recordings"

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"the public recordings are not at {RECORDINGS}"),
]


@cache
def interactions(file: Path) -> list[dict[str, Any]]:
    """All exchanges of one recording."""
    exchanges = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["interactions"]
    assert isinstance(exchanges, list)
    return exchanges


def recorded(method: str, suffix: str, status: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """
    All recorded responses to requests with this method and this text in the path, with their URLs.
    """
    for file in sorted(RECORDINGS.glob("*.yaml")):
        for exchange in interactions(file):
            request, response = exchange["request"], exchange["response"]
            path = urlsplit(request["uri"]).path
            if request["method"] == method and suffix in path and status in (None, _status(response)):
                yield request["uri"], response


def _status(response: dict[str, Any]) -> int:
    code = response["status"]["code"]
    assert isinstance(code, int)
    return code


def replay(response: dict[str, Any], request: Any) -> HttpAnswer:
    """
    The recorded response.

    Its content-length is left out: it counts the bytes on the wire, not those of the decoded text.
    """
    headers = {
        name: value if isinstance(value, str) else ", ".join(value)
        for name, value in response["headers"].items()
        if name.lower() not in ("content-length", "content-encoding")
    }
    body = response["body"].get("string") or ""
    return HttpAnswer(request, _status(response), body if isinstance(body, bytes) else body.encode(), headers)


async def test_recorded_tag_pages_are_read() -> None:
    pages = list(recorded("GET", "/_tags", 200))
    pages = [(url, response) for url, response in pages if urlsplit(url).path.endswith("/_tags")]
    assert pages
    for url, response in pages:
        body = json.loads(response["body"]["string"])

        def answer(received: ReceivedRequest, request: Any, response: dict[str, Any] = response) -> HttpAnswer:
            first = received.path.endswith("/_tags") and "last=" not in received.url
            return replay(response, request) if first else HttpAnswer(request, 200, {"manifests": [], "tags": []})

        async with scripted_registry(answer) as (registry, _):
            inventory = await registry.list_repository(body["imageName"])
        tags = {tag.name: tag for tag in inventory.tags}
        assert set(tags) == {tag["name"] for tag in body["tags"]}, url
        for expected in body["tags"]:
            tag = tags[expected["name"]]
            assert tag.digest == expected["digest"]
            assert tag.updated_at is not None
            assert tag.updated_at.isoformat().startswith(expected["lastUpdateTime"][:19])
            assert tag.locked is not (
                expected["changeableAttributes"]["deleteEnabled"] and expected["changeableAttributes"]["writeEnabled"]
            )


async def test_recorded_manifest_pages_are_read() -> None:
    pages = [page for page in recorded("GET", "/_manifests", 200) if urlsplit(page[0]).path.endswith("/_manifests")]
    assert pages
    for url, response in pages:
        body = json.loads(response["body"]["string"])

        def answer(received: ReceivedRequest, request: Any, response: dict[str, Any] = response) -> HttpAnswer:
            first = received.path.endswith("/_manifests") and "last=" not in received.url
            return replay(response, request) if first else HttpAnswer(request, 200, {"manifests": [], "tags": []})

        async with scripted_registry(answer) as (registry, _):
            inventory = await registry.list_repository(body["imageName"])
        assert set(inventory.manifests) == {manifest["digest"] for manifest in body["manifests"]}, url
        for expected in body["manifests"]:
            manifest = inventory.manifests[Digest(expected["digest"])]
            assert manifest.media_type == expected["mediaType"]
            assert manifest.config_media_type == expected.get("configMediaType", "")
            assert manifest.size == expected.get("imageSize", 0)
            assert manifest.updated_at is not None
            assert manifest.is_index is ("list" in expected["mediaType"] or "index" in expected["mediaType"])
            platform = f"{expected.get('os', '')}/{expected.get('architecture', '')}"
            assert manifest.platform == (platform if expected.get("os") and expected.get("architecture") else "")


async def test_recorded_catalog_is_read_page_by_page() -> None:
    """33 pages of two names each, with the registry's own Link headers."""
    file = RECORDINGS / "test_container_registry_client.test_list_repository_names_by_page.yaml"
    pages = [
        (request["uri"], exchange["response"])
        for exchange in interactions(file)
        if (request := exchange["request"])["method"] == "GET" and exchange["response"]["status"]["code"] == 200
    ]
    # One test run listed twice, with the same result.
    by_last = {parse_qs(urlsplit(url).query).get("last", [""])[0]: response for url, response in pages}

    def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        return replay(by_last[parse_qs(urlsplit(received.url).query).get("last", [""])[0]], request)

    async with scripted_registry(answer) as (registry, transport):
        names = await registry.catalog()
    expected = [
        name for response in by_last.values() for name in json.loads(response["body"]["string"])["repositories"]
    ]
    assert len(names) > 20
    assert list(names) == expected
    assert transport.count("/acr/v1/_catalog") == len(by_last)


async def test_recorded_manifest_attributes_are_read() -> None:
    responses = [
        response
        for _, response in recorded("GET", "/_manifests/", 200)
        if "manifest" in json.loads(response["body"]["string"])
    ]
    assert responses
    for response in responses:
        body = json.loads(response["body"]["string"])
        digest = body["manifest"]["digest"]

        def answer(
            received: ReceivedRequest, request: Any, response: dict[str, Any] = response, digest: str = digest
        ) -> HttpAnswer:
            if received.path.endswith("/_tags"):
                return HttpAnswer(request, 200, {"tags": [{"name": "named", "digest": digest}]})
            if received.path.endswith("/_manifests"):
                return HttpAnswer(request, 200, {"manifests": []})
            if "/_manifests/" in received.path:
                return replay(response, request)
            return HttpAnswer(request, 404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})

        async with scripted_registry(answer) as (registry, _):
            inventory = await registry.read_edges(await registry.list_repository(body["imageName"]))
        assert inventory.manifests[Digest(digest)].media_type == body["manifest"]["mediaType"]


async def test_recorded_202_means_deleted() -> None:
    for kind, suffix in (("tag", "/_tags/"), ("manifest", "/manifests/")):
        replies = list(recorded("DELETE", suffix, 202))
        if kind == "tag":
            assert replies
        for _, response in replies:

            def answer(_: ReceivedRequest, request: Any, response: dict[str, Any] = response) -> HttpAnswer:
                return replay(response, request)

            async with scripted_registry(answer) as (registry, _):
                outcome = (
                    await registry.untag("a", "1")
                    if kind == "tag"
                    else await registry.delete_manifest("a", Digest("sha256:" + "0" * 64))
                )
            assert outcome is OutcomeKind.DELETED


async def test_recorded_404s_mean_gone_or_empty() -> None:
    replies = list(recorded("DELETE", "/acr/v1/", 404)) + list(recorded("GET", "/acr/v1/", 404))
    assert {response["body"]["string"][:10] for _, response in replies} >= {"404 page n"}
    for _, response in replies:

        def answer(_: ReceivedRequest, request: Any, response: dict[str, Any] = response) -> HttpAnswer:
            return replay(response, request)

        async with scripted_registry(answer) as (registry, _):
            assert await registry.untag("a", "1") is OutcomeKind.GONE
            assert (await registry.list_repository("a")).tags == ()


async def test_recorded_401s_name_the_missing_role() -> None:
    replies = list(recorded("GET", "/acr/v1/", 401))
    assert replies
    for _, response in replies[:5]:

        def answer(_: ReceivedRequest, request: Any, response: dict[str, Any] = response) -> HttpAnswer:
            return replay(response, request)

        async with scripted_registry(answer) as (registry, transport):
            with pytest.raises(RegistryForbidden, match=r"rights are missing: 401.*AcrPull"):
                await registry.list_repository("a")
            assert len(transport.received) < 20


async def test_transcribed_405_means_locked() -> None:
    file = RECORDINGS.parent / "acr-errors" / "405_locked_delete.json"
    body = json.loads(file.read_text())["body"]
    async with scripted_registry(lambda _, request: HttpAnswer(request, 405, body)) as (registry, _):
        assert await registry.untag("a", "1") is OutcomeKind.LOCKED
        with pytest.raises(NotListed):
            await registry.list_repository("a")
        with pytest.raises(RegistryError):
            await registry.catalog()
