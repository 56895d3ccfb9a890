"""
The part of kubectl's JSONPath that scripts use. It prints the same bytes as kubectl.

Standard library alone, so that the stand-in for kubectl starts quickly.
https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(
    r"""\.\.(?P<deep>[\w-]+|\*)            # ..name: at any depth
      | \.(?P<name>(?:[^\s.\[\]{}'"\\]|\\.)+)   # .name, with \. for a dot in it
      | \[\s*'(?P<quoted>[^']*)'\s*\]      # ['name']
      | \[\s*(?P<index>-?\d+)\s*\]         # [0], [-1]
      | \[\s*(?P<all>\*)\s*\]              # [*]
      | \[(?P<from>-?\d*):(?P<to>-?\d*)\]  # [1:3]
      | \.(?=$)                            # a dot alone is the value itself
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)


_TOKEN = re.compile(r"""".*?(?<!\\)"|'.*?(?<!\\)'|(?:\[[^\]]*\]|[^\s"'\[])+""")


class JsonPathError(ValueError):
    """The template is not valid. The text is kubectl's error message."""


class JsonPathIndexError(ValueError):
    """
    An index is beyond the end of a list.

    Any other missing value prints nothing, and is not an error.
    """


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text, printed without change."""

    text: str


@dataclass(frozen=True, slots=True)
class Path:
    """A path, printed as the values that it finds, separated by spaces."""

    steps: tuple[re.Match[str], ...]
    from_root: bool


@dataclass(frozen=True, slots=True)
class Range:
    """A loop: its body is printed once for each value that its path finds."""

    path: Path
    body: tuple[Node, ...]


Node = Text | Path | Range


def render(template: str, value: Any) -> str:
    """Return the text that `kubectl -o jsonpath=TEMPLATE` prints for a value."""
    return "".join(_print(parse(template), value, value))


def parse(template: str) -> tuple[Node, ...]:
    """Return the nodes of a template."""
    stack: list[tuple[Path | None, list[Node]]] = [(None, [])]
    for literal, inside in _pieces(template):
        nodes = stack[-1][1]
        if literal:
            nodes.append(Text(literal))
        if inside is None:
            continue
        word = inside.strip()
        if word == "end":
            path, body = stack.pop()
            if path is None:
                raise JsonPathError("not in range, nothing to end")
            stack[-1][1].append(Range(path, tuple(body)))
        elif word.startswith("range") and word[5:6] in {" ", "\t", "\n"}:
            stack.append((_path(word[5:].strip()), []))
        else:
            nodes.extend(_action(word))
    if len(stack) > 1:
        raise JsonPathError("unterminated range")
    return tuple(stack[0][1])


def _pieces(template: str) -> Iterator[tuple[str, str | None]]:
    """Yield literal text and the content of the braces after it. Braces in quotes are content."""
    at = 0
    while True:
        start = template.find("{", at)
        if start < 0:
            yield template[at:], None
            return
        end, quote = start + 1, ""
        while end < len(template) and (quote or template[end] != "}"):
            if quote and (template[end] == "\n" or end + 1 == len(template)):
                raise JsonPathError("unterminated quoted string")
            # As in the real parser, a quote after a backslash does not close, even if the backslash
            # is escaped itself.
            if template[end] in "\"'" and template[end - 1] != "\\":
                quote = "" if template[end] == quote else quote or template[end]
            end += 1
        if end >= len(template):
            raise JsonPathError("unclosed action")
        yield template[at:start], template[start + 1 : end]
        at = end + 1


def _action(text: str) -> Iterator[Node]:
    """Yield the nodes of one pair of braces, which may hold several strings and paths."""
    for token in _TOKEN.findall(text):
        yield Text(_unquote(token[1:-1])) if token[0] in "\"'" else _path(token)


def _unquote(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] in "xuU" and len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape[0].isdigit():
            return chr(int(escape, 8))
        if escape not in _ESCAPES:
            raise JsonPathError(f'unquote string "{text}" error invalid syntax')
        return _ESCAPES[escape]

    return _ESCAPE.sub(value, text)


def _path(text: str) -> Path:
    rest = text.removeprefix("@").removeprefix("$")
    if rest and rest[0] not in ".[":
        rest = f".{rest}"
    steps: list[re.Match[str]] = []
    at = 0
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None:
            raise JsonPathError(f"unrecognized character in action: {rest[at:]}")
        if step.lastgroup is not None:
            steps.append(step)
        at = step.end()
    return Path(tuple(steps), from_root=text.startswith("$"))


def _print(nodes: tuple[Node, ...], value: Any, root: Any) -> Iterator[str]:
    for node in nodes:
        match node:
            case Text(text):
                yield text
            case Path():
                yield " ".join(_text(match) for match in _find(node, value, root))
            case Range(path, body):
                for match in _find(path, value, root):
                    yield from _print(body, match, root)


def _find(path: Path, value: Any, root: Any) -> list[Any]:
    values = [root if path.from_root else value]
    for step in path.steps:
        values = [inner for outer in values for inner in _step(step, outer)]
    return values


def _step(step: re.Match[str], value: Any) -> Iterator[Any]:
    kind = step.lastgroup
    if kind == "deep":
        yield from _everywhere(step["deep"], value)
    elif kind is not None and kind in {"name", "quoted"}:
        name = str(step[kind]).replace("\\", "")
        if name == "*" and kind == "name":
            yield from _children(value)
        elif isinstance(value, dict) and name in value:
            yield value[name]
    elif kind == "all":
        yield from _children(value)
    elif not isinstance(value, list):
        return
    elif kind == "index":
        index = int(step["index"])
        if not -len(value) <= index < len(value):
            raise JsonPathIndexError(f"array index out of bounds: index {index}, length {len(value)}")
        yield value[index]
    else:
        first, last = step["from"], step["to"]
        yield from value[int(first) if first else None : int(last) if last else None]


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _everywhere(name: str, value: Any) -> Iterator[Any]:
    if isinstance(value, dict) and name in value:
        yield value[name]
    for child in _children(value):
        yield from _everywhere(name, child)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else go_json(value)


def go_json(value: Any, indent: int | None = None) -> str:
    """Return JSON as Go writes it: keys sorted, and `<`, `>`, `&` escaped."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=separators, indent=indent)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
