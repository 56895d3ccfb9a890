"""
The looks at one repository, right before each batch of its deletions.

A full look lists the repository and decides it again. In a large repository, later looks read only
the changes, if these prove that the decision is still valid (`core/standing`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from acr_cleanup.concurrency import gather
from acr_cleanup.core.explanation import ManifestReasons
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.references import Digest
from acr_cleanup.core.second_look import Confirmed, confirm, planned_only, still_planned
from acr_cleanup.core.standing import RecentChanges, StandingDecision, independent
from acr_cleanup.core.steps import DeleteManifest, Step
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.errors import AcrCleanupError
from acr_cleanup.stages.attempt import ApplyContext
from acr_cleanup.stages.read_repository import DecidedRepository, decide_repository, off_loop, read_repository

LARGE = 1000
"""
Tags or manifests. The lists of a smaller repository have one page each, and take no more requests
than to ask what has changed.
"""

MARGIN = timedelta(minutes=5)
"""How far the clocks of the registry's servers may differ."""

COUNTS = 2
"""How often a repository is counted: another client may push between the lists and the count."""

BEGUN_STAYS_FRESH = 5.0
"""Seconds. A look that was begun before is not used if the deletions in flight took longer to end."""

FEW = 16
"""
If a plan deletes so few manifests of a repository, their subjects are read before.

The registry deletes a referrer together with its subject, so the referrer must be deleted first. To
read each of many would double the requests. They are deleted in the order of their pushes (`_place`
in core/steps).
"""

SUSPECTS_AT_ONCE = 8
"""Manifests without their planned tags that are requested at once, to see whether they still exist."""

log = logging.getLogger("acr_cleanup.stages.apply")


@dataclass(frozen=True)
class _BegunLook:
    """A look at the changes that was begun: when, and what time it was by the registry's clock."""

    began: float
    now: datetime | None
    settled: asyncio.Event
    changes: asyncio.Future[RecentChanges | None]


