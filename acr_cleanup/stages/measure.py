"""Measures the exact space that a plan frees; for that it reads all manifests of a repository."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.core.explanation import going
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.space import Space, measure
from acr_cleanup.errors import RegistryForbidden
from acr_cleanup.stages.registry_port import Registry


async def measured(plan: RepositoryPlan, inventory: RepositoryInventory, registry: Registry) -> RepositoryPlan:
    """
    Add the exact space to a plan, or a warning if it cannot be measured.

    A plan that deletes no manifest is returned without any request.
    """
    if not plan.manifests:
        return plan
    try:
        contents, read = await registry.read_contents(inventory)
    except RegistryForbidden as error:
        warning = f"The size freed in {plan.repository} is an upper bound: its manifests could not be read. {error}"
        return replace(plan, warnings=(*plan.warnings, warning))
    deleted = going(inventory, plan)
    along = {digest: referrers for digest in deleted if (referrers := inventory.referrers_of.get(digest))}
    space: Space = measure(contents, deleted, along, read=read)
    warnings = plan.warnings
    if not space.exact:
        warning = (
            f"The size freed in {plan.repository} is an upper bound: {space.unread:,} of its {len(contents):,} manifests "
            "could not be read or have no sizes, and they may share layers with deleted manifests."
        )
        warnings = (*warnings, warning)
    return replace(plan, space=space, warnings=warnings)
