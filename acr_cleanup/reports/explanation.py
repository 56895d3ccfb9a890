"""
What `acr-cleanup explain` answers: the verdict first, then the facts, what speaks for and against, who uses it, and what would
become of it without them.

Elsewhere than in a terminal every use and every tag is told; a terminal shows the first of many and says how many there are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from itertools import groupby

from acr_cleanup.core.explanation import ExplainedDecision, Explanation, Link, WithoutUses, decide
from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.core.policy import RULES, Evidence, Rule, Scope, counted_with, describe_duration
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse
from acr_cleanup.core.verification import lacks
from acr_cleanup.reports import words
from acr_cleanup.reports.blocks import BLANK, Block, Grid, Line, Page, fact, heading, section
from acr_cleanup.reports.plan_words import warning_text

USES_ON_SCREEN = 20
TAGS_ON_SCREEN = 60
_NAMES_SHOWN = 12
_RUNNERS_SHOWN = 10

_GOES, _STAYS, _MISSING, _UNSEEN = "bold yellow", "bold green", "bold red", "bold red"

# What somebody wrote comes before what a controller made of it.
_MADE = ("Job", "ReplicationController", "ControllerRevision", "ReplicaSet", "Pod")

_LINKS = {
    Link.NAME: "They name {tag}",
    Link.DIGEST: "They name or run its digest",
    Link.FAMILY: "They use another manifest of its index family",
    Link.NEIGHBOUR: "They use what it is attached to, or what needs it",
    Link.OPEN: "They name the repository and do not say which image, so it may be any",
}


@dataclass(frozen=True, slots=True)
class Mention:
    """One use as it is told: who (with the container), in which field, and what is written there."""

    cluster: str
    kind: str
    who: str
    field: str
    text: str

    @classmethod
    def of(cls, use: ImageUse) -> Mention:
        return cls(use.workload.cluster, use.workload.kind, str(use), use.field, use.text)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of anything is told; None: all of it."""

    uses: int | None = None
    tags: int | None = None


ON_SCREEN = Bounds(USES_ON_SCREEN, TAGS_ON_SCREEN)


@dataclass(frozen=True)
class Answer(Page):
    """A page that is bounded on a screen (unless `everything`), and whole everywhere else."""

    everything: bool

    def blocks(self) -> Iterable[Block]:
        return self.compose(Bounds())

    def on_screen(self) -> Iterable[Block]:
        return self.blocks() if self.everything else self.compose(ON_SCREEN)

    @abstractmethod
    def compose(self, bounds: Bounds) -> Iterable[Block]:
        """Everything that is said, within these bounds."""


@dataclass(frozen=True)
class _Live(Answer):
    """An answer from what was read just now."""

    evidence: Evidence

    @property
    def repository(self) -> str:
        return words.plain(self.evidence.inventory.name)

    @cached_property
    def plan(self) -> RepositoryPlan:
        return decide(self.evidence)

    def unseen(self) -> str:
        return places(self.evidence.usage.blockers)

    def surroundings(self) -> Iterator[Block]:
        """What could not be seen, and what else should be known of this reading."""
        usage = self.evidence.usage
        yield from section(told_blockers(usage.blockers))
        yield from section(told_warnings((*usage.warnings, *map(warning_text, self.plan.warnings))))
        yield from section(self._clusters())

    def _clusters(self) -> Iterator[Block]:
        for number, scan in enumerate(self.evidence.usage.scans):
            how = f" ({words.plain(scan.access)})" if scan.access else ""
            read = f"{words.count(scan.objects, 'object')}, {words.count(len(scan.uses), 'use')} of this registry"
            text = f"{words.plain(scan.cluster)}{how}: {read}, {self.seen(scan)}"
            yield fact("Clusters" if number == 0 else "", text)

    def seen(self, scan: ClusterScan) -> str:
        """Since when it is known what the cluster uses."""
        if scan.read_at is None:
            return f"read {moment(self.evidence.usage.read_at)}"
        past = words.age(self.evidence.now - scan.read_at)
        return f"from a usage snapshot of {moment(scan.read_at)} ({past} old)"

    def mentions(self, title: str, uses: Sequence[ImageUse], limit: int | None) -> Iterator[Block]:
        seen = {scan.cluster: self.seen(scan) for scan in self.evidence.usage.scans}
        yield from uses_by_cluster(title, [Mention.of(use) for use in uses], seen, limit)


