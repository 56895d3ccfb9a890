"""Decisions on graphs of real manifests, and the requests that reading them takes."""

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
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.repository import DOCKER_LIST, OCI_INDEX, ManifestState
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_CONFIG, OCI_MANIFEST
from acr_cleanup.errors import RegistryError, RegistryForbidden
from acr_cleanup.stages.read_repository import read_repository
from tests.helpers.generated_inventories import usage, use
from tests.helpers.registry_clients import EmulatedRegistry, emulated_registry

WEB = "shop/web"
OLD = timedelta(days=100)
YOUNG = timedelta(days=1)
UNKNOWN_TYPE = "application/vnd.example.future.manifest.v9+json"


async def read_and_plan(
    connected: EmulatedRegistry, policy: RetentionPolicy | None = None, uses: UsageIndex | None = None
) -> tuple[RepositoryPlan, RepositoryInventory]:
    """Read the repository and make its plan, as a run does."""
    uses, policy, now = uses or usage(), policy or RetentionPolicy(), datetime.now(UTC)
    inventory = await read_repository(connected.registry, WEB, uses, policy, now, edges=False)
    return plan_repository(inventory, uses, policy, now), inventory


async def run_twice(
    world: World, policy: RetentionPolicy | None = None, uses: UsageIndex | None = None
) -> RepositoryPlan:
    """Plan and delete twice; the second plan must be empty. Returns the first one."""
    async with emulated_registry(world) as connected:
        plan, _ = await read_and_plan(connected, policy, uses)
        for step in plan.steps:
            if isinstance(step, DeleteManifest):
                await connected.registry.delete_manifest(WEB, step.digest)
            else:
                await connected.registry.untag(WEB, step.tag.name)
        assert not (await read_and_plan(connected, policy, uses))[0].steps
    return plan


def remaining(world: World) -> set[str]:
    state = world.registry.repositories.get(WEB)
    return set(state.manifests) if state else set()


def signature_tag(digest: str, suffix: str = ".sig") -> str:
    return digest.replace(":", "-") + suffix


def bodies(connected: EmulatedRegistry) -> int:
    return connected.sent("GET", f"/v2/{WEB}/manifests/")


# -- indexes, children, subjects and referrers


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
async def test_locked_index_keeps_its_children(media_type: str) -> None:
    """acr-cli skips a locked index before its children: https://github.com/Azure/acr-cli/pull/462"""
    world = World()
    children = [world.registry.push(WEB, age=OLD, architecture=architecture) for architecture in ("amd64", "arm64")]
    index = world.registry.push_index(WEB, "1.0", children=children, age=OLD, media_type=media_type)
    world.registry.lock(WEB, index)
    world.registry.push(WEB, "0.9", age=OLD)

    await run_twice(world, RetentionPolicy(delete_untagged=True))

    assert remaining(world) == {index, *children}


async def test_index_with_locked_tag_keeps_its_children() -> None:
    world = World()
    child = world.registry.push(WEB, age=OLD)
    index = world.registry.push_index(WEB, "1.0", children=[child], age=OLD)
    world.registry.lock(WEB, "1.0")
    world.registry.push(WEB, "0.9", age=OLD)

    await run_twice(world, RetentionPolicy(delete_untagged=True))

    assert remaining(world) == {index, child}


@pytest.mark.parametrize("untagged", [True, False])
async def test_shared_children_are_deleted_with_their_last_index(untagged: bool) -> None:
    world = World()
    shared, own, kept = (world.registry.push(WEB, age=OLD) for _ in range(3))
    inner = world.registry.push_index(WEB, children=[own, shared], age=OLD)
    world.registry.push_index(WEB, "old", children=[inner], age=OLD, media_type=DOCKER_LIST)
    young = world.registry.push_index(WEB, "new", children=[shared, kept], age=YOUNG)

    await run_twice(world, RetentionPolicy(delete_untagged=untagged))

    assert remaining(world) == {young, shared, kept}


