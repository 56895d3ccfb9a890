"""The answer of `acr-cleanup explain` for a whole repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from acr_cleanup.core.plan import Decision
from acr_cleanup.core.policy import Rule, Scope
from acr_cleanup.core.usage import ImageUse
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import (
    BEGINNING,
    BLOCKED_STYLE,
    DELETED_STYLE,
    KEPT_STYLE,
    MISSING_STYLE,
    Bounds,
    CurrentExplanation,
    authored_first,
    hidden_count,
    kind_rank,
)
from acr_cleanup.reports.blocks import BLANK, Block, Grid, Line, fact, heading, section

_RUNNERS_SHOWN = 10


@dataclass(frozen=True)
class RepositoryExplanation(CurrentExplanation):
    """The answer for a repository: each of its tags with its strongest reason, newest first."""

    def compose(self, bounds: Bounds) -> Iterator[Block]:
        plan, inventory, usage = self.plan, self.evidence.inventory, self.evidence.usage
        unseen = self.blocked()
        number = len(plan.decisions)
        in_use = sum(decision.in_use for decision in plan.kept)
        named = [use for scan in usage.scans for use in scan.uses if use.reference.repository == inventory.name]
        if not number and not inventory.manifests:
            pods = f"; {words.count(len(named), 'use')} of it would fail on the next pull" if named else ""
            text = f"{self.repository} is not in the registry, or empty{pods}."
            yield Line(((text, MISSING_STYLE),))
        else:
            style = DELETED_STYLE if plan.deletions else KEPT_STYLE
            counted = words.count(number, "tag")
            text = (
                f"{self.repository}: {len(plan.deletions):,} of {counted} would be deleted, "
                f"{len(plan.kept):,} {words.plural(len(plan.kept), 'is')} kept, {in_use:,} of them in use."
            )
            yield Line(((text, style),))
        if unseen:
            text = f"{unseen} could not be read completely: a run now would delete nothing, and more uses may exist."
            yield Line(((text, BLOCKED_STYLE),))
        if inventory.manifests:
            freed = f"; {words.count(len(plan.manifests), 'manifest')} would go, {words.size(plan.size)} as listed"
            yield BLANK
            held = words.count(len(inventory.manifests), "manifest")
            yield fact("Holds", f"{held}{freed if plan.manifests else ''}")
        yield from section(self._running(named, bounds.tags))
        yield from section(self._tags(plan.decisions, bounds.tags))
        yield from self.evidence_blocks()

    def _running(self, named: Sequence[ImageUse], limit: int | None) -> Iterator[Block]:
        runners = list(dict.fromkeys(str(use) for use in sorted(named, key=authored_first) if use.running))
        scope = self.evidence.policy.scope
        if not runners:
            consequence = ": it is out of scope, and all of it is kept" if scope is Scope.RUNNING else ""
            yield Line(((f"Nothing that could be seen runs it{consequence}.", ""),))
            return
        yield heading(f"Who runs it: {words.count(len(runners), 'workload')}", "bold")
        shown = runners if limit is None else runners[:_RUNNERS_SHOWN]
        yield from (Line(((words.plain(each), ""),), 2) for each in shown)
        yield from hidden_count(len(runners) - len(shown), "workload")

    def _tags(self, decisions: Sequence[Decision], limit: int | None) -> Iterator[Block]:
        newest = sorted(decisions, key=lambda each: (each.tag.updated_at or BEGINNING, each.tag.name), reverse=True)
        shown = newest if limit is None else newest[:limit]
        if shown:
            yield Grid(
                tuple(self._row(each) for each in shown),
                header=("Tag", "Pushed", "Verdict", "Why"),
                numbers=frozenset({1}),
            )
        yield from hidden_count(len(newest) - len(shown), "tag")

    def _row(self, decision: Decision) -> tuple[str, ...]:
        tag = decision.tag
        age = words.age(self.evidence.now - tag.updated_at) if tag.updated_at is not None else "?"
        if decision.deletes:
            return words.name(tag.name), age, "would be deleted", "unused and old enough"
        first, *others = decision.reasons
        if first.rule is Rule.IN_USE:
            # The most direct come first, and stay so among those of a kind.
            uses = sorted(first.uses, key=lambda use: kind_rank(use.workload.kind))
            rest = f" and {len(uses) - 1:,} more" if len(uses) > 1 else ""
            why = f"in use: {words.plain(str(uses[0]))}{rest}"
        else:
            why = words.plain(first.detail)
        also = f" (also {', '.join(dict.fromkeys(str(each.rule) for each in others))})" if others else ""
        return words.name(tag.name), age, "kept", f"{why}{also}"
