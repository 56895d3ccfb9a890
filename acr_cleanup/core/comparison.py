"""
One repository before and after the deletions of a run.

A listing alone proves nothing: it may lag behind or leave items out. An item that it does not show
is a suspect, until the caller has asked the registry for exactly that item.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from acr_cleanup.core.references import Digest
from acr_cleanup.core.usage import ImageUse, UsageIndex
from acr_cleanup.core.verification import (
    Baseline,
    Broken,
    RepositoryNames,
    full_name,
    is_digest,
    pulled_name,
    uses_by_name,
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    One repository before and after the deletions.

    references: how many used names could be pulled before.
    suspects: broken, unless the registry has them when it is asked for each.
    absent: kept but no longer listed, and not broken by this run. The registry is asked for each.
    """

    references: int
    suspects: tuple[Broken, ...] = ()
    absent: tuple[Broken, ...] = ()
    notes: tuple[str, ...] = ()


UNTAGGED_ASKED = 20
"""Lost manifests without a tag that are reported. Another client may delete thousands during a run."""

_TAKEN = "was kept, and the registry deleted it together with a manifest that it refers to"
_EXPIRED = "was kept, and the registry deleted it together with its last tag"

_NOTHING: Mapping[str, bool] = MappingProxyType({})


def compare(
    baseline: Baseline,
    after: RepositoryNames,
    planned_with: UsageIndex,
    deleted_with: UsageIndex,
    *,
    missing: Collection[str] = (),
    deleted: Mapping[str, bool] = _NOTHING,
) -> Comparison:
    """
    Find what is in the baseline, should still exist, and is not listed now.

    planned_with, deleted_with: the usage of the plan, and the last usage read before a deletion.
        Both count.
    missing: names that could not be pulled when the plan was made.
    deleted: tags and digests that were planned for deletion and may no longer exist -> did this run
        delete them? If not, someone else did. Every other change was made by others.
    """
    used = _resolvable(baseline, planned_with, deleted_with, missing)
    return _RepositoryComparison(baseline, after, deleted).run(used)


def _resolvable(
    baseline: Baseline, planned_with: UsageIndex, deleted_with: UsageIndex, missing: Collection[str]
) -> dict[str, tuple[ImageUse, ...]]:
    """
    Used names that could be pulled before -> their uses.

    A digest may exist although nothing lists it.
    """
    uses_of: defaultdict[str, dict[ImageUse, None]] = defaultdict(dict)
    unlisted = {digest for digest in baseline.tags.values() if digest not in baseline.manifests}

    def is_listed(name: str) -> bool:
        return name in baseline.tags or name in baseline.manifests or name in unlisted

    for name, uses in uses_by_name(planned_with, baseline.repository):
        if is_listed(name) or (name not in missing and any(pulled_name(use) == name for use in uses)):
            uses_of[name].update(dict.fromkeys(uses))
    for name, uses in uses_by_name(deleted_with, baseline.repository):
        if is_listed(name):
            uses_of[name].update(dict.fromkeys(uses))
    return {name: tuple(uses) for name, uses in uses_of.items()}


