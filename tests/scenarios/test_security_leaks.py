"""No secret in anything that a run writes: the search that follows every run in these tests, and that it finds what there is."""

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
from tests.helpers.stage import shorten_pauses, staged


def test_a_secret_is_found_whole_in_part_and_in_other_spellings() -> None:
    emulator = Emulator()
    emulator.world.directory.client_secret = "p~ss/w0rd+"
    token = emulator.authority.issue_token("https://registry.example", "somebody")

    assert {token, "p~ss/w0rd+"} <= secrets_of(emulator)
    for hidden in (
        token,
        f"Bearer {token[:40]}…",
        token.rpartition(".")[2],
        "p~ss/w0rd+",
        quote("p~ss/w0rd+", safe=""),
        base64.b64encode(b"p~ss/w0rd+").decode(),
    ):
        assert leaked(emulator, {"log": f"so {hidden} it is"}), hidden
    assert not leaked(emulator, {"log": "somebody at https://registry.example, eyJhbGciOiJub25lIn0.e30."})


async def test_a_run_that_writes_a_token_down_fails_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the search in every other test would prove nothing."""
    async with staged(tmp_path, monkeypatch) as stage:
        honest = text.render

        def careless(*arguments: Any) -> str:
            return f"{honest(*arguments)}\n{stage.tool.emulator.authority.signer.issued[-1]}"

        monkeypatch.setattr(text, "render", careless)
        with pytest.raises(AssertionError, match="secrets were written down"):
            await stage.tool.plan()


ECHOES = {
    "the registry": {"service": "acr", "path": "_tags"},
    "the API server": {"service": "kubernetes/aks-prod", "path": "/jobs"},
    "the resource manager": {"service": "arm", "path": "managedClusters/aks-prod"},
    "Entra ID": {"service": "entra", "method": "POST"},
}


@pytest.mark.parametrize("who", ECHOES)
async def test_a_server_that_repeats_what_it_was_told_is_not_repeated(
    who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debugging proxies answer with the request that they were sent, its Authorization and its form among it."""
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch, "direct") as stage:
        heard: list[str] = []
        fault = Fault(**ECHOES[who], status=400)  # type: ignore[arg-type]

        async def repeat(request: web.Request) -> None:
            told = f"{request.headers.get('Authorization', '')} {(await request.text())[-2000:]}"
            heard.append(told)
            said = f"You said: {told}".replace('"', "'")
            error = {"code": "DENIED", "message": said}
            fault.body = {
                "errors": [error],
                "error": "invalid_client" if who == "Entra ID" else error,
                "error_description": said,
                "kind": "Status",
                "message": said,
                "reason": "BadRequest",
                "code": 400,
            }

        fault.before = repeat
        stage.world.faults.append(fault)
        ran = await stage.tool.apply()

        assert ran.code in {1, 3}, ran.out + ran.err
        assert any(secret in told for secret in secrets_of(stage.tool.emulator) for told in heard), heard
        assert "You said" in ran.out + ran.err
