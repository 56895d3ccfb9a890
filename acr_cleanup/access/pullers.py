"""Lists the identities and tokens that may pull, except those of configured clusters and of services that were read."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, Resource
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.jwt import claims_of
from acr_cleanup.access.permissions import may
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.core.usage import Puller

logger = logging.getLogger(__name__)

_VERSION = "2025-11-01"
_ROLES_VERSION = "2022-04-01"
_CLUSTERS_VERSION = "2025-05-01"
_PULL = "Microsoft.ContainerRegistry/registries/pull/read"
_READ_CONTENT = "Microsoft.ContainerRegistry/registries/repositories/content/read"


async def read_pullers(
    registry: Resource, requests: Requests, azure: Azure, principals: Collection[str], clusters: Collection[str]
) -> tuple[Puller, ...]:
    """
    Return who may pull and is not read. A list that cannot be read becomes a row that says so.

    principals: principal ids of everything that is read, in lower case.
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
    try:
        for token in await requests.list(f"{registry.id}/tokens", _VERSION):
            if str(first(token.body, "properties.status") or "enabled").lower() == "enabled":
                scope = str(first(token.body, "properties.scopeMapId") or "").rpartition("/")[2]
                pullers.append(Puller(token.name, "token", scope))
    except ReadFailure as error:
        pullers.append(_unlisted("tokens", error))
    try:
        pullers += await _assigned(registry, requests, azure, principals, clusters)
    except ReadFailure as error:
        pullers.append(_unlisted("role assignments", error))
    return tuple(dict.fromkeys(pullers))


def _unlisted(what: str, error: ReadFailure) -> Puller:
    return Puller("unknown", what, f"not listed: {error.seen}")


async def _assigned(
    registry: Resource, requests: Requests, azure: Azure, principals: Collection[str], clusters: Collection[str]
) -> list[Puller]:
    """Return the principals with a role that includes pulling, on the registry or above it."""
    scope = azure.resource_manager_scope or f"{azure.resource_manager.rstrip('/')}/.default"
    own = str(claims_of((await azure.credential.get_token(scope)).token).get("oid", "")).lower()
    explained = {own, *principals}
    pullers: dict[str, list[Puller]] = {}
    definitions: dict[str, str] = {}
    path = f"{registry.id}/providers/Microsoft.Authorization/roleAssignments"
    for assignment in await requests.list(path, _ROLES_VERSION, any_scope=True):
        properties: dict[str, Any] = first(assignment.body, "properties") or {}
        principal, role = str(properties.get("principalId")), str(properties.get("roleDefinitionId"))
        if principal.lower() in explained:
            continue
        if role not in definitions:
            definitions[role] = await _pulling_role(role, requests)
        if name := definitions[role]:
            condition = " (with a condition)" if properties.get("condition") else ""
            puller = Puller(principal, str(properties.get("principalType") or "identity"), f"{name}{condition}")
            pullers.setdefault(principal.lower(), []).append(puller)
    kubelets = await _kubelets(requests, clusters) if pullers else set()
    return [puller for principal, rows in pullers.items() if principal not in kubelets for puller in rows]


async def _kubelets(requests: Requests, clusters: Collection[str]) -> set[str]:
    """Return the identities with which the nodes of configured clusters pull."""
    identities: set[str] = set()
    for cluster_id in (known for known in clusters if known.startswith("/subscriptions/")):
        own = replace(requests, subscription=cluster_id.split("/")[2])
        try:
            cluster = await own.get(cluster_id, _CLUSTERS_VERSION)
        except ReadFailure:
            logger.debug("reading the kubelet identity of %s failed", cluster_id, exc_info=True)
            continue
        identities.add(str(first(cluster, "properties.identityProfile.kubeletidentity.objectId")).lower())
    return identities


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
