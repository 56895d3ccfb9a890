"""
The names of a large repository in sorted tuples: a sixth of the memory of a dictionary.

A look-up takes about a microsecond, ten times as long as in a dictionary.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import TypeVar

from acr_cleanup.core.manifests import Tag
from acr_cleanup.core.references import Digest

T = TypeVar("T", bound=str)


class SortedNames(AbstractSet[T]):
    """Distinct names, in their order."""

    def __init__(self, names: Iterable[T] = ()) -> None:
        self._names = tuple(sorted(names))

    def get(self, name: object) -> T | None:
        """The equal name in this set, to share its text; None if there is none."""
        place = bisect_left(self._names, name) if isinstance(name, str) else len(self._names)
        return self._names[place] if place < len(self._names) and self._names[place] == name else None

    def __contains__(self, name: object) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[T]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class DigestsByTag(Mapping[str, Digest]):
    """Tag name -> the digest that it names."""

    def __init__(self, tags: Iterable[Tag] = ()) -> None:
        ordered = sorted(tags, key=attrgetter("name"))
        if any(map(_same_name, ordered, ordered[1:])):
            ordered = list({tag.name: tag for tag in ordered}.values())
        self._names = tuple(tag.name for tag in ordered)
        self._digests = tuple(tag.digest for tag in ordered)

    def __getitem__(self, name: str) -> Digest:
        place = bisect_left(self._names, name)
        if place < len(self._names) and self._names[place] == name:
            return self._digests[place]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def items(self) -> ItemsView[str, Digest]:
        return _Items(self, self._digests)

    def values(self) -> ValuesView[Digest]:
        return _Values(self, self._digests)


class _Items(ItemsView[str, Digest]):
    """Names and digests, without a look-up for each."""

    def __init__(self, tags: DigestsByTag, digests: tuple[Digest, ...]) -> None:
        super().__init__(tags)
        self._names, self._digests = tags, digests

    def __iter__(self) -> Iterator[tuple[str, Digest]]:
        return zip(self._names, self._digests, strict=True)


class _Values(ValuesView[Digest]):
    def __init__(self, tags: DigestsByTag, digests: tuple[Digest, ...]) -> None:
        super().__init__(tags)
        self._digests = digests

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._digests)


def _same_name(tag: Tag, other: Tag) -> bool:
    return tag.name == other.name
