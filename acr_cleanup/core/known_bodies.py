"""
The children and subjects in the bodies of manifests, from earlier runs and from this one.

A body never changes: its digest is its name. So each is read once in the life of a registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.packed_set import PackedSet
from acr_cleanup.core.references import Digest

PREFIX = 12
"""Bytes of a digest that identify a body without references: with 96 bits, an equal one cannot be forged."""


@dataclass(frozen=True, slots=True)
class KnownBody:
    """The types and references in a body. The types are empty if the listing has the same."""

    media_type: str = ""
    config_media_type: str = ""
    children: tuple[Digest, ...] = ()
    subject: Digest | None = None

    @classmethod
    def of(cls, listed: Manifest, read: Manifest) -> KnownBody:
        """listed: the manifest as the registry lists it. read: the same with its body."""
        return cls(
            "" if read.media_type == listed.media_type else read.media_type,
            "" if read.config_media_type == listed.config_media_type else read.config_media_type,
            read.children,
            read.subject,
        )

    def add_to(self, listed: Manifest) -> Manifest:
        return listed.with_body(self.media_type, self.config_media_type, self.children, self.subject)


@dataclass(slots=True)
class RepositoryBodies:
    """
    The known bodies of one repository.

    full: those with references, or with other types than the listing has.
    plain: the beginnings of the digests of all others. new: as `plain`, of this run.
    """

    full: dict[Digest, KnownBody] = field(default_factory=dict)
    plain: PackedSet = field(default_factory=lambda: PackedSet(PREFIX))
    new: set[bytes] = field(default_factory=set)


class BodyMemory:
    """
    The known bodies of a registry, by repository.

    A repository may list a manifest whose content it has lost, while another one still has it. So what
    one repository has shown says nothing of another.
    """

    def __init__(self, repositories: Mapping[str, RepositoryBodies] | None = None) -> None:
        self.repositories = dict(repositories or {})

    def recall(self, repository: str, listed: Manifest) -> Manifest | None:
        """The manifest with its body; None if that is not known."""
        known = self.repositories.get(repository)
        if known is None or listed.put_aside:
            return None
        body = known.full.get(listed.digest)
        if body is None:
            prefix = prefix_of(listed.digest)
            if prefix not in known.new and prefix not in known.plain:
                return None
            body = _PLAIN
        read = body.add_to(listed)
        return read if read.known else None

    def note(self, repository: str, listed: Manifest, read: Manifest) -> None:
        """Remember a body that was read. One that is not understood is not remembered."""
        if not read.known or read.put_aside:
            return
        known = self.repositories.setdefault(repository, RepositoryBodies())
        body = KnownBody.of(listed, read)
        if body == _PLAIN:
            known.new.add(prefix_of(read.digest))
        else:
            known.full[read.digest] = body


_PLAIN = KnownBody()


def prefix_of(digest: Digest) -> bytes:
    """
    The beginning of a digest, as bytes.

    >>> prefix_of(Digest("sha256:" + "0a" * 32)).hex()
    '0a0a0a0a0a0a0a0a0a0a0a0a'
    """
    return bytes.fromhex(digest.partition(":")[2][: 2 * PREFIX])
