"""
Carries out a plan, looking once more before each batch of deletions.

Only here does anything get deleted, and nothing before the journal says so. Usage is read again before the first deletion, and
again whenever what is known of it is older than `USAGE_STAYS_FRESH`; each repository is read and decided again right before its
steps, and again when those take long. One failing item never stops or miscounts the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from acr_cleanup.concurrency import together
from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import prepare
from acr_cleanup.core.second_look import confirm
from acr_cleanup.core.steps import DeleteManifest, Step, waves
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.core.verification import Proof
from acr_cleanup.errors import AcrCleanupError, RegistryForbidden
from acr_cleanup.records.journal import Journal, JournalError

USAGE_STAYS_FRESH = 300.0
"""Seconds. A long apply reads the clusters again this often: a workload may have been deployed meanwhile."""

LOOK_EVERY = 500
"""Steps of one repository that one look at it may stand for."""

LOOK_STAYS_FRESH = 20.0
"""Seconds that a look may be old when a deletion starts: a registry that slows us down stretches a batch to minutes."""

REPOSITORIES_AT_ONCE = 8

AHEAD = 2
"""
Steps that are written into the journal, for each that may be in flight.

While one deletion is on its way, the next is already on the disk: else each would wait for the disk before it is sent.
"""

GRACE_AFTER_STOP = 2.0
"""
Seconds that a deletion already sent may take to be answered once the run is told to stop.

A CI system kills what has not ended a few seconds later: the rest of them is for the reports.
"""

PUT_BACK_AFTER_STOP = 3.0
"""Seconds that putting locks back may take once the run is told to stop; without that it takes what it takes."""

T = TypeVar("T")
log = logging.getLogger("acr_cleanup.stages.apply")


class Registry(Protocol):
    """What apply needs of a registry."""

    async def list_repository(self, name: str) -> RepositoryInventory:
        """Every tag and manifest of the repository; raises `RegistryError`."""
        ...

    async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """The same inventory with the children and subjects of its manifests; what cannot be read stays unknown."""
        ...

    async def untag(self, repository: str, tag: str) -> OutcomeKind:
        """Remove one name: `deleted`, `gone` or `locked`; raises `RegistryError`."""
        ...

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        """Remove a manifest and every tag on it: `deleted`, `gone` or `locked`; raises `RegistryError`."""
        ...

    async def unlock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        """Let this tag or manifest be deleted; returns its digest, None if it is not there. Raises `RegistryError`."""
        ...

    async def lock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        """Give it the attributes that `lock` holds; returns what `unlock` does. Raises `RegistryError`."""
        ...

    async def read_document(self, repository: str, digest: Digest) -> Content | None:
        """A manifest byte for byte; None if it is not there. Raises `RegistryError`."""
        ...


class Content(Protocol):
    """A manifest, as it is put into the journal."""

    @property
    def content(self) -> bytes: ...

    @property
    def media_type(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Applied:
    """
    What apply did. With blockers and no outcomes, it refused before the first deletion.

    `warnings` say which locks were taken off and could not be put back.
    """

    outcomes: tuple[Outcome, ...]
    blockers: tuple[Blocker, ...] = ()
    warnings: tuple[str, ...] = ()
    proof: Proof | None = None
    """What a look afterwards has come to, if there was one."""


class UsageBlockedError(Exception):
    """The clusters cannot be seen completely any more."""

    def __init__(self, blockers: tuple[Blocker, ...]) -> None:
        super().__init__("usage is blocked")
        self.blockers = blockers


@dataclass
class FreshUsage:
    """The usage index, read again when it has grown too old; many may ask at once, one reads."""

    read: Callable[[], Awaitable[UsageIndex]]
    _index: UsageIndex | None = None
    _read_at: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> UsageIndex:
        """Raises `UsageBlockedError` when anything could not be seen."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._index is None or now - self._read_at > USAGE_STAYS_FRESH:
                # Timed from before the reading: a workload deployed while it went on may have been missed.
                self._index, self._read_at = await self.read(), now
            if self._index.blockers:
                raise UsageBlockedError(self._index.blockers)
            return self._index


