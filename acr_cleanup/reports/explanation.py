"""
What `acr-cleanup explain` answers: the verdict first, then the facts, what speaks for and against, who uses it, and what would
become of it without them.

Elsewhere than in a terminal every use and every tag is told; a terminal shows the first of many and says how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby

from acr_cleanup.core.explanation import Explanation, Fate, Link, WithoutUses
from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.policy import Evidence, Rule, Scope, counted_with, describe_duration
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.verification import lacks
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import (
    BLOCKED_STYLE,
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
    Link.NEIGHBOUR: "They use what it is attached to, or what needs it",
    Link.OPEN: "They name the repository and do not say which image, so it may be any",
}


@dataclass(frozen=True)
class TagExplanation(CurrentExplanation):
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
        if found.fate is not None:
            yield from section(self._facts(found.fate, bounds))
            yield from section(self._reasons(found.fate, bounds.tags))
        else:
            yield from section(self._missing())
        yield from section(self._uses(bounds.uses))
        if found.without_uses is not None:
            yield BLANK
            yield Line(((self._otherwise(found.without_uses), "bold"),))
        yield from self.evidence_blocks()

    # -- the verdict ---------------------------------------------------------------------------------------------

    def _verdict(self) -> Iterator[Block]:
        found, unseen = self.explanation, self.blocked()
        if found.fate is None:
            yield Line(((self._absence(), MISSING_STYLE),))
        elif found.fate.goes and unseen:
            text = f"As far as could be seen, {self.title} would be deleted."
            yield Line(((text, DELETED_STYLE),))
        elif found.fate.goes:
            yield Line(((f"{self.title} would be deleted{self._remark()}.", DELETED_STYLE),))
        else:
            yield Line(((f"{self.title} is kept: {_detail(found.fate.reasons[0])}.", KEPT_STYLE),))
        if unseen:
            text = f"{unseen} could not be read completely: a run now would delete nothing, and more uses may exist."
            yield Line(((text, BLOCKED_STYLE),))

    def _remark(self) -> str:
        found = self.explanation
        if found.tag is not None and found.manifest_fate is not None and not found.manifest_fate.goes:
            return ", by name only: its manifest stays"
        if found.tag is None and found.digest is not None and not found.around.tags:
            return " with what it belongs to"
        return ""

    def _absence(self) -> str:
        found = self.explanation
        start = f"{self.title} is not in the registry"
        if not found.uses:
            seen = "nothing that could be seen uses it" if self.blocked() else "no cluster uses it"
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

    def _facts(self, fate: Fate, bounds: Bounds) -> Iterator[Block]:
        found, around = self.explanation, self.explanation.around
        now = self.evidence.now
        if found.tag is not None:
            yield fact("Digest", str(found.digest))
            yield fact("Pushed", push_age(found.tag.updated_at, now))
        elif found.manifest is not None:
            yield fact("Changed", push_age(found.manifest.updated_at, now))
        yield fact("Manifest", self._manifest(found.manifest))
        others = [tag.name for tag in around.tags if tag != found.tag]
        if found.tag is None:
            yield from self._tags(bounds.tags)
        elif others:
            yield fact("Also", f"{name_list(others)}, on the same manifest")
        if around.parents:
            yield fact("Index", f"listed by {name_list(map(self._called, around.parents))}")
        if around.referrers:
            yield fact("Attached", f"to it: {name_list(map(self._called, around.referrers))}")
        if around.subjects:
            yield fact("Belongs", f"to {name_list(map(self._called, around.subjects))}")
        locks = ["the tag"] if found.tag is not None and found.tag.locked else []
        locks += ["the manifest"] if found.manifest is not None and found.manifest.locked else []
        yield fact("Locked", words.listing(locks) if locks else "no")
        manifest_fate = found.manifest_fate
        if found.tag is not None and fate.goes and manifest_fate is not None:
            size = words.size(found.manifest.size) if found.manifest else ""
            if manifest_fate.goes:
                yield fact("Frees", f"its manifest goes with it{f', {size} as listed' if size else ''}")
            else:
                yield fact("Frees", f"the name alone; its manifest stays: {_details(manifest_fate)}")

    def _tags(self, limit: int | None) -> Iterator[Block]:
        deletes = {decision.tag.name: decision.deletes for decision in self.plan.decisions}
        tags = self.explanation.around.tags
        if not tags:
            yield fact("Tags", "none")
        shown = tags if limit is None else tags[:limit]
        for number, tag in enumerate(shown):
            verdict = "would be deleted" if deletes[tag.name] else "is kept"
            yield fact("" if number else "Tags", f"{words.name(tag.name)} {verdict}")
        yield from hidden_count(len(tags) - len(shown), "tag", 11)

    def _manifest(self, manifest: Manifest | None) -> str:
        if manifest is None:
            return "the registry names it and cannot show it"
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
        missing = "" if manifest is not None else " (not there)"
        return f"{short(digest)}{platform}{missing}"

    def _called(self, digest: Digest) -> str:
        tags = self.evidence.inventory.tags_of.get(digest, ())
        names = f" ({name_list([tag.name for tag in tags], 3)})" if tags else ""
        return f"{short(digest)}{names}"

    def _reasons(self, fate: Fate, limit: int | None) -> Iterator[Block]:
        found = self.explanation
        if fate.reasons:
            yield heading("Why it is kept", "bold")
            shown = fate.reasons if limit is None else fate.reasons[:limit]
            yield Grid(tuple((str(reason.rule), _detail(reason)) for reason in shown), indent=2)
            yield from hidden_count(len(fate.reasons) - len(shown), "reason")
        against = tuple(self._against(fate)) if found.tag is not None else ()
        if against and fate.reasons:
            yield BLANK
        if against:
            yield heading("What does not keep it" if fate.reasons else "Why nothing keeps it", "bold")
            yield Grid(against, indent=2)

    def _against(self, fate: Fate) -> Iterator[tuple[str, str]]:
        """The rules that see no reason to keep the tag, and what they see."""
        evidence, policy, tag = self.evidence, self.evidence.policy, self.explanation.tag
        if tag is None:
            return
        holding = {reason.rule for reason in fate.reasons}
        running = _clusters_that_run(evidence)
        everywhere = "every repository is, by the scope all"
        scope = everywhere if policy.scope is Scope.ALL else f"it is {policy.scope} in {name_list(running)}"
        scope += "" if policy.shard.is_whole else f", and belongs to shard {policy.shard}"
        among = f" of {counted_with(policy, tag.name)}" if policy.keep_last_by else ""
        newest = f"it is not among the newest {policy.keep_last}{among}" if policy.keep_last else "keep-last is 0"
        excluded = (
            f"no pattern matches it ({', '.join(policy.exclude_tags)})" if policy.exclude_tags else "no pattern is"
        )
        seen = "nothing that could be seen" if self.blocked() else "no cluster"
        told = {
            Rule.OUT_OF_SCOPE: ("in scope", scope),
            Rule.IN_USE: ("not in use", f"{seen} uses it, by tag or by digest"),
            Rule.LOCKED: ("not locked", "neither the tag nor its manifest"),
            Rule.YOUNG: (
                "old enough",
                f"pushed {push_age(tag.updated_at, evidence.now)}, at least {describe_duration(policy.older_than)}",
            ),
            Rule.EXCLUDED: ("not excluded", words.plain(excluded)),
            Rule.NEWEST: ("not newest", words.plain(newest)),
        }
        if Rule.UNKNOWN_AGE in holding:
            del told[Rule.YOUNG]
        if self.explanation.around.subjects and fate.goes:
            told[Rule.ATTACHED] = ("not attached", "to anything that is kept")
        yield from (line for rule, line in told.items() if rule not in holding)

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
            yield from self.use_blocks(title, uses, left)
            left = None if left is None else max(left - len(uses), 0)

    def _otherwise(self, otherwise: WithoutUses) -> str:
        """What would happen without the uses, all of them; and whether one would be enough."""
        number = len(self.explanation.uses)
        these = "Without this use" if number == 1 else f"Without these {number:,} uses"
        alone = " Each of them alone keeps it." if number > 1 and otherwise.each_alone else ""
        if otherwise.in_scope is None:
            return f"{these} it would {_would(otherwise.fate)}.{alone}"
        scope = self.evidence.policy.scope
        start = f"{these} {self.repository} would no longer be {scope} anywhere, and all of it would be kept"
        return f"{start}; once something else of it is, this would {_would(otherwise.in_scope)}.{alone}"


def _clusters_that_run(evidence: Evidence) -> list[str]:
    """The clusters that bring the repository into scope."""
    name, scope = evidence.inventory.name, evidence.policy.scope
    return [
        scan.cluster
        for scan in evidence.usage.scans
        if any(use.reference.repository == name and (use.running or scope is not Scope.RUNNING) for use in scan.uses)
    ]


def _would(fate: Fate) -> str:
    return "be deleted" if fate.goes else f"still be kept: {_details(fate)}"


def _details(fate: Fate, limit: int = 3) -> str:
    shown = [_detail(reason) for reason in fate.reasons]
    rest = [f"{len(shown) - limit:,} more reasons"] if len(shown) > limit + 1 else []
    return words.listing([*shown[:limit], *rest] if rest else shown)


def _detail(reason: Reason) -> str:
    """What a rule saw. The names in it are foreign."""
    return words.plain(reason.detail)