@dataclass
class Looks:
    """The looks at one repository."""

    context: ApplyContext
    repository: str
    planned: frozenset[Digest]
    """The manifests that the plan deletes here."""
    _standing: StandingDecision | None = None
    _usage: UsageIndex | None = None
    """The index with which the standing decision was made."""
    _begun: _BegunLook | None = None
    all_referrers: bool = False
    """Read the subjects of deleted manifests, even if they are many."""

    def deleted(self, step: Step) -> None:
        """Note that this step was carried out, or that another client did the same."""
        if self._standing is not None:
            self._standing.deleted(step)

    def start_anew(self, *, all_referrers: bool = False) -> None:
        """
        Require a full look: a step has failed, and what it left behind may keep other items.

        all_referrers: from now on, read the subjects of deleted manifests, too.
        """
        self._standing = None
        self.all_referrers |= all_referrers

    def begin_next(self) -> None:
        """
        Begin to read what has changed, while the last steps that it allowed are still being deleted.

        Only the counts wait until they are `settled`, since deletions in flight change them.
        """
        if self._standing is not None and self._begun is None:
            self._begun = self._begin(self._standing)

    def settled(self) -> None:
        """Note that no deletion is in flight."""
        if self._begun is not None:
            self._begun.settled.set()

    async def discard_begun(self) -> None:
        """Give up what `begin_next` began."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.changes.cancel()
            await asyncio.gather(begun.changes, return_exceptions=True)

    def _begin(self, standing: StandingDecision) -> _BegunLook:
        registry, settled = self.context.registry, asyncio.Event()
        now, began = registry.now(), asyncio.get_running_loop().time()
        reading = registry.read_changes(self.repository, standing.since, standing.digests, settled)
        return _BegunLook(began, now, settled, asyncio.ensure_future(reading))

    async def still_stands(self, usage: UsageIndex) -> float | None:
        """
        Is the last decision still valid for the steps that it covers?

        Returns when the look that shows it began. None: a full look must follow. Any doubt and any
        error is a no.
        """
        standing = self._standing
        if standing is None or usage is not self._usage:
            # New uses may keep anything.
            await self.discard_begun()
            return None
        if self._begun is not None and asyncio.get_running_loop().time() - self._begun.began > BEGUN_STAYS_FRESH:
            await self.discard_begun()
        try:
            for _ in range(COUNTS):
                look = self._begun = self._begun or self._begin(standing)
                look.settled.set()
                changes = await look.changes
                self._begun = None
                if look.now is None or changes is None or not standing.accepts(changes):
                    break
                if standing.agrees(changes):
                    standing.since = look.now - MARGIN
                    return look.began
        except AcrCleanupError:
            log.debug("asking what has changed in %s", self.repository, exc_info=True)
        self._begun = self._standing = None
        return None

    def covers(self, step: Step) -> bool:
        """May this step be carried out while the decision is valid?"""
        return self._standing is not None and step.digest in self._standing.planned

    def covered_and_others(self, steps: Sequence[Step]) -> tuple[Sequence[Step], Sequence[Step]]:
        """Return the steps that may be carried out while the decision is valid, and the others."""
        if self._standing is None:
            return (), steps
        planned = self._standing.planned
        covered = [step for step in steps if step.digest in planned]
        return covered, [step for step in steps if step.digest not in planned] if len(covered) < len(steps) else ()

    async def look(
        self,
        usage: UsageIndex,
        steps: Sequence[Step],
        rest: Sequence[Step],
        *,
        deleted: AbstractSet[Digest],
        not_deleted: AbstractSet[Digest],
    ) -> tuple[Confirmed, Sequence[Step]]:
        """
        List the repository and decide it again.

        Returns which of `steps` are confirmed, and `rest` with the steps as they are now that the
        decision covers (`covers`).

        deleted, not_deleted: manifests that this run has deleted, or could not delete.
        """
        context, plan = self.context, self.context.plan
        self._standing = None
        now = context.registry.now()
        orphans = {step.digest for step in (*steps, *rest) if not step.tags and not deleted.isdisjoint(step.after)}
        inventory = await read_repository(
            context.registry,
            self.repository,
            usage,
            plan.policy,
            plan.created_at,
            all_referrers=context.backup or self.all_referrers or len(self.planned) <= FEW,
            retained=frozenset(not_deleted),
            orphans=frozenset(orphans),
        )
        inventory = await self._without_gone(inventory, steps)
        evidence = Evidence(inventory, usage, plan.policy, plan.created_at)
        decided = await decide_repository(evidence, context.untagged_expire)
        # The other decisions are not needed, and take memory while the inventory does, too.
        shorten = partial(_planned_only, decided, (*steps, *rest))
        decided = await off_loop(len(inventory.tags), shorten)
        del shorten
        await off_loop(len(inventory.tags), partial(context.on_inventory, inventory, usage))
        return await off_loop(len(inventory.tags), partial(self._compared, decided, steps, rest, now))

    def _compared(
        self, decided: DecidedRepository, steps: Sequence[Step], rest: Sequence[Step], now: datetime | None
    ) -> tuple[Confirmed, Sequence[Step]]:
        """The steps as a new decision shows them. `now`: when its look began, by the registry's clock."""
        evidence, plan = decided.evidence, decided.plan
        inventory, reasons = evidence.inventory, ManifestReasons(evidence, plan)
        confirmed = confirm(
            steps, plan, inventory, lambda digest: reasons.decision_on(digest).reasons, earlier=self.planned
        )
        if now is not None and max(len(inventory.tags), len(inventory.manifests)) > LARGE:
            compared = tuple(still_planned(rest, plan, inventory, self.planned))
            alone = independent((*confirmed.steps, *(deletion or step for step, deletion in compared)))
            covered = [deletion for _, deletion in compared if deletion is not None and deletion.digest in alone]
            covered += [step for step in confirmed.steps if isinstance(step, DeleteManifest) and step.digest in alone]
            self._standing = StandingDecision.of(inventory, covered, evidence.policy, now - MARGIN)
            self._usage = evidence.usage
            rest = [deletion if deletion is not None and self.covers(step) else step for step, deletion in compared]
        return confirmed, rest

    async def _without_gone(self, inventory: RepositoryInventory, steps: Sequence[Step]) -> RepositoryInventory:
        """
        The inventory without planned manifests that another client deleted while it was listed.

        The tags of such a manifest are gone already, but the list of manifests may be older.
        """
        gone: set[Digest] = set()

        async def look_for(digest: Digest) -> None:
            if not await self.context.registry.resolves(self.repository, digest):
                gone.add(digest)

        suspects = [
            step.digest
            for step in steps
            if isinstance(step, DeleteManifest)
            and step.digest in inventory.manifests
            and step.digest not in inventory.tags_of
            and step.tags
            and inventory.names.isdisjoint(tag.name for tag in step.tags)
        ]
        await gather([partial(look_for, digest) for digest in suspects], limit=SUSPECTS_AT_ONCE)
        return inventory.without(gone)


def _planned_only(decided: DecidedRepository, planned: Sequence[Step]) -> DecidedRepository:
    return replace(decided, plan=planned_only(decided.plan, planned))
