"""The ClusterRole that `acr-cleanup permissions` prints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.clusters.api_server.discovery import NOT_READ
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.commands.rights.cluster_role import FURTHER
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.permission_scripts import print_script
from tests.helpers.stage import Stage, staged

ROLLOUT = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web", "namespace": "shop"}}


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Serve a cluster with Entra ID, Kubernetes RBAC and a custom resource."""
    async with staged(tmp_path, monkeypatch) as served:
        served.cluster.auth = "entra-exec"
        served.cluster.add(ROLLOUT)
        yield served


def restrict_to_role(cluster: ClusterState, role: Mapping[str, Any]) -> None:
    """Let the identity list in this cluster only what the ClusterRole allows."""

    def is_allowed(group: str, plural: str) -> bool:
        return any(
            group in rule["apiGroups"] and {"*", plural} & set(rule["resources"]) and "list" in rule["verbs"]
            for rule in role["rules"]
        )

    cluster.forbidden = {
        resource.key for resource in cluster.resources() if not is_allowed(resource.group, resource.plural)
    }


async def test_cluster_role_is_sufficient_for_a_plan(stage: Stage) -> None:
    restrict_to_role(stage.cluster, (await print_script(stage)).cluster_role)
    assert {"secrets", "nodes", "clusterroles.rbac.authorization.k8s.io"} <= stage.cluster.forbidden
    ran = await stage.tool.plan()
    assert (ran.code, ran.blockers) == (0, [])
    assert ran.planned == {"shop/web:1.0", "shop/web:1.1"}


async def test_cluster_role_allows_only_list(stage: Stage) -> None:
    """It names its API groups, has no Secrets, and uses `*` only for custom resources."""
    role = (await print_script(stage)).cluster_role
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list"}
    for rule in role["rules"]:
        assert "*" not in rule["apiGroups"]
        assert "secrets" not in rule["resources"]
        assert rule["resources"] != ["*"] or all("." in group for group in rule["apiGroups"])


@pytest.mark.extended
@pytest.mark.parametrize("resource", [*map(str, KINDS), "configmaps", "serviceaccounts", "rollouts.argoproj.io"])
async def test_missing_rule_is_named_by_the_blocker(stage: Stage, resource: str) -> None:
    restrict_to_role(stage.cluster, (await print_script(stage)).cluster_role)
    stage.cluster.forbidden.add(resource)
    ran = await stage.tool.plan()
    assert ran.code == 3
    (blocker,) = ran.blockers
    assert blocker["kind"] == resource
    name, _, group = resource.partition(".")
    assert f'apiGroups: ["{group}"]' in blocker["remedy"]
    assert f'resources: ["{name}"]' in blocker["remedy"]


async def test_helm_history_adds_secrets(stage: Stage) -> None:
    script = await print_script(stage, **{"helm-history": "3"})
    assert [rule for rule in script.cluster_role["rules"] if rule["resources"] == ["secrets"]] != []
    assert "# For Helm's history (helm-history is 3)." in script.text
    restrict_to_role(stage.cluster, script.cluster_role)
    ran = await stage.tool.plan(**{"helm-history": "3"})
    assert (ran.code, ran.blockers) == (0, [])


async def test_built_in_kinds_are_included_without_a_cluster(stage: Stage) -> None:
    """Only custom resources are missing if no cluster can be asked."""
    script = await print_script(stage)
    stage.cluster.power_state = "Stopped"
    script_without_cluster = await print_script(stage)

    assert script.resources - script_without_cluster.resources == {("argoproj.io", "*")}


def test_kinds_that_are_never_read_are_not_granted() -> None:
    for group, resources in FURTHER.items():
        assert f"*.{group}" not in NOT_READ
        assert {f"{resource}.{group}".rstrip(".") for resource in resources}.isdisjoint(NOT_READ)


async def test_dead_api_does_not_hide_other_api_groups(stage: Stage) -> None:
    stage.cluster.dead_apis.add("custom.metrics.k8s.io/v1beta1")
    script = await print_script(stage)
    assert "argoproj.io" in script.api_groups
    assert "kubectl api-resources" not in script.text


async def test_clusters_share_one_role(stage: Stage) -> None:
    """The script applies it to each of them."""
    other = stage.another("test", auth="entra-exec")
    other.add({"apiVersion": "keda.sh/v1", "kind": "ScaledJob", "metadata": {"name": "x", "namespace": "shop"}})
    script = await print_script(stage)
    assert {"argoproj.io", "keda.sh"} <= script.api_groups
    assert [call[4] for call in script.kubectl_calls()] == ["aks-prod", "aks-test"]


async def test_invalid_api_group_is_not_printed(stage: Stage) -> None:
    groups = [{"name": 'a"b\nYAML\n$(touch x)', "versions": [{"groupVersion": "a/v1", "version": "v1"}]}]
    stage.fault(
        service=stage.service,
        path="^/apis$",
        status=200,
        body={"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    )
    script = await print_script(stage)
    assert not any(line.startswith("$(touch") for line in script.text.splitlines())
    assert "argoproj.io" not in script.api_groups
