"""The emulated API server, and its answers to the real Python client."""

from __future__ import annotations

import base64
import json
import ssl
import time

import aiohttp
import pytest
import yaml
from kubernetes.aio import config as kubernetes_config

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.kubeconfig import kubeconfig
from acr_cleanup.emulator.kubernetes.object_parts import image_id
from acr_cleanup.emulator.kubernetes.state import AKS_SERVER_APP, ClusterState
from tests.helpers.emulated_api_server import api_of

WEB = "contoso.azurecr.io/shop/web:1.0"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def shop(**more: object) -> ClusterState:
    """Return a cluster with token authentication and seven pods."""
    cluster = ClusterState("aks-prod", auth="token", **more)  # type: ignore[arg-type]
    cluster.run(build.deployment("shop", "web", [WEB], replicas=7))
    return cluster


def names(page: object) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]  # type: ignore[index]


# -- building worlds -------------------------------------------------------------------------------


def test_deployment_adds_replicasets_and_pods() -> None:
    """As its controllers would create them, with owners and earlier revisions."""
    cluster = ClusterState("aks-prod")
    old = "contoso.azurecr.io/shop/web:0.9"
    cluster.run(build.deployment("shop", "web", [WEB], replicas=3), history=[[old]])
    sets = cluster.objects["replicasets.apps"]
    assert [(s["spec"]["replicas"], s["spec"]["template"]["spec"]["containers"][0]["image"]) for s in sets] == [
        (0, old),
        (3, WEB),
    ]
    assert {s["metadata"]["ownerReferences"][0]["name"] for s in sets} == {"web"}
    owners = {pod["metadata"]["ownerReferences"][0]["name"] for pod in cluster.pods()}
    assert owners == {sets[1]["metadata"]["name"]}
    assert len({pod["metadata"]["name"] for pod in cluster.pods()}) == 3
    assert names({"items": cluster.objects["namespaces"]}) == ["shop"]


def test_pod_reports_the_given_image_ids() -> None:
    """By position for main containers, by image for all containers. A pending pod has none."""
    digest = "contoso.azurecr.io/shop/web@sha256:" + "a" * 64
    tool = "contoso.azurecr.io/tools/shell:1"
    by_place = build.pod("shop", "a", [WEB], image_ids=[digest])
    by_image = build.pod("shop", "b", [WEB], init=[tool], ephemeral=[tool], image_ids={tool: digest})
    waiting = build.pod("shop", "c", [WEB], phase="Pending")
    pinned = build.pod("shop", "d", [f"{WEB}@sha256:{'b' * 64}"])
    assert by_place["status"]["containerStatuses"][0]["imageID"] == digest
    assert by_image["status"]["initContainerStatuses"][0]["imageID"] == digest
    assert by_image["status"]["ephemeralContainerStatuses"][0]["imageID"] == digest
    assert waiting["status"]["containerStatuses"][0]["imageID"] == ""
    assert pinned["status"]["containerStatuses"][0]["imageID"] == "contoso.azurecr.io/shop/web@sha256:" + "b" * 64
    with_port = image_id("localhost:5000/shop/web")
    assert with_port.startswith("localhost:5000/shop/web@sha256:")


