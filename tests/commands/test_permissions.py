"""`acr-cleanup permissions`: the script grants all rights that a run needs, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from acr_cleanup import cli
from acr_cleanup.access import roles
from acr_cleanup.access.roles import Command
from acr_cleanup.emulator.roles import BUILT_IN, CLUSTERS, REGISTRIES
from tests.helpers.paths import ROOT
from tests.helpers.permission_scripts import IDENTITY_ID, print_script
from tests.helpers.stage import Stage

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
REGISTRY = f"{SUBSCRIPTION}/resourceGroups/rg-acr/providers/Microsoft.ContainerRegistry/registries/contoso"


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """The cluster has Entra ID and Kubernetes RBAC."""
    stage.cluster.auth = "entra-exec"
    return stage


# -- the registry --------------------------------------------------------------------------------


async def test_script_assigns_only_required_roles(stage: Stage) -> None:
    """Azure tells the mode of the registry, so the roles for ABAC are not mentioned."""
    script = await print_script(stage)
    cluster = f"{SUBSCRIPTION}/resourceGroups/rg-prod/providers/Microsoft.ContainerService/managedClusters/aks-prod"
    assert script.assignments() == {
        (roles.ACR_PULL.name, REGISTRY),
        (roles.ACR_DELETE.name, REGISTRY),
        (roles.READER.name, REGISTRY),
        (roles.READER.name, cluster),
        (roles.CLUSTER_USER.name, cluster),
    }
    assert not any("definition" in call for call in script.run())
    assert "ABAC" not in script.text


async def test_unknown_registry_mode_makes_abac_roles_comments(stage: Stage) -> None:
    stage.world.access.withhold(f"{REGISTRIES}/read", stage.registry.resource_id)
    script = await print_script(stage, scope="all")
    assert {role for role, scope in script.assignments() if scope == REGISTRY} == {
        roles.ACR_PULL.name,
        roles.ACR_DELETE.name,
        roles.READER.name,
    }
    for role in (roles.ABAC_CONTRIBUTOR, roles.ABAC_CATALOG):
        assert f"#   --role '{role}'" in script.text


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        (Command.PLAN, {}, {roles.ABAC_READER, roles.ABAC_CATALOG, roles.READER}),
        (Command.APPLY, {}, {roles.ABAC_CONTRIBUTOR, roles.ABAC_CATALOG, roles.READER}),
        (Command.APPLY, {"include-locked": "true"}, {roles.ABAC_CONTRIBUTOR, roles.ABAC_CATALOG, roles.READER}),
        (Command.RESTORE, {}, {roles.ABAC_WRITER, roles.SOFT_DELETE}),
        (Command.COLLECT, {}, {roles.ABAC_READER, roles.ABAC_CATALOG}),
    ],
)
async def test_abac_registry_gets_roles_for_repositories(
    stage: Stage, command: Command, options: dict[str, str], expected: set[roles.Role]
) -> None:
    """One role is enough if it includes another."""
    stage.registry.abac = True
    script = await print_script(stage, None, command, **options)
    names = {role for role, scope in script.assignments() if scope == REGISTRY}
    assert names == {role.name for role in expected}


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        (Command.PLAN, {"include-locked": "true"}, {roles.ACR_PULL, roles.READER}),
        (Command.APPLY, {"include-locked": "true"}, {roles.ACR_PULL, roles.ACR_DELETE, roles.LOCKS, roles.READER}),
        (Command.EXPLAIN, {}, {roles.ACR_PULL}),
        (Command.EXPLAIN, {"pulled-within": "90d"}, {roles.ACR_PULL, roles.LOG_READER}),
        (Command.PLAN, {"pulled-within": "90d"}, {roles.ACR_PULL, roles.LOG_READER}),
        (Command.RESTORE, {"pulled-within": "90d"}, {roles.ACR_PUSH, roles.LOCKS, roles.SOFT_DELETE}),
        (Command.RESTORE, {}, {roles.ACR_PUSH, roles.LOCKS, roles.SOFT_DELETE}),
    ],
)
async def test_registry_roles_are_those_of_the_command(
    stage: Stage, command: Command, options: dict[str, str], expected: set[roles.Role]
) -> None:
    script = await print_script(stage, None, command, **options)
    names = {role for role, scope in script.assignments() if scope == REGISTRY}
    assert names == {role.name for role in expected}
    definitions = [json.loads(document) for document in script.documents("JSON")]
    assert [definition["Name"] for definition in definitions] == [
        role.name for role in (roles.LOCKS, roles.SOFT_DELETE) if role in expected
    ]
    assert all(definition["AssignableScopes"] == [SUBSCRIPTION] for definition in definitions)


async def test_registry_without_resource_group_is_looked_up(stage: Stage) -> None:
    config = stage.tool.emulator.config()
    config["container_registry"] = {"url": "contoso.azurecr.io"}
    script = await print_script(stage, config)
    assert "registry=$(az acr show --name contoso --query id --output tsv)" in script.text
    assert ["az", "acr", "show", "--name", "contoso", "--query", "id", "--output", "tsv"] in script.run()
    locks = await print_script(stage, config, **{"include-locked": "true"})
    (definition,) = [call for call in locks.run() if call[:4] == ["az", "role", "definition", "create"]]
    assert json.loads(definition[-1])["AssignableScopes"] == ["/subscriptions/from-az"]


# -- clusters ------------------------------------------------------------------------------------


async def test_cluster_role_is_bound_to_the_identity(stage: Stage) -> None:
    """The script uses user credentials to apply it, never the administrator's."""
    calls = (await print_script(stage)).run()
    (credentials,) = [call for call in calls if call[:3] == ["az", "aks", "get-credentials"]]
    assert credentials[3:7] == ["--resource-group", "rg-prod", "--name", "aks-prod"]
    assert "--admin" not in credentials
    (apply,) = [call for call in calls if call[0] == "kubectl"]
    assert apply[3:5] == ["--context", "aks-prod"]
    _, binding = yaml.safe_load_all(apply[-1])
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": IDENTITY_ID}]
    assert binding["roleRef"]["name"] == "acr-cleanup"


