"""Changes by others between the plan and the deletions: each is an outcome, not an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acr_cleanup.emulator.world import Face
from acr_cleanup.stages import apply_repository
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time
from tests.helpers.stage import (
    BOTH,
    OLD,
    REPOSITORY,
    YOUNG,
    Scenario,
    ScenarioTable,
    Stage,
    assert_invariants,
    build,
    play,
    staged_in_memory,
)

scenarios = ScenarioTable()
SECOND_LOOK = {"path": "_tags$", "after": 1}
"""The request that begins the second look: everything is planned, nothing is deleted yet."""


def when(stage: Stage, change: Callable[[], object], **request: object) -> None:
    """Make a change right before the first matching request is answered."""

    async def hook(_: object) -> None:
        change()

    stage.fault(**{"service": "acr", "before": hook, "times": 1, **request})


# -- before the second look -----------------------------------------------------------------------


@scenarios.deletes("1.1", outcomes={"1.0": "moved", "1.1": "deleted"})
def repushed_tag_is_moved(stage: Stage) -> None:
    when(stage, lambda: stage.registry.push(REPOSITORY, "1.0"), **SECOND_LOOK)


@scenarios.deletes("1.1", outcomes={"1.0": "moved"})
def tag_repushed_with_same_content_is_moved(stage: Stage) -> None:
    when(stage, lambda: stage.registry.tag(REPOSITORY, "1.0", stage.digest("1.0"), YOUNG), **SECOND_LOOK)


@scenarios.deletes("1.0", "1.1", counts={"deleted_manifests": 1})
def manifest_with_new_tag_loses_only_planned_tag(stage: Stage) -> None:
    when(stage, lambda: stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), YOUNG), **SECOND_LOOK)


@scenarios.deletes("1.1", outcomes={"1.0": "locked"})
def newly_locked_tag_is_locked(stage: Stage) -> None:
    when(stage, lambda: stage.registry.lock(REPOSITORY, "1.0"), **SECOND_LOOK)


@scenarios.deletes("1.0", "1.1", outcomes={"1.0": "gone", "1.1": "deleted"}, counts={"deleted": 1})
def tag_deleted_by_others_is_gone(stage: Stage) -> None:
    when(stage, lambda: stage.repository.untag("1.0"), **SECOND_LOOK)


@scenarios.deletes(
    "1.0",
    "1.1",
    "2.0",
    outcomes={"1.0": "gone", "1.1": "gone"},
    counts={"deleted": 0, "failed": 0, "deleted_manifests": 0},
)
def repository_deleted_by_others_is_gone(stage: Stage) -> None:
    when(stage, lambda: stage.registry.repositories.pop(REPOSITORY), path="_(tags|manifests)$", after=2)


@scenarios.deletes("1.0", "1.1", counts={"deleted_manifests": 1})
def manifest_in_new_index_loses_only_its_tag(stage: Stage) -> None:
    when(stage, lambda: stage.registry.push_index(REPOSITORY, "new", children=[stage.digest("1.0")]), **SECOND_LOOK)


@scenarios.deletes("1.1", outcomes={"1.0": "in use now"})
def tag_of_new_workload_is_in_use_now(stage: Stage) -> None:
    when(stage, lambda: stage.cluster.add(build.cronjob("a", "new", [stage.image("1.0")])), path="_tags$")


@scenarios.deletes("1.1", outcomes={"1.0": "in use now"})
def digest_of_new_pod_is_in_use_now(stage: Stage) -> None:
    digest = stage.digest("1.0")
    when(stage, lambda: stage.pod(stage.image("2.0"), image_ids=[digest]), path="_tags$")


@scenarios.refuses("production", "stopped")
def cluster_stopped_after_the_plan_refuses_the_run(stage: Stage) -> None:
    when(stage, lambda: setattr(stage.cluster, "power_state", "Stopped"), path="_tags$")


@scenarios.deletes(outcomes={"1.0": "kept", "1.1": "kept"})
def repository_that_stopped_running_is_kept(stage: Stage) -> None:
    when(stage, stage.cluster.objects.clear, path="_tags$")


@scenarios.deletes(code=1, outcomes={"1.0": "failed"}, counts={"failed": 2})
def failed_second_look_fails_its_deletions(stage: Stage) -> None:
    stage.fault(service="acr", path="_tags$", after=1, status=500)


# -- at the first deletion ------------------------------------------------------------------------

DELETION = {"method": "DELETE"}


@scenarios.deletes("1.1")
def tag_moved_during_deletion_keeps_its_new_manifest(stage: Stage) -> None:
    when(stage, lambda: stage.registry.push(REPOSITORY, "1.0"), **DELETION, path=stage.digest("1.0"))


@scenarios.deletes("1.1", outcomes={"1.0": "locked", "1.1": "deleted"})
def manifest_locked_during_deletion_is_locked(stage: Stage) -> None:
    digest = stage.digest("1.0")
    when(stage, lambda: stage.registry.lock(REPOSITORY, digest), **DELETION, path=digest)


@scenarios.deletes("alias", "1.0", "1.1", outcomes={"alias": "gone"})
def tag_removed_during_untag_is_gone(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.registry.push(REPOSITORY, "kept", age=YOUNG), OLD)
    when(stage, lambda: stage.repository.untag("alias"), **DELETION, path="_tags/alias")


@scenarios.deletes("1.0", "1.1", "2.0", outcomes={"1.0": "gone", "1.1": "gone"})
def repository_removed_during_deletion_is_gone(stage: Stage) -> None:
    stage.options = {"concurrency": "1"}
    when(stage, lambda: stage.registry.repositories.pop(REPOSITORY), **DELETION)


def test_slow_deletions_repeat_the_second_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes that are made during the first deletions are noticed before the later ones."""
    connect_in_memory(monkeypatch)

    async def run() -> None:
        async with staged_in_memory(tmp_path) as stage:
            kept = stage.registry.push(REPOSITORY, "kept", age=YOUNG)
            for number in range(9):
                stage.registry.tag(REPOSITORY, f"name{number}", kept, OLD)
            when(stage, lambda: stage.registry.push(REPOSITORY, "name8"), **DELETION)
            when(stage, lambda: stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), YOUNG), **DELETION)
            stage.fault(service="acr", method="DELETE", latency=apply_repository.LOOK_STAYS_FRESH * 0.8)
            ran = await stage.tool.apply(concurrency="2")

            assert_invariants(ran, stage)
            assert ran.code == 0
            assert ran.outcomes("name8") == {"moved"}
            assert set(stage.repository.tags) == {"2.0", "kept", "name8", "alias"}
            assert stage.digest("alias") in stage.repository.manifests
            assert ran.report["counts"]["deleted"] == 10

    run_in_virtual_time(run)


# -- limits ---------------------------------------------------------------------------------------


@scenarios.deletes(*BOTH)
def deletions_equal_to_the_limit_are_done(stage: Stage) -> None:
    stage.options = {"max-deletions": "2"}


@scenarios.refuses("max-deletions", "raise")
def more_deletions_than_the_limit_are_refused(stage: Stage) -> None:
    stage.options = {"max-deletions": "1"}


@scenarios.deletes("1.0", "1.1")
def share_equal_to_the_limit_is_deleted(stage: Stage) -> None:
    stage.options = {"max-deletion-percent": "66.7"}


@scenarios.refuses("max-deletion-percent")
def larger_share_than_the_limit_is_refused(stage: Stage) -> None:
    stage.options = {"max-deletion-percent": "66"}


@pytest.mark.extended
@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_races(scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)
