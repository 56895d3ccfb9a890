"""The whole graph, on real manifests: what hangs together stays together, and no body is read that nobody needs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.plan_warnings import UnreadableManifests
from acr_cleanup.core.planning import nothing_to_delete, plan_repository
from acr_cleanup.core.policy import RetentionPolicy, Rule
from acr_cleanup.core.removal import prepare
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.repository import DOCKER_LIST, OCI_INDEX, ManifestState
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_CONFIG, OCI_MANIFEST
from acr_cleanup.errors import RegistryError, RegistryForbidden
from tests.helpers.generated_inventories import usage, use
from tests.helpers.registry_clients import Connected, connect

WEB = "shop/web"
OLD = timedelta(days=100)
YOUNG = timedelta(days=1)
STRANGE = "application/vnd.example.future.manifest.v9+json"


async def look(
    at: Connected, policy: RetentionPolicy | None = None, uses: UsageIndex | None = None
) -> tuple[RepositoryPlan, RepositoryInventory]:
    """Read and decide, as a run does."""
    uses, policy, now = uses or usage(), policy or RetentionPolicy(), datetime.now(UTC)
    inventory = prepare(await at.registry.list_repository(WEB), uses, policy, now)
    if not nothing_to_delete(inventory, uses, policy, now):
        inventory = await at.registry.read_edges(inventory)
    return plan_repository(inventory, uses, policy, now), inventory


async def clean(world: World, policy: RetentionPolicy | None = None, uses: UsageIndex | None = None) -> RepositoryPlan:
    """One whole run over the repository, and a second one, which has nothing to do."""
    async with connect(world) as at:
        found, _ = await look(at, policy, uses)
        for step in found.steps:
            if isinstance(step, DeleteManifest):
                await at.registry.delete_manifest(WEB, step.digest)
            else:
                await at.registry.untag(WEB, step.tag.name)
        assert not (await look(at, policy, uses))[0].steps
    return found


def left(world: World) -> set[str]:
    state = world.registry.repositories.get(WEB)
    return set(state.manifests) if state else set()


def signature_tag(digest: str, suffix: str = ".sig") -> str:
    return digest.replace(":", "-") + suffix


def bodies(at: Connected) -> int:
    return at.sent("GET", f"/v2/{WEB}/manifests/")


# -- what hangs together


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
async def test_the_known_disaster_a_locked_tagged_index_keeps_its_children(media_type: str) -> None:
    """https://github.com/Azure/acr-cli/pull/462 passes over a locked index before looking at what it lists."""
    world = World()
    children = [world.registry.push(WEB, age=OLD, architecture=each) for each in ("amd64", "arm64")]
    index = world.registry.push_index(WEB, "1.0", children=children, age=OLD, media_type=media_type)
    world.registry.lock(WEB, index)
    world.registry.push(WEB, "0.9", age=OLD)

    await clean(world, RetentionPolicy(delete_untagged=True))

    assert left(world) == {index, *children}


async def test_an_index_with_a_locked_tag_keeps_its_children_too() -> None:
    world = World()
    child = world.registry.push(WEB, age=OLD)
    index = world.registry.push_index(WEB, "1.0", children=[child], age=OLD)
    world.registry.lock(WEB, "1.0")
    world.registry.push(WEB, "0.9", age=OLD)

    await clean(world, RetentionPolicy(delete_untagged=True))

    assert left(world) == {index, child}


@pytest.mark.parametrize("untagged", [True, False])
async def test_nested_and_shared_children_go_with_the_last_index_that_lists_them(untagged: bool) -> None:
    world = World()
    shared, own, kept = (world.registry.push(WEB, age=OLD) for _ in range(3))
    inner = world.registry.push_index(WEB, children=[own, shared], age=OLD)
    world.registry.push_index(WEB, "old", children=[inner], age=OLD, media_type=DOCKER_LIST)
    young = world.registry.push_index(WEB, "new", children=[shared, kept], age=YOUNG)

    await clean(world, RetentionPolicy(delete_untagged=untagged))

    assert left(world) == {young, shared, kept}


