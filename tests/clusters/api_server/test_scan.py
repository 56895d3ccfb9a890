"""Lists and their pages: a list that is not proven complete is a blocker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from acr_cleanup.access.read_failure import Unreachable
from acr_cleanup.clusters.api_server import scan as scanner
from acr_cleanup.clusters.api_server.client import Ask, HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP
from acr_cleanup.clusters.api_server.pages import ObjectReader
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.images.pod_specs import KINDS, POD
from acr_cleanup.errors import IdentityError
from tests.helpers.cluster_objects import (
    SEARCH,
    WEB,
    FakeServer,
    blockers,
    captured,
    kind,
    listing,
    page,
    pod,
    read_fake,
    used,
)


async def test_all_pages_of_a_list_are_read() -> None:
    server = FakeServer()
    server.put(
        "pods", page(f"{WEB}:1", **{"continue": "a/b=="}), page(f"{WEB}:2", **{"continue": "c"}), page(f"{WEB}:3")
    )
    result = await read_fake(server)
    assert used(result) == {f"{WEB}:{tag}" for tag in "123"}
    assert result.blockers == ()
    assert result.objects == 3
    assert server.requests("continue=a%2Fb%3D%3D") == 1


async def test_null_items_are_an_empty_list() -> None:
    server = FakeServer()
    server.put("pods", listing(POD, None))
    assert (await read_fake(server)).blockers == ()


async def test_pod_templates_are_read() -> None:
    server = FakeServer()
    pod_template = kind("PodTemplate")
    template = {"spec": {"containers": [{"name": "a", "image": f"{WEB}:1"}]}}
    server.put("podtemplates", listing(pod_template, [{"metadata": {"name": "t"}, "template": template}]))
    assert used(await read_fake(server)) == {f"{WEB}:1"}


async def test_expired_list_is_restarted() -> None:
    gone = HttpAnswer(410, captured("errors/410_pods.expired.json"), "Gone")
    server = FakeServer()
    server.put(
        "pods", page(f"{WEB}:1", **{"continue": "a"}), gone, page(f"{WEB}:2", **{"continue": "b"}), page(f"{WEB}:3")
    )
    result = await read_fake(server)
    assert result.blockers == ()
    assert {f"{WEB}:2", f"{WEB}:3"} <= used(result)
    assert server.requests("continue=eyJ") == 0, "the token in the 410 would continue an inconsistent list"
    assert result.objects == 2


async def test_repeatedly_expired_list_is_a_blocker() -> None:
    server = FakeServer()
    server.put("pods", HttpAnswer(410, captured("errors/410_pods.expired.json"), "Gone"))
    (blocker,) = (await read_fake(server)).blockers
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
async def test_page_of_another_list_is_a_blocker(body: bytes) -> None:
    server = FakeServer()
    server.put("pods", body)
    (blocker,) = (await read_fake(server)).blockers
    assert blocker.call == "list pods"
    assert blocker.remedy


async def test_uses_before_failed_page_count() -> None:
    server = FakeServer()
    server.put("pods", page(f"{WEB}:1", **{"continue": "a"}), HttpAnswer(200, b'{"kind": "PodL'))
    result = await read_fake(server)
    assert len(result.blockers) == 1
    assert used(result) == {f"{WEB}:1"}


async def test_repeated_continue_token_is_a_blocker() -> None:
    server = FakeServer()
    server.put("pods", page(f"{WEB}:1", **{"continue": "a"}), page(f"{WEB}:2", **{"continue": "a"}))
    (blocker,) = (await read_fake(server)).blockers
    assert "never ends" in blocker.seen
    assert server.requests("/api/v1/pods?") == 2


def endless(same: bool) -> Ask:
    """
    Return a server whose list of pods has a new token on each page, and the same pod or another.
    """
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
async def test_endless_list_is_a_blocker(same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not same:
        monkeypatch.setattr(scanner, "_MOST_PAGES", 30)
    (blocker,) = (await scan(endless(same), "prod", SEARCH, access="direct")).blockers
    assert (blocker.kind, "never ends" in blocker.seen) == ("pods", True)
    assert ("repeats another" in blocker.seen) == same


async def test_page_is_decoded_while_next_is_fetched() -> None:
    """The second page is requested before the objects of the first are decoded."""
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
        assert (await scan(ask, "prod", SEARCH, access="direct")).objects == 2
    assert order == ["asked", "asked", "read", "read"]


async def test_unreachable_server_is_given_up_early() -> None:
    server = FakeServer()
    for resource_kind in (*KINDS, CONFIG_MAP):
        server.put(resource_kind.resource, Unreachable("connecting", "no answer", "look"))
    server.others = dict.fromkeys(("/api", "/apis"), Unreachable("connecting", "no answer", "look"))
    with pytest.raises(Unreachable):
        await read_fake(server)
    assert len(server.asked) < len(KINDS)


async def test_server_that_stops_answering_is_a_blocker() -> None:
    server = FakeServer()
    server.put("pods", page(f"{WEB}:1"))
    server.put("podtemplates", Unreachable("connecting to https://x", "reset", "look"))
    result = await read_fake(server)
    assert blockers(result) == "prod: list podtemplates: connecting to https://x: reset look"
    assert result.blockers[0].kind == "podtemplates"
    assert used(result) == {f"{WEB}:1"}


async def test_replicas_of_one_workload_are_one_use() -> None:
    owner = {"ownerReferences": [{"kind": "StatefulSet", "name": "web", "controller": True}]}
    server = FakeServer()
    server.put("pods", listing(POD, [pod(f"web-{n}", f"{WEB}:1", **owner) for n in range(50)]))
    result = await read_fake(server)
    assert (len(result.uses), result.objects) == (1, 50)


@pytest.mark.parametrize("error", [IdentityError("no login"), asyncio.CancelledError()], ids=["identity", "cancelled"])
async def test_login_error_and_cancellation_pass_through(error: Any) -> None:
    server = FakeServer()
    server.put("jobs", error) if isinstance(error, Exception) else None

    async def ask(method: str, path: str, body: Any = None, **more: Any) -> HttpAnswer:
        if "/jobs" in path:
            raise error
        return await server.ask(method, path, body, **more)

    with pytest.raises(type(error)):
        await scan(ask, "prod", SEARCH, access="direct")


async def test_number_of_notes_is_limited() -> None:
    server = FakeServer()
    maps = [
        {"metadata": {"name": f"m{n}", "namespace": "shop"}, "data": {"x": "contoso.azurecr.io/{{ .app }}:1"}}
        for n in range(50)
    ]
    server.put("configmaps", listing(CONFIG_MAP, maps))
    result = await read_fake(server)
    assert result.uses == ()
    assert len(result.notes) == 21
    assert result.notes[-1].startswith("30 more")
