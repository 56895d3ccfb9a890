"""
A decision that is still valid deletes nothing that a full look would keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.inventory import LockState, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import prepare
from acr_cleanup.core.retention import KeepLastOf, RetentionPolicy
from acr_cleanup.core.second_look import confirm, still_planned
from acr_cleanup.core.standing import RecentChanges, StandingDecision, independent
from acr_cleanup.core.steps import DeleteManifest, Step, Untag
from acr_cleanup.core.usage import UsageIndex
from tests.helpers.drawn_inventories import DIGESTS, all_old, inventories, named_uses
from tests.helpers.fake_registry import recent_changes
from tests.helpers.generated_inventories import (
    DOCKER_IMAGE,
    NOW,
    OCI_IMAGE,
    OCI_INDEX,
    d,
    image,
    index,
    inventory,
    referrer,
    signature_of,
    tag,
    usage,
    use,
)

LATER = NOW + timedelta(minutes=1)
SINCE = NOW - timedelta(minutes=5)
NEW = [d(number) for number in range(100, 104)]


# -- the law -----------------------------------------------------------------------------------------


@dataclass
class Repository:
    """A repository that other clients change. `hidden`: manifests that no list shows."""

    tags: dict[str, Tag]
    manifests: dict[Digest, Manifest]
    hidden: set[Digest] = field(default_factory=set)
    locked: bool = False

    @classmethod
    def of(cls, listed: RepositoryInventory) -> Repository:
        return cls({tag.name: tag for tag in listed.tags}, dict(listed.manifests), locked=listed.locked)

    def push(self, name: str, digest: Digest, **changes: Any) -> None:
        if digest not in self.manifests:
            pushed = Manifest(digest, DOCKER_IMAGE, updated_at=LATER, known=True)
            self.manifests[digest] = structs.replace(pushed, **changes)
        if name:
            self.tags[name] = Tag(name, digest, LATER)

    def remove(self, digest: Digest) -> None:
        self.manifests.pop(digest, None)
        self.hidden.discard(digest)
        self.tags = {name: tag for name, tag in self.tags.items() if tag.digest != digest}

    def listed(self, before: RepositoryInventory) -> RepositoryInventory:
        manifests = {digest: manifest for digest, manifest in self.manifests.items() if digest not in self.hidden}
        return replace(
            before,
            tags=tuple(self.tags.values()),
            manifests=manifests,
            hidden=len(self.hidden),
            locked=self.locked,
        )

    def changes(self, before: RepositoryInventory) -> RecentChanges:
        changes = recent_changes(self.listed(before), SINCE)
        return replace(changes, tag_count=len(self.tags), manifest_count=len(self.manifests))


class Event(NamedTuple):
    """A change by another client: to this tag, this manifest and this new digest."""

    kind: str
    name: str
    digest: Digest
    new: Digest


def lock_tag(repository: Repository, event: Event) -> None:
    if event.name in repository.tags:
        locked = structs.replace(repository.tags[event.name], lock_state=LockState(locked=True, delete_enabled=False))
        repository.tags[event.name] = locked


def lock_manifest(repository: Repository, event: Event) -> None:
    if event.digest in repository.manifests:
        locked = structs.replace(repository.manifests[event.digest], locked=True, delete_enabled=False)
        repository.manifests[event.digest] = locked


def lock_repository(repository: Repository, _: Event) -> None:
    repository.locked = True


def move_tag(repository: Repository, event: Event) -> None:
    if event.name in repository.tags and event.digest in repository.manifests:
        repository.push(event.name, event.digest)


def hide_new(repository: Repository, event: Event) -> None:
    """Push an index, and take it off the lists at once. A digest that exists has its content already."""
    if event.new not in repository.manifests:
        repository.push("", event.new, media_type=OCI_INDEX, children=(event.digest,))
        repository.hidden.add(event.new)


EVENTS: dict[str, Callable[[Repository, Event], object]] = {
    "push a new image": lambda to, event: to.push("new", event.new),
    "push a new image to the tag": lambda to, event: to.push(event.name, event.new),
    "move the tag": move_tag,
    "add a tag": lambda to, event: to.push("added", event.digest) if event.digest in to.manifests else None,
    "push an index": lambda to, event: to.push("i", event.new, media_type=OCI_INDEX, children=(event.digest,)),
    "push an unreadable index": lambda to, event: to.push("i", event.new, media_type=OCI_INDEX, known=False),
    "push a referrer": lambda to, event: to.push("", event.new, media_type=OCI_IMAGE, subject=event.digest),
    "push what was missing": lambda to, _: to.push("", d("nowhere")),
    "sign": lambda to, event: to.push(f"sha256-{event.digest[7:]}.sig", event.new, media_type=OCI_IMAGE),
    "delete the manifest": lambda to, event: to.remove(event.digest),
    "untag": lambda to, event: to.tags.pop(event.name, None),
    "lock the tag": lock_tag,
    "lock the manifest": lock_manifest,
    "lock the repository": lock_repository,
    "push a hidden index": hide_new,
}


def events(world: Repository, planned: Iterable[DeleteManifest]) -> st.SearchStrategy[list[Event]]:
    """Changes, mostly to what is planned: others would be rare."""
    steps = sorted(planned, key=lambda step: step.digest)
    names = [*sorted(world.tags), *(tag.name for step in steps for tag in step.tags)] or ["none"]
    digests = [*sorted(world.manifests), *(step.digest for step in steps)] or [d("none")]
    kinds, new = st.sampled_from(sorted(EVENTS)), st.sampled_from(NEW)
    return st.lists(
        st.builds(Event, kinds, st.sampled_from(names), st.sampled_from(digests), new), min_size=1, max_size=2
    )


@st.composite
def plain_repositories(draw: st.DrawFn) -> RepositoryInventory:
    """Mostly old images with one tag each, sometimes with a relative, present or missing."""
    tags, manifests = [], []
    for place, digest in enumerate(DIGESTS):
        known = [*DIGESTS[:place], d("nowhere")]
        manifest = Manifest(digest, DOCKER_IMAGE, updated_at=NOW - timedelta(days=100), known=True)
        kind = draw(st.integers(0, 5))
        if kind == 0:
            manifest = structs.replace(manifest, media_type=OCI_IMAGE, subject=draw(st.sampled_from(known)))
        elif kind == 1:
            manifest = structs.replace(manifest, media_type=OCI_INDEX, children=(draw(st.sampled_from(known)),))
        manifests.append(manifest)
        days = draw(st.sampled_from([100, 100, 200, 0]))
        tags.append(Tag(f"t{place}", digest, NOW - timedelta(days=days)))
    if draw(st.integers(0, 3)) == 0:
        tags.append(Tag(signature_of("nowhere"), draw(st.sampled_from(DIGESTS)), NOW - timedelta(days=100)))
    return inventory(tags, manifests)


def policies() -> st.SearchStrategy[RetentionPolicy]:
    return st.builds(
        RetentionPolicy,
        exclude_tags=st.sampled_from([(), ("latest",)]),
        keep_last=st.sampled_from([0, 0, 1, 2]),
        keep_last_of=st.sampled_from(KeepLastOf),
        delete_untagged=st.booleans(),
    )


def steps_of(
    repository: RepositoryInventory, used: UsageIndex, policy: RetentionPolicy, remaining: tuple[Step, ...] = ()
) -> tuple[RepositoryInventory, tuple[Step, ...]]:
    """The inventory as it is decided, and the steps of its plan; of `remaining`, the confirmed ones."""
    orphans = frozenset(step.digest for step in remaining if not step.tags)
    prepared = prepare(repository, used, policy, NOW, orphans=orphans)
    plan = plan_repository(prepared, used, policy, NOW)
    return prepared, confirm(remaining, plan, prepared).steps if remaining else plan.steps


REPOSITORIES = st.one_of(plain_repositories(), plain_repositories(), inventories(), inventories().map(all_old))


@settings(max_examples=400)
@given(st.data(), REPOSITORIES, named_uses(), policies(), st.booleans())
def test_standing_decision_deletes_nothing_that_a_full_look_keeps(
    data: st.DataObject,
    listed: RepositoryInventory,
    uses: list[object],
    policy: RetentionPolicy,
    expire: bool,
) -> None:
    """
    Others push, move, index, sign, lock, hide and delete after some steps were carried out. What the
    registry itself refuses to delete does not count.
    """
    used = usage(*uses)  # type: ignore[arg-type]
    listed = replace(listed, untagged_expire=expire)
    before, steps = steps_of(listed, used, policy)
    alone = independent(steps)
    covered = [step for step in steps if isinstance(step, DeleteManifest) and step.digest in alone]
    standing = StandingDecision.of(before, covered, policy, SINCE)
    world = Repository.of(listed)

    done = [*steps[: data.draw(st.integers(0, len(steps) // 2))], *covered[: data.draw(st.integers(0, 1))]]
    for step in dict.fromkeys(done):
        standing.deleted(step)
        world.remove(step.digest) if isinstance(step, DeleteManifest) else world.tags.pop(step.tags[0].name)
    for _ in range(data.draw(st.integers(1, 2))):
        for event in data.draw(events(world, standing.planned.values())):
            EVENTS[event.kind](world, event)
        changes = world.changes(before)
        if not (standing.accepts(changes) and standing.agrees(changes)):
            return

    remaining = tuple(step for step in steps if step not in done)
    now, confirmed = steps_of(world.listed(listed), used, policy, remaining)
    deleted = {step.digest: step for step in confirmed if isinstance(step, DeleteManifest)}
    for step in standing.planned.values():
        locked = now.manifests[step.digest].locked or any(world.tags[tag.name].locked for tag in step.tags)
        assert locked or (step.digest in deleted and deleted[step.digest].tags == step.tags)


# -- single changes ------------------------------------------------------------------------------------

OLD = inventory([tag("1", "a"), tag("2", "b"), tag("kept", "k", days=0)])


def standing(repository: RepositoryInventory = OLD, policy: RetentionPolicy | None = None) -> StandingDecision:
    policy = policy or RetentionPolicy()
    plan = plan_repository(repository, usage(), policy, NOW)
    digests = frozenset(step.digest for step in plan.steps)
    covered = [step for step, deletion in still_planned(plan.steps, plan, repository, digests) if deletion is not None]
    return StandingDecision.of(repository, [s for s in covered if isinstance(s, DeleteManifest)], policy, SINCE)


def stands(
    decision: StandingDecision, now: RepositoryInventory, policy: RetentionPolicy | None = None
) -> tuple[bool, bool]:
    del policy
    changes = recent_changes(now, SINCE)
    return decision.accepts(changes), decision.agrees(changes)


def with_entries(*entries: Tag | Manifest, of: RepositoryInventory = OLD) -> RepositoryInventory:
    """The repository with these entries, pushed now."""
    tags = {tag.name: tag for tag in of.tags}
    tags |= {entry.name: structs.replace(entry, updated_at=LATER) for entry in entries if isinstance(entry, Tag)}
    manifests = [structs.replace(entry, updated_at=LATER) for entry in entries if isinstance(entry, Manifest)]
    return replace(of.with_edges(manifests), tags=tuple(tags.values()))


def test_unchanged_repository_stands() -> None:
    assert stands(standing(), OLD) == (True, True)


def test_own_deletions_change_nothing() -> None:
    decision = standing()
    decision.deleted(decision.planned[d("a")])
    assert stands(decision, inventory([tag("2", "b"), tag("kept", "k", days=0)])) == (True, True)
    decision.deleted(Untag(tag("kept", "k", days=0)))
    assert (set(decision.names), set(decision.digests)) == ({"2"}, {d("b"), d("k")})


@pytest.mark.parametrize(
    "entries",
    [
        [tag("3", "c"), image("c")],
        [tag("again", "k")],
        [tag("kept", "k")],
        [tag("kept", "c"), image("c")],
        [index("i", ["k"])],
        [referrer("r", "k")],
        [image("k")],
    ],
    ids=str,
)
def test_change_to_other_images_stands(entries: list[Tag | Manifest]) -> None:
    """And does not count as a change again in the next look."""
    decision = standing()
    assert stands(decision, with_entries(*entries)) == (True, True)
    assert stands(decision, with_entries(*entries)) == (True, True)


@pytest.mark.parametrize(
    "entries",
    [
        [tag("1", "a")],
        [tag("1", "k")],
        [tag("new", "a")],
        [tag("new", "nowhere")],
        [tag(signature_of("a"), "k")],
        [index("i", ["a"])],
        [index("i", ["k"], known=False)],
        [referrer("r", "a")],
        [structs.replace(referrer("r", "k"), known=False)],
        [image("a")],
    ],
    ids=str,
)
def test_change_that_concerns_a_planned_image_needs_a_full_look(entries: list[Tag | Manifest]) -> None:
    assert not stands(standing(), with_entries(*entries))[0]


def test_locked_repository_needs_a_full_look() -> None:
    assert not stands(standing(), replace(OLD, locked=True))[0]


@pytest.mark.parametrize(
    "now",
    [
        inventory([tag("1", "a"), tag("2", "b")]),
        inventory([tag("1", "a"), tag("2", "b"), tag("kept", "k", days=0)], [image("a"), image("b")]),
        inventory([tag("1", "a"), tag("2", "b"), tag("kept", "k", days=0), tag("unseen", "k")]),
    ],
    ids=["tag deleted", "manifest deleted", "tag not in the list"],
)
def test_count_that_does_not_agree_needs_a_full_look(now: RepositoryInventory) -> None:
    assert stands(standing(), now) == (True, False)


def test_missing_manifest_that_a_planned_image_refers_to_needs_a_full_look() -> None:
    """Its referrer is attached to it then, and is kept with it."""
    attached = inventory([tag("1", "r")], [referrer("r", "nowhere")])
    assert not stands(standing(attached), with_entries(image("nowhere"), of=attached))[0]
    listing = inventory([tag("1", "i")], [index("i", ["nowhere"])])
    assert not stands(standing(listing), with_entries(image("nowhere"), of=listing))[0]
    signature = inventory([tag(signature_of("nowhere"), "s")])
    assert not stands(standing(signature), with_entries(image("nowhere"), of=signature))[0]


NEWEST = RetentionPolicy(keep_last=1)


def test_tag_that_leaves_the_newest_images_needs_a_full_look() -> None:
    """An older image takes its place, and must not be deleted."""
    assert not stands(standing(policy=NEWEST), with_entries(tag("kept", "c"), image("c")))[0]
    assert stands(standing(policy=NEWEST), with_entries(tag("3", "c"), image("c"))) == (True, True)


@pytest.mark.parametrize("entries", [[tag("i", "i"), index("i", ["k"])], [tag("again", "k")]], ids=str)
def test_index_of_the_newest_images_needs_a_full_look(entries: list[Tag | Manifest]) -> None:
    """With its platforms it counts as one image, and a tag may be on an index."""
    assert not stands(standing(policy=NEWEST), with_entries(*entries))[0]


def test_image_that_becomes_attached_needs_a_full_look_where_the_newest_are_kept() -> None:
    artifact = structs.replace(referrer("r", "nowhere"), updated_at=NOW)
    repository = inventory([tag("1", "a"), tag("artifact", "r", days=0)], [image("a"), artifact])
    assert not stands(standing(repository, NEWEST), with_entries(image("nowhere"), of=repository))[0]
    assert stands(standing(repository), with_entries(image("nowhere"), of=repository)) == (True, True)


# -- which steps may wait ------------------------------------------------------------------------------


def independent_of(repository: RepositoryInventory, policy: RetentionPolicy | None = None) -> set[Digest]:
    return set(independent(plan_repository(repository, usage(use("used")), policy or RetentionPolicy(), NOW).steps))


def test_images_without_relatives_are_independent() -> None:
    assert independent_of(OLD) == {d("a"), d("b")}


@pytest.mark.parametrize(
    "repository",
    [
        inventory([tag("1", "i"), tag("2", "a")], [index("i", ["a"]), image("a")]),
        inventory([tag("1", "a")], [image("a"), referrer("r", "a")]),
        inventory([tag("1", "a"), tag(signature_of("a"), "s")]),
        inventory([tag("1", "i"), tag("used", "i")], [index("i", ["a"]), image("a")]),
    ],
    ids=["index", "referrer", "signature", "untag"],
)
def test_relatives_and_untags_are_not_independent(repository: RepositoryInventory) -> None:
    """A lock on one of them keeps the others, and no list tells of it."""
    assert independent_of(repository) == set()


def test_locked_images_are_not_independent() -> None:
    repository = inventory([tag("1", "a", locked=True)])
    assert independent_of(repository, RetentionPolicy(include_locked=True)) == set()
