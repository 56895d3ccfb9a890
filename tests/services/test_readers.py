"""Each type of service: the images that it names are in use."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from acr_cleanup.emulator.services import SUBSCRIPTION, ServicesState, compose, resource
from tests.helpers.service_worlds import IMAGE, REGISTRY_ID, service_world

Arrange = Callable[[ServicesState], object]
ROWS: dict[str, tuple[Arrange, set[str], str]] = {}


def row(images: str, user: str) -> Callable[[Arrange], Arrange]:
    """Add a row: what it arranges, the images that must be in use, and one of their users."""

    def add(arrange: Arrange) -> Arrange:
        ROWS[arrange.__name__] = (arrange, set(images.split()), f"azure:{SUBSCRIPTION}/{user}")
        return arrange

    return add


@row("api:1 init:1", "ContainerApp/shop-api (revision shop-api--1)")
def container_app(state: ServicesState) -> object:
    return state.container_app("shop-api", f"{IMAGE}/api:1", init=[f"{IMAGE}/init:1"])


@row("api:2 api:1", "ContainerApp/shop-api (revision shop-api--0)")
def inactive_revision(state: ServicesState) -> object:
    return state.revision(
        state.container_app("shop-api", f"{IMAGE}/api:2"), "shop-api--0", f"{IMAGE}/api:1", active=False
    )


@row("job:2 job:1", "ContainerAppJob/nightly (execution nightly-x1)")
def container_app_job(state: ServicesState) -> object:
    return state.job("nightly", f"{IMAGE}/job:2", executed=f"{IMAGE}/job:1")


@row("pool:1", "SessionPool/code")
def session_pool(state: ServicesState) -> object:
    template = {"containers": [{"name": "a", "image": f"{IMAGE}/pool:1"}]}
    properties = {"containerType": "CustomContainer", "customContainerTemplate": template}
    return state.add(resource("Microsoft.App/sessionPools/code"), properties)


@row("web:1", "WebApp/shop")
def site_with_docker(state: ServicesState) -> object:
    return state.site("shop", f"DOCKER|{IMAGE}/web:1")


@row("web:1", "WebApp/shop")
def windows_site(state: ServicesState) -> object:
    return state.site("shop", None, windows=f"DOCKER|{IMAGE}/web:1", kind="app,container,windows")


@row("fn:1", "FunctionApp/fn")
def function_app(state: ServicesState) -> object:
    return state.site("fn", f"docker|{IMAGE}/fn:1", kind="functionapp,linux,container")


@row("a:1 b:2", "WebApp/shop")
def site_with_compose(state: ServicesState) -> object:
    text = f"services:\n  a: &a\n    image: {IMAGE}/a:1\n  b:\n    image: '{IMAGE}/b:2'\n  c: *a\n"
    return state.site("shop", compose(text))


@row("web:3", "WebApp/shop (slot staging)")
def slot(state: ServicesState) -> object:
    return state.slot(state.site("shop", "DOCKER|nginx"), "staging", f"DOCKER|{IMAGE}/web:3")


@row("main:1 log:2", "WebApp/shop")
def sidecars(state: ServicesState) -> object:
    site = state.site("shop", "sitecontainers")
    state.sidecar(site, "main", f"{IMAGE}/main:1", main=True)
    return state.sidecar(site, "log", f"{IMAGE}/log:2")


@row("log:2", "WebApp/shop (slot staging)")
def sidecar_of_slot_beside_code(state: ServicesState) -> object:
    slot = state.slot(state.site("shop", "PYTHON|3.12", kind="app,linux"), "staging", "PYTHON|3.12")
    return state.sidecar(slot, "log", f"{IMAGE}/log:2")


@row("old:1 init:9", "ContainerGroup/batch")
def stopped_container_group(state: ServicesState) -> object:
    group = state.container_group("batch", f"{IMAGE}/old:1", state="Stopped")
    group["properties"]["initContainers"] = [{"name": "i", "properties": {"image": f"{IMAGE}/init:9"}}]
    return group


@row("train:4", "MachineLearningWorkspace/ml (environment train, version 4)")
def ml_environment(state: ServicesState) -> object:
    workspace = state.add(resource("Microsoft.MachineLearningServices/workspaces/ml"), {"containerRegistry": None})
    environment = state.add(f"{workspace['id']}/environments/train", {"latestVersion": "4"})
    return state.add(f"{environment['id']}/versions/4", {"image": f"{IMAGE}/train:4", "build": None})


@row("node:1 start:2", "BatchAccount/hpc (pool p1)")
def batch_pool(state: ServicesState) -> object:
    account = state.add(resource("Microsoft.Batch/batchAccounts/hpc"), {})
    containers = {"containerImageNames": [f"{IMAGE}/node:1"], "containerRegistries": [{"registryServer": "docker.io"}]}
    deployment = {"virtualMachineConfiguration": {"containerConfiguration": containers}}
    task = {"containerSettings": {"imageName": f"{IMAGE}/start:2"}}
    return state.add(f"{account['id']}/pools/p1", {"deploymentConfiguration": deployment, "startTask": task})


@row("spring:1", "SpringApp/sp (deployment d)")
def spring_app(state: ServicesState) -> object:
    app = state.add(resource("Microsoft.AppPlatform/Spring/sp"), {})
    container = {"server": "contoso.azurecr.io", "containerImage": "shop/spring:1"}
    source = {"type": "Container", "customContainer": container}
    return state.add(f"{app['id']}/deployments/d", {"source": source})


@row("base:3", "RegistryTask/build")
def base_image_of_task(state: ServicesState) -> object:
    base = {
        "type": "BuildTime",
        "registry": "contoso.azurecr.io",
        "repository": "shop/base",
        "tag": "3",
        "digest": None,
    }
    return state.task(REGISTRY_ID, "build", base=[base, {**base, "registry": "registry.hub.docker.com"}])


@pytest.mark.parametrize("name", ROWS)
async def test_image_of_service_is_in_use(name: str) -> None:
    arrange, images, user = ROWS[name]
    async with service_world() as world:
        arrange(world.state)
        found = await world.read()
        assert found.images == images
        assert user in found.users
        assert found.blocked == []
        assert not any(use.running for scan in found.scans.values() for use in scan.uses)


@pytest.mark.parametrize("name", ROWS)
async def test_service_that_is_switched_off_is_not_read(name: str) -> None:
    async with service_world() as world:
        ROWS[name][0](world.state)
        assert (await world.read(groups=frozenset())).images == set()


async def test_no_secret_is_requested() -> None:
    async with service_world() as world:
        world.state.site("shop", f"DOCKER|{IMAGE}/web:1")
        await world.read()
        assert world.requests("appsettings") == 0
        assert all(
            record.method == "GET" or "ResourceGraph" in record.path
            for record in world.at.world.requests
            if record.service == "arm"
        )


@pytest.mark.parametrize(
    ("revisions", "images"), [(0, {"api:9"}), (1, {"api:9", "api:8"}), (5, {"api:9", "api:8", "api:7"})]
)
async def test_revisions_option_counts_newest_inactive(revisions: int, images: set[str]) -> None:
    async with service_world() as world:
        app = world.state.container_app("shop-api", f"{IMAGE}/api:9")
        world.state.revision(app, "shop-api--7", f"{IMAGE}/api:7", active=False, created="2026-01-01")
        world.state.revision(app, "shop-api--8", f"{IMAGE}/api:8", active=False, created="2026-02-01")
        assert (await world.read(revisions=revisions)).images == images


async def test_site_snapshots_count_if_asked_for() -> None:
    async with service_world() as world:
        site = world.state.site("shop", f"DOCKER|{IMAGE}/web:2")
        for number in (0, 1):
            config = {"linuxFxVersion": f"DOCKER|{IMAGE}/web:{number}", "time": f"2026-01-0{number + 1}T00:00:00"}
            world.state.add(f"{site['id']}/config/web/snapshots/{number}", config)
        assert (await world.read()).images == {"web:2"}
        assert (await world.read(site_snapshots=1)).images == {"web:2", "web:1"}


async def test_use_of_a_site_says_where_it_is() -> None:
    """The site, its slot, a sidecar and a Compose file."""
    async with service_world() as world:
        site = world.state.site("shop", f"DOCKER|{IMAGE}/web:1", kind="app,linux,container")
        slot = world.state.slot(site, "staging", compose(f"services: {{api: {{image: '{IMAGE}/api:2'}}}}"))
        world.state.sidecar(slot, "side", f"{IMAGE}/side:3")
        uses = (await world.read()).scans[SUBSCRIPTION].uses
    assert {(str(use.workload).rpartition("/")[2], use.field, use.text) for use in uses} == {
        ("shop", "properties.linuxFxVersion", f"{IMAGE}/web:1"),
        ("shop (slot staging)", "compose.services.api.image", f"{IMAGE}/api:2"),
        ("shop (slot staging)", "properties.image", f"{IMAGE}/side:3"),
    }


@pytest.mark.parametrize(
    ("version", "reserved", "requests"), [("", False, 0), ("", True, 1), ("", None, 1), ("x", False, 1)]
)
async def test_sidecars_of_windows_sites_are_not_requested(version: str, reserved: bool | None, requests: int) -> None:
    """Only Linux sites have sidecars, and `reserved` is true for Linux. A site that does not say it may be one."""
    async with service_world() as world:
        site = world.state.site("shop", version, windows=f"DOCKER|{IMAGE}/web:1")
        site["properties"]["reserved"] = reserved
        assert "web:1" in (await world.read()).images
        assert world.requests("sitecontainers$") == requests


@pytest.mark.parametrize("server", [None, "", " ", 7, "docker.io"])
async def test_spring_image_of_another_registry_is_no_use(server: object) -> None:
    """Without a server, it is an image of Docker Hub."""
    async with service_world() as world:
        app = world.state.add(resource("Microsoft.AppPlatform/Spring/sp"), {})
        container = {"server": server, "containerImage": "shop/spring:1"}
        source = {"type": "Container", "customContainer": container}
        world.state.add(f"{app['id']}/deployments/d", {"source": source})
        found = await world.read()
    assert (found.images, found.blocked) == (set(), [])


async def test_slot_that_cannot_be_read_is_named() -> None:
    async with service_world() as world:
        world.state.slot(world.state.site("shop", f"DOCKER|{IMAGE}/web:1"), "staging", f"DOCKER|{IMAGE}/web:2")
        world.fault(path="/slots/staging/config/web$", status=403, body={"error": {"code": "No", "message": "no"}})
        found = await world.read()
        (blocker,) = found.scans[SUBSCRIPTION].blockers
    assert "shop/slots/staging/config/web" in blocker.call
    assert found.images == {"web:1"}


async def test_attached_workspace_keeps_all_built_images() -> None:
    async with service_world() as world:
        workspace = resource("Microsoft.MachineLearningServices/workspaces/ml")
        world.state.add(workspace, {"containerRegistry": REGISTRY_ID.upper()})
        (scan,) = (await world.read()).scans.values()
        (use,) = scan.uses
        assert (use.reference.repository, use.reference.is_open) == ("azureml/", True)


async def test_registry_of_ml_is_refused_without_waiver() -> None:
    async with service_world() as world:
        account = {"systemCreatedAcrAccount": {"armResourceId": {"resourceId": REGISTRY_ID}}}
        details = {"regionDetails": [{"acrDetails": [account]}]}
        world.state.add(resource("Microsoft.MachineLearningServices/registries/r"), details)
        (scan,) = (await world.read(waived=["Microsoft.MachineLearningServices/registries"])).scans.values()
        (blocker,) = scan.blockers
        assert "created this registry" in blocker.seen


async def test_batch_pool_that_names_only_the_registry_is_a_warning() -> None:
    async with service_world() as world:
        account = world.state.add(resource("Microsoft.Batch/batchAccounts/hpc"), {})
        containers = {"containerImageNames": None, "containerRegistries": [{"registryServer": "contoso.azurecr.io"}]}
        deployment = {"virtualMachineConfiguration": {"containerConfiguration": containers}}
        world.state.add(f"{account['id']}/pools/p1", {"deploymentConfiguration": deployment})
        found = await world.read()
        assert (found.images, found.blocked) == (set(), [])
        assert "BatchAccount hpc (pool p1) pulls from the registry. Its tasks may name further images" in found.notes


@pytest.mark.parametrize(
    ("flags", "louder"), [("", ""), ("--untagged", "It runs with --untagged"), ("--include-locked", "--include-locked")]
)
async def test_purging_task_with_timer_is_reported(flags: str, louder: str) -> None:
    async with service_world() as world:
        world.state.task(
            REGISTRY_ID, "purge", script=f"steps:\n- cmd: acr purge --ago 1d {flags}\n", schedule="0 1 * * *"
        )
        notes = (await world.read()).notes
        assert "Another cleaner is active: the task purge runs `acr purge` (schedule 0 1 * * *)" in notes
        assert louder in notes


@pytest.mark.parametrize(
    "command", ["acr  purge --ago 1d", "mcr.microsoft.com/acr/acr-cli:0.5 purge --ago 1d", "acr\n      purge"]
)
async def test_purging_task_is_recognised(command: str) -> None:
    async with service_world() as world:
        script = f"steps:\n  - cmd: >-\n      {command}\n"
        world.state.task(REGISTRY_ID, "purge", script=script, schedule="0 1 * * *")
        assert "Another cleaner is active" in (await world.read()).notes


@pytest.mark.parametrize("change", ["disabled task", "disabled timer", "no timer"])
async def test_purging_task_that_never_starts_is_not_reported(change: str) -> None:
    async with service_world() as world:
        task = world.state.task(REGISTRY_ID, "purge", script="steps:\n- cmd: acr purge\n", schedule="0 1 * * *")
        properties = task["properties"]
        if change == "disabled task":
            properties["status"] = "Disabled"
        elif change == "disabled timer":
            properties["trigger"]["timerTriggers"][0]["status"] = "Disabled"
        else:
            properties["trigger"] = None
        assert "Another cleaner" not in (await world.read()).notes


async def test_connected_registry_is_a_blocker_that_can_be_waived() -> None:
    async with service_world() as world:
        world.state.connected_registry(REGISTRY_ID, "edge", "shop/web", "shop/api")
        type_ = "Microsoft.ContainerRegistry/registries/connectedRegistries"
        (scan,) = (await world.read()).scans.values()
        (blocker,) = scan.blockers
        assert "shop/api, shop/web" in blocker.seen
        assert f'waive: "azure: {type_}"' in blocker.remedy
        assert (await world.read(waived=[type_])).blocked == []


async def test_neighbours_are_reported_with_a_way_to_read_them() -> None:
    async with service_world() as world:
        state = world.state
        server = {"url": "https://api.aro.example:6443/", "visibility": "Public"}
        state.add(resource("Microsoft.RedHatOpenShift/openShiftClusters/aro"), {"apiserverProfile": server})
        state.add(resource("Microsoft.Kubernetes/connectedClusters/edge"), {"connectivityStatus": "Connected"})
        fleet = state.add(resource("Microsoft.ContainerService/fleets/f"), {})
        member = resource("Microsoft.ContainerService/managedClusters/far")
        state.add(f"{fleet['id']}/members/m", {"clusterResourceId": member})
        other = state.add(resource("Microsoft.ContainerRegistry/registries/other"), {"loginServer": "other.azurecr.io"})
        state.add(f"{other['id']}/cacheRules/r", {"sourceRepository": f"{IMAGE}/web", "targetRepository": "web"})
        notes = (await world.read()).notes
        assert "The OpenShift cluster aro (https://api.aro.example:6443/) is not in the configuration." in notes
        assert "The Arc cluster edge is not in the configuration." in notes
        assert "far of fleet f is not in the configuration." in notes
        assert "The registry other caches contoso.azurecr.io/shop/web from this registry." in notes
        known = {"api.aro.example", member.lower(), resource("microsoft.kubernetes/connectedclusters/edge").lower()}
        left = (await world.read(known_clusters=known)).notes.splitlines()
        assert left == [note for note in notes.splitlines() if note.startswith("The registry")]


async def test_text_of_services_is_read_for_mentions() -> None:
    async with service_world() as world:
        world.state.task(REGISTRY_ID, "script", script="steps:\n- cmd: $Registry/shop/tool:7 run\n")
        app = world.state.container_app("shop-api", "nginx")
        app["properties"]["template"]["containers"][0]["env"] = [{"name": "RUNNER", "value": "shop/cli:5"}]
        found = await world.read()
        assert found.mentioned("shop/tool", "6", "7") == {"7"}
        assert found.mentioned("shop/cli", "4", "5") == {"5"}
