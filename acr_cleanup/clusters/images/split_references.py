"""
References split over neighbouring fields, joined: `repository` with `tag`, `registry` with `image`.
Pure.

There is no convention for the names of such fields (Helm values, custom resources, variables), so
names are compared by their ends: `sidecarImage` matches `sidecarTag`, `IMAGE_REPO` matches
`IMAGE_TAG`, and every name matches a plain `tag`. If several neighbours match, all are used: this
may keep too many images, but loses none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from acr_cleanup.clusters.images.free_text import is_host, names, read_text
from acr_cleanup.core.references import (
    COMPONENT,
    DEFAULT_TAG,
    DIGEST,
    FULL_PATH_LENGTH,
    TAG,
    Digest,
    ImageReference,
    RegistryHost,
    parse_digest,
)
from acr_cleanup.errors import InvalidReference

AGAIN = "\0again\0"
"""Between the name of a field and a number, where a document gives the same name twice."""

# Names of fields that always select an image of a repository. A `version` may belong to something else.
_SURE = (
    "tag", "imagetag", "newtag", "tags", "imagetags", "targetrevision", "ref", "semver",
    "digest", "imagedigest", "digests", "sha", "sha256", "imagesha", "imagesha256",
)  # fmt: skip
_PINS = ("newtag", "digest", "imagedigest", "digests", "sha", "sha256", "imagesha", "imagesha256")
_DIGEST_ENDS = ("digest", "digests", "sha", "sha256")
_MAYBE = ("version", "imageversion", "appversion", "chartversion", "revision")
_IN_REF = frozenset({"tag", "digest", "semver", "version", "value"})
# Endings of the names of fields with a repository, the longest first.
_REPOSITORY_ENDS = (
    "imagerepository", "repositoryurl", "repositoryname", "imagename", "repository", "imageurl", "repourl", "newname",
    "imagerepo", "image", "repo", "name", "url", "uri", "img",
)  # fmt: skip
# Fields whose value may be a repository without its registry, if the registry is known.
_RELATIVE_ENDS = ("repository", "image", "imagename", "repositoryname", "repo")
_RELATIVE_BESIDE = frozenset({"name", "chart", "path", "newname"})
_REGISTRY_ENDS = ("registry", "hub", "prefix", "registryurl", "repourl", "registryname", "registryhost")
# A `repository` may be a folder of repositories, and the `image` next to it one of them.
_FOLDER_ENDS = ("repository", "repo")
_INSIDE_ENDS = ("image", "imagename")
_VALUES = frozenset({"value", "default"})
_REGISTRY_WORDS = ("registry", "hub", "acr", "docker", "image", "repo", "prefix", "container")
_SHARED = ("global", "globals", "common")
# Fields that own the tag next to them, and fields that may be the tag of another image.
_CLAIMING_ENDS = ("image", "repository", "repo", "imagename", "repositoryname", "newname", "img")
_DISTANT_ENDS = ("tag", "tags", "digest", "digests")
# Flux has found these in a registry, but does not use them.
_SCANNED = frozenset({"latesttags"})
_MOST_JOINED = 10_000
_MOST_REGISTRIES = 8

_TAG = re.compile(TAG)
_RANGE = re.compile(r"v?[0-9]+(?:\.[0-9]+)*\.[xX]")
_HEX = re.compile(r"[0-9a-f]{64}")
_RELATIVE = re.compile(rf"/?(?P<path>{COMPONENT}(?:/{COMPONENT})*)(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the fields that stand side by side. `field` is its name for people."""

    key: str
    value: Any
    field: str


@dataclass(frozen=True, slots=True)
class Joined:
    """
    One reference from several parts: `used` by number, the repository's first.

    `complete`: the parts whose own text is thereby read, so that no missing tag is to be made up for it. `implied`: no neighbour
    says which tag.
    """

    text: str
    reference: ImageReference
    used: tuple[int, ...]
    complete: tuple[int, ...] = ()
    implied: bool = False


@dataclass(frozen=True, slots=True)
class _Base:
    """
    A repository of ours: `whole` in one part, or relative to a registry. `pinned`: a tag or a digest is written with it.

    `is_key`: it is the name of a field, `{contoso.azurecr.io/shop/web: 1.2}`.
    """

    text: str
    reference: ImageReference
    used: tuple[int, ...]
    whole: bool
    pinned: bool
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """The value of a neighbour: a tag, a digest, or, with neither, any image."""

    text: str
    tag: str | None = None
    digest: Digest | None = None


