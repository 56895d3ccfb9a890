"""Decode manifest bodies and lists of referrers. Pure. As in wire.py, a malformed value keeps more."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.references import Digest
from acr_cleanup.core.space import Content
from acr_cleanup.registry.wire import Descriptor, MalformedAnswer, decode, parsed_digest, text_of


class _Config(msgspec.Struct, rename="camel"):
    media_type: Any = None
    digest: Any = None
    size: Any = None


class _Body(msgspec.Struct, rename="camel"):
    media_type: Any = None
    config: _Config | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    layers: Any = None
    # In artifact manifests from before OCI 1.1.
    blobs: Any = None


class _Referrers(msgspec.Struct):
    # None: an empty list, as Go writes it.
    manifests: list[Descriptor] | None


class _Signature(msgspec.Struct):
    protected: str


class _Signed(msgspec.Struct):
    signatures: list[_Signature]


class _Protected(msgspec.Struct, rename="camel"):
    format_length: int
    format_tail: str


_BODY = msgspec.json.Decoder(_Body)
_REFERRERS = msgspec.json.Decoder(_Referrers)


@dataclass(frozen=True, slots=True)
class ManifestBody:
    """Properties of a manifest that only its body has, not its listing."""

    media_type: str
    config_media_type: str
    children: tuple[Digest, ...]
    subject: Digest | None
    content: Content | None = None
    """None if the body does not give all sizes."""

    def of(self, manifest: Manifest) -> Manifest:
        """The same manifest with its edges."""
        return manifest.with_body(self.media_type, self.config_media_type, self.children, self.subject)


def read_referrers(body: bytes) -> dict[str, Digest]:
    """Decode a page of referrers, by digest. Raises `MalformedAnswer`."""
    return {entry.digest: parsed_digest(entry.digest) for entry in decode(_REFERRERS, body).manifests or ()}


def read_body(content: bytes, digest: Digest, content_type: str) -> ManifestBody:
    """Check the digest of a manifest and decode it. Raises `MalformedAnswer`."""
    if not has_digest(content, digest):
        raise MalformedAnswer("the body does not match the digest")
    body = decode(_BODY, content)
    media_type = text_of(body.media_type) or content_type.partition(";")[0].strip()
    return ManifestBody(
        # A general type such as application/json does not tell what kind of manifest this is.
        media_type=media_type if ".manifest" in media_type or ".index" in media_type else "",
        config_media_type=text_of(body.config.media_type) if body.config is not None else "",
        children=tuple(dict.fromkeys(parsed_digest(child.digest) for child in body.manifests or ())),
        subject=parsed_digest(body.subject.digest) if body.subject is not None else None,
        content=_content(body, len(content)),
    )


def _content(body: _Body, size: int) -> Content | None:
    """The blobs of a manifest of `size` bytes; None if the size of any blob is unknown."""
    if body.layers is None and body.blobs is None:
        # The first Docker manifests name their layers without any size.
        return Content(size) if body.manifests is not None else None
    config = body.config
    listed: list[Any] = [{"digest": config.digest, "size": config.size}] if config is not None else []
    for blobs in (body.layers, body.blobs):
        if not isinstance(blobs, list | None):
            return None
        listed += blobs or ()
    sizes: dict[str, int] = {}
    for blob in listed:
        if not isinstance(blob, dict):
            return None
        digest, length = blob.get("digest"), blob.get("size")
        if not isinstance(digest, str) or type(length) is not int or length < 0:
            return None
        # A blob with `urls` is stored elsewhere, not in the registry.
        # https://github.com/opencontainers/image-spec/blob/main/descriptor.md
        if not blob.get("urls"):
            sizes[digest] = length
    return Content(size, sizes)


def has_digest(content: bytes, digest: Digest) -> bool:
    """Does the content match the digest? That of a signed manifest of Docker's first schema is of its payload."""
    algorithm, _, expected = digest.partition(":")
    return any(
        hashlib.new(algorithm, signed).hexdigest() == expected for signed in (content, _payload(content)) if signed
    )


def _payload(content: bytes) -> bytes:
    """
    The signed part of a manifest of Docker's first schema; empty for every other content.

    https://github.com/distribution/distribution/blob/v2.8.3/docs/spec/manifest-v2-1.md#signed-manifests
    """
    if b'"signatures"' not in content:
        return b""
    try:
        protected = msgspec.json.decode(content, type=_Signed).signatures[0].protected
        header = msgspec.json.decode(_decoded(protected), type=_Protected)
        return content[: header.format_length] + _decoded(header.format_tail)
    except (msgspec.MsgspecError, ValueError, IndexError, RecursionError):
        return b""


def _decoded(text: str) -> bytes:
    """Decode base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
