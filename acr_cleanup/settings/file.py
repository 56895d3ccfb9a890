"""
Reads a configuration file (JSON or YAML) into mappings, lists and text, and nothing else.

Every scalar stays the text that was written: `1.10` as a tag must not become `1.1`, nor `no` become false. What a text means
is for the settings to say. Keys written twice are problems: a cluster that silently vanished would look unused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from acr_cleanup.errors import ConfigurationError, Problem

MAX_BYTES = 1024 * 1024
"""Five thousand clusters fit in it; what is larger is not a configuration."""

_CORE_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)


def read_config(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """
    The file as a tree of `dict`, `list`, `str` and None, and its duplicate keys as problems.

    Raises `ConfigurationError` with one problem when it cannot be read as a mapping at all.
    """
    text = _read_text(path)
    problems: list[Problem] = []
    # A `.json` file is JSON alone; elsewhere a brace may also open a YAML flow mapping, and JSON with tabs is no YAML.
    is_json = path.suffix.lower() == ".json"
    if is_json or text.lstrip().startswith("{"):
        try:
            tree = _from_json(text, problems)
        except json.JSONDecodeError as error:
            if is_json:
                seen = f"Line {error.lineno}, column {error.colno} is not JSON: {error.msg}."
                raise _unreadable(path, seen, "Correct it there.") from error
            tree = _from_yaml(path, text, problems)
        except RecursionError as error:
            raise _too_deep(path) from error
    else:
        tree = _from_yaml(path, text, problems)
    if tree is None:
        raise _unreadable(path, "The file is empty.", "Write kubernetes_clusters and container_registry in it.")
    if not isinstance(tree, dict):
        kind = "a list" if isinstance(tree, list) else "a single value"
        seen = f"The file holds {kind}, not a mapping of keys to values."
        raise _unreadable(path, seen, "Write kubernetes_clusters and container_registry in it.")
    return tree, problems


def place(parts: Iterable[str | int]) -> str:
    """
    A place in the file, for people: keys that are not plain words are quoted.

    >>> place(["kubernetes_clusters", "west europe", "name"])
    'kubernetes_clusters."west europe".name'
    """
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            word = part if re.fullmatch(r"[\w$-]+", part) else json.dumps(part, ensure_ascii=not part.isprintable())
            text += f".{word}" if text else word
    return text


def _read_text(path: Path) -> str:
    try:
        # Bounded, for the path may name something without an end.
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _unreadable(path, "There is no such file.", "Correct the path.") from error
    except IsADirectoryError as error:
        raise _unreadable(path, "This is a folder.", "Name the configuration file in it.") from error
    except OSError as error:
        seen = f"The file cannot be read: {error.strerror or error}."
        raise _unreadable(path, seen, "Correct the path or its permissions.") from error
    except ValueError as error:
        raise _unreadable(path, "This is not a file name.", "Correct the path.") from error
    if len(content) > MAX_BYTES:
        seen = f"The file is larger than {MAX_BYTES // 1024} KiB, which no configuration is."
        raise _unreadable(path, seen, "Check that the path names the configuration file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"Byte {error.start} is not UTF-8 text.", "Save the file as UTF-8.") from error


def _unreadable(path: Path, seen: str, remedy: str) -> ConfigurationError:
    return ConfigurationError((Problem(str(path), seen, remedy),), where=str(path))


def _too_deep(path: Path) -> ConfigurationError:
    return _unreadable(path, "Its values are nested far too deeply.", "Write it as docs/configuration.md shows it.")


def _twice(parts: tuple[str | int, ...]) -> Problem:
    return Problem(place(parts), "This key is written twice.", "Keep one of the two, or rename the other.")


def _torn(parts: tuple[str | int, ...]) -> Problem:
    remedy = "Correct its escapes: those from \\ud800 to \\udfff stand in pairs."
    return Problem(place(parts), "This key holds half a character.", remedy)


def _is_readable(key: str, found: Mapping[str, Any], where: tuple[str | int, ...], problems: list[Problem]) -> bool:
    """Tells what is wrong with a key beside those `found` before; False if it holds half a character (`\\ud800` alone)."""
    if key in found:
        problems.append(_twice((*where, key)))
    torn = any("\ud800" <= character <= "\udfff" for character in key)
    if torn:
        problems.append(_torn((*where, key)))
    return not torn


# -- JSON ------------------------------------------------------------------------------------------------------


class _Pairs(list[tuple[str, Any]]):
    """A JSON object before its keys are known to be distinct."""


def _from_json(text: str, problems: list[Problem]) -> Any:
    if not text.strip():
        return None
    parsed = json.loads(text, object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)
    return _plain(parsed, (), problems)


def _plain(value: Any, where: tuple[str | int, ...], problems: list[Problem]) -> Any:
    if isinstance(value, _Pairs):
        found: dict[str, Any] = {}
        for key, inner in value:
            if not _is_readable(key, found, where, problems):
                continue
            found[key] = _plain(inner, (*where, key), problems)
        return found
    if isinstance(value, list):
        return [_plain(inner, (*where, number), problems) for number, inner in enumerate(value)]
    if isinstance(value, bool):
        return str(value).lower()
    return value


# -- YAML ------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses aliases, with which a kilobyte can unfold into gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                problem="aliases (*) are not supported (a text that begins with * needs quotes)", problem_mark=mark
            )
        return super().compose_node(parent, index)


def _from_yaml(path: Path, text: str, problems: list[Problem]) -> Any:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return None if node is None else _value(node, (), problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"Line {mark.line + 1}, column {mark.column + 1}" if mark else "The text"
        reason = " ".join(str(error.problem or error.context or "it cannot be read").split())
        raise _unreadable(path, f"{at} is not YAML that can be used: {reason}.", "Correct it there.") from error
    except yaml.reader.ReaderError as error:
        seen = f"Character {error.position + 1} is a control character, which YAML does not allow."
        raise _unreadable(path, seen, "Check that the path names a text file.") from error
    except RecursionError as error:
        raise _too_deep(path) from error


def _value(node: yaml.Node, where: tuple[str | int, ...], problems: list[Problem]) -> Any:
    if node.tag not in _CORE_TAGS:
        raise yaml.constructor.ConstructorError(
            problem=f"the tag {node.tag!r} is not supported (a text that begins with ! needs quotes)",
            problem_mark=node.start_mark,
        )
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be plain text", problem_mark=key_node.start_mark
                )
            key = str(key_node.value)
            if not _is_readable(key, found, where, problems):
                continue
            found[key] = _value(value_node, (*where, key), problems)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(inner, (*where, number), problems) for number, inner in enumerate(node.value)]
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)
