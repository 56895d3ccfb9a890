"""
Deletes the planned steps of one repository, and checks the repository again before each batch.

One failing step never stops the others, and every step ends in exactly one outcome per tag and
manifest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

from acr_cleanup.concurrency import StopGuard, unless_stopped
from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.references import Digest
from acr_cleanup.core.second_look import Confirmed
from acr_cleanup.core.steps import DeleteManifest, Step, waves
from acr_cleanup.core.usage import Blocker
from acr_cleanup.errors import AcrCleanupError
from acr_cleanup.records.journal import JournalError
from acr_cleanup.stages.attempt import ApplyContext, Attempt
from acr_cleanup.stages.fresh_usage import UsageBlockedError
from acr_cleanup.stages.looks import Looks

LOOK_EVERY = 500
"""Steps of one repository that may follow one look at it."""

BEGIN_NEXT_LOOK = 32
"""
Unfinished steps of a batch at which the next look begins, so that no time passes without deletions.

As many may be in flight. A smaller batch ends before the look would.
"""

LOOK_STAYS_FRESH = 20.0
"""
Seconds after which a look is too old for a deletion to start. A throttled batch can take minutes.

They count from its first request. If a look itself takes more than half as long, its steps get half
as long after it: otherwise no deletion could start in a very large repository.
"""

GRACE_AFTER_STOP = 2.0
"""
Seconds to wait for the answer to a deletion that was sent before the run was stopped.

