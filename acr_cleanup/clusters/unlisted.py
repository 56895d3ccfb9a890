"""
Finds the AKS clusters that are not in the configuration. Images that only they use would count as
unused.

Azure silently omits clusters that the caller may not see from its lists. Therefore a list proves
that no cluster is missing from the configuration only if the identity may read every cluster of the
subscription.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import Subscription, arm_problem
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.permissions import may, read_permissions
from acr_cleanup.access.read_failure import ReadFailure, unexpected
from acr_cleanup.access.resource_manager import (
    CONNECT_SECONDS,
    READ_SECONDS,
    ResourceManager,
    list_all,
    open_manager,
)
from acr_cleanup.clusters.target import AksPlace, ClusterTarget
from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import Blocker, Outside
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted

if TYPE_CHECKING:
    from azure.mgmt.containerservice.aio import ContainerServiceClient
    from azure.mgmt.containerservice.models import ManagedCluster

logger = logging.getLogger(__name__)

_CALL = "list its managed clusters"
_LIST_SECONDS = 120
_SUBSCRIPTIONS_AT_ONCE = 16
_FULL_WARNINGS = 10
_RESOURCE_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.ContainerService/managedClusters/(?P<name>[^/]+)",
    re.IGNORECASE,
)


async def find_unlisted(
    targets: Sequence[ClusterTarget],
    subscriptions: Sequence[str],
    azure: Azure,
    *,
    required: bool,
) -> Outside:
    """
    Find the AKS clusters of these subscriptions (by default, of the subscriptions of the targets)
    that are not targets.

    required: return blockers instead of warnings.

    Each such cluster is a warning or a blocker, and so is a subscription that cannot be listed
    completely. By default, when neither `subscriptions` nor `required` is given, an incomplete list
    is only logged. Raises only `IdentityError`.
    """
    known = await asyncio.to_thread(KnownClusters.of, targets)
    wanted = _distinct(subscriptions or known.subscriptions)
    asked = bool(subscriptions) or required

    async with open_manager(azure) as manager:
        results = await gather(
            [partial(_search, manager, subscription, known, asked) for subscription in wanted],
            limit=_SUBSCRIPTIONS_AT_ONCE,
        )
    blockers = tuple(blocker for result in results for blocker in result)
    if required and not wanted:
        blockers = (_NOWHERE,)
    return Outside(blockers=blockers) if required else Outside(warnings=_warnings(blockers))


def searched_subscriptions(targets: Sequence[ClusterTarget], subscriptions: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of the subscriptions that `find_unlisted` searches."""
    return _distinct(subscriptions or KnownClusters.of(targets).subscriptions)


def _distinct(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(subscription.lower() for subscription in ids))


def _warnings(problems: Sequence[Blocker]) -> tuple[str, ...]:
    """
    Turn blockers into sentences. In a large subscription, only the first get one each, to keep
    other warnings visible.
    """
    first, rest = problems[:_FULL_WARNINGS], problems[_FULL_WARNINGS:]
    warnings = [f"{problem.seen} {problem.remedy}" for problem in first]
    if rest:
        warnings.append(f"{len(rest)} more of the same kind: {', '.join(problem.where for problem in rest)}.")
    return tuple(warnings)


_NOWHERE = Blocker(
    "subscriptions",
    _CALL,
    "No subscription is known, so no clusters outside the configuration could be searched for.",
    "Set `subscriptions` to those whose clusters may use the registry, or do not set `require-all-clusters`.",
)


@dataclass(frozen=True, slots=True)
class KnownClusters:
    """
    The clusters of the configuration, in lower case.

    ids: resource ids.
    hosts: hosts of API servers that kubeconfigs name; a kubeconfig may be of an AKS cluster.
    unnamed: keys of the usage snapshots of which the resource id is unknown.
    """

    ids: frozenset[str]
    hosts: frozenset[str]
    subscriptions: tuple[str, ...]
    unnamed: tuple[str, ...]

    @classmethod
    def of(cls, targets: Sequence[ClusterTarget]) -> KnownClusters:
        """Recognise the targets; reads the files that they name."""
        recognised = [(target.key, target.recognise()) for target in targets]
        ids = [cluster.resource_id.rstrip("/") for _, cluster in recognised if cluster.resource_id]
        places = [match for resource_id in ids if (match := _RESOURCE_ID.fullmatch(resource_id)) is not None]
        return cls(
            ids=frozenset(resource_id.lower() for resource_id in ids),
            hosts=frozenset(cluster.host for _, cluster in recognised if cluster.host),
            subscriptions=tuple(dict.fromkeys(place["subscription"].lower() for place in places)),
            unnamed=tuple(key for key, cluster in recognised if cluster.lacks_resource_id),
        )

    def has(self, cluster: ManagedCluster) -> bool:
        properties = cluster.properties
        names = (properties.fqdn, properties.private_fqdn) if properties is not None else ()
        return str(cluster.id).lower().rstrip("/") in self.ids or any(
            name is not None and name.lower() in self.hosts for name in names
        )


