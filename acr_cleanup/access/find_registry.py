"""Finds the registry in Azure by its login server."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from acr_cleanup.access import roles
from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, Resource
from acr_cleanup.access.registry_place import RegistryPlace

_VERSION = "2025-11-01"
"""The first stable version that returns `roleAssignmentMode`."""


async def find_registry(
    requests_of: Callable[[str], Requests],
    place: RegistryPlace,
    subscriptions: Iterable[str] = (),
    *,
    version: str = _VERSION,
) -> Resource | None:
    """
    Return the registry; None if Azure shows none with this login server. Raises `ReadFailure`.

    subscriptions: where to look if `place` does not name the subscription.
    """
    for name in dict.fromkeys(id_.lower() for id_ in ((place.subscription,) if place.subscription else subscriptions)):
        path = place.list_path or f"/subscriptions/{name}/providers/{roles.REGISTRIES}"
        for resource in await requests_of(name).list(path, version):
            if place.is_shown_as(first(resource.body, "properties.loginServer")):
                return resource
    return None
