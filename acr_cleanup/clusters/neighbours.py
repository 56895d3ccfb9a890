"""
References split over neighbouring fields, put together: `repository` beside `tag`, `registry` beside `image`. Pure.

Nobody prescribes how such fields are called (Helm values, custom resources, variables), so names are compared by their
ends: `sidecarImage` goes with `sidecarTag`, `IMAGE_REPO` with `IMAGE_TAG`, and everything with a plain `tag`. Where several neighbours fit,
all are taken: an image too many is kept, and none is missed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from acr_cleanup.clusters.text import is_host, names, read_text
from acr_cleanup.core.references import COMPONENT, DEFAULT_TAG, FULL_PATH_LENGTH, TAG, Digest, ImageReference, Registry
from acr_cleanup.core.references import parse_digest as _parse_digest
from acr_cleanup.errors import InvalidReference

AGAIN = "\0again\0"
"""Between the name of a field and a number, where a document gives the same name twice."""

# What surely says which image of a repository; a `version` may be that of something else.
_SURE = (
    "tag", "imagetag", "newtag", "tags", "imagetags", "targetrevision",
    "digest", "imagedigest", "digests", "sha", "sha256", "imagesha", "imagesha256",
)  # fmt: skip
_MAYBE = ("version", "imageversion", "appversion", "chartversion", "revision", "ref", "semver")
_IN_REF = frozenset({"tag", "digest", "semver", "version", "value"})
# What the name of a field with a repository ends in; the longest first.
_REPOSITORY_ENDS = (
    "imagerepository", "repositoryurl", "repositoryname", "imagename", "repository", "imageurl", "repourl", "newname",
    "imagerepo", "image", "repo", "name", "url", "uri", "img",
)  # fmt: skip
# Fields whose value may be a repository without its registry, if the registry is known.
_RELATIVE_ENDS = ("repository", "image", "imagename", "repositoryname", "repo")
_RELATIVE_BESIDE = frozenset({"name", "chart", "path", "newname"})
_REGISTRY_ENDS = ("registry", "hub", "prefix", "registryurl", "repourl", "registryname", "registryhost")
_REGISTRY_WORDS = ("registry", "hub", "acr", "docker", "image", "repo", "prefix", "container")
_SHARED = frozenset({"global", "globals", "common"})
_MOST_JOINED = 10_000
_MOST_REGISTRIES = 8

_TAG = re.compile(TAG)
_RANGE = re.compile(r"v?[0-9]+(?:\.[0-9]+)*\.[xX]")
_HEX = re.compile(r"[0-9a-f]{64}")
_RELATIVE = re.compile(
    rf"/?(?P<path>{COMPONENT}(?:/{COMPONENT})*)(?::(?P<tag>{TAG}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?"
)


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

    `complete`: the parts whose own text is thereby read, so that no missing tag is to be made up for it.
    """

    text: str
    reference: ImageReference
    used: tuple[int, ...]
    complete: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Base:
    """A repository of ours, from one part or two. `tags`: more may follow from neighbours; `pinned` if something is written already."""

    text: str
    reference: ImageReference
    used: tuple[int, ...]
    whole: bool
    pinned: bool


@dataclass(frozen=True, slots=True)
class _Version:
    """What a neighbour says: a tag, a digest, or with neither, any image."""

    text: str
    tag: str | None = None
    digest: Digest | None = None


def join(parts: Sequence[Part], registries: tuple[str, ...], registry: Registry) -> list[Joined]:
    """Every reference that these fields make together, of those that none of them is by itself."""
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
    """What one repository and its neighbours make."""
    first = base.used[0]
    host, repository = base.reference.host, base.reference.repository

    def whole(text: str, tag: str | None, digest: Digest | None, used: Iterable[int], *, sure: bool) -> Joined:
        complete = base.used if sure and not base.pinned else ()
        return Joined(text, ImageReference(host, repository, tag, digest), (*base.used, *used), complete)

    if not base.whole and base.pinned:
        yield whole(base.text, base.reference.tag, base.reference.digest, (), sure=True)
    sure = _found(parts, by_name, _stem(parts[first].key), _SURE, first)
    maybe = [] if base.pinned else _found(parts, by_name, _stem(parts[first].key), _MAYBE, first)
    if names_repository(parts[first].key):
        maybe += [(first, version) for version in _versions(parts[first].value)]
    versions = [(index, version, True) for index, version in sure] + [
        (index, version, False) for index, version in maybe
    ]
    if len(versions) > room:
        yield whole(base.text, None, None, (), sure=True)
        return
    tags = {version.tag for _, version, _ in versions if version.tag and not version.digest}
    digests = {version.digest for _, version, _ in versions if version.digest and not version.tag}
    if len(tags) == len(digests) == 1 and len(versions) == 2:
        (tag,), (digest,) = tags, digests
        used = sorted(index for index, _, _ in versions)
        yield whole(f"{base.text}:{tag}@{digest}", tag, digest, used, sure=any(is_sure for *_, is_sure in versions))
        return
    for index, version, is_sure in versions:
        used = [] if index in base.used else [index]
        yield whole(f"{base.text}{version.text}", version.tag, version.digest, used, sure=is_sure)
    if not base.whole and not base.pinned and not any(is_sure for *_, is_sure in versions):
        yield whole(base.text, DEFAULT_TAG, None, (), sure=True)