async def apply(
    plan: Plan,
    registry: Registry,
    read_usage: Callable[[], Awaitable[UsageIndex]],
    *,
    stop: asyncio.Event,
    concurrency: int,
    report: Callable[[Sequence[Outcome]], None],
    journal: Journal | None = None,
    backup: bool = False,
    looked: Callable[[RepositoryInventory, UsageIndex], None] = lambda _inventory, _usage: None,
) -> Applied:
    """
    Do what the plan says, as far as it is still true.

    `stop`: once set, no new deletion starts; what was not begun is `not attempted`. `concurrency`: deletions in flight at once.
    `report` hears of outcomes as they come, and `looked` of what was seen of a repository right before anything is done there.
    Each deletion is written into the `journal` before it is sent, with `backup` together with the manifest itself; what cannot be
    written there is not deleted.
    The plan must be applicable: the caller has refused plans with blockers and beyond limits.
    """
    usage = FreshUsage(read_usage)
    try:
        await unless_stopped(usage.get(), stop)
    except UsageBlockedError as blocked:
        return Applied((), blocked.blockers)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise

    outcomes: list[Outcome] = []
    blockers: dict[Blocker, None] = {}
    warnings: list[str] = []
    in_flight, ahead = asyncio.Semaphore(concurrency), asyncio.Semaphore(AHEAD * concurrency)

    async def one(name: str) -> None:
        job = _Repository(
            plan, plan.repository(name), registry, usage, stop, in_flight, ahead, report, looked, journal, backup
        )
        await job.run()
        outcomes.extend(job.outcomes)
        blockers.update(dict.fromkeys(job.blockers))
        warnings.extend(job.warnings)

    works = [partial(one, each.repository) for each in plan.tallies if each.steps]
    await together(works, limit=REPOSITORIES_AT_ONCE)
    outcomes.sort(key=lambda outcome: (outcome.repository, outcome.tag or "", outcome.digest))
    return Applied(tuple(outcomes), tuple(blockers), tuple(warnings))


