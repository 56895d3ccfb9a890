"""
Reads which images are in use: scans every configured cluster, and searches for clusters that are
not configured.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec

from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.target import ClusterTarget, Waiver
from acr_cleanup.concurrency import gather
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import SERVICES, ClusterScan, ImageUse, Outside, UsageIndex, Workload
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

    async def read_services(self, *, planned: bool) -> tuple[tuple[ClusterScan, ...], Outside]:
        """
        Read the other services of Azure that use images.

        planned: a plan exists already, so only what decides is read.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServiceChoice:
    """
    Which services of Azure are read, and how.

    groups: the selected groups; `auto` for all that exist, empty for none.
    required: a subscription that is not seen as a whole is a blocker.
    revisions: how many inactive revisions of each Container App count as used.
    site_snapshots: how many snapshots of the configuration of each site count as used.
    """

    groups: frozenset[str] = frozenset()
    required: bool = False
    registry_subscription: str | None = None
    registry_group: str | None = None
    revisions: int = sys.maxsize
    site_snapshots: int = 0
    concurrency: int = 8


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
    services: ServiceChoice = ServiceChoice()

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

    async def read_services(self, *, planned: bool) -> tuple[tuple[ClusterScan, ...], Outside]:
        if not self.services.groups:
            return (), Outside()
        from acr_cleanup.clusters.unlisted import KnownClusters  # noqa: PLC0415
        from acr_cleanup.services.reader import ServiceSearch  # noqa: PLC0415
        from acr_cleanup.services.scan import read_services  # noqa: PLC0415

        known = await asyncio.to_thread(KnownClusters.of, self.targets)
        search = ServiceSearch(
            self.registry,
            subscriptions=self.subscriptions or known.subscriptions,
            read_text=partial(uses_in_text, self.registry),
            only_these=bool(self.subscriptions),
            registry_subscription=self.services.registry_subscription,
            registry_group=self.services.registry_group,
            groups=self.services.groups,
            required=self.services.required,
            waived=[waiver.kind for waiver in self.waive if waiver.cluster == SERVICES],
            revisions=self.services.revisions,
            site_snapshots=self.services.site_snapshots,
            known_clusters=known.ids | known.hosts,
            pullers=not planned,
            concurrency=self.services.concurrency,
        )
        return await read_services(search, self.azure)


def uses_in_text(registry: RegistryHost, resource: Any, workload: Workload, known: Sequence[str]) -> Iterable[ImageUse]:
    """
    Find images in all text of a resource of Azure, with the reader of Kubernetes objects.

    known: the texts of its image fields. A resource that names the registry nowhere else is not read.
    """
    from acr_cleanup.clusters.images.pod_specs import uses_in_document  # noqa: PLC0415

    text = msgspec.json.encode(resource).decode()
    if registry.times_in(text) <= registry.times_in("\n".join(known)):
        return ()
    return uses_in_document(resource, workload, "", registry).uses


async def read_usage(
    sources: UsageSources, progress: Progress, clock: Callable[[], datetime], *, planned: bool = False
) -> UsageIndex:
    """
    Scan all clusters, read services, and search for unlisted clusters, side by side.

    planned: a plan exists already. Then unlisted clusters are searched for only if they would
        block.
    """
    read_at = clock()
    scans, services = tuple[ClusterScan, ...](), tuple[ClusterScan, ...]()
    outside, beside = Outside(), Outside()

    async def scan() -> None:
        nonlocal scans
        scans = await sources.scan(progress)

    async def find_unlisted() -> None:
        nonlocal outside
        outside = await sources.find_unlisted()

    async def read_services() -> None:
        nonlocal services, beside
        services, beside = await sources.read_services(planned=planned)

    jobs = [scan, read_services]
    if not planned or sources.unlisted_block:
        jobs.append(find_unlisted)
    await gather(jobs, limit=len(jobs))
    return UsageIndex.of((*scans, *services), read_at, outside + beside)