async def test_azure_rbac_cluster_gets_a_custom_role(stage: Stage) -> None:
    """It includes Secrets only with `helm-history`."""
    stage.cluster.azure_rbac = True
    script = await print_script(stage)
    (document,) = script.documents("JSON")
    role = json.loads(document)
    assert (role["Actions"], role["DataActions"]) == ([], ["Microsoft.ContainerService/managedClusters/*/read"])
    assert role["NotDataActions"] == ["Microsoft.ContainerService/managedClusters/secrets/read"]
    assert role["AssignableScopes"] == [SUBSCRIPTION]
    (definition,) = [call for call in script.run() if call[:4] == ["az", "role", "definition", "create"]]
    assert json.loads(definition[-1]) == role
    assert any(role["Name"] == name and scope.endswith("/aks-prod") for name, scope in script.assignments())
    assert script.kubectl_calls() == []
    script_for_helm = await print_script(stage, **{"helm-history": "1"})
    assert json.loads(script_for_helm.documents("JSON")[0])["NotDataActions"] == []


async def test_cluster_without_entra_id_needs_no_role(stage: Stage) -> None:
    stage.cluster.auth = "certificate"
    script = await print_script(stage)
    assert "Cluster production needs no role" in script.text
    assert script.documents("YAML") == []
    assert script.kubectl_calls() == []


