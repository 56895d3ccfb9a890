"""
Reads which images are in use: scans every configured cluster, and searches for clusters that are
not configured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.target import ClusterTarget, Waiver
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

    async def scan(self, progress: Progress) -> tuple[ClusterScan, ...]:
        """
        Read all clusters side by side. A cluster that cannot be read completely has blockers in its
        scan.
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
    subscriptions: tuple[str, ...] = ()
    """Where to search for unlisted clusters; empty: in the subscriptions of the targets."""
    unlisted_block: bool = False

    async def scan(self, progress: Progress) -> tuple[ClusterScan, ...]:
        # The SDKs take more than a second to import; a wrong configuration must not wait for them.
        from acr_cleanup.clusters.scan_clusters import scan_clusters  # noqa: PLC0415

        done = 0

        def report(scan: ClusterScan) -> None:
            nonlocal done
            done += 1
            summary = f"{len(scan.blockers)} blockers" if scan.blockers else f"{scan.objects} objects"
            progress("clusters", done, len(self.targets), f"{scan.cluster}: {summary}")

        progress("clusters", 0, len(self.targets), "")
        scans = await scan_clusters(
            self.targets,
            self.registry,
            self.azure,
            progress=report,
            helm_history=self.helm_history,
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
    sources: UsageSources, progress: Progress, clock: Callable[[], datetime], *, planned: bool = False
) -> UsageIndex:
    """
    Scan all clusters and search for unlisted ones, side by side.

    planned: a plan exists already. Then unlisted clusters are searched for only if they would
        block.
    """
    read_at = clock()
    scans, outside = tuple[ClusterScan, ...](), Outside()

    async def scan() -> None:
        nonlocal scans
        scans = await sources.scan(progress)

    async def find_unlisted() -> None:
        nonlocal outside
        outside = await sources.find_unlisted()

    jobs = [scan] if planned and not sources.unlisted_block else [scan, find_unlisted]
    await gather(jobs, limit=len(jobs))
    return UsageIndex.of(scans, read_at, outside)
