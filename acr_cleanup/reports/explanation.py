"""
The answer of `acr-cleanup explain` for one tag or one manifest.

It shows the verdict, the facts, the rules that apply and those that do not, the uses, and the
decision without these uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby

from acr_cleanup.core.explanation import ExplainedDecision, Explanation, Link, WithoutUses
from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.policy import RULES, Evidence, Rule, Scope, counted_with, describe_duration
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.verification import lacks
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import (
    DELETED_STYLE,
    KEPT_STYLE,
    MISSING_STYLE,
    Bounds,
    CurrentExplanation,
    hidden_count,
    name_list,
    push_age,
)
from acr_cleanup.reports.blocks import BLANK, Block, Grid, Line, fact, heading, section

_LINKS = {
    Link.NAME: "They name {tag}",
    Link.DIGEST: "They name or run its digest",
    Link.FAMILY: "They use another manifest of its index family",
    Link.NEIGHBOUR: "They use a related manifest: its subject, or one that depends on it",
    Link.OPEN: "They name the repository but not the image, so it may be any image of it",
}


@dataclass(frozen=True)
class TagExplanation(CurrentExplanation):
    """The answer for one tag, or for one manifest."""

    explanation: Explanation

    @property
    def title(self) -> str:
        name = self.explanation.name
        separator = "@" if self.explanation.digest == name else ":"
        return f"{self.repository}{separator}{words.plain(name)}"

    def compose(self, bounds: Bounds) -> Iterator[Block]:
        decision, without_uses = self.explanation.decision, self.explanation.without_uses
        yield Line((self._verdict(),))
        yield from self.blocked_line()
        if decision is not None:
            yield from section(self._facts(decision, bounds))
            yield from section(self._reasons(decision, bounds.tags))
        else:
            yield from section(self._absent())
        yield from section(self._uses(bounds.uses))
        if without_uses is not None:
            yield BLANK
            yield Line(((self._without_uses(without_uses), "bold"),))
        yield from self.evidence_blocks()

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
            return f"{start}, and {'no use was found' if self.blocked() else 'no cluster uses it'}."
        number = len(uses)
        named = f"{words.count(number, 'use')} {'names' if number == 1 else 'name'} it"
        pulls = sum(lacks(self.evidence.inventory, linked.use) for linked in uses)
        if not pulls:
            return f"{start}. {named}, but {'does' if number == 1 else 'do'} not pull it."
        pods = "Its pods" if number == 1 else "Their pods" if pulls == number else f"The pods of {pulls:,}"
        return f"{start}, but {named}. {pods} fail on their next pull."

    def _absent(self) -> Iterator[Block]:
        inventory, explanation = self.evidence.inventory, self.explanation
        if not inventory.tags and not inventory.manifests:
            yield Line(((f"The registry has no repository {self.repository}, or it is empty.", ""),))
            return
        size = f"{words.count(len(inventory.tags), 'tag')} and {words.count(len(inventory.manifests), 'manifest')}"
        names = [tag.name for tag in inventory.tags] if explanation.digest is None else []
        similar = get_close_matches(explanation.name, names, 3)
        hint = f" Similar tags: {', '.join(map(words.name, similar))}." if similar else ""
        yield Line(((f"{self.repository} has {size}.{hint}", ""),))
        if open_uses := self.evidence.usage.of_any(inventory.name):
            number = len(open_uses)
            verb = "does" if number == 1 else "do"
            text = f"{words.count(number, 'use')} of the repository {verb} not say which image, so it may be this one."
            yield Line(((text, ""),))

    # -- facts and rules ---------------------------------------------------------------------------

    def _facts(self, decision: ExplainedDecision, bounds: Bounds) -> Iterator[Block]:
        explanation, now = self.explanation, self.evidence.now
        if explanation.tag is not None:
            yield fact("Digest", str(explanation.digest))
            yield fact("Pushed", push_age(explanation.tag.updated_at, now))
        elif explanation.manifest is not None:
            yield fact("Changed", push_age(explanation.manifest.updated_at, now))
        yield fact("Manifest", self._manifest(explanation.manifest))
        yield from self._related(bounds)
        yield fact("Locked", self._locks())
        yield from self._freed(decision)

    def _related(self, bounds: Bounds) -> Iterator[Block]:
        """The tags and manifests related it."""
        explanation, related = self.explanation, self.explanation.related
        if explanation.tag is None:
            yield from self._tags(bounds.tags)
        elif others := [tag.name for tag in related.tags if tag != explanation.tag]:
            yield fact("Also", f"{name_list(others)}, on the same manifest")
        if related.parents:
            yield fact("Listed by", name_list(map(self._manifest_name, related.parents)))
        if related.referrers:
            yield fact("Referrers", name_list(map(self._manifest_name, related.referrers)))
        if related.subjects:
            yield fact("Subject", name_list(map(self._manifest_name, related.subjects)))

    def _locks(self) -> str:
        explanation = self.explanation
        locks = ["the tag"] if explanation.tag is not None and explanation.tag.locked else []
        locks += ["the manifest"] if explanation.manifest is not None and explanation.manifest.locked else []
        return words.listing(locks) if locks else "no"

    def _freed(self, decision: ExplainedDecision) -> Iterator[Block]:
        """The space that is freed together with a tag."""
        explanation, manifest_decision = self.explanation, self.explanation.manifest_decision
        if explanation.tag is None or not decision.deletes or manifest_decision is None:
            return
        if manifest_decision.deletes:
            manifest = explanation.manifest
            size = f" ({words.size(manifest.size)} as listed)" if manifest is not None else ""
            yield fact("Frees", f"its manifest, which is deleted too{size}")
        else:
            yield fact("Frees", f"nothing, because its manifest is kept: {_details(manifest_decision)}")

    def _tags(self, limit: int | None) -> Iterator[Block]:
        deletes = {decision.tag.name: decision.deletes for decision in self.plan.decisions}
        tags = self.explanation.related.tags
        if not tags:
            yield fact("Tags", "none")
        shown = tags if limit is None else tags[:limit]
        for number, tag in enumerate(shown):
            verdict = "would be deleted" if deletes[tag.name] else "is kept"
            yield fact("" if number else "Tags", f"{words.name(tag.name)} {verdict}")
        yield from hidden_count(len(tags) - len(shown), "tag", 11)

    def _manifest(self, manifest: Manifest | None) -> str:
        if manifest is None:
            return "listed by the registry, but it cannot be read"
        size = f", {words.size(manifest.size)} as listed" if manifest.size else ""
        if manifest.is_index:
            if not manifest.known:
                return "an index that cannot be read"
            children = name_list(map(self._child, manifest.children)) if manifest.children else "nothing"
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
        names = f" ({name_list([tag.name for tag in tags], 3)})" if tags else ""
        return f"{short(digest)}{names}"

    def _reasons(self, decision: ExplainedDecision, limit: int | None) -> Iterator[Block]:
        if decision.reasons:
            yield heading("Why it is kept", "bold")
            shown = decision.reasons if limit is None else decision.reasons[:limit]
            yield Grid(tuple((str(reason.rule), _detail(reason)) for reason in shown), indent=2)
            yield from hidden_count(len(decision.reasons) - len(shown), "reason")
        against = tuple(self._against(decision)) if self.explanation.tag is not None else ()
        if against and decision.reasons:
            yield BLANK
        if against:
            yield heading("Rules that do not apply" if decision.reasons else "Why no rule keeps it", "bold")
            yield Grid(against, indent=2)

    def _against(self, decision: ExplainedDecision) -> Iterator[tuple[str, str]]:
        """The rules that do not keep the tag, each with its evidence."""
        evidence, policy, tag = self.evidence, self.evidence.policy, self.explanation.tag
        if tag is None:
            return
        holding = {reason.rule for reason in decision.reasons}
        running = _clusters_that_run(evidence)
        scope = "the scope is all" if policy.scope is Scope.ALL else f"it is {policy.scope} in {name_list(running)}"
        scope += "" if policy.shard.is_whole else f", and belongs to shard {policy.shard}"
        among = f" of {counted_with(policy, tag.name)}" if policy.keep_last_by else ""
        newest = f"it is not among the newest {policy.keep_last}{among}" if policy.keep_last else "keep-last is 0"
        patterns = ", ".join(policy.exclude_tags)
        excluded = f"exclude-tags does not match it ({patterns})" if patterns else "exclude-tags is empty"
        details = {
            Rule.OUT_OF_SCOPE: scope,
            Rule.IN_USE: f"{'no use was found' if self.blocked() else 'no cluster uses it'}, by tag or by digest",
            Rule.LOCKED: "neither the tag nor its manifest is locked",
            Rule.YOUNG: f"pushed {push_age(tag.updated_at, evidence.now)}, at least {describe_duration(policy.older_than)}",
            Rule.EXCLUDED: words.plain(excluded),
            Rule.NEWEST: words.plain(newest),
            Rule.ATTACHED: "its subject is not kept",
        }
        # These do not apply to a tag without a subject, or without a known age.
        silent = {Rule.ATTACHED} if decision.reasons or not self.explanation.related.subjects else set[Rule]()
        silent |= {Rule.YOUNG} if Rule.UNKNOWN_AGE in holding else set()
        for rule in RULES:
            if rule.label and rule.id not in holding and rule.id not in silent:
                yield rule.label, details.get(rule.id, f"it is not {rule.describe(policy)}")

    # -- uses --------------------------------------------------------------------------------------

    def _uses(self, limit: int | None) -> Iterator[Block]:
        explanation = self.explanation
        if not explanation.uses:
            return
        workloads = words.count(len({linked.use.workload for linked in explanation.uses}), "workload")
        yield heading(f"Used by {workloads} ({words.count(len(explanation.uses), 'use')})", "bold")
        left = limit
        for link, group in groupby(explanation.uses, key=lambda linked: linked.link):
            uses = [linked.use for linked in group]
            tag = "this tag" if explanation.tag is not None or explanation.digest is None else "one of its tags"
            title = f"{_LINKS[link].format(tag=tag)} ({len(uses):,})"
            yield from self.use_blocks(title, uses, left)
            left = None if left is None else max(left - len(uses), 0)

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
