"""One request to an API server: its login, its patience, its way through proxies and private authorities."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from acr_cleanup.clusters.api import ApiServer, Ask, connect
from acr_cleanup.clusters.targets import KubeconfigCluster
from acr_cleanup.clusters.unread import Unreachable, Unread, quoted
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubeconfig import kubeconfig
from tests.clusters.emulated import HASTY, Edge, edge, shop
from tests.clusters.support import OURS, blockers


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


async def test_the_login_is_asked_for_before_each_request_so_that_it_never_expires() -> None:
    given: list[str] = []
    async with api() as (_, at):
        cluster = at.world.clusters["aks-prod"]

        async def authorization() -> str:
            given.append("Bearer wrong" if len(given) == 1 else f"Bearer {cluster.token}")
            return given[-1]

        context = ssl.create_default_context(cafile=at.emulator.ca_file)
        server = ApiServer(at.emulator.kubernetes_url(cluster), context, authorization)
        async with connect(server, HASTY) as ask:
            assert [(await ask("GET", "/api/v1/pods?limit=1")).status for _ in range(3)] == [200, 401, 200]


async def test_no_login_of_the_machine_is_sent_along(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """aiohttp would take one from ~/.netrc, and then refuse the token."""
    (tmp_path / "netrc").write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with api() as (ask, _):
        assert (await ask("GET", "/api/v1/pods?limit=1")).status == 200


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again_and_a_lasting_one_is_given_back(status: int) -> None:
    async with api() as (ask, at):
        at.world.faults.append(Fault(service="kubernetes/aks-prod", path="/pods$", status=status, times=1))
        assert (await ask("GET", "/api/v1/pods")).status == 200
        at.world.faults[:] = [Fault(service="kubernetes/aks-prod", path="/pods$", status=status)]
        assert (await ask("GET", "/api/v1/pods")).status == status
        assert at.world.faults[0].hits == HASTY.attempts


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_what_will_not_pass_is_asked_once(status: int) -> None:
    async with api() as (ask, at):
        at.world.faults.append(Fault(service="kubernetes/aks-prod", path="/pods$", status=status))
        assert (await ask("GET", "/api/v1/pods")).status == status
        assert at.world.faults[0].hits == 1


async def test_retry_after_is_kept_within_bounds() -> None:
    async with api(replace(HASTY, longest_pause=5)) as (ask, at):
        at.world.faults.append(Fault(path="/pods$", status=429, headers={"Retry-After": "1"}, times=1))
        started = time.monotonic()
        assert (await ask("GET", "/api/v1/pods")).status == 200
        assert 1 <= time.monotonic() - started < 30
    async with api() as (ask, at):
        at.world.faults.append(Fault(path="/pods$", status=429, headers={"Retry-After": "86400"}, times=1))
        assert (await ask("GET", "/api/v1/pods")).status == 200


@pytest.mark.parametrize("fault", [{"reset": True}, {"hang": 30.0}, {"truncate": 0.5}], ids=str)
async def test_no_answer_is_unreachable(fault: dict[str, Any]) -> None:
    async with api(replace(HASTY, read=0.3)) as (ask, at):
        at.world.faults.append(Fault(path="/pods$", **fault))
        with pytest.raises(Unreachable) as caught:
            await ask("GET", "/api/v1/pods")
        assert "cannot be reached" in caught.value.seen


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "https://nowhere.invalid", "https://", "https://[bad"])
async def test_an_address_where_nobody_is_is_unread(url: str) -> None:
    async with api(url=url) as (ask, _):
        with pytest.raises(Unread):
            await ask("GET", "/api/v1/pods")


async def test_an_authority_that_is_not_trusted_is_no_reason_to_go_another_way() -> None:
    async with api(context=ssl.create_default_context()) as (ask, _):
        with pytest.raises(Unread) as caught:
            await ask("GET", "/api/v1/pods")
    assert not isinstance(caught.value, Unreachable)
    assert "SSL_CERT_FILE" in caught.value.remedy


def config_of(at: Edge, path: Path, **changes: Any) -> KubeconfigCluster:
    """A kubeconfig file of the world's cluster, with changes to its `cluster` section."""
    (cluster,) = at.world.clusters.values()
    port = "" if at.world.face == "direct" else f"https://{cluster.fqdn}:443"
    text = kubeconfig(
        cluster,
        server=port or at.emulator.kubernetes_url(cluster),
        ca_pem=at.emulator.ca_pem,
        role="clusterUser",
        auth="token",
        tenant="",
        certificate=("", ""),
    )
    document = yaml.safe_load(text)
    document["clusters"][0]["cluster"].update(changes)
    path.write_text(yaml.safe_dump(document))
    return KubeconfigCluster("any", path)


async def test_the_proxy_of_the_kubeconfig_wins_over_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with edge(shop(auth="token"), registry=OURS, face="proxy") as at:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        dead = {"proxy_for": lambda _: "http://127.0.0.1:1"}
        (found,) = await at.scan(config_of(at, tmp_path / "config"), **dead)
        assert "cannot be reached" in blockers(found)
        own = config_of(at, tmp_path / "config", **{"proxy-url": at.emulator.proxy_url})
        (found,) = await at.scan(own, **dead)
        assert found.blockers == ()
        assert found.uses


async def test_a_proxy_that_inspects_tls_is_trusted_through_the_files_that_the_environment_names(
    tmp_path: Path,
) -> None:
    """The kubeconfig names the cluster's own authority; what is met on the wire is signed by the proxy's."""
    async with edge(shop(auth="token"), registry=OURS) as at:
        own = trustme.CA().cert_pem.bytes()
        target = config_of(at, tmp_path / "config", **{"certificate-authority-data": base64.b64encode(own).decode()})
        (found,) = await at.scan(target, trust=())
        assert "certificate is not trusted" in blockers(found)
        (found,) = await at.scan(target)
        assert found.blockers == ()
        assert found.uses


async def test_the_name_on_the_certificate_may_differ_from_the_address(tmp_path: Path) -> None:
    async with edge(shop(auth="token"), registry=OURS) as at:
        (found,) = await at.scan(config_of(at, tmp_path / "config", **{"tls-server-name": "localhost"}))
        assert found.blockers == ()
        (found,) = await at.scan(config_of(at, tmp_path / "config", **{"tls-server-name": ""}))
        assert found.blockers == ()


async def test_the_password_of_a_proxy_is_never_told() -> None:
    """The proxy of the world refuses names that it does not know, and the error says which proxy it was."""
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


def test_foreign_text_is_quoted_clean_and_without_passwords() -> None:
    assert quoted("url='http://me:hunter2@proxy:3128/' \x1b[31m\r\nnext") == "url='http://***@proxy:3128/' [31m next"
    assert len(quoted("x" * 5000)) == 200
