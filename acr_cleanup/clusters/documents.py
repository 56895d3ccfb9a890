"""
Every reference to our registry in a value of any shape: an API object, Helm's values, a document in a string. Pure.

The walk is no recursion, visits each container once, and reads texts that are documents themselves (JSON, YAML, lines of
`name=value`) as what they are. References split over neighbouring fields are put together by `neighbours`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from acr_cleanup.clusters.neighbours import AGAIN, Part, gives_registry, join, registries_in
from acr_cleanup.clusters.text import finder, read_text
from acr_cleanup.clusters.unread import quoted
from acr_cleanup.core.references import ImageReference, Registry

_LONGEST_DOCUMENT = 2 << 20
_DEEPEST_DOCUMENT = 200
_DEEPEST_NESTING = 4
_LONGEST_PATH = 64
_MOST_VISITS = 4
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class Found:
    """One reference, where it stands, and what is written there."""

    field: str
    container: str
    text: str
    reference: ImageReference


@dataclass(frozen=True, slots=True)
class Contents:
    """What a value holds. `unclear`: fields that name our registry, and what stands there in place of a repository."""

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
    """One value still to be read: text that names our registry, or a container. `key` is the field that it stands in."""

    value: Any
    path: _Path
    container: str = ""
    key: object = ""
    registries: tuple[str, ...] = ()


def contents(value: Any, registry: Registry, *, prefix: str = "", skip: frozenset[str] = frozenset()) -> Contents:
    """All references to our registry in a value. `prefix`: the field that holds it; `skip`: fields that are read elsewhere."""
    walk = _Walk(registry, skip)
    walk.run(_Stop(value, _Path(prefix)))
    return walk.contents


class _Walk:
    """One way through one value. In a document (`holder`), what is found stands in the one field that holds the document."""

    def __init__(self, registry: Registry, skip: frozenset[str], holder: str = "", nesting: int = 0) -> None:
        self.contents = Contents()
        self._registry = registry
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
                if self._names_us(value):
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

    def _is_worth_a_stop(self, value: Any) -> bool:
        return self._names_us(value) if isinstance(value, str) else isinstance(value, dict | list | tuple | Mapping)

    def _mapping(self, stop: _Stop, value: Mapping[Any, Any]) -> Iterator[_Stop]:
        container, registries = stop.container, stop.registries
        name = value.get("name")
        if isinstance(name, str) and ("image" in value or stop.key in _CONTAINER_LISTS):
            container = name
        names_us = self._names_us
        done: set[int] = set()
        if registries or any(names_us(each) for pair in _merged(value) for each in pair) or gives_registry(value):
            registries = registries_in(value, registries, self._registry)
            parts = [Part(str(key), inner, str(key)) for key, inner in _merged(value)]
            done = self._join(stop.path, container, parts, registries)
        for index, (key, inner) in enumerate(value.items()):
            if key == "managedFields" and stop.key == "metadata":
                continue
            if index not in done and names_us(key):
                yield _Stop(key, _Path(str(key), stop.path), container)
            if (index not in done or not isinstance(inner, str)) and self._is_worth_a_stop(inner):
                yield _Stop(inner, _Path(str(key), stop.path), container, key, registries)

    def _list(self, stop: _Stop, value: Sequence[Any]) -> Iterator[_Stop]:
        done: set[int] = set()
        for parts, places in (_named_values(value), _options(value)):
            if stop.registries or any(self._names_us(text) for part in parts for text in (part.key, part.value)):
                done |= {places[index] for index in self._join(stop.path, stop.container, parts, stop.registries)}
        for index, inner in enumerate(value):
            if index not in done and self._is_worth_a_stop(inner):
                yield _Stop(inner, _Path(index, stop.path), stop.container, stop.key, stop.registries)

    def _join(self, path: _Path, container: str, parts: Sequence[Part], registries: tuple[str, ...]) -> set[int]:
        """Put split references together; the parts that need not be read any more."""
        done: set[int] = set()
        for each in join(parts, registries, self._registry):
            fields = list(dict.fromkeys(parts[index].field.partition(AGAIN)[0] for index in each.used))
            if fields[0].startswith("["):
                inside = fields[0]
            else:
                inside = _step(fields[0]) if len(fields) == 1 else f".{{{quoted(','.join(fields))}}}"
            self._add(f"{path}{inside}".removeprefix("."), container, each.text, each.reference)
            done.update(each.complete)
        return done

    def _text(self, stop: _Stop, text: str) -> None:
        place = self._holder or str(stop.path)
        if place in self._skip:
            return
        reading = read_text(text, self._registry)
        seen: set[ImageReference] = set()
        if self._nesting < _DEEPEST_NESTING and not any(mention.whole for mention in reading.mentions):
            for document in documents(text):
                walk = _Walk(self._registry, frozenset(), place, self._nesting + 1)
                walk.run(_Stop(document, _Path(place), stop.container))
                self.contents.found.update(walk.contents.found)
                self.contents.unclear.update(walk.contents.unclear)
                seen.update(found.reference for found in walk.contents.found)
        repositories = {reference.repository for reference in seen}
        for mention in reading.mentions:
            # What the document says is better known than what its text looks like.
            if mention.reference in seen or (mention.implied and mention.reference.repository in repositories):
                continue
            self._add(place, stop.container, mention.text, mention.reference)
        for unclear in reading.unclear:
            self.contents.unclear[place, unclear] = None

    def _add(self, place: str, container: str, text: str, reference: ImageReference) -> None:
        self.contents.found[Found(place, container, text, reference)] = None


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


def _options(value: Sequence[Any]) -> tuple[list[Part], list[int]]:
    """The flags of a command: `--image-repo=…`, or `--image-repo` and its value after it."""
    parts: list[Part] = []
    places: list[int] = []
    for index, each in enumerate(value):
        option = _OPTION.fullmatch(each) if isinstance(each, str) else None
        if option is None:
            continue
        at, text = index, option[2]
        if text is None and index + 1 < len(value):
            at, text = index + 1, value[index + 1]
        if isinstance(text, str):
            parts.append(Part(option[1], text, f"[{at}]"))
            places.append(at)
    return parts, places


def documents(text: str) -> list[Any]:
    """
    The documents that a text is: JSON, YAML (one or several) or lines of `name=value`. Scalars stay text: `1.10` is no number.

    Nothing for text that is none of these, is too long, or is nested deeper than anybody writes.
    """
    if len(text) > _LONGEST_DOCUMENT:
        return []
    beginning = text.lstrip()[:1]
    if beginning and beginning in "{[":
        try:
            return [json.loads(text, parse_float=str, parse_int=str)]
        except (ValueError, RecursionError):
            pass
    if "\n" not in text and ": " not in text and beginning not in set("{["):
        return []
    found: list[Any] = []
    try:
        for document in _yaml(text):
            found.append(document)  # noqa: PERF402 - what came before a mistake counts
    except (yaml.YAMLError, _TooDeep, ValueError):
        return found + _lines(text)
    return found if any(isinstance(document, dict | list) for document in found) else _lines(text)


class _TooDeep(Exception):
    """Nested deeper than anybody writes. libyaml needs time by the square of the depth, and its composer the C stack."""


def _yaml(text: str) -> Iterator[Any]:
    """YAML documents from the events of the parser, without recursion."""
    builder = _Builder()
    for event in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder()
        elif isinstance(event, yaml.DocumentEndEvent):
            yield builder.root
        elif isinstance(event, yaml.AliasEvent):
            builder.put(builder.anchors.get(event.anchor))
        elif isinstance(event, yaml.ScalarEvent):
            builder.put(event.value, event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            builder.open({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            builder.close()


class _Builder:
    """One document, while it is read. An alias becomes the very container that it names."""

    def __init__(self) -> None:
        self.root: Any = None
        self.anchors: dict[str | None, Any] = {}
        # The containers that are open, each with the key that waits for its value.
        self._open: list[tuple[dict[str, Any] | list[Any], list[str]]] = []

    def open(self, container: dict[str, Any] | list[Any], anchor: str | None) -> None:
        self.put(container, anchor)
        self._open.append((container, []))
        if len(self._open) > _DEEPEST_DOCUMENT:
            raise _TooDeep

    def close(self) -> None:
        self._open.pop()

    def put(self, value: Any, anchor: str | None = None) -> None:
        if anchor:
            self.anchors[anchor] = value
        if not self._open:
            self.root = value
            return
        container, waiting = self._open[-1]
        if isinstance(container, list):
            container.append(value)
        elif waiting:
            key = waiting.pop()
            # A key given twice: both values count.
            container[f"{key}{AGAIN}{len(container)}" if key in container else key] = value
        elif isinstance(value, str):
            waiting.append(value)
        else:
            # A container as a key: what is in it counts, and so does its value.
            container[f"{AGAIN}{len(container)}"] = value
            waiting.append("")


_LINE = re.compile(
    r"^[ \t-]*(?:export[ \t]+)?[\"']?([A-Za-z_][A-Za-z0-9_.-]{0,100})[\"']?[ \t]*[=:](.*)$", re.MULTILINE
)


def _lines(text: str) -> list[Any]:
    """Lines of `name=value` or `name: value`: of settings, and of templates that are no YAML yet."""
    named: dict[str, str] = {}
    for name, value in _LINE.findall(text):
        named[f"{name}{AGAIN}{len(named)}" if name in named else name] = value.strip(" \t\r,;\"'")
    return [named] if len(named) > 1 else []
