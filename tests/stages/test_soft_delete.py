"""Before the first deletion, a run says whether deleted manifests can be restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from acr_cleanup.emulator.roles import REGISTRIES
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import shorten_pauses, staged, staged_over_tls


@pytest.mark.parametrize("face", ["proxy", "direct"])
async def test_enabled_soft_delete_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Face) -> None:
    """In the log before the first deletion, in the output and in the summary."""
    async with staged_over_tls(tmp_path, monkeypatch, face) as stage:
        stage.registry.soft_delete, stage.registry.soft_delete_days = True, 14
        # Tasks and connected registries are listed below the registry too.
        ran = await stage.tool.apply(stage.config, services="off")

        message = "Soft delete is enabled: deleted manifests can be restored for 14 days."
        assert message in ran.err
        assert message in ran.out
        assert message in (tmp_path / "report" / "summary.md").read_text()
        (policy_request,) = stage.world.matching(service="arm", path="Microsoft.ContainerRegistry/registries$")
        first_deletion = stage.world.matching(service="acr", method="DELETE")[0]
        assert stage.world.requests.index(policy_request) < stage.world.requests.index(first_deletion)


async def test_disabled_soft_delete_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        out = " ".join((await stage.tool.plan(stage.config)).out.split())
        assert "is disabled: deleted manifests cannot be restored. Set backup to true, or enable it" in out
        assert "the journal keeps" in (await stage.tool.plan(stage.config, backup="true")).out


async def test_soft_delete_registry_on_a_later_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged_over_tls(tmp_path, monkeypatch, "direct") as stage:
        link = (
            f"{stage.tool.emulator.resource_manager}/subscriptions/{stage.registry.subscription_id}"
            f"/resourceGroups/{stage.registry.resource_group}/providers/Microsoft.ContainerRegistry/registries"
            "?api-version=2023-11-01-preview"
        )
        empty = {"value": [], "nextLink": link}
        stage.fault(service="arm", path="ContainerRegistry", times=1, status=200, body=empty)
        assert "Soft delete is disabled" in (await stage.tool.plan(stage.config)).out


async def test_unreadable_policy_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report gives the reason; the exit code and the deletions do not change."""
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        # Tasks of the registry that cannot be read would refuse the run.
        stage.options = {"services": "off"}
        stage.world.access.withhold(f"{REGISTRIES}/read", stage.registry.resource_id)
        hidden = await stage.tool.plan(stage.config, **stage.options)
        fault = stage.fault(
            service="arm",
            path="ContainerRegistry",
            status=403,
            body={"error": {"code": "AuthorizationFailed", "message": "no"}},
        )
        forbidden = await stage.tool.plan(stage.config, **stage.options)
        fault.status, fault.body = 200, b"<html>"
        malformed = await stage.tool.plan(stage.config, **stage.options)
        stage.settings(container_registry={"url": stage.registry.login_server})
        without_subscription = await stage.tool.apply(stage.config, **stage.options)

        for ran in (hidden, forbidden, malformed, without_subscription):
            assert ran.code == 0
            assert "It is unknown whether soft delete is enabled" in ran.out
        assert "Reader" in forbidden.out
        assert "subscription_id" in without_subscription.out
        assert set(stage.repository.tags) == {"2.0"}


async def test_retention_of_zero_days_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.retention_days = 0
        ran = await stage.tool.plan(stage.config)
        assert any("deletes untagged manifests immediately" in warning for warning in ran.report["warnings"])


async def test_empty_plan_does_not_read_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        ran = await stage.tool.plan(stage.config, **{"older-than": "1000d", "services": "off"})
        assert "oft delete" not in ran.out
        assert not stage.world.matching(service="arm", path="Microsoft.ContainerRegistry/registries$")
