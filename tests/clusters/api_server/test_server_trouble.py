"""Trouble of real API servers: webhooks that do not answer, load, other certificates, refused logins."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from aiohttp import web

from acr_cleanup.access.read_failure import ReadFailure, Unreachable
from acr_cleanup.clusters.api_server.client import ApiServer, Patience, connect
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.target import Waiver
from acr_cleanup.clusters.targets import KubeconfigCluster
from acr_cleanup.core.usage import WORKLOAD_KINDS, is_workload_kind
from acr_cleanup.emulator.faults import Fault
from tests.helpers.cluster_objects import FakeServer, blockers, custom, page, read_fake, status
from tests.helpers.emulated_clusters import HASTY, edge, shop, target

# -- time -------------------------------------------------------------------------------------------


def test_patience_exceeds_the_limits_of_the_server() -> None:
    """A server waits 30 seconds for a conversion webhook, and 60 for a request."""
    assert Patience().read > 60


async def test_hanging_version_is_replaced_by_another() -> None:
    """A conversion webhook that does not answer blocks the preferred version only."""
    preferred, stored = custom(version="v2"), custom(version="v1")
    server = FakeServer(preferred, stored)
    server.put(preferred.path, Unreachable("connecting", "no answer in time", "", timed_out=True))
    server.put("pods", page("contoso.azurecr.io/shop/web:1"))
    assert (await read_fake(server)).blockers == ()


async def test_kind_that_times_out_is_its_own_failure() -> None:
    server = FakeServer(custom())
    server.put("rollouts", Unreachable("connecting", "no answer in time", "access: run-command", timed_out=True))
    (blocker,) = (await read_fake(server)).blockers
    assert blocker.call == "list rollouts.argoproj.io"
    assert "although the API server answers other requests" in blocker.seen
    assert "webhook" in blocker.remedy
    assert "run-command" not in blocker.remedy


# -- load -------------------------------------------------------------------------------------------


async def test_busy_server_gets_fewer_requests_at_once() -> None:
    """It takes three at once, and refuses the others with 429."""
    running = most = refused = 0

    async def handle(_: web.Request) -> web.Response:
        nonlocal running, most, refused
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.02)
            if running > 3:
                refused += 1
                return web.Response(status=429, text="Too many requests", headers={"Retry-After": "1"})
            return web.json_response({})
        finally:
            running -= 1

    async with plain(handle) as url, connect(server_at(url), replace(HASTY, busy_attempts=14)) as ask:
        answers = await asyncio.gather(*(ask("GET", f"/{number}") for number in range(40)))
    assert {answer.status for answer in answers} == {200}
    assert most > 3
    assert refused < 80


async def test_pauses_of_requests_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that all wait exactly `Retry-After` come back in lockstep."""
    pauses: list[float] = []

    async def record(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "1"})

    async with plain(busy) as url, connect(server_at(url), Patience(busy_attempts=14)) as ask:
        monkeypatch.setattr("acr_cleanup.clusters.api_server.client.asyncio.sleep", record)
        await ask("GET", "/")
    monkeypatch.undo()
    assert min(pauses) >= 1
    assert len(set(pauses)) == len(pauses) == 13
    assert sum(pauses) > 180, "patience of minutes"


# -- certificates -----------------------------------------------------------------------------------


@asynccontextmanager
async def plain(handler: Any, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
    runner.app.router.add_get("/{path:.*}", handler)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def server_at(url: str, **values: Any) -> ApiServer:
    async def none() -> None:
        return None

    return ApiServer(url, values.pop("context", ssl.create_default_context()), none, **values)


async def served(_: web.Request) -> web.Response:
    return web.json_response({})


def certificates(name: str = "127.0.0.1", **times: Any) -> tuple[trustme.CA, ssl.SSLContext]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, **times).configure_cert(context)
    return ca, context


