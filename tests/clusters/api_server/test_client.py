"""Requests to an API server: login, retries, proxies and private certificate authorities."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from aiohttp import web

from acr_cleanup.access.read_failure import ReadFailure, Unreachable
from acr_cleanup.clusters.api_server.client import ApiServer, Ask, connect
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.images.pod_specs import KINDS, POD
from acr_cleanup.clusters.targets import KubeconfigCluster
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes.kubeconfig import kubeconfig
from tests.helpers.cluster_objects import OURS, SEARCH, blockers, listing, pod
from tests.helpers.emulated_clusters import HASTY, Edge, edge, shop


@asynccontextmanager
async def api(patience: Any = HASTY, **changes: Any) -> AsyncIterator[tuple[Ask, Edge]]:
    cluster = shop(auth="token")
    async with edge(cluster) as at:

        async def authorization() -> str:
            return f"Bearer {cluster.token}"

        context = ssl.create_default_context(cafile=at.emulator.ca_file)
        server = ApiServer(at.emulator.kubernetes_url(cluster), context, authorization)
        async with connect(replace(server, **changes), patience) as ask:
            yield ask, at


@asynccontextmanager
async def logging_in(*tokens: str) -> AsyncIterator[tuple[Ask, Edge, list[str]]]:
    """
    Connect with these tokens, one per request; the last one is repeated. "good" stands for the
    valid token.

    Yields the requester, the world and the list of tokens used so far.
    """
    used: list[str] = []
    async with api() as (_, at):
        cluster = at.world.clusters["aks-prod"]

        async def authorization() -> str:
            token = tokens[min(len(used), len(tokens) - 1)]
            used.append(token)
            return f"Bearer {cluster.token if token == 'good' else token}"

        context = ssl.create_default_context(cafile=at.emulator.ca_file)
        async with connect(ApiServer(at.emulator.kubernetes_url(cluster), context, authorization), HASTY) as ask:
            yield ask, at, used


async def test_login_is_requested_before_each_request() -> None:
    """So a token never expires in the middle of a scan."""
    async with logging_in("good") as (ask, _, used):
        assert [(await ask("GET", "/api/v1/pods?limit=1")).status for _ in range(3)] == [200, 200, 200]
        assert len(used) == 3


async def test_token_expired_between_pages_is_renewed() -> None:
    async with logging_in("good", "expired", "good") as (ask, at, used):
        at.world.clusters["aks-prod"].page_cap = 1
        result = await scan(ask, "prod", SEARCH, access="direct")
        assert result.blockers == ()
        assert used[:3] == ["good", "expired", "good"]


async def test_permanently_expired_login_is_a_blocker() -> None:
    """A 401 is tried once more with a new token."""
    async with logging_in("good", "good", "good", "expired") as (ask, at, _):
        assert [(await ask("GET", "/api/v1/pods?limit=1")).status for _ in range(4)] == [200, 200, 200, 401]
        refused = [record for record in at.world.requests if record.status == 401]
        assert len(refused) == 2
        result = await scan(ask, "prod", SEARCH, access="direct")
        assert "logging in to the API server: 401" in blockers(result)


async def test_netrc_login_is_not_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """aiohttp would read ~/.netrc, and then refuse the token."""
    (tmp_path / "netrc").write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with api() as (ask, _):
        assert (await ask("GET", "/api/v1/pods?limit=1")).status == 200


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_passing_failure_is_retried(status: int) -> None:
    """A lasting failure is returned after the last attempt."""
    async with api() as (ask, at):
        at.world.faults.append(Fault(service="kubernetes/aks-prod", path="/pods$", status=status, times=1))
        assert (await ask("GET", "/api/v1/pods")).status == 200
        at.world.faults[:] = [Fault(service="kubernetes/aks-prod", path="/pods$", status=status)]
        assert (await ask("GET", "/api/v1/pods")).status == status
        assert at.world.faults[0].hits == (HASTY.busy_attempts if status == 429 else HASTY.attempts)


@pytest.mark.parametrize("status", [400, 403, 404, 410])
async def test_permanent_failure_is_not_retried(status: int) -> None:
    async with api() as (ask, at):
        at.world.faults.append(Fault(service="kubernetes/aks-prod", path="/pods$", status=status))
        assert (await ask("GET", "/api/v1/pods")).status == status
        assert at.world.faults[0].hits == 1


async def test_retry_after_is_obeyed_up_to_limit() -> None:
    async with api(replace(HASTY, longest_pause=5)) as (ask, at):
        at.world.faults.append(Fault(path="/pods$", status=429, headers={"Retry-After": "1"}, times=1))
        started = time.monotonic()
        assert (await ask("GET", "/api/v1/pods")).status == 200
        assert 1 <= time.monotonic() - started < 30
    async with api() as (ask, at):
        at.world.faults.append(Fault(path="/pods$", status=429, headers={"Retry-After": "86400"}, times=1))
        assert (await ask("GET", "/api/v1/pods")).status == 200


@pytest.mark.parametrize("fault", [{"reset": True}, {"hang": 30.0}, {"truncate": 0.5}], ids=str)
async def test_lost_answer_is_unreachable(fault: dict[str, Any]) -> None:
    async with api(replace(HASTY, read=0.3)) as (ask, at):
        at.world.faults.append(Fault(path="/pods$", **fault))
        with pytest.raises(Unreachable) as caught:
            await ask("GET", "/api/v1/pods")
        assert "cannot be reached" in caught.value.seen


@asynccontextmanager
async def answering(handler: Any, **patience: Any) -> AsyncIterator[Ask]:
    """Serve one answer for all paths, without TLS."""
    runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
    runner.app.router.add_get("/{path:.*}", handler)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    server = ApiServer(f"http://127.0.0.1:{address[1]}", ssl.create_default_context(), no_login)
    try:
        async with connect(server, replace(HASTY, **patience)) as ask:
            yield ask
    finally:
        await runner.cleanup()


async def test_endless_slow_answer_times_out() -> None:
    """Each byte arrives in time, but the answer never ends."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    async with answering(drip, request=0.3, read=5) as ask:
        with pytest.raises(Unreachable):
            await ask("GET", "/api/v1/pods")


