"""Rights on the registry that are missing, restricted, or that hide locks."""

from __future__ import annotations

from pathlib import Path

import pytest

from acr_cleanup.emulator.roles import BUILT_IN, OBJECTS, REGISTRIES, RUN_COMMAND, RoleAssignment
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import BOTH, OLD, Scenario, ScenarioTable, Stage, build, play, staged

CLUSTER_ROLES = ("Azure Kubernetes Service Cluster User Role", RUN_COMMAND, OBJECTS)
LEAST_ROLES = ("AcrPull", "AcrDelete", *CLUSTER_ROLES)
LOCKS_UNKNOWN = "The registry does not show whether tags and manifests are locked"
ONLY_WEB = (
    f"(!(ActionMatches{{'{REGISTRIES}/repositories/content/read'}}) AND "
    f"!(ActionMatches{{'{REGISTRIES}/repositories/metadata/read'}}) AND "
    f"!(ActionMatches{{'{REGISTRIES}/repositories/content/delete'}}) AND "
    f"!(ActionMatches{{'{REGISTRIES}/repositories/metadata/delete'}})) OR "
    "(@Request[Microsoft.ContainerRegistry/registries/repositories:name] StringEqualsIgnoreCase 'shop/web')"
)
RESTRICTED = (
    RoleAssignment(BUILT_IN["Container Registry Repository Contributor"], condition=ONLY_WEB),
    "Container Registry Repository Catalog Lister",
    *CLUSTER_ROLES,
)

scenarios = ScenarioTable()


def run_api(stage: Stage) -> None:
    """Run `shop/api:2.0`; `shop/api:1.0` is old and unused."""
    for tag in ("1.0", "2.0"):
        stage.registry.push("shop/api", tag, age=OLD)
    stage.cluster.run(build.deployment("shop", "api", [stage.image("2.0", repository="shop/api")]))


# -- locks that are not shown ----------------------------------------------------------------------


@scenarios.deletes("1.1", roles=LEAST_ROLES, says=(LOCKS_UNKNOWN,), outcomes={"1.0": "locked", "1.1": "deleted"})
def hidden_lock_of_a_tag_is_found_by_the_deletion(stage: Stage) -> None:
    stage.registry.hides_locks = True
    stage.registry.lock("shop/web", "1.0")


@scenarios.deletes("1.1", roles=LEAST_ROLES, says=(LOCKS_UNKNOWN,), outcomes={"1.0": "locked"})
def hidden_lock_of_a_manifest_is_found_by_the_deletion(stage: Stage) -> None:
    stage.registry.hides_locks = True
    stage.registry.lock("shop/web", stage.digest("1.0"), delete=False)


@scenarios.deletes("1.1", roles=LEAST_ROLES, says=(LOCKS_UNKNOWN,), outcomes={"1.0": "locked"})
def hidden_lock_is_not_removed_by_include_locked(stage: Stage) -> None:
    """A lock that is not shown could not be restored."""
    stage.registry.hides_locks = True
    stage.registry.lock("shop/web", "1.0")
    stage.options["include-locked"] = "true"


@scenarios.deletes("1.1", roles=(*LEAST_ROLES, "Reader"), silent=(LOCKS_UNKNOWN,))
def visible_lock_is_kept(stage: Stage) -> None:
    """Reader includes the right to view locks."""
    stage.registry.hides_locks = True
    stage.registry.lock("shop/web", "1.0")


# -- conditions of role assignments ---------------------------------------------------------------


@scenarios.deletes(*BOTH, roles=RESTRICTED, code=1, says=("shop/api", "the condition must include the repository"))
def repository_outside_the_condition_is_kept(stage: Stage) -> None:
    stage.registry.abac = True
    run_api(stage)


@scenarios.deletes(*BOTH, roles=RESTRICTED, code=1, says=("shop/api", "the condition must include the repository"))
def repository_outside_the_condition_is_kept_with_scope_all(stage: Stage) -> None:
    """The catalog lists it all the same."""
    stage.registry.abac = True
    run_api(stage)
    stage.options["scope"] = "all"


@scenarios.deletes(*BOTH, roles=RESTRICTED)
def condition_that_includes_every_repository_changes_nothing(stage: Stage) -> None:
    stage.registry.abac = True


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_rights(scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)


async def test_unknown_locks_are_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once per repository, and only if something would be deleted."""
    async with staged(tmp_path, monkeypatch) as stage:
        run_api(stage)
        stage.registry.hides_locks = True
        stage.world.access.assign_only(*LEAST_ROLES)
        planned = await stage.tool.plan()
        assert planned.planned == {"shop/web:1.0", "shop/web:1.1", "shop/api:1.0"}
        assert planned.out.count(LOCKS_UNKNOWN) == 1
        assert [warning for warning in planned.report["warnings"] if LOCKS_UNKNOWN in warning] != []
        assert f"{REGISTRIES}/metadata/read" in planned.out
        summary = (tmp_path / "report" / "summary.md").read_text(encoding="utf-8")
        assert summary.count(LOCKS_UNKNOWN) == 1
        nothing = await stage.tool.plan(**{"older-than": "1000d"})
        assert LOCKS_UNKNOWN not in nothing.out
