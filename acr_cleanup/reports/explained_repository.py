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
    """The answer for a repository: each tag with its strongest reason, newest first."""

    def compose(self, bounds: Bounds) -> Iterator[Block]:
        plan, inventory = self.plan, self.evidence.inventory
        uses = [
            use for scan in self.evidence.usage.scans for use in scan.uses if use.reference.repository == inventory.name
        ]
        yield Line((self._verdict(len(uses)),))
        yield from self.blocked_line()
        if inventory.manifests:
            deleted = (
                f"; {words.count(len(plan.manifests), 'manifest')} would be deleted, {words.size(plan.size)} as listed"
            )
            yield BLANK
            number = words.count(len(inventory.manifests), "manifest")
            yield fact("Contains", f"{number}{deleted if plan.manifests else ''}")
        yield from section(self._running(uses, bounds.tags))
        yield from section(self._tags(plan.decisions, bounds.tags))
        yield from self.evidence_blocks()

    def _verdict(self, uses: int) -> tuple[str, str]:
        """The verdict and its style."""
        plan = self.plan
        if not plan.decisions and not self.evidence.inventory.manifests:
            verb = "fails" if uses == 1 else "fail"
            failing = f" {words.count(uses, 'use')} of it {verb} on the next pull." if uses else ""
            return f"{self.repository} is not in the registry, or empty.{failing}", MISSING_STYLE
        in_use = sum(decision.in_use for decision in plan.kept)
        text = (
            f"{self.repository}: {len(plan.deletions):,} of {words.count(len(plan.decisions), 'tag')} would be deleted, "
            f"{len(plan.kept):,} {words.plural(len(plan.kept), 'is')} kept, {in_use:,} of them in use."
        )
        return text, DELETED_STYLE if plan.deletions else KEPT_STYLE

    def _running(self, uses: Sequence[ImageUse], limit: int | None) -> Iterator[Block]:
        runners = list(dict.fromkeys(str(use) for use in sorted(uses, key=authored_first) if use.running))
        if not runners:
            out_of_scope = self.evidence.policy.scope is Scope.RUNNING
            consequence = ", so it is out of scope and all its tags are kept" if out_of_scope else ""
            yield Line(((f"It does not run in any cluster that was read{consequence}.", ""),))
            return
        yield heading(f"Run by {words.count(len(runners), 'workload')}", "bold")
        shown = runners if limit is None else runners[:_RUNNERS_SHOWN]
        yield from (Line(((words.plain(runner), ""),), 2) for runner in shown)
        yield from hidden_count(len(runners) - len(shown), "workload")

    def _tags(self, decisions: Sequence[Decision], limit: int | None) -> Iterator[Block]:
        newest = sorted(
            decisions,
            key=lambda decision: (decision.tag.updated_at or BEGINNING, decision.tag.name),
            reverse=True,
        )
        shown = newest if limit is None else newest[:limit]
        if shown:
            yield Grid(
                tuple(self._row(decision) for decision in shown),
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
            # The uses are sorted by how directly they name the tag. This sort is stable, so it
            # keeps that order within each kind.
            uses = sorted(first.uses, key=lambda use: kind_rank(use.workload.kind))
            more = f" and {len(uses) - 1:,} more" if len(uses) > 1 else ""
            why = f"in use: {words.plain(str(uses[0]))}{more}"
        else:
            why = words.plain(first.detail)
        also = f" (also {', '.join(dict.fromkeys(str(reason.rule) for reason in others))})" if others else ""
        return words.name(tag.name), age, "kept", f"{why}{also}"