A CI system kills the process a few seconds later; the remaining time is needed for the reports.
"""

LOCK_GRACE_AFTER_STOP = 3.0
"""
Seconds that restoring locks may take after the run was stopped. In other runs there is no limit.
"""

log = logging.getLogger("acr_cleanup.stages.apply")


@dataclass
class RepositoryApply:
    """The steps of one repository, and their outcomes so far."""

    context: ApplyContext
    planned: RepositoryPlan
    outcomes: list[Outcome] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Locks that were removed and could not be restored."""
    blockers: tuple[Blocker, ...] = ()
    looked_at: float = 0.0
    """When the last look began, and so how old it is: what it saw first may have changed since."""
    look_took: float = 0.0
    deleted: set[Digest] = field(default_factory=set)
    """The manifests that this run has deleted here."""
    _unfinished: int = 0
    """Steps of this batch that are not finished, if a look at the changes may follow it."""
    not_deleted: set[Digest] = field(default_factory=set)
    """Digests of failed or refused deletions. Steps that must come after them are not attempted."""

    async def run(self) -> None:
        """Run all steps. Failures become outcomes or blockers."""
        remaining: Sequence[Step] = self.planned.steps
        if self.planned.error:
            # Only with a reviewed plan: the repository could not be listed, so the limits were not
            # checked for it.
            detail = f"its repository could not be read: {self.planned.error}"
            self._close(remaining, OutcomeKind.FAILED, detail)
            return
        try:
            async with self._in_progress.watch():
                while remaining:
                    # First those for which no full look is necessary.
                    covered, waiting = self.looks.covered_and_others(remaining)
                    if covered:
                        late, rest = await self._batch(covered[:LOOK_EVERY], (*covered[LOOK_EVERY:], *waiting))
                    else:
                        late, rest = await self._batch(waiting[:LOOK_EVERY], waiting[LOOK_EVERY:])
                    remaining = (*late, *rest)
        finally:
            await self.looks.discard_begun()

    async def _batch(self, steps: Sequence[Step], rest: Sequence[Step]) -> tuple[Sequence[Step], Sequence[Step]]:
        """
        Look at the repository once, and run the confirmed steps.

        Returns the steps for which this look became too old, and `rest` as the look shows it.
        """
        if self._stopped:
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, self._why_stopped())
            return (), rest
        context = self.context
        steps = self._without_waiting(steps)
        if not steps:
            return (), rest
        try:
            confirmed, rest = await unless_stopped(self._look(steps, rest), context.stop)
            order = tuple(waves(confirmed.steps))
        except UsageBlockedError as blocked:
            self.blockers = blocked.blockers
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, "a cluster can no longer be read completely")
            return (), rest
        except asyncio.CancelledError:
            if not context.stop.is_set():
                raise
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, "the run was stopped")
            return (), rest
        except Exception as error:  # the outcomes of the other repositories must not be lost
            log.debug("checking %s again", self.planned.repository, exc_info=True)
            known = isinstance(error, AcrCleanupError)
            text = str(error) if known else f"unexpected error: {type(error).__name__}: {error}"
            self._close(steps, OutcomeKind.FAILED, f"could not be checked again: {text}")
            return (), rest

        awaited = {digest for step in confirmed.steps for digest in step.after}
        if early := [step for step in rest if isinstance(step, DeleteManifest) and step.digest in awaited]:
            # The plan did not know that these must be deleted before: it read fewer subjects.
            return (*early, *steps), [step for step in rest if step not in early]
        self._note(confirmed.outcomes)
        self.not_deleted |= {
            outcome.digest
            for outcome in confirmed.outcomes
            if outcome.tag is None and outcome.kind is not OutcomeKind.GONE
        }
        late: list[Step] = []
        # Only a standing decision covers steps of `rest`.
        self._unfinished = len(confirmed.steps) if any(map(self.looks.covers, rest)) else 0
        for wave in order:
            upcoming = iter(wave)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(context.workers, len(wave))):
                    group.create_task(self._work(upcoming, late))
        self.looks.settled()
        # Send the request for the counts now, and not after the work for the next batch.
        await asyncio.sleep(0)
        return late, rest

    async def _look(self, steps: Sequence[Step], rest: Sequence[Step]) -> tuple[Confirmed, Sequence[Step]]:
        """Return the `steps` that may be carried out now, and `rest` as the look shows it."""
        usage = await self.context.usage.get()
        loop = asyncio.get_running_loop()
        confirmed = Confirmed(tuple(steps), ())
        began = await self.looks.still_stands(usage) if all(map(self.looks.covers, steps)) else None
        if began is None:
            await self.looks.discard_begun()
            began = loop.time()
            confirmed, rest = await self.looks.look(
                usage, steps, rest, deleted=self.deleted, not_deleted=self.not_deleted
            )
        self.looked_at, self.look_took = began, loop.time() - began
        return confirmed, rest

    def _without_waiting(self, steps: Sequence[Step]) -> Sequence[Step]:
        """The steps without those that must come after a deletion that failed. They are closed."""
        remaining = []
        for step in steps:
            if obstacle := self._obstacle(step):
                self._close((step,), OutcomeKind.NOT_ATTEMPTED, obstacle)
            else:
                remaining.append(step)
        return remaining

    async def _work(self, upcoming: Iterator[Step], late: list[Step]) -> None:
        for step in upcoming:
            await self._step(step, late)

    async def _step(self, step: Step, late: list[Step]) -> None:
        async with self.context.ahead:
            if not self._in_time():
                late.append(step)
            elif obstacle := self._obstacle(step):
                self._close((step,), OutcomeKind.NOT_ATTEMPTED, obstacle)
            else:
                kind, detail = await self._attempt(step)
                if kind is None:
                    late.append(step)
                else:
                    self._close((step,), kind, detail)
        self._unfinished -= 1
        if self._unfinished == BEGIN_NEXT_LOOK:
            self.looks.begin_next()

    @property
    def _stopped(self) -> bool:
        return self.context.stop.is_set() or bool(self.blockers)

    def _in_time(self) -> bool:
        """
        Is the last check fresh enough? If not, it is too old for the following steps as well, so
        their order is kept.
        """
        age = asyncio.get_running_loop().time() - self.looked_at
        return self._stopped or age <= max(LOOK_STAYS_FRESH, self.look_took + LOOK_STAYS_FRESH / 2)

    def _obstacle(self, step: Step) -> str:
        """Why this step must not run now; empty if it may."""
        if self._stopped:
            return self._why_stopped()
        if waiting := self.not_deleted.intersection(step.after):
            return f"{min(waiting)} had to be deleted first, and was not"
        return ""

    def _why_stopped(self) -> str:
        if self.context.stop.is_set() or not self.blockers:
            return "the run was stopped"
        return self.blockers[0].seen

    async def _attempt(self, step: Step) -> tuple[OutcomeKind | None, str]:
        """
        Run one step. Returns outcome and detail; the outcome is None if the last check is too old.
        """
        attempt = Attempt(self.context, self.planned.repository, step)
        kind: OutcomeKind | None = OutcomeKind.FAILED
        detail = "the run was cut short"
        try:
            kind, detail = await self._outcome(attempt)
        finally:
            # Also when the run is cancelled: nothing may be left unlocked.
            if attempt.unlocked and kind is not OutcomeKind.DELETED:
                lost, exists = await self._restore_locks(step, attempt.unlocked)
                if exists and kind is OutcomeKind.GONE:
                    # A proxy or a lagging replica may answer 404 although the manifest is there.
                    kind, detail = OutcomeKind.FAILED, "the registry answered that it does not exist, but it does"
                detail = "; ".join(filter(None, (detail, lost)))
            if self.context.journal is not None and attempt.number is not None:
                self.context.journal.outcome(attempt.number, kind or OutcomeKind.NOT_ATTEMPTED, detail)
        return kind, detail

    async def _outcome(self, attempt: Attempt) -> tuple[OutcomeKind | None, str]:
        try:
            await attempt.write_intent(GRACE_AFTER_STOP)
            async with self.context.in_flight:
                # Checked again after waiting: steps that were waiting when the run stopped must not
                # start.
                if not self._in_time():
                    return None, "the last check is too old"
                if obstacle := self._obstacle(attempt.step):
                    return OutcomeKind.NOT_ATTEMPTED, obstacle
                kind = await self._in_progress.run(attempt.run())
                self._note_answer(attempt.step, kind)
                return kind, ""
        except JournalError as error:
            self.blockers = (Blocker(error.where, "write the journal", error.seen, error.remedy),)
            return OutcomeKind.NOT_ATTEMPTED, f"it could not be written to the journal: {error.seen}"
        except AcrCleanupError as error:
            return OutcomeKind.FAILED, str(error)
        except asyncio.CancelledError:
            if not self.context.stop.is_set():
                raise
            if not attempt.sent:
                return OutcomeKind.NOT_ATTEMPTED, "the run was stopped"
            return OutcomeKind.FAILED, "the run was stopped before the registry answered: it may be deleted"
        except Exception as error:  # an unexpected error of one step must not stop the others
            log.debug("deleting %s of %s", attempt.step.digest, self.planned.repository, exc_info=True)
            return OutcomeKind.FAILED, f"unexpected error: {type(error).__name__}: {error}"

    def _note_answer(self, step: Step, kind: OutcomeKind) -> None:
        """Note what the answer to this deletion means for the other steps."""
        if kind is OutcomeKind.DELETED or not (isinstance(step, DeleteManifest) and step.manifest.hides_subject):
            return
        # If it is locked, it is kept now, and the registry would delete it together with its subject.
        # If it is gone, the registry may have done so. Its subject was not read, so nothing more is
        # deleted here before the next check reads it, or those of the others.
        self.looks.start_anew(all_referrers=kind is OutcomeKind.GONE)
        self.looked_at = -inf

    async def _restore_locks(self, step: Step, locks: Sequence[Lock]) -> tuple[str, bool]:
        """
        Lock again what this step unlocked.

        Returns a message about locks that could not be restored (empty if none), and whether any of
        the tags and the manifest still exists with this digest.
        """
        exists = False

        async def restore(lock: Lock) -> str:
            nonlocal exists
            work = self.context.registry.lock(self.planned.repository, step.digest, lock)
            try:
                digest = await unless_stopped(work, self.context.stop, grace=LOCK_GRACE_AFTER_STOP)
            except (Exception, asyncio.CancelledError) as error:  # the other locks must still be restored
                image = self._image(step, lock)
                log.debug("locking %s again", image, exc_info=True)
                return self._lost_lock(image, lock, str(error) or "no answer before the run had to end")
            # Not in one statement with the await: it would read `exists` before, and lose the
            # result of another lock.
            exists |= digest == step.digest
            return ""

        # In a separate task: it must finish even if this task is cancelled.
        works = asyncio.gather(*(restore(lock) for lock in locks))
        try:
            return "; ".join(filter(None, await asyncio.shield(works))), exists
        except asyncio.CancelledError:
            await works
            raise

    def _image(self, step: Step, lock: Lock) -> str:
        name = self.planned.repository
        return f"{name}:{lock.tag}" if lock.tag is not None else f"{name}@{step.digest}"

    def _lost_lock(self, image: str, lock: Lock, why: str) -> str:
        """Warn about a lock that could not be restored; returns the detail for the outcome."""
        flags = f"--delete-enabled {lock.delete_enabled} --write-enabled {lock.write_enabled}".lower()
        lost = f"its lock was removed and could not be restored ({why})"
        self.warnings.append(
            f"{image} IS NO LONGER LOCKED: {lost}. Lock it by hand: "
            f"az acr repository update --name {self.context.plan.registry} --image {image} {flags}"
        )
        subject = f"the tag {lock.tag}" if lock.tag is not None else "the manifest"
        return f"{subject} IS NO LONGER LOCKED: {lost}"

    @cached_property
    def _in_progress(self) -> StopGuard:
        return StopGuard(self.context.stop, grace=GRACE_AFTER_STOP)

    @cached_property
    def looks(self) -> Looks:
        planned = frozenset(step.digest for step in self.planned.steps if isinstance(step, DeleteManifest))
        return Looks(self.context, self.planned.repository, planned)

    def _close(self, steps: Sequence[Step], kind: OutcomeKind, detail: str) -> None:
        """Record one kind of outcome for every tag and manifest of these steps."""
        for step in steps:
            if kind in (OutcomeKind.DELETED, OutcomeKind.GONE):
                self.looks.deleted(step)
            else:
                self.looks.start_anew()
            outcomes = [Outcome(self.planned.repository, step.digest, tag.name, kind, detail) for tag in step.tags]
            if isinstance(step, DeleteManifest):
                size = step.manifest.size
                outcomes.append(Outcome(self.planned.repository, step.digest, None, kind, detail, size))
                if kind is OutcomeKind.DELETED:
                    self.deleted.add(step.digest)
                elif kind is not OutcomeKind.GONE:
                    self.not_deleted.add(step.digest)
            self._note(outcomes)

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes.extend(outcomes)
        self.context.report(outcomes)
