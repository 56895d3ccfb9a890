"""Change locks and restore manifests and tags in the emulated registry."""

from __future__ import annotations

from datetime import timedelta

import pytest

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.references import Digest
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.repository import Attributes
from acr_cleanup.errors import RegistryError, RegistryForbidden
from acr_cleanup.registry.restoring import PartMissing
from acr_cleanup.registry.wire import Document
from tests.helpers.registry_clients import emulated_registry, world_with_tags


async def test_unlock_and_lock_restore_the_same_attributes() -> None:
    """Only those of the tag or of the manifest; other attributes are not changed."""
    world = world_with_tags(2)
    digest = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.registry.lock("shop/web", "v0000", delete=False, list=False)
    world.registry.lock("shop/web", digest, write=False)
    state = world.registry.repositories["shop/web"]
    async with emulated_registry(world) as connected:
        tag, manifest = Lock("v0000", False, True), Lock(None, True, False)
        assert await connected.registry.unlock("shop/web", digest, tag) == digest
        assert not state.tags["v0000"].attributes.locked
        assert not state.tags["v0000"].attributes.list
        assert state.manifests[digest].attributes.locked
        assert await connected.registry.unlock("shop/web", digest, manifest) == digest
        assert not state.manifests[digest].attributes.locked

        assert await connected.registry.lock("shop/web", digest, tag) == digest
        assert await connected.registry.lock("shop/web", digest, manifest) == digest
        assert state.tags["v0000"].attributes == Attributes(delete=False, write=True, list=False)
        assert state.manifests[digest].attributes == Attributes(delete=True, write=False)
        assert connected.sent("PATCH") == 4


async def test_unlock_reports_moved_and_missing_tags() -> None:
    world = world_with_tags(1)
    old = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.registry.lock("shop/web", "v0000", delete=False)
    new = world.registry.push("shop/web", "v0000")
    async with emulated_registry(world) as connected:
        assert await connected.registry.unlock("shop/web", old, Lock("v0000", False, True)) == new
        assert await connected.registry.unlock("shop/web", old, Lock("missing", False, True)) is None
        assert await connected.registry.unlock("no/such", old, Lock(None, False, True)) is None


async def test_forbidden_unlock_names_the_missing_role() -> None:
    world = world_with_tags(1)
    digest = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.access.assign_only("AcrPush", "AcrDelete")
    async with emulated_registry(world) as connected:
        with pytest.raises(RegistryForbidden, match=r"registries/metadata/write .*Repository Writer"):
            await connected.registry.unlock("shop/web", digest, Lock("v0000", False, True))


async def test_document_is_read_and_pushed_byte_for_byte() -> None:
    world = world_with_tags(1)
    state = world.registry.repositories["shop/web"]
    digest = Digest(state.tags["v0000"].digest)
    stored = state.manifests[digest]
    async with emulated_registry(world) as connected:
        document = await connected.registry.read_document("shop/web", digest)
        assert document == Document(stored.body, stored.media_type)
        await connected.registry.delete_manifest("shop/web", digest)
        assert await connected.registry.read_document("shop/web", digest) is None

        await connected.restorer.push_document("shop/web", digest, document)
        await connected.restorer.push_document("shop/web", digest, document, "again")
        state = world.registry.repositories["shop/web"]
        assert state.manifests[digest].body == stored.body
        assert state.manifests[digest].media_type == stored.media_type
        assert list(state.tags) == ["again"]

        with pytest.raises(RegistryError, match="no request was sent"):
            await connected.restorer.push_document("shop/web", Digest("sha256:" + "0" * 64), document)


async def test_push_without_layers_or_children_raises_part_missing() -> None:
    world = World()
    child = world.registry.push("shop/web", age=timedelta(days=1))
    index = Digest(world.registry.push_index("shop/web", "multi", children=[child]))
    async with emulated_registry(world) as connected:
        of_index = await connected.registry.read_document("shop/web", index)
        of_child = await connected.registry.read_document("shop/web", Digest(child))
        assert of_index is not None
        assert of_child is not None
        await connected.registry.delete_manifest("shop/web", index)
        await connected.registry.delete_manifest("shop/web", Digest(child))
        with pytest.raises(PartMissing, match="MANIFEST_UNKNOWN"):
            await connected.restorer.push_document("shop/web", index, of_index)
        world.registry.collect_garbage()
        with pytest.raises(PartMissing, match="MANIFEST_BLOB_UNKNOWN"):
            await connected.restorer.push_document("shop/web", Digest(child), of_child)


async def test_read_document_checks_the_digest() -> None:
    world = world_with_tags(1)
    digest = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.faults.append(Fault(service="acr", path="manifests/sha256", status=200, body={"schemaVersion": 2}))
    async with emulated_registry(world) as connected:
        with pytest.raises(RegistryError, match="digest"):
            await connected.registry.read_document("shop/web", digest)


async def test_undelete_restores_manifests_and_free_tags() -> None:
    world = world_with_tags(3)
    world.registry.soft_delete = True
    world.registry.largest_page = 1
    tags = {name: Digest(tag.digest) for name, tag in world.registry.repositories["shop/web"].tags.items()}
    async with emulated_registry(world) as connected:
        assert await connected.restorer.deleted_manifests("shop/web") == frozenset()
        for digest in tags.values():
            await connected.registry.delete_manifest("shop/web", digest)
        assert await connected.restorer.deleted_manifests("shop/web") == frozenset(tags.values())

        assert await connected.restorer.undelete("shop/web", tags["v0000"], "v0000")
        assert await connected.restorer.undelete("shop/web", tags["v0001"])
        assert not await connected.restorer.undelete("shop/web", tags["v0000"], "v0000")
        state = world.registry.repositories["shop/web"]
        assert list(state.tags) == ["v0000"]
        assert set(state.manifests) == {tags["v0000"], tags["v0001"]}


async def test_deleted_manifests_without_soft_delete_is_empty() -> None:
    async with emulated_registry(world_with_tags(1)) as connected:
        assert await connected.restorer.deleted_manifests("shop/web") == frozenset()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "a?b", "md5:0"])
async def test_invalid_name_is_never_sent(name: str) -> None:
    digest = Digest("sha256:" + "0" * 64)
    async with emulated_registry(world_with_tags(1)) as connected:
        for call in (
            connected.registry.unlock("shop/web", digest, Lock(name, False, True)),
            connected.restorer.undelete("shop/web", digest, name),
            connected.registry.lock("shop/web", Digest(name), Lock(None, False, True)),
            connected.registry.read_document("shop/web", Digest(name)),
        ):
            with pytest.raises(RegistryError, match="not a valid"):
                await call
        assert connected.sent() == 0
