"""Measures to the byte what the manifests that a plan deletes take up: it reads every manifest of their repository."""

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
    The same plan with the space of the manifests that go; where that cannot be had, with a warning instead.

    Nothing is read for a repository that loses no manifest.
    """
    if not plan.manifests:
        return plan
    try:
        contents, read = await registry.read_contents(inventory)
    except RegistryForbidden as error:
        warning = f"What is freed in {plan.repository} is an upper bound: its manifests could not be read. {error}"
        return replace(plan, warnings=(*plan.warnings, warning))
    gone = going(inventory, plan)
    along = {each: referrers for each in gone if (referrers := inventory.referrers_of.get(each))}
    space: Space = measure(contents, gone, along, read=read)
    warnings = plan.warnings
    if not space.exact:
        warning = (
            f"What is freed in {plan.repository} is an upper bound: {space.unread:,} of its {len(contents):,} manifests "
            "cannot be read or do not say how large they are, and they might share any layer."
        )
        warnings = (*warnings, warning)
    return replace(plan, space=space, warnings=warnings)
