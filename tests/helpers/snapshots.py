"""Usage snapshots of one small scan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acr_cleanup.clusters.snapshot import SnapshotEntry, write_snapshot
from acr_cleanup.clusters.snapshot_reader import read_snapshot
from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.core.references import Digest, ImageReference, RegistryHost, parse_reference
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.records.names import RegistryNames

NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)


KEY = "production"


REGISTRY = RegistryHost("contoso.azurecr.io", frozenset({"images.contoso.example"}))


AKS = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks"


DIGEST = Digest(f"sha256:{'0a' * 32}")


def use(reference: ImageReference, *, running: bool = False, name: str = "web") -> ImageUse:
    workload = Workload(KEY, "shop", "Deployment", name)
    return ImageUse(workload, "main", "spec.containers[0].image", str(reference), reference, running)


SCAN = ClusterScan(
    KEY,
    uses=(
        use(parse_reference("contoso.azurecr.io/shop/web:2.0"), running=True),
        use(parse_reference(f"contoso.azurecr.io/shop/web:2.1@{DIGEST}")),
        use(parse_reference(f"contoso.azurecr.io/shop/web@{DIGEST}")),
        use(ImageReference("contoso.azurecr.io", "shop/api", None, None)),
    ),
    access="direct",
    objects=12,
    waived=(Blocker(KEY, "list rollouts.argoproj.io", "403 Forbidden.", "Let it.", "rollouts.argoproj.io"),),
    notes=("It is managed by Helm.",),
)


def write(
    path: Path,
    *scans: ClusterScan,
    read_at: datetime = NOW,
    registry: RegistryHost = REGISTRY,
    helm_history: int = 3,
    names: RegistryNames | None = None,
) -> Path:
    clusters = [SnapshotEntry(scan, read_at, AKS) for scan in scans or (SCAN,)]
    write_snapshot(
        path,
        registry,
        clusters,
        helm_history=helm_history,
        created_at=read_at,
        names=names or RegistryNames(registry.login_server, read_at, ()),
    )
    return path


def read(
    path: Path, *, now: datetime = NOW, registry: RegistryHost = REGISTRY, helm: int = 3, **target: Any
) -> ClusterScan:
    return read_snapshot(SnapshotCluster(target.pop("key", KEY), path, **target), registry, helm, now)


def as_read(scan: ClusterScan, read_at: datetime = NOW) -> ClusterScan:
    return replace(scan, access="snapshot", read_at=read_at, resource_id=AKS)
