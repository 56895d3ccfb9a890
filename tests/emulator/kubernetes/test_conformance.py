"""The emulated API server, with the objects of a real one, against the captured answers."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.emulated_api_server import ApiClient, Captured, api_of, captured, keys

pytestmark = pytest.mark.recordings

# Headers that differ between requests or between servers.
_UNCOMPARED_HEADERS = {"Audit-Id", "Date", "Content-Length", "Transfer-Encoding", "Etag"}


@pytest.fixture
def real() -> Captured:
    return captured()


@pytest.fixture
async def api(real: Captured) -> AsyncIterator[ApiClient]:
    async with api_of(real.cluster()) as client:
        yield client


def _same_headers(emulated: Any, captured_headers: dict[str, str]) -> None:
    for name, value in captured_headers.items():
        if name in _UNCOMPARED_HEADERS:
            continue
        assert name in emulated, f"the real server sends {name}"
        if "Uid" not in name:
            assert emulated[name] == value


@pytest.mark.parametrize(
    "name",
    [
        "v1_pods",
        "v1_configmaps",
        "v1_nodes",
        "v1_namespaces",
        "v1_podtemplates",
        "v1_replicationcontrollers",
        "apps_v1_deployments",
        "apps_v1_replicasets",
        "apps_v1_controllerrevisions",
        "batch_v1_cronjobs",
        "argoproj.io_v1alpha1_rollouts",
        "db.contoso.example_v1_postgreses",
        "empty.contoso.example_v1_unuseds",
        "apiextensions.k8s.io_v1_customresourcedefinitions",
    ],
)
async def test_list_answers_as_captured(api: ApiClient, real: Captured, name: str) -> None:
    """The same items in the same order, the same keys around them, the same headers."""
    file = f"list/{name}.json"
    answer = await api.get(real.entries[file]["path"])
    expected = real.json(file)
    emulated = answer.json
    assert answer.status == 200
    assert emulated["items"] == expected["items"]
    assert {key: value for key, value in emulated.items() if key not in {"items", "metadata"}} == {
        key: value for key, value in expected.items() if key not in {"items", "metadata"}
    }
    assert set(emulated["metadata"]) == set(expected["metadata"])
    _same_headers(answer.headers, real.headers(file))


@pytest.mark.parametrize("name", ["v1_pods", "v1_configmaps", "apps_v1_replicasets", "v1_namespaces"])
async def test_paged_list_has_the_captured_pages(api: ApiClient, real: Captured, name: str) -> None:
    """For each page: the items, the remaining count, and the key in the opaque token."""
    pages = [real.json(file) for file in sorted(real.entries) if file.startswith(f"list/{name}.limit5.p")]
    emulated = await api.walk(real.entries[f"list/{name}.json"]["path"], 5)
    assert [page["items"] for page in emulated] == [page["items"] for page in pages]
    assert [set(page["metadata"]) for page in emulated] == [set(page["metadata"]) for page in pages]
    remaining = [page["metadata"].get("remainingItemCount") for page in pages]
    assert [page["metadata"].get("remainingItemCount") for page in emulated] == remaining
    assert [_start(page) for page in emulated] == [_start(page) for page in pages]
    assert len({page["metadata"]["resourceVersion"] for page in emulated}) == 1


def _start(page: Any) -> str | None:
    token = page["metadata"].get("continue")
    if not token:
        return None
    return str(json.loads(base64.urlsafe_b64decode(token + "==="))["start"])


@pytest.mark.parametrize(
    "name",
    [
        "400_continue-valid-base64.json",
        "400_continue-with-rv.json",
        "400_limit-abc.json",
        "400_field-selector.json",
        "404_missing-group.json",
        "404_missing-resource.json",
        "404_missing-resource_apps.json",
        "404_missing-version.json",
        "404_missing-object.json",
        "404_missing-custom-resource.json",
        "404_not-listable.json",
        "404_root-path.json",
    ],
)
async def test_error_answers_as_captured(api: ApiClient, real: Captured, name: str) -> None:
    """Status, headers and the exact body: a Status object or plain text."""
    entry = real.entries[f"errors/{name}"]
    query = f"?{entry['query']}" if entry["query"] else ""
    answer = await api.get(entry["path"] + query)
    assert answer.status == entry["status"]
    assert answer.body.decode() == real.text(f"errors/{name}")
    _same_headers(answer.headers, real.headers(f"errors/{name}"))


async def test_forbidden_lists_answer_as_captured(api: ApiClient, real: Captured) -> None:
    """403 for each kind, also for a group that does not exist."""
    api.cluster.forbidden = {"*"}
    names = [name for name in real.entries if name.startswith("errors/403_reader_")]
    assert len(names) > 20
    for name in names:
        answer = await api.get(real.entries[name]["path"])
        assert answer.status == 403
        assert answer.body.decode().replace("clusterUser", "reader") == real.text(name), name
        _same_headers(answer.headers, real.headers(name))


async def test_bad_token_answers_as_captured(api: ApiClient, real: Captured) -> None:
    """401, on lists and on discovery."""
    api.token = "bad-token"
    for name in ("errors/401_bad-token_pods.json", "errors/401_bad-token_apis.json"):
        answer = await api.get(real.entries[name]["path"])
        assert (answer.status, answer.body.decode()) == (401, real.text(name))


@pytest.mark.parametrize("resource", ["pods", "replicasets"])
async def test_expired_continue_token_answers_captured_410(api: ApiClient, real: Captured, resource: str) -> None:
    """The new token in its metadata continues at the same key, with a newer resource version."""
    path = real.entries[f"errors/410_{resource}.first-page.json"]["path"]
    key = "pods" if resource == "pods" else "replicasets.apps"
    first = (await api.get(f"{path}?limit=1")).json
    api.cluster.expire_continue[key] = 1
    answer = await api.get(f"{path}?limit=1&continue={first['metadata']['continue']}")
    expected = real.json(f"errors/410_{resource}.expired.json")
    assert answer.status == 410
    assert answer.json | {"metadata": 0} == expected | {"metadata": 0}
    assert answer.json["metadata"]["continue"] == expected["metadata"]["continue"]

    fresh = answer.json["metadata"]["continue"]
    again = (await api.get(f"{path}?limit=1&continue={fresh}")).json
    expected_page = real.json(f"errors/410_{resource}.inconsistent-continuation.json")
    assert again["items"][0]["metadata"]["name"] == expected_page["items"][0]["metadata"]["name"]
    assert again["metadata"]["remainingItemCount"] == expected_page["metadata"]["remainingItemCount"]
    assert int(again["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


async def test_resource_version_0_ignores_the_limit(api: ApiClient, real: Captured) -> None:
    """Everything is on one page, without a token. A negative limit means no limit."""
    rv0 = (await api.get("/api/v1/pods?resourceVersion=0&limit=2")).json
    assert len(rv0["items"]) == len(real.json("list/v1_pods.rv0.json")["items"])
    assert "continue" not in rv0["metadata"]
    negative = (await api.get("/api/v1/namespaces?limit=-1")).json
    assert len(negative["items"]) == len(real.json("errors/negative-limit.json")["items"])


async def test_list_of_missing_namespace_is_empty(api: ApiClient, real: Captured) -> None:
    """It answers 200, as does the list of an existing namespace."""
    for name in ("list/one-namespace_pods.json", "list/no-such-namespace_pods.json"):
        answer = await api.get(real.entries[name]["path"])
        assert answer.status == 200
        assert answer.json["items"] == real.json(name)["items"]


async def test_selectors_return_the_captured_items(api: ApiClient, real: Captured) -> None:
    """Helm's Secrets, by label and by type. With a selector, there is no remaining count."""
    releases = real.json("list/v1_secrets.labelSelector.json")["items"]
    other = build.configmap("shop", "other", {}) | {"kind": "Secret", "type": "Opaque"}
    api.cluster.objects["secrets"] = [{"apiVersion": "v1", "kind": "Secret", **item} for item in releases] + [other]
    by_label = (await api.get("/api/v1/secrets?labelSelector=owner%3Dhelm")).json
    by_field = (await api.get("/api/v1/secrets?fieldSelector=type%3Dhelm.sh%2Frelease.v1")).json
    assert by_label["items"] == releases
    assert by_field["items"] == releases
    page = (await api.get("/api/v1/secrets?labelSelector=owner%3Dhelm&limit=3")).json
    expected = real.json("list/v1_secrets.labelSelector.limit3.p001.json")
    assert set(page["metadata"]) == set(expected["metadata"])