@dataclass(frozen=True)
class Of(_Live):
    """The answer for one tag or one manifest."""

    explanation: Explanation

    @property
    def title(self) -> str:
        name = self.explanation.name
        mark = "@" if self.explanation.digest == name else ":"
        return f"{self.repository}{mark}{words.plain(name)}"

    def compose(self, bounds: Bounds) -> Iterator[Block]:
        found = self.explanation
        yield from self._verdict()
        if found.decision is not None:
            yield from section(self._facts(found.decision, bounds))
            yield from section(self._reasons(found.decision, bounds.tags))
        else:
            yield from section(self._missing())
        yield from section(self._uses(bounds.uses))
        if found.without_uses is not None:
            yield BLANK
            yield Line(((self._otherwise(found.without_uses), "bold"),))
        yield from self.surroundings()

    # -- the verdict ---------------------------------------------------------------------------------------------

    def _verdict(self) -> Iterator[Block]:
        found, unseen = self.explanation, self.unseen()
        if found.decision is None:
            yield Line(((self._absence(), _MISSING),))
        elif found.decision.deletes and unseen:
            text = f"As far as could be seen, {self.title} would be deleted."
            yield Line(((text, _GOES),))
        elif found.decision.deletes:
            yield Line(((f"{self.title} would be deleted{self._remark()}.", _GOES),))
        else:
            yield Line(((f"{self.title} is kept: {_detail(found.decision.reasons[0])}.", _STAYS),))
        if unseen:
            text = f"{unseen} could not be read completely: a run now would delete nothing, and more uses may exist."
            yield Line(((text, _UNSEEN),))

    def _remark(self) -> str:
        found = self.explanation
        if found.tag is not None and found.manifest_decision is not None and not found.manifest_decision.deletes:
            return ", by name only: its manifest stays"
        if found.tag is None and found.digest is not None and not found.related.tags:
            return " with what it belongs to"
        return ""

    def _absence(self) -> str:
        found = self.explanation
        start = f"{self.title} is not in the registry"
        if not found.uses:
            seen = "nothing that could be seen uses it" if self.unseen() else "no cluster uses it"
            return f"{start}, and {seen}."
        number = len(found.uses)
        what = f"{words.count(number, 'use')} {'names' if number == 1 else 'name'} it"
        pulls = sum(lacks(self.evidence.inventory, each.use) for each in found.uses)
        if not pulls:
            return f"{start}; {what}, and {'it does' if number == 1 else 'they do'} not pull it by that."
        pods = (
            "its pods fail" if number == 1 else "their pods fail" if pulls == number else f"the pods of {pulls:,} fail"
        )
        return f"{start}, and {what}: {pods} on their next pull."

    def _missing(self) -> Iterator[Block]:
        inventory, found = self.evidence.inventory, self.explanation
        if not inventory.tags and not inventory.manifests:
            yield Line(((f"The registry has no repository {self.repository}, or it is empty.", ""),))
            return
        holds = f"{words.count(len(inventory.tags), 'tag')} and {words.count(len(inventory.manifests), 'manifest')}"
        near = get_close_matches(found.name, [tag.name for tag in inventory.tags], 3) if found.digest is None else []
        close = f"; near this one: {', '.join(map(words.name, near))}" if near else ""
        yield Line(((f"{self.repository} holds {holds}{close}.", ""),))
        if anything := self.evidence.usage.of_any(inventory.name):
            number = words.count(len(anything), "use")
            yield Line(((f"{number} of the repository may mean any image of it, this one too.", ""),))

    # -- facts and rules -----------------------------------------------------------------------------------------

    def _facts(self, decision: ExplainedDecision, bounds: Bounds) -> Iterator[Block]:
        found, related = self.explanation, self.explanation.related
        now = self.evidence.now
        if found.tag is not None:
            yield fact("Digest", str(found.digest))
            yield fact("Pushed", pushed(found.tag.updated_at, now))
        elif found.manifest is not None:
            yield fact("Changed", pushed(found.manifest.updated_at, now))
        yield fact("Manifest", self._manifest(found.manifest))
        others = [tag.name for tag in related.tags if tag != found.tag]
        if found.tag is None:
            yield from self._tags(bounds.tags)
        elif others:
            yield fact("Also", f"{some(others)}, on the same manifest")
        if related.parents:
            yield fact("Index", f"listed by {some(map(self._called, related.parents))}")
        if related.referrers:
            yield fact("Attached", f"to it: {some(map(self._called, related.referrers))}")
        if related.subjects:
            yield fact("Belongs", f"to {some(map(self._called, related.subjects))}")
        locks = ["the tag"] if found.tag is not None and found.tag.locked else []
        locks += ["the manifest"] if found.manifest is not None and found.manifest.locked else []
        yield fact("Locked", words.listing(locks) if locks else "no")
        manifest_decision = found.manifest_decision
        if found.tag is not None and decision.deletes and manifest_decision is not None:
            size = words.size(found.manifest.size) if found.manifest else ""
            if manifest_decision.deletes:
                yield fact("Frees", f"its manifest goes with it{f', {size} as listed' if size else ''}")
            else:
                yield fact("Frees", f"the name alone; its manifest stays: {_details(manifest_decision)}")

    def _tags(self, limit: int | None) -> Iterator[Block]:
        deletes = {decision.tag.name: decision.deletes for decision in self.plan.decisions}
        tags = self.explanation.related.tags
        if not tags:
            yield fact("Tags", "none")
        shown = tags if limit is None else tags[:limit]
        for number, tag in enumerate(shown):
            verdict = "would be deleted" if deletes[tag.name] else "is kept"
            yield fact("" if number else "Tags", f"{words.name(tag.name)} {verdict}")
        yield from and_rest(len(tags) - len(shown), "tag", 11)

    def _manifest(self, manifest: Manifest | None) -> str:
        if manifest is None:
            return "the registry names it and cannot show it"
        size = f", {words.size(manifest.size)} as listed" if manifest.size else ""
        if manifest.is_index:
            if not manifest.known:
                return "an index that cannot be read"
            children = some(map(self._child, manifest.children)) if manifest.children else "nothing"
            return f"an index of {children}"
        if manifest.platform:
            return f"an image for {words.plain(manifest.platform)}{size}"
        kind = "an image" if manifest.is_image else words.plain(manifest.media_type or "of unknown type")
        return f"{kind}{size}"

    def _child(self, digest: Digest) -> str:
        manifest = self.evidence.inventory.manifests.get(digest)
        platform = f" {words.plain(manifest.platform)}" if manifest is not None and manifest.platform else ""
        missing = "" if manifest is not None else " (not there)"
        return f"{short(digest)}{platform}{missing}"

    def _called(self, digest: Digest) -> str:
        tags = self.evidence.inventory.tags_of.get(digest, ())
        names = f" ({some([tag.name for tag in tags], 3)})" if tags else ""
        return f"{short(digest)}{names}"

    def _reasons(self, decision: ExplainedDecision, limit: int | None) -> Iterator[Block]:
        found = self.explanation
        if decision.reasons:
            yield heading("Why it is kept", "bold")
            shown = decision.reasons if limit is None else decision.reasons[:limit]
            yield Grid(tuple((str(reason.rule), _detail(reason)) for reason in shown), indent=2)
            yield from and_rest(len(decision.reasons) - len(shown), "reason")
        against = tuple(self._against(decision)) if found.tag is not None else ()
        if against and decision.reasons:
            yield BLANK
        if against:
            yield heading("What does not keep it" if decision.reasons else "Why nothing keeps it", "bold")
            yield Grid(against, indent=2)

    def _against(self, decision: ExplainedDecision) -> Iterator[tuple[str, str]]:
        """The rules that see no reason to keep the tag, and what they see."""
        evidence, policy, tag = self.evidence, self.evidence.policy, self.explanation.tag
        if tag is None:
            return
        holding = {reason.rule for reason in decision.reasons}
        running = _clusters_that_run(evidence)
        everywhere = "every repository is, by the scope all"
        scope = everywhere if policy.scope is Scope.ALL else f"it is {policy.scope} in {some(running)}"
        scope += "" if policy.shard.is_whole else f", and belongs to shard {policy.shard}"
        among = f" of {counted_with(policy, tag.name)}" if policy.keep_last_by else ""
        newest = f"it is not among the newest {policy.keep_last}{among}" if policy.keep_last else "keep-last is 0"
        excluded = (
            f"no pattern matches it ({', '.join(policy.exclude_tags)})" if policy.exclude_tags else "no pattern is"
        )
        seen = "nothing that could be seen" if self.unseen() else "no cluster"
        details = {
            Rule.OUT_OF_SCOPE: scope,
            Rule.IN_USE: f"{seen} uses it, by tag or by digest",
            Rule.LOCKED: "neither the tag nor its manifest",
            Rule.YOUNG: f"pushed {pushed(tag.updated_at, evidence.now)}, at least {describe_duration(policy.older_than)}",
            Rule.EXCLUDED: words.plain(excluded),
            Rule.NEWEST: words.plain(newest),
            Rule.ATTACHED: "to anything that is kept",
        }
        # These two say nothing of a tag without a subject, or without a known age.
        silent = {Rule.ATTACHED} if decision.reasons or not self.explanation.related.subjects else set[Rule]()
        silent |= {Rule.YOUNG} if Rule.UNKNOWN_AGE in holding else set()
        for rule in RULES:
            if rule.label and rule.id not in holding and rule.id not in silent:
                yield rule.label, details.get(rule.id, f"it is not {rule.describe(policy)}")

    # -- uses ----------------------------------------------------------------------------------------------------

    def _uses(self, limit: int | None) -> Iterator[Block]:
        found = self.explanation
        if not found.uses:
            return
        workloads = words.count(len({each.use.workload for each in found.uses}), "workload")
        yield heading(f"Who uses it: {workloads}, {words.count(len(found.uses), 'use')}", "bold")
        left = limit
        for link, group in groupby(found.uses, key=lambda each: each.link):
            uses = [each.use for each in group]
            tag = "this tag" if found.tag is not None or found.digest is None else "a tag of it"
            title = f"{_LINKS[link].format(tag=tag)} ({len(uses):,})"
            yield from self.mentions(title, uses, left)
            left = None if left is None else max(left - len(uses), 0)

    def _otherwise(self, otherwise: WithoutUses) -> str:
        """What would happen without the uses, all of them; and whether one would be enough."""
        number = len(self.explanation.uses)
        these = "Without this use" if number == 1 else f"Without these {number:,} uses"
        alone = " Each of them alone keeps it." if number > 1 and otherwise.each_alone else ""
        if otherwise.in_scope is None:
            return f"{these} it would {_would(otherwise.decision)}.{alone}"
        scope = self.evidence.policy.scope
        start = f"{these} {self.repository} would no longer be {scope} anywhere, and all of it would be kept"
        return f"{start}; once something else of it is, this would {_would(otherwise.in_scope)}.{alone}"


