"""A reviewed plan, seen from now: what may be done of it, and what is known by now of everything else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Decision, DeleteManifest, ManifestDecision, Plan, RepositoryPlan
from acr_cleanup.core.policy import KeepReason, Rule
from acr_cleanup.core.removal import Reason

_WHY = "it may go by now, and is not in the reviewed plan"
_UNREVIEWED = (KeepReason(Rule.UNREVIEWED, _WHY),)
_UNREVIEWED_MANIFEST = (Reason(Rule.UNREVIEWED, _WHY),)


def bound_to(reviewed: Iterable[RepositoryPlan], fresh: Plan) -> Plan:
    """
    The plan that does nothing beyond what was `reviewed`, made from a plan of now.

    Its steps are the reviewed ones, and what they name counts as planned: `apply` decides anew which of that is still true, and
    makes an outcome of what is not. Every other tag is kept, for the reasons of now or because nobody has reviewed it.
    `fresh` has looked at every repository that was reviewed.
    """
    then = {each.repository: each for each in reviewed}
    looked_at = {tally.repository for tally in fresh.tallies}
    bound = chain(
        (_bound(then.get(each.repository, RepositoryPlan(each.repository)), each) for each in fresh.repositories),
        (_bound(each, RepositoryPlan(name)) for name, each in then.items() if name not in looked_at),
    )
    return replace(fresh, repositories=PackedPlans(map(Packed.of, bound)))


def _bound(then: RepositoryPlan, now: RepositoryPlan) -> RepositoryPlan:
    reviewed = {decision.tag.name for decision in then.decisions}
    others = (
        Decision(decision.tag, decision.reasons or _UNREVIEWED)
        for decision in now.decisions
        if decision.tag.name not in reviewed
    )
    decisions = sorted((*then.decisions, *others), key=lambda decision: decision.tag.name)
    going = {step.digest for step in then.steps if isinstance(step, DeleteManifest)}
    untagged = (
        ManifestDecision(each.manifest, () if each.manifest.digest in going else each.reasons or _UNREVIEWED_MANIFEST)
        for each in now.untagged
    )
    return replace(now, decisions=tuple(decisions), steps=then.steps, untagged=tuple(untagged))
