"""Lists, pages and refusals: what was not proven to have been read is a blocker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from acr_cleanup.clusters.api_server import scan as scanner
from acr_cleanup.clusters.api_server.client import Ask, HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP
from acr_cleanup.clusters.api_server.pages import ObjectReader
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.images.pod_specs import KINDS, POD
from acr_cleanup.clusters.read_failure import Unreachable
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.errors import IdentityError
from tests.helpers.cluster_objects import OURS, SECRET, FakeServer, blockers, captured, custom, kind, listing, pod, used

WEB = "contoso.azurecr.io/shop/web"


async def read(server: FakeServer) -> ClusterScan:
    return await scan(server.ask, "prod", OURS, access="direct")


def page(*images: str, **metadata: Any) -> HttpAnswer:
    return HttpAnswer(200, listing(POD, [pod(f"p{image[-1]}", image) for image in images], **metadata))


def status(code: int, message: str = "no", **more: Any) -> HttpAnswer:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code, **more}
    return HttpAnswer(code, json.dumps(body).encode(), "Reason")


async def test_all_pages_of_a_list_are_read() -> None:
    server = FakeServer()
    server.put(
        "pods", page(f"{WEB}:1", **{"continue": "a/b=="}), page(f"{WEB}:2", **{"continue": "c"}), page(f"{WEB}:3")
    )
    found = await read(server)
    assert used(found) == {f"{WEB}:{tag}" for tag in "123"}
    assert found.blockers == ()
    assert found.objects == 3
    assert server.requests("continue=a%2Fb%3D%3D") == 1


async def test_an_empty_cluster_is_read_and_proven_empty() -> None:
    """One review of the right to list everything proves all empty lists."""
    server = FakeServer(custom())
    found = await read(server)
    assert (found.uses, found.blockers, found.objects, found.access, found.notes) == ((), (), 0, "direct", ())
    assert server.reviewed == ["*"]


async def test_without_the_right_to_everything_each_empty_list_is_proven_once() -> None:
    server = FakeServer(custom())
    server.denied = {"whatever"}
    server.put("pods", page(f"{WEB}:1"))
    assert (await read(server)).blockers == ()
    others = {each.resource for each in (*KINDS, CONFIG_MAP, custom())} - {"pods"}
    assert sorted(server.reviewed) == sorted(["*", *others])


async def test_null_items_are_an_empty_list() -> None:
    server = FakeServer()
    server.put("pods", listing(POD, None))
    assert (await read(server)).blockers == ()


async def test_an_empty_list_for_a_kind_it_may_not_list_is_a_blocker() -> None:
    server = FakeServer()
    server.denied = {"cronjobs"}
    (blocker,) = (await read(server)).blockers
    assert blocker.where == "prod"
    assert blocker.call == "list cronjobs.batch"
    assert "empty list" in blocker.seen
    assert '"cronjobs"' in blocker.remedy


@pytest.mark.parametrize("code", [404, 405])
async def test_a_server_without_access_reviews_is_believed(code: int) -> None:
    server = FakeServer()
    server.review = HttpAnswer(code, b"404 page not found")
    assert (await read(server)).blockers == ()


@pytest.mark.parametrize(
    "answer",
    [
        status(403),
        status(500),
        HttpAnswer(201, b"{}"),
        HttpAnswer(201, b'{"status": {"allowed": "yes"}}'),
        HttpAnswer(201, b'{"status": null}'),
        HttpAnswer(201, b"<html>"),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:20]!r}",
)
async def test_a_review_that_does_not_answer_leaves_an_empty_list_unproven(answer: HttpAnswer) -> None:
    server = FakeServer()
    server.review = answer
    assert {each.kind for each in (await read(server)).blockers} == {*map(str, KINDS), "configmaps"}


@pytest.mark.parametrize("each", [*KINDS, CONFIG_MAP, custom()], ids=str)
async def test_403_on_one_kind_is_a_blocker_that_names_call_status_and_remedy(each: Any) -> None:
    server = FakeServer(custom())
    server.put("pods", page(f"{WEB}:1"))
    server.put(each.resource, status(403, f"{each} is forbidden: User cannot list"))
    found = await read(server)
    (blocker,) = found.blockers
    assert blocker.call == f"list {each}"
    assert "403" in blocker.seen
    assert "cannot list" in blocker.seen
    assert f'apiGroups: ["{each.group}"], resources: ["{each.resource}"], verbs: ["list"]' in blocker.remedy
    assert "`acr-cleanup permissions`" in blocker.remedy
    assert blocker.remedy.endswith(f'waive: "prod: {each}".')
    assert blocker.kind == str(each)
    assert found.waive([str(each)]).blockers == ()
    assert each is POD or used(found) == {f"{WEB}:1"}, "what could be read counts all the same"


async def test_real_refusals_are_blockers() -> None:
    server = FakeServer()
    server.put("cronjobs", HttpAnswer(403, captured("errors/403_reader_batch_v1_cronjobs.json"), "Forbidden"))
    server.put("pods", HttpAnswer(401, captured("errors/401_bad-token_pods.json"), "Unauthorized"))
    server.put("jobs", HttpAnswer(429, captured("errors/429_fairness_pods.json"), "Too Many Requests"))
    text = blockers(await read(server))
    assert "prod: list cronjobs.batch: 403 Forbidden: cronjobs.batch is forbidden" in text
    assert "prod: logging in to the API server: 401 Unauthorized" in text
    assert "prod: list jobs.batch: 429 Too Many Requests: Too many requests, please try again later." in text


async def test_azures_reader_role_is_named_only_where_it_helps() -> None:
    """It covers neither stored pod templates nor custom resources."""
    server = FakeServer(custom())
    for resource in ("jobs", "podtemplates", "rollouts"):
        server.put(resource, status(403))
    remedies = {each.kind: each.remedy for each in (await read(server)).blockers}
    assert {kind for kind, remedy in remedies.items() if "RBAC Reader" in remedy} == {"jobs.batch"}


async def test_podtemplates_are_read() -> None:
    server = FakeServer()
    each = kind("PodTemplate")
    template = {"spec": {"containers": [{"name": "a", "image": f"{WEB}:1"}]}}
    server.put("podtemplates", listing(each, [{"metadata": {"name": "t"}, "template": template}]))
    assert used(await read(server)) == {f"{WEB}:1"}


async def test_an_expired_list_is_read_again_from_its_start() -> None:
    gone = HttpAnswer(410, captured("errors/410_pods.expired.json"), "Gone")
    server = FakeServer()
    server.put(
        "pods", page(f"{WEB}:1", **{"continue": "a"}), gone, page(f"{WEB}:2", **{"continue": "b"}), page(f"{WEB}:3")
    )
    found = await read(server)
    assert found.blockers == ()
    assert {f"{WEB}:2", f"{WEB}:3"} <= used(found)
    assert server.requests("continue=eyJ") == 0, "the token of the 410 gives an inconsistent list"
    assert found.objects == 2


async def test_a_list_that_expires_again_and_again_is_a_blocker() -> None:
    server = FakeServer()
    server.put("pods", HttpAnswer(410, captured("errors/410_pods.expired.json"), "Gone"))
    (blocker,) = (await read(server)).blockers
    assert (blocker.call, "410" in blocker.seen) == ("list pods", True)
    assert server.requests("/api/v1/pods?") == 4


def cut(body: bytes) -> bytes:
    return body[: len(body) // 2]


def without(key: str) -> bytes:
    document = json.loads(listing(POD, [pod("web", f"{WEB}:1")]))
    del document[key]
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>sign in</html>",
        cut(listing(POD, [pod("web", f"{WEB}:1")])),
        captured("list/v1_pods.json")[:-2],
        captured("list/v1_pods.json") + b"}",
        b"\xff\xfe",
        without("kind"),
        without("apiVersion"),
        without("metadata"),
        without("items"),
        listing(kind("Deployment")),
        listing(POD).replace(b"[]", b"{}"),
        listing(POD, [None]),  # type: ignore[list-item]
        listing(POD, ["web"]),  # type: ignore[list-item]
        listing(POD, [pod("web", f"{WEB}:1")], remainingItemCount=35),
        listing(POD, [pod("web", f"{WEB}:1")], **{"continue": 7}),
        listing(POD, [], **{"continue": "more"}),
        captured("list/v1_pods.table.json"),
        captured("list/v1_pods.partial.json"),
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:50]),
)
async def test_a_page_that_is_not_the_list_asked_for_is_a_blocker(body: bytes) -> None:
    server = FakeServer()
    server.put("pods", body)
    (blocker,) = (await read(server)).blockers
    assert blocker.call == "list pods"
    assert blocker.remedy


async def test_a_second_page_that_fails_is_a_blocker_and_the_first_still_counts() -> None:
    server = FakeServer()
    server.put("pods", page(f"{WEB}:1", **{"continue": "a"}), HttpAnswer(200, b'{"kind": "PodL'))
    found = await read(server)
    assert len(found.blockers) == 1
    assert used(found) == {f"{WEB}:1"}


async def test_a_continue_that_repeats_for_ever_ends() -> None:
    server = FakeServer()
    server.put("pods", page(f"{WEB}:1", **{"continue": "a"}), page(f"{WEB}:2", **{"continue": "a"}))
    (blocker,) = (await read(server)).blockers
    assert "never ends" in blocker.seen
    assert server.requests("/api/v1/pods?") == 2


def endless(same: bool) -> Ask:
    """A server whose list of pods has a new token on each page: with the same pod on it, or with another."""
    server = FakeServer()
    count = 0

    async def ask(method: str, path: str, body: Any = None, **more: Any) -> HttpAnswer:
        nonlocal count
        if not path.startswith("/api/v1/pods?"):
            return await server.ask(method, path, body, **more)
        count += 1
        return page(f"{WEB}:1" if same else f"{WEB}:{count}", **{"continue": f"t{count}"})

    return ask


@pytest.mark.parametrize("same", [True, False], ids=["the same page", "ever new pages"])
async def test_a_list_that_goes_on_for_ever_ends(same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not same:
        monkeypatch.setattr(scanner, "_MOST_PAGES", 30)
    (blocker,) = (await scan(endless(same), "prod", OURS, access="direct")).blockers
    assert (blocker.kind, "never ends" in blocker.seen) == ("pods", True)
    assert ("repeats another" in blocker.seen) == same


async def test_a_page_is_read_while_the_next_is_on_its_way() -> None:
    """The second page is asked for before the objects of the first are looked at."""
    server = FakeServer()
    server.put("pods", page(f"{WEB}:1", **{"continue": "a"}), page(f"{WEB}:2"))
    order: list[str] = []
    add = ObjectReader.add

    def watched(self: ObjectReader, item: msgspec.Raw) -> None:
        order.append("read")
        add(self, item)

    async def ask(method: str, path: str, body: Any = None, **more: Any) -> HttpAnswer:
        if path.startswith("/api/v1/pods?"):
            order.append("asked")
        return await server.ask(method, path, body, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectReader, "add", watched)
        assert (await scan(ask, "prod", OURS, access="direct")).objects == 2
    assert order == ["asked", "asked", "read", "read"]


async def test_a_kind_that_the_server_says_it_does_not_have_is_no_blocker() -> None:
    server = FakeServer()
    server.put("cronjobs", HttpAnswer(404, captured("errors/404_missing-resource.json"), "Not Found"))
    described = json.loads(captured("discovery/batch_v1.json"))
    described["resources"] = [each for each in described["resources"] if each["name"] != "cronjobs"]
    server.others["/apis/batch/v1"] = HttpAnswer(200, json.dumps(described).encode())
    assert (await read(server)).blockers == ()


@pytest.mark.parametrize(
    "described",
    [
        HttpAnswer(200, captured("discovery/batch_v1.json")),
        HttpAnswer(404, b"404 page not found"),
        HttpAnswer(403, b"{}"),
        HttpAnswer(200, b"{}"),
        HttpAnswer(200, b'{"kind": "APIResourceList"}'),
        HttpAnswer(503, b"service unavailable"),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:30]!r}",
)
async def test_a_404_without_that_proof_is_a_blocker(described: HttpAnswer) -> None:
    server = FakeServer()
    server.put("cronjobs", HttpAnswer(404, captured("errors/404_missing-group.json"), "Not Found"))
    server.others["/apis/batch/v1"] = described
    (blocker,) = (await read(server)).blockers
    assert blocker.call == "list cronjobs.batch"
    assert "404" in blocker.seen


async def test_a_server_that_never_answers_is_unreachable_and_asked_no_further() -> None:
    server = FakeServer()
    for each in (*KINDS, CONFIG_MAP):
        server.put(each.resource, Unreachable("connecting", "no answer", "look"))
    server.others = dict.fromkeys(("/api", "/apis"), Unreachable("connecting", "no answer", "look"))
    with pytest.raises(Unreachable):
        await read(server)
    assert len(server.asked) < len(KINDS)


async def test_a_server_that_stops_answering_is_a_blocker() -> None:
    server = FakeServer()
    server.put("pods", page(f"{WEB}:1"))
    server.put("podtemplates", Unreachable("connecting to https://x", "reset", "look"))
    found = await read(server)
    assert blockers(found) == "prod: list podtemplates: connecting to https://x: reset look"
    assert found.blockers[0].kind == "podtemplates"
    assert used(found) == {f"{WEB}:1"}


async def test_replicas_of_one_workload_are_one_use() -> None:
    owner = {"ownerReferences": [{"kind": "StatefulSet", "name": "web", "controller": True}]}
    server = FakeServer()
    server.put("pods", listing(POD, [pod(f"web-{n}", f"{WEB}:1", **owner) for n in range(50)]))
    found = await read(server)
    assert (len(found.uses), found.objects) == (1, 50)


@pytest.mark.parametrize("error", [IdentityError("no login"), asyncio.CancelledError()], ids=["identity", "cancelled"])
async def test_what_ends_the_run_passes_through(error: Any) -> None:
    server = FakeServer()
    server.put("jobs", error) if isinstance(error, Exception) else None

    async def ask(method: str, path: str, body: Any = None, **more: Any) -> HttpAnswer:
        if "/jobs" in path:
            raise error
        return await server.ask(method, path, body, **more)

    with pytest.raises(type(error)):
        await scan(ask, "prod", OURS, access="direct")


# -- custom resources, and what else the server offers ---------------------------------------------

ROLLOUT = custom()


def rollouts(*images: str, version: str = "v1", **metadata: Any) -> bytes:
    spec = [{"metadata": {"name": image[-1], "namespace": "shop"}, "spec": {"image": image}} for image in images]
    return listing(custom(version=version), spec, **metadata)


async def test_custom_resources_are_read_page_by_page() -> None:
    server = FakeServer(ROLLOUT)
    server.put("rollouts", rollouts(f"{WEB}:1", **{"continue": "a"}), rollouts(f"{WEB}:2", **{"continue": ""}))
    found = await read(server)
    assert (used(found), found.blockers, found.objects) == ({f"{WEB}:1", f"{WEB}:2"}, (), 2)
    assert {(use.workload.kind, use.running) for use in found.uses} == {("Rollout", False)}


async def test_config_maps_are_read_even_without_discovery() -> None:
    server = FakeServer()
    server.others = {"/api": HttpAnswer(503, b"no"), "/apis": HttpAnswer(503, b"no")}
    item = {"metadata": {"name": "sidecar", "namespace": "ops"}, "data": {"config.yaml": f"image: {WEB}:9"}}
    server.put("configmaps", listing(CONFIG_MAP, [item]))
    found = await read(server)
    assert used(found) == {f"{WEB}:9"}
    assert [blocker.kind for blocker in found.blockers] == ["", ""]


async def test_a_server_without_config_maps_is_believed() -> None:
    server = FakeServer()
    server.put("configmaps", HttpAnswer(404, b"404 page not found"))
    assert (await read(server)).blockers == ()


async def test_a_custom_resource_that_went_after_discovery_is_no_blocker() -> None:
    server = FakeServer(ROLLOUT)
    server.put("rollouts", HttpAnswer(404, captured("errors/404_missing-custom-resource.json")))
    assert (await read(server)).blockers == ()
    assert server.requests("/apis/argoproj.io/v1") == 2


async def test_a_custom_resource_that_is_404_and_still_there_is_a_blocker() -> None:
    server = FakeServer(ROLLOUT)
    server.put("rollouts", HttpAnswer(404, b"404 page not found"))
    server.others["/apis/argoproj.io/v1"] = HttpAnswer(200, captured("discovery/argoproj.io_v1alpha1.json"))
    (blocker,) = (await read(server)).blockers
    assert blocker.kind == "rollouts.argoproj.io"


async def test_where_the_preferred_version_fails_the_stored_one_is_read() -> None:
    """A lost conversion webhook: 500 without a reason."""
    server = FakeServer(custom(version="v2"), ROLLOUT)
    server.put(custom(version="v2").path, rollouts(f"{WEB}:1", version="v2", **{"continue": "a"}), status(500))
    server.put(ROLLOUT.path, rollouts(f"{WEB}:1", f"{WEB}:2"))
    found = await read(server)
    assert (used(found), found.blockers, found.objects) == ({f"{WEB}:1", f"{WEB}:2"}, (), 2)


@pytest.mark.parametrize("code", [403, 429, 500, 503])
async def test_a_custom_resource_that_fails_in_every_version_is_a_blocker_that_can_be_given_up(code: int) -> None:
    server = FakeServer(custom(version="v2"), ROLLOUT)
    server.put("pods", page(f"{WEB}:1"))
    server.put("rollouts", status(code))
    found = await read(server)
    (blocker,) = found.blockers
    assert (blocker.call, blocker.kind) == ("list rollouts.argoproj.io", "rollouts.argoproj.io")
    assert str(code) in blocker.seen
    assert blocker.remedy.endswith('waive: "prod: rollouts.argoproj.io".')
    assert found.waive(["Rollouts.argoproj.io"]).blockers == ()
    assert used(found) == {f"{WEB}:1"}
    assert server.requests("rollouts") == (1 if code == 403 else 2), "rights do not depend on the version"


async def test_another_version_that_is_gone_does_not_excuse_one_that_fails() -> None:
    server = FakeServer(custom(version="v2"), ROLLOUT)
    server.put(custom(version="v2").path, status(500))
    server.put(ROLLOUT.path, HttpAnswer(404, b"404 page not found"))
    assert len((await read(server)).blockers) == 1


async def test_only_for_what_is_not_there_by_nature_a_waiver_is_proposed_when_the_server_fails() -> None:
    server = FakeServer()
    server.put("pods", status(500))
    (blocker,) = (await read(server)).blockers
    assert "waive" not in blocker.remedy


async def test_a_dead_group_of_the_server_is_one_blocker_by_its_name() -> None:
    server = FakeServer(ROLLOUT, stale=["custom.metrics.k8s.io/v1beta1"])
    server.others["/apis/custom.metrics.k8s.io/v1beta1"] = HttpAnswer(503, b"service unavailable")
    (blocker,) = (await read(server)).blockers
    assert blocker.kind == "custom.metrics.k8s.io/v1beta1"


async def test_hundreds_of_definitions_are_read() -> None:
    kinds = [custom(f"K{n}", f"k{n}s", f"g{n % 40}.example") for n in range(300)]
    server = FakeServer(*kinds)
    server.put(kinds[-1].resource, listing(kinds[-1], [{"metadata": {"name": "a"}, "x": [f"{WEB}:1"]}]))
    found = await read(server)
    assert (used(found), found.blockers) == ({f"{WEB}:1"}, ())
    assert server.reviewed == ["*"]


async def test_odd_objects_are_read_or_blockers_and_never_lost() -> None:
    """Null lists, numbers where text belongs, malformed images; one odd object does not cost the others of its page."""
    good = pod("good", f"{WEB}:1")
    null = {"metadata": {"name": "null"}, "spec": {"containers": None, "volumes": None}, "status": None}
    number = {**pod("number", f"{WEB}:2"), "metadata": {"name": 7, "labels": [], "ownerReferences": 5}}
    malformed = pod("malformed", f"{WEB} :3")
    server = FakeServer(ROLLOUT)
    server.put("pods", listing(POD, [good, null, number, malformed]))
    server.put("rollouts", listing(ROLLOUT, [{"metadata": None, "spec": {"a": [None, 1, {"b": f"{WEB}:4"}]}}]))
    found = await read(server)
    assert {f"{WEB}:1", f"{WEB}:2", f"{WEB}:4"} <= used(found)
    (blocker,) = found.blockers
    assert "malformed" in blocker.call


@pytest.mark.parametrize(
    "broken", [b'{"metadata": {"name": "\xff"}, "a": "HOST/x:1"}', b"[]", b"7", b"null", b'"HOST/x:1"']
)
async def test_an_object_that_is_none_is_a_blocker(broken: bytes) -> None:
    server = FakeServer(ROLLOUT)
    body = listing(ROLLOUT, [{"metadata": {"name": "PLACE"}}])
    server.put(
        "rollouts",
        body.replace(
            json.dumps({"metadata": {"name": "PLACE"}}).encode(), broken.replace(b"HOST", b"contoso.azurecr.io")
        ),
    )
    (blocker,) = (await read(server)).blockers
    assert blocker.kind == "rollouts.argoproj.io"


# -- Helm ------------------------------------------------------------------------------------------


async def test_secrets_are_never_asked_for_unless_helms_history_is() -> None:
    server = FakeServer(SECRET)
    await read(server)
    assert server.requests("secrets") == 0


async def test_helms_history_is_read_from_its_secrets_alone() -> None:
    server = FakeServer()
    server.put("secrets", captured("list/v1_secrets.labelSelector.json"))
    found = await scan(server.ask, "prod", OURS, access="direct", helm_history=2)
    assert found.blockers == ()
    assert any("helm/billing" in each for each in used(found))
    asked = [path for _, path in server.asked if "secrets" in path]
    assert asked == ["/api/v1/secrets?limit=50&labelSelector=owner%3Dhelm&fieldSelector=type%3Dhelm.sh%2Frelease.v1"]


async def test_helms_history_that_expires_while_it_is_read_counts_once() -> None:
    server = FakeServer()
    first, second, *rest = (captured(f"list/v1_secrets.labelSelector.limit3.p00{n}.json") for n in range(1, 5))
    gone = HttpAnswer(410, captured("errors/410_pods.expired.json"))
    server.put("secrets", first, gone, first, second, *rest)
    found = await scan(server.ask, "prod", OURS, access="direct", helm_history=10)
    whole = FakeServer()
    whole.put("secrets", captured("list/v1_secrets.labelSelector.json"))
    assert set(found.uses) == set((await scan(whole.ask, "prod", OURS, access="direct", helm_history=10)).uses)
    assert (found.blockers, found.objects) == ((), 10)


async def test_not_being_allowed_to_list_secrets_blocks_helms_history_with_the_exact_rule() -> None:
    server = FakeServer()
    server.put("secrets", status(403, "secrets is forbidden"))
    (blocker,) = (await scan(server.ask, "prod", OURS, access="direct", helm_history=3)).blockers
    assert blocker.kind == "secrets"
    assert 'apiGroups: [""], resources: ["secrets"], verbs: ["list"]' in blocker.remedy


@pytest.mark.parametrize("history", [0, 3])
async def test_where_helm_is_at_work_its_history_is_proposed_once(history: int) -> None:
    server = FakeServer()
    labels = {"labels": {"app.kubernetes.io/managed-by": "Helm"}}
    server.put("pods", listing(POD, [pod("a", "ghcr.io/x:1"), pod("b", "ghcr.io/x:1", **labels)]))
    server.put("deployments", listing(kind("Deployment"), [{"metadata": {"name": "b", **labels}}]))
    found = await scan(server.ask, "prod", OURS, access="direct", helm_history=history)
    assert found.notes == ((scanner.HELM_NOTE,) if history == 0 else ())


async def test_notes_are_few() -> None:
    server = FakeServer()
    maps = [
        {"metadata": {"name": f"m{n}", "namespace": "shop"}, "data": {"x": "contoso.azurecr.io/{{ .app }}:1"}}
        for n in range(50)
    ]
    server.put("configmaps", listing(CONFIG_MAP, maps))
    found = await read(server)
    assert found.uses == ()
    assert len(found.notes) == 21
    assert found.notes[-1].startswith("30 more")