@pytest.mark.parametrize("as_index", [True, False], ids=["index", "image"])
@pytest.mark.parametrize("untagged", [True, False])
async def test_referrers_and_their_referrers_live_with_their_subject(as_index: bool, untagged: bool) -> None:
    """https://github.com/Azure/acr-cli/pull/462 deletes a referrer that is an index."""
    world = World()
    subject = world.registry.push(WEB, "1.0", age=YOUNG)
    part = world.registry.push(WEB, age=OLD)
    referrer = (
        world.registry.push_index(WEB, children=[part], subject=subject, age=OLD)
        if as_index
        else world.registry.push_referrer(WEB, subject, age=OLD)
    )
    farther = world.registry.push_referrer(WEB, referrer, tag="sbom-signature", age=OLD)
    world.registry.push(WEB, "0.9", age=OLD)

    await clean(world, RetentionPolicy(delete_untagged=untagged))

    assert left(world) >= {subject, referrer, farther}
    assert (part in left(world)) or (untagged and not as_index)


@pytest.mark.parametrize("untagged", [True, False])
async def test_referrers_and_their_referrers_die_with_their_subject(untagged: bool) -> None:
    world = World()
    subject = world.registry.push(WEB, "1.0", age=OLD)
    world.registry.push_index(WEB, children=[], subject=subject, age=OLD)
    referrer = world.registry.push_referrer(WEB, subject, age=OLD)
    world.registry.push_referrer(WEB, referrer, age=OLD)

    await clean(world, RetentionPolicy(delete_untagged=untagged))

    assert left(world) == set()


@pytest.mark.parametrize("age", [OLD, YOUNG], ids=["dies", "lives"])
@pytest.mark.parametrize("untagged", [True, False])
async def test_the_list_of_referrers_lives_and_dies_with_its_subject(age: timedelta, untagged: bool) -> None:
    """Registries without the referrers API: a tag `sha256-…` on an index of the referrers."""
    world = World()
    subject = world.registry.push(WEB, "1.0", age=age)
    referrers = [world.registry.push_referrer(WEB, subject, age=OLD) for _ in range(2)]
    listing = world.registry.push_index(WEB, signature_tag(subject, ""), children=referrers, age=OLD)
    world.registry.push(WEB, "0.9", age=OLD)

    found = await clean(world, RetentionPolicy(delete_untagged=untagged))

    assert left(world) == ({subject, listing, *referrers} if age is YOUNG else set())
    order: list[str] = [step.digest for step in found.steps]
    assert age is YOUNG or order.index(listing) < order.index(referrers[0]) < order.index(subject)


@pytest.mark.parametrize("suffix", [".sig", ".att", ".sbom"])
async def test_cosign_tags_live_and_die_with_their_subject(suffix: str) -> None:
    world = World()
    kept = world.registry.push(WEB, "2.0", age=YOUNG)
    gone = world.registry.push(WEB, "1.0", age=OLD)
    of_kept, of_gone = (
        world.registry.push(WEB, signature_tag(each, suffix), age=OLD, media_type=OCI_MANIFEST) for each in (kept, gone)
    )
    # And what signs the signature.
    farther = world.registry.push(WEB, signature_tag(of_kept), age=OLD, media_type=OCI_MANIFEST)

    found = await clean(world, RetentionPolicy(include_tags=("1.*",)))

    assert left(world) == {kept, of_kept, farther}
    assert [step.digest for step in found.steps] == [of_gone, gone]


async def test_what_is_tagged_more_than_once_goes_with_its_last_name() -> None:
    world = World()
    twice = world.registry.push(WEB, "1.0", age=OLD)
    for name in [f"alias-{number}" for number in range(12)]:
        # More than the registry shows on a manifest.
        world.registry.tag(WEB, name, twice, OLD)
    once_more = world.registry.push(WEB, "2.0", age=OLD)
    world.registry.tag(WEB, "stable", once_more, YOUNG)

    await clean(world)

    assert left(world) == {once_more}
    assert set(world.registry.repositories[WEB].tags) == {"stable"}


