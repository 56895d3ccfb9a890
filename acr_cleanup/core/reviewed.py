"""
A reviewed plan, combined with a fresh plan: its steps, and the fresh decisions on everything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from msgspec import structs

from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.policy import KeepReason, Rule
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.steps import DeleteManifest

_DETAIL = "it is not in the reviewed plan, and no rule keeps it now"
_UNREVIEWED = (KeepReason(Rule.UNREVIEWED, _DETAIL),)
_UNREVIEWED_MANIFEST = (Reason(Rule.UNREVIEWED, _DETAIL),)


def bound_to(reviewed: Iterable[RepositoryPlan], fresh: Plan) -> Plan:
    """
    The plan that deletes nothing beyond what was reviewed.

    Its steps are the reviewed ones, and their tags and manifests count as planned. `apply` checks
    again which of them are still valid, and reports an outcome for the other ones. Every other tag
    is kept, by its fresh reasons or as unreviewed.

    fresh: a plan made now, of every reviewed repository.
    """
    reviewed_plans = {plan.repository: plan for plan in reviewed}
    fresh_names = {tally.repository for tally in fresh.tallies}
    bound = chain(
        (
            _bound(reviewed_plans.get(plan.repository, RepositoryPlan(plan.repository)), plan)
            for plan in fresh.repositories
        ),
        (_bound(plan, RepositoryPlan(name)) for name, plan in reviewed_plans.items() if name not in fresh_names),
    )
    return replace(fresh, repositories=PackedPlans(map(Packed.of, bound)))


def _bound(reviewed: RepositoryPlan, fresh: RepositoryPlan) -> RepositoryPlan:
    reviewed_tags = {decision.tag.name for decision in reviewed.decisions}
    others = (
        structs.replace(decision, reasons=decision.reasons or _UNREVIEWED)
        for decision in fresh.decisions
        if decision.tag.name not in reviewed_tags
    )
    rules = {decision.tag.name: decision.governed_by for decision in fresh.decisions}
    planned = (
        structs.replace(decision, governed_by=rules.get(decision.tag.name, "")) for decision in reviewed.decisions
    )
    decisions = sorted((*planned, *others), key=lambda decision: decision.tag.name)
    deleted = {step.digest for step in reviewed.steps if isinstance(step, DeleteManifest)}
    untagged = (
        structs.replace(
            decision, reasons=() if decision.manifest.digest in deleted else decision.reasons or _UNREVIEWED_MANIFEST
        )
        for decision in fresh.untagged
    )
    present = {(decision.tag.name, decision.tag.digest) for decision in fresh.decisions}
    vanished = (decision.tag for decision in reviewed.decisions if not fresh.error)
    return replace(
        fresh,
        decisions=tuple(decisions),
        steps=reviewed.steps,
        untagged=tuple(untagged),
        vanished=frozenset(tag.name for tag in vanished if (tag.name, tag.digest) not in present),
    )
