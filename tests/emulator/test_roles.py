"""Role definitions, assignments and conditions of the emulated Azure."""

from __future__ import annotations

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.registry.rights import may
from acr_cleanup.emulator.roles import (
    BUILT_IN,
    CLUSTERS,
    DEFAULT_ROLES,
    REGISTRIES,
    AccessControl,
    RoleAssignment,
    RoleDefinition,
)
from tests.helpers.emulator_clients import RegistryClient, registry_client

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
REGISTRY = f"{SUBSCRIPTION}/resourceGroups/rg-acr/providers/{REGISTRIES}/contoso"
CLUSTER = f"{SUBSCRIPTION}/resourceGroups/rg-prod/providers/{CLUSTERS}/aks-prod"
ACTIONS = ("metadata_read", "pull", "push", "delete", "metadata_write", "catalog", "deleted_read", "deleted_restore")
READING = {"metadata_read", "pull"}
SOFT_DELETE = {"deleted_read", "deleted_restore"}
CONDITION = (
    f"((!(ActionMatches{{'{REGISTRIES}/repositories/content/read'}}) AND "
    f"!(ActionMatches{{'{REGISTRIES}/repositories/metadata/read'}})) OR "
    "(@Request[Microsoft.ContainerRegistry/registries/repositories:name] StringStartsWithIgnoreCase 'Shop/'))"
)


# -- what roles grant ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "plain", "abac"),
    [
        ("AcrPull", READING | {"catalog"}, set()),
        ("AcrPush", READING | {"catalog", "push"}, set()),
        ("AcrDelete", {"delete"}, set()),
        ("Reader", READING | {"catalog", "deleted_read"}, {"deleted_read"}),
        ("Contributor", set(ACTIONS), SOFT_DELETE),
        ("Container Registry Repository Reader", set(), READING),
        ("Container Registry Repository Writer", set(), READING | {"push", "metadata_write"}),
        ("Container Registry Repository Contributor", set(), READING | {"push", "metadata_write", "delete"}),
        ("Container Registry Repository Catalog Lister", set(), {"catalog"}),
        ("Azure Kubernetes Service Cluster User Role", set(), set()),
    ],
)
def test_built_in_roles_grant_documented_actions(role: str, plain: set[str], abac: set[str]) -> None:
    """Without and with ABAC. Only Contributor may change locks without ABAC, and AcrPush may not."""
    world = World()
    world.access.assign_only(role)
    for mode, expected in ((False, plain), (True, abac)):
        world.registry.abac = mode
        assert {action for action in ACTIONS if may(world, "me", action, "shop/web")} == expected


def test_default_roles_grant_all_but_administration() -> None:
    access = AccessControl()
    assert {assignment.role for assignment in access.assignments} == set(DEFAULT_ROLES)
    for action in ("read", "listClusterUserCredential/action", "runcommand/action", "commandResults/read"):
        assert access.allows("me", f"{CLUSTERS}/{action}", CLUSTER)
    for action in ("listClusterAdminCredential/action", "write", "delete"):
        assert not access.allows("me", f"{CLUSTERS}/{action}", CLUSTER)


def test_excluded_actions_are_not_granted() -> None:
    role = RoleDefinition("all but one", actions=(f"{REGISTRIES}/*",), not_actions=(f"{REGISTRIES}/delete",))
    assert role.grants(f"{REGISTRIES}/PULL/read")
    assert not role.grants(f"{REGISTRIES}/delete")
    assert not role.grants(f"{REGISTRIES}/pull/read", data=True)


# -- scopes and identities -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("/", True),
        (SUBSCRIPTION, True),
        (f"{SUBSCRIPTION}/resourcegroups/RG-ACR", True),
        (REGISTRY.upper(), True),
        (REGISTRY[:-1], False),
        (CLUSTER, False),
        ("/subscriptions/44444444-4444-4444-4444-444444444444", False),
    ],
)
def test_assignment_covers_what_is_below_its_scope(scope: str, allowed: bool) -> None:
    access = AccessControl([RoleAssignment(BUILT_IN["AcrPull"], scope)])
    assert access.allows("me", f"{REGISTRIES}/pull/read", REGISTRY) == allowed


def test_assignment_is_for_its_identity() -> None:
    access = AccessControl([RoleAssignment(BUILT_IN["AcrPull"], identity="me")])
    assert access.allows("me", f"{REGISTRIES}/pull/read", REGISTRY)
    assert not access.allows("other", f"{REGISTRIES}/pull/read", REGISTRY)
    assert not access.has_any("other", REGISTRY, REGISTRIES)


def test_withheld_action_is_shown_in_the_roles_on_a_subscription() -> None:
    access = AccessControl()
    access.withhold(f"{CLUSTERS}/read", CLUSTER)
    assert not access.allows("me", f"{CLUSTERS}/read", CLUSTER)
    assert access.allows("me", f"{CLUSTERS}/read", f"{CLUSTER}-2")
    assert not any(role.grants(f"{CLUSTERS}/read") for role in access.roles_on("me", SUBSCRIPTION))
    assert any(role.grants(f"{REGISTRIES}/read") for role in access.roles_on("me", SUBSCRIPTION))


# -- conditions ----------------------------------------------------------------------------------


def test_condition_restricts_the_actions_that_it_names() -> None:
    world = World()
    world.registry.abac = True
    world.access.assign_only(RoleAssignment(BUILT_IN["Container Registry Repository Contributor"], condition=CONDITION))
    assert may(world, "me", "pull", "shop/web")
    assert not may(world, "me", "pull", "team/api")
    assert may(world, "me", "push", "team/api"), "the condition does not name it"


def test_unknown_condition_is_an_error() -> None:
    for text in ("@Request[x:y] StringEquals 'a'", "(true)", CONDITION.replace("StartsWith", "Matches")):
        with pytest.raises(ValueError, match="does not know this condition"):
            RoleAssignment(BUILT_IN["Reader"], condition=text)


# -- on the wire ---------------------------------------------------------------------------------


async def login_and_list(registry: RegistryClient) -> list[bool]:
    """Return whether tags, manifests and the repository are shown with their locks."""
    await registry.login()
    tags = await registry.get("/acr/v1/shop/web/_tags")
    manifests = await registry.get("/acr/v1/shop/web/_manifests")
    repository = await registry.get("/acr/v1/shop/web")
    shown = (*tags.json["tags"], *manifests.json["manifests"], repository.json)
    return ["changeableAttributes" in item for item in shown]


async def test_hidden_locks_need_the_right_to_view_them() -> None:
    """The real answer without that right is not known, so a world chooses it."""
    world = World()
    world.registry.push("shop/web", "1.0")
    async with registry_client(world, login=False) as registry:
        world.access.assign_only("AcrPull")
        assert await login_and_list(registry) == [True, True, True]
        world.registry.hides_locks = True
        assert await login_and_list(registry) == [False, False, False]
        world.access.assign_only("AcrPull", "Reader")
        assert await login_and_list(registry) == [True, True, True]


async def test_soft_delete_needs_its_own_role_in_both_modes() -> None:
    for abac in (False, True):
        world = World()
        world.registry.abac, world.registry.soft_delete = abac, True
        world.access.assign_only("AcrPush", "AcrDelete", "Container Registry Repository Contributor")
        async with registry_client(world, login=False) as registry:
            await registry.login("repository:shop/web:deleted_read,deleted_restore")
            assert (await registry.get("/acr/v1/_deleted/shop/web/_manifests")).status == 401
