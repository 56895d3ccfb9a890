"""The login that an environment describes, and the messages if it fails."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.world import FederatedCredential
from tests.helpers.logins import ARM, REGISTRY, cloud_of, credential_in, dead_port, refusal, tool


async def test_service_principal_with_secret_gets_tokens() -> None:
    """The only request is sent to the configured authority."""
    async with Emulator(World()) as emulator:
        async with credential_in(cloud_of(emulator), emulator.environment()) as credential:
            token = await credential.get_token(REGISTRY)
        assert emulator.authority.check_token(token.token, "https://containerregistry.azure.net")
        assert [(request.service, request.method) for request in emulator.world.requests] == [("entra", "POST")]


async def test_real_authority_is_reached_through_proxy() -> None:
    async with Emulator(World(face="proxy")) as emulator:
        for name, host in (
            ("azurecloud", "login.microsoftonline.com"),
            ("azureusgovernment", "login.microsoftonline.us"),
            ("azurechinacloud", "login.chinacloudapi.cn"),
        ):
            async with credential_in(CLOUDS[name], emulator.environment()) as credential:
                await credential.get_token(CLOUDS[name].resource_manager_scope)
            assert emulator.world.count(service="proxy", path=f"^{host}:443$", status=200) == 1
        assert emulator.world.count(service="entra") == emulator.world.count(service="proxy") == 3


async def test_federated_token_is_sent_to_configured_authority(tmp_path: Path) -> None:
    """The default chain of azure-identity would send it to the public cloud."""
    world = World()
    subject = FederatedCredential(world.directory.client_id, "https://issuer.example", "me")
    world.directory.federated.append(subject)
    async with Emulator(world) as emulator:
        claims = {"iss": subject.issuer, "sub": subject.subject, "aud": subject.audience}
        file = tmp_path / "token"
        file.write_text(emulator.authority.signer.sign(claims, 60))
        environ = {**emulator.environment(), "AZURE_CLIENT_SECRET": "", "AZURE_FEDERATED_TOKEN_FILE": str(file)}
        async with credential_in(cloud_of(emulator), environ) as credential:
            token = await credential.get_token(REGISTRY)
        assert emulator.authority.check_token(token.token, "https://containerregistry.azure.net")

        file.write_text("nonsense")
        assert "not a valid token" in (await refusal(cloud_of(emulator), environ)).seen
        world.directory.federated[0] = replace(subject, subject="you")
        file.write_text(emulator.authority.signer.sign(claims, 60))
        assert "subject" in (await refusal(cloud_of(emulator), environ)).seen
        file.unlink()
        missing = await refusal(cloud_of(emulator), environ)
        assert "AZURE_FEDERATED_TOKEN_FILE" in missing.where
        assert str(file) in missing.where


async def test_concurrent_callers_share_one_request() -> None:
    async with Emulator(World(latency=0.05)) as emulator:
        async with credential_in(cloud_of(emulator), emulator.environment()) as credential:
            tokens = await asyncio.gather(*(credential.get_token(REGISTRY) for _ in range(32)))
            assert len(set(tokens)) == 1
            assert emulator.world.count(service="entra") == 1
            await asyncio.gather(*(credential.get_token(ARM.replace("core.", "")) for _ in range(32)))
        assert emulator.world.count(service="entra") == 2


@pytest.mark.parametrize(
    ("change", "seen", "remedy"),
    [
        ({"AZURE_CLIENT_SECRET": "hunter2"}, "the client secret is wrong (AADSTS7000215)", "AZURE_CLIENT_SECRET"),
        ({"AZURE_CLIENT_ID": "0" * 8}, "does not know the application (AADSTS700016)", "AZURE_CLIENT_ID"),
        ({"AZURE_TENANT_ID": "0" * 8}, "does not exist in this cloud (AADSTS90002)", "AZURE_TENANT_ID"),
        ({"AZURE_TENANT_ID": "../x"}, "AZURE_TENANT_ID is neither", "az account show"),
        ({"AZURE_TENANT_ID": ""}, "AZURE_TENANT_ID is not set", "Set AZURE_TENANT_ID"),
        ({"AZURE_CLIENT_SECRET": ""}, "AZURE_CLIENT_SECRET is empty", "unset"),
    ],
)
async def test_wrong_service_principal_is_explained(change: dict[str, str], seen: str, remedy: str) -> None:
    async with Emulator(World()) as emulator:
        error = await refusal(cloud_of(emulator), {**emulator.environment(), **change})
    assert seen in error.seen
    assert remedy in error.remedy


async def test_wrong_secret_tries_no_other_login(tmp_path: Path) -> None:
    """A tool that deletes must not run as the user who happens to be logged in."""
    tool(tmp_path, 'echo \'{"accessToken": "of-the-user", "expiresOn": "2100-01-01 00:00:00.000000"}\'')
    async with Emulator(World()) as emulator:
        environ = {**emulator.environment(), "AZURE_CLIENT_SECRET": "hunter2"}
        assert "7000215" in (await refusal(cloud_of(emulator), environ)).seen


async def test_unusable_certificate_is_named(tmp_path: Path) -> None:
    base = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}
    for path in (tmp_path / "missing.pem", Path(__file__)):
        error = await refusal(CLOUDS["azurecloud"], {**base, "AZURE_CLIENT_CERTIFICATE_PATH": str(path)})
        assert "AZURE_CLIENT_CERTIFICATE_PATH" in error.seen
        assert str(path) in error.seen


async def test_unknown_resource_is_explained() -> None:
    async with Emulator(World()) as emulator:
        scope = "https://nothing.example/.default"
        assert "resource (AADSTS500011)" in (await refusal(cloud_of(emulator), emulator.environment(), scope)).seen


async def test_unreachable_authority_is_reported_soon() -> None:
    environ = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "hunter2"}
    with dead_port() as port:
        cloud = replace(CLOUDS["azurecloud"], authority=f"https://localhost:{port}")
        started = time.monotonic()
        error = await refusal(cloud, environ)
        assert time.monotonic() - started < 30
    assert "cannot be reached" in error.seen
    assert "SSLContext" not in error.seen
    assert error.where == cloud.authority


async def test_untrusted_authority_is_explained() -> None:
    async with Emulator(World()) as emulator:
        environ = {**emulator.environment(), "SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": ""}
        assert "SSL_CERT_FILE" in (await refusal(cloud_of(emulator), environ)).remedy


@pytest.mark.parametrize("body", [b"<html>Please log in to the hotel</html>", b"[]", b"{", b"", b"{}", b'"x"'])
async def test_answer_not_from_entra_is_one_sentence(body: bytes) -> None:
    world = World()
    world.faults.append(Fault(service="entra", status=200, body=body))
    async with Emulator(world) as emulator:
        await refusal(cloud_of(emulator), emulator.environment())


async def test_missing_login_is_reported_soon() -> None:
    started = time.monotonic()
    error = await refusal(CLOUDS["azurecloud"], {})
    assert error.seen == "Not logged in to Azure."
    assert "az login" in error.remedy
    assert time.monotonic() - started < 30


async def test_managed_identity_is_requested_without_proxy() -> None:
    """A proxy would answer for a missing endpoint, and the SDK would retry for half a minute."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as proxy:
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        assert "Not logged in" in (await refusal(CLOUDS["azurecloud"], {"HTTP_PROXY": url, "HTTPS_PROXY": url})).seen
    assert requests == []


