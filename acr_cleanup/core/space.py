"""
The exact space that deleting manifests frees within one repository.

The registry stores a layer or an image configuration once for all manifests that refer to it. Its
bytes are freed with the last of these manifests. Blobs shared with other repositories are not
considered. Listed sizes count every layer of every manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from acr_cleanup.core.references import Digest


@dataclass(frozen=True, slots=True)
class Content:
    """
    The sizes of one manifest, in bytes.

    document: the manifest itself.
    blobs: digest of each layer and of the configuration -> its size. Empty for an index: its
        children are manifests.
    """

    document: int
    blobs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Space:
    """
    The blobs that deleting the planned manifests of a repository can free. Blobs of kept manifests
    are left out.

    planned: digest of each planned manifest -> its content.
    referrers: manifest -> those that the registry deletes together with it, without a request.
    read: manifests read to measure the space.
    unread: manifests of the repository that could not be read or have no known size. With any of
        these the space is not exact: each might share every blob.
    """

    planned: Mapping[Digest, Content] = field(default_factory=dict)
    referrers: Mapping[Digest, tuple[Digest, ...]] = field(default_factory=dict)
    read: int = 0
    unread: int = 0

    @property
    def exact(self) -> bool:
        return not self.unread

    def freed(self, deleted: Iterable[Digest]) -> int:
        """
        Bytes freed if exactly these manifests are deleted.

        A blob that another planned manifest shares is not freed.
        """
        digests = self._with_referrers(deleted)
        contents = [content for digest, content in self.planned.items() if digest in digests]
        shared = {blob for digest, content in self.planned.items() if digest not in digests for blob in content.blobs}
        blobs = {blob: size for content in contents for blob, size in content.blobs.items() if blob not in shared}
        return sum(blobs.values()) + sum(content.document for content in contents)

    @property
    def total(self) -> int:
        """Bytes freed if every planned manifest is deleted."""
        return self.freed(self.planned)

    def _with_referrers(self, deleted: Iterable[Digest]) -> set[Digest]:
        digests = set(deleted)
        pending = list(digests)
        while pending:
            for referrer in self.referrers.get(pending.pop(), ()):
                if referrer not in digests:
                    digests.add(referrer)
                    pending.append(referrer)
        return digests


def measure(
    contents: Mapping[Digest, Content | None],
    planned: Collection[Digest],
    referrers: Mapping[Digest, tuple[Digest, ...]] | None = None,
    *,
    read: int = 0,
) -> Space:
    """
    Measure the space of the manifests `planned` for deletion.

    If two manifests state different sizes for one blob, the smaller counts, so that the result is
    not too large.

    contents: of every manifest of the repository; None for a manifest that could not be read.
    referrers, read: see `Space`.
    """
    unread = sum(content is None for content in contents.values()) + sum(digest not in contents for digest in planned)
    if unread:
        return Space(read=read, unread=unread)
    known = {digest: content for digest, content in contents.items() if content is not None}
    kept = {blob for digest, content in known.items() if digest not in planned for blob in content.blobs}
    sizes: dict[str, int] = {}
    for content in known.values():
        for blob, size in content.blobs.items():
            sizes[blob] = min(size, sizes.get(blob, size))
    freeable: dict[Digest, Content] = {}
    for digest in sorted(planned):
        content = known[digest]
        blobs = {blob: sizes[blob] for blob in content.blobs if blob not in kept}
        freeable[digest] = Content(content.document, blobs)
    return Space(freeable, dict(referrers or {}), read)
