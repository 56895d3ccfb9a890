"""
Decode the registry's JSON into tags, manifests and their edges. Pure.

Only a name and a digest are required. Any other value that is missing or malformed is replaced by
the one that keeps more. Shapes: https://learn.microsoft.com/rest/api/containerregistry/
(2021-07-01), and the OCI image specification.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any, NamedTuple, TypeVar

import msgspec

from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.references import Digest, parse_digest
from acr_cleanup.core.space import Content
from acr_cleanup.errors import InvalidReference

T = TypeVar("T")

NO_TIME_BEFORE = 2000
"""
Times before this year count as missing.

Go writes a missing time as the year 1, which would make everything old enough to delete.
"""


class MalformedAnswer(ValueError):
    """JSON of another shape than expected; the text says what is wrong."""


# `Any`: one malformed value must not make a whole page of 1,000 entries unreadable.
class _Attributes(msgspec.Struct, rename="camel"):
    delete_enabled: Any = True
    write_enabled: Any = True

    @property
    def lock(self) -> _Locks:
        """
        The lock that these attributes set.

        A value that is not a boolean counts as a lock, too. It could not be restored after
        unlocking, so the attributes are then reported as enabled.
        """
        if self.delete_enabled is True and self.write_enabled is True:
            # Nearly always.
            return _OPEN
        values = (self.delete_enabled, self.write_enabled)
        if any(not (value is None or isinstance(value, bool)) for value in values):
            return _Locks(True, True, True)
        delete, write = (value is not False for value in values)
        return _Locks(not (delete and write), delete, write)


class _Locks(NamedTuple):
    locked: bool
    delete_enabled: bool
    write_enabled: bool


_OPEN = _Locks(False, True, True)


class _Tag(msgspec.Struct, rename="camel"):
    name: str
    digest: str
    last_update_time: Any = None
    changeable_attributes: _Attributes | None = None


class _Manifest(msgspec.Struct, rename="camel"):
    digest: str
    media_type: Any = None
    config_media_type: Any = None
    image_size: Any = None
    architecture: Any = None
    os: Any = None
    last_update_time: Any = None
    tags: Any = None
    changeable_attributes: _Attributes | None = None


class _Repositories(msgspec.Struct):
    repositories: list[str] | None


class _Tags(msgspec.Struct):
    tags: list[_Tag] | None


class _OneTag(msgspec.Struct):
    tag: _Tag


class _Manifests(msgspec.Struct):
    manifests: list[_Manifest] | None


class _OneManifest(msgspec.Struct):
    manifest: _Manifest


class _Repository(msgspec.Struct, rename="camel"):
    image_name: str
    manifest_count: Any = None
    changeable_attributes: _Attributes | None = None


class _Config(msgspec.Struct, rename="camel"):
    media_type: Any = None
    digest: Any = None
    size: Any = None


class _Descriptor(msgspec.Struct):
    digest: str


class _Body(msgspec.Struct, rename="camel"):
    media_type: Any = None
    config: _Config | None = None
    manifests: list[_Descriptor] | None = None
    subject: _Descriptor | None = None
    layers: Any = None
    # In artifact manifests from before OCI 1.1.
    blobs: Any = None


_REPOSITORIES = msgspec.json.Decoder(_Repositories)
_TAGS = msgspec.json.Decoder(_Tags)
_ONE_TAG = msgspec.json.Decoder(_OneTag)
_MANIFESTS = msgspec.json.Decoder(_Manifests)
_REPOSITORY = msgspec.json.Decoder(_Repository)
_ONE_MANIFEST = msgspec.json.Decoder(_OneManifest)
_BODY = msgspec.json.Decoder(_Body)


@dataclass(frozen=True, slots=True)
class ListedManifest:
    """A manifest as listed, with some of its tags: the registry truncates them."""

    manifest: Manifest
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest byte for byte, and the media type with which the registry serves it."""

    content: bytes
    media_type: str


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
        """
        The same manifest with its edges.

        It stays unknown if its media type is unknown: such a manifest may refer to others in any
        way.
        """
        with_edges = replace(
            manifest,
            media_type=self.media_type or manifest.media_type,
            config_media_type=self.config_media_type or manifest.config_media_type,
            children=self.children,
            subject=self.subject,
        )
        return replace(with_edges, known=with_edges.is_understood)


def read_repositories(body: bytes) -> dict[str, str]:
    """Decode a page of the catalog. Raises `MalformedAnswer`."""
    return {name: name for name in _decode(_REPOSITORIES, body).repositories or ()}


def read_tags(
    body: bytes, known: dict[str, Digest] | None = None, unknown_locks: set[str] | None = None
) -> dict[str, Tag]:
    """
    Decode a page of tags, by name. Raises `MalformedAnswer`.

    `known`: digests decoded before. Each digest is in the list of tags and in that of manifests;
    this keeps only one copy in memory. `unknown_locks`: receives the names of tags that are listed
    without `changeableAttributes`: they may be locked.
    """
    known = {} if known is None else known
    tags = _decode(_TAGS, body).tags or ()
    if unknown_locks is not None:
        unknown_locks.update(tag.name for tag in tags if tag.changeable_attributes is None)
    return {tag.name: _tag(tag, known) for tag in tags}


def read_tag(body: bytes) -> Tag:
    """Decode the attributes of one tag. Raises `MalformedAnswer`."""
    return _tag(_decode(_ONE_TAG, body).tag, {})


