"""
The configured clusters: how each is named, recognised and read.

Values only. Importing this module loads no SDK: the readers are imported when they are needed, so
that a wrong configuration is reported at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from acr_cleanup.clusters.target import (
    AksPlace,
    ClusterAccess,
    ClusterSurvey,
    ClusterTarget,
    KubeconfigPlace,
    Recognition,
    Search,
    SnapshotPlace,
)

if TYPE_CHECKING:
    from acr_cleanup.core.usage import ClusterScan


class AksCluster(AksPlace, ClusterTarget):
    """An AKS cluster, by its place in Azure."""

    __slots__ = ()

    def describe(self) -> str:
        return f"AKS cluster {self.name} in resource group {self.resource_group} of subscription {self.subscription_id}"

    def place(self) -> tuple[str, ...]:
        return (self.resource_id.lower(),)

    @property
    def in_azure(self) -> bool:
        return True

    def token_scopes(self) -> tuple[str, ...]:
        from acr_cleanup.clusters.api_server.kubeconfig import AKS_SCOPE  # noqa: PLC0415

        return (AKS_SCOPE,)

    async def read(self, access: ClusterAccess, search: Search) -> ClusterScan:
        from acr_cleanup.clusters.aks import read_aks  # noqa: PLC0415

        return await read_aks(self, access, search)

    async def survey(self, access: ClusterAccess) -> ClusterSurvey:
        from acr_cleanup.clusters.aks import survey_aks  # noqa: PLC0415

        return await survey_aks(self, ClusterSurvey(self), access)


class KubeconfigCluster(KubeconfigPlace, ClusterTarget):
    """Any Kubernetes cluster, by a kubeconfig file."""

    __slots__ = ()

    @property
    def resource_id(self) -> None:
        return None

    def describe(self) -> str:
        return (
            f"context {self.context} of {self.kubeconfig}" if self.context else f"current context of {self.kubeconfig}"
        )

    def place(self) -> tuple[str, ...]:
        return (str(self.kubeconfig.absolute()), self.context or "")

    def token_scopes(self) -> tuple[str, ...]:
        from acr_cleanup.clusters.any_kubernetes import token_scopes  # noqa: PLC0415

        return token_scopes(self)

    async def read(self, access: ClusterAccess, search: Search) -> ClusterScan:
        from acr_cleanup.clusters.any_kubernetes import read_kubernetes  # noqa: PLC0415

        return await read_kubernetes(self, access, search)

    async def survey(self, access: ClusterAccess) -> ClusterSurvey:
        from acr_cleanup.clusters.any_kubernetes import survey_kubernetes  # noqa: PLC0415

        return await survey_kubernetes(self, ClusterSurvey(self), access)

    def recognise(self) -> Recognition:
        """
        The kubeconfig may be of an AKS cluster; then the host of its API server is that of the
        cluster.
        """
        from acr_cleanup.clusters.any_kubernetes import server_host  # noqa: PLC0415

        return Recognition(host=server_host(self))


class SnapshotCluster(SnapshotPlace, ClusterTarget):
    """A cluster that was read elsewhere, by its scan in a usage snapshot."""

    __slots__ = ()

    def describe(self) -> str:
        return f"cluster {self.key} in the usage snapshot {self.path}"

    @property
    def is_recorded(self) -> bool:
        return True

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
