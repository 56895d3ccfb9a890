"""
Reads which images are in use: scans every configured cluster, and searches for clusters that are
not configured.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.target import ClusterTarget, Search, Waiver
from acr_cleanup.concurrency import gather
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import ClusterScan, Outside, UsageIndex
from acr_cleanup.runtimes.base import Progress


class UsageSources(Protocol):
    """The clusters whose use of images counts."""

    @property
    def unlisted_block(self) -> bool:
        """Is a cluster that the configuration does not list a blocker? If not, it is a warning."""
        ...

    async def scan(self, progress: Progress, repositories: Collection[str]) -> tuple[ClusterScan, ...]:
        """
        Read all clusters side by side, and look for the names of these repositories.

        A cluster that cannot be read completely has blockers in its scan.
        """
        ...

    async def find_unlisted(self) -> Outside:
        """Search for clusters that the configuration does not list."""
        ...


@dataclass(frozen=True)
class ConfiguredClusters:
    """The clusters of a configuration, as `UsageSources`."""

    azure: Azure
    registry: RegistryHost
    targets: tuple[ClusterTarget, ...]
    helm_history: int = 0
    """Newest revisions of each Helm release that count as used."""
    waive: tuple[Waiver, ...] = ()
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """Upstream host -> folder of the registry."""
    read_cache_rules: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    """Asks for the cache rules of the registry, which are mirrors too."""
    ignore_kinds: frozenset[str] = frozenset()
    """Kinds that describe images and do not need them."""
    subscriptions: tuple[str, ...] = ()
    """Where to search for unlisted clusters; empty: in the subscriptions of the targets."""
    unlisted_block: bool = False

    async def scan(self, progress: Progress, repositories: Collection[str]) -> tuple[ClusterScan, ...]:
        # The SDKs take more than a second to import; a wrong configuration must not wait for them.
        from acr_cleanup.clusters.scan_clusters import scan_clusters  # noqa: PLC0415

        done = 0

        def report(scan: ClusterScan) -> None:
            nonlocal done
            done += 1
            summary = f"{len(scan.blockers)} blockers" if scan.blockers else f"{scan.objects} objects"
            progress("clusters", done, len(self.targets), f"{scan.cluster}: {summary}")

        progress("clusters", 0, len(self.targets), "")
        rules = await self.read_cache_rules() if self.read_cache_rules is not None and repositories else {}
        names = Names.of(self.registry, repositories, {**rules, **self.mirrors})
        scans = await scan_clusters(
            self.targets,
            Search(names, self.helm_history, self.ignore_kinds),
            self.azure,
            progress=report,
            waive=self.waive,
        )
        return tuple(
            replace(scan, resource_id=target.resource_id or scan.resource_id)
            for target, scan in zip(self.targets, scans, strict=True)
        )

    async def find_unlisted(self) -> Outside:
        from acr_cleanup.clusters.unlisted import find_unlisted  # noqa: PLC0415

        return await find_unlisted(self.targets, self.subscriptions, self.azure, required=self.unlisted_block)


async def read_usage(
    sources: UsageSources,
    names: Collection[str] | None,
    progress: Progress,
    clock: Callable[[], datetime],
    *,
    planned: bool = False,
) -> UsageIndex:
    """
    Scan all clusters and search for unlisted ones, side by side.

    names: of the registry's repositories. None: they are unknown, so the clusters are read twice: for the repositories
        that are used, and for what else names these. No other repository can lose anything.
    planned: a plan exists already. Then unlisted clusters are searched for only if they would block.
    """
    read_at = clock()
    scans, outside = tuple[ClusterScan, ...](), Outside()

    async def scan() -> None:
        nonlocal scans
        known = await used_repositories(sources, progress) if names is None else names
        scans = await sources.scan(progress, known)

    async def find_unlisted() -> None:
        nonlocal outside
        outside = await sources.find_unlisted()

    jobs = [scan] if planned and not sources.unlisted_block else [scan, find_unlisted]
    await gather(jobs, limit=len(jobs))
    return UsageIndex.of(scans, read_at, outside)


async def used_repositories(sources: UsageSources, progress: Progress) -> frozenset[str]:
    """Return the repositories that are used: the only ones whose names are known without a catalog."""
    return frozenset(use.reference.repository for scan in await sources.scan(progress, ()) for use in scan.uses)
