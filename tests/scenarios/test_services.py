"""Other services of Azure end to end: what they use is kept, and what cannot be read refuses the run."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.commands.collect import collect
from acr_cleanup.emulator.arm_shapes import describe_registry
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.services import SUBSCRIPTION, resource
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.stage import BOTH, OLD, ScenarioTable, Stage, play, shorten_pauses, staged

pytestmark = pytest.mark.extended

APPS = "Microsoft.App/containerApps"
scenarios = ScenarioTable()


def cache_rule(stage: Stage) -> None:
    """`shop/web` holds the images of an upstream repository."""
    rule = {"sourceRepository": "docker.io/library/web", "targetRepository": "shop/web"}
    stage.world.services.add(f"{describe_registry(stage.registry)['id']}/cacheRules/web", rule)


def app(stage: Stage, tag: str) -> dict[str, Any]:
    return stage.world.services.container_app("shop-api", stage.image(tag))


@scenarios.deletes("1.1", both_faces=True)
def image_of_container_app_is_kept(stage: Stage) -> None:
    app(stage, "1.0")


@scenarios.deletes("1.1")
def image_of_staging_slot_is_kept(stage: Stage) -> None:
    state = stage.world.services
    state.slot(state.site("shop", "DOCKER|nginx"), "staging", f"DOCKER|{stage.image('1.0')}")


@scenarios.deletes("1.1", says=("The artifact cache fills shop/web from docker.io/library/web.",))
def upstream_name_of_cached_image_is_kept(stage: Stage) -> None:
    cache_rule(stage)
    stage.world.services.container_app("shop-api", "docker.io/library/web:1.0")


@scenarios.deletes(*BOTH)
def services_that_are_off_keep_nothing(stage: Stage) -> None:
    app(stage, "1.0")
    stage.options = {"services": "off"}


@scenarios.deletes(*BOTH)
def other_group_keeps_nothing(stage: Stage) -> None:
    app(stage, "1.0")
    stage.options = {"services": "batch, app-service"}


@scenarios.deletes()
def repository_of_service_alone_is_not_running(stage: Stage) -> None:
    """It is referenced: only `scope: referenced` makes its tags deletable."""
    for tag in ("1", "2"):
        stage.registry.push("only/app", tag, age=stage.world.clock() - stage.world.clock())
    stage.world.services.container_app("only", stage.image("1", repository="only/app"))
    stage.options = {"repositories": "only/*"}


@scenarios.refuses(f"azure: {APPS} in", "the role Reader", f'waive: "azure: {APPS}"')
def forbidden_type_refuses(stage: Stage) -> None:
    app(stage, "1.0")
    stage.fault(
        service="arm", path=f"{APPS}$", status=403, body={"error": {"code": "AuthorizationFailed", "message": "no"}}
    )


@scenarios.deletes(*BOTH, says=("is waived",))
def waived_type_refuses_nothing(stage: Stage) -> None:
    stage.fault(service="arm", path=f"{APPS}$", status=403)
    stage.settings(waive=[{"cluster": "azure", "kind": APPS}])


@scenarios.deletes("1.1", says=("may have services that use the registry and are not seen",))
def subscription_not_seen_whole_is_a_warning(stage: Stage) -> None:
    app(stage, "1.0")
    stage.world.access.withhold("Microsoft.Web/sites/read", f"/subscriptions/{SUBSCRIPTION}")


@scenarios.refuses("may have services that use the registry and are not seen", "the role Reader")
def subscription_not_seen_whole_refuses_if_required(stage: Stage) -> None:
    stage.world.access.withhold("Microsoft.Web/sites/read", f"/subscriptions/{SUBSCRIPTION}")
    stage.options = {"require-all-services": "true"}


@scenarios.deletes(*BOTH, says=("Another cleaner is active: the task nightly",))
def purging_task_is_reported(stage: Stage) -> None:
    registry_id = describe_registry(stage.registry)["id"]
    stage.world.services.task(
        registry_id, "nightly", script="steps:\n- cmd: acr purge --ago 1d\n", schedule="0 1 * * *"
    )


@scenarios.deletes(*BOTH, says=("May pull, and is not read", "p-1", "AcrPull"))
def other_pullers_are_reported(stage: Stage) -> None:
    stage.world.services.assign("p-1", "AcrPull", "Microsoft.ContainerRegistry/registries/pull/read")


@scenarios.refuses("created this registry for its registry")
def registry_of_machine_learning_refuses(stage: Stage) -> None:
    account = {"acrAccountName": stage.registry.login_server.partition(".")[0]}
    details = {"regionDetails": [{"acrDetails": [{"systemCreatedAcrAccount": account}]}]}
    state = stage.world.services
    path = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/ml/providers"
    state.add(f"{path}/Microsoft.MachineLearningServices/registries/r", details)


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_services(scenario: Any, face: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)


async def test_service_deployed_after_the_plan_keeps_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look reads services again."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.world.services.container_group("first", "nginx")

        async def deploy(_: object) -> None:
            app(stage, "1.0")

        # Between the first reading of container groups and the second look.
        stage.world.faults.append(Fault(service="acr", path="/v2/|/acr/v1/", times=1, after=2, after_handler=deploy))
        ran = await stage.tool.apply(stage.config)
        assert ran.outcomes("1.0") == {"in use now"}
        assert ran.outcomes("1.1") == {"deleted"}


async def test_cache_rules_are_requested_once_per_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are mirrors for clusters and for services, and are reported."""
    async with staged(tmp_path, monkeypatch) as stage:
        cache_rule(stage)
        await stage.tool.plan(stage.config)
        assert stage.world.count(service="arm", path="/registries/contoso/cacheRules$") == 1
        await stage.tool.apply(stage.config)
        assert stage.world.count(service="arm", path="/registries/contoso/cacheRules$") == 1 + 2