@dataclass
class _Repository:
    """The steps of one repository on their way to outcomes."""

    plan: Plan
    planned: RepositoryPlan
    registry: Registry
    usage: FreshUsage
    stop: asyncio.Event
    in_flight: asyncio.Semaphore
    ahead: asyncio.Semaphore
    report: Callable[[Sequence[Outcome]], None]
    looked: Callable[[RepositoryInventory, UsageIndex], None]
    journal: Journal | None = None
    backup: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    blockers: tuple[Blocker, ...] = ()
    looked_at: float = 0.0
    stayed: set[Digest] = field(default_factory=set)
    """Digests that were to go and did not: what had to wait for them stays too."""

    async def run(self) -> None:
        steps = self.planned.steps
        if self.planned.error:
            # Of a reviewed plan: what nobody could look at now, nobody has held to the limits either.
            self._close(steps, OutcomeKind.FAILED, f"its repository could not be read: {self.planned.error}")
            return
        for start in range(0, len(steps), LOOK_EVERY):
            pending: Sequence[Step] = steps[start : start + LOOK_EVERY]
            while pending:
                pending = await self._batch(pending)

    async def _batch(self, steps: Sequence[Step]) -> Sequence[Step]:
        """One look, and what may be done on the strength of it; what has come too late for that is returned."""
        if self.stop.is_set() or self.blockers:
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, self._why_stopped())
            return ()
        try:
            usage = await unless_stopped(self.usage.get(), self.stop)
            inventory = await unless_stopped(self._look(usage), self.stop)
            fresh = plan_repository(inventory, usage, self.plan.policy, self.plan.created_at)
            confirmed = confirm(steps, fresh, inventory)
            order = tuple(waves(confirmed.steps))
            self.looked(inventory, usage)
        except UsageBlockedError as blocked:
            self.blockers = blocked.blockers
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, "a cluster can no longer be read completely")
            return ()
        except asyncio.CancelledError:
            if not self.stop.is_set():
                raise
            self._close(steps, OutcomeKind.NOT_ATTEMPTED, "the run was stopped")
            return ()
        except AcrCleanupError as error:
            # The login may have ended as well: whatever it is, what other repositories have come to must not be lost with it.
            self._close(steps, OutcomeKind.FAILED, f"could not be looked at once more: {error}")
            return ()
        except Exception as error:  # likewise
            log.debug("looking at %s once more", self.planned.repository, exc_info=True)
            detail = f"could not be looked at once more: unexpected: {type(error).__name__}: {error}"
            self._close(steps, OutcomeKind.FAILED, detail)
            return ()

        self._note(confirmed.outcomes)
        self.stayed |= {
            outcome.digest
            for outcome in confirmed.outcomes
            if outcome.tag is None and outcome.kind is not OutcomeKind.GONE
        }
        self.looked_at = asyncio.get_running_loop().time()
        late: list[Step] = []
        for wave in order:
            async with asyncio.TaskGroup() as group:
                for step in wave:
                    group.create_task(self._step(step, late))
        return late

    async def _look(self, usage: UsageIndex) -> RepositoryInventory:
        name = self.planned.repository
        listed = await self.registry.list_repository(name)
        inventory = prepare(listed, usage, self.plan.policy, self.plan.created_at, backup=self.backup)
        return await self.registry.read_edges(inventory)

    async def _step(self, step: Step, late: list[Step]) -> None:
        async with self.ahead:
            if not self._in_time():
                late.append(step)
            elif hindrance := self._hindrance(step):
                self._close((step,), OutcomeKind.NOT_ATTEMPTED, hindrance)
            else:
                kind, detail = await self._attempt(step)
                if kind is None:
                    late.append(step)
                else:
                    self._close((step,), kind, detail)

    def _in_time(self) -> bool:
        """May this start on the strength of the last look? Whatever waits for it is late as well, so that the order stays."""
        if self.stop.is_set() or self.blockers:
            return True
        return asyncio.get_running_loop().time() - self.looked_at <= LOOK_STAYS_FRESH

    def _hindrance(self, step: Step) -> str:
        """Why this is not to be done any more, empty if it is."""
        if self.stop.is_set() or self.blockers:
            return self._why_stopped()
        if waiting := self.stayed.intersection(step.after):
            return f"{min(waiting)} had to go first, and stayed"
        return ""

    def _why_stopped(self) -> str:
        if self.stop.is_set() or not self.blockers:
            return "the run was stopped"
        return self.blockers[0].seen

    async def _attempt(self, step: Step) -> tuple[OutcomeKind | None, str]:
        """What it has come to; None if its turn has come too late for the last look."""
        attempt = _Attempt(self, step)
        kind: OutcomeKind | None = OutcomeKind.FAILED
        detail = "the run was cut short"
        try:
            kind, detail = await self._outcome(attempt)
        finally:
            # Also when we are cancelled ourselves: whatever becomes of the run, it must leave no lock open.
            if attempt.unlocked and kind is not OutcomeKind.DELETED:
                lost, stands = await self._put_back(step, attempt.unlocked)
                if stands and kind is OutcomeKind.GONE:
                    # Whoever answers so (a proxy, a replica that lags) must not make us leave a lock open.
                    kind, detail = OutcomeKind.FAILED, "the registry said that it is not there, and it is"
                detail = "; ".join(filter(None, (detail, lost)))
            if self.journal is not None and attempt.number is not None:
                self.journal.outcome(attempt.number, kind or OutcomeKind.NOT_ATTEMPTED, detail)
        return kind, detail

    async def _outcome(self, attempt: _Attempt) -> tuple[OutcomeKind | None, str]:
        try:
            await attempt.write_down()
            async with self.in_flight:
                # Asked again in its turn: whatever waits for one when the run is stopped must not start any more.
                if not self._in_time():
                    return None, "it is looked at once more first"
                if hindrance := self._hindrance(attempt.step):
                    return OutcomeKind.NOT_ATTEMPTED, hindrance
                return await unless_stopped(attempt.run(), self.stop, grace=GRACE_AFTER_STOP), ""
        except JournalError as error:
            self.blockers = (Blocker(error.where, "write the journal", error.seen, error.remedy),)
            return OutcomeKind.NOT_ATTEMPTED, f"it could not be written into the journal: {error.seen}"
        except AcrCleanupError as error:
            return OutcomeKind.FAILED, str(error)
        except asyncio.CancelledError:
            if not self.stop.is_set():
                raise
            if not attempt.sent:
                return OutcomeKind.NOT_ATTEMPTED, "the run was stopped"
            return OutcomeKind.FAILED, "the run was stopped before the registry answered: it may be gone"
        except Exception as error:  # one item must not stop the others, whatever it runs into
            log.debug("deleting %s of %s", attempt.step.digest, self.planned.repository, exc_info=True)
            return OutcomeKind.FAILED, f"unexpected: {type(error).__name__}: {error}"

    async def _put_back(self, step: Step, locks: Sequence[Lock]) -> tuple[str, bool]:
        """
        The locks as they were.

        Returns what could not be put back, in words that nobody overlooks; and whether any of it is what it was: a tag that
        names something else by now is not.
        """
        stands = False

        async def one(lock: Lock) -> str:
            what = (
                f"{self.planned.repository}:{lock.tag}"
                if lock.tag is not None
                else f"{self.planned.repository}@{step.digest}"
            )
            work = self.registry.lock(self.planned.repository, step.digest, lock)
            nonlocal stands
            try:
                named = await unless_stopped(work, self.stop, grace=PUT_BACK_AFTER_STOP)
                # Not in one statement with the waiting: that would read `stands` before, and forget what the others find.
                stands |= named == step.digest
            except (Exception, asyncio.CancelledError) as error:  # whatever it is, the others must be put back
                log.debug("locking %s again", what, exc_info=True)
                why = str(error) or "no answer before the run had to end"
                flags = f"--delete-enabled {lock.delete_enabled} --write-enabled {lock.write_enabled}".lower()
                lost = f"its lock was taken off and could not be put back ({why})"
                self.warnings.append(
                    f"{what} IS NO LONGER LOCKED: {lost}. Lock it by hand: "
                    f"az acr repository update --name {self.plan.registry} --image {what} {flags}"
                )
                return (
                    f"{'the tag ' + lock.tag if lock.tag is not None else 'the manifest'} IS NO LONGER LOCKED: {lost}"
                )
            return ""

        # A task of its own: this may run while we are being cancelled, and must come to its end all the same.
        works = asyncio.gather(*(one(lock) for lock in locks))
        try:
            return "; ".join(filter(None, await asyncio.shield(works))), stands
        except asyncio.CancelledError:
            await works
            raise

    def _close(self, steps: Sequence[Step], kind: OutcomeKind, detail: str) -> None:
        """Write down one kind of outcome for everything in these steps."""
        for step in steps:
            found = [Outcome(self.planned.repository, step.digest, tag.name, kind, detail) for tag in step.tags]
            if isinstance(step, DeleteManifest):
                size = step.manifest.size
                found.append(Outcome(self.planned.repository, step.digest, None, kind, detail, size))
                if kind not in {OutcomeKind.DELETED, OutcomeKind.GONE}:
                    self.stayed.add(step.digest)
            self._note(found)

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes.extend(outcomes)
        self.report(outcomes)


