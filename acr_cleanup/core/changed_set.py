"""A set that begins as a large one, which it shares with others, and then changes a little."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import TypeVar

T = TypeVar("T")


class ChangedSet(AbstractSet[T]):
    """base: a collection with quick look-up. It must not change."""

    def __init__(self, base: Collection[T]) -> None:
        self._base = base
        self._removed: set[T] = set()
        self._added: set[T] = set()

    def __contains__(self, item: object) -> bool:
        return item in self._added or (item in self._base and item not in self._removed)

    def __len__(self) -> int:
        return len(self._base) - len(self._removed) + len(self._added)

    def __iter__(self) -> Iterator[T]:
        yield from (item for item in self._base if item not in self._removed)
        yield from self._added

    def remove_all(self, items: Iterable[T]) -> None:
        for item in items:
            self._added.discard(item)
            if item in self._base:
                self._removed.add(item)

    def add_all(self, items: Iterable[T]) -> None:
        for item in items:
            self._removed.discard(item)
            if item not in self._base:
                self._added.add(item)