@pytest.mark.parametrize("services", ["auto", "off"])
async def test_unreadable_cache_rules_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, services: str
) -> None:
    """Once for the run, with the evidence and what follows. Only the services need them."""
    async with staged(tmp_path, monkeypatch) as stage:
        error = {"error": {"code": "AuthorizationFailed", "message": "no right to read cacheRules"}}
        stage.world.faults.append(Fault(service="arm", path="/cacheRules$", status=403, body=error))

        ran = await stage.tool.plan(stage.config, services=services)

        (warning,) = (warning for warning in ran.report["warnings"] if "cache rules" in warning)
        assert ran.code == (0 if services == "off" else 3)
        assert "AuthorizationFailed" in warning
        assert "is protected only if `mirrors` names that host" in warning
        assert "The cache rules of the registry were not read" in ran.out


async def test_type_that_becomes_unreadable_stops_the_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        stage.fault(service="arm", path=f"{APPS}$", after=1, status=500)
        ran = await stage.tool.apply(stage.config)
        assert ran.code == 3
        assert stage.world.count(service="acr", method="DELETE") == 0


async def test_report_names_service_as_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        app(stage, "1.0")
        ran = await stage.tool.plan(stage.config)
        (cluster,) = [each for each in ran.report["clusters"] if each["access"] == "azure"]
        assert (cluster["name"], cluster["objects"]) == ("azure:00000000-0000-0000-0000-000000000000", 1)
        assert "azure:00000000-0000-0000-0000-000000000000/ContainerApp/shop-api" in ran.out


async def test_plan_with_services_can_be_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        app(stage, "1.0")
        await stage.tool.plan(stage.config)
        plan = tmp_path / "plan.json"
        plan.write_bytes((tmp_path / "report" / "plan.json").read_bytes())
        assert (await stage.tool.apply(stage.config, **{"apply-plan": str(plan)})).code == 0
        off = await stage.tool.apply(stage.config, **{"apply-plan": str(plan), "services": "off"})
        assert off.code == 3
        assert "which is no longer configured" in off.out


@pytest.mark.parametrize("group", ["container-apps", "app-service", "container-instances", "auto"])
async def test_further_service_only_keeps_more(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        app(stage, "1.0")
        stage.world.services.site("shop", f"DOCKER|{stage.image('1.1')}")
        off = await stage.tool.plan(stage.config, services="off")
        on = await stage.tool.plan(stage.config, services=group)
        assert set(on.report["planned_tags"]) <= set(off.report["planned_tags"])


async def test_snapshot_of_services_keeps_their_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`collect` adds the scans of the services that the configuration lists."""
    async with staged(tmp_path, monkeypatch) as stage:
        app(stage, "1.0")
        registry_id = describe_registry(stage.registry)["id"]
        workspace = resource("Microsoft.MachineLearningServices/workspaces/ml")
        stage.world.services.add(workspace, {"containerRegistry": registry_id})
        stage.registry.push("azureml/azureml_0a1b", "latest-1", age=OLD)
        config = tmp_path / "collect.json"
        services = ["container-apps", "machine-learning"]
        config.write_text(json.dumps(stage.tool.emulator.config() | {"services": services}), encoding="utf-8")
        settings, snapshot = (
            load_settings(config, {"report-dir": str(tmp_path / "c")}, os.environ),
            tmp_path / "usage.json",
        )
        runtime = Terminal(stdout=io.StringIO(), stderr=io.StringIO(), environ={})
        assert await collect(settings, runtime, os.environ, out=snapshot) == 0

        base = stage.tool.emulator.config()
        name = "azure:00000000-0000-0000-0000-000000000000"
        stage.settings(kubernetes_clusters={**base["kubernetes_clusters"], name: {"snapshot": str(snapshot)}})
        ran = await stage.tool.apply(stage.config, services="off", scope="all")
        assert ran.code == 0, ran.out
        assert stage.tool.left("shop/web") == {"1.0", "2.0"}
        assert stage.tool.left("azureml/azureml_0a1b") == {"latest-1"}
