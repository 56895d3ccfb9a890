"""
Rule 3: the values near a name, each of which may be its tag. Pure.

In an object: the whole values of the same mapping, of the mappings one level above and below, of the same list, and of the
neighbouring entries of a list of name/value pairs. `near_lines` has the same for the lines of one text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from acr_cleanup.clusters.images.object_texts import NOT_VALUES, Node, Text
from acr_cleanup.core.references import DIGEST, TAG

_WHOLE = re.compile(rf":?({TAG}(?:\+[A-Za-z0-9_.-]*)?)(?:@{DIGEST})?").fullmatch
is_image_key = re.compile(r"(?:image|repository|repo)(?:name)?$", re.IGNORECASE).search
_WHOLE_DIGEST = re.compile(r"(?:[^@\s]{0,200}@)?(?:sha256[:-])?([0-9a-fA-F]{64})").fullmatch
is_tag_key = re.compile(
    r"(?<!s)tag|stag(?!e)|version|digest|sha|revision|semver|(?:^|[^a-z])ref(?:$|[^a-z])|Ref$|channel|track|release|build|commit|hash",
    re.IGNORECASE,
).search
# A field that gives the tag of a neighbouring name, whether the registry has that tag or not. `sparkVersion` does not.
_OWN_TAG_KEY = re.compile(
    r"(?:tags?|digest|sha256)$|^(?:image|target|chart|app)?[-_.]?(?:version|revision)$", re.IGNORECASE
).search
# A field that names an image, rather than anything of that name.
is_image_place = re.compile(r"(?:image|repo)[a-z]*(?:\.name|\[\d+\])?$", re.IGNORECASE).search
_FOLDER_KEY = re.compile(r"path|prefix|folder|project|org|repo|namespace|team", re.IGNORECASE).search
_RANGE_KEY = re.compile(r"semver|version|revision|tag|chart|range|constraint", re.IGNORECASE).search
CHART_KEYS = frozenset({"chart", "chartName"})
CHART_VERSIONS = frozenset({"version", "targetRevision", "chartVersion"})
# Helm reads `0.4` as every 0.4.x: https://github.com/Masterminds/semver#basic-comparisons
_PART_OF_VERSION = re.compile(r"\s*v?[0-9]+(?:\.[0-9]+)?\s*").fullmatch
# Fields whose texts list several tags.
_LIST_KEY = re.compile(r"(?:tag|version|revision|channel|release|digest)s$", re.IGNORECASE).search
_LIST = re.compile(r"[,;\s]+")
_LONGEST_LIST, _MOST_ENTRIES = 1_000, 50
_NO_RANGE_KEY = re.compile(r"api|kind|policy|kube", re.IGNORECASE).search
_RANGE = re.compile(
    r"\s*(?:[~^=<>!].|\*(?![A-Za-z_])|v?[0-9]+(?:\.[0-9]+)*\.[xX*]\b|[0-9][^,]*(?:\s-\s|\|\||,\s*[<>=]|\s[<>=])).*",
    re.DOTALL,
).fullmatch
_TEMPLATE = re.compile(r"\{\{|\$[({A-Za-z_]|%\(|%s|<[A-Za-z_.]+>|^\{[A-Za-z_.]+\}$").search
_LISTS_OF_VALUES = 2
_LONGEST_COMMAND = 40
_NO_TAG_KEY = re.compile(r"(?:apiversion|kind|namespace|protocol|^type|policy)$", re.IGNORECASE).search
# Keys of counts, measures and ports. Build numbers are tags: a `number` may be one.
_QUANTITY_KEY = re.compile(
    r"^(?:min|max)[A-Z_]|(?:replicas?|count|ports?|seconds|timeout|limit|size|weight|priority|retries|cpu|memory|storage|parallelism|completions"
    r"|workers|threads|concurrency|interval|period|duration|min|max|percent|uid|gid|runasuser|runasgroup|fsgroup|[^a-z]level)s?$",
    re.IGNORECASE,
).search
_QUANTITY = re.compile(r"[0-9.]+[a-zA-Z%]{0,2}").fullmatch
# `[{name: IMAGE, value: X/web}, {name: TAG, value: canary}]`, as several programs call the two.
_PAIR_NAMES = ("name", "key", "id", "parameter", "Name", "Key", "path")
PAIR_VALUES = ("value", "default", "Value")
_AFFIX_KEY = re.compile(r"(?:variant|suffix|prefix|flavou?r|arch|architecture|platform)$", re.IGNORECASE).search
_MOST_JOINED = 4
# Words of keys of images and tags. Without them, the rest of the key names the owner.
_IMAGE_WORDS = re.compile(
    r"(?:image|repository|repo|registry|name|tag|version|digest|sha256|sha|revision|ref|url|uri|path)s?|[^a-z0-9]",
    re.IGNORECASE,
)


class Value(NamedTuple):
    """A value near a name. `key`: its field, as text; empty in lists."""

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


def entries(value: Value) -> Sequence[str]:
    """
    >>> entries(Value("tags", "canary, stable")), entries(Value("note", "canary, stable"))
    (['canary', 'stable'], ('canary, stable',))
    """
    is_list = value.key[-1:] in "sS" and len(value.value) < _LONGEST_LIST and _LIST_KEY(value.key) is not None
    return _LIST.split(value.value, _MOST_ENTRIES) if is_list else (value.value,)


def digest_of(value: str) -> str:
    """Return the digest if the whole value is one, with or without its algorithm; otherwise an empty text."""
    match = _WHOLE_DIGEST(value.strip())
    return f"sha256:{match[1].lower()}" if match else ""


def may_be_image(key: object, value: object) -> bool:
    """Does this field name an image, rather than anything of that name?"""
    return is_image_key(str(key)) is not None or "/" in str(value)


def says_tag(key: str) -> bool:
    """
    >>> says_tag("imageTag"), says_tag("version"), says_tag("tagName"), says_tag("kubernetesVersion")
    (True, True, False, False)
    """
    return _OWN_TAG_KEY(key) is not None


def joined(values: Sequence[Value]) -> Iterator[Value]:
    """
    The tags that are made of a tag and its variant, which stand in two fields.

    >>> [value.value for value in joined([Value("tag", "edge"), Value("suffix", "-slim"), Value("prefix", "v")])]
    ['edge-slim', 'v-edge']
    """
    tags = [value for value in values if says_tag(value.key) and whole(value.value)][:_MOST_JOINED]
    for affix in [value for value in values if tags and _AFFIX_KEY(value.key) and value.value][:_MOST_JOINED]:
        text = affix.value.strip("-_")
        is_prefix = affix.key.lower().endswith("prefix")
        yield from (Value(key, f"{text}-{tag}" if is_prefix else f"{tag}-{text}") for key, tag in tags)


def is_part_of_version(value: Value) -> bool:
    """Does this version of a chart select all versions that begin with it?"""
    return value.key in CHART_VERSIONS and _PART_OF_VERSION(value.value) is not None


def may_be_tag(value: Value) -> bool:
    """
    Does its field leave it open that this value is a tag?

    >>> may_be_tag(Value("minReplicas", "3")), may_be_tag(Value("build", "3")), may_be_tag(Value("namespace", "edge"))
    (False, True, False)
    """
    if _NO_TAG_KEY(value.key) is not None:
        return False
    return _QUANTITY_KEY(value.key) is None or _QUANTITY(value.value) is None


def is_folder_key(key: object) -> bool:
    return isinstance(key, str) and _FOLDER_KEY(key) is not None


def is_range(value: Value) -> bool:
    """Does this value select versions of a chart or an artifact, rather than name one?"""
    return (
        _RANGE_KEY(value.key) is not None
        and _NO_RANGE_KEY(value.key) is None
        and len(value.value) < 200
        and _RANGE(value.value) is not None
    )


def is_template(value: Value) -> bool:
    """Is this value a template or a variable in place of a tag?"""
    return is_tag_key(value.key) is not None and len(value.value) < 500 and _TEMPLATE(value.value) is not None


def is_weak(text: Text) -> bool:
    """A name of the object, of a label or of a container says what something is called, not which image it needs."""
    node = text.node
    keys = {node.key, text.key}
    if keys & {"labels", "matchLabels", "selector", "nodeSelector", "podSelector", "serviceAccountName", "namespace"}:
        return True
    if text.key == "name" and isinstance(node.key, str) and node.key.lower().endswith("ref") and "/" not in text.text:
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
    Yield the values near a name in an object. `names_other`: does this field name another image?

    The items of a list are separate values. only_beside: only those of the same mapping.
    """
    return filter(may_be_tag, _values_near(text, names_other, only_beside))


