"""Find each place of a name, as a whole chunk, in the texts of an object. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from acr_cleanup.clusters.images.object_texts import Text
from acr_cleanup.clusters.images.words import CHUNK_CHARACTERS

_CHUNK = re.compile(r"[A-Za-z0-9_.\-/:@+$%]+")
_FEW = 8
_AROUND = 400


def places_of(named: Collection[str], texts: Sequence[Text]) -> Iterator[tuple[Text, int, str]]:
    """Yield every place of one of these chunks as a whole."""
    if len(named) <= _FEW:
        for text in texts:
            for chunk in named:
                if chunk in text.text:
                    yield from ((text, start, chunk) for start in _starts(text.text, chunk))
        return
    for text in texts:
        for match in _CHUNK.finditer(text.text):
            chunk = match[0]
            if chunk in named or (chunk[-1] == ":" and (chunk := chunk[:-1]) in named):
                yield text, match.start(), chunk


def _starts(text: str, chunk: str) -> Iterator[int]:
    """Yield the places of a whole chunk in a text; places with equal surroundings only once."""
    size = len(chunk)
    if len(text) == size:
        yield 0
        return
    seen: set[tuple[int, str]] = set()
    start = text.find(chunk)
    while start >= 0:
        end = start + size
        is_whole = (start == 0 or text[start - 1] not in CHUNK_CHARACTERS) and (
            end == len(text)
            or text[end] not in CHUNK_CHARACTERS
            or (text[end] == ":" and text[end + 1 : end + 2] in "\n ")
        )
        if is_whole:
            first = max(0, start - _AROUND)
            # The whole of a short text surrounds each of its places: so the distance is a part of what is compared.
            around = (start - first, text[first : end + _AROUND])
            if around not in seen:
                seen.add(around)
                yield start
        start = text.find(chunk, end)
