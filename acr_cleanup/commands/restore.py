"""
Puts back what a run untagged or deleted, as its journal tells it and as far as the registry still can.

A tag needs its manifest; a manifest comes from the registry's soft delete or from the backup in the journal, and needs its layers
and children. What is there already is left alone, and so is a tag that names something else by now: to restore twice does nothing
the second time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from acr_cleanup.commands.run import REFUSED, REPOSITORIES_AT_ONCE, log_in
from acr_cleanup.concurrency import together
from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.core.restoration import Restored, RestoreOutcome
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, Problem, RegistryForbidden
from acr_cleanup.records.journal import Deletion, JournalError, Recorded, read_journal
from acr_cleanup.registry.acr import AcrRegistry, Document, PartMissing, open_registry
from acr_cleanup.registry.tokens import RESTORING
from acr_cleanup.reports.restoration import RestorationReport
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import Settings

NO_MANIFEST = "its content was not kept: a run with backup: true keeps it, and so does the registry's soft delete"

log = logging.getLogger("acr_cleanup")


def read(path: Path) -> Recorded:
    """The journal that a user named. Raises `ConfigurationError`."""
    try:
        return read_journal(path)
    except JournalError as error:
        raise ConfigurationError((Problem(error.where, error.seen, error.remedy),)) from error


async def restore(
    path: Path,
    recorded: Recorded,
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    dry_run: bool = False,
    open_edge: Callable[[], AbstractAsyncContextManager[AcrRegistry]] | None = None,
) -> int:
    """
    Restore what this journal tells of, say what came back and what cannot, and return the exit code.

    Raises `ConfigurationError` when the journal is of another registry than the settings name.
    """
    configured = settings.registry
    if not configured.owns(recorded.registry):
        seen = f"The journal is of {recorded.registry}, and the configuration names {configured.login_server}."
        raise ConfigurationError((Problem(str(path), seen, "Use the configuration of that registry."),))
    try:
        found: list[Restored] = []
        if recorded.deletions:
            async with open_edge() if open_edge else _connect(settings, environ, runtime) as registry:
                found = await restore_all(recorded.deletions, registry, runtime, settings.concurrency, dry_run=dry_run)
    except AcrCleanupError as error:
        log.debug("restoring ended early", exc_info=True)
        runtime.log(Level.ERROR, f"Nothing could be restored: {error}")
        runtime.finish()
        return REFUSED
    report = RestorationReport(
        str(path), recorded.registry, recorded.started_at, tuple(found), recorded.faults, recorded.torn, dry_run
    )
    runtime.show(report)
    for warning in report.warnings:
        runtime.log(Level.WARNING, warning)
    runtime.finish()
    return 0 if report.complete else 1


@asynccontextmanager
async def _connect(settings: Settings, environ: Mapping[str, str], runtime: Runtime) -> AsyncIterator[AcrRegistry]:
    async with (
        log_in(settings, environ, runtime) as (network, credential),
        open_registry(
            settings.registry.login_server,
            credential,
            network.transport(),
            audience=settings.cloud.audience,
            concurrency=settings.concurrency,
            actions=RESTORING,
        ) as registry,
    ):
        yield registry


async def restore_all(
    deletions: Iterable[Deletion], registry: AcrRegistry, runtime: Runtime, concurrency: int, *, dry_run: bool
) -> list[Restored]:
    """Restore all of these, repository by repository. Raises `AcrCleanupError` when the registry cannot be used at all."""
    by_repository: defaultdict[str, list[Deletion]] = defaultdict(list)
    for deletion in deletions:
        by_repository[deletion.repository].append(deletion)
    registry.announce(by_repository)
    done = 0

    async def one(name: str) -> list[Restored]:
        nonlocal done
        job = _Repository(name, _items(by_repository[name]), registry, concurrency, dry_run)
        await job.run()
        done += 1
        runtime.progress("repositories", done, len(by_repository), name)
        return job.found

    runtime.progress("repositories", 0, len(by_repository), "")
    found = await together([partial(one, name) for name in sorted(by_repository)], limit=REPOSITORIES_AT_ONCE)
    return [each for repository in found for each in repository]


@dataclass(slots=True)
class _Item:
    """All that the journal tells of one digest of a repository."""

    digest: Digest
    whole: bool = False
    """Was the manifest itself deleted?"""
    tags: list[str] = field(default_factory=list)
    locks: list[Lock] = field(default_factory=list)
    before: set[Digest] = field(default_factory=set)
    """What was deleted before it, and so comes back after it."""
    document: Document | None = None


def _items(deletions: Iterable[Deletion]) -> list[_Item]:
    items: dict[Digest, _Item] = {}
    for each in deletions:
        if each.outcome is OutcomeKind.GONE:
            # Somebody else had deleted it, for reasons of their own.
            continue
        item = items.setdefault(each.digest, _Item(each.digest))
        item.locks += each.locks
        if each.outcome in {None, OutcomeKind.DELETED, OutcomeKind.FAILED}:
            # What failed, or was never told of, may be gone all the same: the registry knows.
            item.whole = item.whole or each.whole
            item.tags += each.tags
            item.before.update(each.after)
        if each.document is not None:
            item.document = Document(each.document, each.media_type)
    return list(items.values())


def _waves(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Children before their index, a subject before what is attached to it: the way back is the way there, backwards."""
    by_digest = {item.digest: item for item in items}
    order: TopologicalSorter[Digest] = TopologicalSorter({item.digest: () for item in items})
    for item in items:
        for earlier in item.before & by_digest.keys():
            order.add(earlier, item.digest)
    try:
        order.prepare()
    except CycleError:
        # No run of ours writes such a journal; one by one, from its end, is as good an order as any.
        yield from ([item] for item in reversed(items))
        return
    while order.is_active():
        ready = order.get_ready()
        yield [by_digest[digest] for digest in ready]
        order.done(*ready)


