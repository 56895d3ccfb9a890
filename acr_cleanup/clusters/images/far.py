"""
The tags of a name that has none near: fields above and below it, and fields like `imageTag` anywhere. Pure.

`near` reads the mapping of a name, and one level above and below. Here are the nearest tag above, and the tags two and three
levels below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from acr_cleanup.clusters.images import near
from acr_cleanup.clusters.images.object_texts import Text

_IMAGE_TAG_KEY = re.compile(r"image[-_.]?(?:tag|version|digest)$", re.IGNORECASE).search
# Not `targetRevision`: that is the version of a chart, or a branch.
_TAG_KEY = re.compile(r"tags?$|digest$|^(?:image|app)?[-_.]?version$", re.IGNORECASE).search
_HIGHEST, _DEEPEST = 8, 3
_MOST_MAPPINGS = 200

NamesOther = Callable[[str, Any], bool]


def tags_around(text: Text, names_other: NamesOther) -> Iterator[near.Value]:
    """Yield the nearest tag above a name, and the tags below it, but those of another image."""
    if not text.is_key and near.may_be_image(text.node.key if isinstance(text.key, int) else text.key, text.text):
        yield from _tags_above(text, names_other)
        yield from _tags_below(text.node.value, names_other, first=1)


def _tags_above(text: Text, names_other: NamesOther) -> Iterator[near.Value]:
    node = text.node
    for _ in range(_HIGHEST):
        below, parent = node, node.parent
        if parent is None:
            return
        node = parent
        if isinstance(node.value, Mapping):
            if _is_of_other(node.value, names_other):
                return
            tags = [value for value in near.scalars(node.value, but=below.key) if _TAG_KEY(value.key)]
            # Helm hands `global` to all charts below.
            tags = tags or list(_tags_below({"": node.value.get("global")}, names_other, first=0))
            yield from tags
            if tags:
                return


def _tags_below(mapping: Any, names_other: NamesOther, *, first: int) -> Iterator[near.Value]:
    """The tags in the levels below, from the `first` on."""
    level = [mapping] if isinstance(mapping, Mapping) else []
    for depth in range(_DEEPEST):
        inner = (value for outer in level for value in outer.values())
        children = (child for value in inner for child in (value if isinstance(value, list) else [value]))
        level = [child for child in children if isinstance(child, Mapping) and not _is_of_other(child, names_other)]
        level = level[:_MOST_MAPPINGS]
        for child in level if depth >= first else ():
            yield from (value for value in near.scalars(child) if _TAG_KEY(value.key))


def _is_of_other(mapping: Mapping[Any, Any], names_other: NamesOther) -> bool:
    return any(names_other(str(key), value) for key, value in mapping.items())


def far_tag(text: Text) -> near.Value | None:
    """Return the value of a field like `imageTag` or `image.tag`, unless its mapping names another image."""
    mapping, key = text.node.value, text.key
    if text.is_key or not isinstance(mapping, dict):
        return None
    pair = near.pair_of(mapping)
    name = pair[0] if pair is not None else str(key)
    if name in ("tag", "digest") and str(text.node.key).lower().endswith("image"):
        name = f"{text.node.key}.{name}"
    if _IMAGE_TAG_KEY(name) is None or any(near.is_image_key(str(key)) for key in mapping):
        return None
    return near.Value(name, text.text)
