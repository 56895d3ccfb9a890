"""The answer of `acr-cleanup explain --report`: what a past run decided and did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from msgspec.structs import asdict

from acr_cleanup.core.outcome import OutcomeKind, Verdict
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.references import Digest
from acr_cleanup.core.shard import WHOLE
from acr_cleanup.core.usage import Blocker, Workload
from acr_cleanup.records.report import (
    ReadCluster,
    RecordedManifest,
    RecordedOutcome,
    RecordedRepository,
    RecordedUse,
    Report,
    TagDecision,
)
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import (
    BEGINNING,
    DELETED_STYLE,
    KEPT_STYLE,
    Bounds,
    ExplanationPage,
    ShownUse,
    blocker_blocks,
    hidden_count,
    push_age,
    uses_by_cluster,
    utc_minute,
    warning_blocks,
)
from acr_cleanup.reports.blocks import Block, Grid, Line, fact, heading, section

_OUTCOMES: Mapping[str, str] = {
    OutcomeKind.DELETED: "was deleted",
    OutcomeKind.GONE: "was already gone when the run tried to delete it",
    OutcomeKind.MOVED: "was selected but kept, because it had moved",
    OutcomeKind.IN_USE_NOW: "was selected but kept, because it was in use by then",
    OutcomeKind.LOCKED: "was selected but kept, because it was locked by then",
    OutcomeKind.KEPT: "was selected but kept",
    OutcomeKind.FAILED: "was selected, but the deletion failed",
    OutcomeKind.NOT_ATTEMPTED: "was selected, but the deletion was not attempted",
}


@dataclass(frozen=True)
class PastExplanation(ExplanationPage):
    """The answer for one repository, tag or manifest, from the report of a run."""

    run: Report
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def title(self) -> str:
        mark = f":{self.tag}" if self.tag is not None else f"@{self.digest}" if self.digest is not None else ""
        return words.plain(f"{self.repository}{mark}")

    @cached_property
    def recorded(self) -> RecordedRepository | None:
        """The repository in the report; None if the run did not read it."""
        return next((recorded for recorded in self.run.repositories if recorded.name == self.repository), None)

    @cached_property
    def decisions(self) -> tuple[TagDecision, ...]:
        """
        The decisions about the tag, about the tags on the digest, or about the whole repository.
        """
        decisions = self.recorded.decisions if self.recorded is not None else ()
        return tuple(
            decision
            for decision in decisions
            if (self.tag is None or decision.tag == self.tag)
            and (self.digest is None or decision.digest == self.digest)
        )

    @cached_property
    def outcomes(self) -> Mapping[tuple[str | None, str], RecordedOutcome]:
        """(tag or None, digest) -> outcome."""
        return {
            (outcome.tag, outcome.digest): outcome
            for outcome in self.run.outcomes
            if outcome.repository == self.repository
        }

    @property
    def manifest(self) -> RecordedManifest | None:
        return self._manifest(self.digest)

    @property
    def known(self) -> bool:
        """Does the report contain it?"""
        if self.recorded is None:
            return False
        if self.recorded.error or (self.tag is None and self.digest is None):
            return True
        return bool(self.decisions) or self.manifest is not None or (None, str(self.digest)) in self.outcomes

    def compose(self, bounds: Bounds) -> Iterator[Block]:
        yield from self._verdict()
        if self.known and self.recorded is not None and not self.recorded.error:
            if self.tag is not None:
                yield from section(self._facts(self.decisions[0]))
            elif self.digest is None or len(self.decisions) > 0:
                yield from section(self._table(bounds.tags))
            if self.tag is not None or self.digest is not None:
                yield from section(self._reasons())
                yield from section(self._uses(bounds.uses))
        yield from section(blocker_blocks(tuple(self._blockers())))
        yield from section(warning_blocks((*self.run.warnings, *(self.recorded.warnings if self.recorded else ()))))
        yield from section(self._run())

    # -- the verdict -------------------------------------------------------------------------------

    def _verdict(self) -> Iterator[Block]:
        if self.recorded is None:
            yield _line(
                f"{self.title} is not in that report, because the run did not read this repository.", "bold red"
            )
            shard = self.run.policy.shard
            if shard != str(WHOLE):
                yield _line(
                    f"That run read shard {words.plain(shard, 40)} of the registry. The repository may be in another shard."
                )
        elif self.recorded.error:
            yield _line(f"{self.title} could not be read in that run, so all its tags were kept.", "bold yellow")
            yield _line(words.plain(self.recorded.error))
        elif not self.known and self.digest is not None:
            yield _line(f"{self.title} is not in that report.", "bold red")
            yield _line("A report contains the manifests of tags, and the manifests to delete.")
        elif not self.known:
            yield _line(
                f"{self.title} is not in that report, because the registry did not have this tag then.", "bold red"
            )
        elif self.tag is not None:
            yield _line(f"{self.title} {self._decided(self.decisions[0])}.", _style(self.decisions[0].deletes))
        elif self.digest is not None:
            yield _line(f"{self.title} {self._decided_manifest()}.", _style(self.manifest is not None))
        else:
            deleted = sum(self._outcome(decision) == OutcomeKind.DELETED for decision in self.decisions)
            planned = sum(decision.deletes for decision in self.decisions)
            total = words.count(len(self.decisions), "tag")
            text = (
                f"{self.title}: of {total}, {planned:,} {words.plural(planned, 'was')} selected and {deleted:,} deleted"
            )
            yield _line(f"{text}{self._why_not_deleted(planned)}.", _style(planned > 0))

    def _why_not_deleted(self, planned: int) -> str:
        if not planned:
            return ""
        if self.run.dry_run:
            return " (a dry run)"
        return " (the run was refused)" if self.run.verdict == Verdict.REFUSED else ""

    def _outcome(self, decision: TagDecision) -> str:
        outcome = self.outcomes.get((decision.tag, decision.digest))
        return outcome.outcome if outcome is not None else ""

    def _decided(self, decision: TagDecision) -> str:
        if not decision.deletes:
            return f"was kept: {words.plain(decision.reasons[0].detail)}" if decision.reasons else "was kept"
        return self._planned(self.outcomes.get((decision.tag, decision.digest)))

    def _decided_manifest(self) -> str:
        outcome = self.outcomes.get((None, str(self.digest)))
        if self.manifest is None and outcome is None:
            tags = words.listing([words.name(decision.tag) for decision in self.decisions])
            return f"was kept: the run did not select it. Its tags are {tags}"
        return self._planned(outcome)

    def _planned(self, outcome: RecordedOutcome | None) -> str:
        """The outcome of something that the plan selected, as a predicate."""
        if outcome is not None:
            detail = f" ({words.plain(outcome.detail, 1000)})" if outcome.detail else ""
            when = f" by the run of {utc_minute(self.run.started_at)}" if outcome.outcome == OutcomeKind.DELETED else ""
            # Reports of later versions may contain further outcomes.
            return f"{_OUTCOMES.get(outcome.outcome) or words.plain(outcome.outcome)}{when}{detail}"
        if self.run.verdict == Verdict.REFUSED:
            return "was selected, but not deleted, because the run was refused"
        if self.run.dry_run:
            return "was selected, but not deleted, because it was a dry run"
        return "was selected, but the deletion was not attempted"

    # -- why ---------------------------------------------------------------------------------------

    def _facts(self, decision: TagDecision) -> Iterator[Block]:
        yield fact("Digest", words.plain(decision.digest))
        yield fact("Pushed", f"{push_age(decision.updated_at, self.run.started_at)} at that time")
        outcome = self.outcomes.get((None, decision.digest))
        manifest = self._manifest(decision.digest)
        if manifest is not None:
            state = words.plain(outcome.outcome) if outcome is not None else "selected"
            platform = f"for {words.plain(manifest.platform)}, " if manifest.platform else ""
            yield fact("Manifest", f"{state}; {platform}{words.size(manifest.bytes)} as listed")
        elif decision.deletes:
            yield fact("Manifest", "kept: only the tag was selected")

    def _manifest(self, digest: str | None) -> RecordedManifest | None:
        manifests = self.recorded.manifests if self.recorded is not None else ()
        return next((manifest for manifest in manifests if manifest.digest == digest), None)

    def _reasons(self) -> Iterator[Block]:
        if self.tag is not None:
            decision = self.decisions[0]
            if decision.deletes:
                yield heading("Why it was selected", "bold")
                age = push_age(decision.updated_at, self.run.started_at)
                yield _line(f"No rule kept it: no use was found, and it was pushed {age}.", indent=2)
            else:
                yield heading("Why it was kept", "bold")
                yield Grid(
                    tuple((words.plain(reason.rule), words.plain(reason.detail)) for reason in decision.reasons),
                    indent=2,
                )

    def _uses(self, limit: int | None) -> Iterator[Block]:
        uses = dict.fromkeys(use for decision in self.decisions for reason in decision.reasons for use in reason.uses)
        if uses:
            yield heading(f"Uses: {len(uses):,}", "bold")
            read_times = {cluster.name: self._read_time(cluster) for cluster in self.run.clusters}
            yield from uses_by_cluster("They name or run it", [_shown(use) for use in uses], read_times, limit)

    def _table(self, limit: int | None) -> Iterator[Block]:
        newest = sorted(
            self.decisions, key=lambda decision: (decision.updated_at or BEGINNING, decision.tag), reverse=True
        )
        shown = newest if limit is None else newest[:limit]
        if shown:
            yield Grid(
                tuple(self._row(decision) for decision in shown),
                header=("Tag", "Pushed", "Verdict", "Why"),
                numbers=frozenset({1}),
            )
        yield from hidden_count(len(newest) - len(shown), "tag")

    def _row(self, decision: TagDecision) -> tuple[str, ...]:
        when = decision.updated_at
        age = words.age(self.run.started_at - when) if when is not None else "?"
        if decision.deletes:
            return words.name(decision.tag), age, words.plain(self._outcome(decision)) or "selected", "no rule kept it"
        if not decision.reasons:
            return words.name(decision.tag), age, "kept", ""
        first = decision.reasons[0]
        users: Sequence[RecordedUse] = first.uses if first.rule == Rule.IN_USE else ()
        more = f" and {len(users) - 1:,} more" if len(users) > 1 else ""
        why = f"in use: {words.plain(_shown(users[0]).who)}{more}" if users else words.plain(first.detail)
        return words.name(decision.tag), age, "kept", why

    # -- the run -----------------------------------------------------------------------------------

    def _run(self) -> Iterator[Block]:
        run = self.run
        kind = "a dry run" if run.dry_run else "an apply"
        yield fact(
            "Run",
            f"{kind} of {words.plain(run.registry)}, {words.plain(run.verdict)}, from {utc_minute(run.started_at)} to "
            f"{utc_minute(run.finished_at)}, by acr-cleanup {words.plain(run.tool_version, 40)}",
        )
        policy = (f"{key.replace('_', '-')} {_value(value)}" for key, value in asdict(run.policy).items())
        yield fact("Policy", words.plain("; ".join(policy), 1000))
        for number, cluster in enumerate(run.clusters):
            access = f" ({words.plain(cluster.access)})" if cluster.access else ""
            read = f"{words.count(cluster.objects, 'object')}, {words.count(cluster.uses, 'use')} of this registry"
            text = f"{words.plain(cluster.name)}{access}: {read}, {self._read_time(cluster)}"
            yield fact("" if number else "Clusters", text)
        for number, refusal in enumerate(run.refusals):
            yield fact("" if number else "Refused", words.plain(refusal))

    def _blockers(self) -> Iterator[Blocker]:
        for blocker in self.run.blockers:
            yield blocker.blocker

    def _read_time(self, cluster: ReadCluster) -> str:
        """When the cluster was read, in words."""
        if cluster.read_at is not None:
            return f"from a usage snapshot of {utc_minute(cluster.read_at)}"
        return f"read {utc_minute(self.run.started_at)}"


def _shown(use: RecordedUse) -> ShownUse:
    container = f" ({use.container})" if use.container else ""
    who = f"{Workload(use.cluster, use.namespace, use.kind, use.name)}{container}"
    return ShownUse(use.cluster, use.kind, who, use.field, use.text)


def _value(value: str | int | list[str]) -> str:
    return (", ".join(value) or "(none)") if isinstance(value, list) else str(value)


def _line(text: str, style: str = "", indent: int = 0) -> Line:
    return Line(((text, style),), indent)


def _style(selected: bool) -> str:
    return DELETED_STYLE if selected else KEPT_STYLE
