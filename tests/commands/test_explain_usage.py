"""`acr-cleanup explain`: its target and its command line."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from acr_cleanup import cli
from acr_cleanup.commands.explain import Target, parse_target
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.errors import ConfigurationError
from tests.helpers.stage import Stage

CONTOSO = RegistryHost("contoso.azurecr.io", frozenset({"images.contoso.com"}))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("shop/web", Target("shop/web")),
        ("web", Target("web")),
        ("web:1.0", Target("web", "1.0")),
        ("contoso.azurecr.io/web:1.0", Target("web", "1.0")),
        ("CONTOSO.AzureCR.io:443/shop/web", Target("shop/web")),
        ("contoso.westeurope.geo.azurecr.io/shop/web", Target("shop/web")),
        ("images.contoso.com/shop/web:1", Target("shop/web", "1")),
        ("contoso.azurecr.io/my.team/web:1", Target("my.team/web", "1")),
        ("docker-pullable://contoso.azurecr.io/web@sha256:" + "0" * 64, Target("web", None, "sha256:" + "0" * 64)),
        ("web@sha256:0123456789ab", Target("web", None, "sha256:0123456789ab")),
        (" web:1 ", Target("web", "1")),
    ],
)
def test_target_in_any_spelling_is_parsed(text: str, target: Target) -> None:
    assert parse_target(text, CONTOSO) == target


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("ghcr.io/shop/web", "'ghcr.io' is another registry than contoso.azurecr.io."),
        ("contoso.azurecr.io.evil.example/web", "is another registry"),
        ("localhost:5000/web", "is another registry"),
        ("sha256:" + "0" * 64, "The repository is missing before the digest."),
        ("Shop/Web:1", "names no valid repository"),
        ("web:", "no valid tag"),
        ("web@sha256:xyz", "is not a digest"),
        ("", "names no valid repository"),
        ("contoso.azurecr.io/", "names no valid repository"),
    ],
)
def test_invalid_target_is_refused(text: str, seen: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_target(text, CONTOSO)
    assert seen in caught.value.problems[0].seen
    assert caught.value.problems[0].remedy


async def test_command_line_runs_explain(stage_over_tls: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage = stage_over_tls
    path = stage.tool.folder / "acr-cleanup.json"
    path.write_text(json.dumps(stage.tool.emulator.config()), encoding="utf-8")

    async def run(*arguments: str) -> int:
        return await asyncio.to_thread(cli.run, ["explain", *arguments], os.environ)

    assert await run("shop/web:1.0", str(path)) == 0
    assert capsys.readouterr().out.startswith("shop/web:1.0 would be deleted.")
    assert await run("ghcr.io/shop/web:1.0", str(path)) == 2
    assert "another registry" in capsys.readouterr().err
    ran = await stage.tool.plan()
    assert ran.code == 0
    report = stage.tool.folder / "report" / "report.json"
    assert await run("shop/web:1.0", "--report", str(report)) == 0
    assert "it was a dry run" in capsys.readouterr().out
    assert await run("shop/web:1.0", "--report", str(path)) == 2
    assert "The file is not the report of a run" in capsys.readouterr().err
