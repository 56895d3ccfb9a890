"""Manifests, deletions, locks and pushes of the emulated registry, on the wire."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.registry.repository import DOCKER_LIST
from acr_cleanup.emulator.registry.shapes import timestamp
from acr_cleanup.emulator.registry.state import OCI_MANIFEST
from tests.helpers.emulator_clients import RegistryClient

DAY = timedelta(days=1)


# -- what is there, and what is not ----------------------------------------------------------------


async def test_manifest_body_has_its_digest(world: World, registry: RegistryClient) -> None:
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


async def test_oci_manifest_requires_matching_accept_header(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", media_type=OCI_MANIFEST)
    old = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    answer = await registry.call("GET", f"/v2/web/manifests/{digest}", headers=old)
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


async def test_ghost_manifest_is_listed_without_body(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.ghost("web", digest)
    assert (await registry.get("/acr/v1/web/_manifests")).json["manifests"][0]["digest"] == digest
    answer = await registry.get(f"/v2/web/manifests/{digest}")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/acr/v1/missing", "NAME_UNKNOWN"),
        ("GET", "/acr/v1/missing/_tags", "NAME_UNKNOWN"),
        ("GET", "/acr/v1/missing/_manifests", "NAME_UNKNOWN"),
        ("DELETE", "/acr/v1/missing", "NAME_UNKNOWN"),
        ("GET", "/acr/v1/web/_tags/0.1", "TAG_UNKNOWN"),
        ("DELETE", "/acr/v1/web/_tags/0.1", "TAG_UNKNOWN"),
        ("DELETE", "/acr/v1/missing/_tags/0.1", "TAG_UNKNOWN"),
        ("GET", "/acr/v1/web/_manifests/sha256:00", "MANIFEST_UNKNOWN"),
        ("GET", "/v2/web/manifests/sha256:00", "MANIFEST_UNKNOWN"),
        ("DELETE", "/v2/web/manifests/sha256%3A00", "MANIFEST_UNKNOWN"),
    ],
)
async def test_missing_item_answers_its_own_code(
    world: World, registry: RegistryClient, method: str, path: str, code: str
) -> None:
    world.registry.push("web", "1.0")
    answer = await registry.call(method, path)
    assert (answer.status, answer.code) == (404, code)


async def test_upper_case_name_is_not_a_repository(registry: RegistryClient) -> None:
    answer = await registry.get("/acr/v1/Shop/_tags")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.headers["Content-Type"].startswith("text/plain")


async def test_tag_list_of_untagged_repository_may_answer_404(world: World, registry: RegistryClient) -> None:
    """`tagless_is_unknown` selects between the two answers."""
    world.registry.push("web")
    assert (await registry.get("/acr/v1/web/_tags")).json["tags"] == []
    world.registry.tagless_is_unknown = True
    assert (await registry.get("/acr/v1/web/_tags")).code == "NAME_UNKNOWN"


# -- deleting --------------------------------------------------------------------------------------


async def test_deleting_a_tag_keeps_manifest_and_other_tags(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("shop/web", "1.0")
    world.registry.tag("shop/web", "also", digest)
    answer = await registry.delete("/acr/v1/shop%2Fweb/_tags/1.0")
    assert answer.status == 202
    assert answer.headers["x-ms-int-docker-content-digest"] == digest
    assert list(world.registry.repositories["shop/web"].tags) == ["also"]
    await registry.delete("/acr/v1/shop%2Fweb/_tags/also")
    assert (await registry.get("/acr/v1/shop/web/_tags")).json["tags"] == []
    assert digest in world.registry.repositories["shop/web"].manifests


async def test_deleting_a_manifest_deletes_tags_and_referrers(world: World, registry: RegistryClient) -> None:
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


async def test_repository_is_deleted_with_its_last_manifest(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    await registry.delete(f"/v2/web/manifests/{digest}")
    assert (await registry.get("/acr/v1/web/_tags")).code == "NAME_UNKNOWN"
    assert (await registry.get("/acr/v1/_catalog")).json == {"repositories": []}


async def test_deleting_a_repository_lists_deleted_items(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    answer = await registry.delete("/acr/v1/web")
    assert answer.status == 202
    assert answer.json == {"manifestsDeleted": [digest], "tagsDeleted": ["1.0"]}


@pytest.mark.parametrize(("write", "delete"), [(False, True), (True, False), (False, False)])
async def test_locked_tag_cannot_be_deleted(world: World, registry: RegistryClient, write: bool, delete: bool) -> None:
    """Neither alone, nor with its manifest or repository. The manifest does not show the lock."""
    digest = world.registry.push("web", "1.0")
    world.registry.lock("web", "1.0", write=write, delete=delete)
    for path in ("/acr/v1/web/_tags/1.0", f"/v2/web/manifests/{digest}", "/acr/v1/web"):
        answer = await registry.delete(path)
        assert (answer.status, answer.code) == (405, "REGISTRY_DISALLOWED_OPERATION")
    # The manifest does not show the lock of its tag.
    shown = (await registry.get(f"/acr/v1/web/_manifests/{digest}")).json["manifest"]["changeableAttributes"]
    assert shown["deleteEnabled"]
    assert shown["writeEnabled"]
    world.registry.unlock("web", "1.0")
    assert (await registry.delete("/acr/v1/web/_tags/1.0")).status == 202


async def test_locked_manifest_cannot_be_deleted(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.lock("web", digest, delete=False)
    assert (await registry.delete(f"/v2/web/manifests/{digest}")).status == 405


@pytest.mark.parametrize(("write", "delete", "status"), [(False, True, 405), (True, False, 202)])
async def test_only_write_lock_of_repository_protects_its_contents(
    world: World, registry: RegistryClient, write: bool, delete: bool, status: int
) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.push("web", "2.0")
    world.registry.lock("web", write=write, delete=delete)
    assert (await registry.delete("/acr/v1/web/_tags/2.0")).status == status
    assert (await registry.delete(f"/v2/web/manifests/{digest}")).status == status
    if status == 202:
        assert (await registry.delete("/acr/v1/web")).status == 405


async def test_patch_sets_and_removes_locks(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    for path in ("/acr/v1/web", "/acr/v1/web/_tags/1.0", f"/acr/v1/web/_manifests/{digest}"):
        for enabled in (False, True):
            answer = await registry.call("PATCH", path, json={"writeEnabled": enabled})
            assert answer.status == 200
            assert f'"writeEnabled": {str(enabled).lower()}' in answer.body.decode()
            assert '"deleteEnabled": true' in answer.body.decode()


# -- pushing and referring -------------------------------------------------------------------------


async def test_push_stores_manifest_and_moves_tag(world: World, registry: RegistryClient) -> None:
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


async def test_write_lock_forbids_push(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.lock("web", "1.0", write=False)
    body = world.registry.repositories["web"].manifests[digest].body
    assert (await registry.call("PUT", "/v2/web/manifests/1.0", data=body)).status == 405


async def test_referrers_are_listed_by_subject(world: World, registry: RegistryClient) -> None:
    subject = world.registry.push("web", "1.0")
    signature = world.registry.push_referrer("web", subject, "application/x-signature", annotations={"a": "b"})
    world.registry.push_referrer("web", subject, "application/x-sbom")
    answer = await registry.get(f"/v2/web/referrers/{subject}")
    assert answer.headers["Content-Type"].startswith("application/vnd.oci.image.index.v1+json")
    assert len(json.loads(answer.body)["manifests"]) == 2
    answer = await registry.get(f"/v2/web/referrers/{subject}?artifactType=application/x-signature")
    (referrer,) = json.loads(answer.body)["manifests"]
    assert (referrer["digest"], referrer["annotations"]) == (signature, {"a": "b"})
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"


def test_pushing_ten_thousand_tags_is_fast(world: World) -> None:
    """A large world must not slow down a test."""
    started = datetime.now(UTC)
    digests = {world.registry.push("web", f"{number}") for number in range(10_000)}
    assert len(digests) == 10_000
    assert datetime.now(UTC) - started < timedelta(seconds=30)
