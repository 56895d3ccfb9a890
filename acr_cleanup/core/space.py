"""
How much space goes with manifests, to the byte, within one repository.

The registry keeps a layer, and the configuration of an image, once for all manifests that refer to it: their bytes are free when
the last of them is gone. What other repositories share is not known here; the listing's sizes count every layer of every manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from acr_cleanup.core.references import Digest


@dataclass(frozen=True, slots=True)
class Content:
    """
    What a manifest takes up: its own document, and the blobs (layers, configuration) that it refers to, by digest.

    All in bytes. An index has no blobs: its children are manifests of their own.
    """

    document: int
    blobs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Space:
    """
    What each manifest that may go takes up alone or shares with others that may go: no blob of what is kept is in here.

    `read` is how many manifests had to be read for it; with any `unread` (or of unknown size) among those of the repository, no
    exact figure can be had, for each of them might share anything.
    """

    going: Mapping[Digest, Content] = field(default_factory=dict)
    along: Mapping[Digest, tuple[Digest, ...]] = field(default_factory=dict)
    """What the registry removes together with a manifest, without being asked."""
    read: int = 0
    unread: int = 0

    @property
    def exact(self) -> bool:
        return not self.unread

    def freed(self, deleted: Iterable[Digest]) -> int:
        """Bytes that are free once these manifests (and no others) are deleted. A blob that one of the rest shares is not."""
        gone = self._with_what_goes_along(deleted)
        shared = {blob for digest, content in self.going.items() if digest not in gone for blob in content.blobs}
        blobs = {
            blob: size
            for digest in gone
            if digest in self.going
            for blob, size in self.going[digest].blobs.items()
            if blob not in shared
        }
        return sum(blobs.values()) + sum(self.going[digest].document for digest in gone if digest in self.going)

    @property
    def total(self) -> int:
        """Bytes that are free once all of them are gone."""
        return self.freed(self.going)

    def _with_what_goes_along(self, deleted: Iterable[Digest]) -> set[Digest]:
        gone = set(deleted)
        pending = list(gone)
        while pending:
            for digest in self.along.get(pending.pop(), ()):
                if digest not in gone:
                    gone.add(digest)
                    pending.append(digest)
        return gone


def measure(
    contents: Mapping[Digest, Content | None],
    going: Collection[Digest],
    along: Mapping[Digest, tuple[Digest, ...]] | None = None,
    *,
    read: int = 0,
) -> Space:
    """
    The space of the manifests `going`, from the contents of every manifest of their repository; None for one that is not known.

    Of two sizes for one blob, the smaller counts: what is promised must be there.
    """
    unread = sum(content is None for content in contents.values()) + sum(digest not in contents for digest in going)
    if unread:
        return Space(read=read, unread=unread)
    known = {digest: content for digest, content in contents.items() if content is not None}
    kept = {blob for digest, content in known.items() if digest not in going for blob in content.blobs}
    sizes: dict[str, int] = {}
    for content in known.values():
        for blob, size in content.blobs.items():
            sizes[blob] = min(size, sizes.get(blob, size))
    found: dict[Digest, Content] = {}
    for digest in sorted(going):
        content = known[digest]
        blobs = {blob: sizes[blob] for blob in content.blobs if blob not in kept}
        found[digest] = Content(content.document, blobs)
    return Space(found, dict(along or {}), read)


def upper_bound(contents: Mapping[Digest, Content | None], going: Iterable[Digest]) -> int:
    """Bytes if nothing were shared with anything."""
    return sum(content.document + sum(content.blobs.values()) for digest in going if (content := contents.get(digest)))