def _values_near(text: Text, names_other: Callable[[str, Any], bool], only_beside: bool) -> Iterator[Value]:
    node = text.node
    if only_beside:
        if isinstance(node.value, Mapping) and not text.is_key:
            yield from scalars(node.value, but=text.key, claimed=_claimed(node.value, text.key, names_other))
        return
    if text.is_key:
        yield from _values_of_key(node, text.key)
        return
    if isinstance(node.value, Mapping):
        claimed = _claimed(node.value, text.key, names_other)
        yield from scalars(node.value, but=text.key, claimed=claimed)
        yield from _below(node.value, names_other)
        pair = pair_of(node.value)
        if pair is not None and node.parent is not None and isinstance(node.parent.value, list):
            yield from _neighbours(node.parent.value, node.key, pair[0], names_other)
            return
        yield from _following(node, names_other)
        above = _above(node)
    else:
        yield from _list_values(node.value, text.key, names_other)
        yield from _following(node, names_other)
        # `[web, api]` under a key: the mapping that has the key.
        above = node.parent if node.parent is not None and isinstance(node.parent.value, Mapping) else None
    if above is not None and above.key != "metadata":
        # The list of the name itself is read above, within its distance.
        but = node.key if isinstance(node.value, list) else None
        claimed = _claimed(above.value, node.key, names_other)
        # A container may be called `main`, like a branch. Its arguments do not mean that.
        is_command = node.key in ("args", "command")
        yield from scalars(above.value, but=but, claimed={*claimed, "name"} if is_command else claimed)


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
        yield from scalars(value)
        above = _above(node)
        if above is not None and not any(is_tag_key(str(name)) for name in value):
            # `{tag: canary, images: {web: {}, api: {}}}`
            yield from (near for near in scalars(above.value) if is_tag_key(near.key))
        yield from _below(value, lambda _key, _value: False)
    elif isinstance(value, list):
        yield from _in_list(str(key), value)
        yield from _below({key: value}, lambda _key, _value: False)
    elif value is None or isinstance(value, bool):
        yield from scalars(node.value, but=key)
    else:
        yield from _scalar(str(key), value)


