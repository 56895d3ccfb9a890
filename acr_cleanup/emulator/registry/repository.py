"""One repository of the emulated registry: manifests, tags, and the order of their lists."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
INDEX_TYPES = frozenset({DOCKER_LIST, OCI_INDEX})

Order = Literal["none", "timeasc", "timedesc"]


@dataclass(frozen=True, slots=True)
class Attributes:
    """The `changeableAttributes` of a repository, a manifest or a tag: the allowed operations."""

    delete: bool = True
    write: bool = True
    read: bool = True
    list: bool = True

    @property
    def locked(self) -> bool:
        """Whether the registry refuses to delete it."""
        return not (self.delete and self.write)


OPEN = Attributes()


@dataclass(slots=True)
class TagState:
    """One tag. `created`: the first push of the name; `updated`: its last push."""

    name: str
    digest: str
    created: datetime
    updated: datetime
    attributes: Attributes = OPEN


@dataclass(slots=True)
class ManifestState:
    """
    One manifest.

    `size`: the registry's `imageSize` in bytes: config and layers, or the index alone.
    `ghost`: the manifest is listed with its attributes, but its body answers 404.
    """

    digest: str
    body: bytes
    media_type: str
    size: int
    created: datetime
    updated: datetime
    config_media_type: str | None = None
    architecture: str | None = None
    os: str | None = None
    artifact_type: str | None = None
    subject: str | None = None
    children: tuple[str, ...] = ()
    tags: dict[str, None] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    attributes: Attributes = OPEN
    ghost: bool = False

    @property
    def is_index(self) -> bool:
        """Whether it lists other manifests."""
        return self.media_type in INDEX_TYPES


@dataclass(slots=True)
class RepositoryState:
    """One repository: manifests by digest, tags by name, referrers by subject."""

    name: str
    created: datetime
    updated: datetime
    attributes: Attributes = OPEN
    manifests: dict[str, ManifestState] = field(default_factory=dict)
    tags: dict[str, TagState] = field(default_factory=dict)
    # Subject -> its referrers. A subject need not exist.
    referrers: dict[str, dict[str, None]] = field(default_factory=dict)
    # Sorted keys of each list. They are cleared on every change. Without them each page would sort
    # again.
    _orders: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    # The last update of deleted items: a list by time must continue after an item that is deleted.
    _updated_before_deletion: dict[str, datetime] = field(default_factory=dict)

    def put(self, manifest: ManifestState, tag: str | None, when: datetime) -> None:
        """Store a manifest and set the tag on it, as a push does, also if it is stored already."""
        known = self.manifests.get(manifest.digest)
        if known is None:
            self.manifests[manifest.digest] = manifest
            if manifest.subject is not None:
                self.referrers.setdefault(manifest.subject, {})[manifest.digest] = None
        else:
            known.updated = when
        self.updated = max(self.updated, when)
        if tag is not None:
            self.tag(tag, manifest.digest, when)
        self._orders.clear()

    def tag(self, name: str, digest: str, when: datetime) -> None:
        """Set a tag on a manifest; it is removed from the manifest that had it."""
        known = self.tags.get(name)
        if known is None:
            self.tags[name] = TagState(name, digest, when, when)
        else:
            self.manifests[known.digest].tags.pop(name, None)
            known.digest, known.updated = digest, when
        self.manifests[digest].tags[name] = None
        self._orders.clear()

    def resolve(self, reference: str) -> ManifestState | None:
        """Return the manifest of a tag or digest."""
        tag = self.tags.get(reference)
        return self.manifests.get(reference if tag is None else tag.digest)

    def forget_orders(self) -> None:
        """Clear the sorted keys. Call it after changing attributes or times of listed items."""
        self._orders.clear()

    def untag(self, name: str) -> TagState:
        """Remove one tag and keep its manifest."""
        tag = self.tags.pop(name)
        self.manifests[tag.digest].tags.pop(name, None)
        self._updated_before_deletion[name] = tag.updated
        self._orders.clear()
        return tag

    def delete_manifest(self, digest: str) -> list[tuple[ManifestState, tuple[str, ...]]]:
        """
        Remove a manifest with its tags, and all its referrers, direct and indirect.

        Returns each removed manifest with the tags that it had.
        """
        manifest = self.manifests[digest]
        names = tuple(manifest.tags)
        for name in names:
            self.untag(name)
        removed = [(manifest, names)]
        del self.manifests[digest]
        self._updated_before_deletion[digest] = manifest.updated
        if manifest.subject is not None:
            self.referrers.get(manifest.subject, {}).pop(digest, None)
        for referrer in list(self.referrers.pop(digest, ())):
            if referrer in self.manifests:
                removed += self.delete_manifest(referrer)
        self._orders.clear()
        return removed

    def page_of_tags(self, order: Order, last: str | None, n: int, digest: str | None) -> tuple[list[TagState], bool]:
        """Return at most `n` listed tags after `last`, and whether there are more."""
        names: Iterable[str] | None = None
        if digest is not None:
            names = self.manifests[digest].tags if digest in self.manifests else ()
        return self._page(self.tags, "tags", order, last, n, names)

    def page_of_manifests(self, order: Order, last: str | None, n: int) -> tuple[list[ManifestState], bool]:
        """Return at most `n` listed manifests after `last`, and whether there are more."""
        return self._page(self.manifests, "manifests", order, last, n, None)

    def _page(
        self, items: dict[str, Any], kind: str, order: Order, last: str | None, n: int, names: Iterable[str] | None
    ) -> tuple[list[Any], bool]:
        def key(name: str, updated: datetime) -> tuple[Any, ...]:
            # Items of the same time are in ascending order of names, in both directions.
            seconds = updated.timestamp()
            return (name,) if order == "none" else (seconds if order == "timeasc" else -seconds, name)

        def sort(names: Iterable[str]) -> list[tuple[Any, ...]]:
            return sorted(key(name, items[name].updated) for name in names if items[name].attributes.list)

        if names is not None:
            keys = sort(names)
        elif (cached := self._orders.get(kind + order)) is not None:
            keys = cached
        else:
            keys = self._orders[kind + order] = sort(items)
        start = 0
        if last is not None:
            updated = items[last].updated if last in items else self._updated_before_deletion.get(last, self.created)
            start = bisect.bisect_right(keys, key(last, updated))
        return [items[k[-1]] for k in keys[start : start + n]], start + n < len(keys)
