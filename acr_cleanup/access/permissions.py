"""The actions that the identity may do on a whole subscription."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import Subscription, arm_problem
from acr_cleanup.access.resource_manager import list_resources

if TYPE_CHECKING:
    from azure.mgmt.containerservice.aio import ContainerServiceClient


async def read_permissions(client: ContainerServiceClient, subscription: Subscription) -> list[dict[str, Any]]:
    """
    Return the permissions of the identity on the whole subscription. Raises `ReadFailure`.

    https://learn.microsoft.com/rest/api/authorization/permissions
    """
    path = f"/subscriptions/{subscription.subscription_id}/providers/Microsoft.Authorization/permissions"
    with arm_problem("list the permissions of the identity on it", subscription, role=roles.READER.name):
        granted = await list_resources(client, path, "2022-04-01")
    return [permission for permission in granted if isinstance(permission, dict)]


def may(permissions: Iterable[dict[str, Any]], action: str) -> bool:
    """Return whether one of these permissions allows an action; `*` in their patterns matches any text."""
    return any(
        _matches(permission, "actions", action) and not _matches(permission, "notActions", action)
        for permission in permissions
    )


def _matches(permission: dict[str, Any], key: str, action: str) -> bool:
    patterns = permission.get(key)
    return isinstance(patterns, list) and any(
        re.fullmatch(".*".join(map(re.escape, str(pattern).split("*"))), action, re.IGNORECASE) for pattern in patterns
    )
