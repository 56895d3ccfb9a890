"""
The base class of all configured clusters, and the place of each kind of cluster.

Values only. Importing this module loads no SDK: the readers are imported when they are needed, so
that a wrong configuration is reported at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acr_cleanup.access.read_failure import ReadFailure
    from acr_cleanup.access.resource_manager import ResourceManager
    from acr_cleanup.clusters.api_server.client import Patience
    from acr_cleanup.clusters.api_server.kubeconfig import ConnectionOptions
    from acr_cleanup.clusters.images.names import Names
    from acr_cleanup.clusters.images.pod_specs import Kind
    from acr_cleanup.core.references import RegistryHost
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

    options: the login, the trusted authorities and the proxies.
    manager: Azure Resource Manager, opened for this run.
    patience: how long to wait for API servers.
    reviewed: a survey also asks for the right to list the kinds that this search reads.
    """

    options: ConnectionOptions
    manager: ResourceManager
    patience: Patience
    reviewed: Search | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """
    The images to look for in a cluster.

    names: of the registry.
    helm_history: how many revisions of each Helm release count as used.
    ignore_kinds: kinds that describe images and do not need them, as kubectl names them in lower
        case (`*.group` for all kinds of a group).
    """

    names: Names
    helm_history: int = 0
    ignore_kinds: frozenset[str] = frozenset()

    @property
    def registry(self) -> RegistryHost:
        return self.names.registry

    def ignores(self, kind: Kind) -> bool:
        """Does this kind only describe images?"""
        return bool(self.ignore_kinds & {str(kind).lower(), f"*.{kind.group}"})


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
        del access
        return ClusterSurvey(self)

    def recognise(self) -> Recognition:
        """Find out how Azure lists the cluster. Reads files at most, and raises nothing."""
        return Recognition(self.resource_id)

    @property
    def in_azure(self) -> bool:
        """Is the cluster read through Azure Resource Manager?"""
        return False

    @property
    def is_recorded(self) -> bool:
        """Is it read from what another run recorded? Then this run needs no rights in it."""
        return False

    def token_scopes(self) -> tuple[str, ...]:
        """Return the scopes of the tokens that its API server may take. Raises nothing."""
        return ()

    def place(self) -> tuple[str, ...]:
        """
        Return where the cluster is found. Two targets with the same place are the same cluster.
        """
        return (self.describe(),)


@dataclass(frozen=True, slots=True)
class ClusterSurvey:
    """
    The answers of one cluster. None means that an answer is missing.

    entra: its users are those of Entra ID. Otherwise the credentials that Azure returns are an
        administrator's.
    azure_rbac: roles of Azure grant rights on its objects.
    private: its API server is private.
    kinds: the kinds that it serves and that are read, each once, except those in `KINDS`.
    problem: the first reason for a missing answer.
    unlisted: the kinds that the identity may not list, if that was asked.
    runs_commands: run commands are enabled.
    """

    target: ClusterTarget
    entra: bool | None = None
    azure_rbac: bool | None = None
    private: bool = False
    kinds: tuple[Kind, ...] | None = None
    problem: ReadFailure | None = None
    unlisted: tuple[ReadFailure, ...] = ()
    runs_commands: bool = True


@dataclass(frozen=True, slots=True)
class Waiver:
    """
    The user's decision to ignore one kind of object in one cluster: images that only such objects
    use may be deleted.

    cluster: the key of the cluster.
    kind: as kubectl names it.
    workloads: may it be a kind that runs or starts pods?
    """

    cluster: str
    kind: str
    workloads: bool = False


# The places are separate from the targets, because the targets import the readers: so the readers
# must not import the targets.


@dataclass(frozen=True, slots=True)
class AksPlace:
    """Where Azure has an AKS cluster. `key` is its name in the configuration."""

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


@dataclass(frozen=True, slots=True)
class KubeconfigPlace:
    """A context of a kubeconfig file. `context` None means the current context of the file."""

    key: str
    kubeconfig: Path
    context: str | None = None


@dataclass(frozen=True, slots=True)
class SnapshotPlace:
    """
    The scan of the cluster `key` in the usage snapshot `path`.

    max_age: how long after its reading the scan may be used.
    resource_id: if it is given, the AKS cluster of which the scan must be.
    """

    key: str
    path: Path
    max_age: timedelta = timedelta(hours=24)
    resource_id: str | None = None
