"""
Deletes the planned steps of one repository, and checks the repository again before each batch.

One failing step never stops the others, and every step ends in exactly one outcome per tag and
manifest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial

from acr_cleanup.concurrency import gather, unless_stopped
from acr_cleanup.core.explanation import ManifestReasons
from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.references import Digest
from acr_cleanup.core.second_look import confirm
from acr_cleanup.core.steps import DeleteManifest, Step, waves
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.errors import AcrCleanupError
from acr_cleanup.records.journal import JournalError
from acr_cleanup.stages.attempt import ApplyContext, Attempt
from acr_cleanup.stages.fresh_usage import UsageBlockedError
from acr_cleanup.stages.read_repository import decide_repository, read_repository

LOOK_EVERY = 500
"""Steps of one repository that may follow one check of it."""

LOOK_STAYS_FRESH = 20.0
"""
Seconds after which a check is too old for a deletion to start. A throttled batch can take minutes.
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

SUSPECTS_AT_ONCE = 8
"""Manifests without their planned tags that are requested at once, to see whether they still exist."""

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
    checked_at: float = 0.0
    deleted: set[Digest] = field(default_factory=set)
    """The manifests that this run has deleted here."""
    oldest_deleted: datetime | None = None
    """The earliest first push among the manifests that this run has deleted here."""
    not_deleted: set[Digest] = field(default_factory=set)
    """Digests of failed or refused deletions. Steps that must come after them are not attempted."""

    @cached_property
    def planned_digests(self) -> frozenset[Digest]:
        """The manifests that the plan deletes here."""
        return frozenset(step.digest for step in self.planned.steps if isinstance(step, DeleteManifest))

    async def run(self) -> None:
        """Run all steps. Failures become outcomes or blockers."""
        steps = self.planned.steps
        if self.planned.error:
            # Only with a reviewed plan: the repository could not be listed, so the limits were not
            # checked for it.
            self._close(steps, OutcomeKind.FAILED, f"its repository could not be read: {self.planned.error}")
            return
        for start in range(0, len(steps), LOOK_EVERY):
            pending: Sequence[Step] = steps[start : start + LOOK_EVERY]
            while pending:
                pending = await self._batch(pending)

    async def _batch(self, steps: Sequence[Step]) -> Sequence[Step]:
        """
        Check the repository once and run the confirmed steps.

        Returns the steps for which this check became too old.
        """
        if self._stopped:
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, self._why_stopped())
            return ()
        context = self.context
        steps = self._without_waiting(steps)
        if not steps:
            return ()
        try:
            usage = await unless_stopped(context.usage.get(), context.stop)
            inventory = await unless_stopped(self._check(usage, steps), context.stop)
            evidence = Evidence(inventory, usage, context.plan.policy, context.plan.created_at)
            decided = await unless_stopped(decide_repository(evidence, context.untagged_expire), context.stop)
            reasons = ManifestReasons(decided.evidence, decided.plan)
            confirmed = confirm(
                steps,
                decided.plan,
                inventory,
                lambda digest: reasons.decision_on(digest).reasons,
                earlier=self.planned_digests,
            )
            order = tuple(waves(confirmed.steps))
            context.on_inventory(inventory, usage)
        except UsageBlockedError as blocked:
            self.blockers = blocked.blockers
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, "a cluster can no longer be read completely")
            return ()
        except asyncio.CancelledError:
            if not context.stop.is_set():
                raise
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, "the run was stopped")
            return ()
        except AcrCleanupError as error:
            # For example the login has expired. The outcomes of the other repositories must not be
            # lost.
            self._close(steps, OutcomeKind.FAILED, f"could not be checked again: {error}")
            return ()
        except Exception as error:  # as above
            log.debug("checking %s again", self.planned.repository, exc_info=True)
            detail = f"could not be checked again: unexpected error: {type(error).__name__}: {error}"
            self._close(steps, OutcomeKind.FAILED, detail)
            return ()

        self._note(confirmed.outcomes)
        self.not_deleted |= {
            outcome.digest
            for outcome in confirmed.outcomes
            if outcome.tag is None and outcome.kind is not OutcomeKind.GONE
        }
        self.checked_at = asyncio.get_running_loop().time()
        late: list[Step] = []
        for wave in order:
            async with asyncio.TaskGroup() as group:
                for step in wave:
                    group.create_task(self._step(step, late))
        return late

    def _without_waiting(self, steps: Sequence[Step]) -> Sequence[Step]:
        """The steps without those that must come after a deletion that failed. They are closed."""
        remaining = []
        for step in steps:
            if obstacle := self._obstacle(step):
                self._close((step,), OutcomeKind.NOT_ATTEMPTED, obstacle)
            else:
                remaining.append(step)
        return remaining

    async def _check(self, usage: UsageIndex, steps: Sequence[Step]) -> RepositoryInventory:
        plan = self.context.plan
        orphans = {step.digest for step in steps if not step.tags and self.deleted.intersection(step.after)}
        inventory = await read_repository(
            self.context.registry,
            self.planned.repository,
            usage,
            plan.policy,
            plan.created_at,
            backup=self.context.backup,
            retained=frozenset(self.not_deleted),
            orphans=frozenset(orphans),
        )
        return await self._without_gone(inventory, steps)

    async def _without_gone(self, inventory: RepositoryInventory, steps: Sequence[Step]) -> RepositoryInventory:
        """
        The inventory without planned manifests that another client deleted while it was listed.

        The tags of such a manifest are gone already, but the list of manifests may be older.
        """
        gone: set[Digest] = set()

        async def look_for(digest: Digest) -> None:
            if not await self.context.registry.resolves(self.planned.repository, digest):
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

    @property
    def _stopped(self) -> bool:
        return self.context.stop.is_set() or bool(self.blockers)

    def _in_time(self) -> bool:
        """
        Is the last check fresh enough? If not, it is too old for the following steps as well, so
        their order is kept.
        """
        return self._stopped or asyncio.get_running_loop().time() - self.checked_at <= LOOK_STAYS_FRESH

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
                oldest = self.oldest_deleted
                kind = await unless_stopped(attempt.run(), self.context.stop, grace=GRACE_AFTER_STOP)
                return self._account(attempt.step, kind, oldest)
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

    def _account(self, step: Step, kind: OutcomeKind, oldest: datetime | None) -> tuple[OutcomeKind, str]:
        """
        Outcome and detail of a deletion that the registry answered with `kind`.

        oldest: `oldest_deleted` before the deletion was sent.
        """
        if not isinstance(step, DeleteManifest):
            return kind, ""
        manifest = step.manifest
        may_refer = manifest.may_have_subject and not manifest.known
        created = manifest.created_at
        if kind is OutcomeKind.DELETED and created is not None:
            self.oldest_deleted = min(self.oldest_deleted or created, created)
        if kind is OutcomeKind.LOCKED and may_refer:
            # It is kept now, and the registry would delete it together with its subject. Its subject
            # was not read, so nothing more is deleted here before the next check reads it.
            self.checked_at = -LOOK_STAYS_FRESH
        # Whether it referred to a manifest that this run has deleted before was not read. A referrer is
        # pushed after its subject.
        after_subject = oldest is not None and (created is None or oldest <= created)
        if kind is OutcomeKind.GONE and may_refer and after_subject:
            return OutcomeKind.DELETED, "the registry deleted it together with another deleted manifest"
        return kind, ""

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

    def _close(self, steps: Sequence[Step], kind: OutcomeKind, detail: str) -> None:
        """Record one kind of outcome for every tag and manifest of these steps."""
        for step in steps:
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
