"""
The registry's JSON -> tags, manifests and edges. Pure.

Only a name and a digest are indispensable; anything else that is missing or odd becomes the value that keeps more.
Shapes: https://learn.microsoft.com/rest/api/containerregistry/ (2021-07-01), and the OCI image specification.
"""

from __future__ import annotations

import hashlib
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
"""A year. Go writes a missing time as the year 1, which would make anything look old enough to go."""


class Unreadable(ValueError):
    """JSON that is not what it should be; the text says what was found."""


# `Any` where a strange value must not spoil a page of a thousand.
class _Attributes(msgspec.Struct, rename="camel"):
    delete_enabled: Any = True
    write_enabled: Any = True

    @property
    def lock(self) -> _Locks:
        """
        What of it locks. A value that nobody understands locks as well, and could not be put back: so it is not handed on.
        """
        if self.delete_enabled is True and self.write_enabled is True:
            # As nearly everything is.
            return _OPEN
        both = (self.delete_enabled, self.write_enabled)
        if any(not (each is None or isinstance(each, bool)) for each in both):
            return _Locks(True, True, True)
        delete, write = (each is not False for each in both)
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


class _Document(msgspec.Struct, rename="camel"):
    media_type: Any = None
    config: _Config | None = None
    manifests: list[_Descriptor] | None = None
    subject: _Descriptor | None = None
    layers: Any = None
    # Of the artifact manifests that were before OCI 1.1.
    blobs: Any = None


_REPOSITORIES = msgspec.json.Decoder(_Repositories)
_TAGS = msgspec.json.Decoder(_Tags)
_ONE_TAG = msgspec.json.Decoder(_OneTag)
_MANIFESTS = msgspec.json.Decoder(_Manifests)
_REPOSITORY = msgspec.json.Decoder(_Repository)
_ONE_MANIFEST = msgspec.json.Decoder(_OneManifest)
_DOCUMENT = msgspec.json.Decoder(_Document)


@dataclass(frozen=True, slots=True)
class ListedManifest:
    """A manifest as listed, and the tags that the listing shows on it: some of them, for the registry truncates them."""

    manifest: Manifest
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edges:
    """What the body of a manifest says, and its listing does not."""

    media_type: str
    config_media_type: str
    children: tuple[Digest, ...]
    subject: Digest | None
    content: Content | None = None
    """What it takes up; None if it does not say."""

    def of(self, manifest: Manifest) -> Manifest:
        """The same manifest, its edges known; unless nobody knows its media type, which might refer to anything in any way."""
        read = replace(
            manifest,
            media_type=self.media_type or manifest.media_type,
            config_media_type=self.config_media_type or manifest.config_media_type,
            children=self.children,
            subject=self.subject,
        )
        return replace(read, known=read.is_understood)


def read_repositories(body: bytes) -> dict[str, str]:
    """A page of the catalog. Raises `Unreadable`."""
    return {name: name for name in _decode(_REPOSITORIES, body).repositories or ()}


def read_tags(body: bytes, known: dict[str, Digest] | None = None) -> dict[str, Tag]:
    """
    A page of tags, by name. Raises `Unreadable`.

    What is `known` already is not kept twice: each digest stands in the list of tags and in that of manifests.
    """
    known = {} if known is None else known
    return {tag.name: _tag(tag, known) for tag in _decode(_TAGS, body).tags or ()}


def read_tag(body: bytes) -> Tag:
    """One tag. Raises `Unreadable`."""
    return _tag(_decode(_ONE_TAG, body).tag, {})


def read_manifests(body: bytes, known: dict[str, Digest] | None = None) -> dict[str, ListedManifest]:
    """A page of manifests, by digest; `known` as for `read_tags`. Raises `Unreadable`."""
    known = {} if known is None else known
    found = (_listed(each, known) for each in _decode(_MANIFESTS, body).manifests or ())
    return {each.manifest.digest: each for each in found}


def read_manifest(body: bytes) -> ListedManifest:
    """The attributes of one manifest. Raises `Unreadable`."""
    return _listed(_decode(_ONE_MANIFEST, body).manifest, {})


