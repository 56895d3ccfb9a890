"""The `report.json` of a past run, read again: what was known then of one tag or manifest, and what was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from acr_cleanup.core.outcome import OutcomeKind, Verdict
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.references import Digest
from acr_cleanup.core.shard import WHOLE
from acr_cleanup.core.usage import Blocker
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import (
    BEGINNING,
    Bounds,
    ExplanationPage,
    blocker_blocks,
    hidden_count,
    push_age,
    uses_by_cluster,
    utc_minute,
    warning_blocks,
)
from acr_cleanup.reports.blocks import Block, Grid, Line, fact, heading, section
from acr_cleanup.reports.past_report import (
    PastRun,
    RecordedCluster,
    RecordedDecision,
    RecordedManifest,
    RecordedOutcome,
    RecordedReason,
    RecordedRepository,
    RecordedUse,
)

_BECAME: Mapping[str, str] = {
    OutcomeKind.DELETED: "was deleted",
    OutcomeKind.GONE: "was to be deleted, and somebody else had done so",
    OutcomeKind.MOVED: "was to be deleted and stayed: it had moved",
    OutcomeKind.IN_USE_NOW: "was to be deleted and stayed: it had come into use",
    OutcomeKind.LOCKED: "was to be deleted and stayed: it had been locked",
    OutcomeKind.KEPT: "was to be deleted and stayed",
    OutcomeKind.FAILED: "was to be deleted, and that failed",
    OutcomeKind.NOT_ATTEMPTED: "was to be deleted, and that was not attempted",
}


@dataclass(frozen=True)
class PastExplanation(ExplanationPage):
    """The answer for one repository, tag or manifest, from the report of a run."""

    run: PastRun
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def title(self) -> str:
        mark = f":{self.tag}" if self.tag is not None else f"@{self.digest}" if self.digest is not None else ""
        return words.plain(f"{self.repository}{mark}")

    @cached_property
    def found(self) -> RecordedRepository | None:
        return self.run.repository(self.repository)

    @cached_property
    def decisions(self) -> tuple[RecordedDecision, ...]:
        """Those that the question is about: of the tag, of all tags on the digest, or of all of the repository."""
        every = self.found.decisions if self.found is not None else ()
        return tuple(
            each
            for each in every
            if (self.tag is None or each.tag == self.tag) and (self.digest is None or each.digest == self.digest)
        )

    @cached_property
    def outcomes(self) -> Mapping[tuple[str | None, str], RecordedOutcome]:
        return {(each.tag, each.digest): each for each in self.run.outcomes if each.repository == self.repository}

    @property
    def manifest(self) -> RecordedManifest | None:
        every = self.found.manifests if self.found is not None else ()
        return next((each for each in every if each.digest == self.digest), None)

    @property
    def known(self) -> bool:
        """Does the report tell of it?"""
        if self.found is None:
            return False
        if self.found.error or (self.tag is None and self.digest is None):
            return True
        return bool(self.decisions) or self.manifest is not None or (None, str(self.digest)) in self.outcomes

    def compose(self, bounds: Bounds) -> Iterator[Block]:
        yield from self._verdict()
        if self.known and self.found is not None and not self.found.error:
            if self.tag is not None:
                yield from section(self._facts(self.decisions[0]))
            elif self.digest is None or len(self.decisions) > 0:
                yield from section(self._table(bounds.tags))
            if self.tag is not None or self.digest is not None:
                yield from section(self._reasons())
                yield from section(self._uses(bounds.uses))
        yield from section(blocker_blocks(tuple(Blocker(e.where, e.call, e.seen, e.remedy) for e in self.run.blockers)))
        yield from section(warning_blocks((*self.run.warnings, *(self.found.warnings if self.found else ()))))
        yield from section(self._run())

    # -- the verdict ---------------------------------------------------------------------------------------------

    def _verdict(self) -> Iterator[Block]:
        if self.found is None:
            yield _line(f"{self.title} is not in that report: the run did not look at this repository.", "bold red")
            shard = str(self.run.policy.get("shard", WHOLE))
            if shard != str(WHOLE):
                text = f"That run was shard {words.plain(shard, 40)} of the registry: another may have looked at it."
                yield _line(text)
        elif self.found.error:
            yield _line(f"{self.title} could not be read in that run, and all of it was kept.", "bold yellow")
            yield _line(words.plain(self.found.error))
        elif not self.known and self.digest is not None:
            yield _line(f"{self.title} is not in that report.", "bold red")
            yield _line("A report names the manifests that tags name, and those that go.")
        elif not self.known:
            yield _line(f"{self.title} is not in that report: the registry did not have this tag then.", "bold red")
        elif self.tag is not None:
            yield _line(f"{self.title} {self._became(self.decisions[0])}.", _style(self.decisions[0].deletes))
        elif self.digest is not None:
            yield _line(f"{self.title} {self._manifest_became()}.", _style(self.manifest is not None))
        else:
            gone = sum(self._outcome(each) == OutcomeKind.DELETED for each in self.decisions)
            planned = sum(each.deletes for each in self.decisions)
            total = words.count(len(self.decisions), "tag")
            text = f"{self.title}: of {total}, {planned:,} {words.plural(planned, 'was')} to be deleted and {gone:,} "
            yield _line(f"{text}{words.plural(gone, 'was')}{self._dry(planned)}.", _style(planned > 0))

    def _dry(self, planned: int) -> str:
        if not planned:
            return ""
        if self.run.dry_run:
            return " (a dry run)"
        return " (the run was refused)" if self.run.verdict == Verdict.REFUSED else ""

    def _outcome(self, decision: RecordedDecision) -> str:
        outcome = self.outcomes.get((decision.tag, decision.digest))
        return outcome.outcome if outcome is not None else ""

    def _became(self, decision: RecordedDecision) -> str:
        if not decision.deletes:
            return f"was kept: {words.plain(decision.reasons[0].detail)}" if decision.reasons else "was kept"
        return self._planned(self.outcomes.get((decision.tag, decision.digest)))

    def _manifest_became(self) -> str:
        outcome = self.outcomes.get((None, str(self.digest)))
        if self.manifest is None and outcome is None:
            tags = words.listing([words.name(each.tag) for each in self.decisions])
            return f"was kept: the run did not select it, with {tags} on it"
        return self._planned(outcome)

    def _planned(self, outcome: RecordedOutcome | None) -> str:
        """What became of something that the plan selected."""
        if outcome is not None:
            detail = f" ({words.plain(outcome.detail, 1000)})" if outcome.detail else ""
            when = f" by the run of {utc_minute(self.run.started_at)}" if outcome.outcome == OutcomeKind.DELETED else ""
            # A later version may know further outcomes.
            return f"{_BECAME.get(outcome.outcome) or words.plain(outcome.outcome)}{when}{detail}"
        if self.run.verdict == Verdict.REFUSED:
            return "was selected, and nothing was deleted: the run was refused"
        if self.run.dry_run:
            return "would have been deleted; it was a dry run, and nothing was"
        return "was selected, and that was not attempted"

    # -- why -----------------------------------------------------------------------------------------------------

    def _facts(self, decision: RecordedDecision) -> Iterator[Block]:
        yield fact("Digest", words.plain(decision.digest))
        yield fact("Pushed", f"{push_age(decision.updated_at, self.run.started_at)} then")
        outcome = self.outcomes.get((None, decision.digest))
        manifest = (
            next((each for each in self.found.manifests if each.digest == decision.digest), None)
            if self.found
            else None
        )
        if manifest is not None:
            became = words.plain(outcome.outcome) if outcome is not None else "selected"
            platform = f"for {words.plain(manifest.platform)}, " if manifest.platform else ""
            yield fact("Manifest", f"{became}; {platform}{words.size(manifest.bytes)} as listed")
        elif decision.deletes:
            yield fact("Manifest", "stays: the tag was selected by name only")

    def _reasons(self) -> Iterator[Block]:
        if self.tag is not None:
            decision = self.decisions[0]
            if decision.deletes:
                yield heading("Why it was selected", "bold")
                age = push_age(decision.updated_at, self.run.started_at)
                yield _line(f"No rule kept it: nothing that was seen used it, and it was pushed {age}.", indent=2)
            else:
                yield heading("Why it was kept", "bold")
                yield Grid(
                    tuple((words.plain(each.rule), words.plain(each.detail)) for each in decision.reasons), indent=2
                )

    def _uses(self, limit: int | None) -> Iterator[Block]:
        found = dict.fromkeys(use for each in self.decisions for reason in each.reasons for use in reason.uses)
        if found:
            number = words.count(len(found), "use")
            yield heading(f"Who used it: {number}", "bold")
            seen = {each.name: self._seen(each) for each in self.run.clusters}
            yield from uses_by_cluster("They name or run it", [use.shown for use in found], seen, limit)

    def _table(self, limit: int | None) -> Iterator[Block]:
        newest = sorted(self.decisions, key=lambda each: (each.updated_at or BEGINNING, each.tag), reverse=True)
        shown = newest if limit is None else newest[:limit]
        if shown:
            yield Grid(
                tuple(self._row(each) for each in shown),
                header=("Tag", "Pushed", "Verdict", "Why"),
                numbers=frozenset({1}),
            )
        yield from hidden_count(len(newest) - len(shown), "tag")

    def _row(self, decision: RecordedDecision) -> tuple[str, ...]:
        when = decision.updated_at
        age = words.age(self.run.started_at - when) if when is not None else "?"
        if decision.deletes:
            return words.name(decision.tag), age, words.plain(self._outcome(decision)) or "selected", "no rule kept it"
        first = decision.reasons[0] if decision.reasons else RecordedReason("", "")
        users: Sequence[RecordedUse] = first.uses if first.rule == Rule.IN_USE else ()
        rest = f" and {len(users) - 1:,} more" if len(users) > 1 else ""
        why = f"in use: {words.plain(users[0].shown.who)}{rest}" if users else words.plain(first.detail)
        return words.name(decision.tag), age, "kept", why

    # -- the run -------------------------------------------------------------------------------------------------

    def _run(self) -> Iterator[Block]:
        run = self.run
        what = "a dry run" if run.dry_run else "an apply"
        yield fact(
            "Run",
            f"{what} of {words.plain(run.registry)}, {words.plain(run.verdict)}, from {utc_minute(run.started_at)} to "
            f"{utc_minute(run.finished_at)}, by acr-cleanup {words.plain(run.tool_version, 40)}",
        )
        policy = (f"{key.replace('_', '-')} {_value(value)}" for key, value in run.policy.items())
        yield fact("Policy", words.plain("; ".join(policy), 1000))
        for number, each in enumerate(run.clusters):
            how = f" ({words.plain(each.access)})" if each.access else ""
            read_ = f"{words.count(each.objects, 'object')}, {words.count(each.uses, 'use')} of this registry"
            text = f"{words.plain(each.name)}{how}: {read_}, {self._seen(each)}"
            yield fact("" if number else "Clusters", text)
        for number, refusal in enumerate(run.refusals):
            yield fact("" if number else "Refused", words.plain(refusal))

    def _seen(self, cluster: RecordedCluster) -> str:
        if cluster.read_at is not None:
            return f"from a usage snapshot of {utc_minute(cluster.read_at)}"
        return f"read {utc_minute(self.run.started_at)}"


def _value(value: str | int | list[str]) -> str:
    return (", ".join(value) or "(none)") if isinstance(value, list) else str(value)


def _line(text: str, style: str = "", indent: int = 0) -> Line:
    return Line(((text, style),), indent)


def _style(goes: bool) -> str:
    return "bold yellow" if goes else "bold green"
