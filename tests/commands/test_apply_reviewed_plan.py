"""Applying a reviewed plan: only what it lists is deleted, and only if that is still valid."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from acr_cleanup.emulator.kubernetes import objects as build
from tests.helpers.reviewed_plans import apply_reviewed_plan, assert_refused, make_reviewed_plan
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Stage

# -- an unchanged registry -----------------------------------------------------------------------


async def test_unchanged_registry_gets_the_whole_plan(stage: Stage) -> None:
    """All reports name the plan, and its file is not changed."""
    path = await make_reviewed_plan(stage)
    reviewed = path.read_bytes()

    ran = await apply_reviewed_plan(stage, path)

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    plan = json.loads(reviewed)
    assert ran.report["applied_plan"] == {"path": str(path), "created_at": plan["created_at"], "hash": plan["hash"]}
    assert plan["hash"][:19] in ran.out
    assert str(path) in ran.out.replace("\n", "")
    summary = (stage.tool.folder / "report" / "summary.md").read_text("utf-8")
    assert f"reviewed plan `{path}`" in summary
    assert plan["hash"][:19] in summary
    assert (stage.tool.folder / "report" / "plan.json").read_bytes() == reviewed


async def test_report_without_reviewed_plan_names_none(stage: Stage) -> None:
    ran = await stage.tool.apply()

    assert ran.report["applied_plan"] is None
    assert "reviewed plan" not in ran.out


async def test_empty_plan_deletes_nothing(stage: Stage) -> None:
    path = await make_reviewed_plan(stage, **{"older-than": "1000d"})

    ran = await apply_reviewed_plan(stage, path)

    assert ran.code == 0
    assert set(stage.repository.tags) == {"1.0", "1.1", "2.0"}
    assert ran.report["counts"]["planned"] == 0


async def test_plan_applied_twice_finds_its_tags_gone(stage: Stage) -> None:
    """
    An interrupted apply can be finished; tags that are gone are neither failures nor counted twice.
    """
    path = await make_reviewed_plan(stage)
    await apply_reviewed_plan(stage, path)
    second = await apply_reviewed_plan(stage, path)

    assert second.code == 0
    assert second.deleted == set()
    assert second.outcomes("1.0") == second.outcomes("1.1") == {"gone"}


# -- a registry that has changed -----------------------------------------------------------------


async def test_unreviewed_tags_are_kept(stage: Stage) -> None:
    """Also a tag in another repository, and a further tag of a planned manifest."""
    path = await make_reviewed_plan(stage)
    stage.registry.push(REPOSITORY, "1.2", age=OLD)
    stage.registry.push("shop/api", "1.0", age=OLD)
    stage.pod(stage.image("9.9", repository="shop/api"))
    stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), OLD)

    ran = await apply_reviewed_plan(stage, path)

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert set(stage.repository.tags) == {"1.2", "2.0", "alias"}
    assert stage.digest("alias") in stage.repository.manifests
    rules = {
        f"{repository['name']}:{decision['tag']}": [reason["rule"] for reason in decision["reasons"]]
        for repository in ran.report["repositories"]
        for decision in repository["decisions"]
    }
    assert rules["shop/web:1.2"] == rules["shop/web:alias"] == rules["shop/api:1.0"] == ["unreviewed"]
    assert ran.report["counts"]["planned"] == 2
    assert "not in the reviewed plan" in ran.out


CHANGES: dict[str, tuple[Callable[[Stage], object], dict[str, str], set[str]]] = {
    "pushed again": (lambda s: s.registry.push(REPOSITORY, "1.0"), {"1.0": "moved", "1.1": "deleted"}, {"1.1"}),
    "pushed again with the same content": (
        lambda s: s.registry.tag(REPOSITORY, "1.0", s.digest("1.0"), YOUNG),
        {"1.0": "moved", "1.1": "deleted"},
        {"1.1"},
    ),
    "deployed": (
        lambda s: s.cluster.add(build.cronjob("shop", "report", [s.image("1.0")])),
        {"1.0": "in use now", "1.1": "deleted"},
        {"1.1"},
    ),
    "deployed by digest": (
        lambda s: s.pod(s.image(digest=s.digest("1.0"))),
        {"1.0": "in use now", "1.1": "deleted"},
        {"1.1"},
    ),
    "deleted by another client": (
        lambda s: s.repository.untag("1.0"),
        {"1.0": "gone", "1.1": "deleted"},
        {"1.0", "1.1"},
    ),
    "locked": (lambda s: s.registry.lock(REPOSITORY, "1.0"), {"1.0": "locked", "1.1": "deleted"}, {"1.1"}),
    "given a new tag": (
        lambda s: s.registry.tag(REPOSITORY, "alias", s.digest("1.0"), YOUNG),
        {"1.0": "deleted", "1.1": "deleted"},
        {"1.0", "1.1"},
    ),
    "out of scope": (lambda s: s.cluster.objects.clear(), {"1.0": "kept", "1.1": "kept"}, set()),
    "deleted with its repository": (
        lambda s: s.registry.repositories.pop(REPOSITORY),
        {"1.0": "gone", "1.1": "gone"},
        {"1.0", "1.1", "2.0"},
    ),
}
"""
For each change since the review: how to make it, the outcomes, and the missing tags afterwards.
"""


@pytest.mark.extended
@pytest.mark.parametrize("change", CHANGES)
async def test_change_since_the_review_is_an_outcome(change: str, stage: Stage) -> None:
    """It is not an error."""
    make_change, outcomes, missing = CHANGES[change]
    path = await make_reviewed_plan(stage)
    manifests = dict(stage.repository.manifests)
    make_change(stage)

    ran = await apply_reviewed_plan(stage, path)

    assert ran.code == 0, ran.out
    assert {tag: ran.outcomes(tag) for tag in outcomes} == {tag: {kind} for tag, kind in outcomes.items()}
    state = stage.registry.repositories.get(REPOSITORY)
    left = set(state.tags) if state is not None else set()
    assert {"1.0", "1.1", "2.0"} - left == missing
    assert ran.report["counts"]["planned"] == 2
    if change == "given a new tag":
        assert state is not None
        assert len(set(manifests) - set(state.manifests)) == 1
        assert state.tags["alias"].digest in state.manifests


async def test_stricter_configuration_keeps_planned_tags(stage: Stage) -> None:
    path = await make_reviewed_plan(stage)

    ran = await apply_reviewed_plan(stage, path, **{"exclude-tags": "1.0"})

    assert ran.deleted == {"shop/web:1.1"}
    assert ran.outcomes("1.0") == {"kept"}


async def test_unreadable_repository_fails_without_stopping_others(stage: Stage) -> None:
    stage.registry.push("shop/api", "1.0", age=OLD)
    stage.pod(stage.image("9.9", repository="shop/api"))
    path = await make_reviewed_plan(stage)
    stage.fault(service="acr", path="shop/api/_tags", status=500)

    ran = await apply_reviewed_plan(stage, path)

    assert ran.code == 1
    outcomes = {str(outcome["repository"]): outcome["outcome"] for outcome in ran.report["outcomes"] if outcome["tag"]}
    assert outcomes == {"shop/api": "failed", "shop/web": "deleted"}
    assert "1.0" in stage.registry.repositories["shop/api"].tags


# -- shards --------------------------------------------------------------------------------------


async def test_whole_plan_is_applied_shard_by_shard(stage: Stage) -> None:
    """`shop/web` is in shard 2/2, so shard 1/2 does not even read it."""
    path = await make_reviewed_plan(stage)
    stage.world.requests.clear()

    ran = await apply_reviewed_plan(stage, path, shard="1/2")

    assert ran.code == 0
    assert ran.deleted == set()
    assert ran.report["repositories"] == ran.report["outcomes"] == []
    assert not stage.world.matching(service="acr", path="/shop/web")


async def test_plan_of_a_shard_needs_that_shard(stage: Stage) -> None:
    """Other shards refuse it. The plan, all reports and the journal name the shard."""
    path = await make_reviewed_plan(stage, shard="2/2")
    other_shard = await apply_reviewed_plan(stage, path, shard="1/2")
    assert_refused(other_shard, "plan is for shard 2/2", "this run is shard 1/2", "set shard to")
    assert_refused(await apply_reviewed_plan(stage, path, shard="2/3"), "plan is for shard 2/2")
    ran = await apply_reviewed_plan(stage, path, shard="2/2")

    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert json.loads(path.read_text())["policy"]["shard"] == ran.report["policy"]["shard"] == "2/2"
    folder = stage.tool.folder / "report"
    assert json.loads((folder / "journal.jsonl").read_text().splitlines()[0])["parameters"]["shard"] == "2/2"
    summary = (folder / "summary.md").read_text("utf-8")
    assert summary.splitlines()[0].endswith(" · shard 2/2")
    for text in (summary, ran.out):
        assert "from contoso.azurecr.io (shard 2/2), freeing" in " ".join(text.split())
