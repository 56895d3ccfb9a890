"""The messages about services that cannot be read: the call, the evidence, the remedy."""

from __future__ import annotations

from acr_cleanup.emulator.services import SUBSCRIPTION, ServicesState, compose, resource
from tests.helpers.service_worlds import IMAGE, REGISTRY_ID, service_world

_ML_REGISTRIES = "Microsoft.MachineLearningServices/registries"
_PROFILES = "Microsoft.ContainerInstance/containerGroupProfiles"
_REPAIR = "Repair or delete the resource."
_COMPOSE = "Correct the Compose file of the site."
_NO_IMAGE = "has no image, so it is unknown what it runs."
_WRONG = "is 'contoso.azurecr.io/Shop/API:1': this is not an image reference, but it names the registry."
_IMAGE_OF_APP = f"properties.template.containers[0].image of azure:{SUBSCRIPTION}/ContainerApp/app"
_CORRECT = "Correct the image there, or delete the resource."
_ALL_MISSING = "one has no image, or all are missing."
BLOCKERS = [
    ("Microsoft.App/containerApps", "read its images", f"{_IMAGE_OF_APP} {_WRONG}", _CORRECT),
    ("Microsoft.App/containerApps", "read its images", f"{_IMAGE_OF_APP} (revision app--1) {_WRONG}", _CORRECT),
    ("Microsoft.App/jobs", "read its images", f"nightly {_NO_IMAGE}", _REPAIR),
    *(
        ("Microsoft.ContainerInstance/containerGroups", "read its images", f"group-{number:02} {_NO_IMAGE}", _REPAIR)
        for number in range(10)
    ),
    ("Microsoft.ContainerInstance/containerGroups", "read its resources", "2 more failures of the same type.",
     "Run again."),
    ("Microsoft.ContainerRegistry/registries/connectedRegistries", "see what it uses",
     "The connected registry edge copies images to a place that cannot be read: shop/api, shop/web.",
     "To clean the others, exclude these with `repositories`, and waive the type."),
    ("Microsoft.ContainerRegistry/registries/tasks", "read its text",
     "properties.step.encodedTaskContent of damaged is not base64 of text (Only base64 data is allowed).",
     "Correct or delete the resource."),
    (_ML_REGISTRIES, "look who owns the registry",
     "Azure Machine Learning created this registry for its registry models.",
     "Do not clean it: delete models and environments in Azure Machine Learning instead."),
    ("Microsoft.Web/sites", "read the sidecars of a-sidecars", _ALL_MISSING, "Repair or delete the site."),
    ("Microsoft.Web/sites", "read the Compose file of b-base64",
     "properties.linuxFxVersion is not YAML in base64 (Only base64 data is allowed).", _COMPOSE),
    ("Microsoft.Web/sites", "read the Compose file of c-list", "properties.linuxFxVersion has no services.", _COMPOSE),
    ("Microsoft.Web/sites", "read the configuration of d-config", "it has no properties.", "Run again."),
    ("Microsoft.Web/sites", "read the sidecars of e-sidecar", _ALL_MISSING, "Repair or delete the site."),
    (_PROFILES, f"list {_PROFILES}", "this type cannot be read yet.", "Delete its resources."),
]  # fmt: skip


def _damage(state: ServicesState) -> None:
    state.container_app("app", "contoso.azurecr.io/Shop/API:1")
    state.job("nightly", f"{IMAGE}/tool:1")["properties"]["template"].update(containers=None)
    for number in range(12):
        state.container_group(f"group-{number:02}", "nginx")["properties"].update(containers=None)
    state.connected_registry(REGISTRY_ID, "edge", "shop/web", "shop/api")
    state.task(REGISTRY_ID, "damaged", script="x")["properties"]["step"].update(encodedTaskContent="%%%")
    account = {"systemCreatedAcrAccount": {"acrAccountName": "contoso"}}
    state.add(resource(f"{_ML_REGISTRIES}/models"), {"regionDetails": [{"acrDetails": [account]}]})
    state.site("a-sidecars", "sitecontainers")
    state.site("b-base64", "COMPOSE|&&&")
    state.site("c-list", compose("[]"))
    site = state.site("d-config", "DOCKER|nginx")
    state.resources[f"{site['id']}/config/web".lower()].update(properties=None)
    site = state.site("e-sidecar", "SITECONTAINERS")
    state.sidecar(site, "main", f"{IMAGE}/tool:1", main=True)
    state.sidecar(site, "side", "")["properties"].update(image=None)
    state.graph_types = [(_PROFILES.lower(), SUBSCRIPTION), ("microsoft.servicefabric/clusters", SUBSCRIPTION)]


