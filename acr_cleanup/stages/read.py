"""
Reads which images are in use: scans every configured cluster, and searches for clusters that are
not configured.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.target import ClusterTarget, Search, Waiver
from acr_cleanup.concurrency import gather
from acr_cleanup.core.mentions import MentionSource, NoMentions
from acr_cleanup.core.pulls import NO_PULLS, PULL_LOG, PullLog
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import SERVICES, ClusterScan, ImageUse, Outside, UsageIndex
from acr_cleanup.core.workload import Workload
from acr_cleanup.runtimes.base import Progress
from acr_cleanup.stages.cache_rules import CacheRules, mirrors_of

if TYPE_CHECKING:
    from acr_cleanup.clusters.images.pod_specs import Findings


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

    async def read_services(
        self, repositories: Collection[str], *, planned: bool
    ) -> tuple[tuple[ClusterScan, ...], Outside]:
        """
        Read the other services of Azure that use images, and look for the names of these repositories.

        planned: a plan exists already, so only what decides is read.
        """
        ...

    async def read_pulls(self, now: datetime) -> tuple[PullLog, Outside]:
        """Read what the log of the registry shows as pulled, if it is to be read."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceChoice:
    """
    The services of Azure that are read, and how.

    groups: the selected groups; `auto` for all that exist, empty for none.
    required: a subscription that is not seen as a whole is a blocker.
    revisions: how many inactive revisions of each Container App count as used.
    site_snapshots: how many snapshots of the configuration of each site count as used.
    """

    groups: frozenset[str] = frozenset()
    required: bool = False
    revisions: int = sys.maxsize
    site_snapshots: int = 0
    concurrency: int = 8


@dataclass(frozen=True)
class ConfiguredClusters:
    """The clusters of a configuration, as `UsageSources`."""

    azure: Azure
    place: RegistryPlace
    targets: tuple[ClusterTarget, ...]
    helm_history: int = 0
    """Newest revisions of each Helm release that count as used."""
    waive: tuple[Waiver, ...] = ()
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """Upstream host -> folder of the registry."""
    cache_rules: CacheRules | None = None
    """The cache rules of the registry, which are mirrors too."""
    ignore_kinds: frozenset[str] = frozenset()
    """Kinds that describe images and do not need them."""
    subscriptions: tuple[str, ...] = ()
    """Where to search for unlisted clusters; empty: in the subscriptions of the targets."""
    unlisted_block: bool = False
    services: ServiceChoice = ServiceChoice()
    pulled_within: timedelta | None = None
    """None: the log of the registry is not read."""
    ignore_pulls_by: tuple[str, ...] = ()
    shows_addresses: bool = False
    """Show the addresses of clients that pulled."""

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
        names = self._names(repositories, await self._read_rules(repositories))
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

    @property
    def unread_rules(self) -> tuple[str, ...]:
        """A warning if the cache rules of the registry could not be read."""
        return self.cache_rules.warnings if self.cache_rules is not None else ()

    async def _read_rules(self, repositories: Collection[str]) -> Sequence[Resource] | None:
        return await self.cache_rules.read() if self.cache_rules is not None and repositories else None

    def _names(self, repositories: Collection[str], rules: Sequence[Resource] | None) -> Names:
        return Names.of(self.place.host, repositories, {**mirrors_of(rules), **self.mirrors})

    async def find_unlisted(self) -> Outside:
        from acr_cleanup.clusters.unlisted import find_unlisted  # noqa: PLC0415

        return await find_unlisted(self.targets, self.subscriptions, self.azure, required=self.unlisted_block)

    async def read_services(
        self, repositories: Collection[str], *, planned: bool
    ) -> tuple[tuple[ClusterScan, ...], Outside]:
        rules = await self._read_rules(repositories)
        unread = Outside(warnings=self.unread_rules)
        if not self.services.groups:
            return (), unread
        from acr_cleanup.clusters.unlisted import KnownClusters  # noqa: PLC0415
        from acr_cleanup.services.reader import ServiceSearch  # noqa: PLC0415
        from acr_cleanup.services.scan import read_services  # noqa: PLC0415

        known = await asyncio.to_thread(KnownClusters.of, self.targets)
        texts = ServiceTexts(self._names(repositories, rules))
        search = ServiceSearch(
            self.place,
            subscriptions=self.subscriptions or known.subscriptions,
            read_text=texts.read,
            only_these=bool(self.subscriptions),
            cache_rules=rules,
            groups=self.services.groups,
            required=self.services.required,
            waived=self._waived_services - {PULL_LOG},
            revisions=self.services.revisions,
            site_snapshots=self.services.site_snapshots,
            known_clusters=known.ids | known.hosts,
            pullers=not planned,
            concurrency=self.services.concurrency,
        )
        scans, outside = await read_services(search, self.azure)
        return tuple(replace(scan, mentions=texts.mentions(scan.cluster)) for scan in scans), outside + unread

    @property
    def _waived_services(self) -> frozenset[str]:
        return frozenset(waiver.kind for waiver in self.waive if waiver.cluster == SERVICES)

    async def read_pulls(self, now: datetime) -> tuple[PullLog, Outside]:
        if not self.pulled_within:
            return NO_PULLS, Outside()
        from acr_cleanup.clusters.unlisted import searched_subscriptions  # noqa: PLC0415
        from acr_cleanup.registry.pull_log import PullLogSearch, read_pull_log  # noqa: PLC0415

        search = PullLogSearch(
            self.place,
            self.pulled_within,
            self.ignore_pulls_by,
            await asyncio.to_thread(searched_subscriptions, self.targets, self.subscriptions),
            waived=PULL_LOG in self._waived_services,
            addresses=self.shows_addresses,
        )
        return await read_pull_log(search, self.azure, now)


