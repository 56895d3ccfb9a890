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
from acr_cleanup.reports.rows import KeptGroup, KeptTag, by_name_only
from acr_cleanup.reports.users import by_digest, users
from acr_cleanup.reports.view import View

HEADING = "## 🧹 ACR cleanup"
_USERS_SHOWN = 3

OUTCOME_LABELS = {
    OutcomeKind.FAILED: "failed",
    OutcomeKind.IN_USE_NOW: "in use now, kept",
    OutcomeKind.MOVED: "moved since the plan, kept",
    OutcomeKind.LOCKED: "locked now, kept",
    OutcomeKind.KEPT: "kept after all",
    OutcomeKind.GONE: "already gone",
    OutcomeKind.NOT_ATTEMPTED: "not attempted",
}


def tag_rows(
    view: View,
    repository: RepositoryPlan,
    gone: Iterable[Decision],
    left: Iterable[tuple[Decision, Outcome]],
) -> Iterator[str]:
    """What failed, what went, what should have gone, what stays: a cut must not hide a deletion behind things that are kept."""
    names = by_name_only(repository)
    failed = [pair for pair in left if pair[1].kind is OutcomeKind.FAILED]
    yield from (_left(decision, outcome) for decision, outcome in failed)
    for decision in gone:
        why = _unused(decision, view.result.plan.created_at)
        why += "; its manifest stays" if decision.tag.name in names else ""
        yield _tag(decision.tag.name, decision.tag, "🗑️ deleted" if view.acted else "🗑️ delete", why)
    yield from (_left(decision, outcome) for decision, outcome in left if outcome.kind is not OutcomeKind.FAILED)
    for group in view.kept(repository):
        yield from (_kept(group, tag) for tag in group.tags)


def table_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def list_item(first: str, seen: str, remedy: str = "") -> str:
    """An item of a list: what and where, what was seen, what to do."""
    remedy = f"→ {words.prose(remedy)}" if remedy else ""
    return "- " + "<br>".join(part for part in (first, seen, remedy) if part)


def _date(moment: datetime | None) -> str:
    """A date that a narrow column does not break at its hyphens."""
    return words.date(moment).replace("-", "\N{NON-BREAKING HYPHEN}")


def _unused(decision: Decision, now: datetime) -> str:
    pushed = decision.tag.updated_at
    return "in no cluster" + (f", last pushed {words.age(now - pushed)} ago" if pushed is not None else "")


def _tag(name: str, tag: Tag | KeptTag, decision: str, why: str) -> str:
    # A narrow column must not break between the sign and its word: that would double the height of every row.
    unbroken = decision.replace(" ", "&nbsp;")
    return table_row(
        [words.code(words.name(name)), words.code(short(tag.digest)), _date(tag.updated_at), unbroken, why]
    )


def _left(decision: Decision, outcome: Outcome) -> str:
    mark = "❌ failed" if outcome.kind is OutcomeKind.FAILED else "not deleted"
    told = "" if outcome.kind is OutcomeKind.FAILED else OUTCOME_LABELS[outcome.kind]
    why = ": ".join(part for part in (told, words.markdown(outcome.detail) if outcome.detail else "") if part)
    return _tag(decision.tag.name, decision.tag, mark, why)


def _kept(group: KeptGroup, tag: KeptTag) -> str:
    if group.rule is Rule.IN_USE:
        shown, rest = users(tag, _USERS_SHOWN)
        more = f" and {rest:,} more" if rest else ""
        why = f"{'its digest: ' if by_digest(tag) else ''}{', '.join(map(words.code, shown))}{more}"
    else:
        why = words.markdown(tag.detail)
    if tag.also:
        why += f" (also {', '.join(dict.fromkeys(map(str, tag.also)))})"
    return _tag(tag.name, tag, "in use" if group.rule is Rule.IN_USE else "kept", why)
