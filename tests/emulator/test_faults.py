"""Faults, rate limits and the request log of the emulator."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Budget, Fault, category_of
from tests.helpers.emulator_clients import RegistryClient, registry_client


@pytest.fixture
def world() -> World:
    world = World()
    for number in range(5):
        world.registry.push("web", f"1.{number}")
    return world


@pytest.fixture
async def registry(world: World) -> AsyncIterator[RegistryClient]:
    async with registry_client(world) as client:
        yield client


async def test_fault_hits_only_matching_requests(world: World, registry: RegistryClient) -> None:
    world.faults.append(
        Fault(service="acr", method="GET", path=r"_tags$", query=r"n=2", status=503, after=1, times=2, body={"a": 1})
    )
    statuses = [(await registry.get("/acr/v1/web/_tags?n=2")).status for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]
    assert (await registry.get("/acr/v1/web/_tags")).status == 200
    (fault,) = world.faults
    assert (fault.matched, fault.hits) == (5, 2)


async def test_status_fault_sends_headers_and_body(world: World, registry: RegistryClient) -> None:
    world.faults.append(Fault(path="_tags", status=429, headers={"Retry-After": "7"}, body={"errors": []}))
    answer = await registry.get("/acr/v1/web/_tags")
    assert (answer.status, answer.headers["Retry-After"], answer.json) == (429, "7", {"errors": []})


@pytest.mark.parametrize("fault", [Fault(path="_tags", reset=True), Fault(path="_tags", hang=0.1)])
async def test_cut_connection_has_no_answer(world: World, registry: RegistryClient, fault: Fault) -> None:
    """The request is not executed, and its record has status 0."""
    world.faults.append(fault)
    with pytest.raises(aiohttp.ClientError):
        await registry.delete("/acr/v1/web/_tags/1.0")
    assert world.requests[-1].status == 0
    # The connection was cut before the handler ran.
    assert "1.0" in world.registry.repositories["web"].tags


async def test_hanging_request_does_not_delay_exit(world: World) -> None:
    world.faults.append(Fault(path="_tags", hang=60))
    async with registry_client(world) as client:
        waiting = asyncio.create_task(client.get("/acr/v1/web/_tags"))
        await asyncio.sleep(0.1)
        started = time.monotonic()
    assert time.monotonic() - started < 20
    with pytest.raises(aiohttp.ClientError):
        await waiting


async def test_truncate_fault_cuts_the_body(world: World, registry: RegistryClient) -> None:
    world.faults.append(Fault(path="_tags", truncate=0.5, times=1))
    with pytest.raises(aiohttp.ClientPayloadError):
        await registry.get("/acr/v1/web/_tags")


async def test_malformed_fault_breaks_the_json(world: World, registry: RegistryClient) -> None:
    world.faults.append(Fault(path="_tags", malformed=True))
    with pytest.raises(json.JSONDecodeError):
        await registry.get("/acr/v1/web/_tags")


async def test_latency_applies_to_world_or_fault(world: World, registry: RegistryClient) -> None:
    async def seconds(path: str) -> float:
        started = time.monotonic()
        await registry.get(path)
        return time.monotonic() - started

    world.faults.append(Fault(path="_manifests", latency=1.0))
    assert await seconds("/acr/v1/web/_manifests") >= 1.0
    assert await seconds("/acr/v1/web/_tags") < 1.0
    world.latency = 0.2
    assert await seconds("/acr/v1/web/_tags") >= 0.2


async def test_before_hook_runs_before_the_handler(world: World, registry: RegistryClient) -> None:
    async def push_again(_: web.Request) -> None:
        world.registry.push("web", "1.3")

    planned = world.registry.repositories["web"].tags["1.3"].digest
    world.faults.append(Fault(method="DELETE", before=push_again, times=1))
    answer = await registry.delete("/acr/v1/web/_tags/1.3")
    assert answer.headers["x-ms-int-docker-content-digest"] != planned


async def test_after_handler_hook_runs_before_the_next_request(world: World, registry: RegistryClient) -> None:
    async def push_again(_: web.Request) -> None:
        world.registry.push("web", "1.3")

    world.faults.append(Fault(path="_tags/1.3", after_handler=push_again, times=1))
    first = (await registry.get("/acr/v1/web/_tags/1.3")).json["tag"]["digest"]
    second = (await registry.get("/acr/v1/web/_tags/1.3")).json["tag"]["digest"]
    assert first != second


async def test_delay_and_failure_apply_to_same_request(world: World, registry: RegistryClient) -> None:
    world.faults += [Fault(path="_tags", latency=0.1), Fault(path="_tags", status=500, times=1)]
    started = time.monotonic()
    assert (await registry.get("/acr/v1/web/_tags")).status == 500
    assert time.monotonic() - started >= 0.1


async def test_exhausted_budget_answers_429_with_countdown(world: World, registry: RegistryClient) -> None:
    """Retry-After counts down; requests of other categories are not limited."""
    world.budgets["DataplaneDelete"] = Budget(limit=2, seconds=2.5)
    answers = [await registry.delete(f"/acr/v1/web/_tags/1.{number}") for number in range(3)]
    assert [answer.status for answer in answers] == [202, 202, 429]
    assert answers[2].code == "TOOMANYREQUESTS"
    assert int(answers[2].headers["Retry-After"]) == 3
    # Reads have another budget.
    assert (await registry.get("/acr/v1/web/_tags")).status == 200
    await asyncio.sleep(1)
    again = await registry.delete("/acr/v1/web/_tags/1.2")
    assert (again.status, int(again.headers["Retry-After"])) == (429, 2)
    await asyncio.sleep(1.6)
    assert (await registry.delete("/acr/v1/web/_tags/1.2")).status == 202


async def test_deletions_show_the_remaining_calls(world: World, registry: RegistryClient) -> None:
    """Other answers of the data plane have no such header."""
    answer = await registry.delete("/acr/v1/web/_tags/1.0")
    assert float(answer.headers["x-ms-ratelimit-remaining-calls-per-second"]) == pytest.approx(500 / 60, abs=0.01)
    world.budgets["DataplaneDelete"] = Budget(limit=120)
    answer = await registry.delete("/acr/v1/web/_tags/1.1")
    assert float(answer.headers["x-ms-ratelimit-remaining-calls-per-second"]) == pytest.approx(119 / 60, abs=0.01)
    answer = await registry.get("/acr/v1/web/_tags")
    assert "x-ms-ratelimit-remaining-calls-per-second" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "category"),
    [
        ("GET", "/acr/v1/web/_tags", "DataplaneRead"),
        ("HEAD", "/v2/web/manifests/1.0", "DataplaneRead"),
        ("GET", "/v2/web/referrers/sha256:00", "ListReferrers"),
        ("DELETE", "/acr/v1/web/_tags/1.0", "DataplaneDelete"),
        ("PATCH", "/acr/v1/web", "DataplaneWrite"),
        ("PUT", "/v2/web/manifests/1.0", "DataplaneWrite"),
        ("POST", "/oauth2/token", "OAuth"),
    ],
)
def test_requests_have_a_rate_category(method: str, path: str, category: str) -> None:
    assert category_of(method, path) == category


async def test_requests_are_recorded(world: World, registry: RegistryClient) -> None:
    world.requests.clear()
    await registry.get("/acr/v1/shop%2Fweb/_tags?n=3")
    await registry.delete("/acr/v1/web/_tags/1.0")
    first, second = world.requests
    assert (first.service, first.method, first.path, first.query, first.status) == (
        "acr",
        "GET",
        "/acr/v1/shop/web/_tags",
        "n=3",
        404,
    )
    assert first.identity == world.directory.client_id
    assert second.status == 202
    assert world.count(service="acr", method="DELETE", path=r"_tags/1\.0$") == 1
    assert world.count(status=404) == 1
    assert world.count(service="arm") == 0
