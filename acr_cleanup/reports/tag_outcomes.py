"""Planned tags of one repository, by their outcome."""

from __future__ import annotations

from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.reports.view import View


def deleted_tags(view: View, repository: RepositoryPlan) -> tuple[Decision, ...]:
    """The tags that were deleted, or in a mere plan would be; oldest first."""
    gone = (
        decision
        for decision in repository.deletions
        if not view.acted or (repository.repository, decision.tag.name) in view.deleted
    )
    now = view.result.plan.created_at
    return tuple(sorted(gone, key=lambda decision: (decision.tag.updated_at or now, decision.tag.name)))


def undeleted_tags(view: View, repository: RepositoryPlan) -> tuple[tuple[Decision, Outcome], ...]:
    """The tags that were planned and not deleted, with what became of them; failures first."""
    if not view.acted:
        return ()
    became = {
        outcome.tag: outcome
        for outcome in view.result.outcomes
        if outcome.repository == repository.repository and outcome.kind is not OutcomeKind.DELETED
    }
    found = ((each, became[each.tag.name]) for each in repository.deletions if each.tag.name in became)
    return tuple(
        sorted(found, key=lambda pair: (pair[1].kind is not OutcomeKind.FAILED, pair[1].kind, pair[0].tag.name))
    )