@pytest.mark.parametrize("as_index", [True, False], ids=["index", "image"])
@pytest.mark.parametrize("untagged", [True, False])
async def test_kept_subject_keeps_its_referrers(as_index: bool, untagged: bool) -> None:
    """
    Their own referrers are kept, too.

    https://github.com/Azure/acr-cli/pull/462 deletes a referrer that is an index.
    """
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

    await run_twice(world, RetentionPolicy(delete_untagged=untagged))

    assert remaining(world) >= {subject, referrer, farther}
    assert (part in remaining(world)) or (untagged and not as_index)


@pytest.mark.parametrize("untagged", [True, False])
async def test_referrers_are_deleted_with_their_subject(untagged: bool) -> None:
    """Their own referrers are deleted, too."""
    world = World()
    subject = world.registry.push(WEB, "1.0", age=OLD)
    world.registry.push_index(WEB, children=[], subject=subject, age=OLD)
    referrer = world.registry.push_referrer(WEB, subject, age=OLD)
    world.registry.push_referrer(WEB, referrer, age=OLD)

    await run_twice(world, RetentionPolicy(delete_untagged=untagged))

    assert remaining(world) == set()


@pytest.mark.parametrize("age", [OLD, YOUNG], ids=["deleted", "kept"])
@pytest.mark.parametrize("untagged", [True, False])
async def test_referrers_tag_shares_the_decision_of_its_subject(age: timedelta, untagged: bool) -> None:
    """Registries without the referrers API: a tag `sha256-…` on an index of the referrers."""
    world = World()
    subject = world.registry.push(WEB, "1.0", age=age)
    referrers = [world.registry.push_referrer(WEB, subject, age=OLD) for _ in range(2)]
    listing = world.registry.push_index(WEB, signature_tag(subject, ""), children=referrers, age=OLD)
    world.registry.push(WEB, "0.9", age=OLD)

    plan = await run_twice(world, RetentionPolicy(delete_untagged=untagged))

    assert remaining(world) == ({subject, listing, *referrers} if age is YOUNG else set())
    order: list[str] = [step.digest for step in plan.steps]
    assert age is YOUNG or order.index(listing) < order.index(referrers[0]) < order.index(subject)


@pytest.mark.parametrize("suffix", [".sig", ".att", ".sbom"])
async def test_cosign_tags_share_the_decision_of_their_subject(suffix: str) -> None:
    world = World()
    kept = world.registry.push(WEB, "2.0", age=YOUNG)
    gone = world.registry.push(WEB, "1.0", age=OLD)
    of_kept, of_gone = (
        world.registry.push(WEB, signature_tag(digest, suffix), age=OLD, media_type=OCI_MANIFEST)
        for digest in (kept, gone)
    )
    # A signature of the signature.
    farther = world.registry.push(WEB, signature_tag(of_kept), age=OLD, media_type=OCI_MANIFEST)

    plan = await run_twice(world, RetentionPolicy(include_tags=("1.*",)))

    assert remaining(world) == {kept, of_kept, farther}
    assert [step.digest for step in plan.steps] == [of_gone, gone]


async def test_manifest_is_deleted_with_its_last_tag() -> None:
    world = World()
    twice = world.registry.push(WEB, "1.0", age=OLD)
    for name in [f"alias-{number}" for number in range(12)]:
        # More tags than the listing of manifests shows.
        world.registry.tag(WEB, name, twice, OLD)
    once_more = world.registry.push(WEB, "2.0", age=OLD)
    world.registry.tag(WEB, "stable", once_more, YOUNG)

    await run_twice(world)

    assert remaining(world) == {once_more}
    assert set(world.registry.repositories[WEB].tags) == {"stable"}


async def test_unlisted_index_keeps_its_children() -> None:
    world = World()
    child = world.registry.push(WEB, "1.0-amd64", age=OLD)
    index = world.registry.push_index(WEB, "1.0", children=[child], age=YOUNG)
    world.registry.lock(WEB, index, list=False)

    await run_twice(world, RetentionPolicy(delete_untagged=True))

    assert remaining(world) == {child, index}


