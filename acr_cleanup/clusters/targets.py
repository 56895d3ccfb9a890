"""What a cluster target is: how each configured cluster is named and reached. Values only, no SDK."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Access(StrEnum):
    """How the API server of an AKS cluster is reached."""

    AUTO = "auto"
    """Direct; through a run command where the API server is private and cannot be reached from here."""
    DIRECT = "direct"
    RUN_COMMAND = "run-command"


@dataclass(frozen=True, slots=True)
class AksCluster:
    """An AKS cluster by its place in Azure. `key` is what the configuration calls it, and what reports say."""

    key: str
    name: str
    subscription_id: str
    resource_group: str
    access: Access = Access.AUTO


@dataclass(frozen=True, slots=True)
class KubeconfigCluster:
    """Any Kubernetes cluster, by a kubeconfig file; `context` None means the file's current context."""

    key: str
    kubeconfig: Path
    context: str | None = None


# A further kind of target (a usage snapshot, say) is one more class here and one more `case` in `aks.scan_clusters`.
ClusterTarget = AksCluster | KubeconfigCluster
