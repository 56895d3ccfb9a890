"""Tags and manifests, as the registry lists them, and their locks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct, structs

from acr_cleanup.core.media_types import (
    DOCKER_IMAGES,
    IMAGE_CONFIGS,
    INDEX_MEDIA_TYPES,
    OCI_ARTIFACTS,
    OCI_IMAGE,
    OCI_INDEX,
    UNDERSTOOD,
)
from acr_cleanup.core.references import Digest

# Cosign's tag scheme and the referrers fallback: `sha256-<hex>`, with or without a suffix such as
# `.sig`. With `--attachment-tag-prefix`, cosign puts a prefix before it.
# https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
_SUBJECT_TAG = re.compile(r"(?:sha256-|.+sha256-(?=.{64}\.(?:sig|att|sbom)$))([0-9a-f]{64})(?:\..+)?")


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


class LockState(NamedTuple):
    """
    The attributes of a tag that lock it. Nearly all tags share one value.

    delete_enabled, write_enabled: if both are True while it is `locked`, the kind of lock is unknown:
        it could not be restored, so it is never removed.
    put_aside: reading it is disabled (`readEnabled: false`). It then counts as `locked`, and is
        never unlocked.
    """

    locked: bool
    delete_enabled: bool = True
    write_enabled: bool = True
    put_aside: bool = False


UNLOCKED = LockState(locked=False)


# Structs, of which there may be a million: a quarter of the time of a dataclass to make one, and less
# memory. They cannot be in a cycle, so the collector of garbage need not look at them.
class Tag(Struct, frozen=True, gc=False):
    """
    A name for a manifest.

    updated_at: the last push (`lastUpdateTime`), not the first; None if the registry gives none.
    """

    name: str
    digest: Digest
    updated_at: datetime | None
    lock_state: LockState = UNLOCKED

    @property
    def locked(self) -> bool:
        return self.lock_state.locked

    @property
    def put_aside(self) -> bool:
        return self.lock_state.put_aside

    @property
    def lock(self) -> Lock | None:
        """The lock to remove before a deletion; None if no lock could be restored."""
        _, delete_enabled, write_enabled, put_aside = self.lock_state
        opened = put_aside or (delete_enabled and write_enabled)
        return None if opened else Lock(self.name, delete_enabled, write_enabled)

    @property
    def subject(self) -> Digest | None:
        """
        The digest that this tag is named after: it points to its signature, attestation or
        referrers list.

        >>> Tag("sha256-" + "0" * 64 + ".sig", Digest("sha256:" + "1" * 64), None).subject == "sha256:" + "0" * 64
        True
        """
        # Nearly every name. This takes a fifth of the time of the expression.
        if "sha256-" not in self.name:
            return None
        match = _SUBJECT_TAG.fullmatch(self.name)
        return Digest(f"sha256:{match.group(1)}") if match else None


class Manifest(Struct, frozen=True, gc=False):
    """
    An image, an index or another artifact, identified by its digest. Its lock attributes are those
    of a `LockState`.

    platform: `linux/amd64` for an image; empty for an artifact that does not run.
    size: bytes, as listed. For an index, only its own document.
    updated_at: the last push, of the manifest or a tag.
    created_at: the first push. Most referrers are pushed after their subject.
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
    put_aside: bool = False
    created_at: datetime | None = None

    @property
    def lock(self) -> Lock | None:
        """The lock to remove before a deletion; None if no lock could be restored."""
        opened = self.put_aside or (self.delete_enabled and self.write_enabled)
        return None if opened else Lock(None, self.delete_enabled, self.write_enabled)

    def with_body(
        self, media_type: str, config_media_type: str, children: tuple[Digest, ...], subject: Digest | None
    ) -> Manifest:
        """
        The same manifest with what its body says; an empty type is the one that the listing has.

        It remains unknown if its media type is unknown: such a manifest may refer to others in any
        way.
        """
        read = structs.replace(
            self,
            media_type=media_type or self.media_type,
            config_media_type=config_media_type or self.config_media_type,
            children=children,
            subject=subject,
        )
        return structs.replace(read, known=read.is_understood)

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_MEDIA_TYPES

    @property
    def is_understood(self) -> bool:
        """
        Is its media type known?

        The references of an unknown (future) media type cannot be read.
        """
        return self.media_type in UNDERSTOOD

    @property
    def has_no_edges(self) -> bool:
        """Is it of a kind that cannot have edges?"""
        return self.media_type in DOCKER_IMAGES

    @property
    def is_image(self) -> bool:
        """
        Does its listing prove that it is an image, which has no children?

        An OCI image may still have a subject: nydus, overlaybd and artifact streaming convert an
        image into another one that refers to it. An unknown media type proves nothing.
        https://github.com/goharbor/harbor/issues/19452
        """
        if self.has_no_edges:
            return True
        can_run = self.config_media_type in IMAGE_CONFIGS or bool(self.platform)
        return self.media_type == OCI_IMAGE and can_run

    @property
    def may_have_subject(self) -> bool:
        """Is it of a kind that may have a subject and no children? Every OCI kind but an index is."""
        return self.media_type == OCI_IMAGE or self.media_type in OCI_ARTIFACTS

    @property
    def hides_subject(self) -> bool:
        """May it have a subject that was not read? An index that was put aside may, too."""
        if self.may_have_subject:
            return not self.known
        return self.put_aside and self.media_type == OCI_INDEX and self.subject is None
