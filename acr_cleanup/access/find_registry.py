"""Finds the registry in Azure by its login server."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from acr_cleanup.access import roles
from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, Resource

_VERSION = "2025-11-01"
"""The first stable version that returns `roleAssignmentMode`."""


async def find_registry(
    requests_of: Callable[[str], Requests],
    login_server: str,
    subscription: str | None,
    group: str | None,
    subscriptions: Iterable[str] = (),
) -> Resource | None:
    """
    Return the registry; None if Azure shows none with this login server. Raises `ReadFailure`.

    subscription, group: where it is, if that is known.
    subscriptions: where to look if `subscription` is not known.

    Its name may differ from the first part of its host.
    """
    within = f"/resourceGroups/{group}" if subscription and group else ""
    for name in dict.fromkeys(each.lower() for each in ((subscription,) if subscription else subscriptions)):
        path = f"/subscriptions/{name}{within}/providers/{roles.REGISTRIES}"
        for resource in await requests_of(name).list(path, _VERSION):
            if str(first(resource.body, "properties.loginServer")).lower() == login_server.lower():
                return resource
    return None
