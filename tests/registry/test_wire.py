"""The registry's JSON, as it is documented and as it should not be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from acr_cleanup.core.inventory import Lock, Manifest
from acr_cleanup.core.references import Digest
from acr_cleanup.core.space import Content
from acr_cleanup.errors import NotListed, RegistryError
from acr_cleanup.registry import wire
from tests.helpers.registry_clients import HttpAnswer, scripted_registry

ONE = Digest("sha256:" + "1" * 64)
TWO = Digest("sha256:" + "2" * 64)


def tag(**fields: Any) -> Any:
    return wire.read_tags(json.dumps({"tags": [{"name": "1.0", "digest": ONE, **fields}]}).encode())["1.0"]


def listed(**fields: Any) -> Manifest:
    page = json.dumps({"manifests": [{"digest": ONE, **fields}]}).encode()
    return wire.read_manifests(page)[ONE].manifest


def repository(**fields: Any) -> bool:
    return wire.read_repository(json.dumps({"imageName": "shop/web", **fields}).encode(), "shop/web")[0]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2021-05-13T16:00:26.9280451Z", datetime(2021, 5, 13, 16, 0, 26, 928045, UTC)),
        ("2021-05-13T16:00:26Z", datetime(2021, 5, 13, 16, 0, 26, 0, UTC)),
        ("2021-05-13T18:00:26+02:00", datetime(2021, 5, 13, 16, 0, 26, 0, UTC)),
        # What cannot be trusted is no time, and a tag without one is kept.
        ("0001-01-01T00:00:00Z", None),
        ("2021-05-13T16:00:26", None),
        ("2021-05-13", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1620921626, None),
        ({}, None),
    ],
)
def test_times(text: Any, moment: datetime | None) -> None:
    assert tag(lastUpdateTime=text).updated_at == moment
    assert listed(lastUpdateTime=text).updated_at == moment


@pytest.mark.parametrize(
    ("attributes", "locked"),
    [
        ({}, False),
        (None, False),
        ({"deleteEnabled": True, "writeEnabled": True, "listEnabled": False, "readEnabled": False}, False),
        ({"deleteEnabled": None, "writeEnabled": None}, False),
        ({"deleteEnabled": False, "writeEnabled": True}, True),
        ({"deleteEnabled": True, "writeEnabled": False}, True),
        # Nobody knows what that means; so it is left alone.
        ({"deleteEnabled": "false"}, True),
        ({"writeEnabled": 0}, True),
    ],
)
def test_locks(attributes: Any, locked: bool) -> None:
    assert tag(changeableAttributes=attributes).locked is locked
    assert listed(changeableAttributes=attributes).locked is locked
    assert repository(changeableAttributes=attributes) is locked


@pytest.mark.parametrize("delete", [True, False])
@pytest.mark.parametrize("write", [True, False])
def test_locks_are_remembered_as_they_were_so_that_they_can_be_put_back(delete: bool, write: bool) -> None:
    attributes = {"deleteEnabled": delete, "writeEnabled": write, "listEnabled": True}
    unlocked = delete and write
    assert tag(changeableAttributes=attributes).lock == (None if unlocked else Lock("1.0", delete, write))
    assert listed(changeableAttributes=attributes).lock == (None if unlocked else Lock(None, delete, write))


@pytest.mark.parametrize("strange", ["false", 0, 1, [], {}])
def test_a_lock_that_could_not_be_put_back_is_none_that_can_be_taken_off(strange: Any) -> None:
    found = tag(changeableAttributes={"deleteEnabled": strange, "writeEnabled": False})
    assert (found.locked, found.lock) == (True, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        b'{"imageName": "shop/api"}',
        b'{"imageName": "shop/web", "changeableAttributes": 1}',
    ],
)
def test_a_repository_whose_lock_cannot_be_told_is_unreadable(body: bytes) -> None:
    """A lock must not be overlooked."""
    with pytest.raises(wire.MalformedAnswer):
        wire.read_repository(body, "shop/web")


def test_nothing_but_name_and_digest_is_needed() -> None:
    assert (tag().updated_at, tag().locked) == (None, False)
    assert listed() == Manifest(ONE)


@pytest.mark.parametrize(
    ("os", "architecture", "platform"),
    [
        ("linux", "arm64", "linux/arm64"),
        ("unknown", "unknown", ""),
        ("linux", None, ""),
        (None, None, ""),
        ("", "", ""),
        (1, [], ""),
    ],
)
def test_platforms(os: Any, architecture: Any, platform: str) -> None:
    assert listed(os=os, architecture=architecture).platform == platform


@pytest.mark.parametrize(
    ("size", "bytes_"), [(0, 0), (2**40, 2**40), (-1, 0), (None, 0), ("7", 0), (True, 0), (1.5, 0)]
)
def test_sizes(size: Any, bytes_: int) -> None:
    assert listed(imageSize=size).size == bytes_


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"errors": []}',
        b'{"tags": {}, "manifests": {}}',
        b'{"tags": [null], "manifests": [null]}',
        b'{"tags": [{}], "manifests": [{}]}',
        b'{"tags": [{"name": "x"}], "manifests": [{"mediaType": "x"}]}',
        b'{"tags": [{"name": "x", "digest": null}], "manifests": [{"digest": null}]}',
        b'{"tags": [{"name": "x", "digest": "sha256:12"}], "manifests": [{"digest": "latest"}]}',
        b'{"tags": ["x"], "manifests": ["x"]}',
        b'{"tags": [\xff\xfe], "manifests": [\xff]}',
        b'{"tags": [], "manifests": []',
        b"[" * 100_000,
        b'{"a": ' * 100_000,
    ],
)
def test_pages_that_are_none_are_unreadable(body: bytes) -> None:
    """Never an exception of another kind, and never an empty list."""
    for read in (wire.read_tags, wire.read_manifests, wire.read_repositories, wire.read_manifest):
        with pytest.raises(wire.MalformedAnswer):
            read(body)


def test_a_list_that_go_left_nil_is_empty() -> None:
    assert wire.read_tags(b'{"tags": null}') == {}
    assert wire.read_manifests(b'{"manifests": null}') == {}
    assert wire.read_repositories(b'{"repositories": null}') == {}


def edges(document: Any, content_type: str = "") -> wire.ManifestBody:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return wire.read_body(body, Digest(f"sha256:{hashlib.sha256(body).hexdigest()}"), content_type)


def test_edges_of_an_index_and_of_a_referrer() -> None:
    index = edges(
        {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"digest": ONE}, {"digest": TWO}]}
    )
    assert (index.children, index.subject) == ((ONE, TWO), None)
    assert index.media_type == "application/vnd.oci.image.index.v1+json"
    referrer = edges({"config": {"mediaType": "application/vnd.oci.empty.v1+json"}, "subject": {"digest": TWO}})
    assert (referrer.children, referrer.subject) == ((), TWO)
    assert referrer.config_media_type == "application/vnd.oci.empty.v1+json"


def test_a_document_without_media_type_takes_that_of_its_answer() -> None:
    index = edges({"manifests": []}, "application/vnd.oci.image.index.v1+json; charset=utf-8")
    assert index.media_type == "application/vnd.oci.image.index.v1+json"
    listed_as = "application/vnd.oci.image.manifest.v1+json"
    kept = edges({"manifests": None, "subject": None}, "application/json").of(Manifest(ONE, listed_as))
    assert (kept.media_type, kept.known) == (listed_as, True)


@pytest.mark.parametrize("media_type", ["application/vnd.example.future.manifest.v9+json", "", "text/plain"])
def test_a_media_type_nobody_knows_stays_unknown_whatever_its_body_says(media_type: str) -> None:
    """It might refer to other manifests in ways of its own."""
    read = edges({"mediaType": media_type, "manifests": [{"digest": TWO}]}).of(Manifest(ONE, media_type))
    assert (read.known, read.children) == (False, (TWO,))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        {"manifests": {}},
        {"manifests": [{}]},
        {"manifests": [{"digest": "x"}]},
        {"manifests": [None]},
        {"subject": "x"},
        {"subject": {"digest": 1}},
        {"config": []},
    ],
)
def test_a_document_with_strange_edges_is_unreadable(document: Any) -> None:
    with pytest.raises(wire.MalformedAnswer):
        edges(document)


def test_a_body_is_believed_only_under_its_own_digest() -> None:
    with pytest.raises(wire.MalformedAnswer, match="digest"):
        wire.read_body(b'{"manifests": []}', ONE, "")


# -- whole answers


NONE: dict[str, Any] = {"tags": [], "manifests": []}


@pytest.mark.parametrize(
    "link",
    [
        '<https://evil.example/acr/v1/shop%2Fweb/_tags?last=a>; rel="next"',
        '<http://contoso.azurecr.io/acr/v1/shop%2Fweb/_tags?last=a>; rel="next"',
        '<//evil.example/acr/v1/shop%2Fweb/_tags?last=a>; rel="next"',
        '</acr/v1/shop%2Fother/_tags?last=a>; rel="next"',
        '</acr/v1/shop%2Fweb/_tags>; rel="next"',
        "<>",
        "nonsense",
        '</acr/v1/shop%2Fweb/_tags?last=a>; rel="previous"',
        '<https://[bad/_tags?last=a>; rel="next"',
    ],
)
async def test_a_link_that_leads_elsewhere_fails_the_repository(link: str) -> None:
    def answer(asked: Any, request: Any) -> HttpAnswer:
        page = {"tags": [{"name": "a", "digest": ONE}], "manifests": []}
        return HttpAnswer(request, 200, page, {"Link": link} if asked.path.endswith("_tags") else {})

    async with scripted_registry(answer) as (registry, transport):
        with pytest.raises(NotListed, match=r"[Ll]ink"):
            await registry.list_repository("shop/web")
        assert transport.count("/acr/v1/shop%2Fweb/_tags") == 1


@pytest.mark.parametrize(
    "where",
    ["/acr/v1/shop%2Fweb/_tags", "/acr/v1/shop/web/_tags", "https://contoso.azurecr.io/acr/v1/shop%2fweb/_tags"],
)
async def test_a_link_may_be_spelled_in_several_ways(where: str) -> None:
    def answer(asked: Any, request: Any) -> HttpAnswer:
        first = "last=" not in asked.url
        page = {"tags": [{"name": "a" if first else "b{c}", "digest": ONE}], "manifests": []}
        linked = first and asked.path.endswith("_tags")
        return HttpAnswer(
            request, 200, page, {"Link": f'<{where}?last={{a}}&n=1000&orderby=>; rel="next"'} if linked else {}
        )

    async with scripted_registry(answer) as (registry, _):
        inventory = await registry.list_repository("shop/web")
    assert [tag.name for tag in inventory.tags] == ["a", "b{c}"]


@pytest.mark.parametrize("links", [lambda _: "a", str], ids=["the same link", "ever new links"])
async def test_pages_that_go_round_in_circles_end(links: Callable[[int], str]) -> None:
    asked_before = 0

    def answer(asked: Any, request: Any) -> HttpAnswer:
        nonlocal asked_before
        asked_before += 1
        if asked_before > 100:
            raise AssertionError("it never ends")
        page = {"tags": [{"name": "a", "digest": ONE}], "manifests": []}
        return HttpAnswer(request, 200, page, {"Link": f'<{asked.path}?last={links(asked_before)}>; rel="next"'})

    async with scripted_registry(answer) as (registry, _):
        with pytest.raises(NotListed, match="its pages repeat"):
            await registry.list_repository("shop/web")


async def test_an_answer_without_end_is_not_swallowed_whole() -> None:
    class Endless(HttpAnswer):
        async def iter_bytes(self) -> Any:
            while True:
                yield b"x" * (8 * 1024 * 1024)

    async with scripted_registry(lambda _, request: Endless(request)) as (registry, _):
        with pytest.raises(NotListed, match="larger than 64 MiB"):
            await registry.list_repository("shop/web")


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in pieces"])
async def test_a_manifest_larger_than_any_can_be_stays_unknown_though_its_digest_is_right(told: bool) -> None:
    body = json.dumps({"manifests": [], "annotations": {"x": "x" * 4 * 1024 * 1024}}).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    index = {"digest": digest, "mediaType": "application/vnd.oci.image.index.v1+json"}

    def answer(asked: Any, request: Any) -> HttpAnswer:
        if asked.path.startswith("/v2/"):
            return HttpAnswer(request, 200, body, {"Content-Length": str(len(body))} if told else {})
        return HttpAnswer(request, 200, {"manifests": [index], "tags": [], "imageName": "shop/web"})

    async with scripted_registry(answer) as (registry, _):
        inventory = await registry.read_edges(await registry.list_repository("shop/web"))
    assert inventory.unknown == {digest}


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_not_followed(status: int) -> None:
    def answer(_: Any, request: Any) -> HttpAnswer:
        return HttpAnswer(request, status, b"", {"Location": "https://portal.example/login"})

    async with scripted_registry(answer) as (registry, transport):
        with pytest.raises(NotListed, match="does not answer like an Azure container registry"):
            await registry.list_repository("shop/web")
        with pytest.raises(RegistryError, match="does not answer like"):
            await registry.untag("shop/web", "1")
    assert {asked.url.split("/")[2] for asked in transport.asked} == {"contoso.azurecr.io"}


# --- what a manifest takes up -------------------------------------------------------------------------------------------


def layer(digest: str, size: Any, **more: Any) -> dict[str, Any]:
    return {"mediaType": "application/x", "digest": digest, "size": size, **more}


def content(document: dict[str, Any]) -> Content | None:
    return edges(document).content


def test_an_image_takes_up_its_document_its_configuration_and_each_layer_once() -> None:
    document = {"config": layer("c", 7), "layers": [layer("a", 100), layer("b", 20), layer("a", 100)]}

    assert content(document) == Content(len(json.dumps(document)), {"c": 7, "a": 100, "b": 20})


def test_an_index_takes_up_its_own_document_alone() -> None:
    document = {"manifests": [{"digest": ONE, "size": 500}]}

    assert content(document) == Content(len(json.dumps(document)))


def test_an_artifact_manifest_has_blobs() -> None:
    found = content({"blobs": [layer("a", 3)]})

    assert found is not None
    assert found.blobs == {"a": 3}


def test_a_layer_that_lies_elsewhere_frees_nothing() -> None:
    found = content({"layers": [layer("a", 3, urls=["https://example.com/a"]), layer("b", 4)]})

    assert found is not None
    assert found.blobs == {"b": 4}


@pytest.mark.parametrize(
    "document",
    [
        {"schemaVersion": 1, "fsLayers": [{"blobSum": "a"}]},
        {"layers": [{"digest": "a"}]},
        {"layers": [layer("a", "12")]},
        {"layers": [layer("a", -1)]},
        {"layers": [layer("a", True)]},
        {"layers": [{"size": 4}]},
        {"layers": ["a"]},
        {"layers": "a"},
        {"config": {"mediaType": "x"}, "layers": []},
        {},
    ],
)
def test_what_does_not_say_how_large_it_is_is_not_guessed(document: dict[str, Any]) -> None:
    """And its edges are as well known as before."""
    assert content(document) is None
