"""Read children, subjects and contents of manifests of the emulated registry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acr_cleanup.core.references import Digest
from acr_cleanup.core.subjects import SubjectQuestions
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.repository import OCI_INDEX, Attributes
from acr_cleanup.emulator.registry.state import OCI_CONFIG, OCI_MANIFEST
from acr_cleanup.emulator.roles import REGISTRIES, RoleDefinition
from acr_cleanup.errors import RegistryError, RegistryForbidden
from tests.helpers.registry_clients import emulated_registry, world_with_tags

# -- children and subjects -------------------------------------------------------------------------


async def test_read_edges_reads_each_body_once() -> None:
    world = World()
    registry = world.registry
    children = [registry.push("shop/web", architecture=architecture) for architecture in ("amd64", "arm64")]
    index = registry.push_index("shop/web", "1.0", children=children)
    signature = registry.push_referrer("shop/web", index, tag="sig")
    registry.push_referrer("shop/web", index)
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.read_edges(await connected.registry.list_repository("shop/web"))
        assert inventory.manifests[Digest(index)].children == tuple(children)
        assert inventory.manifests[Digest(signature)].subject == index
        assert inventory.manifests[Digest(index)].known
        assert not inventory.unknown
        read = connected.sent(path="/manifests/")
        # Two bodies: the untagged referrer is deleted with its subject, and images have no edges.
        assert read == 2
        again = await connected.registry.read_edges(await connected.registry.list_repository("shop/web"))
        assert again == inventory
        assert connected.sent(path="/manifests/") == read


@pytest.mark.parametrize(
    "harm",
    [
        Fault(status=404, body={"errors": [{"code": "MANIFEST_UNKNOWN", "message": "gone"}]}),
        Fault(status=503),
        Fault(truncate=0.5),
        Fault(malformed=True),
        Fault(status=200, body=b'{"manifests": null}'),
        Fault(status=200, body=b"x" * (4 * 1024 * 1024 + 1)),
        Fault(status=405),
    ],
    ids=["404", "503", "truncated", "malformed", "another body", "too large", "may not be read"],
)
async def test_manifest_with_unreadable_body_is_unknown(harm: Fault) -> None:
    world = World()
    registry = world.registry
    broken, fine = (
        registry.push_index("shop/web", name, children=[registry.push("shop/web")]) for name in ("broken", "fine")
    )
    world.faults.append(replace(harm, path=f"/manifests/{broken}"))
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.read_edges(await connected.registry.list_repository("shop/web"))
        assert inventory.unknown == {broken}
        assert inventory.manifests[Digest(fine)].known
        world.faults.clear()
        assert not (await connected.registry.read_edges(inventory)).unknown, "an unknown manifest is not read again"


async def test_lost_manifest_is_unknown_despite_other_repository() -> None:
    """A repository may list a manifest that it has lost, while another still has the content."""
    world = World()
    children = [world.registry.push("a/web", content="the same")]
    index = world.registry.push_index("a/web", "1", children=children)
    world.registry.push("b/web", content="the same")
    assert world.registry.push_index("b/web", "1", children=children) == index
    world.registry.ghost("b/web", index)
    async with emulated_registry(world) as connected:
        intact = await connected.registry.read_edges(await connected.registry.list_repository("a/web"))
        broken = await connected.registry.read_edges(await connected.registry.list_repository("b/web"))
    assert not intact.unknown
    assert broken.unknown == {index}


async def test_unlisted_manifest_of_tag_is_read_with_its_lock() -> None:
    world = World()
    child = world.registry.push("shop/web")
    index = world.registry.push_index("shop/web", "1.0", children=[child])
    world.registry.lock("shop/web", index, list=False, delete=False)
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
        assert set(inventory.manifests) == {child}
        inventory = await connected.registry.read_edges(inventory)
    manifest = inventory.manifests[Digest(index)]
    assert (manifest.locked, manifest.children, manifest.known) == (True, (child,), True)
    assert not inventory.unknown


async def test_unlisted_manifest_with_unreadable_lock_is_unknown() -> None:
    world = World()
    index = world.registry.push_index("shop/web", "1.0", children=[world.registry.push("shop/web")])
    world.registry.lock("shop/web", index, list=False)
    world.faults.append(Fault(path=f"/_manifests/{index}", status=500))
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.read_edges(await connected.registry.list_repository("shop/web"))
    assert inventory.unknown == {index}


async def test_forbidden_bodies_name_the_missing_role() -> None:
    world = World()
    world.registry.push_index("shop/web", "1.0", children=[world.registry.push("shop/web")])
    world.registry.abac = True
    metadata = f"{REGISTRIES}/repositories/metadata/read"
    world.access.assign_only(RoleDefinition("metadata only", data_actions=(metadata,)))
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
        with pytest.raises(RegistryForbidden, match="AcrPull"):
            await connected.registry.read_edges(inventory)


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX])
async def test_manifest_deleted_with_its_tag_after_the_lists_is_gone(media_type: str) -> None:
    """Between the list of tags and that of manifests, or between both and the body."""
    world = World()
    for name in ("1.0", "2.0"):
        world.registry.push_index("shop/web", name, children=[world.registry.push("shop/web")])
    state = world.registry.repositories["shop/web"]
    first, second = (state.tags[name].digest for name in ("1.0", "2.0"))
    async with emulated_registry(world) as connected:
        listed = await connected.registry.list_repository("shop/web")
        if media_type == OCI_MANIFEST:
            listed = replace(listed, manifests={d: m for d, m in listed.manifests.items() if d != first})
        state.delete_manifest(first)
        inventory = await connected.registry.read_edges(listed)
    assert [tag.name for tag in inventory.tags] == ["2.0"]
    assert first not in inventory.manifests
    assert inventory.manifests[Digest(second)].known
    assert not inventory.unknown


async def test_tag_moved_after_the_lists_names_its_new_manifest() -> None:
    world = World()
    old, new = (world.registry.push("shop/web", name) for name in ("1.0", "2.0"))
    state = world.registry.repositories["shop/web"]
    async with emulated_registry(world) as connected:
        listed = await connected.registry.list_repository("shop/web")
        listed = replace(listed, manifests={d: m for d, m in listed.manifests.items() if d != old})
        world.registry.tag("shop/web", "1.0", new)
        state.delete_manifest(old)
        inventory = await connected.registry.read_edges(listed)
    assert {tag.name: tag.digest for tag in inventory.tags} == {"1.0": new, "2.0": new}
    assert inventory.manifests.keys() == {new}


async def test_tag_of_a_lost_manifest_keeps_it_unknown() -> None:
    """The registry has neither its attributes nor its body, but a tag names it."""
    world = World()
    lost = world.registry.push_index("shop/web", "1.0", children=[world.registry.push("shop/web")])
    world.faults.append(Fault(path=f"/_?manifests/{lost}", status=404))
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.read_edges(await connected.registry.list_repository("shop/web"))
    assert inventory.unknown == {lost}
    assert [tag.digest for tag in inventory.tags] == [lost]


@pytest.mark.parametrize("of", ["tag", "manifest"])
async def test_unlisted_item_in_use_is_added_or_absent(of: str) -> None:
    world = World()
    digest = world.registry.push("shop/web", "hidden")
    world.registry.push("shop/web", "shown")
    if of == "tag":
        world.registry.repositories["shop/web"].tags["hidden"].attributes = Attributes(list=False)
    else:
        world.registry.repositories["shop/web"].untag("hidden")
        world.registry.lock("shop/web", digest, list=False)
    used = frozenset({"hidden", "absent", "not a tag"} if of == "tag" else ())
    digests = frozenset({Digest(digest), Digest("sha256:" + "0" * 64)} if of == "manifest" else ())
    async with emulated_registry(world) as connected:
        listed = await connected.registry.list_repository("shop/web")
        inventory = await connected.registry.read_edges(listed.used_by(digests, used))
        absent = connected.sent(path="/(absent|sha256:0+)$")
        again = await connected.registry.read_edges(listed.used_by(digests, used))
        assert absent == connected.sent(path="/(absent|sha256:0+)$") == 1, "the absent one is not requested again"
    assert again == inventory
    assert {tag.name for tag in inventory.tags} == ({"hidden", "shown"} if of == "tag" else {"shown"})
    assert digest in inventory.manifests


async def test_unlisted_item_with_another_answer_is_an_error() -> None:
    world = World()
    world.registry.push("shop/web", "1.0")
    world.faults.append(Fault(path="/_tags/hidden", status=200, body=b"[]"))
    async with emulated_registry(world) as connected:
        listed = await connected.registry.list_repository("shop/web")
        with pytest.raises(RegistryError) as caught:
            await connected.registry.read_edges(listed.used_by(frozenset(), frozenset({"hidden"})))
    assert "reading unlisted tags and manifests of shop/web" in str(caught.value)
    assert "the response does not describe a tag or manifest: " in str(caught.value)


# -- existence and contents ------------------------------------------------------------------------


async def test_resolves_finds_listed_and_unlisted_tags() -> None:
    world = world_with_tags(1)
    state = world.registry.repositories["shop/web"]
    digest = state.tags["v0000"].digest
    state.tags["v0000"].attributes = Attributes(list=False)
    async with emulated_registry(world) as connected:
        assert await connected.registry.resolves("shop/web", "v0000")
        assert await connected.registry.resolves("shop/web", digest)
        assert not await connected.registry.resolves("shop/web", "v0001")
        assert not await connected.registry.resolves("shop/nowhere", "v0001")
        with pytest.raises(RegistryError):
            await connected.registry.resolves("shop/web", "../x")
        world.faults.append(Fault(service="acr", path="/manifests/v0000", status=403))
        with pytest.raises(RegistryForbidden):
            await connected.registry.resolves("shop/web", "v0000")


async def test_attributes_exist_for_a_manifest_that_cannot_be_pulled() -> None:
    world = world_with_tags(1)
    state = world.registry.repositories["shop/web"]
    digest = state.tags["v0000"].digest
    world.registry.ghost("shop/web", digest)
    async with emulated_registry(world) as connected:
        registry = connected.registry
        assert not await registry.resolves("shop/web", "v0000")
        assert await registry.has_attributes("shop/web", "v0000")
        assert await registry.has_attributes("shop/web", digest)
        assert not await registry.has_attributes("shop/web", "v0001")
        assert not await registry.has_attributes("shop/nowhere", "v0001")
        # A tag whose manifest is lost cannot be pulled, although its own attributes exist.
        world.faults.append(Fault(service="acr", path=f"/_manifests/{digest}", status=404))
        assert not await registry.has_attributes("shop/web", "v0000")
        world.faults.append(Fault(service="acr", path="/_tags/v0000", status=200, body=b"{}"))
        with pytest.raises(RegistryError, match="does not describe a tag"):
            await registry.has_attributes("shop/web", "v0000")


async def test_read_contents_reads_only_unread_manifests() -> None:
    world = world_with_tags(2)
    children = [world.registry.push("shop/web", architecture=architecture) for architecture in ("amd64", "arm64")]
    index = world.registry.push_index("shop/web", "multi", children=children)
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.read_edges(await connected.registry.list_repository("shop/web"))
        before = connected.sent("GET")
        contents, read = await connected.registry.read_contents(inventory)

        assert read == connected.sent("GET") - before == 4
        assert contents.keys() == inventory.manifests.keys()
        of_index = contents[Digest(index)]
        assert of_index is not None
        assert (of_index.document, of_index.blobs) == (inventory.manifests[Digest(index)].size, {})
        of_image = contents[Digest(children[0])]
        assert of_image is not None
        assert sum(of_image.blobs.values()) == inventory.manifests[Digest(children[0])].size


async def test_unreadable_body_has_unknown_content() -> None:
    world = world_with_tags(2)
    digest = world.registry.repositories["shop/web"].tags["v0001"].digest
    world.faults.append(Fault(service="acr", path=digest, malformed=True))
    async with emulated_registry(world) as connected:
        contents, _ = await connected.registry.read_contents(await connected.registry.list_repository("shop/web"))

        assert contents[Digest(digest)] is None
        assert sum(content is not None for content in contents.values()) == 1


async def test_signature_is_no_list_of_the_referrers_of_its_subject() -> None:
    """A registry without such lists: only an index named after the subject is one. Others may refer to it, too."""
    world = World()
    world.registry.referrers_api = False
    subject = Digest(world.registry.push("shop/web", "1.0"))
    signature = Digest(world.registry.push("shop/web", f"{subject.replace(':', '-')}.sig", media_type=OCI_MANIFEST))
    world.registry.push_referrer("shop/web", subject)
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
        for questions in (SubjectQuestions(bodies=(signature,)), SubjectQuestions(referrers=(subject,))):
            inventory = await connected.registry.read_subjects(inventory, questions)
    assert inventory.manifests[signature].known
    assert (inventory.asked, inventory.unlistable) == (frozenset[Digest](), frozenset({subject}))


async def test_listed_referrers_have_their_subject_without_their_bodies() -> None:
    """Listed or not: the registry deletes both with their subject."""
    world = World()
    subject = Digest(world.registry.push("shop/web", "1.0", media_type=OCI_MANIFEST))
    listed, unlisted = (
        Digest(world.registry.push_referrer("shop/web", subject, config_media_type=OCI_CONFIG)) for _ in range(2)
    )
    world.registry.lock("shop/web", unlisted, list=False)
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
        assert unlisted not in inventory.manifests
        inventory = await connected.registry.read_subjects(inventory, SubjectQuestions(referrers=(subject,)))
        assert connected.sent(path=f"/manifests/{listed}") == 0
    assert {digest: inventory.manifests[digest].subject for digest in (listed, unlisted)} == {
        listed: subject,
        unlisted: subject,
    }
    assert (inventory.asked, inventory.unlistable) == (frozenset({subject}), frozenset[Digest]())