@pytest.mark.parametrize("access", ["auto", "run-command", "direct"])
async def test_private_cluster_gets_the_roles_of_its_access(stage: Stage, access: str) -> None:
    stage.cluster.private = True
    config = stage.tool.emulator.config()
    config["kubernetes_clusters"]["production"]["access"] = access
    script = await print_script(stage, config)
    cluster_roles = {role for role, scope in script.assignments() if scope.endswith("/aks-prod")}
    assert (roles.RUN_COMMANDS.name in cluster_roles) == (access != "direct")
    assert (roles.CLUSTER_USER.name in cluster_roles) == (access != "run-command")
    if access != "direct":
        assert json.loads(script.documents("JSON")[0])["Actions"] == [
            "Microsoft.ContainerService/managedClusters/read",
            "Microsoft.ContainerService/managedClusters/runcommand/action",
            "Microsoft.ContainerService/managedClusters/commandResults/read",
        ]
    assert any(call[:4] == ["az", "aks", "command", "invoke"] for call in script.run())
    assert IDENTITY_ID in (script.folder / "acr-cleanup-role.yaml").read_text()


@pytest.mark.parametrize(
    "options", [{"require-all-clusters": "true"}, {"subscriptions": SUBSCRIPTION.rpartition("/")[2]}]
)
async def test_unlisted_clusters_need_reader_on_the_subscription(stage: Stage, options: dict[str, str]) -> None:
    """The configured cluster then needs no separate role Reader."""
    assignments = (await print_script(stage, **options)).assignments()
    assert {scope for role, scope in assignments if role == roles.READER.name and scope != REGISTRY} == {SUBSCRIPTION}


async def test_subscription_of_a_snapshot_is_searched(stage: Stage) -> None:
    """Its cluster needs no role."""
    other_id = "99999999-9999-9999-9999-999999999999"
    resource_id = (
        f"/subscriptions/{other_id}/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks-afar"
    )
    config = stage.tool.emulator.config()
    config["kubernetes_clusters"]["afar"] = {"snapshot": "usage.json", "resource_id": resource_id}
    assignments = (await print_script(stage, config, **{"require-all-clusters": "true"})).assignments()
    assert {(roles.READER.name, SUBSCRIPTION), (roles.READER.name, f"/subscriptions/{other_id}")} <= assignments
    assert not any(scope.endswith("/aks-afar") for _, scope in assignments)


async def test_kubeconfig_and_snapshot_clusters_need_no_azure_role(stage: Stage) -> None:
    """A kubeconfig cluster gets the ClusterRole; its kubeconfig is not read for that."""
    config = stage.tool.emulator.config()
    kubeconfig = stage.tool.folder / "kube config"
    kubeconfig.write_text("nonsense: [")
    config["kubernetes_clusters"] = {
        "onprem": {"kubeconfig": str(kubeconfig), "context": "it's"},
        "afar": {"snapshot": "usage.json"},
    }
    script = await print_script(stage, config)
    assert script.code == 0
    registry_roles = (roles.ACR_PULL, roles.ACR_DELETE, roles.READER)
    assert script.assignments() == {(role.name, REGISTRY) for role in registry_roles}
    (apply,) = script.kubectl_calls()
    assert apply[1:5] == ["--kubeconfig", str(kubeconfig), "--context", "it's"]
    assert "read from a usage snapshot" in script.text


# -- clusters that cannot be asked ---------------------------------------------------------------


def stop_cluster(stage: Stage) -> None:
    stage.cluster.power_state = "Stopped"


def deny_read(stage: Stage) -> None:
    stage.world.access.withhold(f"{CLUSTERS}/read", stage.cluster.resource_id)


def deny_credentials(stage: Stage) -> None:
    stage.world.access.withhold(f"{CLUSTERS}/listClusterUserCredential/action", stage.cluster.resource_id)


def disconnect_cluster(stage: Stage) -> None:
    stage.cluster.reachable = False


def refuse_discovery(stage: Stage) -> None:
    stage.fault(service=stage.service, path="^/apis?$", status=403, body={"kind": "Status", "message": "no"})


def refuse_login(stage: Stage) -> None:
    stage.fault(service="entra", status=401, body={"error": "invalid_client"})


PROBLEMS = [stop_cluster, deny_read, deny_credentials, disconnect_cluster, refuse_discovery, refuse_login]