@dataclass(frozen=True)
class OfRepository(_Live):
    """The answer for a repository: each of its tags with its strongest reason, newest first."""

    def compose(self, bounds: Bounds) -> Iterator[Block]:
        plan, inventory, usage = self.plan, self.evidence.inventory, self.evidence.usage
        unseen = self.unseen()
        number = len(plan.decisions)
        in_use = sum(decision.in_use for decision in plan.kept)
        named = [use for scan in usage.scans for use in scan.uses if use.reference.repository == inventory.name]
        if not number and not inventory.manifests:
            pods = f"; {words.count(len(named), 'use')} of it would fail on the next pull" if named else ""
            text = f"{self.repository} is not in the registry, or empty{pods}."
            yield Line(((text, _MISSING),))
        else:
            style = _GOES if plan.deletions else _STAYS
            counted = words.count(number, "tag")
            text = (
                f"{self.repository}: {len(plan.deletions):,} of {counted} would be deleted, "
                f"{len(plan.kept):,} {words.plural(len(plan.kept), 'is')} kept, {in_use:,} of them in use."
            )
            yield Line(((text, style),))
        if unseen:
            text = f"{unseen} could not be read completely: a run now would delete nothing, and more uses may exist."
            yield Line(((text, _UNSEEN),))
        if inventory.manifests:
            freed = f"; {words.count(len(plan.manifests), 'manifest')} would go, {words.size(plan.size)} as listed"
            yield BLANK
            held = words.count(len(inventory.manifests), "manifest")
            yield fact("Holds", f"{held}{freed if plan.manifests else ''}")
        yield from section(self._running(named, bounds.tags))
        yield from section(self._tags(plan.decisions, bounds.tags))
        yield from self.surroundings()

    def _running(self, named: Sequence[ImageUse], limit: int | None) -> Iterator[Block]:
        runners = list(dict.fromkeys(str(use) for use in sorted(named, key=_who_first) if use.running))
        scope = self.evidence.policy.scope
        if not runners:
            consequence = ": it is out of scope, and all of it is kept" if scope is Scope.RUNNING else ""
            yield Line(((f"Nothing that could be seen runs it{consequence}.", ""),))
            return
        yield heading(f"Who runs it: {words.count(len(runners), 'workload')}", "bold")
        shown = runners if limit is None else runners[:_RUNNERS_SHOWN]
        yield from (Line(((words.plain(each), ""),), 2) for each in shown)
        yield from and_rest(len(runners) - len(shown), "workload")

    def _tags(self, decisions: Sequence[Decision], limit: int | None) -> Iterator[Block]:
        newest = sorted(decisions, key=lambda each: (each.tag.updated_at or BEGINNING, each.tag.name), reverse=True)
        shown = newest if limit is None else newest[:limit]
        if shown:
            yield Grid(
                tuple(self._row(each) for each in shown),
                header=("Tag", "Pushed", "Verdict", "Why"),
                numbers=frozenset({1}),
            )
        yield from and_rest(len(newest) - len(shown), "tag")

    def _row(self, decision: Decision) -> tuple[str, ...]:
        tag = decision.tag
        age = words.age(self.evidence.now - tag.updated_at) if tag.updated_at is not None else "?"
        if decision.deletes:
            return words.name(tag.name), age, "would be deleted", "unused and old enough"
        first, *others = decision.reasons
        if first.rule is Rule.IN_USE:
            # The most direct come first, and stay so among those of a kind.
            uses = sorted(first.uses, key=lambda use: _rank(use.workload.kind))
            rest = f" and {len(uses) - 1:,} more" if len(uses) > 1 else ""
            why = f"in use: {words.plain(str(uses[0]))}{rest}"
        else:
            why = words.plain(first.detail)
        also = f" (also {', '.join(dict.fromkeys(str(each.rule) for each in others))})" if others else ""
        return words.name(tag.name), age, "kept", f"{why}{also}"


