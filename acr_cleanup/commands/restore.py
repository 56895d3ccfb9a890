"""
Restores the tags and manifests that a run deleted, from its journal.

A tag needs its manifest. A manifest comes from the registry's soft delete or from the backup in the
journal, and needs its layers and children. Existing tags and manifests are not changed, even if a
tag names another manifest now: a second restore changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from acr_cleanup.commands.connections import REFUSED, open_azure
from acr_cleanup.commands.restore_items import RestoreItem, items_of, waves
from acr_cleanup.concurrency import Stop, gather, unless_stopped
from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.references import Digest
from acr_cleanup.core.restoration import Restored, RestoreOutcome
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, Problem, RegistryError
from acr_cleanup.records.journal import JournalError
from acr_cleanup.records.journal_reader import Deletion, JournalContents, read_journal
from acr_cleanup.registry.acr import AcrRegistry, open_registry
from acr_cleanup.registry.restoring import PartMissing, Restorer
from acr_cleanup.registry.tokens import RESTORING
from acr_cleanup.reports.restoration import RestorationReport
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.stages.registry_port import REPOSITORIES_AT_ONCE

NO_BACKUP = "the journal has no backup of its content"
NO_MANIFEST = "its content was not kept (set backup: true, or enable soft delete in the registry)"
CUT_SHORT = "the restore was stopped before the registry answered: it may be restored"
GRACE_AFTER_STOP = 5.0
"""Seconds that a started item may take after a signal. CI systems leave little more."""

log = logging.getLogger("acr_cleanup")


def read(path: Path) -> JournalContents:
    """Read the journal that a user named. Raises `ConfigurationError` if that fails."""
    try:
        return read_journal(path)
    except JournalError as error:
        raise ConfigurationError((Problem(error.where, error.seen, error.remedy),)) from error


async def restore(
    path: Path,
    journal: JournalContents,
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    dry_run: bool = False,
    open_edge: Callable[[], AbstractAsyncContextManager[AcrRegistry]] | None = None,
) -> int:
    """
    Restore the deletions of a journal, report the results, and return the exit code.

    `path`: the file of the journal. `dry_run`: only report what can be restored.
    After a signal, no further item is started, and the results so far are reported.
    Raises `ConfigurationError` if the journal belongs to another registry than the settings.
    """
    configured = settings.registry
    if not configured.owns(journal.registry):
        message = f"The journal is for {journal.registry}, but the configuration is for {configured.login_server}."
        remedy = f"Use the configuration of {journal.registry}."
        raise ConfigurationError((Problem(str(path), message, remedy),))
    stop = Stop()
    # Signals are handled until the end: a second one must not interrupt the report.
    with stop.on_signals():
        try:
            results: list[Restored] = []
            if journal.deletions:
                async with open_edge() if open_edge else _connect(settings, environ, runtime) as registry:
                    results = await restore_all(
                        journal.deletions, registry, runtime, settings.concurrency, stop=stop.event, dry_run=dry_run
                    )
        except AcrCleanupError as error:
            log.debug("restore failed", exc_info=True)
            runtime.log(Level.ERROR, f"Nothing was restored: {error}")
            runtime.finish()
            return REFUSED
        report = RestorationReport(
            str(path),
            journal.registry,
            journal.started_at,
            tuple(results),
            journal.faults,
            journal.torn,
            dry_run,
            stopped=stop.event.is_set(),
        )
        runtime.show(report)
        for warning in report.warnings:
            runtime.log(Level.WARNING, warning)
        runtime.finish()
    if report.stopped:
        return 128 + stop.received
    return 0 if report.complete else 1


@asynccontextmanager
async def _connect(settings: Settings, environ: Mapping[str, str], runtime: Runtime) -> AsyncIterator[AcrRegistry]:
    async with (
        open_azure(settings, runtime, environ) as azure,
        open_registry(
            settings.registry.login_server,
            azure.credential,
            azure.make_transport(),
            audience=settings.cloud.audience,
            concurrency=settings.concurrency,
            actions=RESTORING,
        ) as registry,
    ):
        yield registry


async def restore_all(
    deletions: Iterable[Deletion],
    registry: AcrRegistry,
    runtime: Runtime,
    concurrency: int,
    *,
    stop: asyncio.Event,
    dry_run: bool,
) -> list[Restored]:
    """
    Restore these deletions, several repositories at a time.

    `concurrency`: how many manifests of a repository to restore at the same time. `stop`: once set,
    no further item is started.
    """
    by_repository: defaultdict[str, list[Deletion]] = defaultdict(list)
    for deletion in deletions:
        by_repository[deletion.repository].append(deletion)
    registry.announce(by_repository)
    done = 0

    async def restore_repository(name: str) -> list[Restored]:
        nonlocal done
        job = _Repository(name, items_of(by_repository[name]), registry, concurrency, stop, dry_run)
        await job.run()
        done += 1
        runtime.progress("repositories", done, len(by_repository), name)
        return job.results

    runtime.progress("repositories", 0, len(by_repository), "")
    jobs = [partial(restore_repository, name) for name in sorted(by_repository)]
    return list(chain.from_iterable(await gather(jobs, limit=REPOSITORIES_AT_ONCE)))


def _detail(error: Exception) -> str:
    return str(error) if isinstance(error, AcrCleanupError) else f"unexpected: {type(error).__name__}: {error}"


@dataclass
class _Repository:
    """Restores the items of one repository."""

    name: str
    items: Sequence[RestoreItem]
    registry: AcrRegistry
    concurrency: int
    stop: asyncio.Event
    dry_run: bool
    results: list[Restored] = field(default_factory=list)
    inventory: RepositoryInventory = field(init=False)
    soft_deleted: frozenset[Digest] = frozenset()
    """Manifests that soft delete still has."""
    soft_delete_error: str = ""
    """Why soft delete could not be read, as the end of a sentence."""

    @property
    def restorer(self) -> Restorer:
        return Restorer(self.registry.requests)

    async def run(self) -> None:
        """Restore all items. Failures become results."""
        try:
            await unless_stopped(self._read(), self.stop)
        except asyncio.CancelledError:
            if not self.stop.is_set():
                raise
        except Exception as error:  # the results of the other repositories must not be lost
            log.debug("reading %s", self.name, exc_info=True)
            for item in self.items:
                self._add_results(item, RestoreOutcome.FAILED, _detail(error))
            return
        for wave in waves(self.items):
            await gather([partial(self._restore_in_time, item) for item in wave], limit=self.concurrency)
        self.results.sort(key=lambda result: (result.tag or "", result.digest))

    async def _read(self) -> None:
        self.inventory = await self.registry.list_repository(self.name)
        if any(item.digest not in self.inventory.manifests for item in self.items):
            await self._read_soft_delete()

    async def _read_soft_delete(self) -> None:
        try:
            self.soft_deleted = await self.restorer.deleted_manifests(self.name)
        except RegistryError as error:
            # The backup in the journal may be enough.
            self.soft_delete_error = f"; soft delete could not be read: {error}"

    async def _restore_in_time(self, item: RestoreItem) -> None:
        """Restore an item, unless the restore is stopped: a started item is finished within the grace."""
        if self.stop.is_set():
            self._add_results(item, RestoreOutcome.NOT_ATTEMPTED, "the restore was stopped")
            return
        try:
            await unless_stopped(self._restore(item), self.stop, grace=GRACE_AFTER_STOP)
        except asyncio.CancelledError:
            if not self.stop.is_set():
                raise
            self._add_failure(item, CUT_SHORT)
        except Exception as error:  # a failed item must not stop the others, even on an unexpected exception
            log.debug("restoring %s of %s", item.digest, self.name, exc_info=True)
            self._add_failure(item, _detail(error))

    def _add_failure(self, item: RestoreItem, detail: str) -> None:
        """Add this failure for the tags, the manifest and the locks of an item that have no result."""
        reported = {result.tag for result in self.results if result.digest == item.digest}
        self._add_results(item, RestoreOutcome.FAILED, detail, without=reported)
        for lock in item.locks:
            if lock.tag in reported and not self._is_locked(item, lock):
                self._add_lost_lock(item, lock, detail)

    async def _restore(self, item: RestoreItem) -> None:
        if not await self._restore_manifest(item):
            return
        for tag in item.tags:
            await self._restore_tag(item, tag)
        while item.locks:
            await self._restore_lock(item, item.locks[0])
            del item.locks[0]

    async def _restore_manifest(self, item: RestoreItem) -> bool:
        """Restore the manifest if it is missing; return False if it still is."""
        if item.digest in self.inventory.manifests or not (item.manifest_deleted or item.tags):
            if item.manifest_deleted:
                self._add_result(item, None, RestoreOutcome.THERE)
            return item.digest in self.inventory.manifests
        try:
            outcome, detail = await self._restore_content(item)
        except PartMissing as error:
            outcome, detail = RestoreOutcome.LOST, str(error)
        if not outcome.is_back:
            self._add_results(item, outcome, detail, manifest=True)
            return False
        self._add_result(item, None, outcome, detail)
        return True

    async def _restore_content(self, item: RestoreItem) -> tuple[RestoreOutcome, str]:
        """Try soft delete, then the backup. Raises `RegistryError`."""
        if item.digest in self.soft_deleted:
            if self.dry_run:
                return RestoreOutcome.POSSIBLE, "from soft delete"
            existing_tags = {tag.name for tag in self.inventory.tags}
            free_tag = next((tag for tag in item.tags if tag not in existing_tags), None)
            if await self.restorer.undelete(self.name, item.digest, free_tag):
                return RestoreOutcome.RESTORED, "from soft delete"
        if item.document is not None:
            if self.dry_run:
                return RestoreOutcome.POSSIBLE, "from the backup, if the registry still has its layers"
            await self.restorer.push_document(self.name, item.digest, item.document)
            return RestoreOutcome.RESTORED, "from the backup"
        # Without the list of soft delete, it is not known whether the manifest can be restored.
        if self.soft_delete_error:
            return RestoreOutcome.FAILED, f"{NO_BACKUP}{self.soft_delete_error}"
        return RestoreOutcome.LOST, NO_MANIFEST

    async def _restore_tag(self, item: RestoreItem, tag: str) -> None:
        existing = next((listed for listed in self.inventory.tags if listed.name == tag), None)
        if existing is not None and existing.digest == item.digest:
            self._add_result(item, tag, RestoreOutcome.THERE)
        elif existing is not None:
            self._add_result(item, tag, RestoreOutcome.TAKEN, f"it names {existing.digest} now")
        elif self.dry_run:
            self._add_result(item, tag, RestoreOutcome.POSSIBLE)
        else:
            document = item.document or await self.registry.read_document(self.name, item.digest)
            if document is None:
                self._add_result(
                    item, tag, RestoreOutcome.LOST, "the registry lists its manifest, but does not return it (404)"
                )
                return
            await self.restorer.push_document(self.name, item.digest, document, tag)
            self._add_result(item, tag, RestoreOutcome.RESTORED)

    async def _restore_lock(self, item: RestoreItem, lock: Lock) -> None:
        """Restore the lock of a restored item, or of one that a killed run left unlocked."""
        if self.dry_run or self._is_locked(item, lock):
            return
        is_missing = any(
            result.digest == item.digest and result.tag == lock.tag and not result.outcome.is_back
            for result in self.results
        )
        if is_missing:
            return
        try:
            await self.registry.lock(self.name, item.digest, lock)
        except AcrCleanupError as error:
            self._add_lost_lock(item, lock, str(error))

    def _add_lost_lock(self, item: RestoreItem, lock: Lock, why: str) -> None:
        # It is back, but unlocked: the result must not say that all is well.
        self.results[:] = [result for result in self.results if (result.digest, result.tag) != (item.digest, lock.tag)]
        detail = f"it is in the registry, but could not be locked again: {why}"
        self._add_result(item, lock.tag, RestoreOutcome.FAILED, detail)

    def _is_locked(self, item: RestoreItem, lock: Lock) -> bool:
        if lock.tag is None:
            manifest = self.inventory.manifests.get(item.digest)
            return manifest is not None and manifest.lock == lock
        tags = self.inventory.tags_of.get(item.digest, ())
        return any(tag.name == lock.tag and tag.lock == lock for tag in tags)

    def _add_result(self, item: RestoreItem, tag: str | None, outcome: RestoreOutcome, detail: str = "") -> None:
        self.results.append(Restored(self.name, item.digest, tag, outcome, detail))

    def _add_results(
        self,
        item: RestoreItem,
        outcome: RestoreOutcome,
        detail: str,
        *,
        manifest: bool = False,
        without: Iterable[str | None] = (),
    ) -> None:
        """
        Add the same result for all tags of an item, and for what it has to lock.

        Also for the manifest if it was deleted, or if `manifest` is set. `without`: tags, or None
        for the manifest, that have a result already.
        """
        names: list[str | None] = [None] if item.manifest_deleted or manifest else []
        for tag in dict.fromkeys((*names, *item.tags, *(lock.tag for lock in item.locks))):
            if tag not in without:
                self._add_result(item, tag, outcome, detail)
