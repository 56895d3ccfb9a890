"""Usage snapshots: what was read of clusters elsewhere, in a file that another run can trust, or refuse."""

from __future__ import annotations

from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.clusters.unread import Unread
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan


def read_snapshot(target: SnapshotCluster, registry: Registry, helm_history: int) -> ClusterScan:
    """This cluster's scan, from its snapshot. Raises `Unread` for anything but a whole, fresh one of this cluster and registry."""
    raise Unread("reading its usage snapshot", f"{target.path} is not read.", f"{registry} {helm_history}")
