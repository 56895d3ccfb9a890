"""
What one repository of the registry holds, as a graph.

Edges: index -> its children, referrer -> its subject. In ACR they never leave their repository, so a repository can be
listed, decided and forgotten. Locked and unlisted manifests are nodes like any other; a manifest whose body could not be
read (`known=False`) might have any edge.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

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
# What could have a subject and no child.
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

# Cosign's tag scheme and the referrers fallback: `sha256-<hex>`, with or without a suffix such as `.sig`.
# https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
_SUBJECT_TAG = re.compile(r"sha256-([0-9a-f]{64})(?:\..+)?")


@dataclass(frozen=True, slots=True)
class Lock:
    """
    What has to be unlocked for a step, with the attributes to put back: of one tag, or (`tag` None) of the manifest.

    https://learn.microsoft.com/azure/container-registry/container-registry-image-lock
    """

    tag: str | None
    delete_enabled: bool
    write_enabled: bool


@dataclass(frozen=True, slots=True)
class Tag:
    """
    A name for a manifest. `updated_at` is the last push (`lastUpdateTime`), not the first; None if the registry gave none.

    `delete_enabled` and `write_enabled` are the attributes that lock it. What is `locked` while both of them are True is locked by
    something that nobody understands: it could not be put back, and is never unlocked.
    """

    name: str
    digest: Digest
    updated_at: datetime | None
    locked: bool = False
    delete_enabled: bool = True
    write_enabled: bool = True

    @property
    def lock(self) -> Lock | None:
        """What unlocking it takes; None if it is not locked, or in no way that could be put back."""
        return (
            None
            if self.delete_enabled and self.write_enabled
            else Lock(self.name, self.delete_enabled, self.write_enabled)
        )

    @property
    def subject(self) -> Digest | None:
        """
        The digest whose signature, attestation or referrers list this tag holds by naming convention.

        >>> Tag("sha256-" + "0" * 64 + ".sig", Digest("sha256:" + "1" * 64), None).subject == "sha256:" + "0" * 64
        True
        """
        match = _SUBJECT_TAG.fullmatch(self.name)
        return Digest(f"sha256:{match.group(1)}") if match else None


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    What a digest identifies: an image or an index. `size` is in bytes, as the listing says (for an index its own document).

    `known` is False while its edges (`children`, `subject`) are not known: because its body has not been read yet, or
    because it could not be. Locks are as those of a `Tag`.
    """

    digest: Digest
    media_type: str = ""
    config_media_type: str = ""
    platform: str = ""
    """`linux/amd64` for an image, empty for what runs nowhere."""
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
        """What unlocking it takes; None if it is not locked, or in no way that could be put back."""
        return (
            None if self.delete_enabled and self.write_enabled else Lock(None, self.delete_enabled, self.write_enabled)
        )

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_MEDIA_TYPES

    @property
    def is_understood(self) -> bool:
        """Does anybody know what its body says? What a media type of the future refers to, nobody can tell."""
        return self.media_type in _UNDERSTOOD

    @property
    def has_no_edges(self) -> bool:
        """Is it of a kind that cannot have any?"""
        return self.media_type in _DOCKER_IMAGES

    @property
    def is_image(self) -> bool:
        """
        Does its listing alone prove that it has no edges?

        A Docker image manifest cannot have any; an OCI one could have a subject, but an image that runs somewhere is not
        anything's signature. Media types nobody knows prove nothing.
        """
        if self.has_no_edges:
            return True
        runs_somewhere = self.config_media_type in _IMAGE_CONFIGS or bool(self.platform)
        return self.media_type == _OCI_IMAGE and runs_somewhere


