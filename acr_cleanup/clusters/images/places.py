"""Find each place of a name, as a whole chunk, in the texts of an object. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from acr_cleanup.clusters.images.finder import compiled
from acr_cleanup.clusters.images.object_texts import Text
from acr_cleanup.clusters.images.words import CHUNK_CHARACTERS

_CHUNK = re.compile(r"[A-Za-z0-9_.\-/:@+$%]+")
_FEW = 8
_LONG_TEXTS = 32 << 10
_AROUND = 400


def places_of(named: Collection[str], texts: Sequence[Text]) -> Iterator[tuple[Text, int, str]]:
    """Yield every place of one of these chunks as a whole."""
    if len(named) <= _FEW:
        for text in texts:
            for chunk in named:
                if chunk in text.text:
                    yield from ((text, start, chunk) for start in _starts(text.text, chunk))
        return
    search = _search_of(named) if sum(len(text.text) for text in texts) > _LONG_TEXTS else None
    for text in texts:
        if search is not None and text.text.isascii():
            spans = (match.span() for match in search(text.text.encode()))
            places = [span for span in spans if text.text[max(0, span[0] - 1) : span[0]] not in CHUNK_CHARACTERS]
        else:
            places = [match.span() for match in _CHUNK.finditer(text.text)]
        for start, end in places:
            chunk = text.text[start:end]
            if chunk in named or (chunk[-1] == ":" and (chunk := chunk[:-1]) in named):
                yield text, start, chunk


def _search_of(chunks: Iterable[str]) -> Any:
    """A search for whole chunks in a long text, which costs less than splitting it; None if they are too many."""
    return compiled(rf"(?:{'|'.join(map(re.escape, sorted(chunks)))})[A-Za-z0-9_.\-/:@+$%]*", "finditer")


def _starts(text: str, chunk: str) -> Iterator[int]:
    """Yield the places of a whole chunk in a text; places with equal surroundings only once."""
    size = len(chunk)
    if len(text) == size:
        yield 0
        return
    seen: set[str] = set()
    start = text.find(chunk)
    while start >= 0:
        end = start + size
        is_whole = (start == 0 or text[start - 1] not in CHUNK_CHARACTERS) and (
            end == len(text)
            or text[end] not in CHUNK_CHARACTERS
            or (text[end] == ":" and text[end + 1 : end + 2] in "\n ")
        )
        if is_whole:
            around = text[max(0, start - _AROUND) : end + _AROUND]
            if around not in seen:
                seen.add(around)
                yield start
        start = text.find(chunk, end)
