"""Table rows and list items of the Markdown summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from acr_cleanup.core.inventory import Tag
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.references import short
from acr_cleanup.reports import words
from acr_cleanup.reports.rows import KeptGroup, KeptTag, tags_of_kept_manifests
from acr_cleanup.reports.users import by_digest, users
from acr_cleanup.reports.view import View

HEADING = "## 🧹 ACR cleanup"
_USERS_SHOWN = 3

OUTCOME_LABELS = {
    OutcomeKind.FAILED: "failed",
    OutcomeKind.IN_USE_NOW: "now in use",
    OutcomeKind.MOVED: "moved since the plan",
    OutcomeKind.LOCKED: "now locked",
    OutcomeKind.KEPT: "kept for a new reason",
    OutcomeKind.GONE: "already deleted",
    OutcomeKind.NOT_ATTEMPTED: "not attempted",
}


def list_item(first: str, seen: str, remedy: str = "") -> str:
    """
    Join the lines of a list item: the place, what was seen, and what to do. The remedy is not
    Markdown yet.
    """
    remedy = f"→ {words.prose(remedy)}" if remedy else ""
    return "- " + "<br>".join(part for part in (first, seen, remedy) if part)


def tag_rows(
    view: View,
    repository: RepositoryPlan,
    gone: Iterable[Decision],
    left: Iterable[tuple[Decision, Outcome]],
) -> Iterator[list[str]]:
    """
    The cells of one row for each tag: failed, deleted, not deleted, then kept.

    Deletions come before kept tags, because a long table is cut at its end.
    """
    names = tags_of_kept_manifests(repository)
    by_rule = bool(view.result.plan.policy.rules)

    def row(decision: str, why: str, tag: Tag | KeptTag, governed_by: str) -> list[str]:
        return _tag_row(tag, decision, why, [words.code(governed_by) if governed_by else ""] if by_rule else [])

    failed = [pair for pair in left if pair[1].kind is OutcomeKind.FAILED]
    yield from (row(*_undeleted(outcome), decision.tag, decision.governed_by) for decision, outcome in failed)
    for decision in gone:
        vanished = decision.tag.name in repository.vanished and not view.acted
        why = "it no longer exists as reviewed" if vanished else _unused(decision, view.result.plan.created_at)
        why += "; its manifest is kept" if decision.tag.name in names else ""
        yield row(
            "🗑️ deleted" if view.acted else "📋 reviewed" if view.bound else "🗑️ delete",
            why,
            decision.tag,
            decision.governed_by,
        )
    yield from (
        row(*_undeleted(outcome), decision.tag, decision.governed_by)
        for decision, outcome in left
        if outcome.kind is not OutcomeKind.FAILED
    )
    for group in view.kept(repository):
        yield from (row(*_kept(group, tag), tag, tag.governed_by) for tag in group.tags)


def _tag_row(tag: Tag | KeptTag, decision: str, why: str, governed_by: list[str]) -> list[str]:
    # Without the hard space, a narrow column breaks between sign and word, and doubles the height
    # of every row.
    unbroken = decision.replace(" ", "&nbsp;")
    name = words.code(words.name(tag.name))
    return [name, words.code(short(tag.digest)), _date(tag.updated_at), unbroken, why, *governed_by]


def _undeleted(outcome: Outcome) -> tuple[str, str]:
    """The decision, and why."""
    failed = outcome.kind is OutcomeKind.FAILED
    label = "" if failed else OUTCOME_LABELS[outcome.kind]
    why = ": ".join(part for part in (label, words.markdown(outcome.detail) if outcome.detail else "") if part)
    return "❌ failed" if failed else "not deleted", why


def _kept(group: KeptGroup, tag: KeptTag) -> tuple[str, str]:
    """The decision, and why."""
    if group.rule is Rule.IN_USE:
        shown, hidden = users(tag, _USERS_SHOWN)
        more = f" and {hidden:,} more" if hidden else ""
        why = f"{'its digest: ' if by_digest(tag) else ''}{', '.join(map(words.code, shown))}{more}"
    else:
        why = words.markdown(tag.detail)
    if tag.also:
        why += f" (also {', '.join(dict.fromkeys(map(str, tag.also)))})"
    return "in use" if group.rule is Rule.IN_USE else "kept", why


def _date(moment: datetime | None) -> str:
    """A date that a narrow column does not break at its hyphens."""
    return words.date(moment).replace("-", "\N{NON-BREAKING HYPHEN}")


def _unused(decision: Decision, now: datetime) -> str:
    pushed = decision.tag.updated_at
    return "not in use" + (f", last pushed {words.age(now - pushed)} ago" if pushed is not None else "")
