"""
The search for secrets after each run of the tests: it finds them, and servers that echo requests
leak none.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from acr_cleanup.emulator import Emulator
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.reports import text
from tests.helpers.secret_leaks import leaked, secrets_of
from tests.helpers.stage import shorten_pauses, staged, staged_over_tls


def test_secret_is_found_whole_cut_or_encoded() -> None:
    emulator = Emulator()
    emulator.world.directory.client_secret = "p~ss/w0rd+"
    token = emulator.authority.issue_token("https://registry.example", "a-client")

    assert {token, "p~ss/w0rd+"} <= secrets_of(emulator)
    for spelling in (
        token,
        f"Bearer {token[:40]}…",
        token.rpartition(".")[2],
        "p~ss/w0rd+",
        quote("p~ss/w0rd+", safe=""),
        base64.b64encode(b"p~ss/w0rd+").decode(),
    ):
        assert leaked(emulator, {"log": f"before {spelling} after"}), spelling
    assert not leaked(emulator, {"log": "a-client at https://registry.example, eyJhbGciOiJub25lIn0.e30."})


async def test_run_that_writes_a_token_fails_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the search in all other tests would be worthless."""
    async with staged(tmp_path, monkeypatch) as stage:
        render = text.render

        def render_with_token(*arguments: Any) -> str:
            return f"{render(*arguments)}\n{stage.tool.emulator.authority.signer.issued[-1]}"

        monkeypatch.setattr(text, "render", render_with_token)
        with pytest.raises(AssertionError, match="secrets were written"):
            await stage.tool.plan()


ECHOES = {
    "the registry": {"service": "acr", "path": "_tags"},
    "the API server": {"service": "kubernetes/aks-prod", "path": "/jobs"},
    "the resource manager": {"service": "arm", "path": "managedClusters/aks-prod"},
    "Entra ID": {"service": "entra", "method": "POST"},
}


@pytest.mark.parametrize("server", ECHOES)
async def test_secrets_echoed_by_a_server_are_redacted(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Debugging proxies answer with the request, including its Authorization header and its form.
    """
    shorten_pauses(monkeypatch)
    async with staged_over_tls(tmp_path, monkeypatch, "direct") as stage:
        requests: list[str] = []
        fault = Fault(**ECHOES[server], status=400)  # type: ignore[arg-type]

        async def echo(request: web.Request) -> None:
            content = f"{request.headers.get('Authorization', '')} {(await request.text())[-2000:]}"
            requests.append(content)
            message = f"You said: {content}".replace('"', "'")
            error = {"code": "DENIED", "message": message}
            fault.body = {
                "errors": [error],
                "error": "invalid_client" if server == "Entra ID" else error,
                "error_description": message,
                "kind": "Status",
                "message": message,
                "reason": "BadRequest",
                "code": 400,
            }

        fault.before = echo
        stage.world.faults.append(fault)
        ran = await stage.tool.apply()

        assert ran.code in {1, 3}, ran.out + ran.err
        secrets = secrets_of(stage.tool.emulator)
        assert any(secret in request for secret in secrets for request in requests), requests
        assert "You said" in ran.out + ran.err
