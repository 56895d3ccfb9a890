"""
Reads an AKS cluster: its description in Azure, credentials of an ordinary user (never the admin's),
then its API server.

The API server is asked directly, or through a run command.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import arm_problem
from acr_cleanup.access.read_failure import ReadFailure, Unreachable
from acr_cleanup.access.resource_manager import CONNECT_SECONDS, READ_SECONDS
from acr_cleanup.clusters.api_server.client import ApiServer, connect
from acr_cleanup.clusters.api_server.kubeconfig import AKS_SCOPE, api_server
from acr_cleanup.clusters.api_server.kubeconfig_file import parse_kubeconfig
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.run_command.log import CommandResult
from acr_cleanup.clusters.run_command.read import read_result
from acr_cleanup.clusters.run_command.script import CALL as RUN_COMMAND
from acr_cleanup.clusters.run_command.script import context, script
from acr_cleanup.clusters.survey import survey_kinds, with_problem
from acr_cleanup.clusters.target import Access, AksPlace, ClusterAccess, ClusterSurvey, Search
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.quoting import quoted

if TYPE_CHECKING:
    from azure.mgmt.containerservice.aio import ContainerServiceClient
    from azure.mgmt.containerservice.models import ManagedCluster, RunCommandRequest

logger = logging.getLogger(__name__)

_RUN_COMMAND_SECONDS = 300


async def read_aks(target: AksPlace, access: ClusterAccess, search: Search) -> ClusterScan:
    """Scan the cluster. Raises `ReadFailure`."""
    client = await access.manager.client(target.subscription_id)
    cluster = await _managed_cluster(client, target)
    _ensure_running(cluster, target)
    may_fall_back = target.access is Access.AUTO and _is_private(cluster)
    if target.access is not Access.RUN_COMMAND:
        try:
            return await _read_directly(client, target, access, search, may_fall_back=may_fall_back)
        except Unreachable as unreachable:
            if not may_fall_back:
                raise
            logger.debug("cluster %s: %s; trying a run command", target.key, unreachable)
    return await _read_by_run_command(client, target, cluster, access, search)


async def survey_aks(target: AksPlace, survey: ClusterSurvey, access: ClusterAccess) -> ClusterSurvey:
    """
    Ask Azure how the cluster authorises, and the cluster which kinds it serves.

    Returns `survey` with the answers. Raises `ReadFailure`.
    """
    client = await access.manager.client(target.subscription_id)
    cluster = await _managed_cluster(client, target)
    profile = cluster.properties.aad_profile if cluster.properties is not None else None
    survey = replace(
        survey,
        entra=profile is not None,
        azure_rbac=profile is not None and bool(profile.enable_azure_rbac),
        private=_is_private(cluster),
        runs_commands=not _disables_commands(cluster),
    )
    return await with_problem(survey, _survey_server(survey, client, cluster, target, access))


async def _survey_server(
    survey: ClusterSurvey,
    client: ContainerServiceClient,
    cluster: ManagedCluster,
    target: AksPlace,
    access: ClusterAccess,
) -> ClusterSurvey:
    _ensure_running(cluster, target)
    return await survey_kinds(survey, await _user_server(client, target, access), access)


async def _managed_cluster(client: ContainerServiceClient, target: AksPlace) -> ManagedCluster:
    """Get Azure's description of the cluster. Raises `ReadFailure`."""
    with arm_problem(_get_call(target), target, role=roles.READER.name):
        return await client.managed_clusters.get(
            target.resource_group, target.name, connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS
        )


def _ensure_running(cluster: ManagedCluster, target: AksPlace) -> None:
    """Raise `ReadFailure` for a stopped cluster: it keeps its workloads, and starts them again."""
    power = cluster.properties.power_state if cluster.properties is not None else None
    # The SDK returns an enum for values that it knows, and text for others.
    code = power.code if power is not None else None
    state = str(getattr(code, "value", code) or "Running")
    if state.lower() != "running":
        raise ReadFailure(
            _get_call(target),
            f"the cluster is {quoted(state, 40).lower()}. It keeps its workloads, and will start their images again.",
            f"Start it (az aks start -g {quoted(target.resource_group, 90)} -n {quoted(target.name, 63)}), "
            "or remove it from the configuration if it is gone for good.",
        )


