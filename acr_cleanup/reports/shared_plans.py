"""Plans of which the last one remains unpacked, for reports that are written in turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from acr_cleanup.core.plan import RepositoryPlan, RepositoryPlans
from acr_cleanup.core.tally import Tally


class SharedPlans(RepositoryPlans):
    """
    The same plans. Readers that are at the same repository share its unpacked plan.

    A reader at another repository gets a correct plan as well: it is then unpacked again.
    """

    def __init__(self, plans: RepositoryPlans) -> None:
        self._plans = plans
        self._place = -1
        self._last: RepositoryPlan | None = None

    @property
    def tallies(self) -> tuple[Tally, ...]:
        return self._plans.tallies

    def to_apply(self, place: int) -> RepositoryPlan:
        return self._plans.to_apply(place)

    def __len__(self) -> int:
        return len(self._plans)

    def __iter__(self) -> Iterator[RepositoryPlan]:
        return map(self.__getitem__, range(len(self)))

    @overload
    def __getitem__(self, place: int) -> RepositoryPlan: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[RepositoryPlan]: ...

    def __getitem__(self, place: int | slice) -> RepositoryPlan | Sequence[RepositoryPlan]:
        if isinstance(place, slice):
            return self._plans[place]
        if self._last is None or place != self._place:
            self._last = None  # two unpacked plans would need twice the memory
            self._place, self._last = place, self._plans[place]
        return self._last