def join(parts: Sequence[Part], registries: tuple[str, ...], registry: RegistryHost) -> list[Joined]:
    """Return every reference that these fields form together, but not alone."""
    by_name: defaultdict[str, list[int]] = defaultdict(list)
    for index, part in enumerate(parts):
        by_name[_plain(part.key)].append(index)
    joined: list[Joined] = []
    for base in _bases(parts, registries, registry):
        joined += _versions_of(base, parts, by_name, room=_MOST_JOINED - len(joined))
    return joined


def _versions_of(
    base: _Base, parts: Sequence[Part], by_name: Mapping[str, list[int]], *, room: int
) -> Iterator[Joined]:
    """Return the references of one repository and its neighbours."""
    first = base.used[0]
    host, repository = base.reference.host, base.reference.repository

    def whole(text: str, tag: str | None, digest: Digest | None, used: Iterable[int], *, sure: bool) -> Joined:
        complete = base.used if sure and not base.pinned else ()
        return Joined(text, ImageReference(host, repository, tag, digest), (*base.used, *used), complete)

    if not base.whole and base.pinned:
        yield whole(base.text, base.reference.tag, base.reference.digest, (), sure=True)
    stem = _stem(parts[first].key)
    if sum(len(by_name.get(name, ())) for name in _names(stem, (*_SURE, *_MAYBE))) > room:
        yield whole(base.text, None, None, (), sure=True)
        return
    # Beside an image that is complete, a tag may be another's.
    sure = _found(parts, by_name, _names(stem, _PINS if base.pinned else _SURE), first, sure=True)
    maybe = [] if base.pinned else _found(parts, by_name, _names(stem, _MAYBE), first, sure=False)
    if base.is_key:
        maybe += [(first, version) for version in _versions(parts[first].value)]
    versions = [(index, version, True) for index, version in sure] + [
        (index, version, False) for index, version in maybe
    ]
    tags = {version.tag for _, version, _ in versions if version.tag and not version.digest}
    digests = {version.digest for _, version, _ in versions if version.digest and not version.tag}
    if len(tags) == len(digests) == 1 and len(versions) == 2 and tags != {str(*digests).removeprefix("sha256:")}:
        (tag,), (digest,) = tags, digests
        # The tag first: the server may write them in any order.
        used = [index for index, version, _ in sorted(versions, key=lambda each: each[1].tag is None)]
        yield whole(f"{base.text}:{tag}@{digest}", tag, digest, used, sure=any(is_sure for *_, is_sure in versions))
        return
    for index, version, is_sure in versions:
        used = [] if index in base.used else [index]
        yield whole(f"{base.text}{version.text}", version.tag, version.digest, used, sure=is_sure)
    if not base.whole and not base.pinned and not any(is_sure for *_, is_sure in versions):
        yield replace(whole(base.text, DEFAULT_TAG, None, (), sure=True), implied=True)


def unclaimed(parts: Sequence[Part]) -> Iterator[Version]:
    """The tags and digests among these fields that are not next to an image: they may belong to an image in another place."""
    claimed: set[str] = set()
    for part in parts:
        if isinstance(part.value, str) and part.value and _plain(part.key).endswith(_CLAIMING_ENDS):
            claimed |= _names(_stem(part.key), _SURE).keys()
    for part in parts:
        plain = _plain(part.key)
        if plain.endswith(_DISTANT_ENDS) and plain not in claimed and plain not in _SCANNED:
            yield from _versions(part.value)


def _bases(parts: Sequence[Part], registries: tuple[str, ...], registry: RegistryHost) -> Iterator[_Base]:
    beside: dict[str, int | None] = dict.fromkeys(registries)
    folders: dict[str, int] = {}
    for index, part in enumerate(parts):
        yield from _whole(index, part, registry)
        if prefix := _registry(part.key, part.value, registry):
            # `{name: registry, value: contoso.azurecr.io}` is a variable.
            if part.key not in _VALUES:
                beside[prefix] = index
        elif prefix := _folder(part.key, part.value, registry):
            folders[prefix] = index
    for prefix, at in list(beside.items())[:_MOST_REGISTRIES]:
        relative = [part if _may_be_relative(part.key, beside=at is not None) else None for part in parts]
        for base in _relative_of(relative, prefix, at):
            yield base
            if at is not None and not base.pinned and _plain(parts[base.used[0]].key).endswith(_FOLDER_ENDS):
                # `registry`, `repository` and `name`, each a part of it.
                folders[_repository(base.reference)] = base.used[0]
    for prefix, at in list(folders.items())[:_MOST_REGISTRIES]:
        yield from _relative_of(
            [part if _is_inside(part, prefix, by_name=bool(beside)) else None for part in parts], prefix, at
        )


