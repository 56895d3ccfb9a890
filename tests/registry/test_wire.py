"""Decoding of the registry's JSON, documented and malformed."""

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
from acr_cleanup.registry import bodies, wire
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
        # These cannot be trusted, so the time is unknown, and such a tag is kept.
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
def test_timestamp_is_parsed_or_unknown(text: Any, moment: datetime | None) -> None:
    assert tag(lastUpdateTime=text).updated_at == moment
    assert listed(lastUpdateTime=text).updated_at == moment


@pytest.mark.parametrize(
    ("attributes", "locked"),
    [
        ({}, False),
        (None, False),
        ({"deleteEnabled": True, "writeEnabled": True, "listEnabled": False, "readEnabled": True}, False),
        # Someone has put it aside.
        ({"deleteEnabled": True, "writeEnabled": True, "readEnabled": False}, True),
        ({"deleteEnabled": None, "writeEnabled": None}, False),
        ({"deleteEnabled": False, "writeEnabled": True}, True),
        ({"deleteEnabled": True, "writeEnabled": False}, True),
        # Not a boolean: the meaning is unknown, so it counts as locked.
        ({"deleteEnabled": "false"}, True),
        ({"writeEnabled": 0}, True),
    ],
)
def test_attributes_decide_the_lock(attributes: Any, locked: bool) -> None:
    assert tag(changeableAttributes=attributes).locked is locked
    assert listed(changeableAttributes=attributes).locked is locked
    assert repository(changeableAttributes=attributes) is locked


@pytest.mark.parametrize("delete", [True, False])
@pytest.mark.parametrize("write", [True, False])
def test_lock_keeps_both_attributes_for_restoring(delete: bool, write: bool) -> None:
    attributes = {"deleteEnabled": delete, "writeEnabled": write, "listEnabled": True}
    unlocked = delete and write
    assert tag(changeableAttributes=attributes).lock == (None if unlocked else Lock("1.0", delete, write))
    assert listed(changeableAttributes=attributes).lock == (None if unlocked else Lock(None, delete, write))


@pytest.mark.parametrize("delete", [True, False])
def test_item_that_was_put_aside_is_never_unlocked(delete: bool) -> None:
    attributes = {"deleteEnabled": delete, "readEnabled": False}
    assert (tag(changeableAttributes=attributes).put_aside, tag(changeableAttributes=attributes).lock) == (True, None)
    assert listed(changeableAttributes=attributes).lock is None


@pytest.mark.parametrize("value", ["false", 0, 1, [], {}])
def test_malformed_lock_is_never_unlocked(value: Any) -> None:
    for attributes in ({"deleteEnabled": value, "writeEnabled": False}, value or "locked"):
        parsed = tag(changeableAttributes=attributes)
        assert (parsed.locked, parsed.lock) == (True, None)


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
def test_repository_with_unreadable_lock_is_malformed(body: bytes) -> None:
    """A lock must not be overlooked."""
    with pytest.raises(wire.MalformedAnswer):
        wire.read_repository(body, "shop/web")


def test_only_name_and_digest_are_required() -> None:
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
def test_platform_is_os_and_architecture(os: Any, architecture: Any, platform: str) -> None:
    assert listed(os=os, architecture=architecture).platform == platform


@pytest.mark.parametrize(
    ("size", "bytes_"), [(0, 0), (2**40, 2**40), (-1, 0), (None, 0), ("7", 0), (True, 0), (1.5, 0)]
)
def test_size_is_zero_if_malformed(size: Any, bytes_: int) -> None:
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
def test_malformed_page_raises_malformed_answer(body: bytes) -> None:
    """No other exception, and no empty list."""
    for read in (wire.read_tags, wire.read_manifests, wire.read_repositories, wire.read_manifest):
        with pytest.raises(wire.MalformedAnswer):
            read(body)


def test_null_list_is_empty() -> None:
    assert wire.read_tags(b'{"tags": null}') == {}
    assert wire.read_manifests(b'{"manifests": null}') == {}
    assert wire.read_repositories(b'{"repositories": null}') == {}


def body_of(document: Any, content_type: str = "") -> bodies.ManifestBody:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return bodies.read_body(body, Digest(f"sha256:{hashlib.sha256(body).hexdigest()}"), content_type)


def test_body_gives_children_and_subject() -> None:
    index = body_of(
        {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"digest": ONE}, {"digest": TWO}]}
    )
    assert (index.children, index.subject) == ((ONE, TWO), None)
    assert index.media_type == "application/vnd.oci.image.index.v1+json"
    referrer = body_of({"config": {"mediaType": "application/vnd.oci.empty.v1+json"}, "subject": {"digest": TWO}})
    assert (referrer.children, referrer.subject) == ((), TWO)
    assert referrer.config_media_type == "application/vnd.oci.empty.v1+json"


def test_body_without_media_type_takes_the_content_type() -> None:
    index = body_of({"manifests": []}, "application/vnd.oci.image.index.v1+json; charset=utf-8")
    assert index.media_type == "application/vnd.oci.image.index.v1+json"
    listed_as = "application/vnd.oci.image.manifest.v1+json"
    kept = body_of({"manifests": None, "subject": None}, "application/json").of(Manifest(ONE, listed_as))
    assert (kept.media_type, kept.known) == (listed_as, True)


@pytest.mark.parametrize("media_type", ["application/vnd.example.future.manifest.v9+json", "", "text/plain"])
def test_unknown_media_type_is_unknown(media_type: str) -> None:
    """Such a manifest may refer to others in ways that we do not know."""
    read = body_of({"mediaType": media_type, "manifests": [{"digest": TWO}]}).of(Manifest(ONE, media_type))
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
def test_body_with_malformed_edges_is_rejected(document: Any) -> None:
    with pytest.raises(wire.MalformedAnswer):
        body_of(document)


