"""What a cluster target is: how each configured cluster is named and reached. Values only, no SDK."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
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

    @property
    def resource_id(self) -> str:
        """Compared without regard to case, as Azure does."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.ContainerService/managedClusters/{self.name}"
        )


@dataclass(frozen=True, slots=True)
class KubeconfigCluster:
    """Any Kubernetes cluster, by a kubeconfig file; `context` None means the file's current context."""

    key: str
    kubeconfig: Path
    context: str | None = None

    @property
    def resource_id(self) -> str | None:
        """None: a kubeconfig does not say which AKS cluster it is for."""
        return None


@dataclass(frozen=True, slots=True)
class SnapshotCluster:
    """
    A cluster that was read elsewhere: the scan of `key` in the usage snapshot `path`, believed for `max_age` after it was read.

    `resource_id`, where it is given, is the AKS cluster that the snapshot must be of.
    """

    key: str
    path: Path
    max_age: timedelta = timedelta(hours=24)
    resource_id: str | None = None


# A further kind of target is one more class here and one more `case` in `aks._Reader.read`.
ClusterTarget = AksCluster | KubeconfigCluster | SnapshotCluster


@dataclass(frozen=True, slots=True)
class Waiver:
    """The user gives up one kind of object (as kubectl names it) in one cluster (by its key): what only it uses may be deleted."""

    cluster: str
    kind: str
