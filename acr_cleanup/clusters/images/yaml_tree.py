"""
Foreign YAML -> plain trees, in bounded time and memory. Pure.

Built from the parser's events: PyYAML's own fast loaders crash the whole process on deep nesting,
and aliases can make a small text into a tree without end
(https://en.wikipedia.org/wiki/Billion_laughs_attack).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

_MOST_NODES = 1_000_000
# Schemas of custom resources are nested some sixty levels; a walk by recursion must still be able to follow.
_MOST_DEPTH = 200
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class NotPlain(Exception):
    """Text that is no YAML, or YAML that is no plain tree: no API server would take it."""


def documents_of(text: str) -> list[Any]:
    """
    The documents of some YAML: mappings, lists and text, null as None; raises `NotPlain`.

    >>> documents_of("image: {repository: web, tag: 1.10}")
    [{'image': {'repository': 'web', 'tag': '1.10'}}]
    """
    tree = _Tree()
    try:
        for event in yaml.parse(text, Loader=yaml.CBaseLoader):
            tree.take(event)
    except (yaml.YAMLError, UnicodeError) as error:
        raise NotPlain from error
    return tree.documents


@dataclass(slots=True)
class _Open:
    """A mapping or a list that is being read, and how many nodes there were before it."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    nodes_before: int
    key: str | None = None


class _Tree:
    def __init__(self) -> None:
        self.documents: list[Any] = []
        self._open: list[_Open] = []
        # The value of each anchor, and the number of nodes in it.
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            # As a key, null is the text that was written.
            is_null = event.implicit[0] and event.value in _NULLS and not self._at_key()
            value = None if is_null else event.value
            self._count(1)
            self._name(event.anchor, value, 1)
            self._put(value)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._count(1)
            self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._open.pop()
            self._name(done.anchor, done.value, self._nodes - done.nodes_before)
            self._put(done.value)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:  # an alias inside its own anchor has no value yet
                raise NotPlain
            value, nodes = self._anchors[event.anchor]
            self._count(nodes)
            self._put(value)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()

    def _begin(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        if len(self._open) >= _MOST_DEPTH:
            raise NotPlain
        # An anchor that is given anew names what is being read, not what it named before.
        if anchor:
            self._anchors.pop(anchor, None)
        self._open.append(_Open(value, anchor, self._nodes - 1))

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > _MOST_NODES:
            raise NotPlain

    def _name(self, anchor: str | None, value: Any, nodes: int) -> None:
        if anchor:
            self._anchors[anchor] = value, nodes

    def _at_key(self) -> bool:
        """Is what comes next the key of a mapping?"""
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _put(self, value: Any) -> None:
        if not self._open:
            self.documents.append(value)
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            if not isinstance(value, str):
                raise NotPlain  # JSON has no mappings or lists as keys
            top.key = value
        else:
            key, top.key = top.key, None
            _set(top.value, key, value)


def _set(mapping: dict[str, Any], key: str, value: Any) -> None:
    merged = value if isinstance(value, list) else [value]
    if key != "<<" or not all(isinstance(each, dict) for each in merged):
        mapping[key] = value
        return
    # https://yaml.org/type/merge.html: the mapping's own keys win, wherever they stand.
    for each in merged:
        for inherited, what in each.items():
            mapping.setdefault(inherited, what)
