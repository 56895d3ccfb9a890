"""
Reads the registry's soft delete and retention policies from Azure Resource Manager.

The reports say before the first deletion whether deleted manifests can be restored.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from acr_cleanup.access.resource_manager import CONNECT_SECONDS, READ_SECONDS, open_manager
from acr_cleanup.clusters.arm_errors import Subscription, arm_problem
from acr_cleanup.clusters.unread import Unread
from acr_cleanup.core.outcome import Undo
from acr_cleanup.errors import IdentityError
from acr_cleanup.settings import Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from acr_cleanup.access.network import Network

# Versions without `preview` do not return the soft delete policy.
API_VERSION = "2023-11-01-preview"
READER = "Reader (on the registry)"

log = logging.getLogger("acr_cleanup")


class _SoftDelete(msgspec.Struct, rename="camel"):
    status: str = ""
    retention_days: int | None = None


class _Retention(msgspec.Struct, rename="camel"):
    status: str = ""
    days: int | None = None


class _Policies(msgspec.Struct, rename="camel"):
    soft_delete_policy: _SoftDelete | None = None
    retention_policy: _Retention | None = None


class _Properties(msgspec.Struct, rename="camel"):
    login_server: str = ""
    policies: _Policies | None = None


class _Registry(msgspec.Struct):
    properties: _Properties


class _Registries(msgspec.Struct):
    value: list[_Registry]


async def look_at_undo(settings: Settings, network: Network, credential: AsyncTokenCredential) -> Undo:
    """
    Describe whether deleted manifests can be restored.

    A policy that cannot be read is not an error: the description then gives the reason.
    """
    subscription, group = settings.registry_subscription_id, settings.registry_resource_group
    if subscription is None or group is None:
        return _unknown("the configuration does not set the registry's subscription_id and resource_group", settings)
    try:
        policies = await _policies(settings, subscription, group, network, credential)
    except (Unread, IdentityError) as error:
        log.debug("reading the policies of the registry", exc_info=True)
        return _unknown(f"{error.seen} {error.remedy}".strip().rstrip("."), settings)
    except Exception as error:  # only a sentence of the report depends on it
        log.debug("reading the policies of the registry", exc_info=True)
        return _unknown(f"{type(error).__name__}: {error}", settings)
    if policies is None:
        return _unknown(f"resource group {group} has no registry {settings.registry.login_server}", settings)
    return describe(policies, backup=settings.backup)


def describe(policies: _Policies, *, backup: bool) -> Undo:
    """
    Describe these policies. `backup`: the journal keeps the content of deleted manifests.

    https://learn.microsoft.com/azure/container-registry/container-registry-soft-delete-policy and
    https://learn.microsoft.com/azure/container-registry/container-registry-retention-policy
    """
    soft, retention = policies.soft_delete_policy, policies.retention_policy
    warnings: tuple[str, ...] = ()
    if retention is not None and retention.status.lower() == "enabled" and retention.days == 0:
        policy = "The retention policy of the registry deletes untagged manifests immediately (0 days)"
        warnings = (f"{policy}: a manifest is deleted together with its last tag.",)
    if soft is not None and soft.status.lower() == "enabled":
        days = f" for {soft.retention_days} day{'s' if soft.retention_days != 1 else ''}" if soft.retention_days else ""
        return Undo(f"Soft delete is enabled: deleted manifests can be restored{days}.", warnings)
    if backup:
        text = (
            "Soft delete is disabled, but the journal keeps the deleted manifests. They can be restored as long as the "
            "registry has their layers."
        )
        return Undo(text, warnings)
    return Undo("Soft delete is disabled: deleted manifests cannot be restored unless backup is true.", warnings)


def _unknown(reason: str, settings: Settings) -> Undo:
    backup = " The journal keeps the deleted manifests." if settings.backup else ""
    return Undo(f"It is unknown whether soft delete is enabled: {reason}.{backup}")


async def _policies(
    settings: Settings, subscription: str, group: str, network: Network, credential: AsyncTokenCredential
) -> _Policies | None:
    """Return None if the resource group has no such registry. Raises `Unread` and `IdentityError`."""
    from azure.core.rest import HttpRequest  # noqa: PLC0415

    cloud = settings.cloud
    # List the registries and compare login servers: the first part of a login server is not always the name.
    path = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry/registries"
    call = "read the policies of the registry"
    async with open_manager(
        credential, network.transport, cloud.resource_manager, cloud.resource_manager_scope
    ) as manager:
        with arm_problem(call, Subscription(subscription), role=READER):
            client = await manager.client(subscription)
            request = HttpRequest("GET", path, params={"api-version": API_VERSION})
            response = await client.send_request(request, connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
            response.raise_for_status()
            registries = msgspec.json.decode(response.content, type=_Registries).value
    login_server = settings.registry.login_server.lower()
    for registry in registries:
        if registry.properties.login_server.lower() == login_server:
            return registry.properties.policies or _Policies()
    return None
