"""One deletion of an apply, and what all deletions of an apply share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from acr_cleanup.concurrency import unless_stopped
from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.steps import DeleteManifest, Step
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.errors import RegistryForbidden
from acr_cleanup.records.journal import Journal
from acr_cleanup.stages.fresh_usage import FreshUsage
from acr_cleanup.stages.read_repository import never
from acr_cleanup.stages.registry_port import Registry


@dataclass(frozen=True)
class ApplyContext:
    """Values that all repositories of one apply share."""

    plan: Plan
    registry: Registry
    usage: FreshUsage
    stop: asyncio.Event
    """Once set, no new deletion starts."""
    in_flight: asyncio.Semaphore
    """Bounds the deletions that are sent and not answered yet."""
    workers: int
    """Tasks of one repository that carry out its steps."""
    ahead: asyncio.Semaphore
    """Bounds the steps that are journalled and not finished yet."""
    report: Callable[[Sequence[Outcome]], None]
    """Receives outcomes as they occur."""
    on_inventory: Callable[[RepositoryInventory, UsageIndex], None]
    """Receives the inventory and the usage of each check, before a deletion relies on them."""
    journal: Journal | None = None
    """
    Receives each deletion before it is sent. A deletion that cannot be journalled is not sent.
    """
    untagged_expire: Callable[[], Awaitable[bool]] = never
    """Asks whether the registry may delete manifests without a tag."""
    backup: bool = False
    """Journal the content of each deleted manifest too."""


@dataclass
class Attempt:
    """One deletion in progress: journalled, unlocked, sent."""

    context: ApplyContext
    repository: str
    step: Step
    number: int | None = None
    """The number of its line in the journal."""
    unlocked: list[Lock] = field(default_factory=list)
    """Locks that were removed, or may have been."""
    sent: bool = False

    async def write_intent(self, grace: float) -> None:
        """
        Journal the deletion, so that it can be restored. Without a journal, do nothing.

        grace: seconds to wait for the manifest after the run was stopped.
        """
        context, repository, step = self.context, self.repository, self.step
        if context.journal is None:
            return
        document = None
        if context.backup and isinstance(step, DeleteManifest):
            # None if the manifest is already gone: there is nothing to keep, and the deletion
            # reports it.
            reading = context.registry.read_document(repository, step.digest)
            document = await unless_stopped(reading, context.stop, grace=grace)
        self.number = await context.journal.intend(
            repository,
            step,
            document.content if document else None,
            document.media_type if document else "",
        )

    async def run(self) -> OutcomeKind:
        """Remove the locks of the step, and send its deletion."""
        registry, repository, step = self.context.registry, self.repository, self.step
        for lock in step.locks:
            self.unlocked.append(lock)
            try:
                digest = await registry.unlock(repository, step.digest, lock)
            except RegistryForbidden:
                # The unlock was refused, so the lock is still set. Do not report it as removed.
                self.unlocked.remove(lock)
                raise
            if digest is None:
                # Another client has deleted it: there is no lock to restore.
                self.unlocked.remove(lock)
            elif digest != step.digest:
                # The tag names another manifest now: it is not deleted, and must be locked again.
                return OutcomeKind.MOVED
        self.sent = True
        if isinstance(step, DeleteManifest):
            return await registry.delete_manifest(repository, step.digest)
        return await registry.untag(repository, step.tag.name)
