"""
Reads the registry's soft delete and retention policies from Azure Resource Manager.

Reports show before the first deletion whether deleted manifests can be restored.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.find_registry import find_registry
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.access.resource_manager import open_manager
from acr_cleanup.access.roles import POLICIES
from acr_cleanup.core.outcome import Undo
from acr_cleanup.errors import IdentityError

# Versions without `preview` do not return the soft delete policy.
API_VERSION = "2023-11-01-preview"
READER = f"{POLICIES.role} (on the registry)"
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

    @property
    def untagged_expire(self) -> bool:
        retention = self.retention_policy
        return retention is not None and retention.status.lower() == "enabled"


class RegistryPolicies:
    """
    The policies of one registry. They are read once, when the first answer depends on them.

    Policies that cannot be read are not an error: each answer then says what follows.
    """

    def __init__(self, azure: Azure, place: RegistryPlace) -> None:
        self._azure = azure
        self._place = place
        self._lock = asyncio.Lock()
        self._answer: _Policies | str | None = None
        """The policies, or why they cannot be read. None before the first question."""

    async def can_restore(self, *, backup: bool) -> Undo:
        """Describe whether deleted manifests can be restored. `backup`: the journal keeps them."""
        policies = await self._read()
        if isinstance(policies, str):
            return _unknown(policies, backup=backup)
        return describe(policies, backup=backup, registry=self._place.host.login_server.partition(".")[0])

    async def untagged_expire(self) -> bool:
        """
        May the registry delete manifests without a tag?

        True if the policy cannot be read; False if the configuration does not say where to read it.
        https://learn.microsoft.com/azure/container-registry/container-registry-retention-policy
        """
        if not self._place.list_path:
            return False
        policies = await self._read()
        return isinstance(policies, str) or policies.untagged_expire

    async def _read(self) -> _Policies | str:
        async with self._lock:
            if self._answer is None:
                self._answer = await self._request()
            return self._answer

    async def _request(self) -> _Policies | str:
        if not self._place.list_path:
            return "the configuration does not set the registry's subscription_id and resource_group"
        try:
            async with asyncio.timeout(_LIST_SECONDS):
                policies = await _policies(self._place, self._azure)
        except (ReadFailure, IdentityError) as error:
            log.debug("reading the policies of the registry", exc_info=True)
            return f"{error.seen} {error.remedy}".strip().rstrip(".")
        except TimeoutError:
            return f"the registries were not listed completely within {_LIST_SECONDS} seconds"
        except Exception as error:  # only tags and sentences of the report depend on it
            log.debug("reading the policies of the registry", exc_info=True)
            return f"{type(error).__name__}: {error}"
        if policies is None:
            # Azure omits from the list a registry that the identity may not read.
            seen = f"Azure shows no registry {self._place.host.login_server} in resource group {self._place.group}"
            return f"{seen}. Give the identity the role {READER}, or correct resource_group and subscription_id"
        return policies


def describe(policies: _Policies, *, backup: bool, registry: str = "REGISTRY") -> Undo:
    """
    Describe these policies. `backup`: the journal keeps the content of deleted manifests. `registry`:
    its name, for a command.

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
    enable = f"az acr config soft-delete update --registry {registry} --status enabled --days 7"
    text = (
        f"Soft delete is disabled: deleted manifests cannot be restored. Set backup to true, or enable it: `{enable}`."
    )
    return Undo(text, warnings, final=True)


def _unknown(why: str, *, backup: bool) -> Undo:
    kept = " The journal keeps the deleted manifests." if backup else ""
    return Undo(f"It is unknown whether soft delete is enabled: {why}.{kept}")


async def _policies(place: RegistryPlace, azure: Azure) -> _Policies | None:
    """
    Return None if the resource group has no such registry.

    Raises `ReadFailure` and `IdentityError`.
    """
    async with open_manager(azure) as manager:
        requests = Requests(manager, (place.subscription or "").lower(), asyncio.Semaphore(1))
        registry = await find_registry(lambda _: requests, place, version=API_VERSION)
    if requests.versions:
        # Another version returns no soft delete policy, which does not mean that it is disabled.
        raise ReadFailure("read the policies", f"Azure does not have version {API_VERSION} of registries here.", "")
    policies = first(registry.body, "properties.policies") if registry is not None else None
    return None if registry is None else msgspec.convert(policies or {}, _Policies)
