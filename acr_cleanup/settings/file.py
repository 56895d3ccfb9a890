"""
Read a configuration file (JSON or YAML) into mappings, lists and texts.

Every scalar keeps its text as written: the tag `1.10` must not become `1.1`, nor `no` become
false. `grammar` parses the texts later. Duplicate keys are problems: if the first of two clusters
were dropped silently, its images would look unused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from acr_cleanup.access.host_paths import path_remedy
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.settings.grammar import InvalidOption

MAX_BYTES = 1024 * 1024
"""Room for about five thousand clusters. A larger file is not a configuration."""

_CORE_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)


def read_config(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """
    Return the file as a tree of `dict`, `list`, `str` and None, and its invalid keys as problems.

    Raises `ConfigurationError` with one problem if the file is not a readable mapping.
    """
    text = _read_text(path)
    problems: list[Problem] = []
    # A `.json` file must be JSON. In other files a brace may also open a YAML flow mapping. JSON is
    # tried first, since JSON with tabs is not valid YAML.
    is_json = path.suffix.lower() == ".json"
    if is_json or text.lstrip().startswith("{"):
        try:
            tree = _from_json(text, problems)
        except json.JSONDecodeError as error:
            if is_json:
                seen = f"Line {error.lineno}, column {error.colno} is not JSON: {error.msg}."
                raise _unreadable(path, seen, "Correct the JSON there.") from error
            tree = _from_yaml(path, text, problems)
        except RecursionError as error:
            raise _too_deep(path) from error
    else:
        tree = _from_yaml(path, text, problems)
    if tree is None:
        raise _unreadable(path, "The file is empty.", "Add the keys kubernetes_clusters and container_registry.")
    if not isinstance(tree, dict):
        kind = "a list" if isinstance(tree, list) else "a single value"
        seen = f"The file contains {kind}, not a mapping of keys to values."
        raise _unreadable(path, seen, "Write a mapping with the keys kubernetes_clusters and container_registry.")
    return tree, problems


def parse_text(text: str) -> Any:
    """Return the YAML of an input as a tree. Raises `InvalidOption`."""
    problems: list[Problem] = []
    try:
        tree = _from_yaml(Path("input"), text, problems)
    except ConfigurationError as error:
        problems = [*error.problems]
    for problem in problems:
        raise InvalidOption(problem.seen, problem.remedy)
    return tree


def place(parts: Iterable[str | int]) -> str:
    """
    Return a place in the file as text. Keys that are not plain words are quoted.

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
        # Read a bounded amount, since the path may name a device or a pipe without an end.
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _unreadable(path, "There is no such file.", path_remedy(path, "Correct the path.")) from error
    except IsADirectoryError as error:
        raise _unreadable(path, "This is a folder.", "Write the path of a file.") from error
    except OSError as error:
        seen = f"The file cannot be read: {error.strerror or error}."
        raise _unreadable(path, seen, "Correct the path or its permissions.") from error
    except ValueError as error:
        raise _unreadable(path, "This is not a file name.", "Correct the path.") from error
    if len(content) > MAX_BYTES:
        seen = f"The file is larger than {MAX_BYTES // 1024} KiB, the limit for a configuration."
        raise _unreadable(path, seen, "Check that the path names the configuration file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"Byte {error.start} is not UTF-8 text.", "Save the file as UTF-8.") from error


def _unreadable(path: Path, seen: str, remedy: str) -> ConfigurationError:
    return ConfigurationError((Problem(str(path), seen, remedy),), where=str(path))


def _too_deep(path: Path) -> ConfigurationError:
    return _unreadable(
        path,
        "Its values are nested too deeply.",
        "Reduce the nesting; `acr-cleanup schema` prints the form of the file.",
    )


def _is_valid_key(key: str, earlier: Mapping[str, Any], where: tuple[str | int, ...], problems: list[Problem]) -> bool:
    """
    Report a key that repeats an `earlier` one, or that contains an unpaired surrogate (`\\ud800`).

    Returns False for an unpaired surrogate: such a key cannot be encoded, so it must be left out.
    """
    where = (*where, key)
    if key in earlier:
        problems.append(
            Problem(place(where), "This key is written twice.", "Remove one of the two, or rename the other.")
        )
    unpaired = any("\ud800" <= character <= "\udfff" for character in key)
    if unpaired:
        remedy = "Correct its escapes: those from \\ud800 to \\udfff must come in pairs."
        problems.append(Problem(place(where), "This key contains half a character.", remedy))
    return not unpaired


# -- JSON ------------------------------------------------------------------------------------------


class _Pairs(list[tuple[str, Any]]):
    """A JSON object before its keys are checked for duplicates."""


def _from_json(text: str, problems: list[Problem]) -> Any:
    if not text.strip():
        return None
    parsed = json.loads(text, object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)
    return _plain(parsed, (), problems)


def _plain(value: Any, where: tuple[str | int, ...], problems: list[Problem]) -> Any:
    if isinstance(value, _Pairs):
        mapping: dict[str, Any] = {}
        for key, inner in value:
            if _is_valid_key(key, mapping, where, problems):
                mapping[key] = _plain(inner, (*where, key), problems)
        return mapping
    if isinstance(value, list):
        return [_plain(inner, (*where, number), problems) for number, inner in enumerate(value)]
    if isinstance(value, bool):
        return str(value).lower()
    return value


# -- YAML ------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Compose nodes. Aliases are refused, since they can expand a kilobyte to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                problem="aliases (*) are not supported (quote a text that begins with *)", problem_mark=mark
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
        reason = " ".join(str(error.problem or error.context or "it cannot be parsed").split())
        raise _unreadable(path, f"{at} cannot be read as YAML: {reason}.", "Correct the YAML there.") from error
    except yaml.reader.ReaderError as error:
        seen = f"Character {error.position + 1} is a control character, which YAML does not allow."
        raise _unreadable(path, seen, "Check that the path names a text file.") from error
    except RecursionError as error:
        raise _too_deep(path) from error


def _value(node: yaml.Node, where: tuple[str | int, ...], problems: list[Problem]) -> Any:
    if node.tag not in _CORE_TAGS:
        raise yaml.constructor.ConstructorError(
            problem=f"the tag {node.tag!r} is not supported (quote a text that begins with !)",
            problem_mark=node.start_mark,
        )
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be plain text", problem_mark=key_node.start_mark
                )
            key = str(key_node.value)
            if _is_valid_key(key, mapping, where, problems):
                mapping[key] = _value(value_node, (*where, key), problems)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_value(inner, (*where, number), problems) for number, inner in enumerate(node.value)]
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)