async def test_added_custom_resource_is_declared() -> None:
    """Its definition, group and list exist, also for objects that a test stores directly."""
    cluster = shop()
    cluster.add(build.custom_object("argoproj.io/v1alpha1", "Rollout", "shop", "web", {"image": WEB}))
    cluster.add(build.definition("example.org", "Widget", "widgets", versions=("v2", "v1"), namespaced=False))
    cluster.objects["gadgets.example.net"] = [build.custom_object("example.net/v1", "Gadget", None, "g", {})]
    async with api_of(cluster) as api:
        rollouts = (await api.get("/apis/argoproj.io/v1alpha1/rollouts")).json
        assert names(rollouts) == ["web"]
        groups = [group["name"] for group in (await api.get("/apis")).json["groups"]]
        assert {"argoproj.io", "example.org", "example.net"} <= set(groups)
        for version in ("v1", "v2"):
            assert (await api.get(f"/apis/example.org/{version}/widgets")).json["items"] == []
        assert names((await api.get("/apis/example.net/v1/gadgets")).json) == ["g"]
        definitions = (await api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")).json
        assert names(definitions) == ["rollouts.argoproj.io", "widgets.example.org"]


# -- lists -----------------------------------------------------------------------------------------


async def test_paged_list_ignores_later_changes() -> None:
    """All pages show the same state, as in etcd. The next list shows the change."""
    cluster = shop()
    async with api_of(cluster) as api:
        first = (await api.get("/api/v1/pods?limit=3")).json
        before = sorted(names({"items": cluster.pods()}))
        cluster.add(build.pod("zzz", "late", [WEB]))
        cluster.remove("pods", "shop", before[5])
        rest = (await api.get(f"/api/v1/pods?limit=50&continue={first['metadata']['continue']}")).json
        assert names(first) + names(rest) == before
        assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        now = names((await api.get("/api/v1/pods")).json)
        assert now == sorted({*before, "late"} - {before[5]}, key=lambda name: (name == "late", name))


async def test_continue_token_of_other_or_old_list_expires() -> None:
    """A token of another list, or of a list long ago, answers 410."""
    cluster = shop()
    async with api_of(cluster) as api:
        token = (await api.get("/api/v1/pods?limit=3")).json["metadata"]["continue"]
        assert (await api.get(f"/api/v1/namespaces/shop/pods?limit=3&continue={token}")).status == 410
        assert (await api.get(f"/api/v1/pods?limit=3&continue={token}")).status == 200
        for _ in range(20):
            await api.get("/api/v1/pods?limit=1")
        assert (await api.get(f"/api/v1/pods?limit=3&continue={token}")).status == 410


async def test_page_cap_overrides_the_limit() -> None:
    """A server may return fewer objects than requested, with a continue token."""
    cluster = shop(page_cap=2)
    async with api_of(cluster) as api:
        assert [len(page["items"]) for page in await api.walk("/api/v1/pods", 500)] == [2, 2, 2, 1]


async def test_expire_continue_sets_the_number_of_410s() -> None:
    """Two continue tokens answer 410, the third is valid."""
    cluster = shop(expire_continue={"pods": 2})
    async with api_of(cluster) as api:
        statuses = []
        for _ in range(3):
            token = (await api.get("/api/v1/pods?limit=3")).json["metadata"]["continue"]
            statuses.append((await api.get(f"/api/v1/pods?limit=3&continue={token}")).status)
        assert statuses == [410, 410, 200]


@pytest.mark.extended
async def test_paging_many_pods_is_fast() -> None:
    """A page does not sort or copy the whole list: the time is linear in the sent objects."""
    cluster = ClusterState("big", auth="token")
    template = build.pod("shop", "x", [WEB])
    cluster.objects["pods"] = [
        template | {"metadata": template["metadata"] | {"name": f"web-{n:05}"}} for n in range(20_000)
    ]
    async with api_of(cluster) as api:
        started = time.perf_counter()
        token, items, pages = "", 0, 0
        while True:
            answer = await api.get(f"/api/v1/pods?limit=500&continue={token}")
            page = json.loads(answer.body)
            items, pages, token = items + len(page["items"]), pages + 1, page["metadata"].get("continue", "")
            if not token:
                break
        elapsed = time.perf_counter() - started
    assert (items, pages) == (20_000, 40)
    assert elapsed < 60, f"{elapsed:.1f} s"


# -- refusals --------------------------------------------------------------------------------------


async def test_access_review_shows_forbidden_and_hidden_kinds() -> None:
    """A hidden kind answers an empty 200; only a review shows the missing right."""
    cluster = shop(forbidden={"cronjobs.batch"}, hidden={"pods"})
    async with api_of(cluster) as api:
        assert (await api.get("/apis/batch/v1/cronjobs")).status == 403
        pods = await api.get("/api/v1/pods")
        assert (pods.status, pods.json["items"]) == (200, [])

        async def allowed(**attributes: str) -> bool:
            body = {"spec": {"resourceAttributes": {"verb": "list", **attributes}}}
            answer = await api.get(REVIEWS, method="POST", json=body)
            assert answer.status == 201
            return bool(answer.json["status"]["allowed"])

        assert await allowed(resource="deployments", group="apps")
        assert not await allowed(resource="cronjobs", group="batch")
        assert not await allowed(resource="pods")
        assert not await allowed(resource="*", group="*")
        assert not await allowed(resource="deployments", group="apps", verb="delete")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_changes_of_a_cluster_are_refused(method: str) -> None:
    """So that a test notices a client that tries."""
    async with api_of(shop()) as api:
        answer = await api.get("/api/v1/namespaces/shop/pods/web", method=method, json={})
        assert answer.status == 403
        assert len(api.cluster.pods()) == 7


async def test_only_valid_credentials_are_accepted() -> None:
    """
    The cluster's token; on an Entra ID cluster, a token for the AKS server app.

    Not anonymous.
    """
    async with api_of(shop()) as api:
        assert (await api.get("/api/v1/pods")).status == 200
        for token in (None, "wrong", api.emulator.authority.issue_token(AKS_SERVER_APP, "me")):
            api.token = token
            assert (await api.get("/api/v1/pods")).status == 401
    async with api_of(ClusterState("entra", auth="entra-exec", disable_local_accounts=True)) as api:
        assert (await api.get("/api/v1/pods")).status == 401
        api.token = api.emulator.authority.issue_token(AKS_SERVER_APP, "me")
        assert (await api.get("/api/v1/pods")).status == 200
        api.token = api.emulator.authority.issue_token(api.emulator.resource_manager, "me")
        assert (await api.get("/api/v1/pods")).status == 401
        api.token = api.emulator.authority.issue_token(AKS_SERVER_APP, "me", lifetime=-5)
        assert (await api.get("/api/v1/pods")).status == 401


async def test_private_or_stopped_cluster_cuts_connections() -> None:
    """Unless it is set to be reachable, which a test may change at any time."""
    cluster = shop(private=True)
    async with api_of(cluster) as api:
        with pytest.raises(aiohttp.ClientConnectionError):
            await api.get("/version")
        cluster.reachable = True
        assert (await api.get("/version")).status == 200
        cluster.power_state = "Stopped"
        with pytest.raises(aiohttp.ClientConnectionError):
            await api.get("/version")


async def test_proxy_refuses_unreachable_clusters() -> None:
    """A private or stopped cluster is refused by the proxy, as by a firewall."""
    clusters = {
        "open": ClusterState("open", auth="token"),
        "private": ClusterState("private", private=True),
        "stopped": ClusterState("stopped", power_state="Stopped"),
    }
    world = World(clusters=clusters)
    async with Emulator(world) as emulator:
        context = ssl.create_default_context(cafile=emulator.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            for name, cluster in clusters.items():
                call = session.get(f"https://{cluster.private_fqdn or cluster.fqdn}/version", proxy=emulator.proxy_url)
                if name == "open":
                    assert (await call).status == 401
                else:
                    with pytest.raises(aiohttp.ClientHttpProxyError):
                        await call


# -- the real client -------------------------------------------------------------------------------


async def test_client_library_reads_with_certificate() -> None:
    """
    kubernetes.aio with a kubeconfig: raw pages with limit and continue, and a 403 as its exception.
    """
    cluster = ClusterState("aks-prod", auth="certificate", forbidden={"secrets"})
    cluster.run(build.deployment("shop", "web", [WEB], replicas=7))
    world = World(clusters={"aks-prod": cluster})
    async with Emulator(world) as emulator:
        text = kubeconfig(
            cluster,
            server=emulator.kubernetes_url(cluster),
            ca_pem=emulator.authority.ca_pem,
            role="clusterUser",
            auth="certificate",
            tenant=world.directory.tenant,
            certificate=emulator.authority.client_certificate(cluster),
        )
        settings = yaml.safe_load(text)
        # The certificate alone must be enough.
        del settings["users"][0]["user"]["token"]
        client = await kubernetes_config.new_client_from_config_dict(settings)
        async with client:
            pods: list[str] = []
            token = ""
            while True:
                path = f"{client.configuration.host}/api/v1/pods?limit=3&continue={token}"
                response = await client.call_api("GET", path, {"Accept": "application/json"})
                page = json.loads(await response.response.read())
                pods += names(page)
                token = page["metadata"].get("continue", "")
                if not token:
                    break
            assert pods == sorted(names({"items": cluster.pods()}))
            # Its import takes as long as hundreds of tests are collected.
            from kubernetes.aio.client import ApiException, CoreV1Api  # noqa: PLC0415

            typed = CoreV1Api(client)
            with pytest.raises(ApiException) as refused:
                await typed.list_secret_for_all_namespaces()
            assert refused.value.status == 403
            whole = await typed.list_pod_for_all_namespaces(limit=2)
            assert [pod.metadata.name for pod in whole.items] == pods[:2]
        assert world.count(service="kubernetes/aks-prod", path="/api/v1/pods$") == 4
        assert {record.identity for record in world.requests} == {"masterclient-aks-prod"}


async def test_certificate_is_valid_for_own_cluster_only() -> None:
    """The clusters share an authority, which must not make a user of one a user of the other."""
    clusters = {name: ClusterState(name, auth="certificate") for name in ("one", "two")}
    world = World(clusters=clusters)
    async with Emulator(world) as emulator:
        text = kubeconfig(
            clusters["one"],
            server=emulator.kubernetes_url("two"),
            ca_pem=emulator.authority.ca_pem,
            role="clusterUser",
            auth="certificate",
            tenant="",
            certificate=emulator.authority.client_certificate("one"),
        )
        client = await kubernetes_config.new_client_from_config_dict(yaml.safe_load(text))
        async with client:
            response = await client.call_api("GET", f"{client.configuration.host}/api/v1/pods")
            assert response.status == 401


def test_kubeconfig_has_the_ca_in_base64() -> None:
    """As in the kubeconfigs of AKS."""
    text = kubeconfig(
        ClusterState("c"),
        server="https://x",
        ca_pem=b"PEM",
        role="clusterUser",
        auth="token",
        tenant="",
        certificate=("", ""),
    )
    cluster = yaml.safe_load(text)["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"PEM"
