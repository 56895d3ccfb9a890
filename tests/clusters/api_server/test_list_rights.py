"""Refusals and empty lists: an empty list is believed only with the right to list."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acr_cleanup.clusters.api_server.client import HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP
from acr_cleanup.clusters.images.pod_specs import KINDS, POD
from tests.helpers.cluster_objects import (
    WEB,
    FakeServer,
    blockers,
    captured,
    custom,
    page,
    read_fake,
    status,
    used,
)


async def test_empty_cluster_is_proven_empty() -> None:
    """One review of the right to list everything proves all empty lists."""
    server = FakeServer(custom())
    result = await read_fake(server)
    assert (result.uses, result.blockers, result.objects, result.access, result.notes) == ((), (), 0, "direct", ())
    assert server.reviewed == ["*"]


async def test_each_empty_list_is_reviewed_without_full_rights() -> None:
    server = FakeServer(custom())
    server.denied = {"whatever"}
    server.put("pods", page(f"{WEB}:1"))
    assert (await read_fake(server)).blockers == ()
    others = {kind.resource for kind in (*KINDS, CONFIG_MAP, custom())} - {"pods"}
    assert sorted(server.reviewed) == sorted(["*", *others])


async def test_empty_list_of_forbidden_kind_is_a_blocker() -> None:
    server = FakeServer()
    server.denied = {"cronjobs"}
    (blocker,) = (await read_fake(server)).blockers
    assert blocker.where == "prod"
    assert blocker.call == "list cronjobs.batch"
    assert "empty list" in blocker.seen
    assert '"cronjobs"' in blocker.remedy


@pytest.mark.parametrize("code", [404, 405])
async def test_server_without_access_reviews_is_believed(code: int) -> None:
    server = FakeServer()
    server.review = HttpAnswer(code, b"404 page not found")
    assert (await read_fake(server)).blockers == ()


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
async def test_failed_review_leaves_empty_lists_unproven(answer: HttpAnswer) -> None:
    server = FakeServer()
    server.review = answer
    assert {blocker.kind for blocker in (await read_fake(server)).blockers} == {*map(str, KINDS), "configmaps"}


@pytest.mark.parametrize("kind", [*KINDS, CONFIG_MAP, custom()], ids=str)
async def test_forbidden_kind_blocker_names_call_status_remedy(kind: Any) -> None:
    server = FakeServer(custom())
    server.put("pods", page(f"{WEB}:1"))
    server.put(kind.resource, status(403, f"{kind} is forbidden: User cannot list"))
    result = await read_fake(server)
    (blocker,) = result.blockers
    assert blocker.call == f"list {kind}"
    assert "403" in blocker.seen
    assert "cannot list" in blocker.seen
    assert f'apiGroups: ["{kind.group}"], resources: ["{kind.resource}"], verbs: ["list"]' in blocker.remedy
    assert "`acr-cleanup permissions`" in blocker.remedy
    # Without the kinds that run or start pods, a run would not see what is in use.
    assert blocker.remedy.endswith(f'waive: "prod: {kind}".') == (kind not in KINDS)
    assert blocker.kind == str(kind)
    assert result.waive([str(kind)]).blockers == ()
    assert kind is POD or used(result) == {f"{WEB}:1"}, "uses of the other kinds count"


async def test_captured_refusals_are_blockers() -> None:
    server = FakeServer()
    server.put("cronjobs", HttpAnswer(403, captured("errors/403_reader_batch_v1_cronjobs.json"), "Forbidden"))
    server.put("pods", HttpAnswer(401, captured("errors/401_bad-token_pods.json"), "Unauthorized"))
    server.put("jobs", HttpAnswer(429, captured("errors/429_fairness_pods.json"), "Too Many Requests"))
    text = blockers(await read_fake(server))
    assert "prod: list cronjobs.batch: 403 Forbidden: cronjobs.batch is forbidden" in text
    assert "prod: logging in to the API server: 401 Unauthorized" in text
    assert "prod: list jobs.batch: 429 Too Many Requests: Too many requests, please try again later." in text


async def test_reader_role_is_named_only_if_it_covers_kind() -> None:
    """The role covers neither stored pod templates nor custom resources."""
    server = FakeServer(custom())
    for resource in ("jobs", "podtemplates", "rollouts"):
        server.put(resource, status(403))
    remedies = {blocker.kind: blocker.remedy for blocker in (await read_fake(server)).blockers}
    assert {kind for kind, remedy in remedies.items() if "RBAC Reader" in remedy} == {"jobs.batch"}


async def test_kind_that_is_not_served_is_not_a_blocker() -> None:
    server = FakeServer()
    server.put("cronjobs", HttpAnswer(404, captured("errors/404_missing-resource.json"), "Not Found"))
    described = json.loads(captured("discovery/batch_v1.json"))
    described["resources"] = [resource for resource in described["resources"] if resource["name"] != "cronjobs"]
    server.others["/apis/batch/v1"] = HttpAnswer(200, json.dumps(described).encode())
    assert (await read_fake(server)).blockers == ()


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
async def test_unexplained_404_is_a_blocker(described: HttpAnswer) -> None:
    server = FakeServer()
    server.put("cronjobs", HttpAnswer(404, captured("errors/404_missing-group.json"), "Not Found"))
    server.others["/apis/batch/v1"] = described
    (blocker,) = (await read_fake(server)).blockers
    assert blocker.call == "list cronjobs.batch"
    assert "404" in blocker.seen


async def test_waiver_is_not_proposed_for_built_in_kinds() -> None:
    server = FakeServer()
    server.put("pods", status(500))
    (blocker,) = (await read_fake(server)).blockers
    assert "waive" not in blocker.remedy