def test_body_with_another_digest_is_rejected() -> None:
    with pytest.raises(wire.MalformedAnswer, match="digest"):
        bodies.read_body(b'{"manifests": []}', ONE, "")


# -- responses


EMPTY_LISTS: dict[str, Any] = {"tags": [], "manifests": []}


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
async def test_link_to_elsewhere_fails_the_repository(link: str) -> None:
    def answer(received: Any, request: Any) -> HttpAnswer:
        page = {"tags": [{"name": "a", "digest": ONE}], "manifests": []}
        return HttpAnswer(request, 200, page, {"Link": link} if received.path.endswith("_tags") else {})

    async with scripted_registry(answer) as (registry, transport):
        with pytest.raises(NotListed, match=r"[Ll]ink"):
            await registry.list_repository("shop/web")
        assert transport.count("/acr/v1/shop%2Fweb/_tags") == 1


@pytest.mark.parametrize(
    "where",
    ["/acr/v1/shop%2Fweb/_tags", "/acr/v1/shop/web/_tags", "https://contoso.azurecr.io/acr/v1/shop%2fweb/_tags"],
)
async def test_link_is_followed_in_every_spelling(where: str) -> None:
    def answer(received: Any, request: Any) -> HttpAnswer:
        first = "last=" not in received.url
        page = {"tags": [{"name": "a" if first else "b{c}", "digest": ONE}], "manifests": []}
        linked = first and received.path.endswith("_tags")
        return HttpAnswer(
            request, 200, page, {"Link": f'<{where}?last={{a}}&n=1000&orderby=>; rel="next"'} if linked else {}
        )

    async with scripted_registry(answer) as (registry, _):
        inventory = await registry.list_repository("shop/web")
    assert [tag.name for tag in inventory.tags] == ["a", "b{c}"]


@pytest.mark.parametrize("links", [lambda _: "a", str], ids=["the same link", "a new link each time"])
async def test_repeating_pages_fail_the_repository(links: Callable[[int], str]) -> None:
    requests = 0

    def answer(received: Any, request: Any) -> HttpAnswer:
        nonlocal requests
        requests += 1
        if requests > 100:
            raise AssertionError("it never ends")
        page = {"tags": [{"name": "a", "digest": ONE}], "manifests": []}
        return HttpAnswer(request, 200, page, {"Link": f'<{received.path}?last={links(requests)}>; rel="next"'})

    async with scripted_registry(answer) as (registry, _):
        with pytest.raises(NotListed, match="its pages repeat"):
            await registry.list_repository("shop/web")


async def test_endless_answer_is_cut_off() -> None:
    class Endless(HttpAnswer):
        async def iter_bytes(self) -> Any:
            while True:
                yield b"x" * (8 * 1024 * 1024)

    async with scripted_registry(lambda _, request: Endless(request)) as (registry, _):
        with pytest.raises(NotListed, match="larger than 64 MiB"):
            await registry.list_repository("shop/web")


@pytest.mark.parametrize("with_length", [True, False], ids=["with its length", "in parts"])
async def test_too_large_manifest_is_unknown(with_length: bool) -> None:
    body = json.dumps({"manifests": [], "annotations": {"x": "x" * 4 * 1024 * 1024}}).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    index = {"digest": digest, "mediaType": "application/vnd.oci.image.index.v1+json"}

    def answer(received: Any, request: Any) -> HttpAnswer:
        if received.path.startswith("/v2/"):
            return HttpAnswer(request, 200, body, {"Content-Length": str(len(body))} if with_length else {})
        return HttpAnswer(request, 200, {"manifests": [index], "tags": [], "imageName": "shop/web"})

    async with scripted_registry(answer) as (registry, _):
        inventory = await registry.read_edges(await registry.list_repository("shop/web"))
    assert inventory.unknown == {digest}


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_redirect_is_not_followed(status: int) -> None:
    def answer(_: Any, request: Any) -> HttpAnswer:
        return HttpAnswer(request, status, b"", {"Location": "https://portal.example/login"})

    async with scripted_registry(answer) as (registry, transport):
        with pytest.raises(NotListed, match="does not answer like an Azure container registry"):
            await registry.list_repository("shop/web")
        with pytest.raises(RegistryError, match="does not answer like"):
            await registry.untag("shop/web", "1")
    assert {request.url.split("/")[2] for request in transport.received} == {"contoso.azurecr.io"}


# -- contents


def layer(digest: str, size: Any, **more: Any) -> dict[str, Any]:
    return {"mediaType": "application/x", "digest": digest, "size": size, **more}


def content(document: dict[str, Any]) -> Content | None:
    return body_of(document).content


def test_image_content_counts_each_blob_once() -> None:
    document = {"config": layer("c", 7), "layers": [layer("a", 100), layer("b", 20), layer("a", 100)]}

    assert content(document) == Content(len(json.dumps(document)), {"c": 7, "a": 100, "b": 20})


def test_index_content_is_its_own_document() -> None:
    document = {"manifests": [{"digest": ONE, "size": 500}]}

    assert content(document) == Content(len(json.dumps(document)))


def test_artifact_manifest_content_counts_blobs() -> None:
    parsed = content({"blobs": [layer("a", 3)]})

    assert parsed is not None
    assert parsed.blobs == {"a": 3}


def test_layer_with_urls_is_not_counted() -> None:
    parsed = content({"layers": [layer("a", 3, urls=["https://example.com/a"]), layer("b", 4)]})

    assert parsed is not None
    assert parsed.blobs == {"b": 4}


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
def test_content_without_all_sizes_is_unknown(document: dict[str, Any]) -> None:
    """Its children and subject are known nevertheless."""
    assert content(document) is None
