"""The words of the keep rules, with the values of the policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_words import in_words

YOUNG, NEWEST = "younger than {older_than}", "newest {keep_last}"


def test_words_have_the_values_of_the_policy() -> None:
    policy = RetentionPolicy(older_than=timedelta(days=45), keep_last=3, used_within=timedelta(hours=12))
    assert in_words(YOUNG, policy) == "younger than 45d"
    assert in_words(NEWEST, policy) == "newest 3"
    assert in_words("{used_within}, {probation}", policy) == "12h, 0d"
    assert in_words(NEWEST, RetentionPolicy()) == "newest 0"


def test_words_name_the_rule_where_rules_differ() -> None:
    """A rule that keeps everything has no age, and one that keeps none of the newest no number."""
    policy = RetentionPolicy(older_than=timedelta(days=45), keep_last=3)
    top = policy.top
    other = replace(top, name="other", older_than=timedelta(days=7), keep_last=5)
    everything, none = replace(other, keep=True, keep_last=3), replace(top, name="none", keep_last=0)
    rules = replace(policy, rules=(other,))
    assert in_words(YOUNG, rules) == "younger than their rule says"
    assert in_words(NEWEST, rules) == "newest of their rule"
    assert in_words(NEWEST, rules, other) == "newest 5"
    assert in_words(YOUNG, replace(policy, rules=(everything, none))) == "younger than 45d"
    assert in_words(NEWEST, replace(policy, rules=(everything, none))) == "newest 3"