def trusting(*authorities: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for authority in authorities:
        authority.configure_trust(context)
    return context


PAST = {"not_after": datetime(2020, 1, 2, tzinfo=UTC), "not_before": datetime(2020, 1, 1, tzinfo=UTC)}
FUTURE = {"not_before": datetime.now(UTC) + timedelta(days=3), "not_after": datetime.now(UTC) + timedelta(days=9)}


@pytest.mark.parametrize(
    ("certificate", "trusts", "values", "seen", "remedy"),
    [
        ({}, False, {"has_authority": True}, "is not trusted", "Get the kubeconfig again"),
        ({}, False, {}, "is not trusted", "names no certificate-authority"),
        ({"name": "other.example"}, True, {}, "does not name the host of `server`", "set tls-server-name"),
        ({}, True, {"tls_server_name": "wrong.example"}, "does not name tls-server-name", "Correct tls-server-name"),
        (PAST, True, {}, "has expired", "rotate-certs"),
        (FUTURE, True, {}, "not valid yet", "clock"),
    ],
    ids=["wrong CA", "no CA", "other name", "wrong tls-server-name", "expired", "in the future"],
)
async def test_refused_certificate_has_its_own_cure(
    certificate: dict[str, Any], trusts: bool, values: dict[str, Any], seen: str, remedy: str
) -> None:
    ca, context = certificates(**certificate)
    own = trusting(ca) if trusts else trusting(trustme.CA())
    async with plain(served, context) as url, connect(server_at(url, context=own, **values), HASTY) as ask:
        with pytest.raises(ReadFailure) as caught:
            await ask("GET", "/")
    assert seen in caught.value.seen
    assert remedy in caught.value.remedy
    assert ("inspects TLS" in caught.value.remedy) == (not trusts)
    assert not isinstance(caught.value, Unreachable), "a run command must not hide it"


async def test_server_without_tls_is_named() -> None:
    async with plain(served) as url, connect(server_at(url.replace("http", "https")), HASTY) as ask:
        with pytest.raises(ReadFailure) as caught:
            await ask("GET", "/")
    assert "TLS with the API server failed" in caught.value.seen
    assert "port" in caught.value.remedy


# -- rights -----------------------------------------------------------------------------------------


async def test_refused_login_is_one_blocker() -> None:
    """Lists, discovery and reviews are refused in different words."""
    server = FakeServer(custom())
    for number, kind in enumerate(KINDS):
        server.put(kind.resource, status(401, f"Unauthorized {number}"))
    server.others |= {"/api": status(401, "x"), "/apis": status(401, "y")}
    (blocker,) = (await read_fake(server)).blockers
    assert blocker.call == "logging in to the API server"


async def test_anonymous_login_is_one_blocker(tmp_path: Path) -> None:
    """Otherwise every kind is refused, with the advice to grant "the identity" a right."""
    cluster = shop(auth="token")
    async with edge(cluster) as at:
        authority = base64.b64encode(at.emulator.authority.ca_pem).decode()
        server = {"server": at.emulator.kubernetes_url(cluster), "certificate-authority-data": authority}
        kubeconfig = {
            "current-context": "prod",
            "contexts": [{"name": "prod", "context": {"cluster": "c"}}],
            "clusters": [{"name": "c", "cluster": server}],
        }
        (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig))
        (result,) = await at.scan(KubeconfigCluster("prod", tmp_path / "config"))
    (blocker,) = result.blockers
    assert "no token and no client certificate" in blocker.seen
    assert "Allow the identity" not in blocker.remedy


async def test_refusal_against_a_right_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has just started answers 403 until it has loaded its roles."""
    monkeypatch.setattr("acr_cleanup.clusters.api_server.scan._SETTLING", (0.0, 0.0))
    server = FakeServer()
    server.put("pods", status(403), page("contoso.azurecr.io/shop/web:1"))
    assert (await read_fake(server)).blockers == ()

    server = FakeServer()
    server.put("pods", status(403))
    server.denied.clear()
    assert "list pods: 403" in blockers(await read_fake(server))
    assert server.requests("/pods") == 3


async def test_impersonated_groups_are_sent() -> None:
    sent: list[tuple[str, str]] = []

    async def record(request: web.Request) -> web.Response:
        sent.extend((name, value) for name, value in request.headers.items() if name.startswith("Impersonate"))
        return web.json_response({})

    headers = (("Impersonate-User", "me"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    async with plain(record) as url, connect(server_at(url, headers=headers), HASTY) as ask:
        await ask("GET", "/")
    assert tuple(sent) == headers


# -- waivers ----------------------------------------------------------------------------------------


def test_workload_kinds_are_the_built_in_ones() -> None:
    assert set(WORKLOAD_KINDS) == set(map(str, KINDS))
    assert [is_workload_kind(name) for name in ("Pods", "cronjob", "cronjobs.batch", "rollouts.argoproj.io", "")] == [
        True, True, True, False, False
    ]  # fmt: skip


@pytest.mark.parametrize("workloads", [False, True])
async def test_pods_need_a_separate_waiver(workloads: bool) -> None:
    """Without pods, every running image would count as unused."""
    cluster = shop()
    async with edge(cluster) as at:
        at.world.faults.append(Fault(service=f"kubernetes/{cluster.name}", path="/pods$", status=403))
        (result,) = await at.scan(target(cluster), waive=[Waiver("prod", "pods", workloads)])
    assert bool(result.blockers) != workloads
    assert any("Only waive-workloads" in note for note in result.notes) != workloads