BEGINNING = datetime.fromtimestamp(0).astimezone()


def uses_by_cluster(
    title: str, mentions: Sequence[Mention], seen: dict[str, str], limit: int | None
) -> Iterator[Block]:
    """Uses by cluster, what somebody wrote before what was made of it."""
    yield Line(((title, ""),), 2)
    ordered = sorted(mentions, key=lambda each: (each.cluster, _rank(each.kind), each.who, each.field))
    shown = ordered if limit is None else ordered[:limit]
    for cluster, group in groupby(shown, key=lambda each: each.cluster):
        yield Line(((words.plain(cluster), "bold"), (f", {seen.get(cluster, 'read then')}", "dim")), 4)
        for who, fields in groupby(group, key=lambda each: each.who):
            yield Line(((words.plain(who), "cyan"),), 6)
            for each in fields:
                yield Line(((f"{words.plain(each.field)}: ", "dim"), (words.plain(each.text), "")), 8)
    yield from and_rest(len(ordered) - len(shown), "use", 4)


def and_rest(number: int, noun: str, indent: int = 2) -> Iterator[Block]:
    if number > 0:
        verb = words.plural(number, "is")
        what = f"… and {number:,} more {words.plural(number, noun)}, which {verb} told where the output is no terminal"
        yield Line(((f"{what} (| cat)", "dim"),), indent)


