"""Scans all configured clusters side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.read_failure import attempt
from acr_cleanup.access.resource_manager import open_manager
from acr_cleanup.clusters.api_server.client import Patience
from acr_cleanup.clusters.api_server.kubeconfig import ConnectionOptions
from acr_cleanup.clusters.target import ClusterAccess, ClusterTarget, Search, Waiver
from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import ClusterScan, is_workload_kind
from acr_cleanup.quoting import quoted

CLUSTERS_AT_ONCE = 100
"""With more, the CPU decides how long it takes. Each may hold a page in memory."""


async def scan_clusters(
    targets: Sequence[ClusterTarget],
    search: Search,
    azure: Azure,
    *,
    progress: Callable[[ClusterScan], None] | None = None,
    concurrency: int = CLUSTERS_AT_ONCE,
    patience: Patience | None = None,
    waive: Collection[Waiver] = (),
) -> tuple[ClusterScan, ...]:
    """
    Return one scan per target, in the order of the targets.

    progress: called with each scan when it is finished.
    search: what to look for in each of them.
    waive: kinds that block nothing if they could not be listed.

    A cluster that cannot be read gets a blocker, and the others are read. Raises only
    `IdentityError`, without a login.
    """
    async with open_manager(azure) as manager:
        options = ConnectionOptions.of(azure, clusters=min(len(targets), concurrency))
        access = ClusterAccess(options, manager, patience or Patience())

        async def scan(target: ClusterTarget) -> ClusterScan:
            result = await _scan(target, access, search)
            given = [waiver for waiver in waive if waiver.cluster == target.key]
            ignored = [waiver.kind for waiver in given if is_workload_kind(waiver.kind) and not waiver.workloads]
            result = result.waive([waiver.kind for waiver in given if waiver.kind not in ignored])
            notes = tuple(
                f"the waiver of {kind} has no effect, because these objects run or start pods. Only waive-workloads skips them."
                for kind in ignored
            )
            result = replace(result, notes=(*result.notes, *notes))
            if progress is not None:
                progress(result)
            return result

        return tuple(await gather([partial(scan, target) for target in targets], limit=concurrency))


async def _scan(target: ClusterTarget, access: ClusterAccess, search: Search) -> ClusterScan:
    # A cluster that cannot be read gets a blocker, and the others are read.
    result, failure = await attempt(f"read {quoted(target.describe())}", partial(target.read, access, search))
    return result or ClusterScan(target.key, blockers=(failure.blocker(target.key),) if failure else ())
