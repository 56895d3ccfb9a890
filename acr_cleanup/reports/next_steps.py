"""Advice for the user: the next steps after a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from acr_cleanup.core.outcome import Verdict
from acr_cleanup.core.policy import Scope
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.view import View


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do now: a sentence without its end, and what to type or to set for it (`command`)."""

    text: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.command}" if self.command else f"{self.text}."


def next_steps(view: View, context: Context) -> tuple[Advice, ...]:
    """What to do now, in order."""
    return tuple(_next_steps(view, context))


def _next_steps(view: View, context: Context) -> Iterable[Advice]:
    result = view.result
    again = "plan again" if context.plan_again else "run it again"
    if advice := _after_proof(view, context):
        yield from advice
        return
    if view.blockers:
        what = "Correct what is named above" if view.ended_early else "Remove what blocks (above)"
        yield Advice(f"{what}, then {again}", context.plan_again)
        return
    if view.turned_away:
        yield Advice("Plan again, and have that reviewed", context.plan_again)
        return
    if result.refusals and result.applied_plan is not None:
        yield Advice(
            "Read the plan. Where the limit is too low for it, raise it and apply the plan again", context.apply
        )
        return
    if result.refusals:
        yield Advice(f"Read the plan. Where the limit is too low for it, raise it and {again}", context.plan_again)
        return
    if result.verdict is Verdict.CANCELLED or (view.acted and result.verdict is Verdict.PARTIAL):
        command = "" if context.apply_is_input else context.apply
        what = (
            "Run it again" if result.verdict is Verdict.CANCELLED else "Correct what failed (above), then run it again"
        )
        yield Advice(f"{what}; what is deleted stays deleted, and the rest is decided anew", command)
        return
    if not view.acted and (result.plan.planned or result.plan.untagged):
        what = "tags" if result.plan.planned else "manifests"
        yield Advice(f"Check the {what} that would go; {context.full_report} holds every decision with all its reasons")
        if context.apply:
            yield Advice("Delete them by setting" if context.apply_is_input else "Delete them", context.apply)
    elif not result.plan.repositories and result.plan.policy.scope is not Scope.ALL and not _other_shards(view):
        yield Advice(
            f"Check that these clusters use images of {result.plan.registry}: in the scope "
            f"{result.plan.policy.scope}, repositories that they do not name are not looked at"
        )


def _after_proof(view: View, context: Context) -> list[Advice]:
    """What to do when what is used is broken, or may be."""
    proof = view.result.proof
    if proof is None or not (proof.broken or (proof.unproven and not view.blockers)):
        return []
    if not proof.broken:
        what = "Plan again, once the registry answers: a plan tells what is in use and not in the registry"
        return [Advice(what, context.plan_again)]
    steps = [Advice("Put back what this run deleted, as far as that helps", view.way_back(context))]
    if not all(each.ours for each in proof.broken):
        what = f"Find out what removed the rest; {context.full_report} and the journal hold all that this run did"
        steps.append(Advice(what))
    return steps


def _other_shards(view: View) -> bool:
    """May the other parts of the registry hold what the clusters name? Then it is no wonder that this one holds nothing."""
    plan = view.result.plan
    return bool(plan.usage.repositories) and not plan.policy.shard.is_whole