async def test_discovery_has_the_captured_form(api: ApiClient, real: Captured) -> None:
    """Both forms. Kinds that both servers have are described alike."""
    api.cluster.dead_apis = {"custom.metrics.k8s.io/v1beta1"}
    for path, name in (("/api", "api"), ("/apis", "apis")):
        plain, expected = await api.get(path), real.json(f"discovery/{name}.json")
        assert set(plain.json) == set(expected)
        _same_headers(plain.headers, real.headers(f"discovery/{name}.json"))
        file = f"discovery/{name}.aggregated.json"
        accept = real.entries[file]["request_headers"]["Accept"]
        aggregated = await api.get(path, accept=accept)
        _same_headers(aggregated.headers, real.headers(file))
        emulated, expected_kinds = (_by_kind(document) for document in (aggregated.json, real.json(file)))
        assert set(emulated) <= set(expected_kinds)
        for kind, entry in emulated.items():
            captured_entry = expected_kinds[kind]
            for field in ("responseKind", "scope", "singularResource", "verbs"):
                assert entry.get(field) == captured_entry.get(field), kind
    client_go = real.entries["discovery/apis.aggregated-or-plain.json"]["request_headers"]["Accept"]
    assert (await api.get("/apis", accept=client_go)).json["kind"] == "APIGroupDiscoveryList"
    stale = next(item for item in aggregated.json["items"] if item["metadata"]["name"] == "custom.metrics.k8s.io")
    assert stale["versions"] == [{"version": "v1beta1", "freshness": "Stale"}]


