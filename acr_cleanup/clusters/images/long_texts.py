"""
Long texts, without splitting them: what may name something, and the words in which tags are looked up. Pure.

A ConfigMap of one MiB has a hundred thousand words. A search for the names of the registry costs a tenth of a set of words.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from acr_cleanup.clusters.images.finder import compiled, expressions_of
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.words import TO_CHUNKS, TO_WORDS, Written

LONG = 128 << 10
"""Bytes of text beyond which it is not split into words."""
_MOST_PLACES = 20_000
_SAMPLES, _SAMPLE = 16, 4096
_REPETITIVE = 0.5


class LongText:
    """`chunks`: those that may name something, or a tag behind a variable."""

    def __init__(self, data: bytes, places: list[tuple[int, int]]) -> None:
        self._data = data
        self._places = places
        self.chunks = b" ".join({data[start:end] for start, end in places})

    def words(self, written: Mapping[bytes, Written]) -> bytes:
        """All words, apart from those of references: these belong to their names alone."""
        words = bytearray(self._data)
        for start, end in self._places:
            chunk = self._data[start:end]
            if chunk in written and written[chunk].is_reference:
                words[start:end] = b" " * (end - start)
        # `suffix: -alpine`, `prefix: release-`
        text = bytes(words.translate(TO_WORDS))
        if b"-" in text:
            text = text.replace(b" -", b"  ").replace(b"- ", b"  ")
        return text


def read_long(text: bytes, names: Names) -> LongText | None:
    """Search a long text; None if it must be split: it has few distinct words, or the text or the registry many names."""
    search = _search(names)
    step = max(len(text) // _SAMPLES, 1)
    sample = b" ".join(text[at : at + _SAMPLE] for at in range(0, len(text), step)).split()
    if search is None or len(set(sample)) < len(sample) * _REPETITIVE:
        return None
    data = text.replace(b": ", b"  ").translate(TO_CHUNKS)
    places: list[tuple[int, int]] = []
    end = 0
    for match in search(data):
        at = match.end()
        if at <= end:
            continue  # a further name in the same chunk
        start = data.rfind(b" ", 0, at - 1) + 1
        end = data.find(b" ", at)
        end = end if end >= 0 else len(data)
        places.append((start, end))
        if len(places) > _MOST_PLACES:
            return None
    return LongText(data, places)


def long_runs(data: bytes) -> set[str]:
    """Return the runs of characters that may be digests, or packed texts."""
    return {match.group().decode().rstrip(":") for match in _long_runs()(data)}


# The end of a reference; and a tag behind a variable, whose brackets separate chunks.
_TAGS = (
    r"/[a-z0-9._-]+[:@][A-Za-z0-9_]|(?:^| )(?:[-_.][a-z0-9._-]*)?:[A-Za-z0-9_]|[$%][A-Za-z_][A-Za-z0-9_]*:[A-Za-z0-9_]"
)


@lru_cache(maxsize=8)
def _search(names: Names) -> Any:
    parts = expressions_of(names)
    return None if parts is None else compiled("|".join((_TAGS, *parts)), "finditer")


@lru_cache(maxsize=1)
def _long_runs() -> Any:
    return compiled(r"[A-Za-z0-9_.\-/:@+$%]{40,}", "finditer")