def _relative_of(parts: Iterable[Part | None], prefix: str, at: int | None) -> Iterator[_Base]:
    """Return the repositories that these parts name in the registry of the part `at` (None: the registry given above)."""
    for index, part in enumerate(parts):
        if part is not None and index != at:
            yield from _relative(part.value, prefix, (index,) if at is None else (index, at))


def _whole(index: int, part: Part, registry: RegistryHost) -> Iterator[_Base]:
    """Find repositories of ours in single fields: in the value, or in the name of the field."""
    for is_key, text in enumerate((part.value, part.key)):
        for mention in read_text(text, registry).mentions if isinstance(text, str) else ():
            if mention.whole:
                shown = mention.text.removesuffix(":") if mention.implied else _repository(mention.reference)
                yield _Base(shown, mention.reference, (index,), True, not mention.implied, bool(is_key))


def _relative(value: Any, prefix: str, used: tuple[int, ...]) -> Iterator[_Base]:
    """The repository that a text without a registry names in a registry known from elsewhere."""
    text = value.strip() if isinstance(value, str) else ""
    relative = _RELATIVE.fullmatch(text, 0, 2 * FULL_PATH_LENGTH)
    if relative is None or _has_host(text):
        return
    host, _, above = prefix.partition("/")
    path = f"{above}/{relative['path']}" if above else relative["path"]
    tag, digest = relative["tag"], relative["digest"]
    if len(path) <= FULL_PATH_LENGTH:
        reference = ImageReference(host, path, tag, Digest(digest) if digest else None)
        yield _Base(str(reference), reference, used, whole=False, pinned=bool(tag or digest))


def _repository(reference: ImageReference) -> str:
    return f"{reference.host}/{reference.repository}"


def registries_in(value: Mapping[Any, Any], above: tuple[str, ...], registry: RegistryHost) -> tuple[str, ...]:
    """Return the registries that apply to everything below, in addition to those given above: `global.imageRegistry`, `hub`."""
    here: set[str] = set()
    for key, inner in value.items():
        if isinstance(inner, str):
            # The cheap question first: it is asked of every text of every mapping.
            if (prefix := _registry(str(key), inner, registry)) and any(
                word in _plain(str(key)) for word in _REGISTRY_WORDS
            ):
                here.add(prefix)
        elif isinstance(inner, Mapping) and key in _SHARED:
            for mapping in (inner, *(each for each in inner.values() if isinstance(each, Mapping))):
                here.update(_registry(str(name), text, registry) for name, text in mapping.items())
        elif isinstance(inner, Mapping) and _plain(str(key)).endswith("registry"):
            here.update(_registry(str(name), text, registry) for name, text in inner.items())
    here.discard("")
    return tuple(sorted({*above, *here}))[:_MOST_REGISTRIES] if here else above


def gives_registry(value: Mapping[Any, Any]) -> bool:
    """May this mapping give a registry for its own neighbours, by the name `global` or in a `registry` of several fields?"""
    return any(name in value for name in _SHARED) or any(
        isinstance(inner, Mapping) and str(key).lower().endswith("registry") for key, inner in value.items()
    )


def _registry(key: str, value: Any, registry: RegistryHost) -> str:
    """The registry, with the path in front of its repositories, that this field gives; empty if it gives none of ours."""
    if not isinstance(value, str) or not names(value, registry):
        return ""
    if is_host(value, registry):
        return registry.login_server.lower()
    if _plain(key).endswith(_REGISTRY_ENDS):
        for mention in read_text(value.strip().rstrip("/"), registry).mentions:
            if mention.whole and mention.implied:
                return _repository(mention.reference)
    return ""


