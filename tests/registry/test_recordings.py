"""
Real answers of a real registry, recorded by others, fed into the registry edge without any change.

Read from beside the project; nothing of them is part of it.
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
    """The exchanges of one recording."""
    found = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["interactions"]
    assert isinstance(found, list)
    return found


def recorded(method: str, suffix: str, status: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every recorded answer to a request with this method and path ending, with its URL."""
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
    """The recorded answer; content-length is that of the wire, not of the text that the recorder wrote down."""
    headers = {
        name: value if isinstance(value, str) else ", ".join(value)
        for name, value in response["headers"].items()
        if name.lower() not in ("content-length", "content-encoding")
    }
    body = response["body"].get("string") or ""
    return HttpAnswer(request, _status(response), body if isinstance(body, bytes) else body.encode(), headers)


async def test_recorded_pages_of_tags_are_read_whole() -> None:
    pages = list(recorded("GET", "/_tags", 200))
    pages = [(url, response) for url, response in pages if urlsplit(url).path.endswith("/_tags")]
    assert pages
    for url, response in pages:
        body = json.loads(response["body"]["string"])

        def answer(asked: ReceivedRequest, request: Any, response: dict[str, Any] = response) -> HttpAnswer:
            first = asked.path.endswith("/_tags") and "last=" not in asked.url
            return replay(response, request) if first else HttpAnswer(request, 200, {"manifests": [], "tags": []})

        async with scripted_registry(answer) as (registry, _):
            inventory = await registry.list_repository(body["imageName"])
        tags = {tag.name: tag for tag in inventory.tags}
        assert set(tags) == {tag["name"] for tag in body["tags"]}, url
        for each in body["tags"]:
            tag = tags[each["name"]]
            assert tag.digest == each["digest"]
            assert tag.updated_at is not None
            assert tag.updated_at.isoformat().startswith(each["lastUpdateTime"][:19])
            assert tag.locked is not (
                each["changeableAttributes"]["deleteEnabled"] and each["changeableAttributes"]["writeEnabled"]
            )


async def test_recorded_pages_of_manifests_are_read_whole() -> None:
    pages = [each for each in recorded("GET", "/_manifests", 200) if urlsplit(each[0]).path.endswith("/_manifests")]
    assert pages
    for url, response in pages:
        body = json.loads(response["body"]["string"])

        def answer(asked: ReceivedRequest, request: Any, response: dict[str, Any] = response) -> HttpAnswer:
            first = asked.path.endswith("/_manifests") and "last=" not in asked.url
            return replay(response, request) if first else HttpAnswer(request, 200, {"manifests": [], "tags": []})

        async with scripted_registry(answer) as (registry, _):
            inventory = await registry.list_repository(body["imageName"])
        assert set(inventory.manifests) == {each["digest"] for each in body["manifests"]}, url
        for each in body["manifests"]:
            manifest = inventory.manifests[Digest(each["digest"])]
            assert manifest.media_type == each["mediaType"]
            assert manifest.config_media_type == each.get("configMediaType", "")
            assert manifest.size == each.get("imageSize", 0)
            assert manifest.updated_at is not None
            assert manifest.is_index is ("list" in each["mediaType"] or "index" in each["mediaType"])
            platform = f"{each.get('os', '')}/{each.get('architecture', '')}"
            assert manifest.platform == (platform if each.get("os") and each.get("architecture") else "")


async def test_the_recorded_catalog_is_followed_page_by_page() -> None:
    """33 pages of two names each, with the registry's own Link headers."""
    file = RECORDINGS / "test_container_registry_client.test_list_repository_names_by_page.yaml"
    pages = [
        (request["uri"], exchange["response"])
        for exchange in interactions(file)
        if (request := exchange["request"])["method"] == "GET" and exchange["response"]["status"]["code"] == 200
    ]
    # One test run listed twice; the second time tells nothing new.
    by_last = {parse_qs(urlsplit(url).query).get("last", [""])[0]: response for url, response in pages}

    def answer(asked: ReceivedRequest, request: Any) -> HttpAnswer:
        return replay(by_last[parse_qs(urlsplit(asked.url).query).get("last", [""])[0]], request)

    async with scripted_registry(answer) as (registry, transport):
        names = await registry.catalog()
    expected = [
        name for response in by_last.values() for name in json.loads(response["body"]["string"])["repositories"]
    ]
    assert len(names) > 20
    assert list(names) == expected
    assert transport.count("/acr/v1/_catalog") == len(by_last)


async def test_the_recorded_attributes_of_one_manifest_are_read() -> None:
    found = [
        (url, response)
        for url, response in recorded("GET", "/_manifests/", 200)
        if "manifest" in json.loads(response["body"]["string"])
    ]
    assert found
    for _, response in found:
        body = json.loads(response["body"]["string"])
        digest = body["manifest"]["digest"]

        def answer(
            asked: ReceivedRequest, request: Any, response: dict[str, Any] = response, digest: str = digest
        ) -> HttpAnswer:
            if asked.path.endswith("/_tags"):
                return HttpAnswer(request, 200, {"tags": [{"name": "named", "digest": digest}]})
            if asked.path.endswith("/_manifests"):
                return HttpAnswer(request, 200, {"manifests": []})
            if "/_manifests/" in asked.path:
                return replay(response, request)
            return HttpAnswer(request, 404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})

        async with scripted_registry(answer) as (registry, _):
            inventory = await registry.read_edges(await registry.list_repository(body["imageName"]))
        assert inventory.manifests[Digest(digest)].media_type == body["manifest"]["mediaType"]


async def test_recorded_deletions_are_deletions() -> None:
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
            assert len(transport.asked) < 20


async def test_the_transcribed_405_means_locked() -> None:
    file = RECORDINGS.parent / "acr-errors" / "405_locked_delete.json"
    body = json.loads(file.read_text())["body"]
    async with scripted_registry(lambda _, request: HttpAnswer(request, 405, body)) as (registry, _):
        assert await registry.untag("a", "1") is OutcomeKind.LOCKED
        with pytest.raises(NotListed):
            await registry.list_repository("a")
        with pytest.raises(RegistryError):
            await registry.catalog()
