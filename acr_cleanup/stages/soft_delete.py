"""Finds out, before anything is deleted, whether the registry could bring it back: by its policies in Azure Resource Manager."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.resource_manager import list_resources, open_manager
from acr_cleanup.clusters.arm_errors import Subscription, arm_problem
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.core.outcome import Undo
from acr_cleanup.core.references import Registry as RegistryHost
from acr_cleanup.errors import IdentityError

# The last versions without `preview` in their name do not show the policy of soft delete.
API_VERSION = "2023-11-01-preview"
READER = "Reader (on the registry)"
_LIST_SECONDS = 120

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


async def read_soft_delete(
    azure: Azure, host: RegistryHost, subscription: str | None, group: str | None, *, backup: bool
) -> Undo:
    """What the registry's policies mean for what is going to be deleted. That they cannot be read is no error, but said."""
    if subscription is None or group is None:
        return _unknown(
            "the configuration does not say the registry's subscription_id and resource_group", backup=backup
        )
    try:
        async with asyncio.timeout(_LIST_SECONDS):
            policies = await _policies(host, subscription, group, azure)
    except (ReadFailure, IdentityError) as error:
        log.debug("reading the policies of the registry", exc_info=True)
        return _unknown(f"{error.seen} {error.remedy}".strip().rstrip("."), backup=backup)
    except TimeoutError:
        return _unknown(f"the registries were not listed completely within {_LIST_SECONDS} seconds", backup=backup)
    except Exception as error:  # only a sentence of the report is at stake
        log.debug("reading the policies of the registry", exc_info=True)
        return _unknown(f"{type(error).__name__}: {error}", backup=backup)
    if policies is None:
        return _unknown(f"resource group {group} shows no registry {host.login_server}", backup=backup)
    return describe(policies, backup=backup)


def describe(policies: _Policies, *, backup: bool) -> Undo:
    """
    These policies in words.

    https://learn.microsoft.com/azure/container-registry/container-registry-soft-delete-policy and
    https://learn.microsoft.com/azure/container-registry/container-registry-retention-policy
    """
    soft, retention = policies.soft_delete_policy, policies.retention_policy
    warnings: tuple[str, ...] = ()
    if retention is not None and retention.status.lower() == "enabled" and retention.days == 0:
        at_once = "The retention policy of the registry deletes untagged manifests at once (0 days)"
        warnings = (f"{at_once}: a manifest that loses its last tag is gone with it.",)
    if soft is not None and soft.status.lower() == "enabled":
        days = f" for {soft.retention_days} day{'s' if soft.retention_days != 1 else ''}" if soft.retention_days else ""
        return Undo(f"Soft delete is on: deleted manifests can be restored{days}.", warnings)
    if backup:
        kept = "the journal keeps the deleted manifests, which can be restored as long as the registry has their layers"
        return Undo(f"Soft delete is off, but {kept}.", warnings)
    return Undo("Soft delete is off: a deleted manifest is gone unless backup is true.", warnings)


def _unknown(why: str, *, backup: bool) -> Undo:
    kept = " The journal keeps the deleted manifests." if backup else ""
    return Undo(f"Whether soft delete is on is not known: {why}.{kept}")


async def _policies(host: RegistryHost, subscription: str, group: str, azure: Azure) -> _Policies | None:
    """None if there is no such registry. Raises `ReadFailure` and `IdentityError`."""
    # Listed, for not every registry is called like the first part of its host.
    path = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry/registries"
    call = "read the policies of the registry"
    async with open_manager(azure) as manager:
        with arm_problem(call, Subscription(subscription), role=READER):
            client = await manager.client(subscription)
            registries = msgspec.convert(await list_resources(client, path, API_VERSION), list[_Registry])
    wanted = host.login_server.lower()
    for registry in registries:
        if registry.properties.login_server.lower() == wanted:
            return registry.properties.policies or _Policies()
    return None