def _is_inside(part: Part, folder: str, *, by_name: bool) -> bool:
    """Return whether this field may name a repository in a folder. A `name` may only next to a registry."""
    plain = _plain(part.key)
    return plain.endswith(_INSIDE_ENDS) or (by_name and plain == "name" and not folder.endswith(f"/{part.value}"))


def _folder(key: str, value: Any, registry: RegistryHost) -> str:
    """Return values that may be the beginning of a repository: `repository: contoso.azurecr.io/gpu` with `image: driver`."""
    if isinstance(value, str) and names(value, registry) and _plain(key).endswith(_FOLDER_ENDS):
        for mention in read_text(value.strip().rstrip("/"), registry).mentions:
            if mention.whole and mention.implied:
                return _repository(mention.reference)
    return ""


def _may_be_relative(key: str, *, beside: bool) -> bool:
    plain = _plain(key)
    return plain.endswith(_RELATIVE_ENDS) or (beside and plain in _RELATIVE_BESIDE)


def _has_host(text: str) -> bool:
    first, slash, _ = text.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


@lru_cache(maxsize=4096)
def _plain(key: str) -> str:
    """A name without what people part words with: `IMAGE_TAG`, `image.tag` and `imageTag` are one."""
    return re.sub(r"[^a-z0-9/]", "", key.partition(AGAIN)[0][:FULL_PATH_LENGTH].lower())


def _stem(key: str) -> str:
    """Return `sidecar` for `sidecarImage`."""
    plain = _plain(key)
    end = next((end for end in _REPOSITORY_ENDS if plain.endswith(end)), "")
    return plain.removesuffix(end)


def _names(stem: str, ends: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(f"{start}{end}" for end in ends for start in (stem, ""))


def _found(
    parts: Sequence[Part], by_name: Mapping[str, list[int]], wanted: Iterable[str], but: int, *, sure: bool
) -> list[tuple[int, Version]]:
    """Return the values of the neighbours. A value that must be a tag, but has an unknown form, may mean any tag."""
    found: list[tuple[int, Version]] = []
    for index in dict.fromkeys(index for name in wanted for index in by_name.get(name, ()) if index != but):
        value = parts[index].value
        versions = list(_versions(value))
        if _plain(parts[index].key).endswith(_DIGEST_ENDS):
            # 64 hex digits may be a tag as well, but not here.
            versions = [version for version in versions if version.digest] or versions
        if sure and isinstance(value, Mapping) and value and not versions:
            versions = [Version(":…")]
        found += [(index, version) for version in versions]
    return found


def _versions(value: Any) -> Iterator[Version]:
    """Return the value of a neighbour: text, a number, a list of either, or a reference of Flux (`{tag, digest, semver}`)."""
    if isinstance(value, list | tuple):
        if len(value) > _MOST_JOINED:
            yield Version(":…")
            return
        values = [
            inner for each in value for inner in (_in_ref(each, "name") if isinstance(each, Mapping) else (each,))
        ]
    elif isinstance(value, Mapping):
        values = _in_ref(value)
    else:
        values = [value]
    for each in values:
        if isinstance(each, str):
            yield from _version(each.strip().removeprefix(":"))
        elif isinstance(each, int | float) and not isinstance(each, bool):
            yield from _version(repr(each))
            if isinstance(each, float) and each.is_integer():
                yield from _version(repr(int(each)))


def _in_ref(value: Mapping[Any, Any], *further: str) -> list[Any]:
    return [each for key, each in value.items() if _plain(str(key)) in (*_IN_REF, *further)]


def _version(text: str) -> Iterator[Version]:
    if not text:
        return
    tag, at, digest_text = text.partition("@")
    if _HEX.fullmatch(text):
        yield Version(f"@sha256:{text}", digest=Digest(f"sha256:{text}"))
    digest = _digest(digest_text if at else text)
    if digest is not None and (not at or not tag or _TAG.fullmatch(tag)):
        tag = tag if at else ""
        yield Version(f"{':' if tag else ''}{tag}@{digest}", tag or None, digest)
    elif _TAG.fullmatch(text):
        yield Version(f":{text}", tag=text)
        if _RANGE.fullmatch(text):
            yield Version(f":{text}")
    else:
        yield Version(f":{text[:FULL_PATH_LENGTH]}")


def _digest(text: str) -> Digest | None:
    try:
        return parse_digest(text)
    except InvalidReference:
        return None
