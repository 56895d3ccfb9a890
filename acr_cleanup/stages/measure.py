"""Measures the exact space that a plan frees. It reads all manifests of a repository."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.core.explanation import deleted_manifests
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.plan_warnings import UnmeasuredSpace
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
        return replace(plan, warnings=(*plan.warnings, UnmeasuredSpace(plan.repository, error=str(error))))
    deleted = deleted_manifests(inventory, plan)
    referrers_of = {digest: referrers for digest in deleted if (referrers := inventory.referrers_of.get(digest))}
    space: Space = measure(contents, deleted, referrers_of, read=read)
    warnings = plan.warnings
    if not space.exact:
        warnings = (*warnings, UnmeasuredSpace(plan.repository, space.unread, len(contents)))
    return replace(plan, space=space, warnings=warnings)
