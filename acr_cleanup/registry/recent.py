"""Reads the changes of a repository: its newest tags and manifests, without listing the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import TypeVar

from acr_cleanup.concurrency import gather
from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.references import Digest
from acr_cleanup.core.standing import RecentChanges
from acr_cleanup.errors import RegistryError
from acr_cleanup.registry import failures, wire
from acr_cleanup.registry.edges import EdgeReader
from acr_cleanup.registry.requests import RegistryRequests

T = TypeVar("T")


class RecentReader:
    """
    Reads what was pushed to one repository since some time by the registry's clock.

    Raises as `AcrRegistry` does.
    """

    def __init__(
        self, requests: RegistryRequests, edges: EdgeReader, name: str, since: datetime, *, concurrency: int
    ) -> None:
        self._requests = requests
        self._edges = edges
        self._name = name
        self._since = since
        self._concurrency = concurrency
        self._path = f"/acr/v1/{requests.quote_repository(name)}"

    async def read(
        self,
        read_repository: Callable[[], Awaitable[wire.RepositoryAttributes]],
        known: Container[Digest],
        settled: asyncio.Event,
    ) -> RecentChanges | None:
        """
        Read the newest entries at once, and the counts when `settled` is set.

        `known`: manifests whose edges need not be read. Returns None if only complete lists tell.
        """
        tags: dict[str, Tag] = {}
        listed: dict[str, wire.ListedManifest] = {}
        attributes: list[wire.RepositoryAttributes] = []

        async def list_tags() -> None:
            tags.update(await self._list("tags", wire.read_tags, lambda tag: tag.updated_at))

        async def list_manifests() -> None:
            listed.update(await self._list("manifests", wire.read_manifests, lambda entry: entry.manifest.updated_at))

        async def read_attributes() -> None:
            await settled.wait()
            attributes.append(await read_repository())

        await gather((list_tags, list_manifests, read_attributes), limit=3)
        recent_tags = self._recent((tag, tag.updated_at) for tag in tags.values())
        recent = self._recent((entry, entry.manifest.updated_at) for entry in listed.values())
        if recent_tags is None or recent is None:
            return None
        new = [entry for entry in recent if entry.manifest.digest not in known]
        names = {tag.name for tag in recent_tags}
        if any(tag not in names for entry in new for tag in entry.tags):
            # It has a tag that no list shows.
            return None
        manifests = await self._with_edges([entry.manifest for entry in new])
        if manifests is None:
            return None
        manifests += [entry.manifest for entry in recent if entry.manifest.digest in known]
        (counted,) = attributes
        return RecentChanges(
            tuple(recent_tags), tuple(manifests), counted.tags, counted.manifests, locked=counted.locked
        )

    async def _list(
        self, what: str, read: Callable[[bytes], dict[str, T]], time_of: Callable[[T], datetime | None]
    ) -> dict[str, T]:
        """The pages of a list, the newest entries first, up to one that was pushed before."""

        def reaches_earlier(page: dict[str, T]) -> bool:
            times = map(time_of, page.values())
            return any(moment is None or moment < self._since for moment in times)

        call = f"listing the newest {what} of {self._name}"
        try:
            return await self._requests.read_newest(f"{self._path}/_{what}", read, call, reaches_earlier)
        except wire.MalformedAnswer as error:
            raise failures.malformed_list(self._requests.login_server, call, error) from None

    def _recent(self, entries: Iterable[tuple[T, datetime | None]]) -> list[T] | None:
        """The entries since the time; None if the entries are not in descending order of their times."""
        recent: list[T] = []
        times: list[datetime] = []
        for entry, moment in entries:
            if moment is None:
                return None
            times.append(moment)
            if moment >= self._since:
                recent.append(entry)
        return recent if all(later >= earlier for later, earlier in pairwise(times)) else None

    async def _with_edges(self, manifests: Iterable[Manifest]) -> list[Manifest] | None:
        """Read their edges; None if that is not possible for one of them."""
        try:
            jobs = [partial(self._edges.read_edges, self._name, manifest) for manifest in manifests]
            read = await gather(jobs, limit=self._concurrency)
        except RegistryError:
            return None
        there = [manifest for manifest in read if manifest is not None]
        return there if len(there) == len(read) else None
