"""The registry's data plane, on the wire."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.registry.repository import DOCKER_LIST
from acr_cleanup.emulator.registry.shapes import timestamp
from acr_cleanup.emulator.registry.state import OCI_MANIFEST
from tests.helpers.emulator_clients import RegistryAnswer, RegistryClient, registry_client

DAY = timedelta(days=1)


@pytest.fixture
def world() -> World:
    """A world in which time stands still."""
    world = World()
    world.clock = lambda: datetime(2026, 5, 11, 21, 17, 46, 36567, tzinfo=UTC)
    return world


@pytest.fixture
async def registry(world: World) -> AsyncIterator[RegistryClient]:
    async with registry_client(world) as client:
        yield client


def next_page(answer: RegistryAnswer) -> str | None:
    """The path of the Link header."""
    link = answer.headers.get("Link")
    if link is None:
        return None
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    return link[1 : link.index(">")]


async def pages(registry: RegistryClient, path: str) -> list[RegistryAnswer]:
    """Every page of a list."""
    found = []
    here: str | None = path
    while here is not None:
        answer = await registry.get(here)
        assert answer.status == 200, answer
        found.append(answer)
        here = next_page(answer)
    return found


# -- lists -----------------------------------------------------------------------------------------------------


async def test_a_list_ends_after_a_hundred_unless_more_are_asked_for(world: World, registry: RegistryClient) -> None:
    for number in range(250):
        world.registry.push("shop/web", f"1.{number}")
    sizes = [len(page.json["tags"]) for page in await pages(registry, "/acr/v1/shop%2Fweb/_tags")]
    assert sizes == [100, 100, 50]


async def test_no_page_is_longer_than_a_thousand(world: World, registry: RegistryClient) -> None:
    for number in range(1_200):
        world.registry.push("shop/web", f"1.{number}")
    for kind in ("tags", "manifests"):
        found = await pages(registry, f"/acr/v1/shop/web/_{kind}?n=5000")
        assert [len(page.json[kind]) for page in found] == [1000, 200]
        assert len({str(item) for page in found for item in page.json[kind]}) == 1200


async def test_the_link_is_relative_and_escaped(world: World, registry: RegistryClient) -> None:
    for tag in ("a+b", "b", "c"):
        world.registry.push("team/shop/web", tag)
    link = next_page(await registry.get("/acr/v1/team%2Fshop%2Fweb/_tags?n=1&orderby=timeasc"))
    assert link is not None
    parts = urlsplit(link)
    assert (parts.netloc, parts.path) == ("", "/acr/v1/team%2Fshop%2Fweb/_tags")
    assert parse_qs(parts.query) == {"last": ["a+b"], "n": ["1"], "orderby": ["timeasc"]}
    assert parts.query == "last=a%2Bb&n=1&orderby=timeasc"


@pytest.mark.parametrize(
    ("order", "expected"),
    [("", ["a", "b", "c"]), ("timeasc", ["b", "c", "a"]), ("timedesc", ["a", "c", "b"]), ("none", ["a", "b", "c"])],
)
@pytest.mark.parametrize("n", [1, 2, 3])
async def test_tags_come_by_name_or_by_last_update(
    world: World, registry: RegistryClient, order: str, expected: list[str], n: int
) -> None:
    for tag, age in (("a", 1), ("b", 3), ("c", 2)):
        world.registry.push("web", tag, age=age * DAY)
    found = await pages(registry, f"/acr/v1/web/_tags?n={n}&orderby={order}")
    assert [tag["name"] for page in found for tag in page.json["tags"]] == expected


@pytest.mark.parametrize("order", ["", "timeasc", "timedesc"])
async def test_paging_goes_on_where_it_stood_when_the_last_item_is_deleted(
    world: World, registry: RegistryClient, order: str
) -> None:
    for number in range(6):
        world.registry.push("web", f"t{number}", age=timedelta(days=number))
    first = await registry.get(f"/acr/v1/web/_tags?n=3&orderby={order}")
    await registry.delete(f"/acr/v1/web/_tags/{first.json['tags'][-1]['name']}")
    link = next_page(first)
    assert link is not None
    second = await registry.get(link)
    names = [tag["name"] for answer in (first, second) for tag in answer.json["tags"]]
    assert sorted(names) == [f"t{number}" for number in range(6)]


async def test_the_tags_of_one_digest_can_be_asked_for(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.tag("web", "also-1.0", digest)
    world.registry.push("web", "2.0")
    answer = await registry.get(f"/acr/v1/web/_tags?digest={digest.replace(':', '%3A')}")
    assert [tag["name"] for tag in answer.json["tags"]] == ["1.0", "also-1.0"]


async def test_what_is_not_listed_can_still_be_named(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.push("hidden", "1.0")
    world.registry.lock("web", "1.0", list=False)
    world.registry.lock("web", digest, list=False)
    world.registry.lock("hidden", list=False)
    assert (await registry.get("/acr/v1/web/_tags")).json["tags"] == []
    assert (await registry.get("/acr/v1/web/_manifests")).json["manifests"] == []
    assert (await registry.get("/acr/v1/_catalog")).json == {"repositories": ["web"]}
    assert (await registry.get("/acr/v1/web/_tags/1.0")).status == 200
    assert (await registry.get(f"/acr/v1/web/_manifests/{digest}")).status == 200


async def test_a_manifest_shows_ten_of_its_tags_and_no_field_for_none(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "t0")
    for number in range(1, 15):
        world.registry.tag("web", f"t{number}", digest)
    world.registry.push("web")
    by_digest = {m["digest"]: m for m in (await registry.get("/acr/v1/web/_manifests")).json["manifests"]}
    assert len(by_digest.pop(digest)["tags"]) == 10
    (untagged,) = by_digest.values()
    assert "tags" not in untagged


async def test_the_catalog_pages_like_everything_else(world: World, registry: RegistryClient) -> None:
    for name in ("b", "a/b", "a"):
        world.registry.push(name, "1")
    for version in ("/acr/v1", "/v2"):
        found = await pages(registry, f"{version}/_catalog?n=2")
        assert [page.json["repositories"] for page in found] == [["a", "a/b"], ["b"]]


@pytest.mark.parametrize("n", ["0", "-1", "many"])
async def test_nonsense_for_a_page_is_refused(world: World, registry: RegistryClient, n: str) -> None:
    world.registry.push("web", "1.0")
    answer = await registry.get(f"/acr/v1/web/_tags?n={n}")
    assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


def test_timestamps_have_up_to_seven_digits() -> None:
    def of(microsecond: int) -> str:
        return timestamp(datetime(2021, 5, 11, 21, 17, 46, microsecond, tzinfo=UTC))

    assert of(36567) == "2021-05-11T21:17:46.0365677Z"
    assert of(894000) == "2021-05-11T21:17:46.894Z"
    assert of(0) == "2021-05-11T21:17:46Z"


# -- what is there, and what is not ----------------------------------------------------------------------------


async def test_a_body_is_what_its_digest_says(world: World, registry: RegistryClient) -> None:
    child = world.registry.push("shop/web", media_type=OCI_MANIFEST)
    docker = world.registry.push("shop/web", "1.0")
    index = world.registry.push_index("shop/web", "all", children=[child, docker], media_type=DOCKER_LIST)
    signature = world.registry.push_referrer("shop/web", index)
    for reference in (child, docker, index, signature, "1.0", "all"):
        for method in ("GET", "HEAD"):
            answer = await registry.call(method, f"/v2/shop/web/manifests/{reference}", headers={"Accept": "*/*"})
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) > 100
            if method == "GET":
                digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
                assert answer.headers["Docker-Content-Digest"] == digest
                assert json.loads(answer.body)["mediaType"] == answer.headers["Content-Type"]
                assert reference in (digest, "1.0", "all")


async def test_an_oci_manifest_is_given_only_to_those_who_accept_it(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", media_type=OCI_MANIFEST)
    old = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    answer = await registry.call("GET", f"/v2/web/manifests/{digest}", headers=old)
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


async def test_a_ghost_is_listed_and_has_no_body(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.ghost("web", digest)
    assert (await registry.get("/acr/v1/web/_manifests")).json["manifests"][0]["digest"] == digest
    answer = await registry.get(f"/v2/web/manifests/{digest}")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/acr/v1/nobody", "NAME_UNKNOWN"),
        ("GET", "/acr/v1/nobody/_tags", "NAME_UNKNOWN"),
        ("GET", "/acr/v1/nobody/_manifests", "NAME_UNKNOWN"),
        ("DELETE", "/acr/v1/nobody", "NAME_UNKNOWN"),
        ("GET", "/acr/v1/web/_tags/0.1", "TAG_UNKNOWN"),
        ("DELETE", "/acr/v1/web/_tags/0.1", "TAG_UNKNOWN"),
        ("DELETE", "/acr/v1/nobody/_tags/0.1", "TAG_UNKNOWN"),
        ("GET", "/acr/v1/web/_manifests/sha256:00", "MANIFEST_UNKNOWN"),
        ("GET", "/v2/web/manifests/sha256:00", "MANIFEST_UNKNOWN"),
        ("DELETE", "/v2/web/manifests/sha256%3A00", "MANIFEST_UNKNOWN"),
    ],
)
async def test_what_is_not_there_has_its_own_code(
    world: World, registry: RegistryClient, method: str, path: str, code: str
) -> None:
    world.registry.push("web", "1.0")
    answer = await registry.call(method, path)
    assert (answer.status, answer.code) == (404, code)


async def test_upper_case_is_no_repository_at_all(registry: RegistryClient) -> None:
    answer = await registry.get("/acr/v1/Shop/_tags")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.headers["Content-Type"].startswith("text/plain")


async def test_a_repository_without_tags_may_be_unknown_to_the_tag_list(world: World, registry: RegistryClient) -> None:
    world.registry.push("web")
    assert (await registry.get("/acr/v1/web/_tags")).json["tags"] == []
    world.registry.tagless_is_unknown = True
    assert (await registry.get("/acr/v1/web/_tags")).code == "NAME_UNKNOWN"


# -- deleting --------------------------------------------------------------------------------------------------


async def test_deleting_a_tag_removes_one_name_alone(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("shop/web", "1.0")
    world.registry.tag("shop/web", "also", digest)
    answer = await registry.delete("/acr/v1/shop%2Fweb/_tags/1.0")
    assert answer.status == 202
    assert answer.headers["x-ms-int-docker-content-digest"] == digest
    assert list(world.registry.repositories["shop/web"].tags) == ["also"]
    await registry.delete("/acr/v1/shop%2Fweb/_tags/also")
    assert (await registry.get("/acr/v1/shop/web/_tags")).json["tags"] == []
    assert digest in world.registry.repositories["shop/web"].manifests


async def test_deleting_a_manifest_takes_its_tags_and_its_referrers_along(
    world: World, registry: RegistryClient
) -> None:
    child = world.registry.push("web")
    index = world.registry.push_index("web", "1.0", children=[child])
    world.registry.tag("web", "also", index)
    signature = world.registry.push_referrer("web", index, tag="signature")
    world.registry.push_referrer("web", signature)
    other = world.registry.push("web", "2.0")
    answer = await registry.delete(f"/v2/web/manifests/{index.replace(':', '%3A')}")
    assert answer.status == 202
    state = world.registry.repositories["web"]
    assert set(state.manifests) == {child, other}
    assert set(state.tags) == {"2.0"}


async def test_a_repository_ends_with_its_last_manifest(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    await registry.delete(f"/v2/web/manifests/{digest}")
    assert (await registry.get("/acr/v1/web/_tags")).code == "NAME_UNKNOWN"
    assert (await registry.get("/acr/v1/_catalog")).json == {"repositories": []}


async def test_deleting_a_repository_names_what_went(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    answer = await registry.delete("/acr/v1/web")
    assert answer.status == 202
    assert answer.json == {"manifestsDeleted": [digest], "tagsDeleted": ["1.0"]}


@pytest.mark.parametrize(("write", "delete"), [(False, True), (True, False), (False, False)])
async def test_a_lock_forbids_deleting(world: World, registry: RegistryClient, write: bool, delete: bool) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.lock("web", "1.0", write=write, delete=delete)
    for path in ("/acr/v1/web/_tags/1.0", f"/v2/web/manifests/{digest}", "/acr/v1/web"):
        answer = await registry.delete(path)
        assert (answer.status, answer.code) == (405, "REGISTRY_DISALLOWED_OPERATION")
    # The lock of a tag does not show on its manifest.
    shown = (await registry.get(f"/acr/v1/web/_manifests/{digest}")).json["manifest"]["changeableAttributes"]
    assert shown["deleteEnabled"]
    assert shown["writeEnabled"]
    world.registry.unlock("web", "1.0")
    assert (await registry.delete("/acr/v1/web/_tags/1.0")).status == 202


async def test_a_locked_manifest_stays(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.lock("web", digest, delete=False)
    assert (await registry.delete(f"/v2/web/manifests/{digest}")).status == 405


@pytest.mark.parametrize(("write", "delete", "status"), [(False, True, 405), (True, False, 202)])
async def test_only_a_write_lock_of_the_repository_reaches_what_is_in_it(
    world: World, registry: RegistryClient, write: bool, delete: bool, status: int
) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.push("web", "2.0")
    world.registry.lock("web", write=write, delete=delete)
    assert (await registry.delete("/acr/v1/web/_tags/2.0")).status == status
    assert (await registry.delete(f"/v2/web/manifests/{digest}")).status == status
    if status == 202:
        assert (await registry.delete("/acr/v1/web")).status == 405


async def test_locks_can_be_set_and_lifted_over_the_wire(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    for path in ("/acr/v1/web", "/acr/v1/web/_tags/1.0", f"/acr/v1/web/_manifests/{digest}"):
        for enabled in (False, True):
            answer = await registry.call("PATCH", path, json={"writeEnabled": enabled})
            assert answer.status == 200
            assert f'"writeEnabled": {str(enabled).lower()}' in answer.body.decode()
            assert '"deleteEnabled": true' in answer.body.decode()


# -- pushing and referring -------------------------------------------------------------------------------------


async def test_a_push_stores_a_manifest_and_moves_the_tag(world: World, registry: RegistryClient) -> None:
    old = world.registry.push("web", "1.0", age=30 * DAY)
    body = await registry.get(f"/v2/web/manifests/{old}")
    new_body = body.body + b"\n"
    headers = {"Content-Type": body.headers["Content-Type"]}
    answer = await registry.call("PUT", "/v2/web/manifests/1.0", data=new_body, headers=headers)
    assert answer.status == 201
    tag = (await registry.get("/acr/v1/web/_tags/1.0")).json["tag"]
    assert tag["digest"] == answer.headers["Docker-Content-Digest"] != old
    assert tag["createdTime"] == timestamp(world.clock() - 30 * DAY)
    assert tag["lastUpdateTime"] == timestamp(world.clock())
    wrong = await registry.call("PUT", f"/v2/web/manifests/{old}", data=new_body, headers=headers)
    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")


async def test_a_write_lock_forbids_pushing(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.lock("web", "1.0", write=False)
    body = world.registry.repositories["web"].manifests[digest].body
    assert (await registry.call("PUT", "/v2/web/manifests/1.0", data=body)).status == 405


async def test_referrers_are_found_by_their_subject(world: World, registry: RegistryClient) -> None:
    subject = world.registry.push("web", "1.0")
    signature = world.registry.push_referrer("web", subject, "application/x-signature", annotations={"a": "b"})
    world.registry.push_referrer("web", subject, "application/x-sbom")
    answer = await registry.get(f"/v2/web/referrers/{subject}")
    assert answer.headers["Content-Type"].startswith("application/vnd.oci.image.index.v1+json")
    assert len(json.loads(answer.body)["manifests"]) == 2
    answer = await registry.get(f"/v2/web/referrers/{subject}?artifactType=application/x-signature")
    (found,) = json.loads(answer.body)["manifests"]
    assert (found["digest"], found["annotations"]) == (signature, {"a": "b"})
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"


def test_a_hundred_thousand_tags_are_cheap(world: World) -> None:
    """Ten thousand in well under a second, so that a large world does not slow a test down."""
    started = datetime.now(UTC)
    digests = {world.registry.push("web", f"{number}") for number in range(10_000)}
    assert len(digests) == 10_000
    assert datetime.now(UTC) - started < timedelta(seconds=30)


# -- what is pushed, and what soft delete holds -------------------------------------------------------------


async def test_a_manifest_needs_its_blobs_and_children(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    body = world.registry.repositories["web"].manifests[digest].body
    world.registry.remove("web", digest)
    await registry.login()
    path = f"/v2/web/manifests/{digest}"
    # The blobs outlive the manifest for a while.
    assert (await registry.call("PUT", path, data=body)).status == 201
    world.registry.remove("web", digest)
    world.registry.collect_garbage()
    gone = await registry.call("PUT", path, data=body)
    assert (gone.status, gone.code) == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_soft_delete_holds_lists_and_restores(world: World, registry: RegistryClient) -> None:
    world.registry.soft_delete = True
    digest = world.registry.push("web", "1.0")
    referrer = world.registry.push_referrer("web", digest)
    await registry.login()
    assert (await registry.call("DELETE", f"/v2/web/manifests/{digest}")).status == 202
    assert "web" not in world.registry.repositories

    listed = await registry.get("/acr/v1/_deleted/web/_manifests")
    assert {each["digest"] for each in listed.json["manifests"]} == {digest, referrer}
    tags = await registry.get("/acr/v1/_deleted/web/_tags")
    assert [(each["tag"], each["digest"]) for each in tags.json["tags"]] == [("1.0", digest)]
    body = world.registry.deleted["web"][digest].manifest.body
    assert (await registry.call("PUT", "/v2/web/manifests/1.0", data=body)).status == 409

    path = f"/acr/v1/_deleted/web/_manifests/{digest}"
    assert (await registry.call("POST", path, json={"tag": "1.0"})).status == 200
    assert world.registry.repositories["web"].tags["1.0"].digest == digest
    assert (await registry.call("POST", path, json={"tag": "1.0"})).status == 404
    other = f"/acr/v1/_deleted/web/_manifests/{referrer}"
    assert (await registry.call("POST", other, json={"tag": "1.0"})).status == 409
    assert (await registry.call("POST", other, json={"tag": None})).status == 200


async def test_soft_delete_takes_rights_of_its_own(world: World, registry: RegistryClient) -> None:
    world.registry.soft_delete = True
    await registry.login("repository:web:pull,push,delete,metadata_read")
    assert (await registry.get("/acr/v1/_deleted/web/_manifests")).status == 401
    await registry.login("repository:web:deleted_read")
    assert (await registry.get("/acr/v1/_deleted/web/_manifests")).status == 200
    path = f"/acr/v1/_deleted/web/_manifests/sha256:{'0' * 64}"
    assert (await registry.call("POST", path, json={"tag": None})).status == 401


async def test_without_soft_delete_there_is_no_such_list(registry: RegistryClient) -> None:
    await registry.login()
    assert (await registry.get("/acr/v1/_deleted/web/_manifests")).status == 405


async def test_a_retention_of_no_days_takes_the_manifest_with_its_last_tag(
    world: World, registry: RegistryClient
) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.tag("web", "one", digest)
    world.registry.retention_days = 0
    await registry.login()
    assert (await registry.call("DELETE", "/acr/v1/web/_tags/1.0")).status == 202
    assert digest in world.registry.repositories["web"].manifests
    assert (await registry.call("DELETE", "/acr/v1/web/_tags/one")).status == 202
    assert "web" not in world.registry.repositories
