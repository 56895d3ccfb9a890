"""
Reads every configured cluster, AKS or not, all at once.

An AKS cluster: what Azure says of it, whether it runs, credentials of an ordinary user (never the admin's), then its API server,
directly or through a run command. A cluster's failure neither raises nor ends the run: it becomes blockers of that cluster's scan.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from acr_cleanup.access import roles as rights
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.resource_manager import CONNECT_SECONDS, READ_SECONDS, ResourceManager, open_manager
from acr_cleanup.clusters.api_server.client import ApiServer, Patience, connect
from acr_cleanup.clusters.api_server.kubeconfig import (
    AKS_SERVER_APP,
    ConnectionOptions,
    api_server,
    parse_kubeconfig,
    read_kubeconfig,
)
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.arm_errors import arm_problem
from acr_cleanup.clusters.read_failure import ReadFailure, Unreachable
from acr_cleanup.clusters.run_command import read as runcommand
from acr_cleanup.clusters.snapshot import read_snapshot
from acr_cleanup.clusters.targets import (
    Access,
    AksCluster,
    ClusterTarget,
    KubeconfigCluster,
    SnapshotCluster,
    Waiver,
)
from acr_cleanup.concurrency import gather
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.mgmt.containerservice.aio import ContainerServiceClient
    from azure.mgmt.containerservice.models import ManagedCluster

logger = logging.getLogger(__name__)

_RUN_COMMAND_SECONDS = 300


async def scan_clusters(
    targets: Sequence[ClusterTarget],
    registry: Registry,
    azure: Azure,
    *,
    progress: Callable[[ClusterScan], None] | None = None,
    concurrency: int = 64,
    patience: Patience | None = None,
    helm_history: int = 0,
    waive: Collection[Waiver] = (),
) -> tuple[ClusterScan, ...]:
    """
    One scan per target, in their order; `progress` hears of each as it is finished.

    `helm_history` revisions of each Helm release count as used; what cannot be seen of a
    kind that `waive` names blocks nothing. Raises only `IdentityError`: no login, no reading.
    """
    async with open_manager(azure) as manager:
        around = ConnectionOptions(partial(access_token, azure.credential), azure.trust, azure.proxy_for)
        reader = _Reader(registry, manager, around, patience or Patience(), helm_history)

        async def read(target: ClusterTarget) -> ClusterScan:
            result = await reader.read(target)
            result = result.waive([waiver.kind for waiver in waive if waiver.cluster == target.key])
            if progress is not None:
                progress(result)
            return result

        return tuple(await gather([partial(read, target) for target in targets], limit=concurrency))


async def access_token(credential: AsyncTokenCredential, scope: str) -> str:
    """A token of our login, which the credential of a run keeps and renews for everybody (`SingleFlightCredential`)."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415

    try:
        return (await credential.get_token(scope)).token
    except AzureError as error:
        remedy = "Check that the identity may log in to the application of AKS, and its tenant."
        raise ReadFailure(f"asking for a token for {quoted(scope, 80)}", f"{quoted(error)}.", remedy) from error


async def describe(client: ContainerServiceClient, target: AksCluster) -> ManagedCluster:
    """What Azure says of the cluster. Raises `ReadFailure`."""
    with arm_problem(_describing(target), target, role=rights.READER):
        return await client.managed_clusters.get(
            target.resource_group, target.name, connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS
        )


def ensure_running(cluster: ManagedCluster, target: AksCluster) -> None:
    """A cluster that does not run is unread: it keeps its workloads, and starts them again."""
    power = cluster.properties.power_state if cluster.properties is not None else None
    # A value that the SDK knows is an enum, any other is text.
    code = power.code if power is not None else None
    state = str(getattr(code, "value", code) or "Running")
    if state.lower() != "running":
        raise ReadFailure(
            _describing(target),
            f"the cluster is {quoted(state, 40).lower()}; it keeps its workloads, and will start their images again.",
            f"Start it (az aks start -g {quoted(target.resource_group, 90)} -n {quoted(target.name, 63)}), "
            "or remove it from the configuration if it is gone for good.",
        )


def _describing(target: AksCluster) -> str:
    return f"get managed cluster {quoted(target.name, 63)}"


async def user_server(client: ContainerServiceClient, target: AksCluster, around: ConnectionOptions) -> ApiServer:
    """The API server of the cluster, with the credentials of an ordinary user. Raises `ReadFailure`."""
    call = "list the cluster's user credentials"
    with arm_problem(call, target, role=rights.CLUSTER_USER):
        answer = await client.managed_clusters.list_cluster_user_credentials(
            target.resource_group,
            target.name,
            format="exec",
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            # A POST that only reads: asked again like a GET when its answer is lost.
            retry_on_methods=("POST",),
        )
    kubeconfigs = [entry.value for entry in answer.kubeconfigs or () if entry.value]
    if not kubeconfigs:
        raise ReadFailure(call, "the answer holds no kubeconfig.", "Run again.")
    return api_server(parse_kubeconfig(bytes(kubeconfigs[0])), None, folder=Path(), around=around)


