"""Which part of a registry a repository belongs to, so that a large one can be cleaned in parts: by its name alone."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

MOST = 1000
"""Parts of one registry. Each of them reads every cluster; GitHub runs 256 jobs of a matrix at most."""


@dataclass(frozen=True, slots=True)
class Shard:
    """
    The repositories whose part is number `part` of `of` (from 1): the parts share none, and together they are all.

    >>> str(Shard(3, 8))
    '3/8'
    """

    part: int = 1
    of: int = 1

    @property
    def is_whole(self) -> bool:
        return self.of == 1

    def holds(self, repository: str) -> bool:
        """Does this repository belong to it?"""
        return self.is_whole or part_of(repository, self.of) == self.part

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"


WHOLE = Shard()
"""All of the registry."""


def part_of(repository: str, of: int) -> int:
    """
    The number of its part, from 1 to `of`.

    From a hash of the bytes of the name, which is the same on every machine and in every version: today's run must mean the
    repositories that last week's meant, and the one beside it must not mean them too.

    >>> part_of("shop/web", 8)
    2
    """
    return int.from_bytes(sha256(repository.encode()).digest()) % of + 1
