"""
Verification: can everything that is used still be pulled?

This covers references that were missing before the run, and references that a deletion broke.
comparison.py finds the latter.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.references import Digest
from acr_cleanup.core.sorted_names import SortedNames
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
    return name is not None and not _has(inventory, name, inventory.missing_tags({name}))


def missing_references(inventory: RepositoryInventory, usage: UsageIndex) -> tuple[Missing, ...]:
    """
    Used tags and digests that are not listed.

    An unlisted manifest (`listEnabled: false`) looks the same: ask the registry for each.
    """
    repository = inventory.name
    absent = inventory.missing_tags(usage.tags(repository))
    missing = [
        Missing(repository, name, pulls)
        for name, uses in uses_by_name(usage, repository)
        if not _has(inventory, name, absent) and (pulls := tuple(use for use in uses if pulled_name(use) == name))
    ]
    return tuple(sorted(missing, key=lambda reference: reference.name))


@dataclass(frozen=True)
class RepositoryNames:
    """
    The names of one repository at one moment.

    tags: with the digest that each names.
    manifests: as listed.
    """

    tags: Mapping[str, Digest]
    manifests: AbstractSet[Digest]


@dataclass(frozen=True)
class Baseline:
    """
    The tags and manifests of one repository right before its first deletion.

    unlisted: digests that a tag names and no list has.
    children: index -> those of its children that existed.
    referrers: subject -> its referrers. The registry deletes them together with it.
    """

    repository: str
    tags: Mapping[str, Digest]
    manifests: SortedNames[Digest]
    unlisted: frozenset[Digest]
    children: Mapping[Digest, tuple[Digest, ...]]
    referrers: Mapping[Digest, tuple[Digest, ...]]

    @classmethod
    def of(cls, inventory: RepositoryInventory) -> Baseline:
        """Copy only what the comparison needs: it remains in memory during the run."""
        return cls(
            repository=inventory.name,
            tags=inventory.named,
            manifests=inventory.listed,
            unlisted=inventory.unlisted,
            children={
                manifest.digest: tuple(child for child in manifest.children if child in inventory.manifests)
                for manifest in inventory.table.edged()
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
    taken: the kept manifest that the registry deleted because of a deletion of this run.
    """

    repository: str
    name: str
    seen: str
    uses: tuple[ImageUse, ...] = ()
    ours: bool = False
    taken: Digest | None = None

    def __str__(self) -> str:
        return full_name(self.repository, self.name)


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


def uses_by_name(usage: UsageIndex, repository: str) -> Iterable[tuple[str, tuple[ImageUse, ...]]]:
    """Every used tag and digest of the repository, with its uses."""
    for tag in sorted(usage.tags(repository)):
        yield tag, usage.of_tag(repository, tag)
    for digest in sorted(usage.digests(repository)):
        yield digest, usage.of_digest(repository, digest)


def _has(inventory: RepositoryInventory, name: str, absent: Container[str]) -> bool:
    return name in inventory.manifests or name in inventory.tags_of if is_digest(name) else name not in absent