async def test_lost_index_keeps_possible_children() -> None:
    """
    The manifest is listed, but GET answers 404, so any manifest may be its child.

    https://github.com/Azure/acr-cli/issues/459
    """
    world = World()
    child = world.registry.push(WEB, age=OLD)
    index = world.registry.push_index(WEB, "1.0", children=[child], age=OLD)
    other = world.registry.push(WEB, "0.9", age=OLD)
    world.registry.ghost(WEB, index)

    plan = await run_twice(world, RetentionPolicy(delete_untagged=True))

    assert remaining(world) == {child, index, other}
    (decision,) = (decision for decision in plan.untagged if decision.manifest.digest == child)
    assert decision.reasons[0].rule is Rule.UNKNOWN_MANIFEST


def push_raw(world: World, media_type: str, body: bytes) -> str:
    """Push a manifest of any bytes and media type under the tag odd; returns its digest."""
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
        (UNKNOWN_TYPE, json.dumps({"mediaType": UNKNOWN_TYPE, "parts": []}).encode()),
        (OCI_INDEX, b"\x00\xff not JSON"),
        (OCI_INDEX, b'{"manifests": {}}'),
        (UNKNOWN_TYPE, b"<xml/>"),
    ],
    ids=["unknown media type", "not JSON", "another shape", "neither"],
)
async def test_unreadable_manifest_keeps_possible_children(media_type: str, body: bytes) -> None:
    world = World()
    possible_child = world.registry.push(WEB, "1.0", age=OLD)
    digest = push_raw(world, media_type, body)

    plan = await run_twice(world, RetentionPolicy(delete_untagged=True))

    assert remaining(world) == {possible_child, digest}
    assert set(world.registry.repositories[WEB].tags) == {"odd"}
    assert isinstance(plan.warnings[0], UnreadableManifests)


async def test_manifest_of_4_mb_is_read() -> None:
    world = World()
    child = world.registry.push(WEB, age=OLD)
    fixed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": child, "mediaType": DOCKER_MANIFEST}]}
    padding = "x" * (4 * 1024 * 1024 - len(json.dumps({**fixed, "annotations": {"x": ""}})))
    body = json.dumps({**fixed, "annotations": {"x": padding}}).encode()
    assert len(body) == 4 * 1024 * 1024
    world.registry.put(WEB, "1.0", body, OCI_INDEX, OLD)

    await run_twice(world)

    assert remaining(world) == set()


# -- untagged manifests


async def test_untagged_image_with_kept_subject_is_kept() -> None:
    """An artifact for image streaming has the type of an image; only its body names a subject."""
    world = World()
    subject = world.registry.push(WEB, "1.0", age=YOUNG)
    companion = world.registry.push_referrer(WEB, subject, age=OLD, config_media_type=OCI_CONFIG)
    stray = world.registry.push(WEB, age=OLD, media_type=OCI_MANIFEST)

    await run_twice(world)
    assert remaining(world) == {subject, companion, stray}
    plan = await run_twice(world, RetentionPolicy(delete_untagged=True))

    assert remaining(world) == {subject, companion}
    assert [deletion.manifest.digest for deletion in plan.untagged_deletions] == [stray]


async def test_lost_untagged_image_keeps_only_itself() -> None:
    world = World()
    ghost, _ = (world.registry.push(WEB, age=OLD, media_type=OCI_MANIFEST) for _ in range(2))
    world.registry.push(WEB, "1.0", age=OLD)
    world.registry.ghost(WEB, ghost)

    await run_twice(world, RetentionPolicy(delete_untagged=True))

    assert remaining(world) == {ghost}


# -- locks of repositories


