"""
The registry as the stages see it. `registry.acr.AcrRegistry` implements it; tests implement it in
memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.core.space import Content
from acr_cleanup.core.standing import RecentChanges
from acr_cleanup.core.subjects import SubjectQuestions
from acr_cleanup.core.verification import RepositoryNames

REPOSITORIES_AT_ONCE = 8
"""Repositories that a stage works on at once. The registry's pace bounds the requests themselves."""


class StoredDocument(Protocol):
    """A manifest byte for byte, as the journal keeps it."""

    @property
    def content(self) -> bytes: ...

    @property
    def media_type(self) -> str: ...


class Registry(Protocol):
    """
    One registry. Every method that sends a request raises `RegistryError` when the registry refuses
    it.
    """

    def announce(self, repositories: Iterable[str]) -> None:
        """Name the repositories that will be read: on some registries tokens must name them."""
        ...

    def now(self) -> datetime | None:
        """
        The time by the registry's clock, which dates every push; None before its first answer.
        """
        ...

    async def catalog(self) -> tuple[str, ...]:
        """List the names of all repositories."""
        ...

    async def list_repository(self, name: str) -> RepositoryInventory:
        """List every tag and manifest of the repository."""
        ...

    async def list_names(self, name: str, earlier: Mapping[Digest, Digest] | None = None) -> RepositoryNames:
        """
        List the names of every tag and manifest of the repository.

        earlier: digests of the repository in memory, each by itself: their texts are used again.
        """
        ...

    async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
        """
        Add the children and subjects of the manifests. Those of an unreadable manifest remain
        unknown.
        """
        ...

    async def read_changes(
        self, name: str, since: datetime, known: Container[Digest], settled: asyncio.Event
    ) -> RecentChanges | None:
        """
        Read the newest entries of a repository, and its counts.

        Returns None if only complete lists tell.

        known: manifests whose edges need not be read.
        settled: the counts are read when it is set. Before, deletions in flight change them.
        """
        ...

    async def read_subjects(self, inventory: RepositoryInventory, questions: SubjectQuestions) -> RepositoryInventory:
        """Add what the registry answers to these questions about subjects and referrers."""
        ...

    async def has_attributes(self, repository: str, name: str) -> bool:
        """Ask whether this tag with its manifest, or this digest, exists, even if it cannot be pulled."""
        ...

    async def read_contents(self, inventory: RepositoryInventory) -> tuple[dict[Digest, Content | None], int]:
        """
        Read the size of each manifest (None: unknown). Also returns the number of manifests read
        for it.
        """
        ...

    async def resolves(self, repository: str, name: str) -> bool:
        """Ask whether this tag or digest can be pulled."""
        ...

    async def untag(self, repository: str, tag: str) -> OutcomeKind:
        """Remove one tag. Returns `deleted`, `gone` or `locked`."""
        ...

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        """Delete a manifest and every tag on it. Returns `deleted`, `gone` or `locked`."""
        ...

    async def unlock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        """
        Unlock this tag or manifest. Returns the digest it names now, None if it does not exist.
        """
        ...

    async def lock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        """Set the attributes of `lock` again. Returns the same as `unlock`."""
        ...

    async def read_document(self, repository: str, digest: Digest) -> StoredDocument | None:
        """Read a manifest byte for byte; None if it does not exist."""
        ...
