"""
The tags and manifests of one repository, as a graph.

Edges: index -> its children, referrer -> its subject. In ACR they never leave their repository, so
each repository can be listed and decided alone. Locked and unlisted manifests are nodes like
any other. A manifest whose body could not be read (`known=False`) might have any edge.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.core.references import Digest

INDEX_MEDIA_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)

_DOCKER_IMAGES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
_OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
# Kinds that may have a subject, but no children.
_OCI_ARTIFACTS = frozenset(
    {
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.cncf.oras.artifact.manifest.v1+json",
    }
)
_UNDERSTOOD = INDEX_MEDIA_TYPES | _DOCKER_IMAGES | _OCI_ARTIFACTS | {_OCI_IMAGE}
_IMAGE_CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)

# Cosign's tag scheme and the referrers fallback: `sha256-<hex>`, with or without a suffix such as
# `.sig`.
# https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
_SUBJECT_TAG = re.compile(r"sha256-([0-9a-f]{64})(?:\..+)?")


@dataclass(frozen=True, slots=True)
class Lock:
    """
    A lock to remove for a step, with the attributes to restore: of one tag or, if `tag` is None, of
    the manifest.

    https://learn.microsoft.com/azure/container-registry/container-registry-image-lock
    """

    tag: str | None
    delete_enabled: bool
    write_enabled: bool


@dataclass(frozen=True, slots=True)
class Tag:
    """
    A name for a manifest.

    updated_at: the last push (`lastUpdateTime`), not the first; None if the registry gives none.
    delete_enabled, write_enabled: the attributes that lock it. If it is `locked` while both are
        True, the kind of lock is unknown: it could not be restored, so it is never removed.
    """

    name: str
    digest: Digest
    updated_at: datetime | None
    locked: bool = False
    delete_enabled: bool = True
    write_enabled: bool = True

    @property
    def lock(self) -> Lock | None:
        """The lock to remove before a deletion; None if no lock could be restored."""
        return (
            None
            if self.delete_enabled and self.write_enabled
            else Lock(self.name, self.delete_enabled, self.write_enabled)
        )

    @property
    def subject(self) -> Digest | None:
        """
        The digest that this tag is named after: it points to its signature, attestation or
        referrers list.

        >>> Tag("sha256-" + "0" * 64 + ".sig", Digest("sha256:" + "1" * 64), None).subject == "sha256:" + "0" * 64
        True
        """
        match = _SUBJECT_TAG.fullmatch(self.name)
        return Digest(f"sha256:{match.group(1)}") if match else None


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    An image, an index or another artifact, identified by its digest. Its lock attributes are those
    of a `Tag`.

    platform: `linux/amd64` for an image; empty for an artifact that does not run.
    size: bytes, as listed. For an index, only its own document.
    known: are its edges (`children`, `subject`) known? False if its body was not read or cannot be
        read.
    """

    digest: Digest
    media_type: str = ""
    config_media_type: str = ""
    platform: str = ""
    size: int = 0
    updated_at: datetime | None = None
    locked: bool = False
    children: tuple[Digest, ...] = ()
    subject: Digest | None = None
    known: bool = False
    delete_enabled: bool = True
    write_enabled: bool = True

    @property
    def lock(self) -> Lock | None:
        """The lock to remove before a deletion; None if no lock could be restored."""
        return (
            None if self.delete_enabled and self.write_enabled else Lock(None, self.delete_enabled, self.write_enabled)
        )

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_MEDIA_TYPES

    @property
    def is_understood(self) -> bool:
        """
        Is its media type known?

        The references of an unknown (future) media type cannot be read.
        """
        return self.media_type in _UNDERSTOOD

    @property
    def has_no_edges(self) -> bool:
        """Is it of a kind that cannot have edges?"""
        return self.media_type in _DOCKER_IMAGES

    @property
    def is_image(self) -> bool:
        """
        Does its listing alone prove that it has no edges?

        A Docker image manifest cannot have edges. An OCI manifest could have a subject, but an
        image that can run is not a signature. An unknown media type proves nothing.
        """
        if self.has_no_edges:
            return True
        can_run = self.config_media_type in _IMAGE_CONFIGS or bool(self.platform)
        return self.media_type == _OCI_IMAGE and can_run


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
    """
    Is the repository itself locked?

    Read together with the edges, only if something could be deleted.
    """
    hidden: int = 0
    """
    How many more manifests the registry counts than it lists.

    Any may be an index. Read with the edges.
    """
    unknown_locks: int = 0
    """How many tags and manifests the registry lists without telling whether they are locked."""
    used_tags: frozenset[str] = frozenset()
    """Tags in use, listed or not."""
    all_referrers: bool = False
    """
    Must every referrer be known, even if the registry deletes it together with its subject?

    Backups need this.
    """
    candidates: frozenset[Digest] = frozenset()
    """Untagged manifests that may be deleted on their own, unless their body shows a subject."""

    def used_by(self, digests: Iterable[Digest], tags: Iterable[str] = ()) -> RepositoryInventory:
        """The same inventory, with these digests and tags marked as used."""
        return replace(self, used=frozenset(digests), used_tags=frozenset(tags))

    @property
    def listed_names(self) -> ListedNames:
        """The names in this repository, to look up what mentions them."""
        return ListedNames(
            self.name,
            {tag.name: tag.updated_at for tag in self.tags},
            self.manifests.keys() | self.tags_of.keys(),
            source=(id(self.tags), len(self.manifests)),
        )

    def with_edges(self, read: Iterable[Manifest]) -> RepositoryInventory:
        """The same inventory, with manifests whose bodies were read, or proved unreadable."""
        updated = {manifest.digest: manifest for manifest in read}
        return replace(self, manifests={**self.manifests, **updated}) if updated else self

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
          referrer, or a tag named after it. It can only have a subject, and the registry deletes an
          untagged one with its subject. So other artifacts need not be read, unless they must be
          backed up.
        """
        listed = [
            manifest.digest
            for manifest in self.manifests.values()
            if not (manifest.known or manifest.is_image)
            and (
                manifest.media_type != _OCI_IMAGE
                or manifest.locked
                or self.all_referrers
                or manifest.digest in self.tags_of
                or manifest.digest in self.used
                or manifest.digest in self.parents_of
                or manifest.digest in self.referrers_of
                or manifest.digest in self.signers_of
            )
        ]
        unlisted = {tag.digest for tag in self.tags} - self.manifests.keys()
        return (*listed, *sorted(unlisted))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all tags."""
        return frozenset(tag.name for tag in self.tags)

    @cached_property
    def tags_of(self) -> Mapping[Digest, tuple[Tag, ...]]:
        """
        Digest -> its tags.

        Built from the tags, because the `tags` of a listed manifest are truncated.
        """
        first: dict[Digest, tuple[Tag, ...]] = {}
        further: defaultdict[Digest, list[Tag]] = defaultdict(list)
        for tag in self.tags:
            if first.setdefault(tag.digest, (tag,))[0] is not tag:
                further[tag.digest].append(tag)
        return first | {digest: (*first[digest], *tags) for digest, tags in further.items()}

    @cached_property
    def parents_of(self) -> Mapping[Digest, tuple[Digest, ...]]:
        """Digest -> the indexes that list it."""
        parents: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for manifest in self.manifests.values():
            for child in manifest.children:
                parents[child].append(manifest.digest)
        return {digest: tuple(indexes) for digest, indexes in parents.items()}

    @cached_property
    def referrers_of(self) -> Mapping[Digest, tuple[Digest, ...]]:
        """Digest -> the manifests whose `subject` it is."""
        referrers: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for manifest in self.manifests.values():
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

    def ancestors(self, digest: Digest) -> frozenset[Digest]:
        """The indexes that reach this digest, directly or through other indexes."""
        return self._above((digest,)) - {digest}

    def family(self, digest: Digest) -> frozenset[Digest]:
        """
        The index family of this digest: every index that reaches it, and everything that these
        reach.

        A runtime may report the digest of an index or of the child that it chose, so a use of
        either is a use of the family.
        """
        return self.families((digest,))

    def families(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        """The index families of all these digests."""
        return _closure(self._above(digests), self._children)

    def _above(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        return _closure(digests, lambda digest: self.parents_of.get(digest, ()))

    def _children(self, digest: Digest) -> tuple[Digest, ...]:
        manifest = self.manifests.get(digest)
        return manifest.children if manifest else ()


def _closure(start: Iterable[Digest], edges: Callable[[Digest], Iterable[Digest]]) -> frozenset[Digest]:
    """Every digest reachable over these edges, the start included."""
    reached = set(start)
    pending = list(reached)
    while pending:
        for digest in edges(pending.pop()):
            if digest not in reached:
                reached.add(digest)
                pending.append(digest)
    return frozenset(reached)
