"""The pulls that keep images, where rules of the user have windows of their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from acr_cleanup.core.pulls import Pull, RepositoryPulls
from acr_cleanup.core.rule_set import PolicyRule, RepositoryRules


def pulls_that_keep(pulls: RepositoryPulls, rules: RepositoryRules, now: datetime) -> RepositoryPulls:
    """
    Leave out the pulls of a tag or digest that are older than the window of the rule that governs it.

    The log was read for the longest window of all. A pull of an unknown image keeps in any case.
    """
    windows = {window_of(rule, rules) for rule in rules.all}
    if len(windows) == 1 and rules.longest_window in windows:
        return pulls

    def within(of_item: tuple[Pull, ...], window: timedelta) -> tuple[Pull, ...]:
        return tuple(pull for pull in of_item if window and now - pull.last <= window)

    tags = {tag.name: tag for tag in rules.inventory.tags}
    by_tag = {name: within(of_tag, window_of(rules.of(tags[name]), rules)) for name, of_tag in pulls.by_tag.items()}
    by_digest = {
        digest: within(of_digest, max(window_of(rule, rules) for rule in rules.above(digest)))
        for digest, of_digest in pulls.by_digest.items()
    }
    return replace(
        pulls,
        by_tag={name: of_tag for name, of_tag in by_tag.items() if of_tag},
        by_digest={digest: of_digest for digest, of_digest in by_digest.items() if of_digest},
    )


def window_of(rule: PolicyRule, rules: RepositoryRules) -> timedelta:
    """The window of a rule. That of the top level holds for every rule: evidence only adds up."""
    return max(rule.pulled_within or timedelta(), rules.top.pulled_within or timedelta())