class _Reader:
    """Reads one cluster at a time; what all clusters of a run share comes in from outside."""

    def __init__(
        self,
        registry: Registry,
        manager: ResourceManager,
        around: ConnectionOptions,
        patience: Patience,
        helm_history: int,
    ) -> None:
        self._registry = registry
        self._manager = manager
        self._around = around
        self._patience = patience
        self._helm_history = helm_history

    async def read(self, target: ClusterTarget) -> ClusterScan:
        try:
            match target:
                case AksCluster():
                    return await self._aks(target)
                case KubeconfigCluster():
                    return await self._kubeconfig(target)
                case SnapshotCluster():
                    return await asyncio.to_thread(read_snapshot, target, self._registry, self._helm_history)
        except IdentityError:
            raise
        except ReadFailure as unread:
            problem = unread
        except Exception as error:
            # Whatever it is: this cluster is unread, and the others go on.
            logger.debug("reading cluster %s failed", target.key, exc_info=True)
            problem = ReadFailure(
                "reading the cluster",
                f"an unexpected error: {type(error).__name__}: {quoted(error)}.",
                "Run with `--log-level debug` for the details, and report it if it is not explained by them.",
            )
        return ClusterScan(target.key, blockers=(problem.blocker(target.key),))

    # -- any Kubernetes ----------------------------------------------------------------------------------------

    async def _kubeconfig(self, target: KubeconfigCluster) -> ClusterScan:
        document = read_kubeconfig(target.kubeconfig)
        folder = target.kubeconfig.parent
        server = api_server(document, target.context, folder=folder, around=self._around)
        return await self._scan(server, target.key, "kubeconfig")

    async def _scan(self, server: ApiServer, key: str, access: str) -> ClusterScan:
        async with connect(server, self._patience) as ask:
            return await scan(ask, key, self._registry, access=access, helm_history=self._helm_history)

    # -- AKS ---------------------------------------------------------------------------------------------------

    async def _aks(self, target: AksCluster) -> ClusterScan:
        client = await self._manager.client(target.subscription_id)
        cluster = await describe(client, target)
        ensure_running(cluster, target)
        private = _is_private(cluster)
        if target.access is not Access.RUN_COMMAND:
            try:
                return await self._direct(client, target, may_fall_back=private and target.access is Access.AUTO)
            except Unreachable as unreachable:
                if not private or target.access is not Access.AUTO:
                    raise
                logger.debug("cluster %s: %s; trying a run command", target.key, unreachable)
        return await self._run_command(client, target, cluster)

    async def _direct(self, client: ContainerServiceClient, target: AksCluster, *, may_fall_back: bool) -> ClusterScan:
        server = await user_server(client, target, self._around)
        if may_fall_back:
            await self._knock(server)
        return await self._scan(server, target.key, Access.DIRECT)

    async def _knock(self, server: ApiServer) -> None:
        """Any answer at all shows that the way is open; raises `Unreachable` at once if there is none."""
        async with connect(server, replace(self._patience, attempts=1)) as ask:
            await ask("GET", "/version")

    async def _run_command(
        self, client: ContainerServiceClient, target: AksCluster, cluster: ManagedCluster
    ) -> ClusterScan:
        from azure.mgmt.containerservice.models import RunCommandRequest  # noqa: PLC0415

        access = cluster.properties.api_server_access_profile if cluster.properties is not None else None
        if access is not None and access.disable_run_command:
            raise ReadFailure(
                runcommand.CALL,
                "run commands are disabled on this cluster.",
                "Enable them, or use `access: direct` from a runner inside the cluster's network.",
            )
        entra = cluster.properties is not None and cluster.properties.aad_profile is not None
        request = RunCommandRequest(
            command=runcommand.script(self._registry, self._helm_history),
            context="",
            # Without it the command would read as an administrator on clusters with local accounts, and not at all on others.
            cluster_token=await self._around.token(f"{AKS_SERVER_APP}/.default") if entra else None,
        )
        role = f"a role with {rights.RUN_COMMAND} and {rights.COMMAND_RESULTS}"
        try:
            async with asyncio.timeout(_RUN_COMMAND_SECONDS):
                with arm_problem(runcommand.CALL, target, role=role):
                    poller = await client.managed_clusters.begin_run_command(
                        target.resource_group,
                        target.name,
                        request,
                        connection_timeout=CONNECT_SECONDS,
                        read_timeout=READ_SECONDS,
                    )
                    answer = await poller.result()
        except TimeoutError as error:
            raise ReadFailure(
                runcommand.CALL,
                f"it did not end within {_RUN_COMMAND_SECONDS} seconds.",
                "Run again, or use `access: direct`.",
            ) from error
        properties = answer.properties
        if properties is None:
            raise ReadFailure(runcommand.CALL, "the answer holds no result.", "Run again.")
        result = runcommand.CommandResult(
            state=properties.provisioning_state or "",
            exit_code=properties.exit_code,
            logs=properties.logs or "",
            reason=properties.reason or "",
        )
        return await asyncio.to_thread(runcommand.read_result, result, target.key, self._registry, self._helm_history)


def _is_private(cluster: ManagedCluster) -> bool:
    access = cluster.properties.api_server_access_profile if cluster.properties is not None else None
    return access is not None and bool(access.enable_private_cluster)
