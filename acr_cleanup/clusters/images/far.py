"""
The tags of a name that has none near: fields above and below it, and fields like `imageTag` anywhere. Pure.

`near` reads the mapping of a name, and one level above and below. Here are the nearest tag above, and the tags two and three
levels below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from acr_cleanup.clusters.images import fields, near
from acr_cleanup.clusters.images.object_texts import Text

_IMAGE_TAG_KEY = re.compile(r"image[-_.]?(?:tag|version|digest)$", re.IGNORECASE).search
# Not `targetRevision`: that is the version of a chart, or a branch.
_TAG_KEY = re.compile(r"tags?$|digest$|^(?:image|app)?[-_.]?version$", re.IGNORECASE).search
# `image:`, and in its block a tag, but no name.
_IMAGE_BLOCK = re.compile(
    r"^[ ]*([A-Za-z]{0,40}image):[ ]*\n(?:(?![ ]*(?:name|repo[a-z]*|image|registry):)[ ]+[^\n]{0,200}\n){0,5}?"
    r"[ ]+tag:[ ]*[\"']?([^\s\"'#]+)",
    re.IGNORECASE | re.MULTILINE,
)
_HIGHEST, _DEEPEST = 8, 3
_MOST_MAPPINGS = 200

NamesOther = Callable[[str, Any], bool]


def tags_around(text: Text, names_other: NamesOther) -> Iterator[fields.Value]:
    """Yield the nearest tag above a name, and the tags below it, but those of another image."""
    if text.is_key:
        yield from _tags_below(text.node.value[text.key], names_other, first=1, only_of_images=True)
    elif fields.may_be_image(text.node.key if isinstance(text.key, int) else text.key, text.text):
        yield from _tags_above(text, names_other)
        yield from _tags_below(text.node.value, names_other, first=1)


def _tags_above(text: Text, names_other: NamesOther) -> Iterator[fields.Value]:
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


def _tags_below(
    mapping: Any, names_other: NamesOther, *, first: int, only_of_images: bool = False
) -> Iterator[fields.Value]:
    """The tags in the levels below, from the `first` on. only_of_images: below a thing of that name, only `image: {tag: 1}`."""
    level = [("", mapping)] if isinstance(mapping, Mapping) else []
    for depth in range(_DEEPEST):
        inner = (field for _, outer in level for field in outer.items())
        children = ((key, child) for key, value in inner for child in (value if isinstance(value, list) else [value]))
        level = [
            (key, child)
            for key, child in children
            if isinstance(child, Mapping) and not _is_of_other(child, names_other)
        ][:_MOST_MAPPINGS]
        for key, child in level if depth >= first else ():
            if not only_of_images or fields.is_image_key(str(key)):
                yield from (value for value in near.scalars(child) if _TAG_KEY(value.key))


def _is_of_other(mapping: Mapping[Any, Any], names_other: NamesOther) -> bool:
    return any(names_other(str(key), value) for key, value in mapping.items())


def image_tags(text: Text, *, of_alone: bool = False) -> Iterator[fields.Value]:
    """
    Yield the values of fields and lines like `imageTag` and `image.tag`, unless their mapping names another image.

    of_alone: the object names one image, and without a tag. Then `tag` is its tag wherever it is.
    """
    mapping, key = text.node.value, text.key
    if text.is_key or not isinstance(mapping, Mapping):
        return
    if "\n" in text.text:
        yield from (fields.Value(f"{image}.tag", tag) for image, tag in _IMAGE_BLOCK.findall(text.text))
    elif not any(fields.is_image_key(str(name)) for name in mapping):
        pair = near.pair_of(mapping)
        name = pair[0] if pair is not None else str(key)
        if name in ("tag", "digest") and str(text.node.key).lower().endswith("image"):
            name = f"{text.node.key}.{name}"
        if _IMAGE_TAG_KEY(name) or (of_alone and name == "tag"):
            yield fields.Value(name, text.text)
