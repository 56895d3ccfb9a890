"""The world moves between the plan and its deletions: what changed is an outcome, and never an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acr_cleanup.emulator.world import Face
from acr_cleanup.stages import apply_repository
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Scenario, Stage, Table, always, build, play, staged

world = Table()
BOTH = ("1.0", "1.1")
LATE = {"path": "_tags$", "after": 1}
"""The second look: everything has been planned, nothing is deleted yet."""


def when(stage: Stage, change: Callable[[], object], **moment: object) -> None:
    async def hook(_: object) -> None:
        change()

    stage.fault(**{"service": "acr", "before": hook, "times": 1, **moment})


# -- before the second look -----------------------------------------------------------------------------------


@world("a tag that is pushed again is moved", "1.1", outcomes={"1.0": "moved", "1.1": "deleted"})
def _(stage: Stage) -> None:
    when(stage, lambda: stage.registry.push(REPOSITORY, "1.0"), **LATE)


@world("a tag that is pushed again with the same content is moved", "1.1", outcomes={"1.0": "moved"})
def _(stage: Stage) -> None:
    when(stage, lambda: stage.registry.tag(REPOSITORY, "1.0", stage.digest("1.0"), YOUNG), **LATE)


@world("a manifest that got another name loses only the planned one", "1.0", "1.1", counts={"deleted_manifests": 1})
def _(stage: Stage) -> None:
    when(stage, lambda: stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), YOUNG), **LATE)


@world("a tag that was locked is locked", "1.1", outcomes={"1.0": "locked"})
def _(stage: Stage) -> None:
    when(stage, lambda: stage.registry.lock(REPOSITORY, "1.0"), **LATE)


@world("a tag that somebody else removed is gone", "1.0", "1.1", outcomes={"1.0": "gone", "1.1": "deleted"},
       counts={"deleted": 1})  # fmt: skip
def _(stage: Stage) -> None:
    when(stage, lambda: stage.repository.untag("1.0"), **LATE)


@world("a repository that somebody else removed is gone", "1.0", "1.1", "2.0", outcomes={"1.0": "gone", "1.1": "gone"},
       counts={"deleted": 0, "failed": 0, "deleted_manifests": 0})  # fmt: skip
def _(stage: Stage) -> None:
    when(stage, lambda: stage.registry.repositories.pop(REPOSITORY), path="_(tags|manifests)$", after=2)


@world("an index that needs an old manifest keeps it; its name goes", "1.0", "1.1", counts={"deleted_manifests": 1})
def _(stage: Stage) -> None:
    when(stage, lambda: stage.registry.push_index(REPOSITORY, "new", children=[stage.digest("1.0")]), **LATE)


@world("a workload that is deployed after the plan is in use now", "1.1", outcomes={"1.0": "in use now"})
def _(stage: Stage) -> None:
    when(stage, lambda: stage.cluster.add(build.cronjob("a", "new", [stage.image("1.0")])), path="_tags$")


@world("a pod that is started after the plan by digest is in use now", "1.1", outcomes={"1.0": "in use now"})
def _(stage: Stage) -> None:
    digest = stage.digest("1.0")
    when(stage, lambda: stage.pod(stage.image("2.0"), image_ids=[digest]), path="_tags$")


@world("a cluster that is stopped after the plan refuses the run", code=3, says=("production", "stopped"))
def _(stage: Stage) -> None:
    when(stage, lambda: setattr(stage.cluster, "power_state", "Stopped"), path="_tags$")


@world("a repository that nothing runs any more is kept", outcomes={"1.0": "kept", "1.1": "kept"})
def _(stage: Stage) -> None:
    when(stage, stage.cluster.objects.clear, path="_tags$")


@world(
    "a second look that fails is a failure of what it was for", code=1, outcomes={"1.0": "failed"}, counts={"failed": 2}
)
def _(stage: Stage) -> None:
    stage.fault(service="acr", path="_tags$", after=1, status=500)


# -- at the first deletion ------------------------------------------------------------------------------------

FIRST = {"method": "DELETE"}


@world("a tag that moves while we delete its old manifest stays where it moved to", "1.1")
def _(stage: Stage) -> None:
    when(stage, lambda: stage.registry.push(REPOSITORY, "1.0"), **FIRST, path=stage.digest("1.0"))


@world("a lock that is set while we delete is locked", "1.1", outcomes={"1.0": "locked", "1.1": "deleted"})
def _(stage: Stage) -> None:
    when(stage, lambda: stage.registry.lock(REPOSITORY, stage.digest("1.0")), **FIRST, path=stage.digest("1.0"))


@world("a tag that vanishes while we untag it is gone", "alias", "1.0", "1.1", outcomes={"alias": "gone"})
def _(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.registry.push(REPOSITORY, "kept", age=YOUNG), OLD)
    when(stage, lambda: stage.repository.untag("alias"), **FIRST, path="_tags/alias")


@world("a repository that vanishes while we delete is gone", "1.0", "1.1", "2.0",
       outcomes={"1.0": "gone", "1.1": "gone"})  # fmt: skip
def _(stage: Stage) -> None:
    stage.options = {"concurrency": "1"}
    when(stage, lambda: stage.registry.repositories.pop(REPOSITORY), **FIRST)


async def test_a_look_does_not_stand_for_what_starts_long_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow registry: what moves while the first deletions go on is noticed before the later ones."""
    monkeypatch.setattr(apply_repository, "LOOK_STAYS_FRESH", 0.3)
    async with staged(tmp_path, monkeypatch) as stage:
        kept = stage.registry.push(REPOSITORY, "kept", age=YOUNG)
        for number in range(9):
            stage.registry.tag(REPOSITORY, f"name{number}", kept, OLD)
        when(stage, lambda: stage.registry.push(REPOSITORY, "name8"), **FIRST)
        when(stage, lambda: stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), YOUNG), **FIRST)
        stage.fault(service="acr", method="DELETE", latency=0.25)
        ran = await stage.tool.apply(concurrency="2")

        always(ran, stage)
        assert ran.code == 0
        assert ran.outcomes("name8") == {"moved"}
        assert set(stage.repository.tags) == {"2.0", "kept", "name8", "alias"}
        assert stage.digest("alias") in stage.repository.manifests
        assert ran.report["counts"]["deleted"] == 10


# -- limits ---------------------------------------------------------------------------------------------------


@world("exactly as many as the limit allows go", *BOTH)
def _(stage: Stage) -> None:
    stage.options = {"max-deletions": "2"}


@world("one more than the limit allows refuses all", code=3, says=("max-deletions", "raise"))
def _(stage: Stage) -> None:
    stage.options = {"max-deletions": "1"}


@world("exactly the allowed share of a repository goes", "1.0", "1.1")
def _(stage: Stage) -> None:
    stage.options = {"max-deletion-percent": "66.7"}


@world("more than the allowed share of a repository refuses all", code=3, says=("max-deletion-percent",))
def _(stage: Stage) -> None:
    stage.options = {"max-deletion-percent": "66"}


@pytest.mark.parametrize(("scenario", "face"), world.parameters())
async def test_races(scenario: Scenario, face: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)
