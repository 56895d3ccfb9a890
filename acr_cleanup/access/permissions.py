"""The actions that the identity may do on a subscription, or on one resource."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import Subscription, arm_problem
from acr_cleanup.access.resource_manager import list_resources

if TYPE_CHECKING:
    from azure.mgmt.containerservice.aio import ContainerServiceClient


async def read_permissions(
    client: ContainerServiceClient, subscription: Subscription, resource_id: str = ""
) -> list[dict[str, Any]]:
    """
    Return the permissions of the identity on the whole subscription. Raises `ReadFailure`.

    resource_id: ask for those on this resource instead.

    https://learn.microsoft.com/rest/api/authorization/permissions
    """
    scope = resource_id or f"/subscriptions/{subscription.subscription_id}"
    path = f"{scope}/providers/Microsoft.Authorization/permissions"
    with arm_problem("list the permissions of the identity on it", subscription, role=roles.READER.name):
        granted = await list_resources(client, path, "2022-04-01")
    return [permission for permission in granted if isinstance(permission, dict)]


def may(permissions: Iterable[dict[str, Any]], action: str, *, data: bool = False) -> bool:
    """
    Return whether one of these permissions allows an action; `*` in their patterns matches any text.

    data: it is a data action.
    """
    granted, excluded = ("dataActions", "notDataActions") if data else ("actions", "notActions")
    return any(
        _matches(permission, granted, action) and not _matches(permission, excluded, action)
        for permission in permissions
    )


def _matches(permission: dict[str, Any], key: str, action: str) -> bool:
    patterns = permission.get(key)
    return isinstance(patterns, list) and any(
        re.fullmatch(".*".join(map(re.escape, str(pattern).split("*"))), action, re.IGNORECASE) for pattern in patterns
    )