async def test_an_unlisted_index_keeps_its_children() -> None:
    world = World()
    child = world.registry.push(WEB, "1.0-amd64", age=OLD)
    index = world.registry.push_index(WEB, "1.0", children=[child], age=YOUNG)
    world.registry.lock(WEB, index, list=False)

    await clean(world, RetentionPolicy(delete_untagged=True))

    assert left(world) == {child, index}


async def test_a_ghost_keeps_its_neighbourhood() -> None:
    """Listed, and GET answers 404: anything might be its child. https://github.com/Azure/acr-cli/issues/459"""
    world = World()
    child = world.registry.push(WEB, age=OLD)
    index = world.registry.push_index(WEB, "1.0", children=[child], age=OLD)
    other = world.registry.push(WEB, "0.9", age=OLD)
    world.registry.ghost(WEB, index)

    found = await clean(world, RetentionPolicy(delete_untagged=True))

    assert left(world) == {child, index, other}
    assert [each.reasons[0].rule for each in found.untagged if each.manifest.digest == child] == [Rule.UNKNOWN_MANIFEST]


def odd(world: World, media_type: str, body: bytes) -> str:
    """A manifest that no client of today would push."""
    digest = world.registry.push(WEB, "odd", age=OLD)
    state = world.registry.repositories[WEB]
    known = state.manifests.pop(digest)
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    state.manifests[digest] = ManifestState(digest, body, media_type, len(body), known.created, known.updated)
    state.tags["odd"].digest = digest
    state.manifests[digest].tags["odd"] = None
    state.forget_orders()
    return digest


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (STRANGE, json.dumps({"mediaType": STRANGE, "parts": []}).encode()),
        (OCI_INDEX, b"\x00\xff not JSON"),
        (OCI_INDEX, b'{"manifests": {}}'),
        (STRANGE, b"<xml/>"),
    ],
    ids=["a media type nobody knows", "not JSON", "another shape", "neither"],
)
async def test_a_manifest_that_nobody_understands_is_kept_with_all_that_might_belong_to_it(
    media_type: str, body: bytes
) -> None:
    world = World()
    might = world.registry.push(WEB, "1.0", age=OLD)
    digest = odd(world, media_type, body)

    found = await clean(world, RetentionPolicy(delete_untagged=True))

    assert left(world) == {might, digest}
    assert set(world.registry.repositories[WEB].tags) == {"odd"}
    assert isinstance(found.warnings[0], UnreadableManifests)


async def test_a_manifest_of_4_mb_is_read_like_any_other() -> None:
    world = World()
    child = world.registry.push(WEB, age=OLD)
    fixed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": child, "mediaType": DOCKER_MANIFEST}]}
    padding = "x" * (4 * 1024 * 1024 - len(json.dumps({**fixed, "annotations": {"x": ""}})))
    body = json.dumps({**fixed, "annotations": {"x": padding}}).encode()
    assert len(body) == 4 * 1024 * 1024
    world.registry.put(WEB, "1.0", body, OCI_INDEX, OLD)

    await clean(world)

    assert left(world) == set()


# -- untagged manifests


async def test_an_untagged_image_that_is_attached_to_a_kept_one_proves_it_by_its_body() -> None:
    """A streaming companion runs like an image, and only its body says whose it is."""
    world = World()
    subject = world.registry.push(WEB, "1.0", age=YOUNG)
    companion = world.registry.push_referrer(WEB, subject, age=OLD, config_media_type=OCI_CONFIG)
    stray = world.registry.push(WEB, age=OLD, media_type=OCI_MANIFEST)

    await clean(world)
    assert left(world) == {subject, companion, stray}
    found = await clean(world, RetentionPolicy(delete_untagged=True))

    assert left(world) == {subject, companion}
    assert [each.manifest.digest for each in found.untagged_deletions] == [stray]


async def test_an_untagged_image_whose_body_cannot_be_read_stays_alone() -> None:
    world = World()
    ghost, _ = (world.registry.push(WEB, age=OLD, media_type=OCI_MANIFEST) for _ in range(2))
    world.registry.push(WEB, "1.0", age=OLD)
    world.registry.ghost(WEB, ghost)

    await clean(world, RetentionPolicy(delete_untagged=True))

    assert left(world) == {ghost}