async def test_each_blocker_says_what_failed_and_what_to_do() -> None:
    async with service_world() as world:
        _damage(world.state)
        found = await world.read()
    (scan,) = found.scans.values()
    assert (scan.access, scan.objects) == ("azure", 22)
    (note,) = scan.notes
    assert note == (
        "Microsoft.ServiceFabric/clusters exists. Images in service manifests inside the cluster are not read: "
        "exclude them."
    )
    given = []
    for blocker in scan.blockers:
        type_ = blocker.where.removeprefix("azure: ").removesuffix(f" in {SUBSCRIPTION}")
        waive = f' Or do not protect images that only they use: waive: "azure: {type_}".'
        can_be_waived = type_ != _ML_REGISTRIES
        assert blocker.remedy.endswith(waive) == can_be_waived
        assert blocker.kind == (type_ if can_be_waived else "")
        given.append((type_, blocker.call, blocker.seen, blocker.remedy.removesuffix(waive)))
    assert given == BLOCKERS


async def test_note_on_another_cleaner_says_when_and_how_it_runs() -> None:
    script = "steps:\n- cmd: acr purge --untagged --include-locked\n"
    async with service_world() as world:
        task = world.state.task(REGISTRY_ID, "purge", script=script, schedule="0 1 * * *")
        timers = task["properties"]["trigger"]["timerTriggers"]
        timers += [{**timers[0], "schedule": "30 2 * * *"}, {**timers[0], "schedule": "never", "status": "Disabled"}]
        (scan,) = (await world.read()).scans.values()
    (note,) = scan.notes
    assert note == (
        "Another cleaner is active: the task purge runs `acr purge` (schedule 0 1 * * *, 30 2 * * *). It does not know "
        "which images are in use. It runs with --include-locked and --untagged: it can delete what this tool keeps. "
        "Disable the task, or its timer."
    )


_FORBIDDEN = {"status": 403, "body": {"error": {"code": "AuthorizationFailed", "message": "no"}}}
_UNSEEN = f"Subscription {SUBSCRIPTION} may have services that use the registry and are not seen: "
_GRANT = f" Grant the identity the role Reader on /subscriptions/{SUBSCRIPTION}, or list in `services` only those that it can read."
_NOT_LISTED = "The registry contoso.azurecr.io is not listed, so its tasks and connected registries are not read."
_SET = " Set subscription_id and resource_group of `container_registry`, and grant the role Reader on it."
_GRAPH = "ask Resource Graph for types of resources"


async def test_warnings_say_what_is_not_seen_and_what_to_grant() -> None:
    async with service_world() as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")
        world.withhold("Microsoft.App/containerApps")
        world.withhold("Microsoft.ContainerRegistry/registries")
        world.fault(path="ResourceGraph", **_FORBIDDEN)
        warned, required = (await world.read()).outside, (await world.read(required=True)).outside
    graph = f"Further subscriptions with services may exist: {_GRAPH}: 403 Forbidden: AuthorizationFailed: no."
    assert warned.warnings == (
        f"{_UNSEEN}the identity sees only the resources on which it has rights.{_GRANT}",
        f"{graph} Grant the identity, on this subscription, the role Reader.",
        f"{_NOT_LISTED}{_SET}",
    )
    assert [f"{blocker.seen} {blocker.remedy}" for blocker in required.blockers] == [*warned.warnings]
    assert [(blocker.where, blocker.call) for blocker in required.blockers] == [
        (f"subscription {SUBSCRIPTION}", "prove that all are listed"),
        ("Resource Graph", _GRAPH),
        ("contoso.azurecr.io", "list the registry"),
    ]
    assert (warned.blockers, required.warnings) == ((), ())


async def test_refused_permissions_are_evidence_of_the_warning() -> None:
    async with service_world() as world:
        world.fault(path="permissions$", **_FORBIDDEN)
        assert (await world.read()).outside.warnings == (f"{_UNSEEN}403 Forbidden: AuthorizationFailed: no.{_GRANT}",)
        (blocker,) = (await world.read(required=True)).outside.blockers
        assert blocker.call == "list the permissions of the identity on it"


async def test_registry_list_blocks_if_it_fails_and_warns_if_it_is_refused() -> None:
    for status, blocks in ((400, False), (403, False), (409, True)):
        async with service_world() as world:
            world.fault(path="registries$", status=status, body={"error": {"code": "Bad", "message": "no"}})
            outside = (await world.read()).outside
        evidence = {400: "400 Bad Request", 403: "403 Forbidden", 409: "409 Conflict"}[status]
        listing = f"list Microsoft.ContainerRegistry/registries: {evidence}: Bad: no."
        registry = f"{_NOT_LISTED} {evidence}: Bad: no.{_SET}"
        assert outside.warnings == (f"{_UNSEEN}{listing}{_GRANT}", *(() if blocks else (registry,)))
        assert [f"{blocker.seen} {blocker.remedy}" for blocker in outside.blockers] == [registry] * blocks


async def test_connected_registry_of_unknown_scope_says_why_its_repositories_are_unknown() -> None:
    async with service_world() as world:
        world.state.connected_registry(REGISTRY_ID, "edge", "shop/web")
        world.fault(path="/scopeMaps/", **_FORBIDDEN)
        (blocker,) = (await world.read()).scans[SUBSCRIPTION].blockers
    assert blocker.seen == (
        "The connected registry edge copies images to a place that cannot be read: "
        "repositories that could not be determined (403 Forbidden: AuthorizationFailed: no)."
    )
