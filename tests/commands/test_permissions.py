"""What `acr-cleanup permissions` prints: valid, harmless, and just enough to read the clusters and clean the registry."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from acr_cleanup import cli
from acr_cleanup.access import roles as rights
from acr_cleanup.clusters.api_server.discovery import NOT_READ
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.commands import cluster_role
from acr_cleanup.commands import permissions as module
from acr_cleanup.commands.cluster_role import IDENTITY
from acr_cleanup.commands.permissions import permissions
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings import load_settings
from tests.helpers.paths import ROOT
from tests.helpers.stage import Stage, staged

SOMEBODY = "12345678-0000-0000-0000-000000000000"
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
REGISTRY = f"{SUBSCRIPTION}/resourceGroups/rg-acr/providers/Microsoft.ContainerRegistry/registries/contoso"


@dataclass
class Printed:
    """What was printed, and what comes of running it (with an `az` and a `kubectl` that only write down what they are told)."""

    code: int
    text: str
    folder: Path

    def parts(self, mark: str) -> list[str]:
        return re.findall(rf"<<'{mark}'\n(.*?)\n{mark}\n", self.text, re.DOTALL)

    @property
    def role(self) -> dict[str, Any]:
        """The ClusterRole."""
        (part,) = self.parts("YAML")
        first, _ = yaml.safe_load_all(part)
        assert first["kind"] == "ClusterRole"
        return dict(first)

    def check(self) -> None:
        """All of it is what it claims to be."""
        subprocess.run(["bash", "-n"], input=self.text, text=True, check=True)
        for part in self.parts("JSON"):
            assert json.loads(part)["AssignableScopes"]
        for part in self.parts("YAML"):
            assert [each["kind"] for each in yaml.safe_load_all(part)] == ["ClusterRole", "ClusterRoleBinding"]

    def run(self) -> list[list[str]]:
        """The commands that the script runs, each with what it is given on stdin as its last word."""
        script = self.folder / "rights.sh"
        script.write_text(self.text.replace(f"identity={shlex.quote(IDENTITY)}", f"identity={SOMEBODY}"))
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        calls = self.folder / "calls"
        calls.write_text("")
        for name in ("az", "kubectl"):
            read = '"$(cat)"' if name == "kubectl" else ""
            (tools / name).write_text(
                f'#!/bin/sh\nfor word in {name} "$@" {read}; do printf \'%s\\037\' "$word"; done >> {calls}\n'
                f"printf '\\036' >> {calls}\n"
            )
            (tools / name).chmod(0o755)
        path = f"{tools}:{os.environ['PATH']}"
        subprocess.run(
            ["bash", "-eu", str(script)],
            check=True,
            cwd=self.folder,
            env={"PATH": path},
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
        return [call.split("\x1f")[:-1] for call in calls.read_text().split("\x1e")[:-1]]

    def assigned(self) -> set[tuple[str, str]]:
        """Role and scope of each assignment that the script makes."""
        made = [call for call in self.run() if call[:4] == ["az", "role", "assignment", "create"]]
        assert all(call[call.index("--assignee-object-id") + 1] == SOMEBODY for call in made)
        return {(call[call.index("--role") + 1], call[call.index("--scope") + 1]) for call in made}


async def printed(stage: Stage, config: Mapping[str, Any] | None = None, /, **options: str) -> Printed:
    folder = stage.tool.folder
    path = folder / "acr-cleanup.json"
    path.write_text(json.dumps(config or stage.tool.emulator.config()))
    settings = load_settings(path, options, os.environ)
    out, err = io.StringIO(), io.StringIO()
    code = await permissions(settings, Terminal(stdout=out, stderr=err, environ={}), os.environ)
    text = out.getvalue()
    assert "Traceback" not in text + err.getvalue()
    got = Printed(code, text, folder)
    got.check()
    return got


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """One cluster with Entra ID and Kubernetes RBAC, that serves custom resources; and all the ordinary rest."""
    async with staged(tmp_path, monkeypatch) as made:
        made.cluster.auth = "entra-exec"
        made.cluster.add(rollout())
        yield made


def rollout(name: str = "web") -> dict[str, Any]:
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name, "namespace": "shop"}}


def only(cluster: ClusterState, role: Mapping[str, Any]) -> None:
    """Let the identity do in this cluster what the ClusterRole says, and nothing else."""
    cluster.forbidden = {
        each.key
        for each in cluster.resources()
        if not any(
            each.group in rule["apiGroups"] and {"*", each.plural} & set(rule["resources"]) and "list" in rule["verbs"]
            for rule in role["rules"]
        )
    }


# -- it is enough, and no more ---------------------------------------------------------------------------------------------


async def test_the_printed_role_is_enough_to_read_a_cluster(stage: Stage) -> None:
    only(stage.cluster, (await printed(stage)).role)
    assert {"secrets", "nodes", "clusterroles.rbac.authorization.k8s.io"} <= stage.cluster.forbidden
    ran = await stage.tool.plan()
    assert (ran.code, ran.blockers) == (0, [])
    assert ran.planned == {"shop/web:1.0", "shop/web:1.1"}


async def test_it_lets_nobody_do_more_than_list(stage: Stage) -> None:
    role = (await printed(stage)).role
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list"}
    for rule in role["rules"]:
        assert "*" not in rule["apiGroups"]
        assert "secrets" not in rule["resources"]
        assert rule["resources"] != ["*"] or all("." in group for group in rule["apiGroups"])


@pytest.mark.parametrize("resource", [*map(str, KINDS), "configmaps", "serviceaccounts", "rollouts.argoproj.io"])
async def test_without_one_of_its_rules_the_blocker_names_that_rule(stage: Stage, resource: str) -> None:
    only(stage.cluster, (await printed(stage)).role)
    stage.cluster.forbidden.add(resource)
    ran = await stage.tool.plan()
    assert ran.code == 3
    (blocker,) = ran.blockers
    assert blocker["kind"] == resource
    name, _, group = resource.partition(".")
    assert f'apiGroups: ["{group}"]' in blocker["remedy"]
    assert f'resources: ["{name}"]' in blocker["remedy"]


async def test_secrets_are_in_it_only_for_helms_history(stage: Stage) -> None:
    got = await printed(stage, **{"helm-history": "3"})
    assert [rule for rule in got.role["rules"] if rule["resources"] == ["secrets"]] != []
    assert "# For Helm's history (helm-history is 3)." in got.text
    only(stage.cluster, got.role)
    ran = await stage.tool.plan(**{"helm-history": "3"})
    assert (ran.code, ran.blockers) == (0, [])


async def test_what_kubernetes_itself_serves_is_in_it_even_if_no_cluster_can_be_asked(stage: Stage) -> None:
    asked = await printed(stage)
    stage.cluster.power_state = "Stopped"
    unasked = await printed(stage)

    def listed(got: Printed) -> set[tuple[str, str]]:
        return {
            (group, resource)
            for rule in got.role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }

    assert listed(asked) - listed(unasked) == {("argoproj.io", "*")}


def test_nothing_of_it_is_a_kind_that_is_never_read() -> None:
    for group, resources in cluster_role.FURTHER.items():
        assert f"*.{group}" not in NOT_READ
        assert {f"{each}.{group}".rstrip(".") for each in resources}.isdisjoint(NOT_READ)


# -- the script -----------------------------------------------------------------------------------------------------------


async def test_it_grants_just_the_roles_that_a_run_needs(stage: Stage) -> None:
    got = await printed(stage)
    cluster = f"{SUBSCRIPTION}/resourceGroups/rg-prod/providers/Microsoft.ContainerService/managedClusters/aks-prod"
    assert got.assigned() == {
        (rights.ACR_PULL, REGISTRY),
        (rights.ACR_DELETE, REGISTRY),
        (rights.READER, cluster),
        (rights.CLUSTER_USER, cluster),
    }
    assert not any("definition" in call for call in got.run())
    for role in (rights.ABAC_READER, rights.ABAC_CONTRIBUTOR, rights.ABAC_CATALOG):
        assert role in got.text, "as a remark"


async def test_the_identity_is_written_once_and_reaches_the_cluster(stage: Stage) -> None:
    calls = (await printed(stage)).run()
    (credentials,) = [call for call in calls if call[:3] == ["az", "aks", "get-credentials"]]
    assert credentials[3:7] == ["--resource-group", "rg-prod", "--name", "aks-prod"]
    assert "--admin" not in credentials
    (applied,) = [call for call in calls if call[0] == "kubectl"]
    assert applied[3:5] == ["--context", "aks-prod"]
    _, binding = yaml.safe_load_all(applied[-1])
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": SOMEBODY}]
    assert binding["roleRef"]["name"] == "acr-cleanup"


async def test_a_registry_whose_place_is_unknown_is_looked_up(stage: Stage) -> None:
    config = stage.tool.emulator.config()
    config["container_registry"] = {"url": "contoso.azurecr.io"}
    got = await printed(stage, config)
    assert "registry=$(az acr show --name contoso --query id --output tsv)" in got.text
    assert ["az", "acr", "show", "--name", "contoso", "--query", "id", "--output", "tsv"] in got.run()


async def test_a_cluster_with_azure_rbac_gets_a_role_for_objects_of_every_kind_but_secrets(stage: Stage) -> None:
    stage.cluster.azure_rbac = True
    got = await printed(stage)
    (part,) = got.parts("JSON")
    role = json.loads(part)
    assert (role["Actions"], role["DataActions"]) == ([], ["Microsoft.ContainerService/managedClusters/*/read"])
    assert role["NotDataActions"] == ["Microsoft.ContainerService/managedClusters/secrets/read"]
    assert role["AssignableScopes"] == [SUBSCRIPTION]
    (defined,) = [call for call in got.run() if call[:4] == ["az", "role", "definition", "create"]]
    assert json.loads(defined[-1]) == role
    assert any(role["Name"] == name and scope.endswith("/aks-prod") for name, scope in got.assigned())
    assert not any(call[0] == "kubectl" for call in got.run())
    helm = await printed(stage, **{"helm-history": "1"})
    assert json.loads(helm.parts("JSON")[0])["NotDataActions"] == []


async def test_a_cluster_without_entra_id_needs_no_rights_inside(stage: Stage) -> None:
    stage.cluster.auth = "certificate"
    got = await printed(stage)
    assert "Cluster production needs nothing" in got.text
    assert got.parts("YAML") == []
    assert not any(call[0] == "kubectl" for call in got.run())


@pytest.mark.parametrize("access", ["auto", "run-command", "direct"])
async def test_a_private_cluster_gets_what_its_way_of_reading_needs(stage: Stage, access: str) -> None:
    stage.cluster.private = True
    config = stage.tool.emulator.config()
    config["kubernetes_clusters"]["production"]["access"] = access
    got = await printed(stage, config)
    roles = {role for role, scope in got.assigned() if scope.endswith("/aks-prod")}
    assert (module.RUN_COMMAND_ROLE in roles) == (access != "direct")
    assert (rights.CLUSTER_USER in roles) == (access != "run-command")
    if access != "direct":
        assert json.loads(got.parts("JSON")[0])["Actions"] == [
            "Microsoft.ContainerService/managedClusters/read",
            "Microsoft.ContainerService/managedClusters/runcommand/action",
            "Microsoft.ContainerService/managedClusters/commandResults/read",
        ]
    assert any(call[:4] == ["az", "aks", "command", "invoke"] for call in got.run())
    assert SOMEBODY in (got.folder / "acr-cleanup-role.yaml").read_text()


@pytest.mark.parametrize(
    "options", [{"require-all-clusters": "true"}, {"subscriptions": SUBSCRIPTION.rpartition("/")[2]}]
)
async def test_looking_for_forgotten_clusters_needs_the_whole_subscription(
    stage: Stage, options: dict[str, str]
) -> None:
    readers = {scope for role, scope in (await printed(stage, **options)).assigned() if role == rights.READER}
    assert readers == {SUBSCRIPTION}, "and the cluster then needs none of its own"


async def test_the_subscription_of_a_snapshots_cluster_is_searched_as_well(stage: Stage) -> None:
    there = "99999999-9999-9999-9999-999999999999"
    resource_id = (
        f"/subscriptions/{there}/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks-afar"
    )
    config = stage.tool.emulator.config()
    config["kubernetes_clusters"]["afar"] = {"snapshot": "usage.json", "resource_id": resource_id}
    assigned = (await printed(stage, config, **{"require-all-clusters": "true"})).assigned()
    assert {(rights.READER, SUBSCRIPTION), (rights.READER, f"/subscriptions/{there}")} <= assigned
    assert not any(scope.endswith("/aks-afar") for _, scope in assigned)


async def test_clusters_that_are_not_reached_through_azure_need_nothing_there(stage: Stage) -> None:
    config = stage.tool.emulator.config()
    kubeconfig = stage.tool.folder / "kube config"
    kubeconfig.write_text("nonsense: [")
    config["kubernetes_clusters"] = {
        "onprem": {"kubeconfig": str(kubeconfig), "context": "it's"},
        "afar": {"snapshot": "usage.json"},
    }
    got = await printed(stage, config)
    assert got.code == 0
    assert got.assigned() == {(rights.ACR_PULL, REGISTRY), (rights.ACR_DELETE, REGISTRY)}
    (applied,) = [call for call in got.run() if call[0] == "kubectl"]
    assert applied[1:5] == ["--kubeconfig", str(kubeconfig), "--context", "it's"]
    assert "a usage snapshot stands for it" in got.text


# -- what cannot be asked --------------------------------------------------------------------------------------------------


def _stop(stage: Stage) -> None:
    stage.cluster.power_state = "Stopped"


def _hide(stage: Stage) -> None:
    stage.cluster.denied_actions = {"read"}


def _lock(stage: Stage) -> None:
    stage.cluster.denied_actions = {"listClusterUserCredential/action"}


def _cut(stage: Stage) -> None:
    stage.cluster.reachable = False


def _refuse(stage: Stage) -> None:
    stage.fault(service=stage.service, path="^/apis?$", status=403, body={"kind": "Status", "message": "no"})


def _logout(stage: Stage) -> None:
    stage.fault(service="entra", status=401, body={"error": "invalid_client"})


@pytest.mark.parametrize("spoil", [_stop, _hide, _lock, _cut, _refuse, _logout], ids=lambda each: each.__name__)
async def test_a_cluster_that_cannot_be_asked_is_a_remark_and_no_failure(stage: Stage, spoil: Any) -> None:
    spoil(stage)
    got = await printed(stage)
    assert got.code == 0
    assert "# It could not be asked everything" in got.text
    assert "kubectl api-resources --verbs=list" in got.text
    assert len(got.assigned()) == 4
    groups = {group for rule in got.role["rules"] for group in rule["apiGroups"]}
    assert groups == {"", "apps", "batch", "admissionregistration.k8s.io"}


async def test_where_azure_rbac_is_unknown_its_role_is_shown_and_not_granted(stage: Stage) -> None:
    _hide(stage)
    got = await printed(stage)
    assert "could not be asked whether it has Azure RBAC" in got.text
    assert f"#   --role '{module.OBJECTS_ROLE}'" in got.text
    assert module.OBJECTS_ROLE not in {role for role, _ in got.assigned()}
    assert not any("definition" in call for call in got.run())


async def test_a_dead_api_does_not_hide_what_else_is_served(stage: Stage) -> None:
    stage.cluster.dead_apis.add("custom.metrics.k8s.io/v1beta1")
    got = await printed(stage)
    assert "argoproj.io" in {group for rule in got.role["rules"] for group in rule["apiGroups"]}
    assert "kubectl api-resources" not in got.text


async def test_several_clusters_share_one_role_and_each_gets_it(stage: Stage) -> None:
    other = stage.another("test", auth="entra-exec")
    other.add({"apiVersion": "keda.sh/v1", "kind": "ScaledJob", "metadata": {"name": "x", "namespace": "shop"}})
    got = await printed(stage)
    assert {"argoproj.io", "keda.sh"} <= {group for rule in got.role["rules"] for group in rule["apiGroups"]}
    assert [call[4] for call in got.run() if call[0] == "kubectl"] == ["aks-prod", "aks-test"]


# -- hostile text --------------------------------------------------------------------------------------------------------


async def test_no_name_becomes_a_command(stage: Stage) -> None:
    mark = stage.tool.folder / "owned"
    evil = f"x\ntouch {mark}; $(touch {mark}) `touch {mark}` ' \" YAML"
    config = stage.tool.emulator.config()
    entry = config["kubernetes_clusters"].pop("production")
    config["kubernetes_clusters"] = {evil: entry, f"{evil}2": {"kubeconfig": "acr-cleanup.json", "context": evil}}
    message = {"error": {"code": "No", "message": f"{evil}\nYAML\n$(touch {mark})"}}
    stage.fault(service="arm", path="listClusterUserCredential", status=403, body=message)
    got = await printed(stage, config)
    got.run()
    assert not mark.exists()


async def test_a_group_that_is_no_name_is_not_printed(stage: Stage) -> None:
    groups = [{"name": 'a"b\nYAML\n$(touch x)', "versions": [{"groupVersion": "a/v1", "version": "v1"}]}]
    stage.fault(
        service=stage.service,
        path="^/apis$",
        status=200,
        body={"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    )
    got = await printed(stage)
    assert not any(line.startswith("$(touch") for line in got.text.splitlines())
    assert "argoproj.io" not in {group for rule in got.role["rules"] for group in rule["apiGroups"]}


# -- the command, and the words elsewhere -----------------------------------------------------------------------------------


def test_a_wrong_configuration_is_told_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "acr-cleanup.json"
    path.write_text('{"kubernetes_clusters": {}}')
    assert cli.run(["permissions", str(path)], {}) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "kubernetes_clusters" in err


def test_the_command_takes_what_changes_the_rights() -> None:
    flags = ["--helm-history", "3", "--subscriptions", "x", "--require-all-clusters", "true", "--registry", "contoso"]
    parsed = cli.parser().parse_args(["permissions", *flags])
    assert (parsed.helm_history, parsed.subscriptions, parsed.require_all_clusters) == ("3", ["x"], "true")


def test_every_role_is_in_the_documentation() -> None:
    table = (ROOT / "docs" / "rights.md").read_text(encoding="utf-8")
    names = [
        rights.ACR_PULL, rights.ACR_DELETE, rights.ABAC_READER, rights.ABAC_CONTRIBUTOR, rights.ABAC_CATALOG, rights.READER,
        rights.CLUSTER_USER, rights.RBAC_READER,
    ]  # fmt: skip
    assert [name for name in names if name not in table] == []


def test_messages_of_the_registry_name_the_same_roles() -> None:
    text = (ROOT / "acr_cleanup" / "registry" / "failures.py").read_text(encoding="utf-8")
    for name in (rights.ACR_PULL, rights.ACR_DELETE, rights.ABAC_READER, rights.ABAC_CONTRIBUTOR, rights.ABAC_CATALOG):
        assert name in text
