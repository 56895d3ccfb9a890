"""The Azure actions that the actions of the registry's tokens need, without and with ABAC."""

from __future__ import annotations

from collections.abc import Mapping

from acr_cleanup.emulator.roles import REGISTRIES
from acr_cleanup.emulator.world import World

CATALOG = "catalog"

# Actions of a registry in the mode "RBAC Registry Permissions".
_PLAIN: Mapping[str, str] = {
    "metadata_read": "pull/read",
    "pull": "pull/read",
    "push": "push/write",
    "delete": "artifacts/delete",
    "metadata_write": "metadata/write",
    CATALOG: "pull/read",
}
# Data actions of a registry in the mode "RBAC Registry + ABAC Repository Permissions". There, the
# actions above have no effect.
_ABAC: Mapping[str, tuple[str, ...]] = {
    "metadata_read": ("repositories/metadata/read",),
    "pull": ("repositories/content/read",),
    "push": ("repositories/content/write", "repositories/metadata/write"),
    "delete": ("repositories/content/delete", "repositories/metadata/delete"),
    "metadata_write": ("repositories/metadata/write",),
    CATALOG: ("catalog/read",),
}
# Soft delete is on the control plane in both modes.
_SOFT_DELETE: Mapping[str, str] = {
    "deleted_read": "deleted/read",
    "deleted_restore": "deleted/restore/action",
}


def may(world: World, client: str, action: str, repository: str = "") -> bool:
    """
    Whether a client has the right to an action of the registry's tokens.

    An anonymous client (an empty name) may read, if the registry allows that.
    """
    registry, access = world.registry, world.access
    if not client:
        return registry.anonymous_pull and action in {"pull", "metadata_read"}
    if (soft_delete := _SOFT_DELETE.get(action)) is not None:
        return access.allows(client, f"{REGISTRIES}/{soft_delete}", registry.resource_id)
    if not registry.abac:
        known = _PLAIN.get(action)
        return known is not None and access.allows(client, f"{REGISTRIES}/{known}", registry.resource_id)
    return action in _ABAC and all(
        access.allows(client, f"{REGISTRIES}/{needed}", registry.resource_id, data=True, repository=repository)
        for needed in _ABAC[action]
    )


def may_see_locks(world: World, client: str, repository: str) -> bool:
    """
    Whether the lists show a client the `changeableAttributes`.

    AcrPull does not grant viewing locks. Whether the real lists then lack them is not known: an
    anonymous client was recorded with them. `RegistryState.hides_locks` chooses.
    """
    registry = world.registry
    if not registry.hides_locks:
        return True
    if registry.abac:
        return may(world, client, "metadata_read", repository)
    return world.access.allows(client, f"{REGISTRIES}/metadata/read", registry.resource_id)
