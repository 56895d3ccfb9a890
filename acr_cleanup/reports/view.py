"""One result as people read it: totals, groups, and the words that all formats share."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from acr_cleanup.core.outcome import TAKEN, Outcome, OutcomeKind, Result, Verdict
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import RULES, Rule
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import day
from acr_cleanup.core.tally import Tally
from acr_cleanup.core.usage import Blocker
from acr_cleanup.quoting import in_utc
from acr_cleanup.reports import words
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.plan_words import warning_text
from acr_cleanup.reports.rows import (
    Affected,
    KeptGroup,
    KeptTag,
    Row,
    depends_on_rule,
    group_title,
    newest_first,
    untagged_title,
)
from acr_cleanup.reports.tone import Tone
from acr_cleanup.reports.users import used_by

_INCOMPLETE = "Verification incomplete: {}"
_NOT_OURS = " (not deleted by this run)"
_DAYS_SHOWN = 5


@dataclass(frozen=True)
class View:
    """One result as people read it. It is computed once, and every format uses it."""

    result: Result

    @cached_property
    def acted(self) -> bool:
        """
        Did apply begin to delete? Only then do the reports say "deleted" instead of "would delete".
        """
        result = self.result
        if any(outcome.kind is OutcomeKind.DELETED for outcome in result.outcomes):
            return True
        begun = not result.dry_run and bool(result.outcomes)
        return begun and result.verdict in {Verdict.APPLIED, Verdict.PARTIAL, Verdict.CANCELLED}

    @property
    def gone_title(self) -> str:
        """The title of the numbers of deleted tags."""
        done = self.acted or (not self.result.dry_run and self.result.verdict is Verdict.APPLIED)
        return "Deleted" if done else "In the reviewed plan" if self.bound else "Would delete"

    @property
    def gone_verb(self) -> str:
        """The verb for the deleted tags; for a reviewed plan that was not applied, where they are."""
        return "deleted" if self.acted else "in the reviewed plan" if self.bound else "would be deleted"

    @property
    def bound(self) -> bool:
        """Was the run bound to a reviewed plan? The planned tags are then those of that plan, not of now."""
        return self.result.applied_plan is not None

    @property
    def ended_early(self) -> bool:
        """Did the run fail before it read anything, for example at the login?"""
        plan = self.result.plan
        return bool(self.blockers) and not (plan.usage.scans or plan.repositories or self.result.outcomes)

    @cached_property
    def registry(self) -> str:
        """The registry, and its shard if there are several: their reports are read side by side."""
        plan = self.result.plan
        return words.plain(plan.registry) + ("" if plan.policy.shard.is_whole else f" (shard {plan.policy.shard})")

    @cached_property
    def blockers(self) -> tuple[Blocker, ...]:
        """All blockers without duplicates, from the reading and from the second look."""
        plan = self.result.plan
        return tuple(dict.fromkeys((*plan.usage.blockers, *plan.blockers, *self.result.blockers)))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        of_repositories = [warning_text(warning) for tally in self.result.plan.tallies for warning in tally.warnings]
        proof = self.result.proof
        unproven = [_INCOMPLETE.format(problem) for problem in (proof.unproven if proof is not None else ())]
        return tuple(dict.fromkeys((*unproven, *self.result.warnings, *of_repositories)))

    @cached_property
    def broken(self) -> tuple[Affected, ...]:
        """References that the verification found broken, those in use first."""
        references = sorted(self.result.broken, key=lambda broken: (not broken.uses, broken.repository, broken.name))
        return tuple(
            Affected(str(broken), f"{broken.seen}{'' if broken.ours else _NOT_OURS}", used_by(broken.uses))
            for broken in references
        )

    @cached_property
    def missing(self) -> tuple[Affected, ...]:
        """References in use that were missing before the run, those named by pods first."""
        references = sorted(
            self.result.plan.missing,
            key=lambda missing: (not any(use.running for use in missing.uses), missing.repository, missing.name),
        )
        return tuple(Affected(str(missing), "", used_by(missing.uses)) for missing in references)

    @property
    def verification(self) -> str:
        """The result of the verification in a sentence; "" without a verification."""
        proof = self.result.proof
        if proof is None:
            return ""
        if proof.skipped:
            return "Not verified: the run was stopped before it could check that everything in use can still be pulled."
        if proof.broken:
            references = words.count(len(proof.broken), "reference")
            return f"Verified after deleting: {references} {words.plural(len(proof.broken), 'is')} broken."
        repositories = words.count(proof.repositories, "repository")
        if proof.unproven:
            return f"Verification incomplete: nothing is broken in the {repositories} that could be checked."
        if not proof.references:
            return f"Verified after deleting: everything kept in {repositories} still exists."
        if proof.references == 1:
            return f"Verified after deleting: the only reference in use ({repositories}) can still be pulled."
        return (
            f"Verified after deleting: all {proof.references:,} references in use ({repositories}) can still be pulled."
        )

    @property
    def probation(self) -> str:
        """The items on probation and their days, as a sentence; "" without such items."""
        tags, untagged = self.waiting
        days = sorted(tags | untagged)
        if not days:
            return ""
        items = [words.count(tags.total(), "tag")] if tags else []
        items += [words.count(untagged.total(), "untagged manifest")] if untagged else []
        start = f"{words.listing(items)} on probation"
        now = self.result.plan.created_at
        if len(days) == 1:
            return f"{start}, deletable from {day(days[0], now)}."
        shown = [f"{tags[date] + untagged[date]:,} from {day(date, now)}" for date in days[:_DAYS_SHOWN]]
        later = sum(tags[date] + untagged[date] for date in days[_DAYS_SHOWN:])
        return f"{start}, deletable: {words.listing([*shown, *([f'{later:,} later'] if later else [])])}."

    @cached_property
    def waiting(self) -> tuple[Counter[date], Counter[date]]:
        """How many tags, and how many untagged manifests, are on probation until each day."""
        tags, untagged = Counter[date](), Counter[date]()
        for tally in self.result.plan.tallies:
            tags.update(tally.waiting)
            untagged.update(tally.untagged_waiting)
        return tags, untagged

    @property
    def freed_title(self) -> str:
        """The title of the sizes."""
        verb = "Freed" if self.acted else "Frees"
        return verb if self.exact else f"{verb} up to"

    def restore_command(self, context: Context) -> str:
        """The command that restores what this run deleted."""
        return f"acr-cleanup restore {context.journal}"

    @property
    def exact(self) -> bool:
        """Are all sizes exact within their repository, not upper bounds?"""
        return self.result.plan.exact

    @property
    def size_note(self) -> str:
        """
        The meaning and the cost of exact sizes, as the end of a sentence; "" if they were not asked for.
        """
        plan = self.result.plan
        if not plan.measured:
            return ""
        exactness = "exact" if plan.exact else "exact where every manifest could be read"
        return (
            f"{exactness} within each repository ({words.count(plan.read_for_sizes, 'manifest')} read, one request each); "
            "layers shared with other repositories are not considered"
        )

    @cached_property
    def unread(self) -> tuple[Tally, ...]:
        """The repositories that could not be listed."""
        return tuple(tally for tally in self.result.plan.tallies if tally.error)

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
        """
        Was everything read, and every tag kept? False if there was no tag: the settings may be
        wrong.
        """
        plan = self.result.plan
        return not (plan.planned or plan.manifests or self.blockers or self.unread) and plan.kept > 0

    @property
    def plan_rejected(self) -> bool:
        """Was the reviewed plan refused before anything was read?"""
        result = self.result
        return bool(result.refusals) and result.applied_plan is not None and not result.plan.usage.scans

    @property
    def reviewed(self) -> tuple[str, str]:
        """
        The path of the reviewed plan (foreign text), and its creation time and hash; ("", "") without a reviewed plan.
        """
        applied = self.result.applied_plan
        if applied is None:
            return "", ""
        return applied.path, f"made {in_utc(applied.created_at):%Y-%m-%d %H:%M} UTC, {applied.hash[:19]}"

    @cached_property
    def deleted(self) -> frozenset[tuple[str, str]]:
        """The deleted tags, each with its repository."""
        return frozenset(
            (outcome.repository, outcome.tag)
            for outcome in self.result.outcomes
            if outcome.tag is not None and outcome.kind is OutcomeKind.DELETED
        )

    @cached_property
    def planned_deleted(self) -> int:
        """The deleted tags that were planned, without kept ones that the registry took along."""
        deleted = (outcome for outcome in self.result.outcomes if outcome.kind is OutcomeKind.DELETED)
        return sum(outcome.tag is not None and outcome.detail != TAKEN for outcome in deleted)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """One row for each repository, in the order of the plan."""
        deleted = Counter(repository for repository, _ in self.deleted)
        # Kept tags that the registry deleted together with a manifest of this run.
        taken = Counter(item.repository for item in self.result.outcomes if item.tag and item.detail == TAKEN)
        rows = []
        for tally in self.result.plan.tallies:
            planned, name = tally.planned, tally.repository
            gone = deleted[name] if self.acted else planned
            rows.append(
                Row(
                    repository=name,
                    tags=tally.tags,
                    gone=gone,
                    left=planned - gone + taken[name],
                    kept=tally.kept - taken[name],
                    in_use=tally.in_use,
                    bytes=self.result.freed(tally) if self.acted else tally.size,
                    error=tally.error,
                )
            )
        return tuple(rows)

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

    def untagged(self, repository: RepositoryPlan) -> str:
        """
        The decisions about the untagged manifests of a repository, in one line; "" if there are
        none.
        """
        if not repository.untagged:
            return ""
        planned = {decision.manifest.digest for decision in repository.untagged_deletions}
        deleted = planned & self.deleted_manifests(repository.repository) if self.acted else planned
        verb = words.plural(len(deleted), "was") + " deleted" if self.acted else self.gone_verb
        parts = [f"{words.count(len(deleted), 'untagged manifest')} {verb}"]
        if undeleted := len(planned - deleted):
            parts.append(f"{undeleted:,} had changed or could not be deleted")
        kept = [decision for decision in repository.untagged if not decision.deletes]
        titles = Counter(untagged_title(decision.reasons[0].rule, self.result.plan.policy) for decision in kept)
        reasons = ", ".join(f"{number:,} {title}" for title, number in sorted(titles.items()))
        if kept:
            parts.append(f"{len(kept):,} kept ({reasons})")
        return ", ".join(parts)

    def deleted_manifests(self, repository: str) -> frozenset[Digest]:
        """The manifests of this repository that were deleted."""
        return self._deleted_manifests.get(repository, frozenset())

    @cached_property
    def _deleted_manifests(self) -> dict[str, frozenset[Digest]]:
        digests: defaultdict[str, set[Digest]] = defaultdict(set)
        for outcome in self.result.outcomes:
            if outcome.tag is None and outcome.kind is OutcomeKind.DELETED:
                digests[outcome.repository].add(outcome.digest)
        return {repository: frozenset(deleted) for repository, deleted in digests.items()}

    @cached_property
    def untagged_deleted(self) -> int:
        """How many manifests were deleted because they were untagged, not together with a tag."""
        return sum(
            decision.manifest.digest in self.deleted_manifests(tally.repository)
            for tally in self.result.plan.tallies
            if tally.untagged and tally.repository in self._deleted_manifests
            for decision in self.result.plan.repository(tally.repository).untagged_deletions
        )

    @cached_property
    def readable(self) -> tuple[Tally, ...]:
        """
        The repositories that could be listed. Those with deletions come first: a reader must check
        them.
        """
        tallies = (tally for tally in self.result.plan.tallies if not tally.error)
        return tuple(sorted(tallies, key=lambda tally: (not tally.steps, tally.repository)))

    def kept(self, repository: RepositoryPlan) -> tuple[KeptGroup, ...]:
        """The kept tags, by their strongest reason and the rule of the policy that it depends on."""
        policy = self.result.plan.policy
        groups: defaultdict[tuple[Rule, str], list[KeptTag]] = defaultdict(list)
        for decision in repository.kept:
            rule = decision.reasons[0].rule
            groups[rule, decision.governed_by if depends_on_rule(rule) else ""].append(KeptTag(decision))
        order = [(entry.id, rule.name) for entry in RULES for rule in (*policy.rules, policy.top)]
        return tuple(
            KeptGroup(
                key[0], group_title(key[0], groups[key], policy, policy.rule(key[1])), tuple(newest_first(groups[key]))
            )
            for key in order
            if key in groups
        )

    @cached_property
    def locked(self) -> tuple[tuple[str, KeptTag], ...]:
        """The tags that are kept only by a lock, each with its repository."""
        return tuple(
            (tally.repository, tag)
            for tally in self.readable
            if tally.locked_alone
            for group in self.kept(self.result.plan.repository(tally.repository))
            if group.rule is Rule.LOCKED
            for tag in group.tags
            if not tag.also
        )

    @cached_property
    def deviations(self) -> tuple[tuple[OutcomeKind, tuple[Outcome, ...]], ...]:
        """
        The outcomes that differ from the plan, by kind, failures first.

        A manifest with the same outcome as one of its tags is not repeated.
        """
        undeleted = [outcome for outcome in self.result.outcomes if outcome.kind is not OutcomeKind.DELETED]
        of_tags = {
            (outcome.repository, outcome.digest, outcome.kind) for outcome in undeleted if outcome.tag is not None
        }
        by_kind: defaultdict[OutcomeKind, list[Outcome]] = defaultdict(list)
        for outcome in undeleted:
            if outcome.tag is not None or (outcome.repository, outcome.digest, outcome.kind) not in of_tags:
                by_kind[outcome.kind].append(outcome)
        order = (
            OutcomeKind.FAILED,
            OutcomeKind.IN_USE_NOW,
            OutcomeKind.MOVED,
            OutcomeKind.LOCKED,
            OutcomeKind.KEPT,
            OutcomeKind.GONE,
            OutcomeKind.NOT_ATTEMPTED,
        )
        return tuple((kind, tuple(by_kind[kind])) for kind in order if by_kind[kind])
