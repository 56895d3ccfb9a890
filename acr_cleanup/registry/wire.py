"""
Decode the registry's JSON into tags, manifests and their edges. Pure.

Only a name and a digest are required. Any other value that is missing or malformed is replaced by
the one that keeps more. Shapes: https://learn.microsoft.com/rest/api/containerregistry/
(2021-07-01), and the OCI image specification.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec import structs

from acr_cleanup.core.manifests import UNLOCKED, LockState, Manifest, Tag
from acr_cleanup.core.references import Digest, parse_digest
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
    read_enabled: Any = True

    @property
    def lock(self) -> LockState:
        """
        The lock that these attributes set.

        A value that is not a boolean counts as a lock, too (`_UNKNOWN_LOCK`). `readEnabled: false` is
        no lock for the registry, but someone has put the item aside.
        """
        if self.delete_enabled is True and self.write_enabled is True and self.read_enabled is not False:
            # Nearly always.
            return UNLOCKED
        values = (self.delete_enabled, self.write_enabled)
        aside = self.read_enabled is False
        if any(not (value is None or isinstance(value, bool)) for value in values):
            return _UNKNOWN_LOCK._replace(put_aside=aside)
        delete, write = (value is not False for value in values)
        return LockState(aside or not (delete and write), delete, write, aside)


_UNKNOWN_LOCK = LockState(locked=True)
"""The lock of attributes that are malformed. It cannot be restored, so the attributes are reported as enabled."""


class Descriptor(msgspec.Struct):
    digest: str


# `Raw`: a million entries have only a few distinct values, and each is decoded once (`_locks`).
_ABSENT = msgspec.Raw(b"null")


class _Tag(msgspec.Struct, rename="camel", gc=False):
    name: str
    digest: str
    last_update_time: Any = None
    changeable_attributes: msgspec.Raw = _ABSENT


class _Manifest(msgspec.Struct, rename="camel", gc=False):
    digest: str
    media_type: Any = None
    config_media_type: Any = None
    image_size: Any = None
    architecture: Any = None
    os: Any = None
    created_time: Any = None
    last_update_time: Any = None
    tags: Any = None
    changeable_attributes: msgspec.Raw = _ABSENT
    references: list[Descriptor] | None = None


class _TagName(msgspec.Struct, gc=False):
    name: str
    digest: str


class _TagNames(msgspec.Struct):
    tags: list[_TagName] | None


class _ShownTags(msgspec.Struct, gc=False):
    digest: str
    tags: Any = None


class _Digests(msgspec.Struct):
    manifests: list[_ShownTags] | None


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
    tag_count: Any = None
    changeable_attributes: msgspec.Raw = _ABSENT


_REPOSITORIES = msgspec.json.Decoder(_Repositories)
_TAGS = msgspec.json.Decoder(_Tags)
_TAG_NAMES = msgspec.json.Decoder(_TagNames)
_DIGESTS = msgspec.json.Decoder(_Digests)
_ONE_TAG = msgspec.json.Decoder(_OneTag)
_MANIFESTS = msgspec.json.Decoder(_Manifests)
_REPOSITORY = msgspec.json.Decoder(_Repository)
_ONE_MANIFEST = msgspec.json.Decoder(_OneManifest)
_ATTRIBUTES = msgspec.json.Decoder(_Attributes | None)


class ListedManifest(msgspec.Struct, frozen=True, gc=False):
    """A manifest as listed, with some of its tags: the registry truncates them."""

    manifest: Manifest
    tags: tuple[str, ...]
    references: tuple[Digest, ...] | None = None
    """The children of an index. Only its own attributes tell them, not a list."""


class ManifestValues(NamedTuple):
    """A listed manifest as `ManifestTable` takes it, and some of its tags."""

    digest: Digest
    traits: Manifest
    size: int
    updated_at: datetime | None
    created_at: datetime | None
    tags: tuple[str, ...]


class RepositoryAttributes(NamedTuple):
    """The attributes of a repository itself."""

    locked: bool
    put_aside: bool
    manifests: int
    """How many manifests it has; 0 if the registry does not tell."""
    tags: int
    """How many tags it has; 0 if the registry does not tell."""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest byte for byte, and the media type with which the registry serves it."""

    content: bytes
    media_type: str


