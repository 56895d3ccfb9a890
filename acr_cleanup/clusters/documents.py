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
from typing import Any

import yaml

from acr_cleanup.clusters.neighbours import AGAIN, Part, join, registries_in
from acr_cleanup.clusters.text import names, read_text
from acr_cleanup.clusters.unread import quoted
from acr_cleanup.core.references import ImageReference, Registry

_LONGEST_DOCUMENT = 2 << 20
_DEEPEST_DOCUMENT = 200
_DEEPEST_NESTING = 4
_LONGEST_PATH = 64
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


@dataclass(frozen=True, slots=True)
class _Path:
    """Where we are, as a chain: only the few places where something is found are ever written out."""

    part: str
    parent: _Path | None = None

    def __str__(self) -> str:
        parts: list[str] = []
        step: _Path | None = self
        while step is not None:
            parts.append(step.part)
            step = step.parent
        if len(parts) > _LONGEST_PATH:
            parts = [*parts[: _LONGEST_PATH // 2], "[…]", *parts[-_LONGEST_PATH // 2 :]]
        return "".join(reversed(parts)).removeprefix(".")

    def down(self, key: object) -> _Path:
        return _Path(f"[{key}]" if isinstance(key, int) else _step(str(key)), self)


def _step(key: str) -> str:
    return f".{key}" if key.isascii() and key.isidentifier() else f"[{quoted(key[:200], 100)}]"


@dataclass(frozen=True, slots=True)
class _Stop:
    """One value still to be read."""

    value: Any
    path: _Path
    container: str = ""
    key: str = ""
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
        self._skip = skip
        self._holder = holder
        self._nesting = nesting
        # The same container under another registry may mean something else.
        self._seen: set[tuple[int, tuple[str, ...]]] = set()

    def run(self, first: _Stop) -> None:
        stops = [first]
        while stops:
            stop = stops.pop()
            value = stop.value
            if isinstance(value, str):
                if names(value, self._registry):
                    self._text(stop, value)
            elif isinstance(value, Mapping | list | tuple):
                visit = (id(value), stop.registries)
                if visit not in self._seen:
                    self._seen.add(visit)
                    inner = self._mapping(stop, value) if isinstance(value, Mapping) else self._list(stop, value)
                    stops.extend(reversed(list(inner)))

    def _mapping(self, stop: _Stop, value: Mapping[Any, Any]) -> Iterator[_Stop]:
        container = stop.container
        name = value.get("name")
        if isinstance(name, str) and ("image" in value or stop.key in _CONTAINER_LISTS):
            container = name
        registries = registries_in(value, stop.registries, self._registry)
        parts = [Part(str(key), inner, str(key)) for key, inner in _merged(value)]
        done = self._join(stop.path, container, parts, registries)
        for index, (key, inner) in enumerate(value.items()):
            if key == "managedFields" and stop.key == "metadata":
                continue
            path = stop.path.down(str(key))
            if index not in done:
                yield _Stop(key, path, container)
            if index not in done or not isinstance(inner, str):
                yield _Stop(inner, path, container, str(key), registries)

    def _list(self, stop: _Stop, value: Sequence[Any]) -> Iterator[_Stop]:
        done: set[int] = set()
        for parts, places in (_named_values(value), _options(value)):
            done |= {places[index] for index in self._join(stop.path, stop.container, parts, stop.registries)}
        for index, inner in enumerate(value):
            if index not in done:
                yield _Stop(inner, stop.path.down(index), stop.container, stop.key, stop.registries)

    def _join(self, path: _Path, container: str, parts: Sequence[Part], registries: tuple[str, ...]) -> set[int]:
        """Put split references together; the parts that need not be read any more."""
        texts = (text for part in parts for text in (part.key, part.value) if isinstance(text, str))
        if not registries and not any(names(text, self._registry) for text in texts):
            return set()
        done: set[int] = set()
        for each in join(parts, registries, self._registry):
            fields = list(dict.fromkeys(parts[index].field for index in each.used))
            inside = fields[0] if len(fields) == 1 or fields[0].startswith("[") else f".{{{','.join(fields)}}}"
            if not inside.startswith((".", "[")):
                inside = _step(inside)
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
    """YAML documents from the events of the parser, without recursion. An alias is the very container that it names."""
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    anchors: dict[str, Any] = {}
    # The containers that are open, each with the keys that wait for their values.
    open_: list[tuple[dict[Any, Any] | list[Any], list[Any]]] = []

    def put(value: Any) -> None:
        if not open_:
            roots.append(value)
            return
        container, waiting = open_[-1]
        if isinstance(container, list):
            container.append(value)
        elif waiting:
            key = waiting.pop()
            # A key given twice: both values count.
            container[f"{key}{AGAIN}{len(container)}" if key in container else key] = value
        else:
            waiting.append(value if isinstance(value, str) else f"? {len(container)}")
            if not isinstance(value, str):
                container[f"?? {len(container)}"] = value

    roots: list[Any] = []
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.DocumentStartEvent):
            anchors.clear()
            roots.clear()
        elif isinstance(event, yaml.DocumentEndEvent):
            yield from roots
        elif isinstance(event, yaml.AliasEvent):
            put(anchors.get(event.anchor))
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                anchors[event.anchor] = event.value
            put(event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            container: dict[Any, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
            if event.anchor:
                anchors[event.anchor] = container
            put(container)
            open_.append((container, []))
            if len(open_) > _DEEPEST_DOCUMENT:
                raise _TooDeep
        elif isinstance(event, yaml.CollectionEndEvent):
            open_.pop()


_LINE = re.compile(
    r"^[ \t-]*(?:export[ \t]+)?[\"']?([A-Za-z_][A-Za-z0-9_.-]{0,100})[\"']?[ \t]*[=:](.*)$", re.MULTILINE
)


def _lines(text: str) -> list[Any]:
    """Lines of `name=value` or `name: value`, as variables: of settings, and of templates that are no YAML yet."""
    named = [{"name": name, "value": value.strip(" \t\r,;\"'")} for name, value in _LINE.findall(text)]
    return [named] if len(named) > 1 else []
