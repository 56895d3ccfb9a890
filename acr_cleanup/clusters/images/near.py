"""
Rule 3: the values near a name, each of which may be its tag. Pure.

In an object: the whole values of the same mapping, of the mappings one level above and below, of the same list, and of the
neighbouring entries of a list of name/value pairs. `near_lines` has the same for the lines of one text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from acr_cleanup.clusters.images.fields import Value, is_tag_key, may_be_image, may_be_tag, stem
from acr_cleanup.clusters.images.object_texts import NOT_VALUES, Node, Text

_ASSIGNED = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]-]*=").match
_OBJECT_KEY = re.compile(r"(?:ref|configmap|secret)$", re.IGNORECASE).search
_ITEM_KEYS = frozenset({"key", "path", "mode"})
_IMAGE_PLACE = re.compile(r"image|img|repo|docker|artifact|chart", re.IGNORECASE).search
_LISTS_OF_VALUES = 2
_LONGEST_COMMAND = 40
# `[{name: IMAGE, value: X/web}, {name: TAG, value: canary}]`, as several programs call the two.
_PAIR_NAMES = ("name", "key", "id", "parameter", "Name", "Key", "path")
PAIR_VALUES = ("value", "default", "Value")


def is_weak(text: Text) -> bool:
    """A name of the object, of a label or of a container says what something is called, not which image it needs."""
    node = text.node
    keys = {node.key, text.key}
    if keys & {"labels", "matchLabels", "selector", "nodeSelector", "podSelector", "serviceAccountName", "namespace"}:
        return True
    if text.key == "name" and isinstance(node.key, str) and _OBJECT_KEY(node.key) and "/" not in text.text:
        return True  # the name of another object
    if node.key == "metadata" or (node.parent is not None and node.parent.key in ("matchExpressions", "tolerations")):
        return True
    if node.key == "annotations" and names_thing(text, text.text):
        return True
    if node.value and isinstance(node.value, Mapping) and node.value.keys() <= _ITEM_KEYS:
        return True  # `items: [{key: production, path: web}]` of a volume
    if text.key == "name" and isinstance(node.value, Mapping):
        lists = node.parent.key if node.parent is not None else ""
        return "image" in node.value or lists in {
            "containers", "initContainers", "ephemeralContainers", "volumes", "volumeMounts", "ports", "imagePullSecrets",
        }  # fmt: skip
    return False


def names_thing(text: Text, written: str, start: int = 0) -> bool:
    """Is this a bare name (`web`) in a field of any thing, rather than of an image? `start`: its place in the text."""
    if "/" in written:
        return False
    pair = pair_of(text.node.value)
    line = text.text[text.text.rfind("\n", 0, start) + 1 : start]
    return not any(map(_IMAGE_PLACE, (line, str(text.key), str(text.node.key), pair[0] if pair else "")))


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
        yield from _in_parallel(node, text.key)
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


def _in_parallel(node: Node, key: object) -> Iterator[Value]:
    """The tag of `front` in `{images: {front: shop/web}, tags: {front: canary}}`."""
    siblings = node.parent.value if node.parent is not None else None
    for name, sibling in siblings.items() if isinstance(siblings, Mapping) else ():
        if sibling is not node.value and isinstance(sibling, Mapping) and key in sibling and is_tag_key(str(name)):
            yield from _scalar(str(name), sibling[key])


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
        yield from _scalar(*(pair_of(value) or (key, value)))


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
        if equals and _ASSIGNED(after):
            key, _, after = after.partition("=")  # `--set=web.tag=canary`
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
    if images := [index for index, entry in entries.items() if names_other(entry.key, entry.value)]:
        # `--image X/web --tag canary --image X/api --tag stable`
        following = next((index for index in images if index > place), len(values))
        behind = {index: entry for index, entry in entries.items() if place < index < following}
        entries = behind if any(is_tag_key(entry.key) for entry in behind.values()) else entries
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


def _claimed(mapping: Mapping[Any, Any], own: object, names_other: Callable[[str, Any], bool]) -> frozenset[object]:
    """The fields that belong to another name of this mapping: `API_TAG` next to `API_IMAGE` and `WEB_IMAGE`."""
    others = _stems_of_others(mapping.items(), own, names_other)
    return frozenset(key for key in mapping if stem(key) in others) if others else frozenset()


def _stems_of_others(
    fields: Iterable[tuple[object, Any]], own: object, names_other: Callable[[str, Any], bool]
) -> frozenset[str]:
    """Return the stems of the fields that name other repositories."""
    others, own_stem, own_tag = set(), stem(own), False
    for key, value in fields:
        if key == own:
            continue
        if names_other(str(key), value):
            others.add(stem(key))
        own_tag = own_tag or (stem(key) == own_stem != "" and is_tag_key(str(key)) is not None)
    # Beside `web_tag` of `web_image`, a `tag` is that of `image`.
    return frozenset(others - ({own_stem} if own_tag else {own_stem, ""}))


def texts_beside(text: Text) -> Iterator[tuple[str, Text]]:
    """The other texts of the mapping, or of the list of pairs, each with the name of its field."""
    node = text.node
    pairs = node.parent.value if node.parent is not None and pair_of(node.value) is not None else None
    if isinstance(pairs, list):
        for index, element in enumerate(pairs):
            pair = pair_of(element)
            if pair is not None and isinstance(pair[1], str) and index != node.key:
                yield pair[0], Text(pair[1], Node(element, node.parent, index), "value")
    elif isinstance(node.value, Mapping) and not text.is_key:
        yield from ((str(key), Text(value, node, key)) for key, value in node.value.items() if isinstance(value, str))