def read_manifests(
    body: bytes, known: dict[str, Digest] | None = None, unknown_locks: set[str] | None = None
) -> dict[str, ListedManifest]:
    """
    Decode a page of manifests, by digest; the others as for `read_tags`. Raises `MalformedAnswer`.
    """
    known = {} if known is None else known
    listed = _decode(_MANIFESTS, body).manifests or ()
    if unknown_locks is not None:
        unknown_locks.update(entry.digest for entry in listed if entry.changeable_attributes is None)
    entries = (_listed(entry, known) for entry in listed)
    return {entry.manifest.digest: entry for entry in entries}


def read_manifest(body: bytes) -> ListedManifest:
    """Decode the attributes of one manifest. Raises `MalformedAnswer`."""
    return _listed(_decode(_ONE_MANIFEST, body).manifest, {})


def hidden_tags(tags: Mapping[str, Tag], listed: Mapping[str, ListedManifest]) -> list[Tag]:
    """
    Tags that a manifest shows but the list of tags does not.

    They are unlisted (`listEnabled: false`) or were pushed a moment ago. Deleting the manifest
    would delete them. Their age is unknown, so they are kept together with the manifest.
    """
    return [
        Tag(name, entry.manifest.digest, None) for entry in listed.values() for name in entry.tags if name not in tags
    ]


def read_repository(body: bytes, name: str) -> tuple[bool, int]:
    """
    Is the repository locked, and how many manifests does it count?

    Raises `MalformedAnswer`, also for the attributes of another repository.
    """
    repository = _decode(_REPOSITORY, body)
    if repository.image_name != name:
        raise MalformedAnswer(f"the attributes of {repository.image_name!r}")
    count = repository.manifest_count
    return _locks(repository.changeable_attributes).locked, count if type(count) is int and count > 0 else 0


def read_body(content: bytes, digest: Digest, content_type: str) -> ManifestBody:
    """Check the digest of a manifest and decode it. Raises `MalformedAnswer`."""
    if not has_digest(content, digest):
        raise MalformedAnswer("the body does not match the digest")
    body = _decode(_BODY, content)
    media_type = _text(body.media_type) or content_type.partition(";")[0].strip()
    return ManifestBody(
        # A general type such as application/json does not tell what kind of manifest this is.
        media_type=media_type if ".manifest" in media_type or ".index" in media_type else "",
        config_media_type=_text(body.config.media_type) if body.config is not None else "",
        children=tuple(dict.fromkeys(_digest(child.digest) for child in body.manifests or ())),
        subject=_digest(body.subject.digest) if body.subject is not None else None,
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
    """Does the content match the digest?"""
    algorithm, _, expected = digest.partition(":")
    return hashlib.new(algorithm, content).hexdigest() == expected


def _tag(tag: _Tag, known: dict[str, Digest]) -> Tag:
    return Tag(tag.name, _known(tag.digest, known), _moment(tag.last_update_time), *_locks(tag.changeable_attributes))


def _listed(entry: _Manifest, known: dict[str, Digest]) -> ListedManifest:
    locks = _locks(entry.changeable_attributes)
    manifest = Manifest(
        digest=_known(entry.digest, known),
        media_type=_shared(entry.media_type),
        config_media_type=_shared(entry.config_media_type),
        platform=_platform(_text(entry.os), _text(entry.architecture)),
        size=entry.image_size if type(entry.image_size) is int and entry.image_size > 0 else 0,
        updated_at=_moment(entry.last_update_time),
        locked=locks.locked,
        delete_enabled=locks.delete_enabled,
        write_enabled=locks.write_enabled,
    )
    tags = entry.tags if isinstance(entry.tags, list) else ()
    return ListedManifest(manifest, tuple(tag for tag in tags if isinstance(tag, str)))


@lru_cache(maxsize=256)
def _platform(os: str, architecture: str) -> str:
    # Attestations have the platform unknown/unknown: they are not run.
    runs = os and architecture and "unknown" not in (os, architecture)
    return f"{os}/{architecture}" if runs else ""


def _locks(attributes: _Attributes | None) -> _Locks:
    return _OPEN if attributes is None else attributes.lock


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedAnswer(str(error)) from None
    except RecursionError:
        raise MalformedAnswer("the JSON is nested too deeply") from None


def _digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except InvalidReference as error:
        raise MalformedAnswer(error.seen) from None


def _known(text: str, known: dict[str, Digest]) -> Digest:
    """The digest in `known` if there is one, so that no second copy is kept."""
    digest = known.get(text)
    if digest is None:
        digest = known[text] = _digest(text)
    return digest


def _moment(value: Any) -> datetime | None:
    """
    Parse a timestamp, also with the seven fractional digits of .NET; None if it cannot be trusted.

    >>> _moment("2021-05-13T16:00:26.9280451Z")
    datetime.datetime(2021, 5, 13, 16, 0, 26, 928045, tzinfo=datetime.timezone.utc)
    >>> _moment("0001-01-01T00:00:00Z") is None
    True
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment.year >= NO_TIME_BEFORE else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _shared(value: Any) -> str:
    """
    Intern a text that has few distinct values: otherwise each of a million manifests keeps its own
    copy.
    """
    return intern(value) if isinstance(value, str) else ""
