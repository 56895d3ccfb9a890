"""Runs that hand on a ledger: past uses keep for a time, and a candidate waits for its probation."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.helpers.graph_world import APP, OLD
from tests.helpers.ledger_runs import DAY, START, LedgerWorld, shop
from tests.helpers.tool_runs import RunResult

pytestmark = pytest.mark.extended

__all__ = ["shop"]

WEEK = {"probation": "7d"}
TWO_WEEKS = {"used_within": "14d"}


def reasons(ran: RunResult, tag: str) -> list[tuple[str, str]]:
    [decision] = [
        entry for repository in ran.report["repositories"] for entry in repository["decisions"] if entry["tag"] == tag
    ]
    return [(reason["rule"], reason["detail"]) for reason in decision["reasons"]]


# -- past uses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_nightly_use_keeps_its_image_for_two_weeks(shop: LedgerWorld, by: str) -> None:
    digest = shop.push("v1")
    end = shop.nightly(tag="v1") if by == "tag" else shop.nightly(digest=digest)
    assert shop.at(0, **TWO_WEEKS).deleted == set()
    end()

    ran = shop.at(13.9, **TWO_WEEKS)

    assert shop.tags == {"live", "v1"}
    assert reasons(ran, "v1") == [("used-recently", "used on 2026-11-02 by production/batch/Pod/nightly")]
    assert shop.at(14, **TWO_WEEKS).deleted == {"app:v1"}


def test_past_use_of_a_child_keeps_the_whole_index(shop: LedgerWorld) -> None:
    child = shop.push(None)
    index = shop.registry.push_index(APP, "v1", children=[child, shop.push(None)], age=OLD)
    end = shop.nightly(digest=child)
    shop.at(0, **TWO_WEEKS)
    end()

    shop.at(7, **TWO_WEEKS)

    assert {index, child} <= shop.manifests
    assert "v1" in shop.tags


def test_past_use_keeps_an_untagged_manifest(shop: LedgerWorld) -> None:
    used, unused = shop.push(None), shop.push(None)
    end = shop.nightly(digest=used)
    options = {**TWO_WEEKS, "delete_untagged": "true"}
    shop.plan_at(0, **options)
    end()

    shop.at(1, **options)

    assert used in shop.manifests
    assert unused not in shop.manifests
    shop.at(15, **options)
    assert used not in shop.manifests


def test_past_use_without_a_tag_keeps_the_repository(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.push(None)
    shop.cluster.add(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "chart", "namespace": "shop"},
            "data": {"image": f"{shop.registry.login_server}/{APP}:{{{{ .Values.tag }}}}"},
        }
    )
    shop.at(0, **TWO_WEEKS)
    shop.cluster.remove("configmaps", "shop", "chart")

    assert shop.at(13, delete_untagged="true", **TWO_WEEKS).deleted == set()
    assert shop.at(14, **TWO_WEEKS).deleted == {"app:v1"}


def test_use_seen_only_by_the_second_look_is_remembered(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.push("v2")
    shop.plan_at(0, **TWO_WEEKS)
    shop.when(lambda: shop.nightly(tag="v1"), path=f"/acr/v1/{APP}/_tags")

    ran = shop.at(1, **TWO_WEEKS)

    assert ran.outcomes("v1") == {"in use now"}
    shop.cluster.remove("pods", "batch", "nightly")
    assert shop.at(2, **TWO_WEEKS).deleted == set()


def test_short_ledger_is_told_and_blocks_nothing(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.plan_at(0, **TWO_WEEKS)

    ran = shop.at(1, **TWO_WEEKS)

    assert ran.deleted == {"app:v1"}
    assert "reaches back to 2 Nov, less than used-within (14d)" in ran.out


# -- probation -------------------------------------------------------------------------------------


def test_candidate_is_deleted_after_its_probation(shop: LedgerWorld) -> None:
    shop.push("v1")

    first = shop.at(0, **WEEK)

    assert shop.tags == {"live", "v1"}
    assert reasons(first, "v1") == [("probation", "on probation since 2 Nov, deletable from 9 Nov")]
    assert "1 tag on probation, deletable from 9 Nov" in first.out
    assert shop.at(6.99, **WEEK).deleted == set()
    assert shop.at(7, **WEEK).deleted == {"app:v1"}


def test_dry_runs_count_for_probation(shop: LedgerWorld) -> None:
    shop.push("v1")
    assert shop.plan_at(0, **WEEK).planned == set()

    assert shop.plan_at(7, **WEEK).planned == {"app:v1"}
    assert shop.at(8, **WEEK).deleted == {"app:v1"}


@pytest.mark.parametrize("change", ["use", "move", "push"])
def test_change_starts_probation_anew(shop: LedgerWorld, change: str) -> None:
    digest = shop.push("v1")
    shop.push("other", age=timedelta(days=200))
    shop.at(0, **WEEK)
    if change == "use":
        end = shop.nightly(tag="v1")
        shop.at(3, **WEEK)
        end()
    else:
        target = shop.registry.repositories[APP].tags["other"].digest if change == "move" else digest
        shop.time += 3 * DAY
        shop.registry.tag(APP, "v1", target, timedelta(days=90))

    assert "app:v1" not in shop.at(7, **WEEK).deleted
    assert shop.at(14, **WEEK).deleted == {"app:v1"}


def test_everything_waits_while_the_ledger_is_short(shop: LedgerWorld) -> None:
    """With `used_within`, a use before the first run may have been missed."""
    shop.push("v1")

    ran = shop.at(0, **WEEK, **TWO_WEEKS)

    assert "deletable from 16 Nov" in ran.out
    assert shop.at(7, **WEEK, **TWO_WEEKS).deleted == set()
    assert shop.at(14, **WEEK, **TWO_WEEKS).deleted == {"app:v1"}


def test_untagged_manifest_waits(shop: LedgerWorld) -> None:
    digest = shop.push(None)
    options = {**WEEK, "delete_untagged": "true"}
    ran = shop.at(0, **options)

    assert "on probation" in ran.out
    assert digest in shop.manifests
    shop.at(7, **options)
    assert digest not in shop.manifests


def test_signature_and_image_wait_for_one_another(shop: LedgerWorld) -> None:
    digest = shop.push("v1")
    shop.at(0, **WEEK)
    signature = f"{digest.replace(':', '-')}.sig"
    shop.time += DAY
    shop.registry.tag(APP, signature, shop.push(None, age=timedelta(days=60)), timedelta(days=60))

    assert shop.at(3, **WEEK).deleted == set()
    ran = shop.at(7, **WEEK)

    assert ran.deleted == set()
    assert [rule for rule, _ in reasons(ran, "v1")] == ["probation"]
    assert shop.at(10, **WEEK).deleted == {"app:v1", f"app:{signature}"}


def test_unread_cluster_begins_no_probation(shop: LedgerWorld) -> None:
    shop.push("v1")
    fault = shop.world.faults
    shop.when(lambda: None, service="kubernetes/aks-prod", path="/api/v1/pods", status=403, times=10**6)

    assert shop.at(0, **WEEK).code == 3
    fault.clear()
    assert shop.at(7, **WEEK).deleted == set()
    assert shop.at(14, **WEEK).deleted == {"app:v1"}


def test_repository_out_of_scope_starts_anew(shop: LedgerWorld) -> None:
    shop.push("v1", repository="job")
    shop.push("v2", repository="job")
    end = shop.nightly(tag="v2", repository="job")
    shop.at(0, **WEEK)
    end()
    shop.at(3, **WEEK)
    shop.nightly(tag="v2", repository="job")

    assert shop.at(7, **WEEK).deleted == set()
    assert shop.at(14, **WEEK).deleted == {"job:v1"}


def test_kept_bodies_are_read_once(shop: LedgerWorld) -> None:
    """Content never changes: neither an index nor a referrer is read again by a later run."""
    child = shop.push(None)
    shop.registry.push_index(APP, "v1", children=[child], age=OLD)
    subject = shop.push("kept", age=DAY)
    shop.registry.push_referrer(APP, subject, age=OLD)
    shop.push("old")
    shop.plan_at(0)
    read = shop.requests("GET", "/v2/.*/manifests/sha256")
    assert read > 0

    ran = shop.plan_at(7)

    assert shop.requests("GET", "/v2/.*/manifests/sha256") == read
    assert {"app:v1", "app:old"} == ran.planned


# -- six weeks -------------------------------------------------------------------------------------


def test_six_weeks_of_nights(shop: LedgerWorld) -> None:
    """
    A run each noon. A nightly job runs each night until the fourth week, and is seen on Mondays only.

    Its images are kept two weeks longer. Each release is deleted a week after it could be.
    """
    options = {**WEEK, **TWO_WEEKS, "older_than": "10d"}
    shop.push("job", age=timedelta(days=300))
    gone: dict[str, int] = {}
    for day in range(43):
        shop.time = START + day * DAY
        if day % 7 == 0:
            shop.push(f"r{day}", age=timedelta())
        end = shop.nightly(tag="job") if day % 7 == 0 and day < 28 else None
        ran = shop.at(day, **options)
        if end is not None:
            end()
        gone |= dict.fromkeys(ran.deleted, day)
        assert "live" in shop.tags
        assert ran.code == 0, ran.out

    assert gone["app:job"] == 42
    # Old enough on day 10, on probation for a week.
    assert gone["app:r0"] == 17
    assert gone["app:r21"] == 38
    assert "r28" in shop.tags
    assert "app:job" not in shop.text()
