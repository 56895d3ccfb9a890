"""The requests before the clusters are read: all tokens, and the registry. A registry that no cluster names."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from acr_cleanup.emulator.world import Face
from tests.helpers.stage import (
    Scenario,
    ScenarioTable,
    Stage,
    build,
    play,
    shorten_pauses,
    staged,
)

scenarios = ScenarioTable()
FIREWALL = {
    "errors": [
        {
            "code": "DENIED",
            "message": "client with IP '20.1.2.3' is not allowed access. Refer https://aka.ms/acr/firewall",
        }
    ]
}
UNNAMED = "No object of any cluster names"


def unused(stage: Stage) -> None:
    """Replace the workload by one of another registry."""
    stage.cluster.objects.clear()


# -- tokens ----------------------------------------------------------------------------------------


def refuse(stage: Stage, scope: str, code: int = 700024) -> None:
    stage.world.directory.refused_audiences[scope] = code


for resource, scope in {
    "registry": "containerregistry",
    "manager": "management",
    "cluster": "6dae42f8",
}.items():

    @scenarios.refuses("AADSTS700024", case=resource)
    def refused_token_ends_the_run_before_clusters_are_read(stage: Stage, scope: str = scope) -> None:
        refuse(stage, scope)


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_first_requests(
    scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = await play(scenario, face, tmp_path, monkeypatch)
    if "token" in scenario.name:
        assert "The token was for" in ran.report["blockers"][0]["seen"]


async def test_tokens_are_asked_for_once_and_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        ran = await stage.tool.apply()
        assert ran.deleted
        requests = [request.service for request in stage.world.requests if request.service != "proxy"]
    assert requests[:3] == ["entra"] * 3
    assert Counter(requests)["entra"] == 3


async def test_unknown_cluster_application_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant without any cluster with Entra ID does not know it, and clusters with local accounts need no token."""
    async with staged(tmp_path, monkeypatch) as stage:
        refuse(stage, "6dae42f8", 500011)
        ran = await stage.tool.apply()
    assert (ran.code, len(ran.deleted)) == (0, 2)


# -- the registry ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["/oauth2/exchange", "/acr/v1/_catalog"])
async def test_firewall_blocks_also_if_nothing_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Without used repositories, no later request would notice that the registry cannot be read."""
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        unused(stage)
        stage.fault(service="acr", path=where, status=403, body=json.dumps(FIREWALL).encode())
        ran = await stage.tool.apply()
    assert ran.code == 3
    assert "firewall refused this machine" in ran.report["blockers"][0]["seen"]


async def test_refused_identity_blocks_also_if_nothing_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        unused(stage)
        stage.fault(service="acr", path="/oauth2/exchange", status=401, body=b"{}")
        ran = await stage.tool.apply()
    assert ran.code == 3
    assert "did not accept this identity" in ran.report["blockers"][0]["seen"]


@pytest.mark.parametrize("url", ["contosso.azurecr.io", "contoso.azurecr.us"])
async def test_registry_that_does_not_exist_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A misspelt name, or the right name in the wrong cloud."""
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        stage.settings(container_registry={**stage.tool.emulator.config()["container_registry"], "url": url})
        ran = await stage.tool.apply(stage.config)
    assert ran.code == 3
    assert url in ran.report["blockers"][0]["where"]


# -- a registry that no cluster names --------------------------------------------------------------


async def applied(stage: Stage, *images: str, **options: str) -> tuple[int, str]:
    unused(stage)
    for number, image in enumerate(images):
        stage.cluster.run(build.deployment("shop", f"other-{number}", [image]))
    ran = await stage.tool.apply(stage.config, **options)
    return ran.code, "\n".join(ran.report["warnings"])


async def test_registry_that_nothing_names_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run would otherwise be green for ever, and delete nothing."""
    async with staged(tmp_path, monkeypatch) as stage:
        code, warnings = await applied(stage, "fabrikam.azurecr.io/shop/web:1", "nginx:1")
        assert (code, UNNAMED in warnings) == (0, True)
        assert "They name fabrikam.azurecr.io." in warnings
        code, _ = await applied(stage, **{"fail-on": "warnings"})
        assert code == 1


async def test_login_server_with_a_label_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        _, warnings = await applied(stage, "contoso-a1b2c3d4e5f6a7b8.azurecr.io/shop/web:1", "other.azurecr.io/x:1")
    assert "If contoso-a1b2c3d4e5f6a7b8.azurecr.io is this registry, configure that login server." in warnings


@pytest.mark.parametrize("text", ["{registry}/shop/web", "see {registry}"])
async def test_registry_in_any_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        named = text.format(registry=stage.registry.login_server)
        unused(stage)
        stage.cluster.add(build.configmap("shop", "notes", {"text": named}))
        ran = await stage.tool.apply()
    assert UNNAMED not in "\n".join(ran.report["warnings"])


async def test_regional_login_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        _, warnings = await applied(stage, "contoso.westeurope.geo.azurecr.io/shop/other:1")
    assert UNNAMED not in warnings


async def test_unread_cluster_may_name_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        stage.fault(service=stage.service, path="/pods", status=403)
        _, warnings = await applied(stage)
    assert UNNAMED not in warnings