@dataclass
class _Repository:
    """The items of one repository on their way back."""

    name: str
    items: Sequence[_Item]
    registry: AcrRegistry
    concurrency: int
    dry_run: bool
    found: list[Restored] = field(default_factory=list)
    inventory: RepositoryInventory = field(init=False)
    held: frozenset[Digest] = frozenset()
    """What soft delete holds."""
    why_not_held: str = ""

    async def run(self) -> None:
        try:
            self.inventory = await self.registry.list_repository(self.name)
            if any(item.digest not in self.inventory.manifests for item in self.items):
                await self._look_at_soft_delete()
        except AcrCleanupError as error:
            for item in self.items:
                self._say_all(item, RestoreOutcome.FAILED, str(error))
            return
        for wave in _waves(self.items):
            await together([partial(self._one, item) for item in wave], limit=self.concurrency)
        self.found.sort(key=lambda each: (each.tag or "", each.digest))

    async def _look_at_soft_delete(self) -> None:
        try:
            self.held = await self.registry.deleted_manifests(self.name)
        except RegistryForbidden as error:
            self.why_not_held = f"; whether soft delete holds it could not be read: {error}"

    async def _one(self, item: _Item) -> None:
        try:
            if not await self._manifest(item):
                return
            for tag in item.tags:
                await self._tag(item, tag)
            for lock in item.locks:
                await self._lock(item, lock)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # one item must not stop the others, whatever it runs into
            log.debug("restoring %s of %s", item.digest, self.name, exc_info=True)
            known = isinstance(error, AcrCleanupError)
            detail = str(error) if known else f"unexpected: {type(error).__name__}: {error}"
            told = {each.tag for each in self.found if each.digest == item.digest}
            self._say_all(item, RestoreOutcome.FAILED, detail, without=told)

    async def _manifest(self, item: _Item) -> bool:
        """See that the manifest is there; False if it cannot be."""
        if item.digest in self.inventory.manifests or not (item.whole or item.tags):
            if item.whole:
                self._say(item, None, RestoreOutcome.THERE)
            return item.digest in self.inventory.manifests
        try:
            outcome, how = await self._bring_back(item)
        except PartMissing as error:
            outcome, how = RestoreOutcome.LOST, str(error)
        if not outcome.is_back:
            self._say_all(item, outcome, how, manifest=True)
            return False
        self._say(item, None, outcome, how)
        return True

    async def _bring_back(self, item: _Item) -> tuple[RestoreOutcome, str]:
        """Raises `RegistryError`."""
        if item.digest in self.held:
            if self.dry_run:
                return RestoreOutcome.POSSIBLE, "from soft delete"
            taken = {tag.name for tag in self.inventory.tags}
            free = next((tag for tag in item.tags if tag not in taken), None)
            if await self.registry.undelete(self.name, item.digest, free):
                return RestoreOutcome.RESTORED, "from soft delete"
        if item.document is not None:
            if self.dry_run:
                return RestoreOutcome.POSSIBLE, "from the backup, if the registry still has its layers"
            await self.registry.put_document(self.name, item.digest, item.document)
            return RestoreOutcome.RESTORED, "from the backup"
        return RestoreOutcome.LOST, f"{NO_MANIFEST}{self.why_not_held}"

    async def _tag(self, item: _Item, tag: str) -> None:
        now = next((each for each in self.inventory.tags if each.name == tag), None)
        if now is not None:
            same = now.digest == item.digest
            self._say(
                item,
                tag,
                RestoreOutcome.THERE if same else RestoreOutcome.TAKEN,
                "" if same else f"names {now.digest} now",
            )
        elif self.dry_run:
            self._say(item, tag, RestoreOutcome.POSSIBLE)
        else:
            document = item.document or await self.registry.read_document(self.name, item.digest)
            if document is None:
                self._say(item, tag, RestoreOutcome.LOST, "the registry lists its manifest, and no longer has it")
                return
            await self.registry.put_document(self.name, item.digest, document, tag)
            self._say(item, tag, RestoreOutcome.RESTORED)

    async def _lock(self, item: _Item, lock: Lock) -> None:
        """As it was: on what has come back, and on what a run that was killed has left unlocked."""
        if self.dry_run or self._is_locked(item, lock):
            return
        lost = any(
            each.digest == item.digest and each.tag == lock.tag and not each.outcome.is_back for each in self.found
        )
        if not lost:
            await self.registry.lock(self.name, item.digest, lock)

    def _is_locked(self, item: _Item, lock: Lock) -> bool:
        if lock.tag is None:
            manifest = self.inventory.manifests.get(item.digest)
            return manifest is not None and manifest.lock == lock
        tags = self.inventory.tags_of.get(item.digest, ())
        return any(tag.name == lock.tag and tag.lock == lock for tag in tags)

    def _say(self, item: _Item, tag: str | None, outcome: RestoreOutcome, detail: str = "") -> None:
        self.found.append(Restored(self.name, item.digest, tag, outcome, detail))

    def _say_all(
        self,
        item: _Item,
        outcome: RestoreOutcome,
        detail: str,
        *,
        manifest: bool = False,
        without: Iterable[str | None] = (),
    ) -> None:
        names: list[str | None] = [None] if item.whole or manifest else []
        for tag in (*names, *item.tags):
            if tag not in without:
                self._say(item, tag, outcome, detail)
