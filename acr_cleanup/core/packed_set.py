"""A set of byte strings of one length, in little memory: a million of them take a few megabytes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PackedSet:
    """
    The items, sorted and joined.

    width: the length of each item, in bytes.
    """

    width: int
    data: bytes = b""

    @classmethod
    def of(cls, items: Iterable[bytes], width: int) -> PackedSet:
        return cls(width, b"".join(sorted(set(items))))

    def __len__(self) -> int:
        return len(self.data) // self.width

    def __iter__(self) -> Iterator[bytes]:
        return map(self._item, range(len(self)))

    def __contains__(self, item: bytes) -> bool:
        place = bisect_left(range(len(self)), item, key=self._item)
        return self._item(place) == item

    def _item(self, place: int) -> bytes:
        return self.data[place * self.width : (place + 1) * self.width]