async def _search(manager: ResourceManager, subscription_id: str, known: KnownClusters, asked: bool) -> list[Blocker]:
    """Return what to report about one subscription."""
    subscription = Subscription(subscription_id)
    where = f"subscription {quoted(subscription_id, 40)}"
    blockers: list[Blocker] = []
    try:
        async with asyncio.timeout(_LIST_SECONDS):
            client = await manager.client(subscription_id)
            clusters = await _list(client, subscription)
            blockers += [_unlisted(cluster, known) for cluster in clusters if not known.has(cluster)]
            if asked:
                await _verify_complete(client, subscription)
            return blockers
    except IdentityError:
        raise
    except TimeoutError:
        problem = ReadFailure(_CALL, f"no answer was complete within {_LIST_SECONDS} seconds.", "Run again later.")
    except ReadFailure as failure:
        problem = failure
    except Exception as error:  # any failure: this subscription is reported, and the run continues
        logger.debug("listing the clusters of %s failed", where, exc_info=True)
        problem = unexpected(_CALL, error)
    if not asked:
        logger.debug("%s is not searched for clusters outside the configuration: %s", where, problem)
        return blockers
    seen = f"{where.capitalize()} may have clusters that are not in the configuration: {problem.seen}"
    return [*blockers, Blocker(where, problem.call, seen, problem.remedy)]


async def _list(client: ContainerServiceClient, subscription: Subscription) -> list[ManagedCluster]:
    with arm_problem(_CALL, subscription, role=roles.READER.name):
        return await list_all(
            client.managed_clusters.list(connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        )


async def _verify_complete(client: ContainerServiceClient, subscription: Subscription) -> None:
    """Raise `ReadFailure` unless the identity may read all clusters of the subscription."""
    if not may(await read_permissions(client, subscription), roles.READ_CLUSTERS):
        raise ReadFailure(
            _CALL,
            "the identity sees only the clusters on which it has rights.",
            f"Grant the identity the role {roles.READER} on the subscription.",
        )


def _unlisted(cluster: ManagedCluster, known: KnownClusters) -> Blocker:
    place = _RESOURCE_ID.fullmatch(str(cluster.id).rstrip("/"))
    if place is None:
        raise ReadFailure(
            _CALL, f"the answer has a cluster without a resource id ({quoted(cluster.id)}).", "Run again."
        )
    name, group, subscription = (quoted(place[part], 90) for part in ("name", "group", "subscription"))
    resource_id = AksPlace(name, name, subscription, group).resource_id
    entry = f"{json.dumps(name)}: {json.dumps({'resource_id': resource_id})}"
    state = _state(cluster)
    remedy = f"Add it to `kubernetes_clusters`: {entry}. "
    match state:
        case "stopped":
            remedy += "It must be running to be read. If it never pulls from this registry, deletions do not affect it."
        case "deleting":
            remedy += "Or wait until it is deleted."
        case _:
            remedy += "If it never pulls from this registry, deletions do not affect it; once added, it is not reported again."
    if known.unnamed:
        keys = quoted(", ".join(known.unnamed))
        remedy += f" If a usage snapshot is of this cluster ({keys}), give that entry this `resource_id`."
    title = (
        f"AKS cluster {name}{f' ({state})' if state else ''} in resource group {group} of subscription {subscription}"
    )
    return Blocker(
        where=name,
        call="look for it in the configuration",
        seen=f"{title} is not in the configuration. Images that only it uses count as unused.",
        remedy=remedy,
    )


def _state(cluster: ManagedCluster) -> str:
    """
    Return "stopped", "deleting" or "". Such clusters count all the same.

    A stopped cluster keeps its workloads, and so does one whose deletion fails.
    """
    properties = cluster.properties
    if properties is None:
        return ""
    if (properties.provisioning_state or "").lower() == "deleting":
        return "deleting"
    code = properties.power_state.code if properties.power_state is not None else None
    return "stopped" if str(getattr(code, "value", code)).lower() == "stopped" else ""
