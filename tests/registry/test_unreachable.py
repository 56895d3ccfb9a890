"""Hosts, proxies and certificates that prevent a connection to the registry."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import zlib
from typing import Any

import aiohttp
import pytest
from azure.core.pipeline.transport import AioHttpTransport

from acr_cleanup.emulator.faults import Fault
from acr_cleanup.errors import RegistryUnreachable
from acr_cleanup.registry.acr import open_registry
from tests.helpers.registry_clients import HOST, CountingCredential, emulated_registry, instant_pace, world_with_tags


async def test_untrusted_certificate_is_named() -> None:
    async with emulated_registry(world_with_tags(), trust=False) as connected:
        with pytest.raises(RegistryUnreachable, match=r"registry localhost:\d+: its TLS certificate.*SSL_CERT_FILE"):
            await connected.registry.list_repository("shop/web")
        assert connected.sent() == 0


async def test_closed_port_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with (
            aiohttp.ClientSession() as session,
            open_registry(
                f"127.0.0.1:{port}",
                CountingCredential(),
                AioHttpTransport(session=session, session_owner=False),
                pace=instant_pace(),
            ) as registry,
        ):
            with pytest.raises(RegistryUnreachable, match=rf"registry 127\.0\.0\.1:{port}: no connection"):
                await registry.catalog()
            assert not session.closed
        assert session.closed


async def test_unknown_host_name_is_named() -> None:
    class NoAddress(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
            raise OSError(None, "Name or service not known")

        async def close(self) -> None:
            """Nothing is open."""

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=NoAddress())) as session,
        open_registry(
            HOST, CountingCredential(), AioHttpTransport(session=session, session_owner=False), pace=instant_pace()
        ) as registry,
    ):
        with pytest.raises(RegistryUnreachable) as caught:
            await registry.list_repository("shop/web")
    assert str(caught.value).startswith(f"registry {HOST}: no such host. Check container_registry.url")


@pytest.mark.parametrize("name", ["", "contoso azurecr", "https://x", "a/b", "x" * 64 + ".azurecr.io", "{x}", "ä.io"])
async def test_open_registry_rejects_an_invalid_host_name(name: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(RegistryUnreachable, match="is not a host name"):
            async with open_registry(
                name, CountingCredential(), AioHttpTransport(session=session, session_owner=False)
            ):
                pass


async def test_proxy_refusal_is_named() -> None:
    async def answer_407(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_407, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        aiohttp.ClientSession(proxy=f"http://127.0.0.1:{port}") as session,
        open_registry(
            HOST, CountingCredential(), AioHttpTransport(session=session, session_owner=False), pace=instant_pace()
        ) as registry,
    ):
        with pytest.raises(RegistryUnreachable, match=r"the proxy refused the connection \(407.*HTTPS_PROXY"):
            await registry.catalog()


async def test_compressed_page_is_read() -> None:
    """The shared session may leave decompression to the SDK."""
    world = world_with_tags(1)
    page = {"tags": [{"name": "z", "digest": "sha256:" + "1" * 64}]}
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    body = packer.compress(json.dumps(page).encode()) + packer.flush()
    world.faults.append(Fault(path="/_tags$", status=200, headers={"Content-Encoding": "gzip"}, body=body))
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
    assert "z" in {tag.name for tag in inventory.tags}


def test_default_ssl_context_verifies_certificates() -> None:
    """If it did not, the tests above would prove nothing."""
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED
