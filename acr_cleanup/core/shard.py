"""Shards: parts of a large registry, split by repository name, for runs that share the work."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 1000
"""
Most shards of one registry.

Each reads every cluster. GitHub runs at most 256 jobs of a matrix.
"""


@dataclass(frozen=True, slots=True)
class Shard:
    """
    One of `of` disjoint parts of the registry, numbered from 1. Together they contain every
    repository.

    >>> str(Shard(3, 8))
    '3/8'
    """

    part: int = 1
    of: int = 1

    @property
    def is_whole(self) -> bool:
        return self.of == 1

    def includes(self, repository: str) -> bool:
        """Does this repository belong to the shard?"""
        return self.is_whole or part_of(repository, self.of) == self.part

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"


WHOLE = Shard()
"""The whole registry as one shard."""


def part_of(repository: str, of: int) -> int:
    """
    The number of the shard of a repository, from 1 to `of`.

    It is a hash of the name, equal on every machine and in every version. Parallel runs must never
    share a repository, and a run must work on the same ones as last week's.

    >>> part_of("shop/web", 8)
    2
    """
    from hashlib import sha256  # noqa: PLC0415  slow to load, and `--help` imports this module

    return int.from_bytes(sha256(repository.encode()).digest()) % of + 1