def read_repository(body: bytes, name: str) -> tuple[bool, int]:
    """
    Do the attributes of this repository forbid deleting or writing it, and how many manifests does it count? Raises `Unreadable`.
    """
    found = _decode(_REPOSITORY, body)
    if found.image_name != name:
        raise Unreadable(f"the attributes of {found.image_name!r}")
    count = found.manifest_count
    return _locks(found.changeable_attributes).locked, count if type(count) is int and count > 0 else 0


def read_edges(body: bytes, digest: Digest, content_type: str) -> Edges:
    """The edges that the body of this manifest names, once it is proven to be that body. Raises `Unreadable`."""
    if not has_digest(body, digest):
        raise Unreadable("the body does not have the digest that it was asked for by")
    document = _decode(_DOCUMENT, body)
    media_type = _text(document.media_type) or content_type.partition(";")[0].strip()
    return Edges(
        # A general type such as application/json says nothing about what this is.
        media_type=media_type if ".manifest" in media_type or ".index" in media_type else "",
        config_media_type=_text(document.config.media_type) if document.config is not None else "",
        children=tuple(dict.fromkeys(_digest(child.digest) for child in document.manifests or ())),
        subject=_digest(document.subject.digest) if document.subject is not None else None,
        content=_content(document, len(body)),
    )


def _content(document: _Document, size: int) -> Content | None:
    """Its blobs with their sizes, in bytes; None as soon as one of them is not known."""
    if document.layers is None and document.blobs is None:
        # The first Docker manifests name their layers without any size.
        return Content(size) if document.manifests is not None else None
    config = document.config
    listed: list[Any] = [{"digest": config.digest, "size": config.size}] if config is not None else []
    for blobs in (document.layers, document.blobs):
        if not isinstance(blobs, list | None):
            return None
        listed += blobs or ()
    found: dict[str, int] = {}
    for blob in listed:
        if not isinstance(blob, dict):
            return None
        digest, length = blob.get("digest"), blob.get("size")
        if not isinstance(digest, str) or type(length) is not int or length < 0:
            return None
        # What lies elsewhere is not in the registry: https://github.com/opencontainers/image-spec/blob/main/descriptor.md
        if not blob.get("urls"):
            found[digest] = length
    return Content(size, found)


def has_digest(body: bytes, digest: Digest) -> bool:
    """Is this what the digest identifies?"""
    algorithm, _, expected = digest.partition(":")
    return hashlib.new(algorithm, body).hexdigest() == expected


def _tag(tag: _Tag, known: dict[str, Digest]) -> Tag:
    return Tag(tag.name, _known(tag.digest, known), _moment(tag.last_update_time), *_locks(tag.changeable_attributes))


def _listed(each: _Manifest, known: dict[str, Digest]) -> ListedManifest:
    locks = _locks(each.changeable_attributes)
    manifest = Manifest(
        digest=_known(each.digest, known),
        media_type=_shared(each.media_type),
        config_media_type=_shared(each.config_media_type),
        platform=_platform(_text(each.os), _text(each.architecture)),
        size=each.image_size if type(each.image_size) is int and each.image_size > 0 else 0,
        updated_at=_moment(each.last_update_time),
        locked=locks.locked,
        delete_enabled=locks.delete_enabled,
        write_enabled=locks.write_enabled,
    )
    tags = each.tags if isinstance(each.tags, list) else ()
    return ListedManifest(manifest, tuple(tag for tag in tags if isinstance(tag, str)))


@lru_cache(maxsize=256)
def _platform(os: str, architecture: str) -> str:
    # Attestations call their platform unknown/unknown: they run nowhere.
    runs = os and architecture and "unknown" not in (os, architecture)
    return f"{os}/{architecture}" if runs else ""


def _locks(attributes: _Attributes | None) -> _Locks:
    return _OPEN if attributes is None else attributes.lock


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unreadable(str(error)) from None
    except RecursionError:
        raise Unreadable("the JSON is nested too deeply") from None


def _digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except InvalidReference as error:
        raise Unreadable(error.seen) from None


def _known(text: str, known: dict[str, Digest]) -> Digest:
    """The same digest as before, if it was there before."""
    found = known.get(text)
    if found is None:
        found = known[text] = _digest(text)
    return found


def _moment(value: Any) -> datetime | None:
    """
    A timestamp, with the seven fractional digits of .NET if need be; None if it is not one that can be trusted.

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
    """A text of which there are few different ones: of a million manifests, each would bring its own copy of it."""
    return intern(value) if isinstance(value, str) else ""
