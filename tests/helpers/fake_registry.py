"""A registry and a journal in memory, for tests of the apply stage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass, field, replace
from datetime import datetime

from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.core.standing import RecentChanges
from acr_cleanup.core.steps import Step
from acr_cleanup.core.subjects import SubjectQuestions
from acr_cleanup.core.verification import RepositoryNames
from acr_cleanup.records.journal import JournalError

Hook = Callable[[str], Awaitable[None]]
"""Awaited before a call, with the call as text. An exception that it raises becomes the call's."""


def names_of(inventory: RepositoryInventory) -> RepositoryNames:
    return RepositoryNames({tag.name: tag.digest for tag in inventory.tags}, inventory.manifests.keys())


@dataclass
class FakeDocument:
    """The content of a manifest."""

    content: bytes
    media_type: str


@dataclass
class FakeRegistry:
    """A registry with one repository."""

    inventory: RepositoryInventory
    before_change: Hook | None = None
    """Runs before each `untag`, `delete`, `unlock` and `lock`."""
    before_read: Hook | None = None
    """Runs before each `list`, `edges` and `read` (of a manifest)."""
    calls: list[str] = field(default_factory=list)
    locked_calls: set[str] = field(default_factory=set)
    """Deletions that the registry answers with `locked`."""
    digests_at_unlock: dict[str, Digest | None] = field(default_factory=dict)
    """The digest that a tag names when it is unlocked or locked, if it is not the planned one."""
    denies_deletions: bool = False
    """The registry answers a deletion with `gone`, although it deleted nothing."""
    documents: dict[Digest, FakeDocument] = field(default_factory=dict)
    clock: datetime | None = None
    """The time of the registry. Without it, every look is a full one."""

    @property
    def changes(self) -> list[str]:
        """All calls that change the registry."""
        return [call for call in self.calls if not call.startswith(("list", "read"))]

    @property
    def verbs(self) -> list[str]:
        """The first word of each call."""
        return [call.partition(" ")[0] for call in self.calls]

    async def list_repository(self, name: str) -> RepositoryInventory:
        assert name == self.inventory.name
        self.calls.append(f"list {name}")
        await _run(self.before_read, f"list {name}")
        return self.inventory

    async def list_names(self, name: str, _: object = None) -> RepositoryNames:
        return names_of(await self.list_repository(name))

    def now(self) -> datetime | None:
        return self.clock

    async def read_changes(
        self, name: str, since: datetime, known: Container[Digest], settled: asyncio.Event
    ) -> RecentChanges | None:
        assert name == self.inventory.name
        self.calls.append(f"list changes of {name}")
        await _run(self.before_read, f"changes {name}")
        listed = recent_changes(self.inventory, since, known)
        await settled.wait()
        counted = recent_changes(self.inventory, since, known)
        return replace(counted, tags=listed.tags, manifests=listed.manifests)

    async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
        await _run(self.before_read, f"edges {inventory.name}")
        return inventory

    async def read_subjects(self, inventory: RepositoryInventory, questions: SubjectQuestions) -> RepositoryInventory:
        """Answer that none of them can be read."""
        return replace(
            inventory,
            unreadable=inventory.unreadable | set(questions.bodies),
            unlistable=inventory.unlistable | set(questions.referrers),
        )

    async def resolves(self, repository: str, name: str) -> bool:
        assert repository == self.inventory.name
        return name in self.inventory.manifests or name in self.inventory.names

    async def has_attributes(self, repository: str, name: str) -> bool:
        return await self.resolves(repository, name)

    async def read_document(self, repository: str, digest: Digest) -> FakeDocument | None:
        self.calls.append(f"read {repository} {digest}")
        await _run(self.before_read, f"read {digest}")
        return self.documents.get(digest)

    async def untag(self, repository: str, tag: str) -> OutcomeKind:
        assert repository == self.inventory.name
        return await self._delete(f"untag {tag}", lambda listed: listed.name == tag, None)

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        assert repository == self.inventory.name
        return await self._delete(f"delete {digest}", lambda listed: listed.digest == digest, digest)

    async def unlock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        assert repository == self.inventory.name
        return await self._set_lock("unlock", digest, lock)

    async def lock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        assert repository == self.inventory.name
        return await self._set_lock("lock", digest, lock)

    def lose(self, digest: Digest) -> None:
        """Delete a manifest and its tags, as another client of the registry would."""
        tags = tuple(tag for tag in self.inventory.tags if tag.digest != digest)
        manifests = {key: manifest for key, manifest in self.inventory.manifests.items() if key != digest}
        self.inventory = RepositoryInventory(self.inventory.name, tags, manifests)

    async def _set_lock(self, verb: str, digest: Digest, lock: Lock) -> Digest | None:
        call = f"{verb} {lock.tag or digest}"
        self.calls.append(call if verb == "unlock" else f"{call} {lock.delete_enabled} {lock.write_enabled}")
        await _run(self.before_change, call)
        if digest not in self.inventory.manifests:
            return None
        return self.digests_at_unlock.get(lock.tag or "", digest)

    async def _delete(self, call: str, matches: Callable[..., bool], digest: Digest | None) -> OutcomeKind:
        self.calls.append(call)
        await _run(self.before_change, call)
        if call in self.locked_calls:
            return OutcomeKind.LOCKED
        if self.denies_deletions:
            return OutcomeKind.GONE
        tags = tuple(tag for tag in self.inventory.tags if not matches(tag))
        is_gone = len(tags) == len(self.inventory.tags) and digest not in self.inventory.manifests
        manifests = {key: manifest for key, manifest in self.inventory.manifests.items() if key != digest}
        self.inventory = RepositoryInventory(self.inventory.name, tags, manifests)
        return OutcomeKind.GONE if is_gone else OutcomeKind.DELETED


