"""What must be known of clusters to grant rights in them: how they authorise, and which kinds they serve. Reads no object."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.resource_manager import ResourceManager, open_manager
from acr_cleanup.clusters.api_server.client import ApiServer, Patience, connect
from acr_cleanup.clusters.api_server.discovery import discover
from acr_cleanup.clusters.api_server.kubeconfig import ConnectionOptions, api_server, read_kubeconfig
from acr_cleanup.clusters.images.pod_specs import Kind
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.clusters.scan_clusters import access_token, describe, ensure_running, user_server
from acr_cleanup.clusters.targets import AksCluster, ClusterTarget, KubeconfigCluster
from acr_cleanup.concurrency import gather
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted

logger = logging.getLogger(__name__)

_PATIENCE = Patience(attempts=2, timeouts=1)


@dataclass(frozen=True, slots=True)
class ClusterSurvey:
    """One cluster. What could not be found out is None, and then `problem` says why (the first reason of several)."""

    target: ClusterTarget
    entra: bool | None = None
    """Are its users those of Entra ID? Otherwise the credentials that Azure hands out are an administrator's."""
    azure_rbac: bool | None = None
    private: bool = False
    kinds: tuple[Kind, ...] | None = None
    """The kinds beyond `objects.KINDS` that it serves and that are read, each once."""
    problem: ReadFailure | None = None


async def survey_clusters(
    targets: Sequence[ClusterTarget],
    azure: Azure,
    *,
    progress: Callable[[ClusterSurvey], None] | None = None,
    concurrency: int = 64,
    patience: Patience = _PATIENCE,
) -> tuple[ClusterSurvey, ...]:
    """
    What is to be known of each target, in their order. The arguments are those of `scan_clusters`.

    To ask a server what it serves is open to whoever can log in. Raises only `IdentityError`.
    """
    async with open_manager(azure) as manager:
        around = ConnectionOptions(partial(access_token, azure.credential), azure.trust, azure.proxy_for)

        async def survey(target: ClusterTarget) -> ClusterSurvey:
            result = await _survey(target, manager, around, patience)
            if progress is not None:
                progress(result)
            return result

        return tuple(await gather([partial(survey, target) for target in targets], limit=concurrency))


async def _survey(
    target: ClusterTarget, manager: ResourceManager, around: ConnectionOptions, patience: Patience
) -> ClusterSurvey:
    known = ClusterSurvey(target)
    try:
        match target:
            case AksCluster():
                client = await manager.client(target.subscription_id)
                cluster = await describe(client, target)
                properties = cluster.properties
                profile = properties.aad_profile if properties is not None else None
                access = properties.api_server_access_profile if properties is not None else None
                known = replace(
                    known,
                    entra=profile is not None,
                    azure_rbac=profile is not None and bool(profile.enable_azure_rbac),
                    private=access is not None and bool(access.enable_private_cluster),
                )
                ensure_running(cluster, target)
                return await _served(known, await user_server(client, target, around), patience)
            case KubeconfigCluster():
                document = read_kubeconfig(target.kubeconfig)
                server = api_server(document, target.context, folder=target.kubeconfig.parent, around=around)
                return await _served(known, server, patience)
            case _:
                return known
    except IdentityError:
        raise
    except ReadFailure as unread:
        return replace(known, problem=unread)
    except Exception as error:
        # Whatever it is, what is known of the others is worth having.
        logger.debug("surveying cluster %s failed", target.key, exc_info=True)
        seen = f"an unexpected error: {type(error).__name__}: {quoted(error)}."
        return replace(
            known, problem=ReadFailure("asking the cluster", seen, "Run with `--log-level debug` for the details.")
        )


async def _served(known: ClusterSurvey, server: ApiServer, patience: Patience) -> ClusterSurvey:
    async with connect(server, patience) as ask:
        served = await discover(ask, known.target.key)
    problem = next(iter(served.unread), None)
    # Of one version of an API the rest tells nothing; without a whole root of it, next to nothing is known.
    if any(not each.kind for each in served.unread):
        return replace(known, problem=problem)
    return replace(known, kinds=tuple(versions[0] for versions in served.kinds), problem=problem)
