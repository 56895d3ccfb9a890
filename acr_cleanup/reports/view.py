"""What every report for people says, before it takes a form: the verdict, the totals, and why each tag goes or stays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property

from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result, Verdict
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.core.policy import RULES, ChartGroup, Rule, Scope, describe_duration, keep_rule
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import Hold
from acr_cleanup.core.steps import Untag
from acr_cleanup.core.tally import Tally
from acr_cleanup.core.usage import Blocker, ImageUse, Workload
from acr_cleanup.reports import words
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.plan_words import warning_text


@dataclass(frozen=True, slots=True)
class Context:
    """
    What only the caller knows of a run: where its files lie and what a user would type next.

    Everything here may be empty; then the reports do not speak of it.
    """

    files: tuple[str, ...] = ()
    """Paths of the report files, as the user would open them."""
    plan_again: str = ""
    """What to type to plan once more, e.g. `acr-cleanup plan cleanup.yaml`."""
    apply: str = ""
    """What to type to delete what the plan selects: `acr-cleanup apply cleanup.yaml`; or the input to set: `dry-run: false`."""
    apply_is_input: bool = False
    """Is `apply` an input of a pipeline, rather than a command?"""
    keep_files: str = ""
    """How to keep the files where they vanish with the run, as a sentence, e.g. "Keep them with actions/upload-artifact."."""
    dialect: Dialect = GITHUB
    """What the page can do that shows the summary."""

    @property
    def full_report(self) -> str:
        """The file that holds everything."""
        return self.file("report.json") or "report.json"

    @property
    def journal(self) -> str:
        """The file from which what a run deleted can be put back."""
        return self.full_report.removesuffix("report.json") + "journal.jsonl"

    def file(self, name: str) -> str:
        """The path of one report file, or nothing if it was not written."""
        return next((path for path in self.files if path.endswith(name)), "")


class Tone(StrEnum):
    """How the verdict should strike the eye."""

    NEUTRAL = "neutral"
    """A plan, which waits for somebody."""
    GOOD = "good"
    """Done as planned, or nothing to do."""
    STOPPED = "stopped"
    """Stopped on request."""
    WARNING = "warning"
    """Done in part."""
    BAD = "bad"
    """Refused, or failed before it began."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do now: a sentence without its end, and what to type or to set for it (`command`)."""

    text: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.command}" if self.command else f"{self.text}."


@dataclass(frozen=True, slots=True)
class Affected:
    """
    Something that cannot be pulled: what (as one writes it), what was seen of it, and who uses it. Nothing of it is harmless yet.
    """

    what: str
    seen: str
    who: str


MISSING_MEANS = "What starts from these fails on its next pull: push them again, or change who names them."


@dataclass(frozen=True, slots=True)
class Row:
    """One repository in the table. `gone` counts tags deleted (or that would be), `left` those planned and not deleted."""

    repository: str
    tags: int
    gone: int
    left: int
    kept: int
    in_use: int
    bytes: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class KeptTag:
    """A tag that stays: the reason of its group (`detail`, `uses`), and the other rules that would keep it too."""

    name: str
    digest: Digest
    updated_at: datetime | None
    detail: str
    uses: tuple[ImageUse, ...]
    also: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """The tags of one repository that stay for the same (strongest) reason, newest first."""

    rule: Rule
    title: str
    tags: tuple[KeptTag, ...]

    @property
    def details(self) -> bool:
        """Must each tag say for itself what the title cannot? Ages and users are shown anyway."""
        return not _said_by_title(self.rule) and len({tag.detail for tag in self.tags}) > 1


_UNPROVEN = "It could not be proven that everything in use can still be pulled: {}"
_NOT_OURS = " (not deleted by this run itself)"
_BROKEN_USERS = 4

# The words for untagged manifests, where they differ from the titles in `RULES`.
_UNTAGGED_TITLES: Mapping[Rule | Hold, str] = {
    Rule.LOCKED: "locked",
    Rule.UNKNOWN_MANIFEST: "where something cannot be read",
    Rule.YOUNG: "young",
    Hold.LISTED: "listed by a kept index",
    Hold.REFERRED: "with something kept attached",
    Hold.UNTAGGED: "not asked for",
}


