"""Failed reads: a blocker for a type that exists, a warning for a subscription that is not seen whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.access.resource_graph import Discovered
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.emulator import services as emulated
from acr_cleanup.emulator.services import PROVIDERS, SUBSCRIPTION, resource
from tests.helpers.service_worlds import IMAGE, OTHER, REGISTRY_ID, service_world

APPS = "Microsoft.App/containerApps"
WHERE = f"azure: {APPS} in {SUBSCRIPTION}"
_FORBIDDEN = {"error": {"code": "AuthorizationFailed", "message": "no"}}
FAILURES: dict[str, dict[str, Any]] = {
    "forbidden": {"status": 403, "body": _FORBIDDEN},
    "error": {"status": 500},
    "throttled": {"status": 429, "headers": {"Retry-After": "1"}},
    "not-json": {"malformed": True},
    "cut": {"truncate": 0.5},
    "not-found": {"status": 404, "body": {"error": {"code": "ResourceNotFound", "message": "no"}}},
    "no-list": {"status": 200, "body": {"value": None}},
    "no-resource": {"status": 200, "body": {"value": [{"name": "x"}]}},
    "foreign-id": {"status": 200, "body": {"value": [{"name": "x", "id": "//evil.example/x"}]}},
    "foreign-page": {"status": 200, "body": {"value": [], "nextLink": "https://evil.example/next"}},
    "foreign-port": {"status": 200, "body": {"value": [], "nextLink": "https://management.azure.com:444/next"}},
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("path", [f"{APPS}$", "/revisions$"], ids=["list", "revisions"])
async def test_failed_list_is_a_blocker_that_can_be_waived(
    failure: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service_world(monkeypatch) as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")
        world.state.container_group("other", f"{IMAGE}/other:1")
        world.fault(path=path, **FAILURES[failure])
        found = await world.read()
        (blocker,) = found.scans[SUBSCRIPTION].blockers
        assert (blocker.where, blocker.kind) == (WHERE, APPS)
        assert blocker.seen
        assert f'waive: "azure: {APPS}"' in blocker.remedy
        if failure == "forbidden":
            assert f"Grant the identity the role Reader on /subscriptions/{SUBSCRIPTION}." in blocker.remedy
        assert "other:1" in found.images, "other services are read all the same"
        assert (await world.read(waived=[APPS.lower()])).blocked == []
        assert world.at.world.count(path="evil|:444") == 0


async def test_short_throttling_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service_world(monkeypatch) as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")
        world.fault(status=429, headers={"Retry-After": "1"}, times=3)
        found = await world.read()
        assert (found.images, found.blocked) == ({"api:1"}, [])


async def test_failure_on_a_later_page_is_a_blocker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated, "PAGE_SIZE", 1)
    async with service_world(monkeypatch) as world:
        app = world.state.container_app("shop-api", f"{IMAGE}/api:2")
        world.state.revision(app, "shop-api--0", f"{IMAGE}/api:1", active=False)
        world.fault(path="/revisions$", after=1, status=500)
        assert (await world.read()).blocked == [WHERE]


@pytest.mark.parametrize("code", ["InvalidResourceType", "NoRegisteredProviderFound", "InvalidApiVersionParameter"])
async def test_api_version_that_the_cloud_lacks_is_replaced(code: str) -> None:
    """Such a type exists, although its error code can be that of an unregistered one."""
    versions = "2022-03-01,2024-03-01,2025-01-01,2025-07-01-preview,2027-01-01"
    message = f"The resource type could not be found for api version '2026-07-01'. The supported api-versions are '{versions}'."
    async with service_world() as world:
        for number in range(3):
            world.state.container_app(f"app-{number}", f"{IMAGE}/api:{number}")
        body = {"error": {"code": code, "message": message}}
        world.fault(query="api-version=2026-07-01", status=404 if code == "InvalidResourceType" else 400, body=body)
        found = await world.read()
        assert (found.images, found.blocked) == ({"api:0", "api:1", "api:2"}, [])
        queries = [record.query for record in world.at.world.requests if "Microsoft.App/" in record.path]
        assert {query.rpartition("=")[2] for query in queries if query} == {"2026-07-01", "2025-01-01"}
        assert queries[-3:] == ["api-version=2025-01-01"] * 3, "the version is remembered"


async def test_type_without_a_usable_api_version_is_a_blocker() -> None:
    async with service_world() as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")
        message = "The supported api-versions are '2020-01-01'."
        world.fault(path=f"{APPS}$", status=404, body={"error": {"code": "InvalidResourceType", "message": message}})
        assert (await world.read()).blocked == [WHERE]


async def test_type_that_is_not_registered_has_no_resources() -> None:
    async with service_world() as world:
        world.state.container_group("other", f"{IMAGE}/other:1")
        world.state.unregistered = set(PROVIDERS) - {"Microsoft.ContainerInstance/containerGroups"}
        found = await world.read()
        assert (found.images, found.blocked, found.outside.warnings) == ({"other:1"}, [], ())


async def test_all_pages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated, "PAGE_SIZE", 2)
    async with service_world() as world:
        for number in range(5):
            world.state.container_group(f"g{number}", f"{IMAGE}/app:{number}")
        assert (await world.read()).images == {f"app:{number}" for number in range(5)}
        assert world.requests("containerGroups$") == 3


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [None, {"containers": [{"image": [IMAGE]}]}, {"containers": {"image": IMAGE}}])
async def test_template_without_readable_images_is_a_blocker(template: Any) -> None:
    async with service_world() as world:
        world.state.container_app("shop-api", "nginx")["properties"]["template"] = template
        del world.state.resources[f"{resource(f'{APPS}/shop-api')}/revisions/shop-api--1".lower()]
        assert (await world.read()).blocked == [WHERE]


async def test_null_template_is_no_blocker_if_a_revision_has_images() -> None:
    async with service_world() as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")["properties"]["template"] = None
        found = await world.read()
        assert (found.images, found.blocked) == ({"api:1"}, [])


@pytest.mark.parametrize(
    ("image", "blocks"),
    [
        ("contoso.azurecr.io/Shop/API:1", True),
        ("contoso.azurecr.io/{{ tag }}", True),
        ("?/!", False),
        ("", False),
        (None, False),
    ],
)
async def test_unreadable_image_is_a_blocker_if_it_names_the_registry(image: Any, blocks: bool) -> None:
    async with service_world() as world:
        world.state.container_app("shop-api", "nginx")["properties"]["template"]["containers"][0]["image"] = image
        assert (await world.read()).blocked == ([WHERE] if blocks else [])


@pytest.mark.parametrize(
    "version",
    ["COMPOSE|&&&", "COMPOSE|/////w==", emulated.compose("a: [1"), emulated.compose(""), emulated.compose("[" * 3000)],
    ids=["no-base64", "no-text", "no-yaml", "empty", "deep"],
)
async def test_compose_file_that_cannot_be_read_is_a_blocker(version: str) -> None:
    async with service_world() as world:
        world.state.site("shop", version)
        world.state.site("other", f"DOCKER|{IMAGE}/web:1")
        found = await world.read()
        assert found.blocked == [f"azure: Microsoft.Web/sites in {SUBSCRIPTION}"]
        assert found.images == {"web:1"}


# -- subscriptions ---------------------------------------------------------------------------------


async def test_subscription_that_is_not_seen_whole_is_a_warning() -> None:
    async with service_world() as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")
        world.withhold(APPS)
        found = await world.read()
        (warning,) = found.outside.warnings
        assert "sees only the resources on which it has rights" in warning
        assert f"Grant the identity the role Reader on /subscriptions/{SUBSCRIPTION}" in warning
        required = await world.read(required=True)
        (blocker,) = required.outside.blockers
        assert blocker.where == f"subscription {SUBSCRIPTION}"


async def test_subscription_of_another_tenant_is_a_warning() -> None:
    async with service_world() as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")
        found = await world.read(subscriptions=(SUBSCRIPTION, OTHER))
        assert found.images == {"api:1"}
        assert found.blocked == []
        (warning,) = found.outside.warnings
        assert f"Subscription {OTHER} may have services" in warning


async def test_refused_list_of_known_type_is_a_blocker_without_reader() -> None:
    """Resource Graph says that the type exists, so the warning about the subscription is not enough."""
    async with service_world() as world:
        world.withhold(APPS)
        world.fault(path=f"{APPS}$", **FAILURES["forbidden"])
        assert (await world.read()).blocked == []
        world.state.graph_types = [(APPS.lower(), SUBSCRIPTION)]
        assert (await world.read()).blocked == [WHERE]


async def test_refused_list_of_a_named_service_is_a_blocker() -> None:
    async with service_world() as world:
        world.withhold(APPS)
        world.fault(path=f"{APPS}$", **FAILURES["forbidden"])
        assert (await world.read(groups=frozenset({"container-apps"}))).blocked == [WHERE]


async def test_failure_below_what_is_only_reported_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service_world(monkeypatch) as world:
        world.state.add(resource("Microsoft.ContainerRegistry/registries/other"), {"loginServer": "other.azurecr.io"})
        world.fault(path="/registries/other/cacheRules", status=500)
        found = await world.read()
        assert found.blocked == []
        assert "cacheRules" in " ".join(found.outside.warnings)


# -- Resource Graph --------------------------------------------------------------------------------


async def test_graph_finds_further_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated, "GRAPH_PAGE_SIZE", 1)
    async with service_world() as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")
        world.state.container_group("far", f"{IMAGE}/far:1", subscription=OTHER)
        world.state.graph_types = [("Microsoft.App/containerApps", SUBSCRIPTION)] * 2
        assert (await world.read()).images == {"api:1", "far:1"}
        assert world.requests("ResourceGraph") == 2
        assert (await world.read(only_these=True)).images == {"api:1"}


@pytest.mark.parametrize("only_these", [True, False])
async def test_graph_is_asked_about_the_named_subscriptions_alone_if_only_these_count(
    only_these: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def discover(_: object, only: Sequence[str]) -> Discovered:
        asked.append(only)
        return Discovered()

    monkeypatch.setattr("acr_cleanup.services.scan.discover", discover)
    async with service_world() as world:
        await world.read(only_these=only_these)
    assert asked == [(SUBSCRIPTION,) if only_these else ()]


async def test_graph_that_lags_hides_nothing() -> None:
    async with service_world() as world:
        app = world.state.container_app("shop-api", f"{IMAGE}/api:1")
        world.state.graph_lags = {app["id"].lower()}
        assert (await world.read()).images == {"api:1"}


@pytest.mark.parametrize("failure", ["forbidden", "error", "not-json", "truncated"])
async def test_incomplete_graph_is_a_warning(failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with service_world(monkeypatch) as world:
        world.state.container_app("shop-api", f"{IMAGE}/api:1")
        if failure == "truncated":
            world.state.graph_truncates = True
        else:
            world.fault(path="ResourceGraph", **FAILURES[failure])
        found = await world.read()
        assert (found.images, found.blocked) == ({"api:1"}, [])
        (warning,) = found.outside.warnings
        assert "Further subscriptions with services may exist" in warning
        assert len((await world.read(required=True)).outside.blockers) == 1


async def test_type_without_reader_is_a_blocker_if_graph_lists_it() -> None:
    async with service_world() as world:
        name = "Microsoft.ContainerInstance/containerGroupProfiles"
        world.state.graph_types = [(name.lower(), SUBSCRIPTION)]
        found = await world.read()
        assert found.blocked == [f"azure: {name} in {SUBSCRIPTION}"]
        assert (await world.read(waived=[name])).blocked == []


async def test_type_whose_images_are_not_shown_is_reported() -> None:
    async with service_world() as world:
        world.state.graph_types = [
            ("microsoft.servicefabric/clusters", SUBSCRIPTION),
            ("microsoft.devices/iothubs", OTHER),
        ]
        found = await world.read()
        assert "Microsoft.ServiceFabric/clusters exists. Images in service manifests" in found.notes
        assert "Microsoft.Devices/IotHubs exists. Images in modules of its edge devices" in found.notes
        assert found.blocked == []


# -- the registry ----------------------------------------------------------------------------------


async def test_registry_that_is_not_listed_is_a_warning() -> None:
    async with service_world() as world:
        world.withhold("Microsoft.ContainerRegistry/registries")
        found = await world.read()
        assert any(
            "is not listed, so its tasks and connected registries are not read" in text
            for text in found.outside.warnings
        )


async def test_registry_is_found_without_its_resource_group() -> None:
    async with service_world() as world:
        world.state.task(REGISTRY_ID, "script", script="steps:\n- cmd: $Registry/shop/tool:7\n")
        place = RegistryPlace(RegistryHost(world.at.world.registry.login_server), SUBSCRIPTION)
        assert (await world.read(place=place)).mentioned("shop/tool", "7") == {"7"}
