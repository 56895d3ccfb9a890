"""The newest tags and manifests of a repository, without listing the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import TypeVar

from acr_cleanup.concurrency import gather
from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.errors import RegistryError
from acr_cleanup.quoting import quoted
from acr_cleanup.registry import failures, wire
from acr_cleanup.registry.edges import EdgeReader
from acr_cleanup.registry.requests import RegistryRequests

T = TypeVar("T")


async def read_recent(
    requests: RegistryRequests, name: str, since: datetime
) -> tuple[Sequence[Tag], Sequence[wire.ListedManifest]] | None:
    """
    Read every tag and manifest pushed since this time by the registry's clock.

    Returns None if the registry does not list them in the order of their times, or not all.
    """
    path = f"/acr/v1/{requests.quote_repository(name)}"
    tags: dict[str, Tag] = {}
    manifests: dict[str, wire.ListedManifest] = {}

    async def list_tags() -> None:
        nonlocal tags
        call = f"listing the newest tags of {name}"
        tags = await requests.read_newest(
            f"{path}/_tags",
            wire.read_tags,
            call,
            lambda page: _reaches(since, (tag.updated_at for tag in page.values())),
        )

    async def list_manifests() -> None:
        nonlocal manifests
        call = f"listing the newest manifests of {name}"
        manifests = await requests.read_newest(
            f"{path}/_manifests",
            wire.read_manifests,
            call,
            lambda page: _reaches(since, (entry.manifest.updated_at for entry in page.values())),
        )

    try:
        await gather((list_tags, list_manifests), limit=2)
    except wire.MalformedAnswer as error:
        seen = f"the response is not a valid list: {quoted(str(error))}."
        raise failures.not_listed(requests.login_server, f"listing the newest entries of {name}", seen) from None
    recent_tags = _since(since, ((tag, tag.updated_at) for tag in tags.values()))
    recent_manifests = _since(since, ((entry, entry.manifest.updated_at) for entry in manifests.values()))
    if recent_tags is None or recent_manifests is None:
        return None
    return recent_tags, recent_manifests


async def read_new(
    edges: EdgeReader, name: str, listed: Iterable[wire.ListedManifest], tags: Iterable[Tag], *, concurrency: int
) -> list[Manifest] | None:
    """
    Read the edges of manifests that were not there before.

    Returns None if that is not possible, or if one has a tag that is not among the newest `tags`.
    """
    listed = tuple(listed)
    names = {tag.name for tag in tags}
    if any(tag not in names for entry in listed for tag in entry.tags):
        return None
    try:
        jobs = [partial(edges.read_edges, name, entry.manifest) for entry in listed]
        manifests = await gather(jobs, limit=concurrency)
    except RegistryError:
        return None
    read = [manifest for manifest in manifests if manifest is not None]
    return read if len(read) == len(manifests) else None


def _reaches(since: datetime, times: Iterable[datetime | None]) -> bool:
    """Does this page, which is not empty, reach an entry before `since`, or one without a time?"""
    return any(moment is None or moment < since for moment in times)


def _since(since: datetime, entries: Iterable[tuple[T, datetime | None]]) -> list[T] | None:
    """The entries since this time; None if the entries are not in descending order of their times."""
    recent: list[T] = []
    times: list[datetime] = []
    for entry, moment in entries:
        if moment is None:
            return None
        times.append(moment)
        if moment >= since:
            recent.append(entry)
    return recent if all(later >= earlier for later, earlier in pairwise(times)) else None
