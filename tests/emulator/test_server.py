"""Start, addresses and end of an emulator."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from pathlib import Path

import aiohttp
import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes.state import AKS_SERVER_APP, ClusterState


async def test_emulator_starts_within_ten_seconds() -> None:
    started = time.monotonic()
    async with Emulator(World(clusters={"a": ClusterState(name="a"), "b": ClusterState(name="b")})):
        assert time.monotonic() - started < 10


async def test_exit_removes_files_and_closes_ports() -> None:
    async with Emulator(World()) as emulator:
        folder = Path(emulator.ca_file).parent
        port = int(emulator.registry_url.rpartition(":")[2])
        assert folder.exists()
    assert not folder.exists()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


async def test_services_listen_on_loopback_only() -> None:
    async with Emulator(World()) as emulator:
        for url in (emulator.authority_url, emulator.resource_manager, emulator.proxy_url):
            port = int(url.rpartition(":")[2])
            with socket.socket() as other:
                # Without a listener on another address, the port can be bound there.
                other.bind(("127.0.0.2", port))


async def test_ca_file_verifies_every_service() -> None:
    """The file has one authority; a cluster added after the start is verified too."""
    world = World()
    async with Emulator(world) as emulator:
        cluster = world.clusters["late"] = ClusterState(name="late")
        assert emulator.authority.ca_pem.count(b"BEGIN CERTIFICATE") == 1
        assert Path(emulator.ca_file).read_bytes() == emulator.authority.ca_pem  # noqa: ASYNC240
        context = ssl.create_default_context(cafile=emulator.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            for url in (
                f"https://{emulator.registry_url}",
                f"https://{emulator.registry_url}".replace("localhost", "127.0.0.1"),
                emulator.authority_url,
                emulator.resource_manager,
                emulator.kubernetes_url(cluster),
            ):
                async with session.get(f"{url}/version"):
                    pass
        assert len(world.requests) == 5


async def test_faces_use_their_own_host_names() -> None:
    async with Emulator(World(clusters={"aks-prod": ClusterState(name="aks-prod")})) as emulator:
        registry = emulator.world.registry
        assert registry.image("shop/web", "1.0") == f"{emulator.registry_url}/shop/web:1.0"
        config = emulator.config()
        assert config["container_registry"]["url"] == emulator.registry_url
        assert config["cloud"]["authority"] == emulator.authority_url
        assert config["cloud"]["resource_manager"] == emulator.resource_manager
        assert config["kubernetes_clusters"]["aks-prod"]["name"] == "aks-prod"
        assert "HTTPS_PROXY" not in emulator.environment()
    async with Emulator(World(face="proxy")) as emulator:
        registry = emulator.world.registry
        assert registry.image("shop/web", digest="sha256:00") == "contoso.azurecr.io/shop/web@sha256:00"
        assert "cloud" not in emulator.config()
        assert emulator.config()["container_registry"]["url"] == "contoso.azurecr.io"
        assert emulator.environment()["HTTPS_PROXY"] == emulator.proxy_url


async def test_token_is_valid_for_audience_and_lifetime() -> None:
    async with Emulator(World()) as emulator:
        token = emulator.authority.issue_token(AKS_SERVER_APP, "me")
        claims = emulator.authority.check_token(token, AKS_SERVER_APP)
        assert claims is not None
        assert claims["appid"] == "me"
        assert emulator.authority.check_token(token, {"other", AKS_SERVER_APP}) is not None
        assert emulator.authority.check_token(token, emulator.resource_manager) is None
        assert emulator.authority.check_token(token[:-4] + "AAAA", AKS_SERVER_APP) is None
        assert emulator.authority.check_token("nonsense", AKS_SERVER_APP) is None
        assert (
            emulator.authority.check_token(
                emulator.authority.issue_token(AKS_SERVER_APP, "me", lifetime=-1), AKS_SERVER_APP
            )
            is None
        )


async def test_client_certificate_identifies_its_cluster_admin(tmp_path: Path) -> None:
    world = World(clusters={"aks-prod": ClusterState(name="aks-prod")})
    async with Emulator(world) as emulator:
        certificate, key = emulator.authority.client_certificate("aks-prod")
        (tmp_path / "cert.pem").write_text(certificate + key)
        context = ssl.create_default_context(cafile=emulator.ca_file)
        context.load_cert_chain(tmp_path / "cert.pem")
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.get(f"{emulator.kubernetes_url('aks-prod')}/version"),
        ):
            pass
        assert world.requests[-1].identity == "masterclient-aks-prod"


async def test_environment_is_enough_for_another_process() -> None:
    """The variables of `environment()` are all that a client in another process needs."""
    script = (
        "import os, ssl, json, urllib.request;"
        "context = ssl.create_default_context(cafile=os.environ['SSL_CERT_FILE']);"
        "print(urllib.request.urlopen(os.environ['URL'] + '/common/discovery/instance', context=context).status)"
    )
    async with Emulator(World()) as emulator:
        process = await asyncio.create_subprocess_exec(
            "python3",
            "-c",
            script,
            env={"PATH": os.environ["PATH"], "URL": emulator.authority_url, **emulator.environment()},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert json.loads(out) == 200
