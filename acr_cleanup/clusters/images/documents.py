"""
Every reference to our registry in a value of any shape: an API object, Helm's values, a document in a string. Pure.

The walk is no recursion, visits each container once, and reads texts that are documents themselves (JSON, YAML, lines of
`name=value`) as what they are. References split over neighbouring fields are put together by `neighbours`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from acr_cleanup.clusters.images.free_text import (
    TAG_WORDS,
    finder,
    has_bare_host,
    has_template_of_host,
    read_text,
    tags_in_text,
    templated,
)
from acr_cleanup.clusters.images.parse_documents import documents, read_documents
from acr_cleanup.clusters.images.split_references import AGAIN, Part, gives_registry, join, registries_in, unclaimed
from acr_cleanup.core.references import Digest, ImageReference, RegistryHost
from acr_cleanup.quoting import quoted

# More than fits a cluster's store. YAML is slow to read.
_DEEPEST_NESTING = 4
_LONGEST_PATH = 64
_MOST_VISITS = 4
# Above this many candidate tags, treat the reference as open: any tag may be meant.
_MOST_DISTANT_TAGS = 100
_MOST_TEMPLATED = 1_000
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class Found:
    """One reference, with its field and the text there."""

    field: str
    container: str
    text: str
    reference: ImageReference


@dataclass(frozen=True, slots=True)
class Contents:
    """The findings in a value. `unclear`: fields that name our registry, with the text in place of a repository."""

    found: dict[Found, None] = field(default_factory=dict)
    unclear: dict[tuple[str, str], None] = field(default_factory=dict)


class _Path(NamedTuple):
    """Where we are, as a chain: only the few places where something is found are ever written out."""

    part: object
    parent: _Path | None = None

    def __str__(self) -> str:
        parts: list[str] = []
        step: _Path | None = self
        while step is not None:
            # The first is the prefix that the walk was given.
            parts.append(_step(step.part) if step.parent else str(step.part))
            step = step.parent
        if len(parts) > _LONGEST_PATH:
            parts = [*parts[: _LONGEST_PATH // 2], "[…]", *parts[-_LONGEST_PATH // 2 :]]
        return "".join(reversed(parts)).removeprefix(".")


def _step(key: object) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    name = str(key).partition(AGAIN)[0]
    return f".{name}" if name.isascii() and name.isidentifier() else f"[{quoted(name[:200], 100)}]"


class _Stop(NamedTuple):
    """One value still to be read: text that names our registry, or a container. `key` is its field."""

    value: Any
    path: _Path
    container: str = ""
    key: object = ""
    registries: tuple[str, ...] = ()


def contents(value: Any, registry: RegistryHost, *, prefix: str = "", skip: frozenset[str] = frozenset()) -> Contents:
    """
    Return all references to our registry in a value.

    prefix: the field of the value.
    skip: fields that are read by other code.
    """
    walk = _Walk(registry, skip)
    walk.run(_Stop(value, _Path(prefix)))
    if walk.names_bare_host:
        _templated_references(value, prefix, walk, skip)
    if walk.untagged:
        _distant_tags(value, walk)
    return walk.contents


def _templated_references(value: Any, prefix: str, walk: _Walk, skip: frozenset[str]) -> None:
    """One text holds the host alone (`REGISTRY=…`), and others begin with its variable: `$(REGISTRY)/shop/web:1`."""
    found = 0
    for place, text in _texts(value, prefix, has_template_of_host):
        if place in skip:
            continue
        for mention in templated(text, walk.registry):
            found += 1
            if found > _MOST_TEMPLATED:
                return
            walk.add(place, "", mention.text, mention.reference, untagged=mention.implied)


def _distant_tags(value: Any, walk: _Walk) -> None:
    """
    An image without a tag is `latest`, or its tag is in another place: above, below, under
    `global`, as a parameter, in another line.

    So it gets every tag of the object that belongs to no other image; an image too many is kept.
    """
    versions: dict[tuple[str | None, Digest | None], str] = {}
    for version in (version for parts in _groups(value) for version in unclaimed(parts)):
        versions[version.tag, version.digest] = version.text
        if len(versions) > _MOST_DISTANT_TAGS or (None, None) in versions:
            versions = {(None, None): ":…"}
            break
    for found in walk.untagged:
        for (tag, digest), text in versions.items():
            reference = replace(found.reference, tag=tag, digest=digest)
            walk.contents.found[Found(found.field, found.container, f"{found.text}{text}", reference)] = None


class _Walk:
    """One way through one value. In a document (`holder`), findings get the field of the whole document."""

    def __init__(self, registry: RegistryHost, skip: frozenset[str], holder: str = "", nesting: int = 0) -> None:
        self.contents = Contents()
        self.registry = registry
        # References without a tag, and whether the host alone occurs anywhere.
        self.untagged: dict[Found, None] = {}
        self.names_bare_host = False
        self._names_us = finder(registry)
        self._skip = skip
        self._holder = holder
        self._nesting = nesting
        self._visits: dict[int, list[tuple[str, ...]]] = {}

    def run(self, first: _Stop) -> None:
        stops = [first]
        while stops:
            stop = stops.pop()
            value = stop.value
            if isinstance(value, str):
                if stop.registries or self._names_us(value):
                    self._text(stop, value)
            elif isinstance(value, Mapping | list | tuple) and self._is_new(value, stop.registries):
                inner = self._mapping(stop, value) if isinstance(value, Mapping) else self._list(stop, value)
                stops.extend(reversed(list(inner)))

    def _is_new(self, value: Any, registries: tuple[str, ...]) -> bool:
        """Once, however many aliases lead here; under another registry it may mean something else, a few times."""
        visits = self._visits.setdefault(id(value), [])
        if registries in visits or len(visits) >= _MOST_VISITS:
            return False
        visits.append(registries)
        return True

    def _is_worth_a_stop(self, value: Any, registries: tuple[str, ...] = ()) -> bool:
        if isinstance(value, str):
            # If the registry is given above, a document may name repositories without a host.
            return self._names_us(value) or (bool(registries) and ("\n" in value or value.lstrip()[:1] in ("{", "[")))
        return isinstance(value, dict | list | tuple | Mapping)

    def _mapping(self, stop: _Stop, value: Mapping[Any, Any]) -> Iterator[_Stop]:
        container, registries = stop.container, stop.registries
        name = value.get("name")
        if isinstance(name, str) and ("image" in value or stop.key in _CONTAINER_LISTS):
            container = name
        names_us = self._names_us
        done: set[int] = set()
        if registries or any(names_us(each) for pair in _merged(value) for each in pair) or gives_registry(value):
            registries = registries_in(value, registries, self.registry)
            parts = [Part(str(key), inner, str(key)) for key, inner in _merged(value)]
            done = self._join(stop.path, container, parts, registries)
        for index, (key, inner) in enumerate(value.items()):
            if key == "managedFields" and stop.key == "metadata":
                continue
            if index not in done and names_us(key):
                yield _Stop(key, _Path(str(key), stop.path), container)
            if (index not in done or not isinstance(inner, str)) and self._is_worth_a_stop(inner, registries):
                yield _Stop(inner, _Path(str(key), stop.path), container, key, registries)

    def _list(self, stop: _Stop, value: Sequence[Any]) -> Iterator[_Stop]:
        done: set[int] = set()
        for parts, places in (_named_values(value), _options(value)):
            if stop.registries or any(self._names_us(text) for part in parts for text in (part.key, part.value)):
                done |= {places[index] for index in self._join(stop.path, stop.container, parts, stop.registries)}
        for index, inner in enumerate(value):
            if index not in done and self._is_worth_a_stop(inner, stop.registries):
                yield _Stop(inner, _Path(index, stop.path), stop.container, stop.key, stop.registries)

    def _join(self, path: _Path, container: str, parts: Sequence[Part], registries: tuple[str, ...]) -> set[int]:
        """Join split references. Returns the parts that are read completely."""
        done: set[int] = set()
        for each in join(parts, registries, self.registry):
            fields = list(dict.fromkeys(parts[index].field.partition(AGAIN)[0] for index in each.used))
            if fields[0].startswith("["):
                inside = fields[0]
            else:
                inside = _step(fields[0]) if len(fields) == 1 else f".{{{quoted(','.join(fields))}}}"
            self.add(f"{path}{inside}".removeprefix("."), container, each.text, each.reference, untagged=each.implied)
            done.update(each.complete)
        # Do not read complete references again.
        texts = (parts[index].value for index in done)
        if any(isinstance(text, str) and has_bare_host(text, self.registry) for text in texts):
            self.names_bare_host = True
        return done

    def _text(self, stop: _Stop, text: str) -> None:
        place = self._holder or str(stop.path)
        if place in self._skip:
            return
        reading = read_text(text, self.registry)
        self.names_bare_host = self.names_bare_host or has_bare_host(text, self.registry)
        seen: set[ImageReference] = set()
        if self._nesting < _DEEPEST_NESTING and not any(mention.whole for mention in reading.mentions):
            for document in documents(text):
                walk = _Walk(self.registry, frozenset(), place, self._nesting + 1)
                walk.run(_Stop(document, _Path(place), stop.container, registries=stop.registries))
                self.contents.found.update(walk.contents.found)
                self.contents.unclear.update(walk.contents.unclear)
                self.untagged.update(walk.untagged)
                self.names_bare_host = self.names_bare_host or walk.names_bare_host
                seen.update(found.reference for found in walk.contents.found)
        repositories = {reference.repository for reference in seen}
        for mention in reading.mentions:
            # The parsed document is more reliable than its text.
            if mention.reference in seen or (mention.implied and mention.reference.repository in repositories):
                continue
            self.add(place, stop.container, mention.text, mention.reference, untagged=mention.implied)
        for unclear in reading.unclear:
            self.contents.unclear[place, unclear] = None

    def add(self, place: str, container: str, text: str, reference: ImageReference, *, untagged: bool) -> None:
        found = Found(place, container, text, reference)
        self.contents.found[found] = None
        if untagged:
            self.untagged[found] = None


def _texts(value: Any, prefix: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Every text in a value that is wanted, and its field."""
    rest: list[tuple[_Path, Any]] = [(_Path(prefix), value)]
    seen: set[int] = set()
    while rest:
        path, each = rest.pop()
        if isinstance(each, str):
            if wanted(each):
                yield str(path), each
        elif isinstance(each, Mapping | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            items = each.items() if isinstance(each, Mapping) else enumerate(each)
            rest += [
                (_Path(key if isinstance(key, int) else str(key), path), inner)
                for key, inner in items
                if key != "managedFields" and isinstance(inner, str | Mapping | list | tuple)
            ]


def _groups(value: Any) -> Iterator[Sequence[Part]]:
    """The fields that stand side by side, of all mappings, variables and flags in a value, and in the documents in its texts."""
    rest: list[tuple[Any, int]] = [(value, 0)]
    seen: set[int] = set()
    while rest:
        each, nesting = rest.pop()
        if isinstance(each, str):
            if nesting > _DEEPEST_NESTING or not TAG_WORDS.search(each):
                continue
            inside, is_whole = read_documents(each)
            rest += [(document, nesting + 1) for document in inside]
            if not is_whole:
                yield [Part("tag", text, "") for text in tags_in_text(each)]
        elif isinstance(each, Mapping | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            if isinstance(each, Mapping):
                yield [Part(str(key), inner, str(key)) for key, inner in each.items()]
            else:
                yield _named_values(each)[0]
                yield _options(each)[0]
            inner_values = each.values() if isinstance(each, Mapping) else each
            rest += [(inner, nesting) for inner in inner_values if isinstance(inner, str | Mapping | list | tuple)]


def _merged(value: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """The fields of a mapping, its own first, and then those that YAML's `<<` brings in."""
    yield from value.items()
    brought = value.get("<<")
    for each in brought if isinstance(brought, list) else [brought]:
        if isinstance(each, Mapping):
            yield from each.items()


def _named_values(value: Sequence[Any]) -> tuple[list[Part], list[int]]:
    """The variables of a container, the parameters of a workflow: `[{name: IMAGE_REPO, value: …}, {name: IMAGE_TAG, …}]`."""
    parts: list[Part] = []
    places: list[int] = []
    for index, each in enumerate(value):
        if isinstance(each, Mapping) and isinstance(name := each.get("name"), str):
            for key in ("value", "default"):
                if isinstance(each.get(key), str | int | float):
                    parts.append(Part(name, each[key], f"[{index}].{key}"))
                    # With more in it than the value, it is read all the same.
                    places.append(index if len(each) == 2 else -1)
    return parts, places


_OPTION = re.compile(r"--?([A-Za-z][A-Za-z0-9_.-]{0,100})(?:=(.*))?", re.DOTALL)
_SETTING = re.compile(r"(?:--set(?:-string)?=)?([A-Za-z_][A-Za-z0-9_.-]{0,100})=(.*)", re.DOTALL)


def _options(value: Sequence[Any]) -> tuple[list[Part], list[int]]:
    """
    The flags of a command: `--image-repo=…`, or `--image-repo` and its value after it; and settings, such as `image.repo=…`.
    """
    parts: list[Part] = []
    places: list[int] = []
    for index, each in enumerate(value):
        option = (_SETTING.fullmatch(each) or _OPTION.fullmatch(each)) if isinstance(each, str) else None
        if option is None:
            continue
        at, text = index, option[2]
        if text is None and index + 1 < len(value):
            at, text = index + 1, value[index + 1]
        if isinstance(text, str):
            parts.append(Part(option[1], text, f"[{at}]"))
            places.append(at)
    return parts, places