def read_repositories(body: bytes) -> dict[str, str]:
    """Decode a page of the catalog. Raises `MalformedAnswer`."""
    return {name: name for name in decode(_REPOSITORIES, body).repositories or ()}


def read_tags(body: bytes, known: KnownDigests | None = None, unknown_locks: set[str] | None = None) -> dict[str, Tag]:
    """
    Decode a page of tags, by name. Raises `MalformedAnswer`.

    `known`: digests decoded before. Each digest is in the list of tags and in that of manifests;
    this keeps only one copy in memory. `unknown_locks`: receives the names of tags that are listed
    without `changeableAttributes`: they may be locked.
    """
    known = KnownDigests() if known is None else known
    unknown_locks = set() if unknown_locks is None else unknown_locks
    return {tag.name: _tag(tag, known, unknown_locks) for tag in decode(_TAGS, body).tags or ()}


def read_tag_names(body: bytes, known: KnownDigests) -> dict[str, Digest]:
    """Decode only the names in a page of tags, with the digests. Raises `MalformedAnswer`."""
    return {tag.name: known[tag.digest] for tag in decode(_TAG_NAMES, body).tags or ()}


def read_tag(body: bytes) -> Tag:
    """Decode the attributes of one tag. Raises `MalformedAnswer`."""
    return _tag(decode(_ONE_TAG, body).tag, KnownDigests(), set())


def read_manifests(body: bytes) -> dict[str, ListedManifest]:
    """Decode a page of manifests, by digest. Raises `MalformedAnswer`."""
    entries = (_listed(entry, KnownDigests()) for entry in decode(_MANIFESTS, body).manifests or ())
    return {entry.manifest.digest: entry for entry in entries}


def read_manifest_values(body: bytes, known: KnownDigests, unknown_locks: set[str]) -> dict[Digest, ManifestValues]:
    """Decode a page of manifests for a table; the others as for `read_tags`. Raises `MalformedAnswer`."""
    listed = decode(_MANIFESTS, body).manifests or ()
    unknown_locks.update(entry.digest for entry in listed if _locks(bytes(entry.changeable_attributes)) is None)
    entries = (_values(entry, known) for entry in listed)
    return {entry.digest: entry for entry in entries}


def read_digests(body: bytes, known: KnownDigests) -> dict[Digest, tuple[str, ...]]:
    """Decode only the digests in a page of manifests, with the tags shown. Raises `MalformedAnswer`."""
    return {known[entry.digest]: _shown_tags(entry.tags) for entry in decode(_DIGESTS, body).manifests or ()}


def read_manifest(body: bytes) -> ListedManifest:
    """Decode the attributes of one manifest. Raises `MalformedAnswer`."""
    return _listed(decode(_ONE_MANIFEST, body).manifest, KnownDigests())


def hidden_tags(shown: Iterable[tuple[str, Digest]], listed: Container[str]) -> list[Tag]:
    """
    Tags that manifests show (`shown`) but the list of tags does not.

    They are unlisted (`listEnabled: false`) or were pushed a moment ago. Deleting the manifest
    would delete them. Their age is unknown, so they are kept together with the manifest.
    """
    return [Tag(name, digest, None) for name, digest in shown if name not in listed]


def read_repository(body: bytes, name: str) -> RepositoryAttributes:
    """
    Decode the attributes of the repository of this name.

    Raises `MalformedAnswer`, also for the attributes of another repository.
    """
    repository = decode(_REPOSITORY, body)
    if repository.image_name != name:
        raise MalformedAnswer(f"the attributes of {repository.image_name!r}")
    attributes = decode(_ATTRIBUTES, bytes(repository.changeable_attributes))
    locks = UNLOCKED if attributes is None else attributes.lock
    counts = (
        count if type(count) is int and count > 0 else 0 for count in (repository.manifest_count, repository.tag_count)
    )
    return RepositoryAttributes(locks.locked, locks.put_aside, *counts)


