"""
The tags and manifests of one repository, as a graph.

Edges: index -> its children, referrer -> its subject. In ACR they never leave their repository, so
each repository can be listed and decided alone. Locked and unlisted manifests are nodes like
any other. A manifest whose body could not be read (`known=False`) might have any edge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any

from acr_cleanup.core.manifest_table import ManifestTable
from acr_cleanup.core.manifests import Lock, LockState, Manifest, Tag
from acr_cleanup.core.media_types import OCI_IMAGE
from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.core.references import Digest
from acr_cleanup.core.sorted_names import DigestsByTag, SortedNames
from acr_cleanup.core.tags_by_digest import TagsByDigest, TagTimes

__all__ = ["Lock", "LockState", "Manifest", "RepositoryInventory", "Tag"]


@dataclass(frozen=True)
class RepositoryInventory:
    """
    Every tag and manifest of one repository at one moment.

    A repository that does not exist is an empty one.
    """

    name: str
    tags: tuple[Tag, ...] = ()
    manifests: Mapping[Digest, Manifest] = field(default_factory=dict)
    used: frozenset[Digest] = frozenset()
    """Digests in use. Their subjects matter, so their bodies are read."""
    locked: bool = False
    """Is the repository itself locked? Read with the edges, only if something could be deleted."""
    put_aside: bool = False
    """Is reading of the repository itself disabled? It is then `locked`, too."""
    hidden: int = 0
    """
    How many more manifests the registry counts than it lists.

    Any may be an index that needs any manifest, so no manifest is deleted. Read with the edges.
    """
    hidden_tags: int = 0
    """
    How many more tags the registry counts than it lists, on their own or with a manifest.

    Any may be on any manifest, and would be deleted with it. So no manifest is deleted.
    """
    unknown_locks: int = 0
    """How many tags and manifests the registry lists without telling whether they are locked."""
    used_tags: frozenset[str] = frozenset()
    """Tags in use, listed or not."""
    all_referrers: bool = False
    """
    Must the subjects of manifests that are deleted be known as well?

    The registry deletes a referrer together with its subject. So a referrer must be deleted, and for a
    backup read, before.
    """
    candidates: frozenset[Digest] = frozenset()
    """Untagged manifests that may be deleted on their own, unless their body shows a subject."""
    asked: frozenset[Digest] = frozenset()
    """Manifests whose referrers the registry has listed. Every referrer of them is known."""
    unlistable: frozenset[Digest] = frozenset()
    """Manifests whose referrers the registry could not list."""
    unreadable: frozenset[Digest] = frozenset()
    """Manifests whose body could not be read."""
    untagged_expire: bool = False
    """May a retention policy of the registry delete manifests that have no tag?"""
    retained: frozenset[Digest] = frozenset()
    """Manifests that this run tried to delete and could not. They are kept."""
    orphans: frozenset[Digest] = frozenset()
    """Untagged manifests planned for deletion, whose index this run has deleted already."""

    def used_by(self, digests: Iterable[Digest], tags: Iterable[str] = ()) -> RepositoryInventory:
        """The same inventory, with these digests and tags marked as used."""
        return self.marked(used=frozenset(digests), used_tags=frozenset(tags))

    def marked(self, **changes: Any) -> RepositoryInventory:
        """
        The same tags and manifests, with other marks.

        Values computed from tags and manifests alone are kept: in a large repository it takes long.
        """
        marked = replace(self, **changes)
        vars(marked).update((name, value) for name, value in vars(self).items() if name in _OF_THE_GRAPH)
        return marked

    def without(self, digests: Collection[Digest]) -> RepositoryInventory:
        """The same inventory without these manifests. Their tags remain."""
        if not digests:
            return self
        return replace(self, manifests=self.table.without(digests))

    def with_tags(self, current: Mapping[str, Tag | None]) -> RepositoryInventory:
        """The same inventory, with these tags as the registry has them now; None: it has no such tag."""
        tags = (current.get(tag.name, tag) for tag in self.tags)
        return replace(self, tags=tuple(tag for tag in tags if tag is not None)) if current else self

    @cached_property
    def table(self) -> ManifestTable:
        """The manifests, as a table."""
        return ManifestTable.of(self.manifests)

    @property
    def seen_whole(self) -> bool:
        """Is every manifest and tag that the registry counts in this inventory?"""
        return not (self.hidden or self.hidden_tags)

    @property
    def listed_names(self) -> ListedNames:
        """
        The names in this repository, to look up what mentions them.

        They include children that no list shows: a mention of one keeps the tags of its index. They
        include the subjects of tags, which may be in another repository: cosign stores signatures
        there with `COSIGN_REPOSITORY`.
        """
        others = self.unlisted | ((self.parents_of.keys() | self.signers_of.keys()) - self.manifests.keys())
        return ListedNames(
            self.name,
            TagTimes(self.tags),
            (*self.manifests, *others) if others else self.manifests.keys(),
        )

    @cached_property
    def names_source(self) -> object:
        """The same object for inventories that were made of one another, and have the same names."""
        return object()

    def with_edges(self, read: Iterable[Manifest]) -> RepositoryInventory:
        """The same inventory, with manifests whose bodies were read, or proved unreadable."""
        updated = {manifest.digest: manifest for manifest in read}
        if not updated:
            return self
        inventory = replace(self, manifests=self.table.replaced(updated))
        children = chain.from_iterable(manifest.children for manifest in updated.values())
        if self.manifests.keys() >= updated.keys() and self.manifests.keys() >= set(children):
            vars(inventory)["names_source"] = self.names_source
        return inventory

    @cached_property
    def unread(self) -> tuple[Digest, ...]:
        """
        Digests whose body must be read before this repository can be decided.

        First those that every decision needs (`unknown`). Then the `candidates`: a manifest that
        looks like an image may still have a `subject`, and must then not be deleted on its own. A
        child of an index need not be read: it is kept or deleted with the index. Reading a body may
        add further digests.
        """
        if self._edges_needed:
            return self._edges_needed
        return tuple(
            digest
            for digest in sorted(self.candidates & self.manifests.keys() - self.parents_of.keys())
            if not (self.manifests[digest].known or self.manifests[digest].has_no_edges)
        )

    @cached_property
    def unlisted(self) -> frozenset[Digest]:
        """Digests that a tag names and no list has."""
        return frozenset(tag.digest for tag in self.tags if tag.digest not in self.manifests)

    @cached_property
    def possible_referrers(self) -> frozenset[Digest]:
        """Manifests with an unknown subject. subjects.py says when a decision needs it."""
        return frozenset(self.table.having(lambda manifest: manifest.hides_subject))

    @cached_property
    def unknown(self) -> frozenset[Digest]:
        """
        Digests whose edges are unknown.

        Any manifest of the repository might be a child of one of them.
        """
        return frozenset(self._edges_needed)

    @cached_property
    def _edges_needed(self) -> tuple[Digest, ...]:
        """
        The manifests whose edges any decision needs.

        - Every index, and every unknown media type.
        - Every digest that a tag names and the listing omits: unlisted manifests (`listEnabled:
          false`) have edges too.
        - An OCI artifact that something could keep: a tag, a lock, a use, an index that lists it, a
          referrer, or a tag named after it. It can only have a subject, like an image. So other
          artifacts are read only if a deletion depends on it: subjects.py.
        """
        unread = self.table.having(lambda manifest: not (manifest.known or manifest.is_image))
        listed = [digest for digest in unread if self._could_be_kept(digest)]
        return (*listed, *sorted(self.unlisted))

    def _could_be_kept(self, digest: Digest) -> bool:
        """Is it of an unknown kind, or could something keep it? See `_edges_needed`."""
        traits = self.table.traits_of(digest)
        return (traits is not None and (traits.media_type != OCI_IMAGE or traits.locked)) or any(
            digest in names for names in (self.tags_of, self.used, self.parents_of, self.referrers_of, self.signers_of)
        )

    def missing_tags(self, names: AbstractSet[str]) -> AbstractSet[str]:
        """Those of these names that no tag has. Without `names`: its set takes 8 MB for 200,000 tags."""
        return set(names).difference(map(attrgetter("name"), self.tags)) if names else names

    @property
    def names(self) -> AbstractSet[str]:
        """The names of all tags."""
        return self.named.keys()

    @cached_property
    def named(self) -> Mapping[str, Digest]:
        """Tag name -> the digest that it names."""
        return DigestsByTag(self.tags)

    @cached_property
    def listed(self) -> SortedNames[Digest]:
        """Every listed digest, without the manifests."""
        return SortedNames(self.manifests)

    @cached_property
    def tags_of(self) -> Mapping[Digest, tuple[Tag, ...]]:
        """
        Digest -> its tags.

        Built from the tags, because the `tags` of a listed manifest are truncated.
        """
        return TagsByDigest(self.tags)

    @cached_property
    def parents_of(self) -> Mapping[Digest, tuple[Digest, ...]]:
        """Digest -> the indexes that list it."""
        parents: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for manifest in self.table.edged():
            for child in manifest.children:
                parents[child].append(manifest.digest)
        return {digest: tuple(indexes) for digest, indexes in parents.items()}

    @cached_property
    def referrers_of(self) -> Mapping[Digest, tuple[Digest, ...]]:
        """Digest -> the manifests whose `subject` it is."""
        referrers: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for manifest in self.table.edged():
            if manifest.subject is not None:
                referrers[manifest.subject].append(manifest.digest)
        return {digest: tuple(digests) for digest, digests in referrers.items()}

    @cached_property
    def signers_of(self) -> Mapping[Digest, tuple[Tag, ...]]:
        """Digest -> the tags named after it (`Tag.subject`), such as its signatures."""
        signers: defaultdict[Digest, list[Tag]] = defaultdict(list)
        for tag in self.tags:
            if (subject := tag.subject) is not None:
                signers[subject].append(tag)
        return {digest: tuple(tags) for digest, tags in signers.items()}

    @cached_property
    def hidden_subjects(self) -> frozenset[Digest]:
        """The subjects, of referrers and of tags, that may be among the manifests that are not listed."""
        subjects = self.signers_of.keys() | self.referrers_of.keys() if self.hidden else frozenset()
        return frozenset(subjects - self.manifests.keys())

    def related(self) -> list[Digest]:
        """The manifests that have an edge, and those that something is attached to. Others keep only themselves."""
        edged = (manifest.digest for manifest in self.table.edged())
        related = dict.fromkeys(chain(edged, self.signers_of, self.referrers_of))
        return [digest for digest in related if digest in self.manifests]

    def is_companion(self, referrer: Digest, subject: Digest) -> bool:
        """
        Does a kept subject keep this referrer at any age?

        A tagged image is decided by its own rules. So is an image in an index that does
        not list the subject, such as a conversion for another snapshotter. An attestation is listed
        together with its subject.
        """
        if not self.manifests[referrer].is_image:
            return True
        parents = self.parents_of.get(referrer, ())
        beside = not parents or any(subject in self.manifests[index].children for index in parents)
        return beside and referrer not in self.tags_of

    def ancestors(self, digest: Digest) -> frozenset[Digest]:
        """The indexes that reach this digest, directly or through other indexes."""
        return self._above((digest,)) - {digest}

    def family(self, digest: Digest) -> frozenset[Digest]:
        """
        The index family of this digest: every index that reaches it, the subjects of these, and
        everything that these reach.

        A runtime may report the digest of an index or of the child that it chose, so a use of
        either is a use of the family.
        """
        return self.families((digest,))

    def in_whose_family(self, digest: Digest) -> frozenset[Digest]:
        """
        The digests whose index family has this one.

        Not the same as its own family: that of an index has the index's subject, and that of the
        subject does not have the index.
        """

        def below(reached: Digest) -> Iterable[Digest]:
            attached = self.referrers_of.get(reached, ()) if reached in self.manifests else ()
            return (*self._children(reached), *(index for index in attached if self.manifests[index].is_index))

        return closure(closure((digest,), lambda reached: self.parents_of.get(reached, ())), below)

    def families(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        """The index families of all these digests."""
        return closure(self._above(digests), self._children)

    def reachable(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        """These digests, and everything that they list, directly or through other indexes."""
        return closure(digests, self._children)

    def _above(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        return closure(digests, self._next_above)

    def _next_above(self, digest: Digest) -> tuple[Digest, ...]:
        """
        The indexes that list it, and the subject of an index.

        A compose application is the subject of its index: https://github.com/docker/compose/pull/13257
        """
        parents = self.parents_of.get(digest, ())
        manifest = self.manifests.get(digest)
        subject = manifest.subject if manifest is not None and manifest.is_index else None
        return parents if subject is None or subject not in self.manifests else (*parents, subject)

    def _children(self, digest: Digest) -> tuple[Digest, ...]:
        manifest = self.manifests.get(digest)
        return manifest.children if manifest else ()


_OF_THE_GRAPH = frozenset(
    {
        "named",
        "listed",
        "names_source",
        "table",
        "tags_of",
        "signers_of",
        "parents_of",
        "referrers_of",
        "possible_referrers",
        "unlisted",
    }
)
"""The attributes that depend on tags and manifests only, and on no mark."""


def closure(start: Iterable[Digest], edges: Callable[[Digest], Iterable[Digest]]) -> frozenset[Digest]:
    """The start, and everything that `edges` reaches from it."""
    reached = set(start)
    pending = list(reached)
    while pending:
        for digest in edges(pending.pop()):
            if digest not in reached:
                reached.add(digest)
                pending.append(digest)
    return frozenset(reached)
