"""The shared session: its proxies, and the authorities that it trusts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from azure.core import AsyncPipelineClient
from azure.core.exceptions import ServiceRequestError
from azure.core.rest import HttpRequest

from acr_cleanup.access.network import Network, Proxies, environment_problems, open_network
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.errors import ConfigurationError


@dataclass
class Server:
    """An HTTPS server with its own authority."""

    url: str
    ca_file: Path
    requests: list[web.Request] = field(default_factory=list)


@asynccontextmanager
async def serve(folder: Path, name: str = "ca") -> AsyncIterator[Server]:
    ca = trustme.CA()
    ca_file = folder / f"{name}.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    server = Server("", ca_file)

    async def answer(request: web.Request) -> web.Response:
        server.requests.append(request)
        return web.Response(text=request.headers.get("Authorization", ""), headers={"Set-Cookie": "a=b"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.url = f"https://localhost:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def get(network: Network, url: str, *, proxied: bool = True, **headers: str) -> str:
    """Send one request like an Azure client."""
    client: AsyncPipelineClient[HttpRequest, Any] = AsyncPipelineClient(
        url, transport=network.transport(proxied=proxied), policies=[]
    )
    async with client:
        response = await client.send_request(HttpRequest("GET", url, headers=headers))
        text: str = response.text()
        return text


@pytest.fixture
def _emulated_authorities_only() -> None:
    """Override the fixture of the same name: these tests need the authorities of the system."""


async def test_authorities_of_both_variables_are_trusted(tmp_path: Path) -> None:
    """Both variables add to the authorities of the system."""
    async with serve(tmp_path, "one") as one, serve(tmp_path, "two") as two:
        environ = {"SSL_CERT_FILE": str(one.ca_file), "REQUESTS_CA_BUNDLE": str(two.ca_file)}
        async with open_network(environ) as network:
            await get(network, one.url)
            await get(network, two.url)
            assert network.ca_files == (one.ca_file, two.ca_file)
        async with open_network({"REQUESTS_CA_BUNDLE": str(two.ca_file)}) as network:
            await get(network, two.url)
            with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
                await get(network, one.url)


async def test_authorities_of_system_are_still_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL itself reads SSL_CERT_FILE instead of them."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with open_network({}) as network:
        system = {str(certificate["subject"]) for certificate in network.ssl_context.get_ca_certs()}
    if not system:
        pytest.skip("this machine has no file of authorities")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    async with open_network({"SSL_CERT_FILE": str(other)}) as network:
        assert system < {str(certificate["subject"]) for certificate in network.ssl_context.get_ca_certs()}


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
async def test_unreadable_authorities_are_named(tmp_path: Path, variable: str) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for path, seen in ((tmp_path / "missing.pem", "does not exist"), (nonsense, "no readable certificate")):
        with pytest.raises(ConfigurationError) as caught:
            async with open_network({variable: str(path)}):
                raise AssertionError("opened")
        (problem,) = caught.value.problems
        assert problem.path == variable
        assert str(path) in problem.seen
        assert seen in problem.seen
        assert environment_problems({variable: str(path)}) == [problem]


async def test_empty_variable_counts_as_unset() -> None:
    async with open_network({"SSL_CERT_FILE": "", "HTTPS_PROXY": " ", "NO_PROXY": ""}) as network:
        assert network.ca_files == ()
        assert network.proxy_for("https://contoso.azurecr.io") is None


async def test_folder_of_authorities_is_accepted(tmp_path: Path) -> None:
    """The library `requests` accepts a folder in REQUESTS_CA_BUNDLE too."""
    async with open_network({"REQUESTS_CA_BUNDLE": str(tmp_path)}) as network:
        assert network.ca_files == (tmp_path,)


# -- sharing ---------------------------------------------------------------------------------------


async def test_closing_a_client_keeps_shared_connections(tmp_path: Path) -> None:
    async with serve(tmp_path) as server, open_network({"SSL_CERT_FILE": str(server.ca_file)}) as network:
        for _ in range(3):
            await get(network, server.url)
        assert not network.session.closed
        peers = {request.transport and request.transport.get_extra_info("peername") for request in server.requests}
        assert len(peers) <= 1
    assert network.session.closed


async def test_session_stores_no_cookies(tmp_path: Path) -> None:
    async with serve(tmp_path) as server, open_network({"SSL_CERT_FILE": str(server.ca_file)}) as network:
        await get(network, server.url)
        await get(network, server.url)
        assert "Cookie" not in server.requests[1].headers


async def test_netrc_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `default` entry in ~/.netrc must not replace a token or break the request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with serve(tmp_path) as server, open_network({"SSL_CERT_FILE": str(server.ca_file)}) as network:
        assert await get(network, server.url, Authorization="Bearer token") == "Bearer token"
        assert await get(network, server.url) == ""


# -- proxies ---------------------------------------------------------------------------------------

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({"HTTPS_PROXY": PROXY}, "https://contoso.azurecr.io/v2/", PROXY),
        ({"HTTPS_PROXY": PROXY}, "http://contoso.azurecr.io/", None),
        ({"HTTP_PROXY": PROXY}, "https://contoso.azurecr.io/", None),
        ({"ALL_PROXY": PROXY}, "https://contoso.azurecr.io/", PROXY),
        ({"all_proxy": "http://b:1", "HTTPS_PROXY": PROXY}, "https://contoso.azurecr.io/", PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://b:1"}, "https://contoso.azurecr.io/", PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://contoso.azurecr.io/", PROXY),
        ({"HTTPS_PROXY": ""}, "https://contoso.azurecr.io/", None),
    ],
)
def test_proxy_is_chosen_by_scheme(environ: dict[str, str], url: str, proxy: str | None) -> None:
    assert Proxies.of(environ).for_url(url) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "https://contoso.azurecr.io", True),
        ("azurecr.io", "https://contoso.azurecr.io", True),
        (".azurecr.io", "https://contoso.azurecr.io", True),
        ("*.azurecr.io", "https://Contoso.AzureCR.io:443/", True),
        ("other, azurecr.io", "https://contoso.azurecr.io", True),
        ("other azurecr.io", "https://contoso.azurecr.io", True),
        ("azurecr.io", "https://contosoazurecr.io", False),
        ("contoso", "https://contoso.azurecr.io", False),
        ("localhost:5000", "https://localhost:5000", True),
        ("localhost:5000", "https://localhost:5001", False),
        ("azurecr.io:443", "https://contoso.azurecr.io", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://contoso.azurecr.io", False),
        ("10.1.2.3", "https://10.1.2.3:6443", True),
        ("::1", "https://[::1]:6443", True),
        ("[::1]:6443", "https://[::1]:6443", True),
        ("", "https://contoso.azurecr.io", False),
        ("nonsense/x,/", "https://contoso.azurecr.io", False),
    ],
)
def test_no_proxy_bypasses_the_proxy(no_proxy: str, url: str, direct: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}
    assert (Proxies.of(environ).for_url(url) is None) == direct


@pytest.mark.parametrize(
    "proxy",
    ["socks5://me:hunter2@proxy:1080", "http://", "://x", "[", "http://[hunter2", "proxy:hunter2", "proxy:99999"],
)
def test_invalid_proxy_is_named_without_password(proxy: str) -> None:
    (problem,) = environment_problems({"HTTPS_PROXY": proxy})
    assert problem.path == "HTTPS_PROXY"
    assert "hunter2" not in str(problem)


def test_authorities_in_unknown_home_do_not_exist() -> None:
    (problem,) = environment_problems({"SSL_CERT_FILE": "~no-such-user/ca.pem"})
    assert "does not exist" in problem.seen


async def test_requests_use_the_proxy() -> None:
    async with Emulator(World(face="proxy")) as emulator, open_network(emulator.environment()) as network:
        await get(network, "https://contoso.azurecr.io/v2/")
        assert emulator.world.count(service="proxy", path="contoso.azurecr.io:443", status=200) == 1
        assert emulator.world.count(service="acr") == 1


async def test_requests_bypass_the_proxy_if_configured(tmp_path: Path) -> None:
    async with serve(tmp_path) as server:
        environ = {"SSL_CERT_FILE": str(server.ca_file), "HTTPS_PROXY": "http://127.0.0.1:1"}
        async with open_network({**environ, "NO_PROXY": "localhost"}) as network:
            await get(network, server.url)
        async with open_network(environ) as network:
            await get(network, server.url, proxied=False)
            with pytest.raises(ServiceRequestError):
                await get(network, server.url)


async def test_password_of_proxy_is_sent_to_it() -> None:
    heads: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with open_network({"HTTPS_PROXY": f"http://me:hunter2@127.0.0.1:{port}"}) as network:
            with contextlib.suppress(Exception):
                await get(network, "https://contoso.azurecr.io/")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:hunter2').decode()}" in heads[0]
