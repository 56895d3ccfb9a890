"""
Finds the AKS clusters that the configuration does not know: what only they use would count as unused.

Azure leaves out of a list what the caller may not see, and does not say so. So a list proves that nobody was forgotten only where
the identity may read every cluster of the subscription.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from acr_cleanup.access import roles as rights
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.resource_manager import (
    CONNECT_SECONDS,
    READ_SECONDS,
    ResourceManager,
    list_all,
    list_resources,
    open_manager,
)
from acr_cleanup.clusters.api_server.kubeconfig import read_kubeconfig, server_of
from acr_cleanup.clusters.arm_errors import Subscription, arm_problem
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.clusters.snapshot import recorded_resource_id
from acr_cleanup.clusters.targets import AksCluster, ClusterTarget, KubeconfigCluster, SnapshotCluster
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
_TOLD_ONE_BY_ONE = 10
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
    The AKS clusters of these subscriptions (by default: those of the targets) that are no target.

    Each is a warning, or a blocker if `required`. So is a subscription that cannot be listed completely; where nobody asked for it,
    only the debug log says so. Raises only `IdentityError`.
    """
    known = await asyncio.to_thread(_Known.of, targets)
    wanted = _distinct(subscriptions or known.subscriptions)
    asked = bool(subscriptions) or required

    async with open_manager(azure) as manager:
        found = await gather(
            [partial(_look, manager, each, known, asked) for each in wanted], limit=_SUBSCRIPTIONS_AT_ONCE
        )
    blockers = tuple(blocker for each in found for blocker in each)
    if required and not wanted:
        blockers = (_NOWHERE,)
    return Outside(blockers=blockers) if required else Outside(warnings=_warnings(blockers))


def searched_subscriptions(targets: Sequence[ClusterTarget], subscriptions: Sequence[str]) -> tuple[str, ...]:
    """The ids of the subscriptions in which `find_unlisted` looks."""
    return _distinct(subscriptions or _Known.of(targets).subscriptions)


def _distinct(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.lower() for each in ids))


def _warnings(problems: Sequence[Blocker]) -> tuple[str, ...]:
    """The same as sentences; in a large subscription, what concerns the run must not drown in them."""
    told, rest = problems[:_TOLD_ONE_BY_ONE], problems[_TOLD_ONE_BY_ONE:]
    warnings = [f"{each.seen} {each.remedy}" for each in told]
    if rest:
        warnings.append(f"{len(rest)} more like that: {', '.join(each.where for each in rest)}.")
    return tuple(warnings)


