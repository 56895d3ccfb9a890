"""Measures to the byte what the manifests that a plan deletes take up: it reads every manifest of their repository."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from acr_cleanup.core.explanation import deleted_manifests
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.plan_warnings import UnmeasuredSpace
from acr_cleanup.core.references import Digest
from acr_cleanup.core.space import Content, Space, measure
from acr_cleanup.errors import RegistryForbidden


class Registry(Protocol):
    """What measuring needs of a registry."""

    async def read_contents(self, inventory: RepositoryInventory) -> tuple[dict[Digest, Content | None], int]:
        """What each manifest takes up (None: not known), and how many had to be read; raises `RegistryError`."""
        ...


async def measured(plan: RepositoryPlan, inventory: RepositoryInventory, registry: Registry) -> RepositoryPlan:
    """
    The same plan with the space of the manifests that go; where that cannot be had, with a warning instead.

    Nothing is read for a repository that loses no manifest.
    """
    if not plan.manifests:
        return plan
    try:
        contents, read = await registry.read_contents(inventory)
    except RegistryForbidden as error:
        warning = UnmeasuredSpace(plan.repository, error=str(error))
        return replace(plan, warnings=(*plan.warnings, warning))
    gone = deleted_manifests(inventory, plan)
    along = {each: referrers for each in gone if (referrers := inventory.referrers_of.get(each))}
    space: Space = measure(contents, gone, along, read=read)
    warnings = plan.warnings
    if not space.exact:
        warnings = (*warnings, UnmeasuredSpace(plan.repository, space.unread, len(contents)))
    return replace(plan, space=space, warnings=warnings)