async def test_compressed_answer_is_decoded() -> None:
    async def packed(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})

    async with answering(packed) as ask:
        assert (await ask("GET", "/api")).body == b"{}"


async def test_wrong_content_encoding_is_unreachable() -> None:
    async def unpacked(_: web.Request) -> web.Response:
        return web.Response(body=b"{}", headers={"Content-Encoding": "gzip"})

    async with answering(unpacked) as ask:
        with pytest.raises(Unreachable):
            await ask("GET", "/api")


async def test_truncated_compressed_answer_is_a_blocker() -> None:
    """
    The body is truncated before it is sent: its length is right, but it does not decompress
    completely.
    """

    async def cut(_: web.Request) -> web.Response:
        body = gzip.compress(listing(POD, [pod(f"p{n}", "contoso.azurecr.io/shop/web:1") for n in range(99)]))
        return web.Response(body=body[: len(body) // 2], headers={"Content-Encoding": "gzip"})

    async with answering(cut) as ask:
        result = await scan(ask, "prod", SEARCH, access="direct")
    assert "list pods: the answer is cut short" in blockers(result)


async def test_undeclared_compression_is_a_blocker() -> None:
    async def packed(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"{}"))

    async with answering(packed) as ask:
        result = await scan(ask, "prod", SEARCH, access="direct")
    assert {blocker.kind for blocker in result.blockers} == {"", "configmaps", *map(str, KINDS)}


async def test_accept_header_is_sent() -> None:
    async def accepted(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Accept"])

    async with answering(accepted) as ask:
        assert (await ask("GET", "/")).body == b"application/json"
        assert (await ask("GET", "/", accept="text/plain")).body == b"text/plain"


async def test_busy_server_with_plain_text_is_retried() -> None:
    """The 429 of API Priority and Fairness. If it persists, each kind gets a blocker."""

    async def busy(_: web.Request) -> web.Response:
        return web.Response(
            status=429, text="Too many requests, please try again later.\n", headers={"Retry-After": "1"}
        )

    async with answering(busy) as ask:
        assert (await ask("GET", "/api/v1/pods")).status == 429
        result = await scan(ask, "prod", SEARCH, access="direct")
    assert "list pods: 429 Too Many Requests: Too many requests, please try again later." in blockers(result)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "https://nowhere.invalid", "https://", "https://[bad"])
async def test_wrong_address_is_a_read_failure(url: str) -> None:
    async with api(url=url) as (ask, _):
        with pytest.raises(ReadFailure):
            await ask("GET", "/api/v1/pods")