async def test_login_of_azure_cli_is_used(tmp_path: Path) -> None:
    tool(tmp_path, 'echo \'{"accessToken": "of-the-user", "expiresOn": "2100-01-01 00:00:00.000000"}\'')
    # GitHub passes secrets that do not exist as empty texts.
    environ = {"AZURE_TENANT_ID": "", "AZURE_CLIENT_ID": "", "AZURE_CLIENT_SECRET": ""}
    async with credential_in(CLOUDS["azurecloud"], environ) as credential:
        assert (await credential.get_token(REGISTRY)).token == "of-the-user"


async def test_expired_login_differs_from_missing_login(tmp_path: Path) -> None:
    tool(tmp_path, "echo 'ERROR: AADSTS70043: The refresh token has expired. Trace ID: x' >&2; exit 1")
    error = await refusal(CLOUDS["azurecloud"], {})
    assert "has expired (AADSTS70043)" in error.seen
    assert "az login" in error.remedy


async def test_failing_managed_identity_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": "forbidden"}'
        head = f"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as endpoint:
        url = f"http://127.0.0.1:{endpoint.sockets[0].getsockname()[1]}"
        monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", url)
        assert "managed identity" in (await refusal(CLOUDS["azurecloud"], {})).seen


async def test_token_credentials_variable_selects_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AZURE_TOKEN_CREDENTIALS restricts the chain, as in every tool that uses azure-identity."""
    tool(tmp_path, 'echo \'{"accessToken": "of-the-user", "expiresOn": "2100-01-01 00:00:00.000000"}\'')
    principal = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}
    for name in ("dev", "AzureCliCredential"):
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", name)
        async with credential_in(CLOUDS["azurecloud"], {**principal, **os.environ}) as credential:
            assert (await credential.get_token(REGISTRY)).token == "of-the-user"
    for name in ("EnvironmentCredential", "nonsense"):
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", name)
        assert "AZURE_TOKEN_CREDENTIALS" in (await refusal(CLOUDS["azurecloud"], dict(os.environ))).seen
