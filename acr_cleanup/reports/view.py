"""What every report for people says, before it takes a form: the verdict, the totals, and why each tag goes or stays."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property

from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result, Verdict
from acr_cleanup.core.plan import RepositoryPlan, Tally
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.references import Digest
from acr_cleanup.core.usage import Blocker
from acr_cleanup.reports import words
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.rows import Affected, KeptGroup, KeptTag, Row, group_title, newest_first, untagged_title
from acr_cleanup.reports.tone import Tone
from acr_cleanup.reports.users import used_by

_UNPROVEN = "It could not be proven that everything in use can still be pulled: {}"
_NOT_OURS = " (not deleted by this run itself)"


@dataclass(frozen=True)
class View:
    """One result, as people read it."""

    result: Result

    @cached_property
    def acted(self) -> bool:
        """Has apply begun to delete? Only then may a report say "deleted"; before that it is "would delete"."""
        result = self.result
        if any(outcome.kind is OutcomeKind.DELETED for outcome in result.outcomes):
            return True
        begun = not result.dry_run and bool(result.outcomes)
        return begun and result.verdict in {Verdict.APPLIED, Verdict.PARTIAL, Verdict.CANCELLED}

    @property
    def gone_title(self) -> str:
        """What stands above the numbers of what goes."""
        done = self.acted or (not self.result.dry_run and self.result.verdict is Verdict.APPLIED)
        return "Deleted" if done else "Would delete"

    @property
    def ended_early(self) -> bool:
        """Did it end before anything at all was read, for want of a login or of a network?"""
        plan = self.result.plan
        return bool(self.blockers) and not (plan.usage.scans or plan.repositories or self.result.outcomes)

    @cached_property
    def registry(self) -> str:
        """The registry that was looked at, and which part of it where it was not all: reports of several parts lie side by side."""
        plan = self.result.plan
        return words.plain(plan.registry) + ("" if plan.policy.shard.is_whole else f" (shard {plan.policy.shard})")

    @cached_property
    def blockers(self) -> tuple[Blocker, ...]:
        """Each once, from wherever it was met: while reading, or in the second look."""
        plan = self.result.plan
        return tuple(dict.fromkeys((*plan.usage.blockers, *plan.blockers, *self.result.blockers)))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        of_repositories = [warning for each in self.result.plan.tallies for warning in each.warnings]
        proof = self.result.proof
        unproven = [_UNPROVEN.format(each) for each in (proof.unproven if proof is not None else ())]
        return tuple(dict.fromkeys((*unproven, *self.result.warnings, *of_repositories)))

    @cached_property
    def broken(self) -> tuple[Affected, ...]:
        """What the look afterwards found broken; what is in use first."""
        found = sorted(self.result.broken, key=lambda each: (not each.uses, each.repository, each.name))
        return tuple(
            Affected(str(each), f"{each.seen}{'' if each.ours else _NOT_OURS}", used_by(each.uses)) for each in found
        )

    @cached_property
    def missing(self) -> tuple[Affected, ...]:
        """What was in use and not in the registry before anything was done; what a pod names first."""
        found = sorted(
            self.result.plan.missing,
            key=lambda each: (not any(use.running for use in each.uses), each.repository, each.name),
        )
        return tuple(Affected(str(each), "", used_by(each.uses)) for each in found)

    @property
    def proved(self) -> str:
        """What the look afterwards has come to, as a sentence; empty if there was none."""
        proof = self.result.proof
        if proof is None:
            return ""
        if proof.skipped:
            return (
                "Not looked at again: the run was stopped before it could see whether all in use can still be pulled."
            )
        if proof.broken:
            number = words.count(len(proof.broken), "reference")
            return f"Looked again afterwards: {number} {words.plural(len(proof.broken), 'is')} broken."
        where = words.count(proof.repositories, "repository")
        if proof.unproven:
            return f"Looked again afterwards, but not everywhere: of {where} nothing is found broken."
        if not proof.references:
            return f"Looked again afterwards: everything that was to stay in {where} is there."
        if proof.references == 1:
            return f"Looked again afterwards: the only reference in use ({where}) can still be pulled."
        return f"Looked again afterwards: all {proof.references:,} references in use ({where}) can still be pulled."

    @property
    def freed_title(self) -> str:
        verb = "Freed" if self.acted else "Frees"
        return verb if self.exact else f"{verb} up to"

    def way_back(self, context: Context) -> str:
        """What to type to put back what was deleted."""
        return f"acr-cleanup restore {context.journal}"

    @property
    def exact(self) -> bool:
        """Are all sizes exact within their repository, not upper bounds?"""
        return self.result.plan.exact

    @property
    def measured(self) -> str:
        """What exact sizes are, and what they have cost, as a sentence; empty if they were not asked for."""
        plan = self.result.plan
        if not plan.measured:
            return ""
        what = "exact" if plan.exact else "exact where every manifest could be read"
        return (
            f"{what} within each repository, from {words.count(plan.read_for_sizes, 'manifest')} read for it with one request "
            "each; what other repositories share is not known"
        )

    @cached_property
    def unread(self) -> tuple[Tally, ...]:
        """The repositories that could not be listed."""
        return tuple(each for each in self.result.plan.tallies if each.error)

    @property
    def tone(self) -> Tone:
        if self.result.broken:
            return Tone.BAD
        if self.result.verdict is Verdict.REFUSED or self.blockers or self.result.refusals:
            return Tone.BAD
        if self.result.verdict is Verdict.CANCELLED:
            return Tone.STOPPED
        if self.result.verdict is Verdict.PARTIAL:
            return Tone.WARNING
        return Tone.GOOD if self.acted or self.nothing_to_do else Tone.NEUTRAL

    @property
    def nothing_to_do(self) -> bool:
        """Was everything read, and found to stay? (Not: was nothing found at all; that may be a mistake in the settings.)"""
        plan = self.result.plan
        return not (plan.planned or plan.manifests or self.blockers or self.unread) and plan.kept > 0

    @property
    def turned_away(self) -> bool:
        """Was the reviewed plan refused before anything was read?"""
        result = self.result
        return bool(result.refusals) and result.applied_plan is not None and not result.plan.usage.scans

    @property
    def reviewed(self) -> tuple[str, str]:
        """Which reviewed plan an apply was bound to: its path, not yet harmless, and what tells it from others. Empty if none."""
        applied = self.result.applied_plan
        if applied is None:
            return "", ""
        return applied.path, f"made {applied.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {applied.hash[:19]}"

    @cached_property
    def deleted(self) -> frozenset[tuple[str, str]]:
        """The tags that were deleted, with their repository."""
        return frozenset(
            (outcome.repository, outcome.tag)
            for outcome in self.result.outcomes
            if outcome.tag is not None and outcome.kind is OutcomeKind.DELETED
        )

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        deleted: defaultdict[str, int] = defaultdict(int)
        for outcome in self.result.outcomes:
            if outcome.kind is OutcomeKind.DELETED:
                deleted[outcome.repository] += outcome.tag is not None
        rows = []
        for each in self.result.plan.tallies:
            planned, name = each.planned, each.repository
            gone = deleted[name] if self.acted else planned
            rows.append(
                Row(
                    repository=name,
                    tags=each.tags,
                    gone=gone,
                    left=planned - gone,
                    kept=each.kept,
                    in_use=each.in_use,
                    bytes=self.result.freed(each) if self.acted else each.size,
                    error=each.error,
                )
            )
        return tuple(rows)

    def untagged(self, repository: RepositoryPlan) -> str:
        """What becomes of its manifests without tags that are decided by themselves, in a line; empty if there are none."""
        if not repository.untagged:
            return ""
        going = {each.manifest.digest for each in repository.untagged_deletions}
        went = going & self.deleted_manifests(repository.repository) if self.acted else going
        verb = words.plural(len(went), "was") + " deleted" if self.acted else "would go"
        kept = [each for each in repository.untagged if not each.deletes]
        why = Counter(untagged_title(each.reasons[0].rule) for each in kept)
        reasons = ", ".join(f"{number:,} {rule}" for rule, number in sorted(why.items()))
        told = [f"{words.count(len(went), 'manifest')} without tags {verb}"]
        told += [f"{len(going - went):,} had changed or could not go"] if going - went else []
        told += [f"{len(kept):,} {'stays' if len(kept) == 1 else 'stay'} ({reasons})"] if kept else []
        return ", ".join(told)

    def deleted_manifests(self, repository: str) -> frozenset[Digest]:
        """The manifests of this repository that were deleted."""
        return self._deleted_manifests.get(repository, frozenset())

    @cached_property
    def _deleted_manifests(self) -> dict[str, frozenset[Digest]]:
        found: defaultdict[str, set[Digest]] = defaultdict(set)
        for outcome in self.result.outcomes:
            if outcome.tag is None and outcome.kind is OutcomeKind.DELETED:
                found[outcome.repository].add(outcome.digest)
        return {name: frozenset(digests) for name, digests in found.items()}

    @cached_property
    def untagged_deleted(self) -> int:
        """How many manifests without tags were deleted for their own sake."""
        return sum(
            each.manifest.digest in self.deleted_manifests(tally.repository)
            for tally in self.result.plan.tallies
            if tally.untagged and tally.repository in self._deleted_manifests
            for each in self.result.plan.repository(tally.repository).untagged_deletions
        )

    @property
    def total(self) -> Row:
        rows = self.rows
        return Row(
            repository="Total",
            tags=sum(row.tags for row in rows),
            gone=sum(row.gone for row in rows),
            left=sum(row.left for row in rows),
            kept=sum(row.kept for row in rows),
            in_use=sum(row.in_use for row in rows),
            bytes=sum(row.bytes for row in rows),
        )

    @cached_property
    def readable(self) -> tuple[Tally, ...]:
        """The repositories that could be listed; those that lose something first: that is what a reader must check."""
        found = (each for each in self.result.plan.tallies if not each.error)
        return tuple(sorted(found, key=lambda each: (not each.steps, each.repository)))

    def kept(self, repository: RepositoryPlan) -> tuple[KeptGroup, ...]:
        """Why the others stay, grouped by the strongest reason in the order of the rules."""
        policy = self.result.plan.policy
        groups: defaultdict[Rule, list[KeptTag]] = defaultdict(list)
        for decision in repository.kept:
            first, *others = decision.reasons
            groups[first.rule].append(
                KeptTag(
                    name=decision.tag.name,
                    digest=decision.tag.digest,
                    updated_at=decision.tag.updated_at,
                    detail=first.detail,
                    uses=first.uses,
                    also=tuple(reason.rule for reason in others),
                )
            )
        return tuple(
            KeptGroup(rule, group_title(rule, groups[rule], policy), tuple(newest_first(groups[rule])))
            for rule in Rule
            if groups[rule]
        )

    @cached_property
    def locked(self) -> tuple[tuple[str, KeptTag], ...]:
        """Tags that only a lock keeps: without it they would go."""
        return tuple(
            (each.repository, tag)
            for each in self.readable
            if each.locked_alone
            for group in self.kept(self.result.plan.repository(each.repository))
            if group.rule is Rule.LOCKED
            for tag in group.tags
            if not tag.also
        )

    @cached_property
    def surprises(self) -> tuple[tuple[OutcomeKind, tuple[Outcome, ...]], ...]:
        """The outcomes that differ from the plan, failures first; a manifest that shares the fate of its tags is not repeated."""
        strange = [outcome for outcome in self.result.outcomes if outcome.kind is not OutcomeKind.DELETED]
        told = {(each.repository, each.digest, each.kind) for each in strange if each.tag is not None}
        found: defaultdict[OutcomeKind, list[Outcome]] = defaultdict(list)
        for outcome in strange:
            if outcome.tag is not None or (outcome.repository, outcome.digest, outcome.kind) not in told:
                found[outcome.kind].append(outcome)
        order = (
            OutcomeKind.FAILED,
            OutcomeKind.IN_USE_NOW,
            OutcomeKind.MOVED,
            OutcomeKind.LOCKED,
            OutcomeKind.KEPT,
            OutcomeKind.GONE,
            OutcomeKind.NOT_ATTEMPTED,
        )
        return tuple((kind, tuple(found[kind])) for kind in order if found[kind])
