"""
The services against the models of the vendor's own SDKs.

The SDKs read what the emulator serves, and the readers of services read what the SDKs serialise. `make conformance` installs
the SDKs; elsewhere these tests are skipped.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import AsyncIterable
from typing import Any

import pytest

from acr_cleanup.emulator.services import JSON, SUBSCRIPTION, resource
from acr_cleanup.services import table
from tests.helpers.service_worlds import IMAGE, REGISTRY_ID, ServiceWorld, service_world

CLIENTS = {
    "appcontainers": "ContainerAppsAPIClient",
    "batch": "BatchManagementClient",
    "containerinstance": "ContainerInstanceManagementClient",
    "containerregistry": "ContainerRegistryManagementClient",
    "containerregistrytasks": "ContainerRegistryTasksMgmtClient",
    "machinelearningservices": "MachineLearningServicesMgmtClient",
    "web": "WebSiteManagementClient",
}
GROUP = "rg-apps"


def sdk(name: str) -> Any:
    """Return a module of an SDK, or skip the test."""
    try:
        return importlib.import_module(f"azure.mgmt.{name}")
    except ImportError:
        if os.environ.get("ACR_CLEANUP_REQUIRE_SDKS"):
            raise
        pytest.skip(f"azure-mgmt-{name.partition('.')[0]} is not installed (`make conformance` installs it)")


def client(world: ServiceWorld, name: str) -> Any:
    """Return the client of an SDK, which reaches the world."""
    azure = world.at.azure
    return getattr(sdk(f"{name}.aio"), CLIENTS[name])(
        azure.credential,
        SUBSCRIPTION,
        base_url=azure.resource_manager,
        credential_scopes=[azure.resource_manager_scope or f"{azure.resource_manager}/.default"],
        transport=azure.make_transport(),
    )


async def items(pages: AsyncIterable[Any]) -> list[Any]:
    return [item async for item in pages]


def serialised(name: str, model: Any) -> JSON:
    """Return the JSON that an SDK sends for a model."""
    if hasattr(model, "serialize"):  # the older kind of SDK
        body: JSON = model.serialize(keep_readonly=True)
        return body
    encoder = sdk(f"{name}._utils.model_base").SdkJSONEncoder
    return dict(json.loads(json.dumps(model, cls=encoder)))


def add(world: ServiceWorld, resource_id: str, name: str, model: Any) -> None:
    """Put a resource into the world, as an SDK serialises it."""
    body = serialised(name, model)
    world.state.add(resource_id, body.get("properties"), kind=body.get("kind"))


# -- the SDKs read the emulator ----------------------------------------------------------------------


async def test_container_apps_are_read_by_their_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acr_cleanup.emulator.services.PAGE_SIZE", 1)
    async with service_world() as world, client(world, "appcontainers") as reading:
        state = world.state
        app = state.container_app("shop-api", f"{IMAGE}/api:2", init=[f"{IMAGE}/init:1"])
        state.revision(app, "shop-api--0", f"{IMAGE}/api:1", active=False)
        state.container_app("web", f"{IMAGE}/web:1")
        state.job("nightly", f"{IMAGE}/job:2", executed=f"{IMAGE}/job:1")
        apps = {app.name: app for app in await items(reading.container_apps.list_by_subscription())}
        template = apps["shop-api"].properties.template
        assert [container.image for container in template.containers] == [f"{IMAGE}/api:2"]
        assert [container.image for container in template.init_containers] == [f"{IMAGE}/init:1"]
        assert apps["web"].properties.running_status == "Running"
        revisions = await items(reading.container_apps_revisions.list_revisions(GROUP, "shop-api"))
        assert {revision.name: revision.properties.active for revision in revisions} == {
            "shop-api--1": True,
            "shop-api--0": False,
        }
        assert all(revision.properties.created_time for revision in revisions)
        assert {revision.properties.template.containers[0].image for revision in revisions} == {
            f"{IMAGE}/api:1",
            f"{IMAGE}/api:2",
        }
        (job,) = await items(reading.jobs.list_by_subscription())
        assert job.properties.template.containers[0].image == f"{IMAGE}/job:2"
        (execution,) = await items(reading.jobs_executions.list(GROUP, "nightly"))
        assert execution.properties.template.containers[0].image == f"{IMAGE}/job:1"


async def test_sites_are_read_by_their_sdk() -> None:
    async with service_world() as world, client(world, "web") as reading:
        site = world.state.site("shop", f"DOCKER|{IMAGE}/web:1")
        slot = world.state.slot(site, "staging", "SITECONTAINERS")
        world.state.sidecar(slot, "main", f"{IMAGE}/main:1", main=True)
        (listed,) = await items(reading.web_apps.list())
        assert (listed.name, listed.kind, listed.properties.reserved) == ("shop", "app,linux,container", True)
        assert not listed.properties.site_config.linux_fx_version
        config = await reading.web_apps.get_configuration(GROUP, "shop")
        assert config.properties.linux_fx_version == f"DOCKER|{IMAGE}/web:1"
        (listed,) = await items(reading.web_apps.list_slots(GROUP, "shop"))
        assert listed.name == "shop/staging"
        config = await reading.web_apps.get_configuration_slot(GROUP, "shop", "staging")
        assert config.properties.linux_fx_version == "SITECONTAINERS"
        (sidecar,) = await items(reading.web_apps.list_site_containers_slot(GROUP, "shop", "staging"))
        assert (sidecar.properties.image, sidecar.properties.is_main) == (f"{IMAGE}/main:1", True)


async def test_container_groups_are_read_by_their_sdk() -> None:
    async with service_world() as world, client(world, "containerinstance") as reading:
        group = world.state.container_group("batch", f"{IMAGE}/old:1", state="Stopped")
        group["properties"]["initContainers"] = [{"name": "i", "properties": {"image": f"{IMAGE}/init:9"}}]
        (listed,) = await items(reading.container_groups.list())
        assert [container.image for container in listed.containers] == [f"{IMAGE}/old:1"]
        assert [container.image for container in listed.init_containers] == [f"{IMAGE}/init:9"]
        assert listed.instance_view.state == "Stopped"


async def test_registry_is_read_by_its_sdks() -> None:
    async with service_world() as world, client(world, "containerregistry") as reading:
        state, group = world.state, world.at.world.registry.resource_group
        state.connected_registry(REGISTRY_ID, "edge", "shop/web")
        rule = {"sourceRepository": "docker.io/library/nginx", "targetRepository": "hub/nginx"}
        state.add(f"{REGISTRY_ID}/cacheRules/nginx", rule)
        assert "contoso" in {registry.name for registry in await items(reading.registries.list())}
        (listed,) = await items(reading.cache_rules.list(group, "contoso"))
        assert (listed.properties.source_repository, listed.properties.target_repository) == (
            "docker.io/library/nginx",
            "hub/nginx",
        )
        (edge,) = await items(reading.connected_registries.list(group, "contoso"))
        token = edge.properties.parent.sync_properties.token_id
        listed = await reading.tokens.get(group, "contoso", token.rpartition("/")[2])
        scope = await reading.scope_maps.get(group, "contoso", listed.properties.scope_map_id.rpartition("/")[2])
        assert scope.properties.actions == ["repositories/shop/web/content/read"]
        state.task(REGISTRY_ID, "purge", script="steps:\n- cmd: acr purge\n", schedule="0 1 * * *")
        async with client(world, "containerregistrytasks") as tasks:
            (task,) = await items(tasks.tasks.list(group, "contoso"))
        assert task.properties.trigger.timer_triggers[0].schedule == "0 1 * * *"
        assert task.properties.step.encoded_task_content


async def test_workspaces_and_pools_are_read_by_their_sdks() -> None:
    async with service_world() as world:
        state = world.state
        state.add(resource("Microsoft.MachineLearningServices/workspaces/ml"), {"containerRegistry": REGISTRY_ID})
        account = state.add(resource("Microsoft.Batch/batchAccounts/hpc"), {})
        containers = {"type": "DockerCompatible", "containerImageNames": [f"{IMAGE}/node:1"]}
        machine = {"imageReference": {}, "nodeAgentSkuId": "x", "containerConfiguration": containers}
        state.add(f"{account['id']}/pools/p", {"deploymentConfiguration": {"virtualMachineConfiguration": machine}})
        async with client(world, "machinelearningservices") as reading:
            (workspace,) = await items(reading.workspaces.list_by_subscription())
        assert workspace.container_registry == REGISTRY_ID
        async with client(world, "batch") as reading:
            assert [account.name for account in await items(reading.batch_account.list())] == ["hpc"]
            (pool,) = await items(reading.pool.list_by_batch_account(GROUP, "hpc"))
        machine = pool.properties.deployment_configuration.virtual_machine_configuration
        assert machine.container_configuration.container_image_names == [f"{IMAGE}/node:1"]


# -- the readers read what the SDKs serialise --------------------------------------------------------


async def test_serialised_container_apps_are_read() -> None:
    models = sdk("appcontainers.models")
    async with service_world() as world:
        template = models.Template(
            containers=[models.Container(name="a", image=f"{IMAGE}/api:1")],
            init_containers=[models.InitContainer(name="i", image=f"{IMAGE}/init:1")],
        )
        app = models.ContainerApp(location="x", properties=models.ContainerAppProperties(template=template))
        add(world, resource("Microsoft.App/containerApps/api"), "appcontainers", app)
        job_template = models.JobTemplate(containers=[models.Container(name="a", image=f"{IMAGE}/job:1")])
        job = models.Job(location="x", properties=models.JobProperties(template=job_template))
        add(world, resource("Microsoft.App/jobs/nightly"), "appcontainers", job)
        custom = models.CustomContainerTemplate(containers=[models.SessionContainer(name="a", image=f"{IMAGE}/pool:1")])
        pool = models.SessionPool(
            location="x", properties=models.SessionPoolProperties(custom_container_template=custom)
        )
        add(world, resource("Microsoft.App/sessionPools/pool"), "appcontainers", pool)
        found = await world.read()
        assert (found.images, found.blocked) == ({"api:1", "init:1", "job:1", "pool:1"}, [])


async def test_serialised_sites_are_read() -> None:
    models = sdk("web.models")
    async with service_world() as world:
        site_id = resource("Microsoft.Web/sites/shop")
        site = models.Site(location="x", kind="app,linux", properties=models.SiteProperties(reserved=True))
        config = models.SiteConfigResource(properties=models.SiteConfig(linux_fx_version="SITECONTAINERS"))
        sidecar = models.SiteContainer(properties=models.SiteContainerProperties(image=f"{IMAGE}/main:1", is_main=True))
        add(world, site_id, "web", site)
        add(world, f"{site_id}/config/web", "web", config)
        add(world, f"{site_id}/sitecontainers/main", "web", sidecar)
        found = await world.read()
        assert (found.images, found.blocked) == ({"main:1"}, [])


async def test_serialised_container_group_is_read() -> None:
    models = sdk("containerinstance.models")
    async with service_world() as world:
        needs = models.ResourceRequirements(requests=models.ResourceRequests(memory_in_gb=1, cpu=1))
        group = models.ContainerGroup(
            containers=[models.Container(name="a", image=f"{IMAGE}/old:1", resources=needs)],
            init_containers=[models.InitContainerDefinition(name="i", image=f"{IMAGE}/init:1")],
            os_type="Linux",
        )
        add(world, resource("Microsoft.ContainerInstance/containerGroups/g"), "containerinstance", group)
        found = await world.read()
        assert (found.images, found.blocked) == ({"old:1", "init:1"}, [])


async def test_serialised_pool_and_task_are_read() -> None:
    batch, tasks = sdk("batch.models"), sdk("containerregistrytasks.models")
    async with service_world() as world:
        account = resource("Microsoft.Batch/batchAccounts/hpc")
        containers = batch.ContainerConfiguration(type="DockerCompatible", container_image_names=[f"{IMAGE}/node:1"])
        machine = batch.VirtualMachineConfiguration(
            image_reference=batch.ImageReference(), node_agent_sku_id="x", container_configuration=containers
        )
        settings = batch.TaskContainerSettings(image_name=f"{IMAGE}/start:1")
        pool = batch.Pool(
            properties=batch.PoolProperties(
                deployment_configuration=batch.DeploymentConfiguration(virtual_machine_configuration=machine),
                start_task=batch.StartTask(command_line="run", container_settings=settings),
            )
        )
        world.state.add(account, {})
        add(world, f"{account}/pools/p", "batch", pool)
        task = {
            "properties": {
                "step": tasks.EncodedTaskStep(encoded_task_content="c3RlcHM6IFtdCg=="),
                "status": "Enabled",
            }
        }
        base = {"type": "BuildTime", "registry": "contoso.azurecr.io", "repository": "shop/base", "tag": "1"}
        step = serialised("containerregistrytasks", task["properties"]["step"]) | {"baseImageDependencies": [base]}
        read_back = sdk("containerregistrytasks._utils.model_base")._deserialize(tasks.TaskStepProperties, step)
        assert read_back.base_image_dependencies[0].repository == "shop/base"
        world.state.add(f"{REGISTRY_ID}/tasks/t", {"step": step})
        found = await world.read()
        assert (found.images, found.blocked) == ({"node:1", "start:1", "base:1"}, [])


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("appcontainers", ["Microsoft.App/containerApps", "Microsoft.App/jobs", "Microsoft.App/sessionPools"]),
        ("batch", ["Microsoft.Batch/batchAccounts"]),
        ("containerinstance", ["Microsoft.ContainerInstance/containerGroups"]),
        ("containerregistry", ["Microsoft.ContainerRegistry/registries"]),
        ("containerregistrytasks", ["Microsoft.ContainerRegistry/registries/tasks"]),
        ("web", ["Microsoft.Web/sites"]),
    ],
)
async def test_table_has_the_api_versions_of_the_sdks(name: str, types: list[str]) -> None:
    async with service_world() as world, client(world, name) as reading:
        version = getattr(reading._config, "api_version", "2023-05-01")
    rows = {row.type: row.api_version for row in (*table.TYPES, *table.TOLD, *table.OF_REGISTRY)}
    assert {rows[type_] for type_ in types} == {version}
