"""The words of the keep rules, with the values of the policy."""

from __future__ import annotations

from datetime import timedelta

from acr_cleanup.core.retention import RetentionPolicy, describe_duration
from acr_cleanup.core.rule_set import PolicyRule

_DURATIONS = ("older_than", "pulled_within", "used_within", "probation")


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
