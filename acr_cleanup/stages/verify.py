"""
Asks the registry whether what is used can be pulled: before a run for what is missing already, after it for what still stands.

What a listing does not show is asked for by itself, and more than once: a registry that is replicated may answer with what was
true a moment ago, and what is unlisted can be pulled all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from acr_cleanup.concurrency import gather, unless_stopped
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.core.verification import Baseline, Broken, Comparison, Missing, Proof, compare, missing_references
from acr_cleanup.errors import AcrCleanupError, RegistryError
from acr_cleanup.stages.registry_port import Registry

SETTLE = 5.0
"""Seconds after which what looks broken is looked at once more: a replica may lag behind."""

REPOSITORIES_AT_ONCE = 8
ASKED_AT_ONCE = 8

_WENT = frozenset({OutcomeKind.DELETED, OutcomeKind.GONE, OutcomeKind.FAILED})
"""A failed deletion may have been carried out all the same."""

log = logging.getLogger("acr_cleanup.stages.verify")


async def find_missing(inventory: RepositoryInventory, usage: UsageIndex, registry: Registry) -> tuple[Missing, ...]:
    """What is used and cannot be pulled. What the registry does not answer for counts as missing, as its lists say."""

    async def there(missing: Missing) -> bool:
        try:
            return await registry.resolves(missing.repository, missing.name)
        except RegistryError:
            log.debug("looking for %s", missing, exc_info=True)
            return False

    found = missing_references(inventory, usage)
    known = await gather([partial(there, each) for each in found], limit=ASKED_AT_ONCE)
    return tuple(each for each, there in zip(found, known, strict=True) if not there)


@dataclass
class Witness:
    """Remembers what stood in each repository before the first deletion there, and the last uses that were read."""

    standing: dict[str, Baseline] = field(default_factory=dict)
    usage: UsageIndex | None = None

    def look(self, inventory: RepositoryInventory, usage: UsageIndex) -> None:
        if inventory.name not in self.standing:
            self.standing[inventory.name] = Baseline.of(inventory)
        self.usage = usage


async def prove(
    plan: Plan, witness: Witness, outcomes: Iterable[Outcome], registry: Registry, stop: asyncio.Event
) -> Proof | None:
    """
    Look at every repository in which something was deleted once more; None if there is none.

    Whatever hinders that is told in the proof, never raised: what was deleted must be reported all the same.
    """
    changed = _changed(outcomes, witness)
    if not changed:
        return None
    if stop.is_set():
        return Proof(skipped=True)
    try:
        return await unless_stopped(_Prover(plan, witness, registry).run(changed), stop)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return Proof(skipped=True)
    except Exception as error:  # likewise
        log.debug("looking afterwards", exc_info=True)
        return Proof(unproven=(f"unexpected: {type(error).__name__}: {error}",))


def _changed(outcomes: Iterable[Outcome], witness: Witness) -> dict[str, dict[str, bool]]:
    """By repository, what was to go and may be gone, and whether it was deleted by us."""
    went: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.kind in _WENT:
            name = outcome.digest if outcome.tag is None else outcome.tag
            went[outcome.repository][name] = outcome.kind is not OutcomeKind.GONE
    return {name: found for name, found in went.items() if name in witness.standing and any(found.values())}


@dataclass
class _Prover:
    plan: Plan
    witness: Witness
    registry: Registry
    unproven: list[str] = field(default_factory=list)

    async def run(self, changed: Mapping[str, Mapping[str, bool]]) -> Proof:
        works = [partial(self._compare, name, went) for name, went in sorted(changed.items())]
        seen = await gather(works, limit=REPOSITORIES_AT_ONCE)
        compared = [each for each in seen if each is not None]
        suspects = [(each, True) for found in compared for each in found.suspects]
        suspects += [(each, False) for found in compared for each in found.absent]
        if suspects := await self._ask(suspects):
            await asyncio.sleep(SETTLE)
            suspects = await self._ask(suspects)
        notes = [note for found in compared for note in found.notes]
        return Proof(
            repositories=len(compared),
            references=sum(found.references for found in compared),
            broken=tuple(each for each, breaks in suspects if breaks),
            notes=(*notes, *(f"{each} {each.seen}." for each, breaks in suspects if not breaks)),
            unproven=tuple(sorted(self.unproven)),
        )

    async def _compare(self, name: str, went: Mapping[str, bool]) -> Comparison | None:
        try:
            after = await self.registry.list_repository(name)
        except AcrCleanupError as error:
            self.unproven.append(f"{name}: {error}")
            return None
        return compare(
            self.witness.standing[name],
            after,
            self.plan.usage,
            self.witness.usage or self.plan.usage,
            missing={missing.name for missing in self.plan.missing if missing.repository == name},
            deleted=went,
        )

    async def _ask(self, suspects: Sequence[tuple[Broken, bool]]) -> list[tuple[Broken, bool]]:
        """Those of the suspects that the registry does not have; of what it gives no answer for nothing is proven."""

        async def gone(broken: Broken) -> bool:
            try:
                return not await self.registry.resolves(broken.repository, broken.name)
            except AcrCleanupError as error:
                self.unproven.append(
                    f"{broken} is not listed any more, and the registry gives no answer for it: {error}"
                )
                return False

        answers = await gather([partial(gone, broken) for broken, _ in suspects], limit=ASKED_AT_ONCE)
        return [suspect for suspect, answer in zip(suspects, answers, strict=True) if answer]
