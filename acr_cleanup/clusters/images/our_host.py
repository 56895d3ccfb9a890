"""Where our registry's host is written: near a name, anywhere in the object, or before another path. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from acr_cleanup.clusters.images import patterns
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.object_texts import ObjectTexts, Text
from acr_cleanup.clusters.images.words import Written
from acr_cleanup.core.references import normalise_host

_REPOSITORY_KEY = re.compile(r"image|repo|chart|artifact", re.IGNORECASE).search
_IMAGE_KEY = re.compile(r"image|repo|name|url|uri|source|artifact|chart|package|container", re.IGNORECASE).search
# A line of a text: `repository: `, and then a name as the whole value.
_FIELD = re.compile(r"[ \t]*(?:- )?[\"']?([A-Za-z0-9_.-]+)[\"']?[ \t]*[:=][ \t]*[\"']?").fullmatch
_REST = re.compile(r"[\"']?[ \t]*(?:#[^\n]*)?(?:\n|$)").match
_VALUE = re.compile(r"[:=][ \t]*[\"']?([^\s\"']{4,300})[\"']?[ \t]*$", re.MULTILINE)
_LONGEST = 300
_FEW = 8
_TEMPLATE_SIGNS = 3


class OurHost:
    """Looks for our host in the values of one object."""

    def __init__(self, texts: ObjectTexts, names: Names) -> None:
        self._texts = texts
        self._names = names

    def is_beside(self, text: Text) -> bool:
        """Is our host in the mapping of a name, or one level above it: `{registry: X, repository: shop/web}`?"""
        if not isinstance(text.key, str) or not _IMAGE_KEY(text.key):
            return False
        if "/" not in text.text and not _REPOSITORY_KEY(text.key):
            return False  # `{registry: X, name: web}` may be any thing called web
        if text.text.strip() in self._names.repositories and _REPOSITORY_KEY(text.key) and self.is_anywhere:
            return True
        above = (text.node, text.node.parent)
        return any(
            isinstance(node.value, dict) and any(map(self._is_value, node.value.values()))
            for node in above
            if node is not None
        )

    def is_beside_line(self, text: str, start: int, end: int) -> bool:
        """The same in a text: is the whole value of this line a repository, and our host one of another line?"""
        if text[start:end] not in self._names.repositories:
            return False
        field = _FIELD(text[text.rfind("\n", 0, start) + 1 : start])
        return bool(field and _REPOSITORY_KEY(field[1]) and _REST(text, end)) and self.is_in_lines

    @cached_property
    def is_in_lines(self) -> bool:
        """Is our host the whole value of a line in the object?"""
        texts = (text.text for text in self._texts.texts if self._names.registry.mentioned_in(text.text))
        return any(self._is_value(match[1]) for text in texts for match in _VALUE.finditer(text))

    def is_place(self, value: Any) -> bool:
        """Is this our registry, or a place in it: `oci://X/charts`?"""
        return isinstance(value, str) and self._names.is_ours(value.strip().rpartition("://")[2].partition("/")[0])

    @cached_property
    def is_anywhere(self) -> bool:
        """Is our host a whole value anywhere in the object?"""
        return any(not text.is_key and self._is_value(text.text) for text in self._texts.texts)

    def _is_value(self, value: Any) -> bool:
        if not isinstance(value, str) or len(value) > _LONGEST:
            return False
        return self._names.is_ours(normalise_host(value.strip().rstrip("/").rpartition("//")[2]))


def unclear_places(texts: Sequence[Text], written: Mapping[bytes, Written], names: Names) -> dict[str, str]:
    """Where our host is written, and a template or capitals in place of the repository."""
    unclear: dict[str, str] = {}
    for chunk, reading in written.items():
        if (
            (reading.name and not reading.variable)
            or (reading.folder and reading.tag)
            or not patterns.HOST_AND_SLASH(chunk)
        ):
            continue
        part = chunk.decode()
        if not names.registry.mentioned_in(part):
            continue  # before each text is searched for it
        for text in texts:
            if part not in text.text:
                continue
            start = text.text.find(part)
            match = patterns.UNCLEAR.search(text.text, start, start + len(part) + _TEMPLATE_SIGNS)
            if match and names.is_ours(match["host"]) and not match.group().startswith(("http:", "https:")):
                unclear.setdefault(text.field, text.text[match.start("host") :][:80].split()[0])
            if len(unclear) >= _FEW:
                return unclear
    return unclear