def told_blockers(blockers: Sequence[Blocker]) -> Iterator[Block]:
    if blockers:
        yield heading("What could not be seen", "bold red")
    for where, group in groupby(blockers, key=lambda each: each.where):
        yield Line(((words.plain(where), "bold"),), 2)
        for blocker in group:
            yield Line(((words.plain(blocker.call), ""),), 4)
            yield Line(((words.plain(blocker.seen), "red"),), 6)
            if blocker.remedy:
                yield Line((("→ ", "cyan"), (words.plain(blocker.remedy), "")), 6)


def told_warnings(warnings: Sequence[str]) -> Iterator[Block]:
    if warnings:
        yield heading("Warnings", "bold yellow")
    yield from (Line((("- ", ""), (words.plain(warning, 600), "")), 2) for warning in dict.fromkeys(warnings))


def places(blockers: Iterable[Blocker]) -> str:
    found = list(dict.fromkeys(words.plain(blocker.where, 80) for blocker in blockers))
    if len(found) > 3:
        return f"{found[0]}, {found[1]} and {len(found) - 2} others"
    return words.listing(found) if found else ""


def _clusters_that_run(evidence: Evidence) -> list[str]:
    """The clusters that bring the repository into scope."""
    name, scope = evidence.inventory.name, evidence.policy.scope
    return [
        scan.cluster
        for scan in evidence.usage.scans
        if any(use.reference.repository == name and (use.running or scope is not Scope.RUNNING) for use in scan.uses)
    ]


