"""The sentences of the reports about the keep list and the rules of a policy."""

from __future__ import annotations

from collections.abc import Iterable

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.plan import Decision
from acr_cleanup.core.policy_findings import (
    EndedEntry,
    EndingEntry,
    KeepsEverything,
    OvershadowedRule,
    PolicyFinding,
    RepeatedName,
    UnmatchedRule,
    UnreachableRule,
)
from acr_cleanup.core.retention import RetentionPolicy, describe_duration
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.reports import words

_RULES_SHOWN = 10


def finding_text(finding: PolicyFinding) -> str:
    """The fault or the coming change, and the remedy."""
    if isinstance(finding, KeepsEverything):
        return (
            f"{_named(finding.source)} keeps every tag that was read ({words.count(finding.tags, 'tag')} in "
            f"{words.count(finding.repositories, 'repository')}), so nothing can be deleted. Is that meant? "
            "Otherwise name only the images that must stay."
        )
    if isinstance(finding, UnreachableRule):
        return (
            f"{_named(finding.rule)} never applies: the rule `{finding.earlier.name}`, before it, matches everything that "
            "it matches. Move it before that rule, or remove it."
        )
    if isinstance(finding, OvershadowedRule):
        return (
            f"{_named(finding.rule)} governs no tag: an earlier rule governs every tag that it matches. Move it further "
            "up, or remove it."
        )
    if isinstance(finding, UnmatchedRule):
        number = words.count(finding.repositories, "repository")
        return f"{_named(finding.rule)} matches no tag of the {number} in scope. Check its patterns, or remove it."
    if isinstance(finding, RepeatedName):
        taken = finding.rule.name_taken
        return (
            f"Two rules have the name `{taken}`. Reports call the second one `{finding.rule.name}`. Rename one of them."
        )
    return _entry_text(finding.entry, finding)


def _entry_text(entry: KeepEntry, finding: PolicyFinding) -> str:
    owner = f" Owner: {entry.owner}." if entry.owner else ""
    reason = f" Reason: {entry.reason}." if entry.reason else ""
    if isinstance(finding, EndedEntry):
        return (
            f"{_named(entry)} ended on {entry.until} and keeps nothing any more.{reason}{owner} "
            "Remove it, or write a later date as its until."
        )
    if isinstance(finding, EndingEntry):
        when = f"in {words.count(finding.days, 'day')}" if finding.days else "today"
        return (
            f"{_named(entry)} ends {when} ({entry.until}).{reason}{owner} From the next day on, its images may be "
            "deleted. To keep them, write a later date as its until."
        )
    similar = getattr(finding, "similar", "")
    hint = f" Did you mean the repository {similar}?" if similar else ""
    return f"{_named(entry)} matches no image of the registry.{owner}{hint}"


def _named(source: KeepEntry | PolicyRule) -> str:
    if isinstance(source, KeepEntry):
        return f"The entry `{source.image}` of the keep list"
    return f"The rule `{source.name}`"


def rule_text(rule: PolicyRule) -> str:
    """The content of a rule, as in `older than 7d; the newest 3 are kept`."""
    if rule.keep:
        return "always kept"
    group = f" of each group ({rule.keep_last_by})" if rule.keep_last_by else ""
    number = f" {rule.keep_last:,}" if rule.keep_last > 1 else ""
    newest = f"; the newest{number}{group} {words.plural(rule.keep_last, 'is')} kept" if rule.keep_last else ""
    pulled = (
        f"; what was pulled in the last {describe_duration(rule.pulled_within)} is kept" if rule.pulled_within else ""
    )
    return f"older than {describe_duration(rule.older_than)}{newest}{pulled}"


def rule_patterns(rule: PolicyRule) -> str:
    """The tags that a rule matches. It is the user's text: escape it before it is shown."""
    if not rule.name:
        return "all other tags"
    tags = "all tags" if rule.is_for_all_tags else f"tags {', '.join(rule.tags)}"
    everywhere = rule.repositories == ("*",)
    return tags if everywhere else f"{tags} of {', '.join(rule.repositories)}"


def governed_text(policy: RetentionPolicy, name: str) -> str:
    """The rule that governs a tag, and what it says; "" if the policy has no rules."""
    if not policy.rules:
        return ""
    rule = policy.rule(name)
    return f"{f'rule {name}' if name else 'no rule, so the top-level options'}: {rule_text(rule)}"


def by_rule(policy: RetentionPolicy, decisions: Iterable[Decision]) -> Iterable[tuple[str, list[Decision]]]:
    """Group decisions by the rule that governs them, each with what that rule says; "" without rules."""
    groups: dict[str, list[Decision]] = {}
    for decision in decisions:
        groups.setdefault(governed_text(policy, decision.governed_by), []).append(decision)
    return groups.items()


def rules_sentence(policy: RetentionPolicy) -> str:
    """The rules in order, in one sentence; "" without rules."""
    rules = [f"`{rule.name}` ({rule_patterns(rule)}): {rule_text(rule)}" for rule in policy.rules[:_RULES_SHOWN]]
    hidden = len(policy.rules) - len(rules)
    rules += [f"{hidden:,} more"] if hidden else []
    return f" The first of these rules that matches a tag governs it: {'; '.join(rules)}." if rules else ""