def _tag(tag: _Tag, known: KnownDigests, unknown_locks: set[str]) -> Tag:
    if (state := _locks(bytes(tag.changeable_attributes))) is None:
        unknown_locks.add(tag.name)
        state = UNLOCKED
    return Tag(tag.name, known[tag.digest], _moment(tag.last_update_time), state)


def _listed(entry: _Manifest, known: KnownDigests) -> ListedManifest:
    values = _values(entry, known)
    manifest = structs.replace(
        values.traits,
        digest=values.digest,
        size=values.size,
        updated_at=values.updated_at,
        created_at=values.created_at,
    )
    children = entry.references
    references = None if children is None else tuple(parsed_digest(child.digest) for child in children)
    return ListedManifest(manifest, values.tags, references)


def _values(entry: _Manifest, known: KnownDigests) -> ManifestValues:
    try:
        traits = _traits(
            entry.media_type, entry.config_media_type, entry.os, entry.architecture, bytes(entry.changeable_attributes)
        )
    except TypeError:
        # A list or an object instead of a text cannot be looked up.
        texts = map(text_of, (entry.media_type, entry.config_media_type, entry.os, entry.architecture))
        traits = _traits(*texts, bytes(entry.changeable_attributes))
    updated_at = _moment(entry.last_update_time)
    return ManifestValues(
        digest=known[entry.digest],
        traits=traits,
        size=entry.image_size if type(entry.image_size) is int and entry.image_size > 0 else 0,
        updated_at=updated_at,
        # Mostly equal. One object for both takes less time and memory.
        created_at=updated_at if entry.created_time == entry.last_update_time else _moment(entry.created_time),
        tags=_shown_tags(entry.tags),
    )


@lru_cache(maxsize=1024)
def _traits(media_type: Any, config_media_type: Any, os: Any, architecture: Any, attributes: bytes) -> Manifest:
    """The traits of a listed manifest (`ManifestTable`). A million manifests have only a few distinct ones."""
    locks = _locks(attributes) or UNLOCKED
    return Manifest(
        Digest(""),
        media_type=text_of(media_type),
        config_media_type=text_of(config_media_type),
        platform=_platform(text_of(os), text_of(architecture)),
        locked=locks.locked,
        delete_enabled=locks.delete_enabled,
        write_enabled=locks.write_enabled,
        put_aside=locks.put_aside,
    )


def _shown_tags(tags: Any) -> tuple[str, ...]:
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


@lru_cache(maxsize=256)
def _platform(os: str, architecture: str) -> str:
    # Attestations have the platform unknown/unknown: they are not run.
    runs = os and architecture and "unknown" not in (os, architecture)
    return f"{os}/{architecture}" if runs else ""


@lru_cache(maxsize=256)
def _locks(attributes: bytes) -> LockState | None:
    """The lock that these attributes set; None if there are no attributes."""
    try:
        decoded = decode(_ATTRIBUTES, attributes)
    except MalformedAnswer:
        return _UNKNOWN_LOCK
    return None if decoded is None else decoded.lock


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedAnswer(str(error)) from None
    except RecursionError:
        raise MalformedAnswer("the JSON is nested too deeply") from None


def parsed_digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except InvalidReference as error:
        raise MalformedAnswer(error.seen) from None


class KnownDigests(dict[str, Digest]):
    """
    Text -> digest, checked and kept once. Each digest is in the list of tags and in that of manifests.

    earlier: digests that are in memory already, each by itself.
    """

    def __init__(self, earlier: Mapping[Digest, Digest] | None = None) -> None:
        self._earlier: Any = earlier or {}

    def __missing__(self, text: str) -> Digest:
        if (digest := self._earlier.get(text)) is None:
            digest = self[text] = parsed_digest(text)
        return cast("Digest", digest)


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


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""