@pytest.mark.parametrize("cause_problem", PROBLEMS, ids=lambda function: function.__name__)
async def test_cluster_that_cannot_be_asked_gets_a_comment(stage: Stage, cause_problem: Any) -> None:
    """
    The script is complete but for custom resources; its comment says how to find their API groups.
    """
    cause_problem(stage)
    script = await print_script(stage)
    assert script.code == 0
    assert "# The cluster could not be asked" in script.text
    assert "kubectl api-resources --verbs=list" in script.text
    assert len(script.assignments()) == 5
    assert script.api_groups == {
        "",
        "apps",
        "batch",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "storage.k8s.io",
    }


async def test_unknown_azure_rbac_makes_its_role_a_comment(stage: Stage) -> None:
    deny_read(stage)
    script = await print_script(stage)
    assert "could not be asked whether it has Azure RBAC" in script.text
    assert f"#   --role '{roles.OBJECTS.name}'" in script.text
    assert roles.OBJECTS.name not in {role for role, _ in script.assignments()}
    assert not any("definition" in call for call in script.run())


# -- hostile names -------------------------------------------------------------------------------


async def test_hostile_names_do_not_become_commands(stage: Stage) -> None:
    created = stage.tool.folder / "owned"
    hostile = f"x\ntouch {created}; $(touch {created}) `touch {created}` ' \" YAML"
    config = stage.tool.emulator.config()
    entry = config["kubernetes_clusters"].pop("production")
    config["kubernetes_clusters"] = {
        hostile: entry,
        f"{hostile}2": {"kubeconfig": "acr-cleanup.json", "context": hostile},
    }
    message = {"error": {"code": "No", "message": f"{hostile}\nYAML\n$(touch {created})"}}
    stage.fault(service="arm", path="listClusterUserCredential", status=403, body=message)
    script = await print_script(stage, config)
    script.run()
    assert not created.exists()


# -- the command line and the documentation ------------------------------------------------------


def test_invalid_configuration_has_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "acr-cleanup.json"
    path.write_text('{"kubernetes_clusters": {}}')
    assert cli.run(["permissions", str(path)], {}) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "kubernetes_clusters" in err


def test_rights_to_restore_need_no_clusters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other commands do."""
    path = tmp_path / "acr-cleanup.yaml"
    path.write_text("container_registry: {url: contoso.azurecr.io}\n")
    assert cli.run(["permissions", str(path), "--for", "restore"], {"AZURE_TENANT_ID": "invalid"}) == 0
    assert "--role AcrPush" in capsys.readouterr().out
    assert cli.run(["permissions", str(path), "--for", "plan"], {}) == 2


def test_command_accepts_options_that_change_the_rights() -> None:
    flags = ["--helm-history", "3", "--subscriptions", "x", "--require-all-clusters", "true", "--registry", "contoso"]
    flags += ["--scope", "all", "--include-locked", "true"]
    parsed = cli.parser().parse_args(["permissions", *flags])
    assert (parsed.helm_history, parsed.subscriptions, parsed.require_all_clusters) == ("3", ["x"], "true")
    assert (parsed.scope, parsed.include_locked) == ("all", "true")


def test_documentation_lists_each_role() -> None:
    documentation = (ROOT / "docs" / "rights.md").read_text(encoding="utf-8")
    for right in (*roles.REGISTRY_RIGHTS, *roles.CLUSTER_RIGHTS):
        for role in (right.role, right.abac):
            for name in (role.actions or role.data_actions) if role.is_custom else (role.name,):
                assert name in documentation, right.purpose
    assert roles.RBAC_READER.name in documentation


def test_built_in_roles_have_the_ids_of_azure() -> None:
    """The emulator has its own table of built-in roles."""
    for right in (*roles.REGISTRY_RIGHTS, *roles.CLUSTER_RIGHTS):
        for role, actions in ((right.role, right.actions), (right.abac, right.abac_actions)):
            if not role.is_custom:
                assert BUILT_IN[role.name].id == role.id
                assert all(
                    BUILT_IN[role.name].grants(action) or BUILT_IN[role.name].grants(action, data=True)
                    for action in actions
                ), right.purpose