def scalars(mapping: Mapping[Any, Any], *, but: object = None, claimed: Collection[object] = ()) -> Iterator[Value]:
    for key, value in mapping.items():
        if key != but and key not in NOT_VALUES and key not in claimed:
            yield from _scalar(str(key), value)
            if isinstance(value, list):
                yield from _in_list(str(key), value)


def _scalar(key: str, value: Any) -> Iterator[Value]:
    if isinstance(value, str):
        yield Value(key, value)
    elif isinstance(value, Mapping):
        # `tag: {value: canary}`, `tag: {type: string, default: canary}`
        for wrapped in (value[name] for name in PAIR_VALUES if name in value):
            if not isinstance(wrapped, Mapping):
                yield from _scalar(key, wrapped)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield Value(key, repr(value))
        if isinstance(value, float) and value.is_integer():
            yield Value(key, repr(int(value)))


def _in_list(key: str, values: Sequence[Any]) -> Iterator[Value]:
    for value in values:
        yield from _scalar(key, value)


def _below(mapping: Mapping[Any, Any], names_other: Callable[[str, Any], bool]) -> Iterator[Value]:
    """The values one level below, except in mappings that name another image."""
    for key, value in mapping.items():
        if key in ("port", "targetPort"):  # `port: {number: 80}`
            continue
        if isinstance(value, list) and key in ("containers", "initContainers", "env"):
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping) and not any(names_other(str(name), text) for name, text in inner.items()):
                yield from scalars(inner)