def _get_call(target: AksPlace) -> str:
    return f"get managed cluster {quoted(target.name, 63)}"


def _is_private(cluster: ManagedCluster) -> bool:
    profile = cluster.properties.api_server_access_profile if cluster.properties is not None else None
    return profile is not None and bool(profile.enable_private_cluster)


def _disables_commands(cluster: ManagedCluster) -> bool:
    profile = cluster.properties.api_server_access_profile if cluster.properties is not None else None
    return profile is not None and bool(profile.disable_run_command)


# -- directly --------------------------------------------------------------------------------------


async def _read_directly(
    client: ContainerServiceClient, target: AksPlace, access: ClusterAccess, search: Search, *, may_fall_back: bool
) -> ClusterScan:
    server = await _user_server(client, target, access)
    if may_fall_back:
        # Any response shows that the server can be reached. Only one attempt: without a response, a
        # run command follows.
        async with connect(server, replace(access.patience, attempts=1)) as ask:
            await ask("GET", "/version")
    async with connect(server, access.patience) as ask:
        return await scan(ask, target.key, search, access=Access.DIRECT)


async def _user_server(client: ContainerServiceClient, target: AksPlace, access: ClusterAccess) -> ApiServer:
    """Return the API server with the credentials of an ordinary user. Raises `ReadFailure`."""
    call = "list the cluster's user credentials"
    with arm_problem(call, target, role=roles.CLUSTER_USER.name):
        answer = await client.managed_clusters.list_cluster_user_credentials(
            target.resource_group,
            target.name,
            format="exec",
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            # This POST only reads, so it is safe to repeat if the response is lost.
            retry_on_methods=("POST",),
        )
    kubeconfigs = [entry.value for entry in answer.kubeconfigs or () if entry.value]
    if not kubeconfigs:
        raise ReadFailure(call, "the answer has no kubeconfig.", "Run again.")
    document = parse_kubeconfig(bytes(kubeconfigs[0]))
    return api_server(document, None, folder=Path(), options=access.options)


# -- by a run command ------------------------------------------------------------------------------


async def _read_by_run_command(
    client: ContainerServiceClient, target: AksPlace, cluster: ManagedCluster, access: ClusterAccess, search: Search
) -> ClusterScan:
    from azure.mgmt.containerservice.models import RunCommandRequest  # noqa: PLC0415

    properties = cluster.properties
    if _disables_commands(cluster):
        raise ReadFailure(
            RUN_COMMAND,
            "run commands are disabled on this cluster.",
            "Enable them, or use `access: direct` from a runner inside the cluster's network.",
        )
    entra = properties is not None and properties.aad_profile is not None
    request = RunCommandRequest(
        command=script(search),
        context=context(search.names),
        # Without this token, the command would run as an administrator on clusters with local
        # accounts, and fail on others.
        cluster_token=await access.options.token(AKS_SCOPE) if entra else None,
    )
    result = await _run(client, target, request)
    return await asyncio.to_thread(read_result, result, target.key, search)


async def _run(client: ContainerServiceClient, target: AksPlace, request: RunCommandRequest) -> CommandResult:
    role = f"a role with {roles.RUN_COMMAND} and {roles.COMMAND_RESULTS}"
    try:
        async with asyncio.timeout(_RUN_COMMAND_SECONDS):
            with arm_problem(RUN_COMMAND, target, role=role):
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
            RUN_COMMAND,
            f"it did not end within {_RUN_COMMAND_SECONDS} seconds.",
            "Run again, or use `access: direct`.",
        ) from error
    properties = answer.properties
    if properties is None:
        raise ReadFailure(RUN_COMMAND, "the answer has no result.", "Run again.")
    return CommandResult(
        state=properties.provisioning_state or "",
        exit_code=properties.exit_code,
        logs=properties.logs or "",
        reason=properties.reason or "",
    )