def _said_by_title(rule: Rule) -> bool:
    """Does the title of the rule say enough, without the evidence of each tag?"""
    return keep_rule(rule).group is not ChartGroup.OTHER


# Who a person would look for first: the object that somebody wrote, not what a controller made of it.
_KINDS = (
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "Job",
    "",
    "ReplicationController",
    "ReplicaSet",
    "Pod",
)


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
        of_repositories = [warning_text(warning) for tally in self.result.plan.tallies for warning in tally.warnings]
        proof = self.result.proof
        unproven = [_UNPROVEN.format(each) for each in (proof.unproven if proof is not None else ())]
        return tuple(dict.fromkeys((*unproven, *self.result.warnings, *of_repositories)))

    @cached_property
    def broken(self) -> tuple[Affected, ...]:
        """What the look afterwards found broken; what is in use first."""
        found = sorted(self.result.broken, key=lambda each: (not each.uses, each.repository, each.name))
        return tuple(
            Affected(str(each), f"{each.seen}{'' if each.ours else _NOT_OURS}", _used_by(each.uses)) for each in found
        )

    @cached_property
    def missing(self) -> tuple[Affected, ...]:
        """What was in use and not in the registry before anything was done; what a pod names first."""
        found = sorted(
            self.result.plan.missing,
            key=lambda each: (not any(use.running for use in each.uses), each.repository, each.name),
        )
        return tuple(Affected(str(each), "", _used_by(each.uses)) for each in found)

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

    @cached_property
    def headline(self) -> str:
        """The verdict in a sentence or two. It never says more was done, or was certain, than is so."""
        return _headline(self)

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
        why = Counter(self._untagged_title(each.reasons[0].rule) for each in kept)
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
            KeptGroup(rule, self._title_of(rule, groups[rule]), tuple(newest_first(groups[rule])))
            for rule in (entry.id for entry in RULES)
            if groups[rule]
        )

    def _title_of(self, rule: Rule, tags: list[KeptTag]) -> str:
        """What the rule saw, if it saw the same in all of them."""
        same = {tag.detail for tag in tags}
        return self.title(rule) if _said_by_title(rule) or len(same) > 1 else same.pop()

    def title(self, rule: Rule | Hold) -> str:
        """A keep reason in words."""
        return keep_rule(rule).describe(self.result.plan.policy)

    def _untagged_title(self, rule: Rule | Hold) -> str:
        return _UNTAGGED_TITLES.get(rule) or self.title(rule)

    @property
    def policy(self) -> str:
        """The rule that was applied, as a sentence; patterns are the user's own and not yet harmless."""
        policy = self.result.plan.policy
        where = {
            Scope.RUNNING: "of repositories that run in a cluster",
            Scope.REFERENCED: "of repositories that a cluster names",
            Scope.ALL: "of any repository",
        }[policy.scope]
        only = [] if policy.shard.is_whole else [f"repositories of shard {policy.shard}"]
        only += [f"repositories matching {', '.join(policy.repositories)}"] if policy.repositories != ("*",) else []
        only += [f"tags matching {', '.join(policy.include_tags)}"] if policy.include_tags != ("*",) else []
        each = f"text that {policy.keep_last_by} finds in their tags" if policy.keep_last_by else ""
        kept = [f"the newest {policy.keep_last} of each{each and f' {each}'}"] if policy.keep_last else []
        kept += [f"tags matching {', '.join(policy.exclude_tags)}"] if policy.exclude_tags else []
        return (
            f"Tags {where} go when no cluster uses them, by tag or by digest, and their last push is at least "
            f"{describe_duration(policy.older_than)} ago."
            + (f" Only {words.listing(only)}." if only else "")
            + (f" Always kept: {words.listing(kept)}." if kept else "")
            + (" Manifests without tags go by the same age." if policy.delete_untagged else "")
            + (" What is locked is unlocked for it." if policy.include_locked else "")
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

    def next_steps(self, context: Context) -> tuple[Advice, ...]:
        """What to do now, in order."""
        return tuple(_next_steps(self, context))


def went(view: View, repository: RepositoryPlan) -> tuple[Decision, ...]:
    """The tags that were deleted, or in a mere plan would be; oldest first."""
    gone = (
        decision
        for decision in repository.deletions
        if not view.acted or (repository.repository, decision.tag.name) in view.deleted
    )
    now = view.result.plan.created_at
    return tuple(sorted(gone, key=lambda decision: (decision.tag.updated_at or now, decision.tag.name)))


def stayed(view: View, repository: RepositoryPlan) -> tuple[tuple[Decision, Outcome], ...]:
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


def by_name_only(repository: RepositoryPlan) -> frozenset[str]:
    """The tags that lose only their name, because their manifest stays: they free nothing."""
    return frozenset(step.tag.name for step in repository.steps if isinstance(step, Untag))


def newest_first(tags: Iterable[KeptTag]) -> list[KeptTag]:
    """Unknown ages last; names break ties, downwards, as versions count upwards."""
    return sorted(tags, key=lambda tag: (tag.updated_at.timestamp() if tag.updated_at else 0, tag.name), reverse=True)


def users(tag: KeptTag, limit: int) -> tuple[tuple[str, ...], int]:
    """
    Who uses it, each once and not yet harmless, and how many more there are.

    What somebody wrote comes before what a controller made of it: a Deployment stands for its ReplicaSets and pods.
    """
    return _users(tag.uses, limit)


def _users(of: Iterable[ImageUse], limit: int) -> tuple[tuple[str, ...], int]:
    def place(use: ImageUse) -> tuple[int, str]:
        kind = use.workload.kind
        return _KINDS.index(kind if kind in _KINDS else ""), str(use)

    uses = list({str(use): use for use in sorted(of, key=place)}.values())
    shown: list[ImageUse] = []
    for use in uses:
        # By name alone, so it only chooses what is shown; all are counted, and report.json names all.
        if len(shown) < limit and not any(_made_by(use.workload, other.workload) for other in shown):
            shown.append(use)
    return tuple(str(use) for use in shown), len(uses) - len(shown)


def _used_by(uses: Iterable[ImageUse]) -> str:
    shown, rest = _users(uses, _BROKEN_USERS)
    more = f" and {rest:,} more" if rest else ""
    return f"used by {', '.join(shown)}{more}" if shown else "nothing that was seen uses it"


def _made_by(made: Workload, maker: Workload) -> bool:
    same = (made.cluster, made.namespace) == (maker.cluster, maker.namespace)
    return same and made.kind in {"ReplicaSet", "Pod", "Job"} and made.name.startswith(f"{maker.name}-")


def by_digest(tag: KeptTag) -> bool:
    """Is it its digest alone that is used, not its name?"""
    return bool(tag.uses) and all(use.reference.tag != tag.name for use in tag.uses)


def _headline(view: View) -> str:
    result, counts = view.result, view.result.counts
    registry = view.registry
    planned = _selection(counts.planned, result.plan.untagged)
    if view.broken:
        first, *others = view.broken
        verb = words.plural(len(others), "is")
        more = f"; {words.count(len(others), 'more reference')} {verb} broken" if others else ""
        what = f"{words.plain(first.what)} {words.plain(first.seen)}, {words.plain(first.who, 600)}"
        return f"Broken: {what}{more}. {_done(view)[:1].upper()}{_done(view)[1:]}."
    if result.verdict is Verdict.CANCELLED:
        if not counts.deleted and not counts.deleted_manifests:
            return f"Cancelled: nothing was deleted from {registry}."
        return f"Cancelled: {_done(view)}."
    if view.ended_early:
        what = words.plain(view.blockers[0].seen.partition("\n")[0]).rstrip(".")
        return f"Failed: {what}. Nothing was deleted from {registry}."
    if view.acted and view.blockers:
        return f"Stopped: {_done(view)}; then {_unseen(view)} could no longer be read completely."
    if view.blockers:
        start = "Blocked: nothing can be deleted from" if result.dry_run else "Blocked: nothing was deleted from"
        rest = f" As far as could be seen, {planned} would go." if planned else ""
        return f"{start} {registry}, because {_unseen(view)} could not be read completely.{rest}"
    if not view.acted and (result.refusals or result.verdict is Verdict.REFUSED):
        selected = f" The plan selects {planned}." if planned else ""
        if result.dry_run:
            return f"Dry run: nothing was deleted from {registry}, and an apply would be refused.{selected}"
        return f"Refused: nothing was deleted from {registry}.{selected}"
    return _applied(view) if view.acted else _planned(view)


def _planned(view: View) -> str:
    plan, counts = view.result.plan, view.result.counts
    registry = view.registry
    unread = f" {_unread(view)}" if view.unread else ""
    if counts.planned or plan.manifests:
        return (
            f"Dry run: would delete {_amount(counts.planned, plan.manifests)} from {registry}"
            f"{_freeing(view, plan.size, counts.planned, plan.manifests)}. Nothing was deleted.{unread}"
        )
    if not counts.kept:
        why = "no tag could be read" if view.unread else _no_tags(view)
        return f"Nothing to do for {registry}: {why}.{unread}"
    repositories = words.count(len(plan.repositories) - len(view.unread), "repository")
    everything = "the only tag" if counts.kept == 1 else f"all {words.count(counts.kept, 'tag')}"
    verb = words.plural(counts.kept, "is")
    return f"Nothing to do for {registry}: {everything} of {repositories} {verb} kept.{unread}"


def _applied(view: View) -> str:
    result, counts = view.result, view.result.counts
    registry = view.registry
    failed_manifests = sum(each.kind is OutcomeKind.FAILED and each.tag is None for each in result.outcomes)
    if result.verdict is Verdict.PARTIAL or counts.failed:
        # What somebody has to look into comes first, and what cannot be undone right after it.
        troubles = []
        if counts.failed:
            troubles.append(f"{words.count(counts.failed, 'tag')} failed")
        elif failed_manifests:
            troubles.append(f"{words.count(failed_manifests, 'manifest')} failed")
        if result.proof is not None and result.proof.unproven:
            troubles.append("it could not be proven that everything in use can still be pulled")
        if view.unread:
            troubles.append(_unread(view).rstrip("."))
        return f"Partly done: {'; '.join([*troubles, _done(view)])}."
    if not counts.deleted and not counts.deleted_manifests:
        return (
            f"Nothing was deleted from {registry}: {_all_of(counts.planned, result.plan.untagged)} had changed since the plan "
            "or had to stay."
        )
    left = counts.planned - counts.deleted + result.plan.untagged - view.untagged_deleted
    if not left:
        return (
            f"Deleted {_amount(counts.deleted, counts.deleted_manifests)} from {registry}"
            f"{_freeing(view, counts.bytes, counts.deleted, counts.deleted_manifests)}."
        )
    return f"Deleted {_done(view, verb='')}; {left:,} had changed since the plan or had to stay."


def _done(view: View, verb: str = " deleted") -> str:
    counts = view.result.counts
    registry = view.registry
    untagged = view.result.plan.untagged
    if not counts.planned and untagged:
        auxiliary = f" {words.plural(untagged, 'was')}" if verb else ""
        return (
            f"{view.untagged_deleted:,} of {words.count(untagged, 'planned manifest')} without tags{auxiliary}{verb} from "
            f"{registry}{_freeing(view, counts.bytes, 0, counts.deleted_manifests) if counts.deleted_manifests else ''}"
        )
    auxiliary = f" {words.plural(counts.planned, 'was')}" if verb else ""
    manifests = f", with {words.count(counts.deleted_manifests, 'manifest')}" if counts.deleted_manifests else ""
    done = counts.deleted or counts.deleted_manifests
    freeing = _freeing(view, counts.bytes, counts.deleted, counts.deleted_manifests) if done else ""
    return (
        f"{counts.deleted:,} of {words.count(counts.planned, 'planned tag')}{auxiliary}{verb} from {registry}"
        f"{manifests}{freeing}"
    )


def _amount(tags: int, manifests: int) -> str:
    parts = [words.count(tags, "tag")] if tags or not manifests else []
    if manifests:
        parts.append(words.count(manifests, "manifest"))
    return words.listing(parts)


def _freeing(view: View, size: int, tags: int, manifests: int) -> str:
    if manifests:
        return f", freeing {'' if view.exact else 'up to '}{words.size(size)}"
    return (
        f" (by name only: {words.plural(tags, 'its')} {words.plural(tags, 'manifest')} stay{'s' if tags == 1 else ''})"
    )


def _selection(tags: int, untagged: int) -> str:
    """What a plan selects, without what goes along with it; empty if it is nothing."""
    parts = [words.count(tags, "tag")] if tags else []
    parts += [f"{words.count(untagged, 'manifest')} without tags"] if untagged else []
    return words.listing(parts) if parts else ""


def _all_of(planned: int, untagged: int) -> str:
    if untagged:
        return f"what was planned ({_selection(planned, untagged)})"
    return "the only planned tag" if planned == 1 else f"all {words.count(planned, 'planned tag')}"


def _unseen(view: View) -> str:
    places = list(dict.fromkeys(words.plain(blocker.where, 80) for blocker in view.blockers))
    if len(places) > 3:
        return f"{places[0]}, {places[1]} and {len(places) - 2} others"
    return words.listing(places)


def _unread(view: View) -> str:
    number = len(view.unread)
    return f"{words.count(number, 'repository')} could not be read and {words.plural(number, 'is')} kept whole."


def _no_tags(view: View) -> str:
    if view.result.plan.repositories:
        return "its repositories in scope hold no tags"
    policy = view.result.plan.policy
    of = "it" if policy.shard.is_whole else "this shard"
    return f"no repository of {of} is {policy.scope} in the clusters"


def _other_shards(view: View) -> bool:
    """May the other parts of the registry hold what the clusters name? Then it is no wonder that this one holds nothing."""
    plan = view.result.plan
    return bool(plan.usage.repositories) and not plan.policy.shard.is_whole


def _after_proof(view: View, context: Context) -> list[Advice]:
    """What to do when what is used is broken, or may be."""
    proof = view.result.proof
    if proof is None or not (proof.broken or (proof.unproven and not view.blockers)):
        return []
    if not proof.broken:
        what = "Plan again, once the registry answers: a plan tells what is in use and not in the registry"
        return [Advice(what, context.plan_again)]
    steps = [Advice("Put back what this run deleted, as far as that helps", view.way_back(context))]
    if not all(each.ours for each in proof.broken):
        what = f"Find out what removed the rest; {context.full_report} and the journal hold all that this run did"
        steps.append(Advice(what))
    return steps


def _next_steps(view: View, context: Context) -> Iterable[Advice]:
    result = view.result
    again = "plan again" if context.plan_again else "run it again"
    if advice := _after_proof(view, context):
        yield from advice
        return
    if view.blockers:
        what = "Correct what is named above" if view.ended_early else "Remove what blocks (above)"
        yield Advice(f"{what}, then {again}", context.plan_again)
        return
    if view.turned_away:
        yield Advice("Plan again, and have that reviewed", context.plan_again)
        return
    if result.refusals and result.applied_plan is not None:
        yield Advice(
            "Read the plan. Where the limit is too low for it, raise it and apply the plan again", context.apply
        )
        return
    if result.refusals:
        yield Advice(f"Read the plan. Where the limit is too low for it, raise it and {again}", context.plan_again)
        return
    if result.verdict is Verdict.CANCELLED or (view.acted and result.verdict is Verdict.PARTIAL):
        command = "" if context.apply_is_input else context.apply
        what = (
            "Run it again" if result.verdict is Verdict.CANCELLED else "Correct what failed (above), then run it again"
        )
        yield Advice(f"{what}; what is deleted stays deleted, and the rest is decided anew", command)
        return
    if not view.acted and (result.plan.planned or result.plan.untagged):
        what = "tags" if result.plan.planned else "manifests"
        yield Advice(f"Check the {what} that would go; {context.full_report} holds every decision with all its reasons")
        if context.apply:
            yield Advice("Delete them by setting" if context.apply_is_input else "Delete them", context.apply)
    elif not result.plan.repositories and result.plan.policy.scope is not Scope.ALL and not _other_shards(view):
        yield Advice(
            f"Check that these clusters use images of {result.plan.registry}: in the scope "
            f"{result.plan.policy.scope}, repositories that they do not name are not looked at"
        )
