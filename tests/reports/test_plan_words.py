"""The sentences on a plan: its policy, its refusals and its warnings."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta

import pytest

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.limits import LimitRefusal, TooLargeShare, TooManyDeletions
from acr_cleanup.core.plan_warnings import (
    PlanWarning,
    UnknownLocks,
    Unlisted,
    UnmeasuredSpace,
    UnreadableManifests,
)
from acr_cleanup.core.references import short
from acr_cleanup.core.retention import KeepLastOf, RetentionPolicy, Scope
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.core.shard import Shard
from acr_cleanup.reports.plan_words import describe_policy, refusal_text, warning_text
from acr_cleanup.reports.policy_sentence import policy_sentence
from tests.helpers.generated_inventories import d

CHECK = (
    "Check first whether every cluster that uses this registry is configured, and whether older-than and the patterns "
    "are as meant. If the plan is what you want, raise"
)


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (
            TooManyDeletions(limit=1, tags=2, untagged=0),
            f"The plan deletes 2 tags, more than max-deletions (1). {CHECK} max-deletions to 2.",
        ),
        (
            TooManyDeletions(limit=2, tags=1, untagged=2),
            f"The plan deletes 1 tags and 2 untagged manifests, more than max-deletions (2). {CHECK} max-deletions to 3.",
        ),
        (
            TooLargeShare(limit=12.5, repository="shop/web", planned=2, tags=3),
            (
                "The plan deletes 2 of 3 tags of shop/web, more than max-deletion-percent (12.5 %). "
                f"{CHECK} max-deletion-percent to 67."
            ),
        ),
    ],
)
def test_refusal_says_by_what_and_what_to_do(refusal: LimitRefusal, text: str) -> None:
    assert refusal_text(refusal) == text


@pytest.mark.parametrize(
    ("warning", "text"),
    [
        (
            UnreadableManifests("shop/web", 4321, (d("a"), d("b"))),
            (
                f"4,321 manifests of shop/web cannot be read or understood ({short(d('a'))}, {short(d('b'))}). "
                "The references of such a manifest are unknown, so no manifest of this repository is deleted; "
                "its tags are removed by name only."
            ),
        ),
        (
            Unlisted("shop/web", 1),
            (
                "shop/web has 1 manifest more than it lists (listEnabled: false, or a count that lags behind). "
                "An unlisted manifest might need any other one, "
                "so no manifest of this repository is deleted; its tags are removed by name only."
            ),
        ),
        (
            Unlisted("shop/web", 0, 2),
            (
                "shop/web has 2 tags more than it lists (listEnabled: false, or a count that lags behind). "
                "An unlisted tag might be on any manifest, "
                "and would be deleted with it, so no manifest of this repository is deleted; its tags are removed by "
                "name only."
            ),
        ),
        (
            Unlisted("shop/web", 2, 1),
            (
                "shop/web has 2 manifests and 1 tag more than it lists (listEnabled: false, or a count that lags behind). "
                "An unlisted manifest might need any other one, "
                "so no manifest of this repository is deleted; its tags are removed by name only."
            ),
        ),
        (
            UnknownLocks("shop/web", 2),
            (
                "The registry does not show whether tags and manifests are locked (its lists have no "
                "changeableAttributes). They are planned; the registry refuses to delete a locked one, and the outcome "
                "is then 'locked'. To see locks, give the identity a role with "
                "Microsoft.ContainerRegistry/registries/metadata/read on the registry."
            ),
        ),
        (
            UnmeasuredSpace("shop/web", unmeasured=1234, manifests=5678),
            (
                "The size freed in shop/web is an upper bound: 1,234 of its 5,678 manifests could not be read "
                "or have no sizes, and they may share layers with deleted manifests."
            ),
        ),
        (
            UnmeasuredSpace("shop/web", error="403 Forbidden."),
            "The size freed in shop/web is an upper bound: its manifests could not be read. 403 Forbidden.",
        ),
    ],
)
def test_warning_says_what_it_means_for_the_plan(warning: PlanWarning, text: str) -> None:
    assert warning_text(warning) == text


def test_policy_is_described_in_the_names_of_its_inputs() -> None:
    assert describe_policy(RetentionPolicy(exclude_tags=("latest", "v*")))["exclude-tags"] == "latest, v*"
    assert describe_policy(RetentionPolicy()) == {
        "older-than": "30d",
        "scope": "running",
        "keep-last": "0",
        "repositories": "*",
        "include-tags": "*",
        "exclude-tags": "latest",
    }
    policy = RetentionPolicy(
        timedelta(days=1),
        Scope.ALL,
        3,
        ("a/*", "!a/b"),
        ("v*", "pr-*"),
        (),
        keep_last_by="^(dev)-",
        use_regex=True,
        delete_untagged=True,
        include_locked=True,
        shard=Shard(2, 3),
    )
    assert describe_policy(policy) == {
        "older-than": "1d",
        "scope": "all",
        "keep-last": "3",
        "repositories": "a/*, !a/b",
        "include-tags": "v*, pr-*",
        "exclude-tags": "(none)",
        "shard": "2/3",
        "keep-last-by": "^(dev)-",
        "keep-last-of": "images",
        "use-regex": "true",
        "delete-untagged": "true",
        "include-locked": "true",
    }


ONE_OF_EACH = RetentionPolicy(
    older_than=timedelta(days=9),
    scope=Scope.ALL,
    keep_last=3,
    repositories=("a/*",),
    include_tags=("v*",),
    exclude_tags=(),
    shard=Shard(2, 3),
    keep_last_by="^(dev)-",
    keep_last_of=KeepLastOf.TAGS,
    keep=(KeepEntry("shop/web:1", "shop/web", "1"),),
    rules=(PolicyRule("previews", tags=("pr-*",)),),
    pulled_within=timedelta(days=8),
    used_within=timedelta(days=7),
    probation=timedelta(days=6),
    use_regex=True,
    delete_untagged=True,
    include_locked=True,
)


@pytest.mark.parametrize("option", [field.name for field in fields(RetentionPolicy)])
def test_each_option_is_described(option: str) -> None:
    """Otherwise a run does what no report says. A new option needs a value above."""
    usual = replace(ONE_OF_EACH, **{option: getattr(RetentionPolicy(), option)})
    assert usual != ONE_OF_EACH
    assert describe_policy(usual) != describe_policy(ONE_OF_EACH)
    if option != "use_regex":
        assert policy_sentence(usual) != policy_sentence(ONE_OF_EACH)