@dataclass
class _RepositoryComparison:
    baseline: Baseline
    after: RepositoryNames
    deleted: Mapping[str, bool]

    def __post_init__(self) -> None:
        self.tags = self.after.tags
        self.unlisted = {digest for digest in self.tags.values() if digest not in self.after.manifests}
        self.parents_of: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for index, children in self.baseline.children.items():
            for child in children:
                self.parents_of[child].append(index)

    @cached_property
    def tags_of(self) -> Mapping[Digest, list[str]]:
        """The tags of each manifest before the run. Only needed if something is lost."""
        tags_of: defaultdict[Digest, list[str]] = defaultdict(list)
        for name, digest in sorted(self.baseline.tags.items()):
            tags_of[digest].append(name)
        return tags_of

    def run(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Comparison:
        suspects: dict[str, Broken] = {}
        taken = self._taken_along()
        for suspect in (
            *self._references(used),
            *self._indexes(used),
            *self._tags(used, taken),
            *self._untagged(taken),
        ):
            known = suspects.get(suspect.name)
            uses = tuple(dict.fromkeys((*known.uses, *suspect.uses))) if known else ()
            suspects[suspect.name] = replace(known, uses=uses) if known else suspect
        return Comparison(
            references=len(used),
            suspects=tuple(self._as_taken(suspects[name], taken) for name in sorted(suspects)),
            absent=tuple(broken for broken in self._absent(used, taken) if broken.name not in suspects),
            notes=tuple(self._moved()),
        )

    def _references(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        """Used names that cannot be pulled now."""
        for name, uses in used.items():
            if is_digest(name):
                if not self._exists(name):
                    yield self._broken(name, "can no longer be pulled", uses)
            elif name not in self.tags:
                yield self._broken(name, "can no longer be pulled", uses)
            elif self._lost_manifest(self.tags[name]):
                yield self._broken(name, "names a manifest that no longer exists", uses)

    def _indexes(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        """Kept indexes that no longer exist, and lost children of kept indexes."""
        for index, children in self.baseline.children.items():
            if index in self.deleted:
                continue
            if not self._exists(index):
                # Another client deleted a tagged index as a whole, with its tags: see `_absent`.
                if index not in self.tags_of:
                    yield self._broken(
                        index, "is an index that was kept, and no longer exists", self._users(index, used)
                    )
                continue
            for child in children:
                if not self._exists(child):
                    names = self.tags_of.get(index)
                    index_name = f":{names[0]}" if names else f"@{index}"
                    seen = f"no longer exists, and {self.baseline.repository}{index_name}, which was kept, lists it"
                    yield self._broken(child, seen, self._users(child, used))

    def _tags(self, used: Mapping[str, tuple[ImageUse, ...]], taken: Collection[Digest]) -> Iterator[Broken]:
        """Kept, unused tags that were deleted with a manifest, or have lost their manifest."""
        for name, digest in self._kept(used):
            if name not in self.tags and self.deleted.get(digest):
                yield self._broken(name, "was kept, and was deleted together with its manifest")
            elif name not in self.tags and digest in taken:
                yield self._broken(name, _TAKEN)
            elif self.tags.get(name) == digest and self._lost_manifest(digest):
                yield self._broken(name, "was kept, and names a manifest that no longer exists")

    def _untagged(self, taken: Collection[Digest]) -> Iterator[Broken]:
        """Kept manifests without a kept tag that the registry deleted."""
        for digest in sorted(taken):
            tags = self.tags_of.get(digest, ())
            if all(tag in self.deleted for tag in tags):
                yield self._broken(digest, _EXPIRED if tags else _TAKEN)

    def _as_taken(self, suspect: Broken, taken: Collection[Digest]) -> Broken:
        name = suspect.name
        digest = Digest(name) if is_digest(name) else self.baseline.tags.get(name)
        return replace(suspect, ours=True, taken=digest) if digest in taken else suspect

    def _absent(self, used: Mapping[str, tuple[ImageUse, ...]], taken: Collection[Digest]) -> Iterator[Broken]:
        """
        Kept tags and manifests that no longer exist.

        Those also among the suspects were deleted by this run.
        """
        names = sorted(name for name, _ in self._kept(used) if name not in self.tags)
        lost = {digest for digest in self.baseline.manifests if not self._exists(digest)}
        kept = lost - self.deleted.keys() - set(taken)
        untagged = sorted(kept - self.tags_of.keys()) if kept else []
        for name in (*names, *untagged[:UNTAGGED_ASKED]):
            yield self._broken(name, "no longer exists; this run did not delete it")

    def _moved(self) -> Iterator[str]:
        """A note for each tag that was pushed again during the run."""
        for name in sorted(
            name
            for name, digest in self.baseline.tags.items()
            if self.tags.get(name, digest) != digest and name not in self.deleted
        ):
            now = self.tags[name]
            yield f"{full_name(self.baseline.repository, name)} names {now} now; it was pushed again during the run."

    def _kept(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[tuple[str, Digest]]:
        """The unused tags of the baseline that were not planned for deletion."""
        for name, digest in self.baseline.tags.items():
            if name not in used and name not in self.deleted:
                yield name, digest

    def _exists(self, digest: str) -> bool:
        return digest in self.after.manifests or digest in self.unlisted

    def _lost_manifest(self, digest: Digest) -> bool:
        """
        Was this manifest listed before, but not now?

        Manifests that were not listed before are not checked.
        """
        return digest in self.baseline.manifests and digest not in self.after.manifests

    def _taken_along(self) -> set[Digest]:
        """
        Kept manifests that no longer exist: one that lost a tag by this run, and all that refer to it.

        The registry may delete a manifest that loses its last tag, and everything that refers to it.
        """
        untagged = {self.baseline.tags.get(name) for name, ours in self.deleted.items() if ours}
        pending = [digest for digest in untagged if digest is not None and not self._exists(digest)]
        taken: set[Digest] = set()
        while pending:
            subject = pending.pop()
            referrers = self.baseline.referrers.get(subject, ())
            lost = [digest for digest in referrers if not self._exists(digest) and digest not in self.deleted]
            taken.update(lost)
            pending += lost
            if lost and subject not in self.deleted:
                taken.add(subject)
        return taken

    def _users(self, digest: Digest, used: Mapping[str, tuple[ImageUse, ...]]) -> tuple[ImageUse, ...]:
        """The uses of this digest, and of every index that reaches it."""
        reached, pending = {digest}, [digest]
        uses: dict[ImageUse, None] = {}
        while pending:
            current = pending.pop()
            for name in (current, *self.tags_of.get(current, ())):
                uses.update(dict.fromkeys(used.get(name, ())))
            for parent in self.parents_of.get(current, ()):
                if parent not in reached:
                    reached.add(parent)
                    pending.append(parent)
        return tuple(uses)

    def _broken(self, name: str, seen: str, uses: tuple[ImageUse, ...] = ()) -> Broken:
        digest = self.baseline.tags.get(name)
        ours = self.deleted.get(name, False) or (digest is not None and self.deleted.get(digest, False))
        return Broken(self.baseline.repository, name, seen, uses, ours)
