"""The words of the keep rules, with the values of the policy."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from acr_cleanup.core.retention import RetentionPolicy, describe_duration
from acr_cleanup.core.rule_set import PolicyRule

_DURATIONS = ("older_than", "pulled_within", "used_within", "probation")


class ChartGroup(StrEnum):
    """The slices of kept tags in the chart of a summary. `{…}` is a field of the policy."""

    IN_USE = "in use"
    MENTIONED = "mentioned"
    PULLED = "pulled"
    YOUNG = "younger than {older_than}"
    NEWEST = "newest {keep_last}"
    OTHER = "other reasons"


def in_words(text: str, policy: RetentionPolicy, *governing: PolicyRule) -> str:
    """
    A title or a group with the values of the policy in place of `{…}`.

    governing: the rules that govern the tags in question; by default any of the policy.
    """
    rules = governing or (*policy.rules, policy.top)
    ages = {describe_duration(rule.older_than) for rule in rules if not rule.keep}
    numbers = {rule.keep_last for rule in rules if rule.keep_last} or {0}
    durations = {name: describe_duration(getattr(policy, name) or timedelta()) for name in _DURATIONS}
    return text.format(
        **durations
        | {
            "older_than": ages.pop() if len(ages) == 1 else "their rule says",
            "keep_last": numbers.pop() if len(numbers) == 1 else "of their rule",
        }
    )