async def test_untrusted_certificate_does_not_fall_back() -> None:
    """It is not `Unreachable`, which would permit a run command."""
    async with api(context=ssl.create_default_context()) as (ask, _):
        with pytest.raises(ReadFailure) as caught:
            await ask("GET", "/api/v1/pods")
    assert not isinstance(caught.value, Unreachable)
    assert "SSL_CERT_FILE" in caught.value.remedy


def config_of(at: Edge, path: Path, **changes: Any) -> KubeconfigCluster:
    """Write a kubeconfig of the world's cluster, with changes to its `cluster` section."""
    (cluster,) = at.world.clusters.values()
    port = "" if at.world.face == "direct" else f"https://{cluster.fqdn}:443"
    text = kubeconfig(
        cluster,
        server=port or at.emulator.kubernetes_url(cluster),
        ca_pem=at.emulator.authority.ca_pem,
        role="clusterUser",
        auth="token",
        tenant="",
        certificate=("", ""),
    )
    document = yaml.safe_load(text)
    document["clusters"][0]["cluster"].update(changes)
    path.write_text(yaml.safe_dump(document))
    return KubeconfigCluster("any", path)


async def test_kubeconfig_proxy_precedes_environment_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with edge(shop(auth="token"), registry=OURS, face="proxy") as at:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        dead = {"proxy_for": lambda _: "http://127.0.0.1:1"}
        (result,) = await at.scan(config_of(at, tmp_path / "config"), **dead)
        assert "cannot be reached" in blockers(result)
        own = config_of(at, tmp_path / "config", **{"proxy-url": at.emulator.proxy_url})
        (result,) = await at.scan(own, **dead)
        assert result.blockers == ()
        assert result.uses


async def test_tls_inspecting_proxy_is_trusted_through_environment(
    tmp_path: Path,
) -> None:
    """
    The kubeconfig names the cluster's CA, but the certificate on the wire is signed by the proxy's
    CA.
    """
    async with edge(shop(auth="token"), registry=OURS) as at:
        own = trustme.CA().cert_pem.bytes()
        target = config_of(at, tmp_path / "config", **{"certificate-authority-data": base64.b64encode(own).decode()})
        (result,) = await at.scan(target, trust=())
        assert "certificate is not trusted" in blockers(result)
        (result,) = await at.scan(target)
        assert result.blockers == ()
        assert result.uses


async def test_proxy_is_trusted_by_requests_side_by_side() -> None:
    """The requests that fail with the first context change to the next one together."""
    async with edge(shop(auth="token"), registry=OURS) as at:
        (cluster,) = at.world.clusters.values()
        loaded: list[int] = []

        def fallback(number: int, file: str | None) -> Callable[[], ssl.SSLContext]:
            def load() -> ssl.SSLContext:
                loaded.append(number)
                return ssl.create_default_context(cafile=file)

            return load

        fallbacks = tuple(fallback(n, file) for n, file in enumerate((None, at.emulator.ca_file, None)))
        server = ApiServer(
            at.emulator.kubernetes_url(cluster), ssl.create_default_context(), no_login, fallbacks=fallbacks
        )
        async with connect(server, replace(HASTY, attempts=1)) as ask:
            answers = await asyncio.gather(*(ask("GET", "/version") for _ in range(8)))
        assert [answer.status for answer in answers] == [401] * 8
        assert loaded == [0, 1]


async def test_tls_server_name_replaces_address(tmp_path: Path) -> None:
    async with edge(shop(auth="token"), registry=OURS) as at:
        (result,) = await at.scan(config_of(at, tmp_path / "config", **{"tls-server-name": "localhost"}))
        assert result.blockers == ()
        (result,) = await at.scan(config_of(at, tmp_path / "config", **{"tls-server-name": ""}))
        assert result.blockers == ()


async def test_proxy_password_is_not_in_errors() -> None:
    """The proxy refuses an unknown host, and the error names the proxy."""
    async with edge(shop(auth="token"), face="proxy") as at:
        host = at.emulator.proxy_url.removeprefix("http://")
        server = ApiServer(
            "https://unknown.example", ssl.create_default_context(), no_login, proxy=f"http://me:hunter2@{host}"
        )
        async with connect(server, HASTY) as ask:
            with pytest.raises(Unreachable) as caught:
                await ask("GET", "/")
    assert "hunter2" not in caught.value.seen


async def no_login() -> None:
    return None
