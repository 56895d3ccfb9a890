"""
The two verbs that change a registry, and the order of their steps.

- `Untag` removes one name. The manifest is kept in the registry.
- `DeleteManifest` removes a manifest and every tag on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import chain

from msgspec import Struct

from acr_cleanup.core.inventory import Lock, Manifest, RepositoryInventory, Tag, closure
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import Removal


class Untag(Struct, frozen=True, gc=False):
    """
    Remove one name.

    after: digests that must be deleted first, otherwise the tag is kept. Empty for a planned untag.
    locks: the lock of the tag, to be removed first. Empty unless the policy sets `include_locked`.
    """

    tag: Tag
    after: tuple[Digest, ...] = ()
    locks: tuple[Lock, ...] = ()

    @property
    def digest(self) -> Digest:
        return self.tag.digest

    @property
    def tags(self) -> tuple[Tag, ...]:
        return (self.tag,)


class DeleteManifest(Struct, frozen=True, gc=False):
    """
    Remove a manifest and every tag on it.

    tags: every tag on the manifest. Empty for a child or a referrer without a tag.
    after: digests that must be deleted first, otherwise the manifest is kept.
    locks: locks of the manifest and of its tags. They are removed right before the deletion and
        restored if it fails. Empty unless the policy sets `include_locked`.
    """

    manifest: Manifest
    tags: tuple[Tag, ...] = ()
    after: tuple[Digest, ...] = ()
    locks: tuple[Lock, ...] = ()

    @property
    def digest(self) -> Digest:
        return self.manifest.digest


Step = Untag | DeleteManifest


def waves(steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
    """
    Group the steps: the steps of one group depend only on earlier groups, so they may run in
    parallel.

    Raises `graphlib.CycleError` if steps depend on one another.
    """
    for part in _possible_referrers_first(tuple(steps)):
        yield from _waves(part)


def has_cycle(steps: Iterable[Step]) -> bool:
    """True if some of these steps wait for one another, so that none of them could be first."""
    try:
        TopologicalSorter(_dependencies(tuple(steps))).prepare()
    except CycleError:
        return True
    return False


def _waves(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    dependencies = _dependencies(steps)
    if not dependencies and steps:
        yield steps
        return
    order = TopologicalSorter(dependencies)
    order.prepare()
    # Nearly all of 100,000 steps are independent. Sorting them as well would only take time.
    dependent = set(dependencies).union(*dependencies.values())
    independent = [place for place in range(len(steps)) if place not in dependent]
    while independent or order.is_active():
        ready = order.get_ready()
        yield tuple(steps[place] for place in sorted((*independent, *ready)))
        order.done(*ready)
        independent = []


def _possible_referrers_first(steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], ...]:
    """
    First what possible referrers wait for, then these, then the other steps.

    Any of the others may be the subject of a possible referrer, and the registry would delete it too.
    """
    deletions = {step.digest: step for step in steps if isinstance(step, DeleteManifest)}
    possible = {digest for digest, step in deletions.items() if step.manifest.hides_subject}
    if not possible:
        return (steps,)

    def earlier(digest: Digest) -> Iterator[Digest]:
        return filter(deletions.__contains__, deletions[digest].after)

    awaited = closure(chain.from_iterable(map(earlier, possible)), earlier)
    first: list[Step] = []
    then: list[Step] = []
    last: list[Step] = []
    for step in steps:
        deleted = step.digest if isinstance(step, DeleteManifest) else None
        (first if deleted in awaited else then if deleted in possible else last).append(step)
    return tuple(first), tuple(then), tuple(last)


def ordered_steps(inventory: RepositoryInventory, removal: Removal) -> tuple[Step, ...]:
    """
    The steps that delete `removal`, in an order that keeps every index and subject whole.

    An index is deleted before its children, and a referrer before its subject. A referrer is
    attached by its `subject` or by the name of its tag.
    """
    try:
        steps = _unordered_steps(inventory, removal, inventory.signers_of)
        return tuple(step for wave in waves(steps) for step in wave)
    except CycleError:
        # Content addressing rules out cycles of children and subjects. Tag names can still form
        # one, because a tag may be named after any digest; the names are then ignored.
        steps = _unordered_steps(inventory, removal, {})
        return tuple(step for wave in waves(steps) for step in wave)


def _dependencies(steps: Sequence[Step]) -> dict[int, list[int]]:
    """Place of a step -> places of the steps that it depends on. Independent steps are absent."""
    if not any(step.after for step in steps):
        return {}
    places = {step.digest: place for place, step in enumerate(steps) if isinstance(step, DeleteManifest)}
    dependencies = (
        (place, [places[digest] for digest in step.after if digest in places]) for place, step in enumerate(steps)
    )
    return {place: earlier for place, earlier in dependencies if earlier}


def _unordered_steps(
    inventory: RepositoryInventory, removal: Removal, signers_of: Mapping[Digest, tuple[Tag, ...]]
) -> Iterator[Step]:
    untagged = (tag for tag in inventory.tags if tag.name in removal.tags and tag.digest not in removal.manifests)
    for tag in sorted(untagged, key=lambda tag: tag.name):
        yield Untag(tag, locks=_locks(tag))
    for digest in sorted(removal.manifests, key=partial(_place, inventory)):
        manifest = inventory.manifests[digest]
        tags = inventory.tags_of.get(digest, ())
        if len(tags) > 1:
            tags = tuple(sorted(tags, key=lambda tag: tag.name))
        dependents = {
            *inventory.parents_of.get(digest, ()),
            *inventory.referrers_of.get(digest, ()),
            *(tag.digest for tag in signers_of.get(digest, ())),
        }
        after = tuple(sorted((dependents & removal.manifests) - {digest}))
        yield DeleteManifest(manifest, tags, after, _locks(manifest, *tags))


def _place(inventory: RepositoryInventory, digest: Digest) -> tuple[bool, float, Digest]:
    """
    Possible referrers first, the newest before older ones.

    Whether one of them is attached to another was not read. Most referrers are pushed after their
    subject. If it is deleted before, the registry does not delete it together with its subject.
    """
    if digest not in inventory.possible_referrers:
        return True, 0.0, digest
    pushed = inventory.manifests[digest].created_at
    return False, -pushed.timestamp() if pushed else 0.0, digest


def _locks(*items: Manifest | Tag) -> tuple[Lock, ...]:
    """The locks of items that are planned for deletion: the policy has allowed to remove them."""
    return tuple(lock for item in items if (lock := item.lock) is not None)