@dataclass
class ServiceTexts:
    """Reads all text of resources of Azure with the reader of Kubernetes objects, and collects the mentions."""

    names: Names
    _found: dict[str, Findings] = field(default_factory=dict)

    def read(self, resource: Any, workload: Workload) -> Iterable[ImageUse]:
        """Return the uses in a resource; its mentions are added to those of its subscription."""
        from acr_cleanup.clusters.images.pod_specs import Findings, uses_in_document  # noqa: PLC0415

        findings = uses_in_document(resource, workload, "", self.names)
        self._found.setdefault(workload.cluster, Findings()).add(findings)
        return findings.uses

    def mentions(self, cluster: str) -> MentionSource:
        """Return the mentions of a subscription (`azure:SUBSCRIPTION`)."""
        from acr_cleanup.clusters.images.mention_index import MentionIndex  # noqa: PLC0415

        found = self._found.get(cluster)
        return NoMentions() if found is None else MentionIndex(found.mentions, found.digests)


async def read_usage(
    sources: UsageSources,
    names: Collection[str] | None,
    progress: Progress,
    clock: Callable[[], datetime],
    *,
    planned: bool = False,
    registry: RegistryHost | None = None,
) -> UsageIndex:
    """
    Scan all clusters, read services and pulls, and search for unlisted clusters, side by side.

    names: of the registry's repositories. None: they are unknown, so the clusters are read twice: for the repositories
        that are used, and for what else names these. No other repository can lose anything.
    planned: a plan exists already. Then unlisted clusters are searched for only if they would block.
    registry: a warning says if no object names it.
    """
    read_at = clock()
    scans, services = tuple[ClusterScan, ...](), tuple[ClusterScan, ...]()
    outside, beside, of_log = Outside(), Outside(), Outside()
    pulls = NO_PULLS

    async def read() -> None:
        nonlocal scans, services, beside
        known = await used_repositories(sources, progress) if names is None else names

        async def scan() -> None:
            nonlocal scans
            scans = await sources.scan(progress, known)

        async def read_services() -> None:
            nonlocal services, beside
            services, beside = await sources.read_services(known, planned=planned)

        await gather([scan, read_services], limit=2)

    async def find_unlisted() -> None:
        nonlocal outside
        outside = await sources.find_unlisted()

    async def read_pulls() -> None:
        nonlocal pulls, of_log
        pulls, of_log = await sources.read_pulls(read_at)

    jobs = [read, read_pulls] if planned and not sources.unlisted_block else [read, read_pulls, find_unlisted]
    await gather(jobs, limit=len(jobs))
    outside += beside + of_log
    if registry is not None:
        outside += Outside(warnings=unnamed_registry(scans, services, registry))
    return UsageIndex.of((*scans, *services), read_at, outside, pulls)


def unnamed_registry(
    scans: Sequence[ClusterScan], services: Sequence[ClusterScan], registry: RegistryHost
) -> tuple[str, ...]:
    """
    Return a warning if everything was read, and nothing of it names the registry.

    Without it, a run with the registry of another environment would succeed for ever, and delete nothing.
    """
    everything = (*scans, *services)
    if not scans or any(scan.uses or scan.blockers or _may_name(scan) for scan in everything):
        return ()
    seen = f"No object of any cluster names {registry.login_server}"
    others = sorted({host for scan in scans for host in scan.registries})
    if not others:
        return (f"{seen}. Check that the registry and the clusters belong together.",)
    name = registry.login_server.partition(".")[0].partition("-")[0]
    own = [host for host in others if host.partition(".")[0].partition("-")[0] == name]
    hint = f" If {own[0]} is this registry, configure that login server." if own else ""
    return (f"{seen}. They name {', '.join(others)}. Check that the registry and the clusters belong together.{hint}",)


def _may_name(scan: ClusterScan) -> bool:
    if scan.names_registry is None:
        # Read by a run command, or elsewhere: only what names the registry was handed over.
        return not scan.mentions.is_empty
    return scan.names_registry


async def used_repositories(sources: UsageSources, progress: Progress) -> frozenset[str]:
    """Return the repositories that are used: the only ones whose names are known without a catalog."""
    services, _ = await sources.read_services((), planned=True)
    scans = (*await sources.scan(progress, ()), *services)
    names = (use.reference.repository for scan in scans for use in scan.uses)
    return frozenset(name for name in names if not name.endswith("/"))
