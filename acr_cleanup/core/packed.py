"""
The plans of many repositories in little memory: each is stored as bytes and unpacked on every
access.

As values, a tag with its digest, time and reasons takes 650 bytes; packed it takes an eighth of
that. A registry may have a million tags. Readers need one repository at a time, and the totals of
all of them are in the tallies.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, overload

from acr_cleanup.core.plan import Decision, ManifestDecision, RepositoryPlan, RepositoryPlans
from acr_cleanup.core.steps import Step
from acr_cleanup.core.tally import Tally

PART = 1000
"""Tags per packed part."""


@dataclass(frozen=True, slots=True)
class Packed:
    """
    The plan of one repository as bytes, with its tally unpacked.

    The bytes are pickled. They are made and read by this process only, so unpickling them is safe.

    rest: the plan without decisions, steps and untagged decisions, of which there may be hundreds
        of thousands.
    parts: slices of these three, `PART` of each.
    """

    tally: Tally
    rest: bytes
    parts: tuple[bytes, ...]

    @classmethod
    def of(cls, plan: RepositoryPlan) -> Packed:
        longest = max(len(plan.decisions), len(plan.steps), len(plan.untagged))
        # In parts, because packing needs three times the memory of what is packed at once.
        slices = (slice(start, start + PART) for start in range(0, longest, PART))
        parts = (_packed((plan.decisions[part], plan.steps[part], plan.untagged[part])) for part in slices)
        return cls(plan.tally, _packed(replace(plan, decisions=(), steps=(), untagged=())), tuple(parts))

    def unpacked(self) -> RepositoryPlan:
        """A plan that equals the packed one."""
        decisions: list[Decision] = []
        steps: list[Step] = []
        untagged: list[ManifestDecision] = []
        for part in self.parts:
            part_decisions, part_steps, part_untagged = _unpacked(part)
            decisions += part_decisions
            steps += part_steps
            untagged += part_untagged
        rest: RepositoryPlan = _unpacked(self.rest)
        return replace(rest, decisions=tuple(decisions), steps=tuple(steps), untagged=tuple(untagged))

    def to_apply(self) -> RepositoryPlan:
        """The plan with its steps, but without its decisions. Only one part is unpacked at a time."""
        rest: RepositoryPlan = _unpacked(self.rest)
        return replace(rest, steps=tuple(step for part in self.parts for step in _unpacked(part)[1]))


class PackedPlans(RepositoryPlans):
    """The plans of many repositories, sorted by name. Every access unpacks a new copy."""

    def __init__(self, plans: Iterable[Packed]) -> None:
        self._plans = tuple(sorted(plans, key=lambda plan: plan.tally.repository))

    @property
    def tallies(self) -> tuple[Tally, ...]:
        return tuple(plan.tally for plan in self._plans)

    def to_apply(self, place: int) -> RepositoryPlan:
        return self._plans[place].to_apply()

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
    # A value that occurs twice is written once, so that tags and manifest share a digest again after
    # unpacking.
    return zlib.compress(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), level=1)


def _unpacked(data: bytes) -> Any:
    return pickle.loads(zlib.decompress(data))  # noqa: S301
