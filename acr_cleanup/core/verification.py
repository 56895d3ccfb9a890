"""
Whether what is used can be pulled: what is missing already, and whether everything that stood before a deletion stands after it.

Nothing is concluded here from a listing alone, which may lag behind or leave things out: what it does not show is a suspect, and
whoever can ask the registry for exactly that has the last word.
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
    """A tag or a digest (`name`) that something would pull and the registry does not have."""

    repository: str
    name: str
    uses: tuple[ImageUse, ...]

    def __str__(self) -> str:
        return written(self.repository, self.name)


def written(repository: str, name: str) -> str:
    """
    A tag or a digest of a repository as one writes it.

    >>> written("shop/web", "1.0"), written("shop/web", "sha256:00")
    ('shop/web:1.0', 'shop/web@sha256:00')
    """
    return f"{repository}{'@' if is_digest(name) else ':'}{name}"


def is_digest(name: str) -> bool:
    """No tag begins like this, for no tag holds a colon."""
    return name.startswith(("sha256:", "sha512:"))


def pulled(use: ImageUse) -> str | None:
    """
    What a node would ask the registry for: the digest, and only without one the tag.

    None for a status, which tells what runs already (and may name the digest of a configuration), and for an open reference.
    """
    if use.field.partition(".")[0] == "status":
        return None
    return use.reference.digest or use.reference.tag


def lacks(inventory: RepositoryInventory, use: ImageUse) -> bool:
    """Would this use pull what the repository does not have?"""
    name = pulled(use)
    return name is not None and not _has(inventory, name)


def missing_references(inventory: RepositoryInventory, usage: UsageIndex) -> tuple[Missing, ...]:
    """What is used and not listed. What is unlisted (`listEnabled: false`) looks the same: ask the registry for it."""
    name = inventory.name
    found = [
        Missing(name, each, uses)
        for each, named in _used(usage, name)
        if not _has(inventory, each) and (uses := tuple(use for use in named if pulled(use) == each))
    ]
    return tuple(sorted(found, key=lambda missing: missing.name))


@dataclass(frozen=True)
class Standing:
    """What of a repository must still stand when the run is over, as it was seen right before the first deletion there."""

    repository: str
    tags: Mapping[str, Digest]
    manifests: frozenset[Digest]
    children: Mapping[Digest, tuple[Digest, ...]]
    """Of each index, the children that were there."""
    referrers: Mapping[Digest, tuple[Digest, ...]]
    """By subject: the registry removes the untagged ones together with it."""

    @classmethod
    def of(cls, inventory: RepositoryInventory) -> Standing:
        """No more than is needed: this is held while the run deletes."""
        manifests = frozenset(inventory.manifests)
        return cls(
            repository=inventory.name,
            tags={tag.name: tag.digest for tag in inventory.tags},
            manifests=manifests,
            children={
                each.digest: tuple(child for child in each.children if child in manifests)
                for each in inventory.manifests.values()
                if each.children
            },
            referrers=inventory.referrers_of,
        )


@dataclass(frozen=True, slots=True)
class Broken:
    """
    A tag or a digest (`name`) that could be pulled before and cannot be any more, or that a kept index has lost.

    `seen` ends the sentence "it …". `ours`: this run was to delete it, or the manifest that it named.
    """

    repository: str
    name: str
    seen: str
    uses: tuple[ImageUse, ...] = ()
    ours: bool = False

    def __str__(self) -> str:
        return written(self.repository, self.name)


@dataclass(frozen=True, slots=True)
class Compared:
    """
    One repository before and after. `references`: how many names in use could be pulled before.

    `suspects` are broken, and `absent` merely not there, unless the registry has them when it is asked for each.
    """

    references: int
    suspects: tuple[Broken, ...] = ()
    absent: tuple[Broken, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """
    What the look afterwards has come to, over the repositories in which something was deleted.

    `notes` tell what somebody else changed meanwhile; `unproven` what could not be looked at, and why; `skipped`: the run was
    stopped before it could look.
    """

    repositories: int = 0
    references: int = 0
    broken: tuple[Broken, ...] = ()
    notes: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    skipped: bool = False

    @property
    def holds(self) -> bool:
        return not (self.broken or self.unproven or self.skipped)


_NOTHING: Mapping[str, bool] = MappingProxyType({})


def compare(
    standing: Standing,
    after: RepositoryInventory,
    planned_with: UsageIndex,
    deleted_with: UsageIndex,
    *,
    missing: Collection[str] = (),
    went: Mapping[str, bool] = _NOTHING,
) -> Compared:
    """
    What of `standing` does `after` not show?

    Both usages count: that of the plan and the last one that was read before a deletion. `missing`: names that could not be pulled
    when the plan was made. `went`: the tags and digests that were to go and may be gone, and whether it was this run that deleted
    them; what is not among them somebody else has changed.
    """
    return _Comparison(standing, after, went).run(_resolved(standing, planned_with, deleted_with, missing))


def _resolved(
    standing: Standing, planned_with: UsageIndex, deleted_with: UsageIndex, missing: Collection[str]
) -> dict[str, tuple[ImageUse, ...]]:
    """What was used and could be pulled, by name. A digest may have been there although nothing lists it."""
    found: defaultdict[str, dict[ImageUse, None]] = defaultdict(dict)
    listed = {*standing.tags, *standing.manifests, *standing.tags.values()}
    for name, uses in _used(planned_with, standing.repository):
        if name in listed or (name not in missing and any(pulled(use) == name for use in uses)):
            found[name].update(dict.fromkeys(uses))
    for name, uses in _used(deleted_with, standing.repository):
        if name in listed:
            found[name].update(dict.fromkeys(uses))
    return {name: tuple(uses) for name, uses in found.items()}


@dataclass
class _Comparison:
    standing: Standing
    after: RepositoryInventory
    went: Mapping[str, bool]

    def __post_init__(self) -> None:
        self.tags = {tag.name: tag.digest for tag in self.after.tags}
        self.digests = self.after.manifests.keys() | set(self.tags.values())
        self.tags_of: defaultdict[Digest, list[str]] = defaultdict(list)
        for name, digest in sorted(self.standing.tags.items()):
            self.tags_of[digest].append(name)
        self.parents_of: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for index, children in self.standing.children.items():
            for child in children:
                self.parents_of[child].append(index)

    def run(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Compared:
        suspects: dict[str, Broken] = {}
        for each in (*self._references(used), *self._indexes(used), *self._tags(used)):
            known = suspects.get(each.name)
            uses = tuple(dict.fromkeys((*known.uses, *each.uses))) if known else ()
            suspects[each.name] = replace(known, uses=uses) if known else each
        return Compared(
            references=len(used),
            suspects=tuple(suspects[name] for name in sorted(suspects)),
            absent=tuple(each for each in self._absent(used) if each.name not in suspects),
            notes=tuple(self._moved()),
        )

    def _references(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        for name, uses in used.items():
            if is_digest(name):
                if name not in self.digests:
                    yield self._broken(name, "cannot be pulled any more", uses)
            elif name not in self.tags:
                yield self._broken(name, "cannot be pulled any more", uses)
            elif self._hollow(self.tags[name]):
                yield self._broken(name, "names a manifest that is gone", uses)

    def _indexes(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        leaving = self._taken_along()
        for index, children in self.standing.children.items():
            if index in leaving:
                continue
            names = self.tags_of[index]
            if index not in self.digests:
                # No tag names it any more, so with its tags it was deleted as a whole: not by us, for then it would have gone.
                if not names:
                    yield self._broken(index, "is an index that was to stay, and is gone", self._users(index, used))
                continue
            for child in children:
                if child not in self.digests:
                    called = f":{names[0]}" if names else f"@{index}"
                    seen = f"is gone, and {self.standing.repository}{called}, which was to stay, lists it"
                    yield self._broken(child, seen, self._users(child, used))

    def _tags(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        """Kept names that nobody uses: broken if they went with a manifest that this run deleted."""
        for name, digest in self._kept(used):
            if name not in self.tags and self.went.get(digest):
                yield self._broken(name, "was to stay, and is gone with its manifest")
            elif self.tags.get(name) == digest and self._hollow(digest):
                yield self._broken(name, "was to stay, and names a manifest that is gone")

    def _absent(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[Broken]:
        """Kept names that are gone; those among the suspects went by our hand."""
        for name, _ in self._kept(used):
            if name not in self.tags:
                yield self._broken(name, "is gone; this run did not delete it")

    def _moved(self) -> Iterator[str]:
        for name, digest in sorted(self.standing.tags.items()):
            now = self.tags.get(name, digest)
            if now != digest and name not in self.went:
                yield f"{written(self.standing.repository, name)} names {now} now; it was pushed again meanwhile."

    def _kept(self, used: Mapping[str, tuple[ImageUse, ...]]) -> Iterator[tuple[str, Digest]]:
        for name, digest in sorted(self.standing.tags.items()):
            if name not in used and name not in self.went:
                yield name, digest

    def _hollow(self, digest: Digest) -> bool:
        """A name may outlive what it names; of what was not listed before nothing can be said."""
        return digest in self.standing.manifests and digest not in self.after.manifests

    def _taken_along(self) -> set[Digest]:
        """What was to go, and what the registry removes together with it."""
        gone = {Digest(name) for name in self.went if is_digest(name)}
        pending = list(gone)
        while pending:
            for referrer in self.standing.referrers.get(pending.pop(), ()):
                if referrer not in gone and not self.tags_of.get(referrer):
                    gone.add(referrer)
                    pending.append(referrer)
        return gone

    def _users(self, digest: Digest, used: Mapping[str, tuple[ImageUse, ...]]) -> tuple[ImageUse, ...]:
        """Who uses it, or an index above it."""
        seen, pending = {digest}, [digest]
        found: dict[ImageUse, None] = {}
        while pending:
            each = pending.pop()
            for name in (each, *self.tags_of.get(each, ())):
                found.update(dict.fromkeys(used.get(name, ())))
            for parent in self.parents_of.get(each, ()):
                if parent not in seen:
                    seen.add(parent)
                    pending.append(parent)
        return tuple(found)

    def _broken(self, name: str, seen: str, uses: tuple[ImageUse, ...] = ()) -> Broken:
        digest = self.standing.tags.get(name)
        ours = self.went.get(name, False) or (digest is not None and self.went.get(digest, False))
        return Broken(self.standing.repository, name, seen, uses, ours)


def _used(usage: UsageIndex, repository: str) -> Iterable[tuple[str, tuple[ImageUse, ...]]]:
    """Every name of the repository that is used, and by whom."""
    for tag in sorted(usage.tags(repository)):
        yield tag, usage.of_tag(repository, tag)
    for digest in sorted(usage.digests(repository)):
        yield digest, usage.of_digest(repository, digest)


def _has(inventory: RepositoryInventory, name: str) -> bool:
    if is_digest(name):
        return name in inventory.manifests or name in inventory.tags_of
    return name in inventory.names
