"""
The configured clusters: how each is named, recognised and read.

Values only. Importing this module loads no SDK: the readers are imported when they are needed, so
that a wrong configuration is reported at once.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acr_cleanup.access.azure import Azure
    from acr_cleanup.access.resource_manager import ResourceManager
    from acr_cleanup.clusters.api_server.client import Patience
    from acr_cleanup.clusters.survey import ClusterSurvey
    from acr_cleanup.core.references import Registry
    from acr_cleanup.core.usage import ClusterScan


class Access(StrEnum):
    """How the API server of an AKS cluster is reached."""

    AUTO = "auto"
    """Directly; by a run command if the API server is private and cannot be reached."""
    DIRECT = "direct"
    RUN_COMMAND = "run-command"


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """
    The values with which every cluster of a run is reached.

    manager: Azure Resource Manager, opened for this run.
    patience: how long to wait for API servers.
    """

    azure: Azure
    manager: ResourceManager
    patience: Patience


@dataclass(frozen=True, slots=True)
class Search:
    """
    The uses to look for in a cluster.

    helm_history: how many revisions of each Helm release count as used.
    """

    registry: Registry
    helm_history: int = 0


@dataclass(frozen=True, slots=True)
class Recognition:
    """
    How a target is recognised among the AKS clusters that Azure lists.

    resource_id: of the AKS cluster, if it is known.
    host: of the API server, in lower case, if it is known.
    lacks_resource_id: True if the configuration entry takes a `resource_id`, and the target cannot
        be recognised without it.
    """

    resource_id: str | None = None
    host: str = ""
    lacks_resource_id: bool = False


class ClusterTarget(ABC):
    """
    A configured cluster. `key` is its name in the configuration and in reports.

    A further kind of target is one more class here. It needs no other change, except a way to
    configure it.
    """

    __slots__ = ()
    key: str

    @property
    @abstractmethod
    def resource_id(self) -> str | None:
        """
        The AKS cluster that this is, according to the configuration. Compare it without regard to
        case, as Azure does.
        """

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words which cluster this is and where it is found."""

    @abstractmethod
    async def read(self, access: ClusterAccess, search: Search) -> ClusterScan:
        """Scan the cluster. Raises `ReadFailure` if nothing could be read."""

    async def survey(self, access: ClusterAccess) -> ClusterSurvey:
        """
        Ask what must be known to grant rights in the cluster; by default, nothing. Raises
        `ReadFailure`.
        """
        from acr_cleanup.clusters.survey import ClusterSurvey  # noqa: PLC0415

        del access
        return ClusterSurvey(self)

    def recognise(self) -> Recognition:
        """Find out how Azure lists the cluster. Reads files at most, and raises nothing."""
        return Recognition(self.resource_id)

    def place(self) -> tuple[str, ...]:
        """
        Return where the cluster is found. Two targets with the same place are the same cluster.
        """
        return (self.describe(),)


@dataclass(frozen=True, slots=True)
class AksCluster(ClusterTarget):
    """An AKS cluster, by its place in Azure."""

    key: str
    name: str
    subscription_id: str
    resource_group: str
    access: Access = Access.AUTO

    @property
    def resource_id(self) -> str:
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.ContainerService/managedClusters/{self.name}"
        )

    def describe(self) -> str:
        return f"AKS cluster {self.name} in resource group {self.resource_group} of subscription {self.subscription_id}"

    def place(self) -> tuple[str, ...]:
        return (self.resource_id.lower(),)

    async def read(self, access: ClusterAccess, search: Search) -> ClusterScan:
        from acr_cleanup.clusters.aks import read_aks  # noqa: PLC0415

        return await read_aks(self, access, search)

    async def survey(self, access: ClusterAccess) -> ClusterSurvey:
        from acr_cleanup.clusters.aks import survey_aks  # noqa: PLC0415

        return await survey_aks(self, access)


@dataclass(frozen=True, slots=True)
class KubeconfigCluster(ClusterTarget):
    """
    Any Kubernetes cluster, by a kubeconfig file. `context` None means the current context of the
    file.
    """

    key: str
    kubeconfig: Path
    context: str | None = None

    @property
    def resource_id(self) -> None:
        return None

    def describe(self) -> str:
        return (
            f"context {self.context} of {self.kubeconfig}" if self.context else f"current context of {self.kubeconfig}"
        )

    def place(self) -> tuple[str, ...]:
        return (str(self.kubeconfig.absolute()), self.context or "")

    async def read(self, access: ClusterAccess, search: Search) -> ClusterScan:
        from acr_cleanup.clusters.any_kubernetes import read_kubernetes  # noqa: PLC0415

        return await read_kubernetes(self, access, search)

    async def survey(self, access: ClusterAccess) -> ClusterSurvey:
        from acr_cleanup.clusters.any_kubernetes import survey_kubernetes  # noqa: PLC0415

        return await survey_kubernetes(self, access)

    def recognise(self) -> Recognition:
        """
        The kubeconfig may be of an AKS cluster; then the host of its API server is that of the
        cluster.
        """
        from acr_cleanup.clusters.any_kubernetes import server_host  # noqa: PLC0415

        return Recognition(host=server_host(self))


@dataclass(frozen=True, slots=True)
class SnapshotCluster(ClusterTarget):
    """
    A cluster that was read elsewhere: the scan of `key` in the usage snapshot `path`.

    max_age: how long after its reading the scan may be used.
    resource_id: if it is given, the AKS cluster of which the scan must be.
    """

    key: str
    path: Path
    max_age: timedelta = timedelta(hours=24)
    resource_id: str | None = None

    def describe(self) -> str:
        return f"cluster {self.key} in the usage snapshot {self.path}"

    def place(self) -> tuple[str, ...]:
        return (str(self.path.absolute()), self.key)

    async def read(self, access: ClusterAccess, search: Search) -> ClusterScan:
        from acr_cleanup.clusters.snapshot_reader import read_snapshot  # noqa: PLC0415

        del access
        return await asyncio.to_thread(read_snapshot, self, search.registry, search.helm_history)

    def recognise(self) -> Recognition:
        """Without a configured `resource_id`, the snapshot itself may record it."""
        from acr_cleanup.clusters.snapshot_reader import recorded_resource_id  # noqa: PLC0415

        resource_id = self.resource_id or recorded_resource_id(self)
        return Recognition(resource_id, lacks_resource_id=not resource_id)


@dataclass(frozen=True, slots=True)
class Waiver:
    """
    The user's decision to ignore one kind of object in one cluster: images that only such objects
    use may be deleted.

    cluster: the key of the cluster.
    kind: as kubectl names it.
    """

    cluster: str
    kind: str
