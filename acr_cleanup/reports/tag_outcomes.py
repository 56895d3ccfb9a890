"""The planned tags of one repository: those that were deleted, and those that were not."""

from __future__ import annotations

from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.reports.view import View


def deleted_tags(view: View, repository: RepositoryPlan) -> tuple[Decision, ...]:
    """The tags that were deleted, or in a plan would be deleted; oldest first."""
    decisions = (
        decision
        for decision in repository.deletions
        if not view.acted or (repository.repository, decision.tag.name) in view.deleted
    )
    now = view.result.plan.created_at
    return tuple(sorted(decisions, key=lambda decision: (decision.tag.updated_at or now, decision.tag.name)))


def undeleted_tags(view: View, repository: RepositoryPlan) -> tuple[tuple[Decision, Outcome], ...]:
    """The tags that were planned but not deleted, each with its outcome; failures first."""
    if not view.acted:
        return ()
    outcomes = {
        outcome.tag: outcome
        for outcome in view.result.outcomes
        if outcome.repository == repository.repository and outcome.kind is not OutcomeKind.DELETED
    }
    pairs = (
        (decision, outcomes[decision.tag.name]) for decision in repository.deletions if decision.tag.name in outcomes
    )
    return tuple(
        sorted(pairs, key=lambda pair: (pair[1].kind is not OutcomeKind.FAILED, pair[1].kind, pair[0].tag.name))
    )
