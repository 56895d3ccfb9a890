"""Applying a reviewed plan that cannot be relied on is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.reviewed_plans import (
    PlanEdit,
    apply_reviewed_plan,
    assert_refused,
    change_first_digest,
    edit_plan,
    make_reviewed_plan,
)
from tests.helpers.stage import OLD, REPOSITORY, Stage

# -- limits and blockers at the time of the apply ------------------------------------------------


async def test_limits_apply_to_a_reviewed_plan(stage: Stage) -> None:
    path = await make_reviewed_plan(stage)

    assert_refused(await apply_reviewed_plan(stage, path, **{"max-deletions": "1"}), "max-deletions")
    assert_refused(await apply_reviewed_plan(stage, path, **{"max-deletion-percent": "50"}), "max-deletion-percent")


async def test_refused_reviewed_plan_says_which_numbers_are_its_own(stage: Stage) -> None:
    """A tag that has gone since the review counts for no limit. The refused command is not repeated."""
    stage.registry.push(REPOSITORY, "1.2", age=OLD)
    path = await make_reviewed_plan(stage)
    stage.repository.untag("1.0")

    refused = await apply_reviewed_plan(stage, path, **{"max-deletions": "1"})
    assert_refused(refused, "The plan deletes 2 tags, more than max-deletions (1)")
    summary = (stage.tool.folder / "report" / "summary.md").read_text("utf-8")
    for shown in (refused.out, summary):
        text = " ".join(shown.split())
        assert "The reviewed plan selects 3 tags." in text
        assert "3 planned tags are of the reviewed plan; kept tags are of now. 1 of them no longer exists" in text
        assert "would be deleted" not in text
    assert "Next Plan again" in " ".join(refused.out.split())
    assert (await apply_reviewed_plan(stage, path, **{"max-deletions": "2"})).deleted == {
        "shop/web:1.1",
        "shop/web:1.2",
    }


async def test_unreadable_cluster_blocks_a_reviewed_plan(stage: Stage) -> None:
    path = await make_reviewed_plan(stage)
    stage.cluster.power_state = "Stopped"

    ran = await apply_reviewed_plan(stage, path)

    assert ran.code == 3
    assert ran.blockers


# -- edited plans --------------------------------------------------------------------------------


async def test_edited_plan_is_refused(stage: Stage) -> None:
    path = await make_reviewed_plan(stage)
    edit_plan(path, change_first_digest, rehash=False)

    ran = await apply_reviewed_plan(stage, path)

    assert_refused(ran, "modified after it was written", "Plan again")
    assert not stage.world.matching(service="acr", method="DELETE")


async def test_forged_plan_deletes_only_what_a_fresh_plan_deletes(stage: Stage) -> None:
    """An attacker who can write the file can also correct its hash."""
    path = await make_reviewed_plan(stage)
    report = json.loads((stage.tool.folder / "report" / "report.json").read_text("utf-8"))
    (repository,) = report["repositories"]
    (running_tag,) = (
        {"name": "2.0", "updated_at": decision["updated_at"]}
        for decision in repository["decisions"]
        if decision["tag"] == "2.0"
    )

    def forge(plan: dict[str, Any]) -> None:
        change_first_digest(plan)
        plan["steps"].append({**plan["steps"][1], "digest": stage.digest("2.0"), "tags": [running_tag]})

    edit_plan(path, forge)
    ran = await apply_reviewed_plan(stage, path)

    assert ran.code == 0
    assert len(ran.deleted) == 1
    assert ran.outcomes("2.0") == {"in use now"}
    assert "2.0" in stage.repository.tags
    assert {"moved", "deleted"} == ran.outcomes("1.0") | ran.outcomes("1.1")


# -- unreliable plans ----------------------------------------------------------------------------


def made_before(**age: float) -> PlanEdit:
    """Date the plan back by this time, or forward if it is negative."""

    def edit(plan: dict[str, Any]) -> None:
        plan["created_at"] = (datetime.now(UTC) - timedelta(**age)).isoformat()

    return edit


BLOCKER = {"where": "production", "call": "list pods", "seen": "403", "remedy": "Give the right."}

UNRELIABLE: dict[str, tuple[PlanEdit, tuple[str, ...]]] = {
    "for another registry": (lambda plan: plan.update(registry="fabrikam.azurecr.io"), ("fabrikam.azurecr.io",)),
    "too old": (made_before(days=8), ("8d ago", "plan-max-age allows 7d", "Plan again")),
    "from the future": (made_before(days=-1, minutes=-1), ("1d in the future", "clocks", "lan again")),
    "with blockers": (lambda plan: plan["blockers"].append(BLOCKER), ("production", "lan again")),
    "based on a removed cluster": (
        lambda plan: plan["clusters"].append({**plan["clusters"][0], "name": "old", "resource_id": None}),
        ("cluster old", "no longer configured"),
    ),
    "based on another cluster with the same name": (
        lambda plan: plan["clusters"][0].update(resource_id=plan["clusters"][0]["resource_id"] + "-blue"),
        ("-blue", "no longer configured"),
    ),
}


@pytest.mark.parametrize("case", UNRELIABLE)
async def test_unreliable_plan_is_refused_before_any_request(case: str, stage: Stage) -> None:
    edit, words = UNRELIABLE[case]
    path = await make_reviewed_plan(stage)
    edit_plan(path, edit)
    stage.world.requests.clear()

    ran = await apply_reviewed_plan(stage, path)

    assert_refused(ran, *words)
    assert stage.world.requests == []
    assert "Plan again" in ran.out


@pytest.mark.parametrize(
    ("age", "options"), [({"minutes": -4}, {}), ({"days": 6.9}, {}), ({"days": 20}, {"plan-max-age": "21d"})]
)
async def test_plan_within_its_allowed_age_is_accepted(
    age: dict[str, float], options: dict[str, str], stage: Stage
) -> None:
    """The clock of the planning machine may be some minutes ahead."""
    path = await make_reviewed_plan(stage)
    edit_plan(path, made_before(**age))

    ran = await apply_reviewed_plan(stage, path, **options, **{"exclude-tags": "1.*"})

    assert ran.code == 0, ran.out


async def test_renamed_and_new_clusters_are_accepted(stage: Stage) -> None:
    """A cluster is recognised by its resource id."""
    path = await make_reviewed_plan(stage)
    stage.another("second")
    stage.world.clusters["renamed"] = stage.world.clusters.pop("production")

    ran = await apply_reviewed_plan(stage, path)

    assert ran.code == 0
    assert len(ran.deleted) == 2
