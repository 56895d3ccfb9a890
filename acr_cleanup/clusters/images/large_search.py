"""Search the tags of one repository in the words of large objects, and in the words of which tags are made. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from typing import Any

from acr_cleanup.clusters.images.finder import compiled
from acr_cleanup.clusters.images.words import is_distinctive, spellings

_SEPARATOR = re.compile(r"([-_])")
_MOST_PARTS = 9
_MOST_WORDS = 5_000
_BEGINNINGS = frozenset({"sha", "git", "release"})
"""Words that pipelines put before a commit or a version: `sha-a1b2c3d`."""

Unpacked = tuple[Collection[bytes], Container[bytes]]
"""The words of an object, and the same with those of letters alone."""


class _AnyLetters:
    def __contains__(self, word: object) -> bool:
        return isinstance(word, bytes) and word.isalpha()


ANY_LETTERS = _AnyLetters()


class LargeSearch:
    """`expression`: finds the beginnings of words that may be a tag, or a part of one; None if they are too many."""

    def __init__(self, forms: Iterable[str]) -> None:
        self._whole: defaultdict[bytes, list[str]] = defaultdict(list)
        self._parts: defaultdict[bytes, list[str]] = defaultdict(list)
        for form in forms:
            for spelling in spellings(form):
                self._whole[spelling.encode()].append(form)
            for part in distinctive_parts(form):
                for spelling in spellings(part):
                    self._parts[spelling.encode()].append(form)
        self._words = self._whole.keys() | self._parts.keys()
        alternatives = "|".join(re.escape(word.decode()) for word in sorted(self._words))
        self.expression: Any = (
            compiled(f"(?:^| )(?:{alternatives})", "finditer") if len(self._words) <= _MOST_WORDS else None
        )

    def forms_in(self, text: bytes, unpacked: Callable[[], Unpacked]) -> list[str]:
        """The tags in this text, whose words are separated by blanks. It is unpacked only if it has a part of a tag."""
        found: set[bytes] = set()
        for match in self.expression(text):
            start, end = match.span()
            stop = text.find(b" ", end)
            found.add(text[start : stop if stop >= 0 else len(text)].strip())
        return self._forms(found & self._words, unpacked)

    def forms_among(self, words: Collection[bytes], letters: Container[bytes]) -> list[str]:
        """The tags among these words."""
        return self._forms(self._words.intersection(words), lambda: (words, letters))

    def _forms(self, found: Collection[bytes], unpacked: Callable[[], Unpacked]) -> list[str]:
        forms = {form: None for word in found for form in self._whole.get(word, ())}
        parts = {form for word in found for form in self._parts.get(word, ())} - forms.keys()
        if parts:
            forms |= {form: None for form in sorted(parts) if made_of(form, *unpacked())}
        return list(forms)


def distinctive_parts(form: str) -> Iterator[str]:
    """The contiguous parts of a tag between its separators, but not the whole, that are distinctive."""
    pieces = _SEPARATOR.split(form)[: 2 * _MOST_PARTS]
    for start in range(0, len(pieces), 2):
        for end in range(start + 1, len(pieces) + 1, 2):
            if end - start < len(pieces) and is_distinctive(part := "".join(pieces[start:end])):
                yield part


def made_of(form: str, words: Collection[bytes], letters: Container[bytes]) -> bool:
    """Is this tag made of these words, joined by `-` or `_`, one of which is distinctive?"""
    pieces = _SEPARATOR.split(form)
    if len(pieces) < 3 or len(pieces) > 2 * _MOST_PARTS:
        return False
    # For each beginning: can it be made, and with a distinctive word?
    made: dict[int, bool] = {0: False}
    for end in range(1, len(pieces) + 1, 2):
        for start in range(0, end, 2):
            if start in made and not (start == 0 and end == len(pieces)):
                part = "".join(pieces[start:end])
                is_known = part.encode() in letters or (start == 0 and part in _BEGINNINGS)
                if is_known or any(spelling.encode() in words for spelling in spellings(part)):
                    made[end + 1] = made.get(end + 1, False) or made[start] or is_distinctive(part)
    return made.get(len(pieces) + 1, False)
