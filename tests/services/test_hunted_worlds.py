"""Forms in which services name images, each of which a simpler reader would lose; and forms that block."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from acr_cleanup.emulator.services import JSON, ServicesState, compose, resource
from tests.helpers.service_worlds import IMAGE, REGISTRY_ID, service_world

pytestmark = pytest.mark.extended

Arrange = Callable[[ServicesState], object]
KEPT: dict[str, tuple[Arrange, str]] = {}
BLOCKED: dict[str, tuple[Arrange, str]] = {}
DIGEST = f"sha256:{'ab' * 32}"
WORKSPACES = "Microsoft.MachineLearningServices/workspaces"


def keeps(images: str) -> Callable[[Arrange], Arrange]:
    """Add a world in which these images are in use or mentioned, and nothing blocks."""
    return lambda arrange: KEPT.setdefault(arrange.__name__, (arrange, images))[0]


def blocks(type_: str) -> Callable[[Arrange], Arrange]:
    """Add a world in which this type is a blocker."""
    return lambda arrange: BLOCKED.setdefault(arrange.__name__, (arrange, type_))[0]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def properties(added: JSON) -> JSON:
    inner: JSON = added["properties"]
    return inner


# -- App Service -----------------------------------------------------------------------------------

COMPOSE = f"services:\n  web:\n    image: {IMAGE}/tool:1\n"


@keeps("tool:1")
def compose_in_wrapped_base64(state: ServicesState) -> object:
    text = encoded(COMPOSE + "#" * 80)
    return state.site("shop", f"COMPOSE|{text[:40]}\r\n{text[40:]}\n")


@keeps("tool:1")
def compose_form_in_lower_case(state: ServicesState) -> object:
    return state.site("shop", compose(COMPOSE).replace("COMPOSE", "compose"))


@keeps("tool:1")
def compose_of_version_1(state: ServicesState) -> object:
    return state.site("shop", compose(f"web:\n  image: {IMAGE}/tool:1\n"))


@keeps("tool:1 cli:2")
def compose_with_override_document(state: ServicesState) -> object:
    return state.site("shop", compose(f"{COMPOSE}---\nservices: {{job: {{image: {IMAGE}/cli:2}}}}\n"))


@keeps("tool:1 cli:2")
def compose_with_duplicate_service(state: ServicesState) -> object:
    return state.site("shop", compose(f"{COMPOSE}  web:\n    image: {IMAGE}/cli:2\n"))


@keeps("tool:1")
def compose_with_variable_host(state: ServicesState) -> object:
    return state.site("shop", compose("services:\n  web:\n    image: ${REGISTRY}/shop/tool:1\n"))


@keeps("tool:1")
def compose_with_dates_and_sets(state: ServicesState) -> object:
    return state.site("shop", compose(f"x-made: 2026-01-01\nx-set: !!set {{a, b}}\n{COMPOSE}"))


@keeps("tool:1")
def compose_for_windows(state: ServicesState) -> object:
    return state.site("shop", None, windows=compose(COMPOSE), kind="app,container,windows")


@keeps("tool:1")
def kube_form(state: ServicesState) -> object:
    pod = f"kind: Pod\nspec:\n  containers:\n  - name: a\n    image: {IMAGE}/tool:1\n"
    return state.site("shop", f"KUBE|{encoded(pod)}")


@keeps("tool:1")
def upper_case_host(state: ServicesState) -> object:
    return state.site("shop", "DOCKER|CONTOSO.AZURECR.IO/shop/tool:1")


@keeps("tool:1")
def sidecar_of_site_without_kind(state: ServicesState) -> object:
    site = state.site("shop", None, kind="app")
    properties(site)["reserved"] = True
    site["kind"] = None
    return state.sidecar(site, "side", f"{IMAGE}/tool:1")


@keeps("tool:1 cli:2")
def site_of_code_with_sidecar_beside_a_slot_with_containers(state: ServicesState) -> object:
    site = state.site("shop", "NODE|20-lts", kind="app,linux")
    state.sidecar(site, "side", f"{IMAGE}/tool:1")
    slot = state.slot(site, "blue", "SITECONTAINERS")
    return state.sidecar(slot, "main", f"{IMAGE}/cli:2", main=True)


@blocks("Microsoft.Web/sites")
def site_of_containers_without_any(state: ServicesState) -> object:
    return state.site("shop", "sitecontainers")


@blocks("Microsoft.Web/sites")
def sidecar_without_image(state: ServicesState) -> object:
    site = state.site("shop", "SITECONTAINERS")
    state.sidecar(site, "main", f"{IMAGE}/tool:1", main=True)
    return properties(state.sidecar(site, "side", "")).update(image=None)


@blocks("Microsoft.Web/sites")
def slot_without_configuration(state: ServicesState) -> object:
    slot = state.slot(state.site("shop", "DOCKER|nginx"), "blue")
    return state.resources.pop(f"{slot['id']}/config/web".lower())


# -- Container Apps --------------------------------------------------------------------------------


@keeps(f"tool@{DIGEST} cli:2@{DIGEST}")
def digests(state: ServicesState) -> object:
    return state.container_app("shop-api", f"{IMAGE}/tool@{DIGEST}", f"{IMAGE}/cli:2@{DIGEST}")


@keeps("tool:1 cli:2")
def init_container_of_inactive_revision(state: ServicesState) -> object:
    app = state.container_app("shop-api", f"{IMAGE}/tool:1")
    revision = state.revision(app, "shop-api--0", "nginx", active=False)
    init = [{"name": "i", "image": f"{IMAGE}/cli:2"}]
    return properties(revision)["template"].update(initContainers=init)


@keeps("tool:1")
def environment_and_arguments(state: ServicesState) -> object:
    template = properties(state.container_app("shop-api", "nginx"))["template"]
    return template["containers"][0].update(args=["--worker-image", f"{IMAGE}/tool:1"])


@keeps("tool:1 cli:2")
def execution_with_another_image(state: ServicesState) -> object:
    return state.job("nightly", f"{IMAGE}/tool:1", executed=f"{IMAGE}/cli:2")


@keeps("tool:1")
def execution_without_template(state: ServicesState) -> object:
    job = state.job("nightly", f"{IMAGE}/tool:1")
    return state.add(f"{job['id']}/executions/x", {"status": "Running", "template": None})


@blocks("Microsoft.App/containerApps")
def revision_without_template(state: ServicesState) -> object:
    app = state.container_app("shop-api", f"{IMAGE}/tool:1")
    return properties(state.revision(app, "shop-api--0", "nginx")).update(template=None)


@blocks("Microsoft.App/jobs")
def job_without_containers(state: ServicesState) -> object:
    return properties(state.job("nightly", f"{IMAGE}/tool:1"))["template"].update(containers=None)


@blocks("Microsoft.App/jobs")
def properties_that_are_null(state: ServicesState) -> object:
    return state.job("nightly", f"{IMAGE}/tool:1").update(properties=None)


# -- Container Instances, Batch, Machine Learning, Spring ------------------------------------------


@keeps("tool:1 cli:2")
def container_group_with_init_container(state: ServicesState) -> object:
    group = state.container_group("batch", f"{IMAGE}/tool:1", state="Terminated")
    init = [{"name": "i", "properties": {"image": f"{IMAGE}/cli:2"}}]
    return properties(group).update(initContainers=init)


@blocks("Microsoft.ContainerInstance/containerGroups")
def container_group_without_containers(state: ServicesState) -> object:
    return properties(state.container_group("batch", f"{IMAGE}/tool:1")).update(containers=None)


@keeps("tool:1")
def image_of_batch_start_task(state: ServicesState) -> object:
    account = state.add(resource("Microsoft.Batch/batchAccounts/hpc"), {})
    task = {"commandLine": "run", "containerSettings": {"imageName": f"{IMAGE}/tool:1"}}
    return state.add(f"{account['id']}/pools/p", {"deploymentConfiguration": None, "startTask": task})


@keeps("tool:1")
def archived_version_of_environment(state: ServicesState) -> object:
    workspace = state.add(resource(f"{WORKSPACES}/ml"), {"containerRegistry": None})
    environment = state.add(f"{workspace['id']}/environments/train", {"isArchived": True})
    return state.add(f"{environment['id']}/versions/1", {"image": f"{IMAGE}/tool:1", "isArchived": True})


@keeps("tool:1")
def base_image_in_build_of_environment(state: ServicesState) -> object:
    workspace = state.add(resource(f"{WORKSPACES}/ml"), {"containerRegistry": None})
    environment = state.add(f"{workspace['id']}/environments/train", {})
    build = {"dockerfilePath": "Dockerfile", "contextUri": f"docker-image://{IMAGE}/tool:1"}
    return state.add(f"{environment['id']}/versions/1", {"image": None, "build": build})


@keeps("tool:1")
def spring_app_with_host_in_its_image(state: ServicesState) -> object:
    app = state.add(resource("Microsoft.AppPlatform/Spring/sp"), {})
    container = {"server": None, "containerImage": f"{IMAGE}/tool:1"}
    return state.add(f"{app['id']}/deployments/d", {"source": {"type": "Container", "customContainer": container}})


# -- the registry ----------------------------------------------------------------------------------


@keeps("tool:1")
def task_with_variable_host(state: ServicesState) -> object:
    return state.task(REGISTRY_ID, "t", script="steps:\n- cmd: ${Registry}/shop/tool:1 run\n")


@keeps("tool:latest")
def task_with_variable_host_and_no_tag(state: ServicesState) -> object:
    return state.task(REGISTRY_ID, "t", script="steps:\n- cmd: $Registry/shop/tool\n")


@keeps("tool:latest")
def task_with_template_of_host_and_no_tag(state: ServicesState) -> object:
    return state.task(REGISTRY_ID, "t", script="steps:\n- cmd: '{{.Run.Registry}}/shop/tool'\n")


@keeps("tool:1")
def task_with_template_of_host(state: ServicesState) -> object:
    return state.task(REGISTRY_ID, "t", script="steps:\n- cmd: '{{ .Run.Registry }}/shop/tool:1 run'\n")


@keeps("tool:1")
def image_in_values_of_task(state: ServicesState) -> object:
    task = state.task(REGISTRY_ID, "t", script="steps:\n- cmd: '{{.Values.image}} run'\n")
    return properties(task)["step"].update(encodedValuesContent=encoded("image: $Registry/shop/tool:1\n"))


@keeps("tool:1")
def build_argument_of_task(state: ServicesState) -> object:
    arguments = [{"name": "BASE", "value": "$Registry/shop/tool:1", "isSecret": False}]
    return properties(state.task(REGISTRY_ID, "t"))["step"].update(arguments=arguments)


@keeps("tool:latest")
def build_argument_of_task_without_tag(state: ServicesState) -> object:
    arguments = [{"name": "BASE", "value": "$Registry/shop/tool", "isSecret": False}]
    return properties(state.task(REGISTRY_ID, "t"))["step"].update(arguments=arguments)


@keeps(f"tool@{DIGEST}")
def base_image_of_task_by_digest(state: ServicesState) -> object:
    base = {"registry": "Contoso.azurecr.io", "repository": "shop/tool", "tag": None, "digest": DIGEST}
    return state.task(REGISTRY_ID, "t", base=[base])


@keeps("tool:1")
def disabled_task(state: ServicesState) -> object:
    base = {"registry": "contoso.azurecr.io", "repository": "shop/tool", "tag": "1", "digest": None}
    return properties(state.task(REGISTRY_ID, "t", base=[base])).update(status="Disabled")


@keeps("tool:1")
def task_run_with_script(state: ServicesState) -> object:
    request = {"type": "EncodedTaskRunRequest", "encodedTaskContent": encoded("steps: [cmd: $Registry/shop/tool:1]")}
    return state.add(f"{REGISTRY_ID}/taskRuns/r", {"runRequest": request, "forceUpdateTag": None})


@blocks("Microsoft.ContainerRegistry/registries/tasks")
def task_that_is_not_base64(state: ServicesState) -> object:
    return properties(state.task(REGISTRY_ID, "t", script="x"))["step"].update(encodedTaskContent="%%%")


@pytest.mark.parametrize("name", KEPT)
async def test_world_keeps_its_images(name: str) -> None:
    arrange, images = KEPT[name]
    async with service_world() as world:
        arrange(world.state)
        found = await world.read()
        assert found.blocked == []
        missing = []
        for image in images.split():
            repository, _, tag = image.partition(":")
            mentioned = tag and "@" not in tag and found.mentioned(f"shop/{repository}", tag, "other") == {tag}
            if image not in found.images and not mentioned:
                missing.append(image)
        assert missing == []


@pytest.mark.parametrize("name", BLOCKED)
async def test_world_blocks(name: str) -> None:
    arrange, type_ = BLOCKED[name]
    async with service_world() as world:
        arrange(world.state)
        found = await world.read()
        assert {where.split()[1] for where in found.blocked} == {type_}
        assert (await world.read(waived=[type_])).blocked == []