def recent_changes(inventory: RepositoryInventory, since: datetime, known: Container[Digest] = ()) -> RecentChanges:
    """The answer of a registry with this content to a question for changes."""
    del known
    return RecentChanges(
        tuple(tag for tag in inventory.tags if tag.updated_at is not None and tag.updated_at >= since),
        tuple(
            manifest
            for manifest in inventory.manifests.values()
            if manifest.updated_at is not None and manifest.updated_at >= since
        ),
        len(inventory.tags),
        len(inventory.manifests),
        locked=inventory.locked,
    )


async def _run(hook: Hook | None, call: str) -> None:
    if hook is not None:
        await hook(call)


class FakeRegistryOfMany(FakeRegistry):
    """A registry with several repositories; `before_change` gets `delete REPOSITORY`."""

    def __init__(self, *inventories: RepositoryInventory) -> None:
        super().__init__(inventories[0])
        self.repositories = {inventory.name: FakeRegistry(inventory, calls=self.calls) for inventory in inventories}

    async def list_repository(self, name: str) -> RepositoryInventory:
        return await self.repositories[name].list_repository(name)

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        await _run(self.before_change, f"delete {repository}")
        return await self.repositories[repository].delete_manifest(repository, digest)


@dataclass
class FakeJournal:
    """A journal in memory."""

    failure: JournalError | None = None
    """Raised by each write, if it is set."""
    intents: list[tuple[str, Digest, bytes | None, str]] = field(default_factory=list)
    """Repository, digest, content and media type of each deletion."""
    outcomes: list[tuple[int, OutcomeKind, str]] = field(default_factory=list)
    """Number of the intent, kind and detail of each outcome."""

    @property
    def open_intents(self) -> int:
        """The number of intents that have no outcome yet."""
        return len(self.intents) - len(self.outcomes)

    async def intend(self, repository: str, step: Step, document: bytes | None = None, media_type: str = "") -> int:
        if self.failure:
            raise self.failure
        self.intents.append((repository, step.digest, document, media_type))
        return len(self.intents)

    def outcome(self, number: int, kind: OutcomeKind, detail: str = "") -> None:
        self.outcomes.append((number, kind, detail))
