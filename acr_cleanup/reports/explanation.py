"""
The answer of `acr-cleanup explain` from the evidence of now: about one tag, one manifest or a
repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from itertools import groupby

from acr_cleanup.core.explanation import ExplainedDecision, Explanation, Link, WithoutUses, decide, deleted_with
from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.newest import counted_with
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import RULES, Evidence, Rule
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.retention import RetentionPolicy, Scope, day, describe_duration
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.core.verification import lacks
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import (
    BLOCKED_STYLE,
    DELETED_STYLE,
    KEPT_STYLE,
    MISSING_STYLE,
    Answer,
    Fact,
    RuleList,
    UseGroup,
    cluster_text,
    push_age,
    read_time,
)
from acr_cleanup.reports.plan_words import warning_text
from acr_cleanup.reports.policy_words import governed_text

_LINKS = {
    Link.NAME: "They name {tag}",
    Link.DIGEST: "They name or run its digest",
    Link.FAMILY: "They use another manifest of its index family",
    Link.NEIGHBOUR: "They use a related manifest: its subject, or one that depends on it",
    Link.OPEN: "They name the repository but not the image, so it may be any image of it",
}


def explain_item(evidence: Evidence, explanation: Explanation, *, everything: bool = False) -> Answer:
    """Make the answer about one tag or one manifest."""
    return _Item(evidence, explanation).answer(everything=everything)


@dataclass(frozen=True)
class Circumstances:
    """The evidence, and the parts of an answer that depend on nothing else."""

    evidence: Evidence

    @property
    def repository(self) -> str:
        return words.plain(self.evidence.inventory.name)

    @cached_property
    def plan(self) -> RepositoryPlan:
        return decide(self.evidence)

    def blocked(self) -> str:
        """The places with blockers, as a phrase; "" if everything was read."""
        return words.first_few(words.plain(blocker.where, 80) for blocker in self.evidence.usage.blockers)

    def remarks(self) -> tuple[tuple[str, str], ...]:
        if places := self.blocked():
            text = f"{places} could not be read completely. A run would delete nothing now, and more uses may exist."
            return ((text, BLOCKED_STYLE),)
        return ()

    def warnings(self) -> tuple[str, ...]:
        return (*self.evidence.usage.warnings, *map(warning_text, self.plan.warnings))

    def clusters(self) -> tuple[Fact, ...]:
        """The clusters and the services that were read."""

        def texts(*, services: bool) -> Iterator[str]:
            for scan in self.evidence.usage.scans:
                if scan.is_service is services:
                    access = "" if services else scan.access
                    yield cluster_text(scan.cluster, access, scan.objects, len(scan.uses), self.read_time(scan))

        return Fact("Clusters", tuple(texts(services=False))), Fact("Services", tuple(texts(services=True)))

    @property
    def sources(self) -> str:
        """The kinds of source that were read."""
        return "cluster or service" if any(scan.is_service for scan in self.evidence.usage.scans) else "cluster"

    def read_time(self, scan: ClusterScan) -> str:
        return read_time(scan.read_at, self.evidence.usage.read_at, self.evidence.now)


@dataclass(frozen=True)
class _Item(Circumstances):
    """The parts of the answer about one tag, or about one manifest."""

    explanation: Explanation

    def answer(self, *, everything: bool) -> Answer:
        explanation = self.explanation
        decision = explanation.decision
        verdict, style = self._verdict()
        return Answer(
            verdict=verdict,
            style=style,
            known=explanation.exists or bool(explanation.uses),
            everything=everything,
            remarks=self.remarks(),
            freed=self._freed_space(),
            facts=tuple(self._facts()) if decision is not None else (),
            rules=tuple(self._rules(decision)) if decision is not None else (),
            notes=tuple(self._absent()) if decision is None else (),
            uses_title=self._uses_title(),
            uses=tuple(self._uses()),
            mentions=explanation.mentions,
            read_times={scan.cluster: self.read_time(scan) for scan in self.evidence.usage.scans},
            conclusion=self._without_uses(explanation.without_uses) if explanation.without_uses is not None else "",
            blockers=self.evidence.usage.blockers,
            warnings=self.warnings(),
            run=self.clusters(),
        )

    @property
    def title(self) -> str:
        name = self.explanation.name
        separator = "@" if self.explanation.digest == name else ":"
        return f"{self.repository}{separator}{words.plain(name)}"

    # -- the verdict -------------------------------------------------------------------------------

    def _verdict(self) -> tuple[str, str]:
        """The verdict and its style."""
        decision = self.explanation.decision
        if decision is None:
            return self._absence(), MISSING_STYLE
        if not decision.deletes:
            return f"{self.title} is kept: {_detail(decision.reasons[0])}.", KEPT_STYLE
        if self.blocked():
            return f"According to what could be read, {self.title} would be deleted.", DELETED_STYLE
        return f"{self.title} would be deleted{self._remark()}.", DELETED_STYLE

    def _remark(self) -> str:
        explanation, related = self.explanation, self.explanation.related
        manifest_decision = explanation.manifest_decision
        if explanation.tag is not None and manifest_decision is not None and not manifest_decision.deletes:
            return ", but its manifest is kept"
        if explanation.tag is None and not related.tags and (related.parents or related.subjects):
            return " together with its index or subject"
        return ""

    def _absence(self) -> str:
        uses = self.explanation.uses
        start = f"{self.title} is not in the registry"
        if not uses:
            return f"{start}, and {'no use was found' if self.blocked() else f'no {self.sources} uses it'}."
        number = len(uses)
        named = f"{words.count(number, 'use')} {'names' if number == 1 else 'name'} it"
        pulls = sum(lacks(self.evidence.inventory, linked.use) for linked in uses)
        if not pulls:
            return f"{start}. {named}, but {'does' if number == 1 else 'do'} not pull it."
        pods = "Its pods" if number == 1 else "Their pods" if pulls == number else f"The pods of {pulls:,}"
        return f"{start}, but {named}. {pods} fail on their next pull."

    def _absent(self) -> Iterator[str]:
        inventory, explanation = self.evidence.inventory, self.explanation
        if not inventory.tags and not inventory.manifests:
            yield f"The registry has no repository {self.repository}, or it is empty."
            return
        size = f"{words.count(len(inventory.tags), 'tag')} and {words.count(len(inventory.manifests), 'manifest')}"
        names = [tag.name for tag in inventory.tags] if explanation.digest is None else []
        similar = get_close_matches(explanation.name, names, 3)
        hint = f" Similar tags: {', '.join(map(words.name, similar))}." if similar else ""
        yield f"{self.repository} has {size}.{hint}"
        if open_uses := self.evidence.usage.of_any(inventory.name):
            number = len(open_uses)
            verb = "does" if number == 1 else "do"
            text = f"{words.count(number, 'use')} of the repository {verb} not say which image, so it may be this one."
            yield text

    # -- facts and rules ---------------------------------------------------------------------------

    def _facts(self) -> Iterator[Fact]:
        explanation, now = self.explanation, self.evidence.now
        if explanation.tag is not None:
            yield Fact.of("Digest", str(explanation.digest))
            yield Fact.of("Pushed", push_age(explanation.tag.updated_at, now))
            if governed := governed_text(self.evidence.policy, self.evidence.rules.of(explanation.tag).name):
                yield Fact.of("Governed by", words.plain(governed))
        elif explanation.manifest is not None:
            yield Fact.of("Changed", push_age(explanation.manifest.updated_at, now))
        yield Fact.of("Manifest", self._manifest(explanation.manifest))
        yield from self._related()
        if locks := self._locks():
            yield Fact.of("Locked", locks)
        yield from self._freed()

    def _related(self) -> Iterator[Fact]:
        """The related tags and manifests."""
        explanation, related = self.explanation, self.explanation.related
        if explanation.tag is None:
            yield self._tags()
        elif others := [tag.name for tag in related.tags if tag != explanation.tag]:
            yield Fact.of("Also", f"{words.name_list(others)}, on the same manifest")
        if related.parents:
            yield Fact.of("Listed by", words.name_list(map(self._manifest_name, related.parents)))
        if related.referrers:
            yield Fact.of("Referrers", words.name_list(map(self._manifest_name, related.referrers)))
        if related.subjects:
            yield Fact.of("Subject", words.name_list(map(self._manifest_name, related.subjects)))

    def _locks(self) -> str:
        explanation = self.explanation
        locks = ["the tag"] if explanation.tag is not None and explanation.tag.locked else []
        locks += ["the manifest"] if explanation.manifest is not None and explanation.manifest.locked else []
        return words.listing(locks) if locks else ""

    def _freed(self) -> Iterator[Fact]:
        """The space that is freed together with a tag or a manifest."""
        freed, manifest_decision = self._freed_space(), self.explanation.manifest_decision
        if freed is None or manifest_decision is None:
            return
        manifests, size = freed
        if not manifests:
            yield Fact.of("Frees", f"nothing, because its manifest is kept: {_details(manifest_decision)}")
            return
        own, comma = ("its manifest, which is deleted too", ",") if self.explanation.tag else ("the manifest", "")
        belongs = f"{words.count(manifests - 1, 'manifest')} that {words.plural(manifests - 1, 'belongs')} to it"
        below = f"{comma} with {belongs}" if manifests > 1 else ""
        yield Fact.of("Frees", f"{own}{below} ({words.size(size)} as listed)")

    def _freed_space(self) -> tuple[int, int] | None:
        """The manifests that go, and their bytes; None if the tag or the manifest stays, or its digest is unknown."""
        explanation, of_manifest = self.explanation, self.explanation.manifest_decision
        if explanation.decision is None or not explanation.decision.deletes:
            return None
        if of_manifest is None or explanation.digest is None:
            return None
        gone = deleted_with(self.evidence, self.plan, explanation.digest) if of_manifest.deletes else ()
        return len(gone), sum(manifest.size for manifest in gone)

    def _tags(self) -> Fact:
        deletes = {decision.tag.name: decision.deletes for decision in self.plan.decisions}
        tags = self.explanation.related.tags
        texts = (f"{words.name(tag.name)} {'would be deleted' if deletes[tag.name] else 'is kept'}" for tag in tags)
        return Fact("Tags", tuple(texts) or ("none",), "tag")

    def _manifest(self, manifest: Manifest | None) -> str:
        if manifest is None:
            return "listed by the registry, but it cannot be read"
        size = f", {words.size(manifest.size)} as listed" if manifest.size else ""
        if manifest.is_index:
            if not manifest.known:
                return "an index that cannot be read"
            children = words.name_list(map(self._child, manifest.children)) if manifest.children else "nothing"
            return f"an index of {children}"
        if manifest.platform:
            return f"an image for {words.plain(manifest.platform)}{size}"
        kind = "an image" if manifest.is_image else words.plain(manifest.media_type or "of unknown type")
        return f"{kind}{size}"

    def _child(self, digest: Digest) -> str:
        manifest = self.evidence.inventory.manifests.get(digest)
        platform = f" {words.plain(manifest.platform)}" if manifest is not None and manifest.platform else ""
        missing = "" if manifest is not None else " (missing)"
        return f"{short(digest)}{platform}{missing}"

    def _manifest_name(self, digest: Digest) -> str:
        """The short digest, and the tags in parentheses."""
        tags = self.evidence.inventory.tags_of.get(digest, ())
        names = f" ({words.name_list([tag.name for tag in tags], 3)})" if tags else ""
        return f"{short(digest)}{names}"

    def _rules(self, decision: ExplainedDecision) -> Iterator[RuleList]:
        if decision.reasons:
            rows = tuple((str(reason.rule), _detail(reason)) for reason in decision.reasons)
            yield RuleList("Why it is kept", rows, "reason")
        if against := tuple(self._against(decision)):
            yield RuleList("Rules that do not apply" if decision.reasons else "Why no rule keeps it", against)

    def _against(self, decision: ExplainedDecision) -> Iterator[tuple[str, str]]:
        """The rules that do not keep the tag, each with its evidence."""
        evidence, policy, tag = self.evidence, self.evidence.policy, self.explanation.tag
        if tag is None:
            return
        governing = evidence.rules.of(tag)
        holding = {reason.rule for reason in decision.reasons}
        running = _clusters_that_run(evidence)
        scope = (
            "the scope is all" if policy.scope is Scope.ALL else f"it is {policy.scope} in {words.name_list(running)}"
        )
        scope += "" if policy.shard.is_whole else f", and belongs to shard {policy.shard}"
        among = f" of {counted_with(governing.keep_last_by, tag.name)}" if governing.keep_last_by else ""
        newest = f"it is not among the newest {governing.keep_last}{among}"
        patterns = ", ".join(policy.exclude_tags)
        excluded = f"exclude-tags does not match it ({patterns})" if patterns else "exclude-tags is empty"
        details = {
            Rule.OUT_OF_SCOPE: scope,
            Rule.IN_USE: f"{'no use was found' if self.blocked() else f'no {self.sources} uses it'}, by tag or by digest",
            Rule.PULLED: self._not_pulled(),
            Rule.LOCKED: "neither the tag nor its manifest is locked",
            Rule.YOUNG: f"pushed {push_age(tag.updated_at, evidence.now)}, at least {describe_duration(governing.older_than)}"
            f"{governing.note}",
            Rule.EXCLUDED: words.plain(excluded),
            Rule.NEWEST: words.plain(f"{newest}{governing.note}"),
            Rule.KEPT_BY_RULE: words.plain(governed_text(policy, governing.name)),
            Rule.ATTACHED: "its subject is not kept",
            Rule.USED_RECENTLY: f"no earlier run saw it in use in the last {describe_duration(policy.used_within or timedelta())}",
            Rule.MENTIONED: "no object names it together with its repository",
            Rule.KEEP_LIST: f"{words.count(len(policy.keep), 'entry')}, but none names it",
            Rule.PROBATION: self._served(tag),
        }
        # These do not apply to a tag without a subject, or without a known age.
        silent = {Rule.ATTACHED} if decision.reasons or not self.explanation.related.subjects else set[Rule]()
        silent |= {Rule.PULLED} if evidence.usage.pulls.since is None else set()
        silent |= {Rule.USED_RECENTLY} if not policy.used_within else set()
        silent |= {Rule.PROBATION} if not policy.probation else set()
        silent |= {Rule.NEWEST} if not governing.keep_last else set()
        silent |= {Rule.EXCLUDED} if policy.exclude_tags == RetentionPolicy().exclude_tags else set()
        silent |= {Rule.YOUNG} if Rule.UNKNOWN_AGE in holding or governing.keep else set()
        silent |= set() if policy.rules else {Rule.KEPT_BY_RULE}
        silent |= set() if policy.keep else {Rule.KEEP_LIST}
        for rule in RULES:
            if rule.label and rule.id not in holding and rule.id not in silent:
                yield rule.label, details.get(rule.id, f"it is not {rule.describe(policy, governing)}")

    def _served(self, tag: Tag) -> str:
        """How long it has been a candidate."""
        since = self.evidence.usage.history.candidate_since(self.evidence.inventory.name, tag)
        if since is None:
            return "the last run found it to be no candidate"
        return f"it has been a candidate since {day(since, self.evidence.now)}"

    def _not_pulled(self) -> str:
        log = self.evidence.usage.pulls
        if log.since is None:
            return ""
        reach = f", which reaches back to {log.reaches_back_to:%Y-%m-%d}," if log.reaches_back_to else ""
        return f"the log{reach} has no pull of it since {log.since:%Y-%m-%d}"

    # -- uses --------------------------------------------------------------------------------------

    def _uses_title(self) -> str:
        uses = self.explanation.uses
        workloads = words.count(len({linked.use.workload for linked in uses}), "workload")
        return f"Used by {workloads} ({words.count(len(uses), 'use')})"

    def _uses(self) -> Iterator[UseGroup]:
        explanation = self.explanation
        tag = "this tag" if explanation.tag is not None or explanation.digest is None else "one of its tags"
        for link, group in groupby(explanation.uses, key=lambda linked: linked.link):
            yield UseGroup(_LINKS[link].format(tag=tag), tuple(linked.use for linked in group))

    def _without_uses(self, without_uses: WithoutUses) -> str:
        """The decision without all of the uses, and whether each use alone would keep it."""
        number = len(self.explanation.uses)
        start = "Without this use" if number == 1 else f"Without these {number:,} uses"
        alone = " Each of them alone keeps it." if number > 1 and without_uses.each_alone else ""
        if without_uses.in_scope is None:
            return f"{start}, it would {_would(without_uses.decision)}.{alone}"
        scope = self.evidence.policy.scope
        return (
            f"{start}, {self.repository} would not be {scope} in any cluster, so all its tags would be kept. "
            f"If another image of it is {scope}, this one would {_would(without_uses.in_scope)}.{alone}"
        )


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
    details = [_detail(reason) for reason in decision.reasons]
    hidden = [f"{len(details) - limit:,} more reasons"] if len(details) > limit + 1 else []
    return words.listing([*details[:limit], *hidden] if hidden else details)


def _detail(reason: Reason) -> str:
    """The evidence of a rule. It contains foreign names."""
    return words.plain(reason.detail)