@dataclass
class _Attempt:
    """One deletion on its way: written down, unlocked, sent."""

    job: _Repository
    step: Step
    number: int | None = None
    unlocked: list[Lock] = field(default_factory=list)
    """Locks that have been, or may have been, taken off."""
    sent: bool = False

    async def write_down(self) -> None:
        """Into the journal, with what is needed to bring it back; without one there is nothing to do."""
        repository, step = self.job.planned.repository, self.step
        if self.job.journal is None:
            return
        document = None
        if self.job.backup and isinstance(step, DeleteManifest):
            # Where it is gone already there is nothing to keep, and the deletion will say so.
            reading = self.job.registry.read_document(repository, step.digest)
            document = await unless_stopped(reading, self.job.stop, grace=GRACE_AFTER_STOP)
        self.number = await self.job.journal.intend(
            repository,
            step,
            document.content if document else None,
            document.media_type if document else "",
        )

    async def run(self) -> OutcomeKind:
        """Unlock it where it is locked, and send the deletion."""
        registry, repository, step = self.job.registry, self.job.planned.repository, self.step
        for lock in step.locks:
            self.unlocked.append(lock)
            try:
                unlocked = await registry.unlock(repository, step.digest, lock)
            except RegistryForbidden:
                # Whoever may not take it off has not: nobody must be told that it is gone.
                self.unlocked.remove(lock)
                raise
            if unlocked is None:
                # Somebody else has deleted it: there is no lock to put back.
                self.unlocked.remove(lock)
            elif unlocked != step.digest:
                # A tag that names something else by now is not deleted, so it must be locked again.
                return OutcomeKind.MOVED
        self.sent = True
        if isinstance(step, DeleteManifest):
            return await registry.delete_manifest(repository, step.digest)
        return await registry.untag(repository, step.tag.name)


async def unless_stopped(work: Awaitable[T], stop: asyncio.Event, *, grace: float = 0.0) -> T:
    """
    Await `work`, but give it up (CancelledError) once `stop` is set and `grace` seconds have passed.

    The caller tells a stop from a cancellation by `stop.is_set()`.
    """
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and grace:
            await asyncio.wait({task}, timeout=grace)
        if not task.done():
            task.cancel()
        return await task
    finally:
        stopped.cancel()
        task.cancel()