def names_repository(key: str) -> bool:
    """Is the name of this field a repository itself, `{contoso.azurecr.io/shop/web: 1.2}`?"""
    return "/" in key


def _bases(parts: Sequence[Part], registries: tuple[str, ...], registry: Registry) -> Iterator[_Base]:
    beside: dict[str, int | None] = dict.fromkeys(registries)
    for index, part in enumerate(parts):
        for text in (part.value, part.key):
            if not isinstance(text, str) or not names(text, registry):
                continue
            for mention in read_text(text, registry).mentions:
                if mention.whole and not mention.reference.is_open or mention.whole and mention.implied:
                    shown = mention.text.removesuffix(":") if mention.implied else _repository(mention.reference)
                    yield _Base(shown, mention.reference, (index,), whole=True, pinned=not mention.implied)
        if prefix := _registry(part.key, part.value, registry):
            beside[prefix] = index
    for prefix, at in beside.items():
        host, _, above = prefix.partition("/")
        for index, part in enumerate(parts):
            if index == at or not isinstance(part.value, str) or not _may_be_relative(part.key, beside=at is not None):
                continue
            relative = _RELATIVE.fullmatch(part.value.strip(), 0, 2 * FULL_PATH_LENGTH)
            if relative is None or _has_host(part.value.strip()):
                continue
            path = f"{above}/{relative['path']}" if above else relative["path"]
            tag, digest = relative["tag"], relative["digest"]
            if len(path) <= FULL_PATH_LENGTH:
                reference = ImageReference(host, path, tag, Digest(digest) if digest else None)
                used = (index,) if at is None else (index, at)
                yield _Base(str(reference), reference, used, whole=False, pinned=bool(tag or digest))


def _repository(reference: ImageReference) -> str:
    return f"{reference.host}/{reference.repository}"


def registries_in(value: Mapping[Any, Any], above: tuple[str, ...], registry: Registry) -> tuple[str, ...]:
    """The registries given here for everything below, beside those given above: `global.imageRegistry`, `hub`."""
    here: dict[str, None] = {}
    for key, inner in value.items():
        if isinstance(inner, str):
            if any(word in _plain(str(key)) for word in _REGISTRY_WORDS) and (
                prefix := _registry(str(key), inner, registry)
            ):
                here[prefix] = None
        elif isinstance(inner, Mapping) and str(key).lower() in _SHARED:
            for mapping in (inner, *(each for each in inner.values() if isinstance(each, Mapping))):
                for name, text in mapping.items():
                    if isinstance(text, str) and (prefix := _registry(str(name), text, registry)):
                        here[prefix] = None
    return tuple(sorted({*above, *here}))[:_MOST_REGISTRIES] if here else above


def _registry(key: str, value: Any, registry: Registry) -> str:
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
    """What is left of `sidecarImage` without the `Image`."""
    plain = _plain(key)
    end = next((end for end in _REPOSITORY_ENDS if plain.endswith(end)), "")
    return "" if names_repository(key) else plain.removesuffix(end)


def _found(
    parts: Sequence[Part], by_name: Mapping[str, list[int]], stem: str, ends: Iterable[str], but: int
) -> list[tuple[int, _Version]]:
    """What the neighbours of these names say."""
    wanted = dict.fromkeys(f"{start}{end}" for end in ends for start in (stem, ""))
    numbers = dict.fromkeys(index for name in wanted for index in by_name.get(name, ()) if index != but)
    return [(index, version) for index in numbers for version in _versions(parts[index].value)]


def _versions(value: Any) -> Iterator[_Version]:
    """What a neighbour may say: text, a number, a list of either, or a reference of Flux (`{tag, digest, semver}`)."""
    if isinstance(value, list | tuple):
        for each in value:
            if not isinstance(each, list | tuple | Mapping):
                yield from _versions(each)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if _plain(str(key)) in _IN_REF and not isinstance(each, list | tuple | Mapping):
                yield from _versions(each)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield from _versions(repr(value))
        if isinstance(value, float) and value.is_integer():
            yield from _versions(repr(int(value)))
    elif isinstance(value, str):
        yield from _version(value.strip().removeprefix(":"))


def _version(text: str) -> Iterator[_Version]:
    if not text:
        return
    tag, at, digest_text = text.partition("@")
    if _HEX.fullmatch(text):
        yield _Version(f"@sha256:{text}", digest=Digest(f"sha256:{text}"))
    digest = _digest(digest_text if at else text)
    if digest is not None and (not at or not tag or _TAG.fullmatch(tag)):
        tag = tag if at else ""
        yield _Version(f"{':' if tag else ''}{tag}@{digest}", tag or None, digest)
    elif _TAG.fullmatch(text):
        yield _Version(f":{text}", tag=text)
        if _RANGE.fullmatch(text):
            yield _Version(f":{text}")
    else:
        yield _Version(f":{text[:FULL_PATH_LENGTH]}")


def _digest(text: str) -> Digest | None:
    try:
        return _parse_digest(text)
    except InvalidReference:
        return None
