"""
Discovery: all kinds that may name images are found, and a group version that is not described is a
failure.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from acr_cleanup.access.read_failure import Unreachable
from acr_cleanup.clusters.api_server.client import HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP, NOT_READ, Discovery, discover
from acr_cleanup.clusters.images.pod_specs import KINDS
from tests.helpers.cluster_objects import FakeServer, Replay, aggregated, captured, custom

PLAIN = HttpAnswer(406, b"not that form")
DEAD = "custom.metrics.k8s.io/v1beta1"
SERVED_BY_THE_CORPUS = {
    "clonesets.apps.kruise.io", "analysistemplates.argoproj.io", "cronworkflows.argoproj.io", "rollouts.argoproj.io",
    "workflowtemplates.argoproj.io", "redisclusters.cache.contoso.example", "postgreses.db.contoso.example",
    "unuseds.empty.contoso.example", "helmreleases.helm.toolkit.fluxcd.io", "scaledjobs.keda.sh",
    "services.serving.knative.dev", "pipelines.tekton.dev", "tasks.tekton.dev",
    "configmaps", "namespaces", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts",
    "customresourcedefinitions.apiextensions.k8s.io", "storageclasses.storage.k8s.io",
    "volumeattributesclasses.storage.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io", "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io", "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
}  # fmt: skip


def names(discovery: Discovery) -> dict[str, list[str]]:
    """Return the versions of each kind."""
    return {str(versions[0]): [kind.version for kind in versions] for versions in discovery.kinds}


async def discover_fake(server: FakeServer) -> Discovery:
    return await discover(server.ask, "prod")


@pytest.mark.parametrize("form", ["aggregated", "plain"])
async def test_both_forms_of_discovery_find_same_kinds(form: str) -> None:
    discovery = await discover(Replay(aggregated=form == "aggregated").ask, "prod")
    assert names(discovery).keys() == SERVED_BY_THE_CORPUS
    (dead,) = discovery.failures
    assert dead.kind == DEAD
    assert "503" in dead.seen
    assert "kubectl delete apiservice v1beta1.custom.metrics.k8s.io" in dead.remedy
    assert dead.remedy.endswith(f'waive: "prod: {DEAD}".')


async def test_built_in_and_excluded_kinds_are_left_out() -> None:
    """Built-in workloads would be listed twice, and excluded kinds are never listed."""
    offered = [
        custom("Thing", "things" if resource == "*" else resource, group)
        for resource, _, group in (key.partition(".") for key in NOT_READ)
    ]
    assert len(offered) == len(NOT_READ)
    assert names(await discover_fake(FakeServer(*offered))) == {"configmaps": ["v1"]}
    assert not set(map(str, KINDS)) & names(await discover_fake(FakeServer())).keys()


async def test_excluded_name_in_other_group_is_found() -> None:
    """Only the `services` of the core group are addresses. Those of Knative start pods."""
    assert "services.serving.knative.dev" in names(
        await discover_fake(FakeServer(custom("S", "services", "serving.knative.dev")))
    )


@pytest.mark.parametrize("plain", [False, True], ids=["aggregated", "plain"])
async def test_preferred_version_is_first(plain: bool) -> None:
    """Each kind is found once, with all its versions."""
    server = FakeServer(
        custom(version="v2"), custom(version="v1"), custom("Old", "olds", version="v1"), custom(version="v2")
    )
    if plain:
        group = {
            "name": "argoproj.io",
            "versions": [{"version": "v1"}, {"version": "v2"}],
            "preferredVersion": {"version": "v2"},
        }
        server.others["/apis"] = HttpAnswer(200, json.dumps({"kind": "APIGroupList", "groups": [group]}).encode())
        for version, resources in {"v1": ["rollouts", "olds", "rollouts/scale"], "v2": ["rollouts"]}.items():
            listed = [
                {"name": resource, "kind": resource.title().replace("/", ""), "verbs": ["list"]}
                for resource in resources
            ]
            document = {"kind": "APIResourceList", "resources": listed}
            server.others[f"/apis/argoproj.io/{version}"] = HttpAnswer(200, json.dumps(document).encode())
    expected = {"configmaps": ["v1"], "rollouts.argoproj.io": ["v2", "v1"], "olds.argoproj.io": ["v1"]}
    assert names(await discover_fake(server)) == expected


async def test_resource_without_list_verb_is_left_out() -> None:
    server = FakeServer()
    resources = [
        {"resource": "a", "responseKind": {"kind": "A"}, "verbs": ["create"]},
        {"resource": "b", "responseKind": {"kind": "B"}, "verbs": None},
        {"resource": "c", "responseKind": None, "verbs": ["list"]},
    ]
    version = {"version": "v1", "resources": resources, "freshness": "Current"}
    empty = {"metadata": {"name": "none.example"}, "versions": [{"version": "v1", "resources": None}]}
    items = [{"metadata": {"name": "odd.example"}, "versions": [version]}, empty]
    document = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2beta1", "items": items}
    server.others["/apis"] = HttpAnswer(200, json.dumps(document).encode())
    discovery = await discover_fake(server)
    assert names(discovery) == {"configmaps": ["v1"], "c.odd.example": ["v1"]}
    assert discovery.failures == ()


async def test_server_without_groups_is_valid() -> None:
    server = FakeServer()
    server.others["/apis"] = HttpAnswer(404, b"404 page not found")
    assert (await discover_fake(server)).failures == ()


BROKEN = {
    "empty": HttpAnswer(200, b""),
    "null": HttpAnswer(200, b"null"),
    "html": HttpAnswer(200, b"<html>sign in</html>"),
    "another kind": HttpAnswer(200, b'{"kind": "Status", "apiVersion": "v1"}'),
    "no items": HttpAnswer(200, b'{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2"}'),
    "no groups": HttpAnswer(200, b'{"kind": "APIGroupList"}'),
    "a later form": HttpAnswer(200, aggregated([], core=False).replace(b"k8s.io/v2", b"k8s.io/v3")),
    "cut": HttpAnswer(200, captured("discovery/apis.aggregated.json")[:-2]),
    "cut plain": HttpAnswer(200, captured("discovery/apis.json")[:1000]),
    "numbers": HttpAnswer(200, aggregated([custom()], core=False).replace(b'"rollouts"', b"7")),
    "a path": HttpAnswer(200, aggregated([custom(group="../../api")], core=False)),
    "403": HttpAnswer(403, b"{}", "Forbidden"),
    "500": HttpAnswer(500, b"no"),
    "503": HttpAnswer(503, b"service unavailable"),
    "no answer": Unreachable("connecting", "no answer", "look"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("root", ["/api", "/apis"])
async def test_failed_discovery_cannot_be_waived(root: str, broken: Any) -> None:
    """It has no kind to waive."""
    server = FakeServer(custom())
    server.others[root] = broken
    discovery = await discover_fake(server)
    (failure,) = discovery.failures
    assert (failure.kind, bool(failure.remedy)) == ("", True)
    assert (CONFIG_MAP,) in discovery.kinds, "ConfigMaps are read all the same"
    assert root == "/apis" or "rollouts.argoproj.io" in names(discovery), "the other answer is read all the same"


async def test_missing_core_group_is_a_failure() -> None:
    server = FakeServer()
    server.others["/api"] = HttpAnswer(404, b"404 page not found")
    assert len((await discover_fake(server)).failures) == 1


@pytest.mark.parametrize("odd", ["roll/outs", "..%2fsecrets", "Rollouts", "a b", ""])
async def test_invalid_resource_name_fails_its_group_version(odd: str) -> None:
    discovery = await discover_fake(FakeServer(custom("Odd", odd), custom()))
    if odd == "roll/outs":
        assert discovery.failures == (), "a subresource"
    else:
        assert [failure.kind for failure in discovery.failures] == ["argoproj.io/v1"]
    assert "rollouts.argoproj.io" in names(discovery)


async def test_stale_group_version_is_asked_again() -> None:
    server = FakeServer(stale=["late.example/v1"])
    document = {"kind": "APIResourceList", "resources": [{"name": "things", "kind": "Thing", "verbs": ["list"]}]}
    server.others["/apis/late.example/v1"] = HttpAnswer(200, json.dumps(document).encode())
    discovery = await discover_fake(server)
    assert (names(discovery).get("things.late.example"), discovery.failures) == (["v1"], ())


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(503, b"service unavailable"),
        HttpAnswer(500, b""),
        HttpAnswer(403, b"{}"),
        HttpAnswer(200, b"{}"),
        HttpAnswer(200, b"<html>"),
    ],
    ids=lambda answer: f"{answer.status} {answer.body!r}",
)
async def test_dead_group_version_is_a_failure(answer: HttpAnswer) -> None:
    server = FakeServer(custom(), stale=["late.example/v1"])
    server.others["/apis/late.example/v1"] = answer
    discovery = await discover_fake(server)
    assert [failure.kind for failure in discovery.failures] == ["late.example/v1"]
    assert "rollouts.argoproj.io" in names(discovery)


async def test_dead_metrics_api_is_ignored() -> None:
    """An AKS cluster without a metrics server must not block deletions."""
    server = FakeServer(stale=["metrics.k8s.io/v1beta1"])
    assert (await discover_fake(server)).failures == ()
    assert server.requests("/apis/metrics.k8s.io") == 0


@pytest.mark.parametrize(
    ("group", "gone"),
    [
        (HttpAnswer(404, b"404 page not found"), True),
        (HttpAnswer(200, b'{"kind": "APIGroup", "name": "late.example", "versions": [{"version": "v2"}]}'), True),
        (HttpAnswer(200, b'{"kind": "APIGroup", "name": "late.example", "versions": [{"version": "v1"}]}'), False),
        (HttpAnswer(200, b"<html>"), False),
        (HttpAnswer(503, b""), False),
    ],
)
async def test_removed_group_version_needs_its_groups_confirmation(group: HttpAnswer, gone: bool) -> None:
    server = FakeServer(stale=["late.example/v1"])
    server.others["/apis/late.example/v1"] = HttpAnswer(404, b"404 page not found")
    server.others["/apis/late.example"] = group
    assert (not (await discover_fake(server)).failures) == gone