@dataclass(frozen=True)
class RepositoryInventory:
    """Every tag and every manifest of one repository at one moment. A repository that is not there is an empty one."""

    name: str
    tags: tuple[Tag, ...] = ()
    manifests: Mapping[Digest, Manifest] = field(default_factory=dict)
    used: frozenset[Digest] = frozenset()
    """Digests that something uses: what these are attached to matters, whatever they are."""
    locked: bool = False
    """Is the repository itself locked? Read together with the edges, only where something could be deleted."""
    hidden: int = 0
    """How many more manifests the registry counts than are known of: any may be an index. Read together with the edges."""
    used_tags: frozenset[str] = frozenset()
    """Names that something uses, listed or not."""
    all_referrers: bool = False
    """Must every referrer be known, also one that the registry removes by itself with its subject? Then it can be backed up."""
    candidates: frozenset[Digest] = frozenset()
    """Manifests without tags that may go by themselves, unless they prove to be attached to something."""

    def used_by(self, digests: Iterable[Digest], tags: Iterable[str] = ()) -> RepositoryInventory:
        """The same inventory, knowing which of its digests and names are used."""
        return replace(self, used=frozenset(digests), used_tags=frozenset(tags))

    def with_edges(self, read: Iterable[Manifest]) -> RepositoryInventory:
        """The same inventory, with these manifests (their bodies now read, or found unreadable) in place of the old."""
        found = {manifest.digest: manifest for manifest in read}
        return replace(self, manifests={**self.manifests, **found}) if found else self

    @cached_property
    def unread(self) -> tuple[Digest, ...]:
        """
        Digests whose body must be read before this repository can be decided.

        First what has to be known for anything (`unknown`). Then the `candidates`: even what looks like an image may be attached to
        something by its `subject`, and here that would lose it. What an index lists lives and dies with that, unread.
        What has been read may show more to read.
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
        """Digests whose edges are not known. Any manifest of the repository might be a child of one of them."""
        return frozenset(self._edges_needed)

    @cached_property
    def _edges_needed(self) -> tuple[Digest, ...]:
        """
        Every index and every media type nobody knows; also what a tag names and the listing does not, for unlisted manifests
        (`listEnabled: false`) have edges too.

        An OCI artifact can only have a subject, and the registry removes an untagged one together with that subject: its body
        matters when anything could hold it (a tag, a lock, a use, an index that lists it, a referrer of its own, a tag that is
        named after it), or when it is to be brought back.
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
        """The names of its tags."""
        return frozenset(tag.name for tag in self.tags)

    @cached_property
    def tags_of(self) -> Mapping[Digest, tuple[Tag, ...]]:
        """Digest -> its tags, from the tags themselves: the `tags` of a manifest in a listing are truncated."""
        found: dict[Digest, tuple[Tag, ...]] = {}
        several: defaultdict[Digest, list[Tag]] = defaultdict(list)
        for tag in self.tags:
            if found.setdefault(tag.digest, (tag,))[0] is not tag:
                several[tag.digest].append(tag)
        return found | {digest: (*found[digest], *tags) for digest, tags in several.items()}

    @cached_property
    def parents_of(self) -> Mapping[Digest, tuple[Digest, ...]]:
        """Digest -> the indexes that list it."""
        found: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for manifest in self.manifests.values():
            for child in manifest.children:
                found[child].append(manifest.digest)
        return {digest: tuple(parents) for digest, parents in found.items()}

    @cached_property
    def referrers_of(self) -> Mapping[Digest, tuple[Digest, ...]]:
        """Digest -> the manifests whose `subject` it is."""
        found: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for manifest in self.manifests.values():
            if manifest.subject is not None:
                found[manifest.subject].append(manifest.digest)
        return {digest: tuple(referrers) for digest, referrers in found.items()}

    @cached_property
    def signers_of(self) -> Mapping[Digest, tuple[Tag, ...]]:
        """Digest -> the tags that are named after it (`Tag.subject`): its signatures, attestations and referrers list."""
        found: defaultdict[Digest, list[Tag]] = defaultdict(list)
        for tag in self.tags:
            if (subject := tag.subject) is not None:
                found[subject].append(tag)
        return {digest: tuple(tags) for digest, tags in found.items()}

    def ancestors(self, digest: Digest) -> frozenset[Digest]:
        """The indexes that reach this digest, however nested."""
        return self._above((digest,)) - {digest}

    def family(self, digest: Digest) -> frozenset[Digest]:
        """
        Everything that lives and dies with this digest as far as indexes go: up to every index that reaches it, and down again.

        A runtime may report the digest of an index or of the child that it chose, so one use of either is a use of all.
        """
        return self.families((digest,))

    def families(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        """The families of all of these."""
        return _closure(self._above(digests), self._children)

    def _above(self, digests: Iterable[Digest]) -> frozenset[Digest]:
        return _closure(digests, lambda each: self.parents_of.get(each, ()))

    def _children(self, digest: Digest) -> tuple[Digest, ...]:
        manifest = self.manifests.get(digest)
        return manifest.children if manifest else ()


def _closure(start: Iterable[Digest], edges: Callable[[Digest], Iterable[Digest]]) -> frozenset[Digest]:
    seen = set(start)
    pending = list(seen)
    while pending:
        for digest in edges(pending.pop()):
            if digest not in seen:
                seen.add(digest)
                pending.append(digest)
    return frozenset(seen)
