"""
The plans of many repositories in little room: each is kept as bytes, and made anew whenever somebody asks for it.

As values, a tag with its digest, its time and its reasons takes 650 bytes, and a registry may hold a million tags; packed it takes
an eighth of that. Nobody needs more than one repository at a time: what is asked of all of them at once is in their tallies.
"""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from operator import attrgetter
from typing import Any, overload

from acr_cleanup.core.plan import Decision, ManifestDecision, RepositoryPlan, RepositoryPlans, Step, Tally

PART = 1000
"""Tags that are packed together."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The plan of one repository as bytes of our own making, which never leave the process; its tally can be read as it is."""

    tally: Tally
    rest: bytes
    """The plan without what there may be hundreds of thousands of."""
    parts: tuple[bytes, ...]
    """Decisions, steps, and decisions about manifests without tags, some of each in every part."""

    @classmethod
    def of(cls, plan: RepositoryPlan) -> Packed:
        most = max(len(plan.decisions), len(plan.steps), len(plan.untagged))
        # In parts, for packing takes three times the room of what is packed.
        parts = (
            _packed((plan.decisions[some], plan.steps[some], plan.untagged[some]))
            for some in (slice(start, start + PART) for start in range(0, most, PART))
        )
        return cls(plan.tally, _packed(replace(plan, decisions=(), steps=(), untagged=())), tuple(parts))

    def unpacked(self) -> RepositoryPlan:
        """A plan equal to the one that was packed."""
        decisions: list[Decision] = []
        steps: list[Step] = []
        untagged: list[ManifestDecision] = []
        for part in self.parts:
            some = _unpacked(part)
            decisions += some[0]
            steps += some[1]
            untagged += some[2]
        rest: RepositoryPlan = _unpacked(self.rest)
        return replace(rest, decisions=tuple(decisions), steps=tuple(steps), untagged=tuple(untagged))


class PackedPlans(RepositoryPlans):
    """Plans of repositories, by name; every one that is handed out is made for whoever asks."""

    def __init__(self, plans: Iterable[Packed]) -> None:
        self._plans = tuple(sorted(plans, key=lambda plan: plan.tally.repository))

    @property
    def tallies(self) -> tuple[Tally, ...]:
        return tuple(plan.tally for plan in self._plans)

    def __len__(self) -> int:
        return len(self._plans)

    def __iter__(self) -> Iterator[RepositoryPlan]:
        return (plan.unpacked() for plan in self._plans)

    @overload
    def __getitem__(self, place: int) -> RepositoryPlan: ...

    @overload
    def __getitem__(self, place: slice) -> PackedPlans: ...

    def __getitem__(self, place: int | slice) -> RepositoryPlan | PackedPlans:
        if isinstance(place, slice):
            return PackedPlans(self._plans[place])
        return self._plans[place].unpacked()


def _packed(value: object) -> bytes:
    made = io.BytesIO()
    _Pickler(made, pickle.HIGHEST_PROTOCOL).dump(value)
    return zlib.compress(made.getbuffer(), level=1)


def _unpacked(data: bytes) -> Any:
    return pickle.loads(zlib.decompress(data))  # noqa: S301


class _Pickler(pickle.Pickler):
    """
    Writes a dataclass as its fields, which takes a third of the time of what Python does for frozen ones with slots.

    What occurs twice is written once, as always: a digest is shared by its tags and its manifest again when it is read.
    """

    def reducer_override(self, value: Any) -> Any:
        kind: Any = type(value)
        values_of = _values_of(kind)
        return NotImplemented if values_of is None else (kind, values_of(value))


@cache
def _values_of(kind: Any) -> Callable[[Any], tuple[Any, ...]] | None:
    """What gets the values that a dataclass is made of; None for any other type."""
    if not is_dataclass(kind):
        return None
    names = [field.name for field in fields(kind)]
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda value: (get(value),)
