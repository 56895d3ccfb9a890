"""The keep rules together: their order, and which repositories and durations they mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from acr_cleanup.core.policy import Evidence, Rule, keep_reasons
from acr_cleanup.core.retention import Scope, describe_duration
from acr_cleanup.core.usage import UsageIndex
from tests.helpers.generated_inventories import (
    NOTHING_EXCLUDED,
    NOW,
    inventory,
    plan,
    reasons,
    rules_of,
    tag,
    usage,
    use,
)


def test_every_reason_is_reported_strongest_first() -> None:
    repository = inventory([tag("latest", "a", days=1, locked=True)])

    assert rules_of(plan(repository, usage(use("latest"))), "latest") == [
        Rule.IN_USE,
        Rule.LOCKED,
        Rule.YOUNG,
        Rule.EXCLUDED,
    ]


def test_empty_repository_and_empty_cluster_give_no_reason() -> None:
    assert reasons(inventory([])) == {}
    policy = replace(NOTHING_EXCLUDED, scope=Scope.ALL)
    assert keep_reasons(Evidence(inventory([tag("1", "a")]), UsageIndex.of([], NOW), policy, NOW)) == {}


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(), "0d"),
        (timedelta(days=30), "30d"),
        (timedelta(hours=12), "12h"),
        (timedelta(minutes=59), "59m"),
        (timedelta(seconds=59), "59s"),
        (timedelta(seconds=60), "1m"),
        (timedelta(minutes=60), "1h"),
        (timedelta(hours=24), "1d"),
        (timedelta(days=1, hours=1, minutes=1, seconds=1), "1d1h1m1s"),
        (timedelta(days=366, seconds=61.9), "366d1m1s"),
    ],
)
def test_duration_is_written_in_its_shortest_form(duration: timedelta, written: str) -> None:
    assert describe_duration(duration) == written