def _would(decision: ExplainedDecision) -> str:
    return "be deleted" if decision.deletes else f"still be kept: {_details(decision)}"


def _details(decision: ExplainedDecision, limit: int = 3) -> str:
    shown = [_detail(reason) for reason in decision.reasons]
    rest = [f"{len(shown) - limit:,} more reasons"] if len(shown) > limit + 1 else []
    return words.listing([*shown[:limit], *rest] if rest else shown)


def _detail(reason: Reason) -> str:
    """What a rule saw. The names in it are foreign."""
    return words.plain(reason.detail)


def some(names: Iterable[str], limit: int = _NAMES_SHOWN) -> str:
    shown = [words.name(each) for each in names]
    rest = [f"{len(shown) - limit:,} more"] if len(shown) > limit else []
    return words.listing([*shown[:limit], *rest]) if shown else "none"


def pushed(when: datetime | None, now: datetime) -> str:
    return f"{words.date(when)}, {_ago(words.age(now - when))}" if when is not None else "at an unknown time"


def _ago(age: str) -> str:
    return age if age in {"now", "in the future"} else f"{age} ago"


def moment(when: datetime) -> str:
    return f"{(words.timestamp(when) or '')[:16].replace('T', ' ')} UTC"


def _rank(kind: str) -> int:
    return _MADE.index(kind) + 1 if kind in _MADE else 0


def _who_first(use: ImageUse) -> tuple[int, str]:
    return _rank(use.workload.kind), str(use)
