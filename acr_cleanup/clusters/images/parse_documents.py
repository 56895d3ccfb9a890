"""
Reads the documents in a text: JSON, YAML, or lines of `name=value`. Scalars remain text.

YAML is read from the events of its parser: its composer recurses, and deep documents would end the process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from acr_cleanup.clusters.images.split_references import AGAIN

_LONGEST_JSON, _LONGEST_DOCUMENT = 16 << 20, 2 << 20
_DEEPEST_DOCUMENT = 200


def documents(text: str) -> list[Any]:
    """
    Return the documents in a text: JSON, YAML (one or several) or lines of `name=value`.

    Scalars remain text: `1.10` is not a number.

    Returns an empty list for other text, and for text that is too long or nested too deeply.
    """
    return read_documents(text)[0]


def read_documents(text: str) -> tuple[list[Any], bool]:
    """Return the documents of a text, and whether they are the whole text."""
    beginning = text.lstrip()[:1]
    if beginning and beginning in "{[" and len(text) <= _LONGEST_JSON:
        try:
            return [json.loads(text, parse_float=str, parse_int=str)], True
        except (ValueError, RecursionError):
            pass
    if len(text) > _LONGEST_DOCUMENT or ("\n" not in text and ": " not in text and beginning not in set("{[")):
        return [], False
    found: list[Any] = []
    try:
        for document in _yaml(text):
            found.append(document)  # noqa: PERF402 - what came before a mistake counts
    except (yaml.YAMLError, _TooDeep, ValueError):
        return found + _lines(text), False
    if any(isinstance(document, dict | list) for document in found):
        return found, True
    return _lines(text), False


class _TooDeep(Exception):
    """The document is nested too deeply. libyaml needs time by the square of the depth, and its composer the C stack."""


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
