"""Advice for the user after a run."""

from __future__ import annotations

from dataclasses import dataclass

from acr_cleanup.core.outcome import Verdict
from acr_cleanup.core.retention import Scope
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.view import View


@dataclass(frozen=True, slots=True)
class Advice:
    """
    One step for the user: a sentence without its full stop, and a command to type or an input to
    set.
    """

    text: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.command}" if self.command else f"{self.text}."


def next_steps(view: View, context: Context) -> tuple[Advice, ...]:
    """
    Return the steps for the most urgent situation of this run, in order; () if nothing is to be
    done.
    """
    for situation in (_not_verified, _blocked, _refused, _unfinished, _planned, _out_of_scope):
        if steps := situation(view, context):
            return tuple(steps)
    return ()


def _not_verified(view: View, context: Context) -> list[Advice]:
    """References in use are broken, or could not be checked."""
    proof = view.result.proof
    if proof is None or not (proof.broken or (proof.unproven and not view.blockers)):
        return []
    if not proof.broken:
        text = "When the registry answers, plan again to find references in use that are missing"
        return [Advice(text, context.plan_again)]
    steps = [Advice("Restore what this run deleted", view.restore_command(context))]
    if not all(reference.ours for reference in proof.broken):
        steps.append(
            Advice(
                "Find out what deleted the rest. "
                f"{context.full_report} and the journal list everything that this run deleted"
            )
        )
    return steps


def _blocked(view: View, context: Context) -> list[Advice]:
    if not view.blockers:
        return []
    text = "Fix the problem above" if view.ended_early else "Resolve the blockers above"
    return [Advice(f"{text}, then {_again(context)}", context.plan_again)]


def _refused(view: View, context: Context) -> list[Advice]:
    if view.plan_rejected:
        return [Advice("Plan again, and have the new plan reviewed", context.plan_again)]
    if not view.result.refusals:
        return []
    if view.bound:
        # The same command would be refused again.
        again = Advice(
            "Plan again, so that fewer deletions are due, and have the new plan reviewed", context.plan_again
        )
        return [again, Advice("Or, if the reviewed plan is what you want, raise the limit and apply it again")]
    text = "Check the plan. If it is what you want, raise the limit and"
    return [Advice(f"{text} {_again(context)}", context.plan_again)]


def _unfinished(view: View, context: Context) -> list[Advice]:
    """The run was cancelled, or items failed."""
    command = "" if context.apply_is_input else context.apply
    if view.result.verdict is Verdict.CANCELLED:
        return [Advice("Run it again to delete the rest, which is decided again", command)]
    if view.acted and view.result.verdict is Verdict.PARTIAL:
        return [Advice("Fix the failures above, then run it again to delete the rest, which is decided again", command)]
    return []


def _planned(view: View, context: Context) -> list[Advice]:
    plan = view.result.plan
    if view.acted or not (plan.planned or plan.untagged):
        return []
    items = "tags" if plan.planned else "manifests"
    steps = [
        Advice(
            f"Check the {items} that would be deleted. {context.full_report} has every decision with all its reasons"
        )
    ]
    if context.apply:
        steps.append(Advice("Delete them by setting" if context.apply_is_input else "Delete them", context.apply))
    return steps


def _out_of_scope(view: View, _: Context) -> list[Advice]:
    """No repository is in scope: the wrong clusters or the wrong registry may be configured."""
    plan = view.result.plan
    # With shards, the repositories that the clusters name may all be in other shards.
    in_other_shards = bool(plan.usage.repositories) and not plan.policy.shard.is_whole
    if plan.repositories or plan.policy.scope is Scope.ALL or in_other_shards:
        return []
    verb = "run in" if plan.policy.scope is Scope.RUNNING else "are named by"
    return [
        Advice(
            f"Check that the configured clusters use images of {plan.registry}. "
            f"With scope {plan.policy.scope}, only repositories that {verb} these clusters are read"
        )
    ]


def _again(context: Context) -> str:
    return "plan again" if context.plan_again else "run it again"