# -- locks of repositories


@pytest.mark.parametrize("lock", [{"delete": False}, {"write": False}])
async def test_a_locked_repository_loses_nothing_whatever_is_asked_for(lock: dict[str, Any]) -> None:
    world = World()
    image = world.registry.push(WEB, "1.0", age=OLD)
    stray = world.registry.push(WEB, age=OLD)
    world.registry.lock(WEB, **lock)

    found = await clean(world, RetentionPolicy(delete_untagged=True, include_locked=True))

    assert left(world) == {image, stray}
    assert [reason.detail for each in found.decisions for reason in each.reasons] == [
        "the repository is locked in the registry"
    ]
    assert [reason.rule for each in found.untagged for reason in each.reasons] == [Rule.LOCKED]


async def test_the_lock_of_a_repository_is_read_only_where_something_could_be_deleted() -> None:
    world = World()
    world.registry.push(WEB, "1.0", age=OLD)
    async with connect(world) as at:
        await look(at, uses=usage(use("1.0")))
        assert at.sent(path=f"/acr/v1/{WEB}$") == 0
        await look(at)
        assert at.sent(path=f"/acr/v1/{WEB}$") == 1


@pytest.mark.parametrize(("status", "error"), [(500, RegistryError), (403, RegistryForbidden)])
async def test_a_lock_that_cannot_be_read_is_not_taken_for_none(status: int, error: type[Exception]) -> None:
    world = World()
    world.registry.push(WEB, "1.0", age=OLD)
    world.faults.append(Fault(path=f"/acr/v1/{WEB}$", status=status))
    async with connect(world) as at:
        with pytest.raises(error):
            await look(at)


# -- requests


async def test_only_bodies_that_could_change_a_decision_are_read_and_each_of_them_once() -> None:
    world = World()
    children = [world.registry.push(WEB, age=OLD) for _ in range(3)]
    world.registry.push_index(WEB, "1.0", children=children, age=OLD)
    world.registry.push_index(WEB, "2.0", children=children[:2], age=OLD)
    chart = world.registry.push_referrer(WEB, children[0], tag="sbom", age=OLD)
    for number in range(5):
        world.registry.push(WEB, f"plain-{number}", age=OLD, media_type=OCI_MANIFEST)
        world.registry.push_referrer(WEB, children[1], age=OLD)
    async with connect(world) as at:
        await look(at, uses=usage(*(use(name) for name in world.registry.repositories[WEB].tags)))
        assert bodies(at) == 0, "nothing could go"
        found, inventory = await look(at)
        # Two indexes and one artifact with a tag; no image, no child, and no artifact that goes with its subject anyway.
        assert bodies(at) == 3
        assert len(found.steps) == 11
        assert chart in inventory.manifests
        await look(at)
        assert bodies(at) == 3, "a second look has them all"
        await look(at, RetentionPolicy(delete_untagged=True))
        assert bodies(at) == 8, "what has no tag and is in no index, now that it may go by itself"


async def test_what_was_not_read_because_nobody_needed_it_is_no_warning() -> None:
    world = World()
    world.registry.push_index(WEB, "1.0", children=[world.registry.push(WEB)], age=OLD)
    async with connect(world) as at:
        found, _ = await look(at, uses=usage(use("1.0")))
    assert not found.warnings
    assert [reason.rule for each in found.decisions for reason in each.reasons] == [Rule.IN_USE]


async def test_locks_are_taken_off_in_the_plan_only_where_they_are() -> None:
    world = World()
    image = world.registry.push(WEB, "1.0", age=OLD)
    world.registry.tag(WEB, "1.0.0", image, OLD)
    world.registry.lock(WEB, image, write=False)
    world.registry.lock(WEB, "1.0", delete=False)
    async with connect(world) as at:
        assert not (await look(at))[0].steps
        (step,) = (await look(at, replace(RetentionPolicy(), include_locked=True)))[0].steps
    assert {(lock.tag, lock.delete_enabled, lock.write_enabled) for lock in step.locks} == {
        (None, True, False),
        ("1.0", False, True),
    }
