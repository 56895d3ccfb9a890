"""Lists, pages and refusals: what was not proven to have been read is a blocker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from acr_cleanup.clusters import scanner
from acr_cleanup.clusters.api import Answer, Ask
from acr_cleanup.clusters.discovery import CONFIG_MAP
from acr_cleanup.clusters.objects import KINDS, POD
from acr_cleanup.clusters.pages import ObjectReader
from acr_cleanup.clusters.scanner import scan
from acr_cleanup.clusters.unread import Unreachable
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.errors import IdentityError
from tests.clusters.support import OURS, FakeServer, blockers, captured, custom, kind, listing, pod, used

WEB = "contoso.azurecr.io/shop/web"


async def read(server: FakeServer) -> ClusterScan:
    return await scan(server.ask, "prod", OURS, access="direct")


def page(*images: str, **metadata: Any) -> Answer:
    return Answer(200, listing(POD, [pod(f"p{image[-1]}", image) for image in images], **metadata))


def status(code: int, message: str = "no", **more: Any) -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code, **more}
    return Answer(code, json.dumps(body).encode(), "Reason")


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
    server.review = Answer(code, b"404 page not found")
    assert (await read(server)).blockers == ()


@pytest.mark.parametrize(
    "answer",
    [
        status(403),
        status(500),
        Answer(201, b"{}"),
        Answer(201, b'{"status": {"allowed": "yes"}}'),
        Answer(201, b'{"status": null}'),
        Answer(201, b"<html>"),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:20]!r}",
)
async def test_a_review_that_does_not_answer_leaves_an_empty_list_unproven(answer: Answer) -> None:
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
    server.put("cronjobs", Answer(403, captured("errors/403_reader_batch_v1_cronjobs.json"), "Forbidden"))
    server.put("pods", Answer(401, captured("errors/401_bad-token_pods.json"), "Unauthorized"))
    server.put("jobs", Answer(429, captured("errors/429_fairness_pods.json"), "Too Many Requests"))
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
    gone = Answer(410, captured("errors/410_pods.expired.json"), "Gone")
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
    server.put("pods", Answer(410, captured("errors/410_pods.expired.json"), "Gone"))
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
    server.put("pods", page(f"{WEB}:1", **{"continue": "a"}), Answer(200, b'{"kind": "PodL'))
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

    async def ask(method: str, path: str, body: Any = None, **more: Any) -> Answer:
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


async def test_a_page_is_read_while_the_next_is_on_its_way() -> None:
    """The second page is asked for before the objects of the first are looked at."""
    server = FakeServer()
    server.put("pods", page(f"{WEB}:1", **{"continue": "a"}), page(f"{WEB}:2"))
    order: list[str] = []
    add = ObjectReader.add

    def watched(self: ObjectReader, item: msgspec.Raw) -> None:
        order.append("read")
        add(self, item)

    async def ask(method: str, path: str, body: Any = None, **more: Any) -> Answer:
        if path.startswith("/api/v1/pods?"):
            order.append("asked")
        return await server.ask(method, path, body, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectReader, "add", watched)
        assert (await scan(ask, "prod", OURS, access="direct")).objects == 2
    assert order == ["asked", "asked", "read", "read"]


async def test_a_kind_that_the_server_says_it_does_not_have_is_no_blocker() -> None:
    server = FakeServer()
    server.put("cronjobs", Answer(404, captured("errors/404_missing-resource.json"), "Not Found"))
    described = json.loads(captured("discovery/batch_v1.json"))
    described["resources"] = [each for each in described["resources"] if each["name"] != "cronjobs"]
    server.others["/apis/batch/v1"] = Answer(200, json.dumps(described).encode())
    assert (await read(server)).blockers == ()


@pytest.mark.parametrize(
    "described",
    [
        Answer(200, captured("discovery/batch_v1.json")),
        Answer(404, b"404 page not found"),
        Answer(403, b"{}"),
        Answer(200, b"{}"),
        Answer(200, b'{"kind": "APIResourceList"}'),
        Answer(503, b"service unavailable"),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:30]!r}",
)
async def test_a_404_without_that_proof_is_a_blocker(described: Answer) -> None:
    server = FakeServer()
    server.put("cronjobs", Answer(404, captured("errors/404_missing-group.json"), "Not Found"))
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

    async def ask(method: str, path: str, body: Any = None, **more: Any) -> Answer:
        if "/jobs" in path:
            raise error
        return await server.ask(method, path, body, **more)

    with pytest.raises(type(error)):
        await scan(ask, "prod", OURS, access="direct")
