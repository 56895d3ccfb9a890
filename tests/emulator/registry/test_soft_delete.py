"""Soft delete, restore, the retention policy, and the parts that a pushed manifest needs."""

from __future__ import annotations

from acr_cleanup.emulator import World
from tests.helpers.emulator_clients import RegistryClient


async def test_push_without_stored_blobs_is_refused(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    body = world.registry.repositories["web"].manifests[digest].body
    world.registry.remove("web", digest)
    await registry.login()
    path = f"/v2/web/manifests/{digest}"
    # The blobs outlive the manifest until the next garbage collection.
    assert (await registry.call("PUT", path, data=body)).status == 201
    world.registry.remove("web", digest)
    world.registry.collect_garbage()
    gone = await registry.call("PUT", path, data=body)
    assert (gone.status, gone.code) == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_soft_deleted_manifests_are_listed_and_restored(world: World, registry: RegistryClient) -> None:
    world.registry.soft_delete = True
    digest = world.registry.push("web", "1.0")
    referrer = world.registry.push_referrer("web", digest)
    await registry.login()
    assert (await registry.call("DELETE", f"/v2/web/manifests/{digest}")).status == 202
    assert "web" not in world.registry.repositories

    listed = await registry.get("/acr/v1/_deleted/web/_manifests")
    assert {manifest["digest"] for manifest in listed.json["manifests"]} == {digest, referrer}
    tags = await registry.get("/acr/v1/_deleted/web/_tags")
    assert [(tag["tag"], tag["digest"]) for tag in tags.json["tags"]] == [("1.0", digest)]
    body = world.registry.deleted["web"][digest].manifest.body
    assert (await registry.call("PUT", "/v2/web/manifests/1.0", data=body)).status == 409

    path = f"/acr/v1/_deleted/web/_manifests/{digest}"
    assert (await registry.call("POST", path, json={"tag": "1.0"})).status == 200
    assert world.registry.repositories["web"].tags["1.0"].digest == digest
    assert (await registry.call("POST", path, json={"tag": "1.0"})).status == 404
    other = f"/acr/v1/_deleted/web/_manifests/{referrer}"
    assert (await registry.call("POST", other, json={"tag": "1.0"})).status == 409
    assert (await registry.call("POST", other, json={"tag": None})).status == 200


async def test_soft_delete_requires_its_own_rights(world: World, registry: RegistryClient) -> None:
    world.registry.soft_delete = True
    await registry.login("repository:web:pull,push,delete,metadata_read")
    assert (await registry.get("/acr/v1/_deleted/web/_manifests")).status == 401
    await registry.login("repository:web:deleted_read")
    assert (await registry.get("/acr/v1/_deleted/web/_manifests")).status == 200
    path = f"/acr/v1/_deleted/web/_manifests/sha256:{'0' * 64}"
    assert (await registry.call("POST", path, json={"tag": None})).status == 401


async def test_deleted_list_without_soft_delete_answers_405(registry: RegistryClient) -> None:
    await registry.login()
    assert (await registry.get("/acr/v1/_deleted/web/_manifests")).status == 405


async def test_retention_of_zero_days_deletes_untagged_manifest(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.tag("web", "one", digest)
    world.registry.retention_days = 0
    await registry.login()
    assert (await registry.call("DELETE", "/acr/v1/web/_tags/1.0")).status == 202
    assert digest in world.registry.repositories["web"].manifests
    assert (await registry.call("DELETE", "/acr/v1/web/_tags/one")).status == 202
    assert "web" not in world.registry.repositories
