"""The answer of `acr-cleanup explain --report`: what a past run decided and did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from msgspec.structs import asdict

from acr_cleanup.core.outcome import OutcomeKind, Verdict
from acr_cleanup.core.plan import Decision
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.shard import WHOLE
from acr_cleanup.records.parts import RecordedPolicy
from acr_cleanup.records.report import ReadCluster, RecordedManifest, RecordedOutcome, RecordedRepository, Report
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import (
    DELETED_STYLE,
    KEPT_STYLE,
    Answer,
    Fact,
    RuleList,
    UseGroup,
    cluster_text,
    kept_because,
    push_age,
    read_time,
    tag_rows,
    utc_minute,
)

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


def explain_past(run: Report, repository: str, tag: str | None = None, digest: Digest | None = None) -> Answer:
    """
    Make the answer about one repository, one of its tags or one of its manifests, from the report
    of a run.
    """
    return _Past(run, repository, tag, digest).answer()


@dataclass(frozen=True)
class _Past:
    """The parts of the answer."""

    run: Report
    repository: str
    tag: str | None
    digest: Digest | None

    def answer(self) -> Answer:
        shown = self.known and self.recorded is not None and not self.recorded.error
        of_tag, of_item = self.tag is not None, self.tag is not None or self.digest is not None
        (verdict, style), *remarks = self._verdict()
        uses = {use: None for decision in self.decisions for reason in decision.reasons for use in reason.uses}
        return Answer(
            verdict=verdict,
            style=style,
            known=self.known,
            remarks=tuple(remarks),
            facts=tuple(self._facts(self.decisions[0])) if shown and of_tag else (),
            rules=tuple(self._rules(self.decisions[0])) if shown and of_tag else (),
            notes=tuple(self._notes(self.decisions[0])) if shown and of_tag else (),
            tags=tag_rows(self.decisions, self.run.started_at, self._row) if shown and not of_tag else (),
            uses_title=f"Uses: {len(uses):,}",
            uses=(UseGroup("They name or run it", tuple(uses)),) if shown and of_item and uses else (),
            read_times={cluster.name: self._read_time(cluster) for cluster in self.run.clusters},
            blockers=tuple(blocker.value for blocker in self.run.blockers),
            warnings=(*self.run.warnings, *(self.recorded.warnings if self.recorded else ())),
            run=tuple(self._run()),
        )

    @property
    def title(self) -> str:
        mark = f":{self.tag}" if self.tag is not None else f"@{self.digest}" if self.digest is not None else ""
        return words.plain(f"{self.repository}{mark}")

    @cached_property
    def recorded(self) -> RecordedRepository | None:
        """The repository in the report; None if the run did not read it."""
        return next((recorded for recorded in self.run.repositories if recorded.name == self.repository), None)

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """
        The decisions about the tag, about the tags on the digest, or about the whole repository.
        """
        return tuple(
            decision.value(self.repository)
            for decision in (self.recorded.decisions if self.recorded is not None else ())
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
    def known(self) -> bool:
        """Does the report contain it?"""
        if self.recorded is None:
            return False
        if self.recorded.error or (self.tag is None and self.digest is None):
            return True
        selected = self._manifest(self.digest) is not None or (None, self.digest) in self.outcomes
        return bool(self.decisions) or selected

    def _verdict(self) -> Iterator[tuple[str, str]]:
        """Yield the verdict and further lines, with their styles."""
        if self.recorded is None:
            yield f"{self.title} is not in that report, because the run did not read this repository.", "bold red"
            if self.run.policy.shard != str(WHOLE):
                shard = words.plain(self.run.policy.shard, 40)
                yield f"That run read shard {shard} of the registry. The repository may be in another shard.", ""
        elif self.recorded.error:
            yield f"{self.title} could not be read in that run, so all its tags were kept.", "bold yellow"
            yield words.plain(self.recorded.error), ""
        elif not self.known and self.digest is not None:
            yield f"{self.title} is not in that report.", "bold red"
            yield "A report contains the manifests of tags, and the manifests to delete.", ""
        elif not self.known:
            yield f"{self.title} is not in that report, because the registry did not have this tag then.", "bold red"
        elif self.tag is not None:
            decision = self.decisions[0]
            yield f"{self.title} {self._decided(decision)}.", _style(selected=decision.deletes)
        elif self.digest is not None:
            selected = self._manifest(self.digest) is not None
            yield f"{self.title} {self._decided_manifest()}.", _style(selected=selected)
        else:
            deleted = sum(self._outcome(decision) == OutcomeKind.DELETED for decision in self.decisions)
            planned = sum(decision.deletes for decision in self.decisions)
            total = words.count(len(self.decisions), "tag")
            text = (
                f"{self.title}: of {total}, {planned:,} {words.plural(planned, 'was')} selected and {deleted:,} deleted"
            )
            yield f"{text}{self._why_not_deleted() if planned else ''}.", _style(selected=planned > 0)

    def _why_not_deleted(self) -> str:
        if self.run.dry_run:
            return " (a dry run)"
        return " (the run was refused)" if self.run.verdict == Verdict.REFUSED else ""

    def _outcome(self, decision: Decision) -> str:
        outcome = self.outcomes.get((decision.tag.name, decision.tag.digest))
        return outcome.outcome if outcome is not None else ""

    def _decided(self, decision: Decision) -> str:
        if decision.reasons:
            return f"was kept: {kept_because(decision.reasons[0], decision.reasons[0].uses)}"
        return self._planned(self.outcomes.get((decision.tag.name, decision.tag.digest)))

    def _decided_manifest(self) -> str:
        outcome = self.outcomes.get((None, str(self.digest)))
        if self._manifest(self.digest) is None and outcome is None:
            tags = words.listing([words.name(decision.tag.name) for decision in self.decisions])
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

    def _facts(self, decision: Decision) -> Iterator[Fact]:
        digest = decision.tag.digest
        yield Fact.of("Digest", words.plain(digest))
        yield Fact.of("Pushed", f"{push_age(decision.tag.updated_at, self.run.started_at)} at that time")
        if self.run.policy.rules:
            rule = next((rule for rule in self.run.policy.rules if rule.name == decision.governed_by), None)
            named = f"rule {decision.governed_by}" if rule is not None else "no rule, so the top-level options"
            says = rule or self.run.policy
            text = "always kept" if rule is not None and rule.keep else f"older than {says.older_than}"
            yield Fact.of("Governed by", words.plain(f"{named}: {text}"))
        outcome = self.outcomes.get((None, digest))
        manifest = self._manifest(digest)
        if manifest is not None:
            state = words.plain(outcome.outcome) if outcome is not None else "selected"
            platform = f"for {words.plain(manifest.platform)}, " if manifest.platform else ""
            yield Fact.of("Manifest", f"{state}; {platform}{words.size(manifest.bytes)} as listed")
        elif decision.deletes:
            yield Fact.of("Manifest", "kept: only the tag was selected")

    def _manifest(self, digest: str | None) -> RecordedManifest | None:
        manifests = self.recorded.manifests if self.recorded is not None else []
        return next((manifest for manifest in manifests if manifest.digest == digest), None)

    def _rules(self, decision: Decision) -> Iterator[RuleList]:
        if decision.reasons:
            rows = ((words.plain(reason.rule), words.plain(reason.detail)) for reason in decision.reasons)
            yield RuleList("Why it was kept", tuple(rows))

    def _notes(self, decision: Decision) -> Iterator[str]:
        if decision.deletes:
            age = push_age(decision.tag.updated_at, self.run.started_at)
            yield f"No rule kept it: no use was found, and it was pushed {age}."

    def _row(self, decision: Decision) -> tuple[str, str]:
        return words.plain(self._outcome(decision)) or "selected", "no rule kept it"

    def _run(self) -> Iterator[Fact]:
        run = self.run
        kind = "a dry run" if run.dry_run else "an apply"
        yield Fact.of(
            "Run",
            f"{kind} of {words.plain(run.registry)}, {words.plain(run.verdict)}, from {utc_minute(run.started_at)} to "
            f"{utc_minute(run.finished_at)}, by acr-cleanup {words.plain(run.tool_version, 40)}",
        )
        # Defaults say nothing, and each tag names the rule and the entry of the keep list that concern it.
        usual = asdict(RecordedPolicy.of(RetentionPolicy()))
        policy = (
            f"{key.replace('_', '-')} {_value(value)}"
            for key, value in asdict(run.policy).items()
            if key in ("older_than", "scope") or (value != usual[key] and key not in ("keep", "rules"))
        )
        yield Fact.of("Policy", words.plain("; ".join(policy), 1000))
        clusters = (
            cluster_text(cluster.name, cluster.access, cluster.objects, cluster.uses, self._read_time(cluster))
            for cluster in run.clusters
        )
        yield Fact("Clusters", tuple(clusters))
        yield Fact("Refused", tuple(map(words.plain, run.refusals)))

    def _read_time(self, cluster: ReadCluster) -> str:
        return read_time(cluster.read_at, self.run.started_at, self.run.started_at)


def _value(value: str | int | list[str]) -> str:
    return (", ".join(value) or "(none)") if isinstance(value, list) else str(value)


def _style(*, selected: bool) -> str:
    return DELETED_STYLE if selected else KEPT_STYLE