_NOWHERE = Blocker(
    "subscriptions",
    _CALL,
    "No subscription is known in which to look for clusters that are not in the configuration.",
    "Name those whose clusters may use the registry with `subscriptions`, or do without `require-all-clusters`.",
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the configuration says of its clusters, in lower case."""

    ids: frozenset[str]
    hosts: frozenset[str]
    """The hosts of API servers that kubeconfig files name: such a cluster may be one of AKS."""
    subscriptions: tuple[str, ...]
    unnamed: tuple[str, ...]
    """The usage snapshots whose cluster nobody knows."""

    @classmethod
    def of(cls, targets: Sequence[ClusterTarget]) -> _Known:
        ids: list[str] = []
        hosts: list[str] = []
        unnamed: list[str] = []
        for target in targets:
            match target:
                case AksCluster():
                    ids.append(target.resource_id)
                case KubeconfigCluster():
                    hosts.append(_host(target))
                case SnapshotCluster():
                    resource_id = target.resource_id or recorded_resource_id(target)
                    (ids if resource_id else unnamed).append(resource_id or target.key)
        places = [match for each in ids if (match := _RESOURCE_ID.fullmatch(each.rstrip("/"))) is not None]
        return cls(
            ids=frozenset(each.lower().rstrip("/") for each in ids),
            hosts=frozenset(each for each in hosts if each),
            subscriptions=tuple(dict.fromkeys(place["subscription"].lower() for place in places)),
            unnamed=tuple(unnamed),
        )

    def has(self, cluster: ManagedCluster) -> bool:
        properties = cluster.properties
        names = (properties.fqdn, properties.private_fqdn) if properties is not None else ()
        return str(cluster.id).lower().rstrip("/") in self.ids or any(
            name is not None and name.lower() in self.hosts for name in names
        )


def _host(target: KubeconfigCluster) -> str:
    """The host of its API server, empty if the file does not say: reading the cluster tells of that."""
    try:
        return (urlsplit(server_of(read_kubeconfig(target.kubeconfig), target.context)).hostname or "").lower()
    except (ReadFailure, ValueError):
        return ""


async def _look(manager: ResourceManager, subscription_id: str, known: _Known, asked: bool) -> list[Blocker]:
    """What is to be said of one subscription."""
    subscription = Subscription(subscription_id)
    where = f"subscription {quoted(subscription_id, 40)}"
    found: list[Blocker] = []
    try:
        async with asyncio.timeout(_LIST_SECONDS):
            client = await manager.client(subscription_id)
            found += [_forgotten(each, known) for each in await _list(client, subscription) if not known.has(each)]
            if asked:
                await _verify_complete(client, subscription)
            return found
    except IdentityError:
        raise
    except TimeoutError:
        problem = ReadFailure(_CALL, f"no answer was complete within {_LIST_SECONDS} seconds.", "Run again later.")
    except ReadFailure as unread:
        problem = unread
    except Exception as error:
        # Whatever it is: this subscription is unread, and the run goes on.
        logger.debug("listing the clusters of %s failed", where, exc_info=True)
        problem = ReadFailure(
            _CALL,
            f"an unexpected error: {type(error).__name__}: {quoted(error)}.",
            "Run with `--log-level debug` for the details, and report it if it is not explained by them.",
        )
    if not asked:
        logger.debug("%s is not searched for forgotten clusters: %s", where, problem)
        return found
    seen = f"Whether {where} has clusters that are not in the configuration cannot be told: {problem.seen}"
    return [*found, Blocker(where, problem.call, seen, problem.remedy)]


async def _list(client: ContainerServiceClient, subscription: Subscription) -> list[ManagedCluster]:
    with arm_problem(_CALL, subscription, role=rights.READER):
        return await list_all(
            client.managed_clusters.list(connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        )


async def _verify_complete(client: ContainerServiceClient, subscription: Subscription) -> None:
    """
    Raises `ReadFailure` unless the identity may read all clusters of the subscription.

    https://learn.microsoft.com/rest/api/authorization/permissions
    """
    call = "list the permissions of the identity on it"
    path = f"/subscriptions/{subscription.subscription_id}/providers/Microsoft.Authorization/permissions"
    with arm_problem(call, subscription, role=rights.READER):
        granted = await list_resources(client, path, "2022-04-01")
    if not any(_allows(each, rights.READ_CLUSTERS) for each in granted if isinstance(each, dict)):
        raise ReadFailure(
            _CALL,
            "the identity sees only those clusters that it has been given rights on.",
            f"Grant the identity the role {rights.READER} on the subscription.",
        )


def _allows(permission: dict[str, Any], action: str) -> bool:
    def named(key: str) -> bool:
        patterns = permission.get(key)
        return isinstance(patterns, list) and any(
            re.fullmatch(".*".join(map(re.escape, str(pattern).split("*"))), action, re.IGNORECASE)
            for pattern in patterns
        )

    return named("actions") and not named("notActions")


def _forgotten(cluster: ManagedCluster, known: _Known) -> Blocker:
    place = _RESOURCE_ID.fullmatch(str(cluster.id).rstrip("/"))
    if place is None:
        raise ReadFailure(
            _CALL, f"the answer holds a cluster without a resource id ({quoted(cluster.id)}).", "Run again."
        )
    name, group, subscription = (quoted(place[part], 90) for part in ("name", "group", "subscription"))
    resource_id = AksCluster(name, name, subscription, group).resource_id
    entry = f"{json.dumps(name)}: {json.dumps({'resource_id': resource_id})}"
    state = _state(cluster)
    remedy = f"Add it to `kubernetes_clusters`: {entry}. "
    match state:
        case "stopped":
            remedy += "It must run to be read. If it never pulls from this registry, all this does no harm."
        case "deleting":
            remedy += "Or wait: when it is gone, there is nothing left to do."
        case _:
            remedy += (
                "If it never pulls from this registry, all this does no harm; once added, it is not mentioned again."
            )
    if known.unnamed:
        remedy += f" If a usage snapshot stands for it ({quoted(', '.join(known.unnamed))}), give that entry this `resource_id`."
    what = (
        f"AKS cluster {name}{f' ({state})' if state else ''} in resource group {group} of subscription {subscription}"
    )
    return Blocker(
        where=name,
        call="look for it in the configuration",
        seen=f"{what} is not in the configuration: what only it uses counts as unused.",
        remedy=remedy,
    )


def _state(cluster: ManagedCluster) -> str:
    """`stopped` or `deleting`; both keep their workloads, a deletion that fails included, so both count."""
    properties = cluster.properties
    if properties is None:
        return ""
    if (properties.provisioning_state or "").lower() == "deleting":
        return "deleting"
    code = properties.power_state.code if properties.power_state is not None else None
    return "stopped" if str(getattr(code, "value", code)).lower() == "stopped" else ""
