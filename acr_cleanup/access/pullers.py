"""Lists the identities and tokens that may pull, except those of configured clusters and of services that were read."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, Resource
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.jwt import claims_of
from acr_cleanup.access.permissions import may
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import Puller

logger = logging.getLogger(__name__)

_VERSION = "2025-11-01"
_ROLES_VERSION = "2022-04-01"
_CLUSTERS_VERSION = "2025-05-01"
_PULL = "Microsoft.ContainerRegistry/registries/pull/read"
Explained = Callable[[], Awaitable[Collection[str]]]
_READ_CONTENT = "Microsoft.ContainerRegistry/registries/repositories/content/read"


async def read_pullers(
    registry: Resource, requests: Requests, azure: Azure, explained: Explained, clusters: Collection[str]
) -> tuple[Puller, ...]:
    """
    Return who may pull and is not read. A list that cannot be read becomes a row that says so.

    explained: returns the principal ids of everything that is read, in lower case, when it is read.
    clusters: resource ids of the configured clusters.

    https://learn.microsoft.com/rest/api/authorization/role-assignments/list-for-scope
    """
    pullers = [
        Puller(name, kind, "pull")
        for field, name, kind in (
            ("properties.adminUserEnabled", "everyone with its password", "admin user"),
            ("properties.anonymousPullEnabled", "everyone", "anonymous pull"),
        )
        if first(registry.body, field) is True
    ]

    async def listed(what: str, read: Callable[[], Awaitable[list[Puller]]]) -> list[Puller]:
        try:
            return await read()
        except ReadFailure as error:
            return [Puller("unknown", what, f"not listed: {error.seen}")]

    assigned = partial(_assigned, registry, requests, azure, explained, clusters)
    jobs = [
        partial(listed, "tokens", partial(_tokens, registry, requests)),
        partial(listed, "role assignments", assigned),
    ]
    for found in await gather(jobs, limit=2):
        pullers += found
    return tuple(dict.fromkeys(pullers))


async def _tokens(registry: Resource, requests: Requests) -> list[Puller]:
    return [
        Puller(token.name, "token", str(first(token.body, "properties.scopeMapId") or "").rpartition("/")[2])
        for token in await requests.list(f"{registry.id}/tokens", _VERSION)
        if str(first(token.body, "properties.status") or "enabled").lower() == "enabled"
    ]


async def _assigned(
    registry: Resource, requests: Requests, azure: Azure, explained: Explained, clusters: Collection[str]
) -> list[Puller]:
    """Return the principals with a role that includes pulling, on the registry or above it."""
    scope = azure.resource_manager_scope or f"{azure.resource_manager.rstrip('/')}/.default"
    own = str(claims_of((await azure.credential.get_token(scope)).token).get("oid", "")).lower()
    path = f"{registry.id}/providers/Microsoft.Authorization/roleAssignments"
    assignments = await requests.list(path, _ROLES_VERSION, any_scope=True)
    known = {own, *await explained()}
    properties = [first(assignment.body, "properties") or {} for assignment in assignments]
    rows = [row for row in properties if str(row.get("principalId")).lower() not in known]
    roles = list(dict.fromkeys(str(row.get("roleDefinitionId")) for row in rows))
    names = dict(
        zip(roles, await gather([partial(_pulling_role, role, requests) for role in roles], limit=8), strict=True)
    )
    pullers: dict[str, list[Puller]] = {}
    for row in rows:
        if name := names[str(row.get("roleDefinitionId"))]:
            condition = " (with a condition)" if row.get("condition") else ""
            principal = str(row.get("principalId"))
            puller = Puller(principal, str(row.get("principalType") or "identity"), f"{name}{condition}")
            pullers.setdefault(principal.lower(), []).append(puller)
    kubelets = await _kubelets(requests, clusters) if pullers else set()
    return [puller for principal, of_one in pullers.items() if principal not in kubelets for puller in of_one]


async def _kubelets(requests: Requests, clusters: Collection[str]) -> set[str]:
    """Return the identities with which the nodes of configured clusters pull."""

    async def read(cluster_id: str) -> str:
        own = replace(requests, subscription=cluster_id.split("/")[2], versions={})
        try:
            cluster = await own.get(cluster_id, _CLUSTERS_VERSION)
        except ReadFailure:
            logger.debug("reading the kubelet identity of %s failed", cluster_id, exc_info=True)
            return ""
        return str(first(cluster, "properties.identityProfile.kubeletidentity.objectId")).lower()

    ids = [known for known in clusters if known.startswith("/subscriptions/")]
    return set(await gather([partial(read, cluster_id) for cluster_id in ids], limit=8))


async def _pulling_role(definition: str, requests: Requests) -> str:
    """Return the name of a role that includes pulling; "" for another role."""
    if not definition.lower().startswith("/subscriptions/"):
        # Roles of management groups are the same below a subscription.
        definition = f"/subscriptions/{requests.subscription}{definition}"
    try:
        role = await requests.get(definition, _ROLES_VERSION)
    except ReadFailure:
        return f"role {definition.rpartition('/')[2]}, which cannot be read"
    granted = first(role, "properties.permissions")
    granted = [each for each in granted if isinstance(each, dict)] if isinstance(granted, list) else []
    data = [{"actions": each.get("dataActions"), "notActions": each.get("notDataActions")} for each in granted]
    pulls = may(granted, _PULL) or may(data, _READ_CONTENT)
    return str(first(role, "properties.roleName") or definition.rpartition("/")[2]) if pulls else ""


def identities(body: dict[str, Any]) -> set[str]:
    """Return the principal ids of the identities of a resource, in lower case. It pulls with one of them."""
    identity = body.get("identity")
    assigned = identity.get("userAssignedIdentities") if isinstance(identity, dict) else None
    principals = [identity, *(assigned.values() if isinstance(assigned, dict) else ())]
    ids = (principal.get("principalId") for principal in principals if isinstance(principal, dict))
    return {principal.lower() for principal in ids if isinstance(principal, str)}
