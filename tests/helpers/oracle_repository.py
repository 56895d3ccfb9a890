"""The oracle's copy of one repository of the emulator, and the graph of its manifests."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from acr_cleanup.emulator.registry.repository import RepositoryState
from acr_cleanup.emulator.registry.state import OCI_MANIFEST

COMPANION_TAG = re.compile(r"sha256-([0-9a-f]{64})(\..+)?|.+sha256-([0-9a-f]{64})\.(sig|att|sbom)")
"""The name of a tag that belongs to a digest, such as cosign's signature."""


@dataclass(frozen=True)
class Tag:
    digest: str
    updated: datetime
    locked: bool


@dataclass(frozen=True)
class Manifest:
    """
    A manifest.

    `readable`: its body can be read, and its media type is known.
    `plain`: the registry's list proves that it is an image, which has no children.
    `index`: it may have children. `artifact`: an OCI manifest that is not an image.
    """

    children: tuple[str, ...]
    subject: str | None
    updated: datetime
    locked: bool
    readable: bool
    plain: bool
    docker: bool
    index: bool
    artifact: bool


@dataclass(frozen=True)
class Repository:
    """A repository at one moment."""

    name: str
    tags: Mapping[str, Tag]
    manifests: Mapping[str, Manifest]
    locked: bool

    @classmethod
    def from_state(cls, name: str, state: RepositoryState | None) -> Repository:
        """Copy the emulator's state; None is an empty repository."""
        if state is None:
            return cls(name, {}, {}, False)
        return cls(
            name,
            {tag: Tag(entry.digest, entry.updated, entry.attributes.locked) for tag, entry in state.tags.items()},
            {
                entry.digest: Manifest(
                    entry.children,
                    entry.subject,
                    entry.updated,
                    entry.attributes.locked,
                    readable=not entry.ghost and "strange" not in entry.media_type,
                    plain=entry.architecture is not None,
                    docker="docker" in entry.media_type and not entry.is_index,
                    index=entry.is_index,
                    artifact=entry.media_type == OCI_MANIFEST and entry.architecture is None,
                )
                for entry in state.manifests.values()
            },
            state.attributes.locked,
        )

    def tags_of(self, digest: str) -> set[str]:
        return {name for name, tag in self.tags.items() if tag.digest == digest}

    def parents(self, digest: str) -> set[str]:
        return {parent for parent, manifest in self.manifests.items() if digest in manifest.children}

    def referrers(self, digest: str) -> set[str]:
        return {referrer for referrer, manifest in self.manifests.items() if manifest.subject == digest}

    def release(self, tag: str) -> str:
        """The digest by which `keep_last` counts this tag: a platform counts with its only tagged index."""
        digest = self.tags[tag].digest
        while True:
            indexes = {index for index in self.parents(digest) if self.tags_of(index)}
            if len(indexes) != 1:
                return digest
            [digest] = indexes

    def companion_tags(self, digest: str) -> set[str]:
        """The tags whose names contain this digest."""
        return {name for name in self.tags if companion_of(name) == digest}

    def subtree(self, digest: str) -> set[str]:
        """The manifest and all its descendants, which a pull needs; empty if it does not exist."""
        if digest not in self.manifests:
            return set()
        return {digest}.union(*(self.subtree(child) for child in self.manifests[digest].children))

    def family(self, digest: str) -> set[str]:
        """
        The subtrees of all indexes that contain this digest.

        The subject of such an index belongs to the family, with all indexes that contain it, and so on.
        """
        above = {digest}
        while True:
            subjects = {
                self.manifests[index].subject for index in above & self.manifests.keys() if self.manifests[index].index
            }
            more = {subject for subject in subjects if subject is not None and subject in self.manifests}
            more |= {index for index in self.manifests if self.subtree(index) & (above | more)}
            if more <= above:
                return {digest}.union(*map(self.subtree, above))
            above |= more

    def companions(self, digest: str) -> set[str]:
        """The referrers that are deleted or kept together with this manifest."""
        return {referrer for referrer in self.referrers(digest) if not self.has_own_rules(referrer)}

    def has_own_rules(self, digest: str) -> bool:
        """True for an image with a tag, and for an image in indexes that do not list its subject."""
        image = self.manifests[digest]
        apart = [index for index in self.parents(digest) if image.subject not in self.manifests[index].children]
        listed_apart = bool(apart) and len(apart) == len(self.parents(digest))
        return image.plain and bool(self.tags_of(digest) or listed_apart)

    def excluding(self, digests: Collection[str]) -> Repository:
        """Return a copy without these manifests and their tags."""
        tags = {name: tag for name, tag in self.tags.items() if tag.digest not in digests}
        manifests = {digest: manifest for digest, manifest in self.manifests.items() if digest not in digests}
        return replace(self, tags=tags, manifests=manifests)

    def with_readable_edges(self) -> Repository:
        """
        Return a copy without the children and subjects of unreadable manifests.

        The registry's lists of referrers tell the subject of an unreadable image.
        """
        manifests = {
            digest: manifest if manifest.readable or manifest.plain else replace(manifest, children=(), subject=None)
            for digest, manifest in self.manifests.items()
        }
        return replace(self, manifests=manifests)

    @property
    def may_hide_references(self) -> bool:
        """True if some manifest may refer to any other one."""
        return any(not manifest.readable and not manifest.plain for manifest in self.manifests.values())


def companion_of(tag: str) -> str | None:
    """The digest in the name of a companion tag; None for other tags."""
    match = COMPANION_TAG.fullmatch(tag)
    return f"sha256:{match[1] or match[3]}" if match else None