@pytest.mark.parametrize("lock", [{"delete": False}, {"write": False}])
async def test_locked_repository_is_kept_despite_all_options(lock: dict[str, Any]) -> None:
    world = World()
    image = world.registry.push(WEB, "1.0", age=OLD)
    stray = world.registry.push(WEB, age=OLD)
    world.registry.lock(WEB, **lock)

    plan = await run_twice(world, RetentionPolicy(delete_untagged=True, include_locked=True))

    assert remaining(world) == {image, stray}
    details = [reason.detail for decision in plan.decisions for reason in decision.reasons]
    assert details == ["the repository is locked in the registry"]
    assert [reason.rule for decision in plan.untagged for reason in decision.reasons] == [Rule.LOCKED]


async def test_repository_lock_is_read_only_before_deletions() -> None:
    world = World()
    world.registry.push(WEB, "1.0", age=OLD)
    async with emulated_registry(world) as connected:
        await read_and_plan(connected, uses=usage(use("1.0")))
        assert connected.sent(path=f"/acr/v1/{WEB}$") == 0
        await read_and_plan(connected)
        assert connected.sent(path=f"/acr/v1/{WEB}$") == 1


@pytest.mark.parametrize(("status", "error"), [(500, RegistryError), (403, RegistryForbidden)])
async def test_unreadable_repository_lock_is_an_error(status: int, error: type[Exception]) -> None:
    world = World()
    world.registry.push(WEB, "1.0", age=OLD)
    world.faults.append(Fault(path=f"/acr/v1/{WEB}$", status=status))
    async with emulated_registry(world) as connected:
        with pytest.raises(error):
            await read_and_plan(connected)


# -- requests


async def test_bodies_are_read_once_and_only_if_needed() -> None:
    world = World()
    children = [world.registry.push(WEB, age=OLD) for _ in range(3)]
    world.registry.push_index(WEB, "1.0", children=children, age=OLD)
    world.registry.push_index(WEB, "2.0", children=children[:2], age=OLD)
    chart = world.registry.push_referrer(WEB, children[0], tag="sbom", age=OLD)
    for number in range(5):
        world.registry.push(WEB, f"plain-{number}", age=OLD, media_type=OCI_MANIFEST)
        world.registry.push_referrer(WEB, children[1], age=OLD)
    async with emulated_registry(world) as connected:
        await read_and_plan(connected, uses=usage(*(use(name) for name in world.registry.repositories[WEB].tags)))
        assert bodies(connected) == 0, "no tag could be deleted"
        plan, inventory = await read_and_plan(connected)
        # Two indexes and one artifact with a tag; and five untagged artifacts, which are fewer than
        # the manifests to which they may be attached. Docker images have no edges, and the old OCI
        # images are deleted with any subject.
        assert bodies(connected) == 8
        assert connected.sent("GET", "/referrers/") == 0
        assert len(plan.steps) == 16
        assert chart in inventory.manifests
        await read_and_plan(connected)
        await read_and_plan(connected, RetentionPolicy(delete_untagged=True))
        assert bodies(connected) == 8, "all of them are cached"


async def test_unneeded_unread_index_gives_no_warning() -> None:
    world = World()
    world.registry.push_index(WEB, "1.0", children=[world.registry.push(WEB)], age=OLD)
    async with emulated_registry(world) as connected:
        plan, _ = await read_and_plan(connected, uses=usage(use("1.0")))
    assert not plan.warnings
    assert [reason.rule for decision in plan.decisions for reason in decision.reasons] == [Rule.IN_USE]


async def test_plan_unlocks_only_locked_tags_and_manifests() -> None:
    world = World()
    image = world.registry.push(WEB, "1.0", age=OLD)
    world.registry.tag(WEB, "1.0.0", image, OLD)
    world.registry.lock(WEB, image, write=False)
    world.registry.lock(WEB, "1.0", delete=False)
    async with emulated_registry(world) as connected:
        assert not (await read_and_plan(connected))[0].steps
        (step,) = (await read_and_plan(connected, replace(RetentionPolicy(), include_locked=True)))[0].steps
    assert {(lock.tag, lock.delete_enabled, lock.write_enabled) for lock in step.locks} == {
        (None, True, False),
        ("1.0", False, True),
    }