def _by_kind(document: Any) -> dict[tuple[str, str, str], Any]:
    return {
        (item["metadata"].get("name", ""), version["version"], resource["resource"]): resource
        for item in document["items"]
        for version in item["versions"]
        for resource in version.get("resources", ())
    }


@pytest.mark.parametrize("name", ["v1", "apps_v1", "batch_v1", "argoproj.io_v1alpha1", "authorization.k8s.io_v1"])
async def test_group_version_lists_the_captured_kinds(api: ApiClient, real: Captured, name: str) -> None:
    """Name, kind, scope and verbs of every emulated kind."""
    expected = real.json(f"discovery/{name}.json")
    emulated = (await api.get(real.entries[f"discovery/{name}.json"]["path"])).json
    assert {key: emulated[key] for key in emulated if key != "resources"} == {
        key: expected[key] for key in expected if key != "resources"
    }
    expected_kinds = {entry["name"]: entry for entry in expected["resources"]}
    for entry in emulated["resources"]:
        real_entry = expected_kinds[entry["name"]]
        if "/" not in entry["name"]:
            for field in ("singularName", "namespaced", "kind", "verbs", "shortNames"):
                assert entry.get(field) == real_entry.get(field), entry["name"]


async def test_dead_aggregated_api_answers_503_in_plain_text(api: ApiClient, real: Captured) -> None:
    """As an aggregated API without a backend."""
    api.cluster.dead_apis = {"custom.metrics.k8s.io/v1beta1"}
    name = "discovery/custom.metrics.k8s.io_v1beta1.json"
    answer = await api.get("/apis/custom.metrics.k8s.io/v1beta1")
    assert (answer.status, answer.body.decode()) == (503, real.text(name))
    _same_headers(answer.headers, real.headers(name))
    group = await api.get("/apis/custom.metrics.k8s.io")
    assert group.json == real.json("discovery/group_custom.metrics.k8s.io.json")


async def test_partial_metadata_and_gzip_answer_as_captured(api: ApiClient, real: Captured) -> None:
    """The forms that a client uses to save memory and traffic."""
    entry = real.entries["list/v1_pods.partial.json"]
    emulated = (await api.get("/api/v1/pods", accept=entry["request_headers"]["Accept"])).json
    expected = real.json("list/v1_pods.partial.json")
    assert emulated["kind"] == expected["kind"]
    assert emulated["items"] == expected["items"]
    zipped = await api.get("/api/v1/pods", headers={"Accept-Encoding": "gzip"})
    _same_headers(zipped.headers, real.headers("list/v1_pods.accept-gzip.bin"))


def test_built_objects_have_only_captured_fields(real: Captured) -> None:
    """Every field of a built object is in some captured object of its kind."""
    cluster = ClusterState("built")
    image = "contoso.azurecr.io/shop/web:1"
    web = build.deployment("shop", "web", [image], init=["contoso.azurecr.io/shop/migrate:5"])
    cluster.run(web, history=[["contoso.azurecr.io/shop/web:0"]])
    cluster.run(build.statefulset("shop", "db", [image], replicas=2), build.daemonset("ops", "agent", [image]))
    cluster.run(build.job("shop", "once", [image]), build.cronjob("shop", "nightly", [image]))
    cluster.run(build.replicationcontroller("shop", "old", [image]))
    cluster.add(build.podtemplate("shop", "stored", [image]), build.pod("shop", "sick", [image], phase="Pending"))
    cluster.add(build.pod("shop", "debugged", [image], ephemeral=["contoso.azurecr.io/tools/netshoot:0.13"]))
    files = {
        "pods": "v1_pods",
        "deployments.apps": "apps_v1_deployments",
        "replicasets.apps": "apps_v1_replicasets",
        "statefulsets.apps": "apps_v1_statefulsets",
        "daemonsets.apps": "apps_v1_daemonsets",
        "controllerrevisions.apps": "apps_v1_controllerrevisions",
        "jobs.batch": "batch_v1_jobs",
        "cronjobs.batch": "batch_v1_cronjobs",
        "replicationcontrollers": "v1_replicationcontrollers",
        "podtemplates": "v1_podtemplates",
        "namespaces": "v1_namespaces",
    }
    for resource, file in files.items():
        known = {path for item in real.json(f"list/{file}.json")["items"] for path in keys(_plain(item))}
        built = {path for item in cluster.objects[resource] for path in keys(_plain(item))}
        assert built
        assert {path for path in built if path not in known} <= {".apiVersion", ".kind"}, resource


def _plain(item: Any) -> Any:
    """Return an object without managedFields, labels and annotations, whose keys are arbitrary."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            free = {"labels", "annotations", "managedFields", "matchLabels", "f:metadata"}
            return {
                key: clean(inner)
                for key, inner in value.items()
                if key not in free and not (key == "selector" and "app" in inner)
            }
        return [clean(inner) for inner in value] if isinstance(value, list) else value

    return clean(item)
