"""
Rule 3: the values near a name, each of which may be its tag. Pure.

In an object: the whole values of the same mapping, of the mappings one level above and below, of the same list, and of the
neighbouring entries of a list of name/value pairs. In a text: the whole values of the lines around the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from acr_cleanup.clusters.images.object_texts import NOT_VALUES, Node, Text
from acr_cleanup.core.references import DIGEST, TAG

_WHOLE = re.compile(rf":?({TAG}(?:\+[A-Za-z0-9_.-]*)?)(?:@{DIGEST})?").fullmatch
_IMAGE_KEY = re.compile(r"(?:image|repository|repo)(?:name)?$", re.IGNORECASE).search
_WHOLE_DIGEST = re.compile(r"(?:[^@\s]{0,200}@)?(?:sha256:)?([0-9a-f]{64})").fullmatch
_TAG_KEY = re.compile(
    r"tag|version|digest|sha|revision|semver|(?:^|[^a-z])ref(?:$|[^a-z])|Ref$|channel|track|release|build|commit|hash",
    re.IGNORECASE,
).search
_RANGE_KEY = re.compile(r"semver|version|revision|tag|chart", re.IGNORECASE).search
_NO_RANGE_KEY = re.compile(r"api|kind|policy|kube", re.IGNORECASE).search
_RANGE = re.compile(
    r"\s*(?:[~^=<>!*]|v?[0-9]+(?:\.[0-9]+)*\.[xX*]\b|[0-9][^,]*(?:\s-\s|\|\||,\s*[<>=]|\s[<>=])).*", re.DOTALL
).fullmatch
_TEMPLATE = re.compile(r"\{\{|\$[({A-Za-z_]|%\(|%s|<[A-Za-z_.]+>|^\{[A-Za-z_.]+\}$").search
_LISTS_OF_VALUES = 2
_LINES = 6
_LONGEST_LINE = 1_000
_IMAGE_LINE = re.compile(r"(?:image|repo).*[:/]", re.IGNORECASE).search
_NO_VALUE_LINES = frozenset(
    {"apiversion", "kind", "namespace", "protocol", "type", "imagepullpolicy", "restartpolicy", "pullpolicy"}
)
# Words that keys of images and of tags share nothing but these: what is left says whose they are.
_IMAGE_WORDS = re.compile(
    r"image|repository|repo|registry|name|tag|version|digest|sha256|sha|revision|ref|url|uri|path|[^a-z0-9]",
    re.IGNORECASE,
)


class Value(NamedTuple):
    """A value near a name. `key`: the field that it stands in, as text; empty in lists."""

    key: str
    value: str


def whole(value: Any) -> str:
    """The value as a tag, if it can be one: a text without blanks, or a number."""
    if isinstance(value, str):
        match = _WHOLE(value.strip())
        return match[1] if match else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return ""


def digest_of(value: str) -> str:
    """The digest that a whole value is, with or without its algorithm; empty if it is none."""
    match = _WHOLE_DIGEST(value.strip())
    return f"sha256:{match[1]}" if match else ""


def is_tag_key(key: str) -> bool:
    return _TAG_KEY(key) is not None


def is_image_key(key: str) -> bool:
    return _IMAGE_KEY(key) is not None


def is_range(value: Value) -> bool:
    """Does this value select versions of a chart or an artifact, rather than name one?"""
    return (
        _RANGE_KEY(value.key) is not None
        and _NO_RANGE_KEY(value.key) is None
        and len(value.value) < 200
        and _RANGE(value.value) is not None
    )


def is_template(value: Value) -> bool:
    """Does a template or variable stand where a tag belongs?"""
    return is_tag_key(value.key) and len(value.value) < 500 and _TEMPLATE(value.value) is not None


def is_weak(text: Text) -> bool:
    """A name of the object, of a label or of a container says what something is called, not which image it needs."""
    node = text.node
    keys = {node.key, text.key}
    if keys & {"labels", "matchLabels", "selector", "nodeSelector", "podSelector", "serviceAccountName", "namespace"}:
        return True
    if text.key == "name" and isinstance(node.key, str) and node.key.lower().endswith("ref"):
        return True  # the name of another object
    if node.key == "metadata" or (node.parent is not None and node.parent.key == "matchExpressions"):
        return True
    if text.key == "name" and isinstance(node.value, Mapping):
        lists = node.parent.key if node.parent is not None else ""
        return "image" in node.value or lists in {
            "containers", "initContainers", "ephemeralContainers", "volumes", "volumeMounts", "ports", "imagePullSecrets",
        }  # fmt: skip
    return False


def values_near(text: Text, names_other: Callable[[str, Any], bool], *, only_beside: bool = False) -> Iterator[Value]:
    """
    The values near a name that stands in an object. `names_other`: does this field name another image?

    Values may be lists of tags, and are given one by one. only_beside: only those of the same mapping.
    """
    node = text.node
    if only_beside:
        if isinstance(node.value, Mapping) and not text.is_key:
            yield from _scalars(node.value, but=text.key, claimed=_claimed(node.value, text.key, names_other))
        return
    if text.is_key:
        yield from _values_of_key(node, text.key)
        return
    if isinstance(node.value, Mapping):
        claimed = _claimed(node.value, text.key, names_other)
        yield from _scalars(node.value, but=text.key, claimed=claimed)
        yield from _below(node.value, names_other)
        if _is_pair(node.value) and node.parent is not None and isinstance(node.parent.value, list):
            yield from _neighbours(node.parent.value, node.key, str(node.value.get("name", "")), names_other)
            return
        above = _above(node)
    else:
        yield from _list_values(node.value, text.key)
        # `[web, api]` under a key: the mapping that has the key.
        above = node.parent if node.parent is not None and isinstance(node.parent.value, Mapping) else None
    if above is not None and above.key != "metadata":
        yield from _scalars(above.value, but=None, claimed=_claimed(above.value, node.key, names_other))


def _above(node: Node) -> Node | None:
    """The mapping one level above, through a list."""
    above = node.parent
    while above is not None and not isinstance(above.value, Mapping):
        above = above.parent
    return above


def _values_of_key(node: Node, key: object) -> Iterator[Value]:
    """A name as a key: its own value, and what is one level below."""
    value = node.value[key]
    if isinstance(value, Mapping):
        yield from _scalars(value, but=None, claimed=frozenset())
        yield from _below(value, lambda _key, _value: False)
    elif isinstance(value, list):
        yield from _in_list(str(key), value)
    elif value is None or isinstance(value, bool):
        yield from _scalars(node.value, but=key, claimed=frozenset())
    else:
        yield from _scalar(str(key), value)


def _scalars(mapping: Mapping[Any, Any], *, but: object, claimed: Collection[object]) -> Iterator[Value]:
    for key, value in mapping.items():
        if key != but and key not in NOT_VALUES and key not in claimed:
            yield from _scalar(str(key), value)
            if isinstance(value, list):
                yield from _in_list(str(key), value)


def _scalar(key: str, value: Any) -> Iterator[Value]:
    if isinstance(value, str):
        yield Value(key, value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield Value(key, repr(value))
        if isinstance(value, float) and value.is_integer():
            yield Value(key, repr(int(value)))


def _in_list(key: str, values: Sequence[Any]) -> Iterator[Value]:
    for value in values:
        yield from _scalar(key, value)


def _below(mapping: Mapping[Any, Any], names_other: Callable[[str, Any], bool]) -> Iterator[Value]:
    """The values one level below, but for mappings that have an image of their own."""
    for key, value in mapping.items():
        if isinstance(value, list) and key in ("containers", "initContainers", "env"):
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping) and not any(names_other(str(name), text) for name, text in inner.items()):
                yield from _scalars(inner, but=None, claimed=frozenset())


def _list_values(values: Sequence[Any], at: object) -> Iterator[Value]:
    """The neighbours in a list of texts: `[X/web, canary]`, `["--image", "X/web", "--tag=canary"]`."""
    place = at if isinstance(at, int) else 0
    flag = ""
    for index in range(max(0, place - _LISTS_OF_VALUES - 1), min(len(values), place + _LISTS_OF_VALUES + 2)):
        value = values[index]
        if index == place or not isinstance(value, str | int | float):
            continue
        key, equals, after = str(value).partition("=")
        if equals:
            yield Value(key, after)
        elif key.startswith("-"):
            flag = key
            continue
        elif not isinstance(value, bool):
            yield Value(flag, key)
        flag = ""


def _is_pair(mapping: Mapping[Any, Any]) -> bool:
    return "name" in mapping and ("value" in mapping or "default" in mapping) and "image" not in mapping


def _neighbours(pairs: Sequence[Any], at: object, own: str, names_other: Callable[[str, Any], bool]) -> Iterator[Value]:
    """The values of the neighbouring entries of `[{name: IMAGE, value: …}, {name: TAG, value: …}]`."""
    entries = {
        str(pair.get("name")): pair.get("value", pair.get("default"))
        for pair in pairs
        if isinstance(pair, Mapping) and "name" in pair
    }
    claimed = _claimed(entries, own, names_other)
    place = at if isinstance(at, int) else 0
    for index, pair in enumerate(pairs):
        if index == place or not isinstance(pair, Mapping) or not isinstance(name := pair.get("name"), str):
            continue
        if name not in claimed and (abs(index - place) <= _LISTS_OF_VALUES or is_tag_key(name)):
            yield from _scalar(name, pair.get("value", pair.get("default")))


def stem(key: object) -> str:
    """
    What a key says besides that it is an image or a tag.

    >>> stem("WEB_IMAGE_TAG"), stem("webImage"), stem("image.tag")
    ('web', 'web', '')
    """
    return _IMAGE_WORDS.sub("", str(key)[:200]).lower()


def _claimed(mapping: Mapping[Any, Any], own: object, names_other: Callable[[str, Any], bool]) -> frozenset[object]:
    """The fields that belong to another name of this mapping: `API_TAG` beside `API_IMAGE` and `WEB_IMAGE`."""
    mine = stem(own)
    others = {
        stem(key)
        for key, value in mapping.items()
        if key != own and isinstance(value, str) and names_other(str(key), value)
    } - {mine, ""}
    if not others:
        return frozenset()
    return frozenset(key for key in mapping if stem(key) in others)


# -- in a text -------------------------------------------------------------------------------------

_LINE = re.compile(r"""(\s*(?:-\s+)*)(?:["']?([A-Za-z0-9_./ -]{1,100}?)["']?\s*(?::=|=>|[:=])\s*)?(.*)""", re.DOTALL)
_TAG_AFTER = re.compile(
    r"(?:tag|version|revision|channel|digest)s?[\"'\])]{0,3}\s{0,3}(?:=>|:=|[=:>\s])\s{0,3}[\"'(]{0,3}"
    rf"({TAG})(?![A-Za-z0-9/:])",
    re.IGNORECASE,
)
_WINDOW = 300


def values_in_line_near(text: str, start: int, end: int) -> Iterator[Value]:
    """What is called a tag shortly before or after a name, in one line: `--image X/web --tag canary`, `<tag>1</tag>`."""
    first = max(text.rfind("\n", 0, start) + 1, start - _WINDOW)
    last = text.find("\n", end)
    for match in _TAG_AFTER.finditer(text[first : min(last if last >= 0 else len(text), end + _WINDOW)]):
        yield Value("tag", match[1])


def values_in_lines_near(text: str, start: int, name: str) -> Iterator[Value]:
    """The whole values of the lines around the name that begins there, but those of another image's block."""
    first = start
    for _ in range(2 * _LINES + 1):
        first = text.rfind("\n", 0, max(first, 0))
    last = start
    for _ in range(2 * _LINES + 1):
        last = text.find("\n", last + 1) if last >= 0 else last
    lines = text[first + 1 : last if last >= 0 else len(text)].split("\n")
    at = text.count("\n", first + 1, start)
    heads = lines[at].rstrip().endswith(":") and name in lines[at]
    for index in range(at if heads else max(0, at - _LINES), min(len(lines), at + _LINES + 1)):
        if heads and index > at and lines[index].strip() and _indent(lines[index]) <= _indent(lines[at]):
            return  # the end of the block that the name is the head of
        if index == at or (value := _value_of(lines[index])) is None:
            continue
        if _same_block(lines, at, index) or not _is_claimed(lines, index, name):
            yield value


def _same_block(lines: Sequence[str], first: int, second: int) -> bool:
    """Are these lines in one block, by their indentation?"""
    first, second = sorted((first, second))
    depth = min(_content(lines[first]), _content(lines[second]))
    return all(_indent(lines[index]) >= depth for index in range(first + 1, second + 1) if lines[index].strip())


def _is_claimed(lines: Sequence[str], index: int, name: str) -> bool:
    """Is another image named in the block of this line?"""
    return any(
        name not in lines[other] and _IMAGE_LINE(lines[other]) and _same_block(lines, index, other)
        for other in range(max(0, index - _LINES), min(len(lines), index + _LINES + 1))
    )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _content(line: str) -> int:
    """Where the content of a line begins: an element of a list begins behind its dash."""
    return len(line) - len(line.lstrip(" -"))


@lru_cache(maxsize=4096)
def _value_of(line: str) -> Value | None:
    match = _LINE.fullmatch(line) if len(line) < _LONGEST_LINE else None
    if match is None:
        return None
    key = (match[2] or "").strip().rpartition(" ")[2]
    if key.lower() in _NO_VALUE_LINES:
        return None
    value = match[3].partition(" #")[0].strip().rstrip(",;").strip("\"'`")
    return Value(key, value) if value else None
