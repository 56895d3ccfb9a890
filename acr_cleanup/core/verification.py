"""
Verification: can everything that is used still be pulled?

This covers references that were missing before the run, and references that a deletion broke.

A listing alone proves nothing: it may lag behind or leave items out. An item that it does not show
is a suspect, until the caller has asked the registry for exactly that item.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.references import Digest
from acr_cleanup.core.usage import ImageUse, UsageIndex


@dataclass(frozen=True, slots=True)
class Missing:
    """A tag or digest (`name`) that is used, but not in the registry."""

    repository: str
    name: str
    uses: tuple[ImageUse, ...]

    def __str__(self) -> str:
        return full_name(self.repository, self.name)


def full_name(repository: str, name: str) -> str:
    """
    A tag or digest together with its repository.

    >>> full_name("shop/web", "1.0"), full_name("shop/web", "sha256:00")
    ('shop/web:1.0', 'shop/web@sha256:00')
    """
    return f"{repository}{'@' if is_digest(name) else ':'}{name}"


def is_digest(name: str) -> bool:
    """Is this name a digest? A tag cannot look like one: it has no colon."""
    return name.startswith(("sha256:", "sha512:"))


def pulled_name(use: ImageUse) -> str | None:
    """
    The tag or digest that a node would pull for this use: the digest, or the tag if there is no
    digest.

    None for an open reference, and for a status. A status reports what runs already, possibly by
    the digest of an image configuration.
    """
    if use.field.partition(".")[0] == "status":
        return None
    return use.reference.digest or use.reference.tag


def lacks(inventory: RepositoryInventory, use: ImageUse) -> bool:
    """Would this use pull a tag or digest that the repository does not have?"""
    name = pulled_name(use)
    return name is not None and not _has(inventory, name)


def missing_references(inventory: RepositoryInventory, usage: UsageIndex) -> tuple[Missing, ...]:
    """
    Used tags and digests that are not listed.

    An unlisted manifest (`listEnabled: false`) looks the same: ask the registry for each.
    """
    repository = inventory.name
    missing = [
        Missing(repository, name, pulls)
        for name, uses in _used(usage, repository)
        if not _has(inventory, name) and (pulls := tuple(use for use in uses if pulled_name(use) == name))
    ]
    return tuple(sorted(missing, key=lambda reference: reference.name))


@dataclass(frozen=True)
class Baseline:
    """
    The tags and manifests of one repository right before its first deletion.

    children: index -> those of its children that existed.
    referrers: subject -> its referrers. The registry deletes the untagged ones together with it.
    """

    repository: str
    tags: Mapping[str, Digest]
    manifests: frozenset[Digest]
    children: Mapping[Digest, tuple[Digest, ...]]
    referrers: Mapping[Digest, tuple[Digest, ...]]

    @classmethod
    def of(cls, inventory: RepositoryInventory) -> Baseline:
        """Copy only what the comparison needs: it remains in memory during the run."""
        manifests = frozenset(inventory.manifests)
        return cls(
            repository=inventory.name,
            tags={tag.name: tag.digest for tag in inventory.tags},
            manifests=manifests,
            children={
                manifest.digest: tuple(child for child in manifest.children if child in manifests)
                for manifest in inventory.manifests.values()
                if manifest.children
            },
            referrers=inventory.referrers_of,
        )


@dataclass(frozen=True, slots=True)
class Broken:
    """
    A tag or digest (`name`) that could be pulled before and cannot be pulled now, or that a kept
    index lost.

    seen: completes the sentence "it …".
    ours: this run planned to delete it, or the manifest that it named.
    """

    repository: str
    name: str
    seen: str
    uses: tuple[ImageUse, ...] = ()
    ours: bool = False

    def __str__(self) -> str:
        return full_name(self.repository, self.name)


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


@dataclass(frozen=True, slots=True)
class Proof:
    """
    The result of the verification, over every repository in which something was deleted.

    notes: changes by others during the run.
    unproven: what could not be verified, and why.
    skipped: the run was stopped before the verification.
    """

    repositories: int = 0
    references: int = 0
    broken: tuple[Broken, ...] = ()
    notes: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    skipped: bool = False

    @property
    def holds(self) -> bool:
        """Was everything verified, and nothing found broken?"""
        return not (self.broken or self.unproven or self.skipped)


_NOTHING: Mapping[str, bool] = MappingProxyType({})


def compare(
    baseline: Baseline,
    after: RepositoryInventory,
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
    listed = {*baseline.tags, *baseline.manifests, *baseline.tags.values()}
    for name, uses in _used(planned_with, baseline.repository):
        if name in listed or (name not in missing and any(pulled_name(use) == name for use in uses)):
            uses_of[name].update(dict.fromkeys(uses))
    for name, uses in _used(deleted_with, baseline.repository):
        if name in listed:
            uses_of[name].update(dict.fromkeys(uses))
    return {name: tuple(uses) for name, uses in uses_of.items()}


@dataclass
class _RepositoryComparison:
    baseline: Baseline
    after: RepositoryInventory
    deleted: Mapping[str, bool]

    def __post_init__(self) -> None:
        self.tags = {tag.name: tag.digest for tag in self.after.tags}
        self.digests = self.after.manifests.keys() | set(self.tags.values())
        self.tags_of: defaultdict[Digest, list[str]] = defaultdict(list)
        for name, digest in sorted(self.baseline.tags.items()):
            self.tags_of[digest].append(name)
        self.parents_of: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for index, children in self.baseline.children.items():
            for child in children:
                self.parents_of[child].append(index)

    def run(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Comparison:
        suspects: dict[str, Broken] = {}
        for suspect in (*self._references(used), *self._indexes(used), *self._tags(used)):
            known = suspects.get(suspect.name)
            uses = tuple(dict.fromkeys((*known.uses, *suspect.uses))) if known else ()
            suspects[suspect.name] = replace(known, uses=uses) if known else suspect
        return Comparison(
            references=len(used),
            suspects=tuple(suspects[name] for name in sorted(suspects)),
            absent=tuple(broken for broken in self._absent(used) if broken.name not in suspects),
            notes=tuple(self._moved()),
        )

    def _references(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        """Used names that cannot be pulled now."""
        for name, uses in used.items():
            if is_digest(name):
                if name not in self.digests:
                    yield self._broken(name, "can no longer be pulled", uses)
            elif name not in self.tags:
                yield self._broken(name, "can no longer be pulled", uses)
            elif self._lost_manifest(self.tags[name]):
                yield self._broken(name, "names a manifest that no longer exists", uses)

    def _indexes(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        """Kept indexes that no longer exist, and lost children of kept indexes."""
        deleted = self._deleted_manifests()
        for index, children in self.baseline.children.items():
            if index in deleted:
                continue
            names = self.tags_of[index]
            if index not in self.digests:
                # Another client deleted a tagged index as a whole, with its tags: see `_absent`.
                if not names:
                    yield self._broken(
                        index, "is an index that was kept, and no longer exists", self._users(index, used)
                    )
                continue
            for child in children:
                if child not in self.digests:
                    index_name = f":{names[0]}" if names else f"@{index}"
                    seen = f"no longer exists, and {self.baseline.repository}{index_name}, which was kept, lists it"
                    yield self._broken(child, seen, self._users(child, used))

    def _tags(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        """Kept, unused tags that were deleted with a manifest, or have lost their manifest."""
        taken = self._taken_along()
        for name, digest in self._kept(used):
            if name not in self.tags and self.deleted.get(digest):
                yield self._broken(name, "was kept, and was deleted together with its manifest")
            elif name not in self.tags and digest in taken:
                seen = "was kept, and the registry deleted it together with a manifest that it refers to"
                yield replace(self._broken(name, seen), ours=True)
            elif self.tags.get(name) == digest and self._lost_manifest(digest):
                yield self._broken(name, "was kept, and names a manifest that no longer exists")

    def _absent(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        """
        Kept tags that no longer exist.

        Those also among the suspects were deleted by this run.
        """
        for name, _ in self._kept(used):
            if name not in self.tags:
                yield self._broken(name, "no longer exists; this run did not delete it")

    def _moved(self) -> Iterator[str]:
        """A note for each tag that was pushed again during the run."""
        for name, digest in sorted(self.baseline.tags.items()):
            now = self.tags.get(name, digest)
            if now != digest and name not in self.deleted:
                yield f"{full_name(self.baseline.repository, name)} names {now} now; it was pushed again during the run."

    def _kept(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[tuple[str, Digest]]:
        """The unused tags of the baseline that were not planned for deletion."""
        for name, digest in sorted(self.baseline.tags.items()):
            if name not in used and name not in self.deleted:
                yield name, digest

    def _lost_manifest(self, digest: Digest) -> bool:
        """
        Was this manifest listed before, but not now?

        Manifests that were not listed before are not checked.
        """
        return digest in self.baseline.manifests and digest not in self.after.manifests

    def _deleted_manifests(self) -> set[Digest]:
        """The manifests planned for deletion, and their untagged referrers, transitively."""
        deleted = {Digest(name) for name in self.deleted if is_digest(name)}
        pending = list(deleted)
        while pending:
            for referrer in self.baseline.referrers.get(pending.pop(), ()):
                if referrer not in deleted and not self.tags_of.get(referrer):
                    deleted.add(referrer)
                    pending.append(referrer)
        return deleted

    def _taken_along(self) -> set[Digest]:
        """
        Kept manifests that no longer exist and refer to one that lost a tag by this run, and is gone.

        The registry may delete a manifest that loses its last tag, and everything that refers to it.
        """
        untagged = (self.baseline.tags.get(name) for name, ours in self.deleted.items() if ours)
        pending = [digest for digest in untagged if digest is not None and digest not in self.digests]
        taken: set[Digest] = set()
        while pending:
            for referrer in self.baseline.referrers.get(pending.pop(), ()):
                if referrer not in taken and referrer not in self.digests and referrer not in self.deleted:
                    taken.add(referrer)
                    pending.append(referrer)
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


def _used(usage: UsageIndex, repository: str) -> Iterable[tuple[str, tuple[ImageUse, ...]]]:
    """Every used tag and digest of the repository, with its uses."""
    for tag in sorted(usage.tags(repository)):
        yield tag, usage.of_tag(repository, tag)
    for digest in sorted(usage.digests(repository)):
        yield digest, usage.of_digest(repository, digest)


def _has(inventory: RepositoryInventory, name: str) -> bool:
    if is_digest(name):
        return name in inventory.manifests or name in inventory.tags_of
    return name in inventory.names