def _list_values(values: Sequence[Any], at: object, names_other: Callable[[str, Any], bool]) -> Iterator[Value]:
    """The neighbours in a list of texts: `[X/web, canary]`, `["--image", "X/web", "--tag=canary"]`."""
    place = at if isinstance(at, int) else 0
    first = max(0, place - _LONGEST_COMMAND)
    flag, own = "", ""
    entries: dict[int, Value] = {}
    for index, value in enumerate(values[first : place + _LONGEST_COMMAND], first):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            flag = ""
            continue
        key, equals, after = str(value).partition("=")
        if index == place:
            own = key if equals else flag
        elif equals:
            entries[index] = Value(key, after)
        elif key.startswith("-"):
            flag = key
            continue
        else:
            entries[index] = Value(flag, key)
        flag = ""
    others = _stems_of_others(((entry.key, entry.value) for entry in entries.values()), own, names_other)
    for index, entry in entries.items():
        is_near = abs(index - place) <= _LISTS_OF_VALUES + 1 or is_tag_key(entry.key)
        if is_near and stem(entry.key) not in others:
            yield entry


def pair_of(mapping: Any) -> tuple[str, Any] | None:
    """The name and the value of an element of a list of pairs."""
    if not isinstance(mapping, Mapping) or mapping.keys().isdisjoint(PAIR_VALUES) or "image" in mapping:
        return None
    name = next((mapping[key] for key in _PAIR_NAMES if isinstance(mapping.get(key), str)), None)
    value = next((mapping[key] for key in PAIR_VALUES if key in mapping), None)
    return (name, value) if name is not None else None


def _neighbours(pairs: Sequence[Any], at: object, own: str, names_other: Callable[[str, Any], bool]) -> Iterator[Value]:
    """The values of the neighbouring entries of `[{name: IMAGE, value: …}, {name: TAG, value: …}]`."""
    entries = {index: entry for index, pair in enumerate(pairs) if (entry := pair_of(pair)) is not None}
    others = _stems_of_others(entries.values(), own, names_other)
    place = at if isinstance(at, int) else 0
    for index, (name, value) in entries.items():
        is_near = abs(index - place) <= _LISTS_OF_VALUES or is_tag_key(name)
        if index != place and is_near and stem(name) not in others:
            yield from _scalar(name, value)


def _following(node: Node, names_other: Callable[[str, Any], bool]) -> Iterator[Value]:
    """The tags of `[{repository: X/web}, {tag: canary}]` and `[[image, X/web], [tag, canary]]`, up to the next image."""
    elements = node.parent.value if node.parent is not None else None
    own = _element_of(node.value)
    if not isinstance(elements, list) or not isinstance(node.key, int) or own is None or not may_be_image(*own):
        return
    for step in (1, -1):
        has_tag = False
        for element in elements[node.key + step : max(node.key + step * _LONGEST_COMMAND, 0) : step]:
            field = _element_of(element)
            if field is None or names_other(*field):
                break
            if is_tag_key(field[0]):
                has_tag = True
                yield from _scalar(*field)
        if has_tag:
            return


def _element_of(element: Any) -> tuple[str, Any] | None:
    """The key and the value of a mapping with one key, or of a list of two."""
    pair = next(iter(element.items())) if isinstance(element, Mapping) and len(element) == 1 else element
    return (str(pair[0]), pair[1]) if isinstance(pair, list | tuple) and len(pair) == len(("key", "value")) else None


@lru_cache(maxsize=65_536)
def stem(key: object) -> str:
    """
    Return the part of a key that names the owner of an image or a tag.

    >>> stem("WEB_IMAGE_TAG"), stem("webImage"), stem("image.tag")
    ('web', 'web', '')
    """
    return _IMAGE_WORDS.sub("", str(key)[:200]).lower()


def _claimed(mapping: Mapping[Any, Any], own: object, names_other: Callable[[str, Any], bool]) -> frozenset[object]:
    """The fields that belong to another name of this mapping: `API_TAG` next to `API_IMAGE` and `WEB_IMAGE`."""
    others = _stems_of_others(mapping.items(), own, names_other)
    return frozenset(key for key in mapping if stem(key) in others) if others else frozenset()


def _stems_of_others(
    fields: Iterable[tuple[object, Any]], own: object, names_other: Callable[[str, Any], bool]
) -> frozenset[str]:
    """Return the stems of the fields that name other repositories."""
    others = {stem(key) for key, value in fields if key != own and names_other(str(key), value)}
    return frozenset(others - {stem(own), ""})
