"""The proxy connects real host names to the emulator, and refuses all other names."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes.state import ClusterState


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    world = World(face="proxy")
    world.clusters["aks-prod"] = ClusterState(name="aks-prod")
    async with Emulator(world) as emulator:
        yield emulator


@pytest.fixture
async def http(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[aiohttp.ClientSession]:
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", emulator.proxy_url)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=emulator.ca_file))
    async with aiohttp.ClientSession(connector=connector, trust_env=True) as session:
        yield session


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("contoso.azurecr.io", "acr"),
        ("login.microsoftonline.com", "entra"),
        ("login.microsoftonline.us", "entra"),
        ("management.azure.com", "arm"),
        ("management.usgovcloudapi.net", "arm"),
        ("management.chinacloudapi.cn", "arm"),
    ],
)
async def test_real_host_names_reach_the_services(
    emulator: Emulator, http: aiohttp.ClientSession, host: str, service: str
) -> None:
    async with http.get(f"https://{host}/nothing"):
        pass
    proxy, record = emulator.world.requests
    assert (proxy.service, proxy.method, proxy.path, proxy.status) == ("proxy", "CONNECT", f"{host}:443", 200)
    assert (record.service, record.path) == (service, "/nothing")


async def test_clusters_added_later_are_reachable_by_name(emulator: Emulator, http: aiohttp.ClientSession) -> None:
    late = ClusterState(name="aks-late")
    emulator.world.clusters["aks-late"] = late
    for cluster in emulator.world.clusters.values():
        async with http.get(f"https://{cluster.fqdn}/version"):
            pass
        assert emulator.world.requests[-1].service == f"kubernetes/{cluster.name}"


async def test_registry_alias_reaches_the_registry(emulator: Emulator, http: aiohttp.ClientSession) -> None:
    emulator.world.registry.aliases.append("images.contoso.example")
    async with http.get("https://images.contoso.example/v2/") as answer:
        assert answer.status == 401


@pytest.mark.parametrize("host", ["example.com", "contoso.azurecr.io.example.com", "127.0.0.1", "localhost"])
async def test_unknown_host_is_refused(emulator: Emulator, http: aiohttp.ClientSession, host: str) -> None:
    """So that no request can leave this machine."""
    with pytest.raises(aiohttp.ClientHttpProxyError) as caught:
        await http.get(f"https://{host}/", proxy=emulator.proxy_url)
    assert caught.value.status == 403
    assert [(r.service, r.path, r.status) for r in emulator.world.requests] == [("proxy", f"{host}:443", 403)]


@pytest.mark.parametrize(
    "cluster", [ClusterState(name="private", private=True), ClusterState(name="stopped", power_state="Stopped")]
)
async def test_unreachable_cluster_answers_502(
    emulator: Emulator, http: aiohttp.ClientSession, cluster: ClusterState
) -> None:
    emulator.world.clusters[cluster.name] = cluster
    with pytest.raises(aiohttp.ClientHttpProxyError) as caught:
        await http.get(f"https://{cluster.fqdn or cluster.private_fqdn}/version")
    assert caught.value.status == 502


async def test_other_methods_than_connect_answer_405(emulator: Emulator, http: aiohttp.ClientSession) -> None:
    async with http.get("http://contoso.azurecr.io/", proxy=emulator.proxy_url) as answer:
        assert answer.status == 405


async def test_open_tunnel_does_not_delay_exit() -> None:
    async with Emulator(World(face="proxy")) as emulator:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=emulator.ca_file))
        session = aiohttp.ClientSession(connector=connector)
        await session.get("https://contoso.azurecr.io/v2/", proxy=emulator.proxy_url)
    await session.close()
