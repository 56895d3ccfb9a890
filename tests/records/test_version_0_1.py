"""
Documents that version 0.1 wrote are still read: reports, reviewed plans, journals and usage
snapshots.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.commands.explain import explain_report
from acr_cleanup.commands.restore import read, restore
from acr_cleanup.records import reviewed_plan
from acr_cleanup.records.journal_reader import read_journal
from acr_cleanup.records.report import read_report
from acr_cleanup.reports.json import render
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers import hostile_text as hostile
from tests.helpers.in_memory_world import serving
from tests.helpers.recorded_world import FOLDER, HOSTILE_TAGS, POLICY, recorded_world
from tests.helpers.stage import shorten_pauses
from tests.helpers.tool_runs import Tool

LONG_AGO = "36500d"

DELETED_TAGS = {
    *(f"shop/web:{name}" for name in ("1.0", "1.1", "locked", "old-name-of-young", *HOSTILE_TAGS)),
    *(f"shop/api:{name}" for name in ("1.0", "1.0-again", "sbom")),
}


@pytest.fixture
async def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """Serve the recorded world."""
    shorten_pauses(monkeypatch)
    async with serving(recorded_world(), tmp_path, monkeypatch) as served:
        yield served


def contents(tool: Tool) -> dict[str, Any]:
    """Return all tags with digests and locks, and all manifests with locks."""
    return {
        name: (
            {name: (tag.digest, tag.attributes) for name, tag in repository.tags.items()},
            {digest: manifest.attributes for digest, manifest in repository.manifests.items()},
        )
        for name, repository in tool.world.registry.repositories.items()
    }


def explained(report: str, target: str) -> tuple[int, str]:
    """Explain a target from a recorded report; return the exit code and the text in one line."""
    out = io.StringIO()
    terminal = Terminal(stdout=out, stderr=io.StringIO(), environ={})
    code = explain_report(target, FOLDER / f"{report}.report.json", terminal)
    return code, " ".join(out.getvalue().split())


@pytest.mark.parametrize(
    ("report", "target", "texts"),
    [
        ("planned", "shop/web:1.0", ("because it was a dry run", "Manifest selected", "2024-01-02")),
        ("planned", "shop/web:2.0", ("was kept", "production/shop/Deployment/web (main)")),
        ("planned", "shop/web:__proto__", ("because it was a dry run",)),
        ("planned", "shop/web", ("of 12 tags, 9", "keep-this", "file.set-output-name-a--b")),
        ("applied", "shop/web:locked", ("was deleted by the run of 2024-06-30", "an apply of contoso.azurecr.io")),
        ("applied", "shop/web:old-name-of-young", ("was deleted", "only the tag was selected")),
        ("applied", "shop/web:keep-this", ("was kept", "`keep-*`", "exclude-tags latest, keep-*")),
        ("applied", "shop/web:young", ("was kept", "30d")),
        ("applied", "shop/api", ("of 4 tags, 3", "3 deleted", "production")),
        ("refused", "shop/web:1.0", ("because the run was refused", "the cluster is stopped", "staging")),
        ("shard", "shop/web:1.0", ("because it was a dry run", "shard 2/2")),
    ],
)
def test_recorded_report_is_explained(report: str, target: str, texts: tuple[str, ...]) -> None:
    code, out = explained(report, target)

    assert code == 0
    for text in texts:
        assert text in out


def test_recorded_report_lacks_an_unknown_tag() -> None:
    code, out = explained("shard", "shop/api:9.9")

    assert code == 1
    assert "is not in that report" in out


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_hostile_report_is_read_as_it_was_written(world: str, tmp_path: Path) -> None:
    """Also a lone surrogate, which is not valid Unicode."""
    result = hostile.WORLDS[world]()
    path = tmp_path / "report.json"
    path.write_text("".join(render(result)), "utf-8")

    report = read_report(path)

    assert report.outcomes[0].tag == result.outcomes[0].tag
    assert report.policy.exclude_tags == list(result.plan.policy.exclude_tags)


def test_recorded_hostile_report_is_read() -> None:
    code, out = explained("hostile", "shop/web:1.0")

    assert code == 1
    assert out.isprintable()
    assert "##[" not in out


async def test_recorded_plan_is_applied(tool: Tool) -> None:
    ran = await tool.apply(None, **POLICY, **{"apply-plan": str(FOLDER / "plan.json"), "plan-max-age": LONG_AGO})

    assert ran.code == 0, ran.out
    assert ran.deleted == DELETED_TAGS
    assert ran.report["applied_plan"]["hash"] == json.loads((FOLDER / "plan.json").read_text("utf-8"))["hash"]


@pytest.mark.parametrize("name", ["plan.json", "hostile.plan.json"])
def test_recorded_plan_is_intact_until_edited(name: str, tmp_path: Path) -> None:
    text = (FOLDER / name).read_text("utf-8")
    path = tmp_path / "plan.json"

    path.write_text(text, "utf-8")
    assert reviewed_plan.read(path, "apply-plan").intact

    path.write_text(text.replace('"tool_version": "0.1.0"', '"tool_version": "0.1.1"'), "utf-8")
    assert not reviewed_plan.read(path, "apply-plan").intact


async def test_recorded_journal_restores_the_registry(tool: Tool) -> None:
    before = contents(tool)
    plan = {"apply-plan": str(FOLDER / "plan.json"), "plan-max-age": LONG_AGO}
    await tool.apply(None, **POLICY, **plan)
    assert contents(tool) != before
    settings = load_settings(tool.folder / "acr-cleanup.json", {}, os.environ, needs_clusters=False)
    terminal = Terminal(stdout=io.StringIO(), stderr=io.StringIO(), environ={})

    journal = FOLDER / "journal.jsonl"
    code = await restore(journal, read(journal), settings, terminal, os.environ)

    assert code == 0
    assert contents(tool) == before


def test_recorded_journal_is_valid() -> None:
    journal = read_journal(FOLDER / "journal.jsonl")

    assert (journal.faults, journal.torn) == ((), False)
    assert len(journal.deletions) == 14
    assert {f"{entry.repository}:{tag}" for entry in journal.deletions for tag in entry.tags} == DELETED_TAGS
    assert all(entry.document or not entry.deletes_manifest for entry in journal.deletions)
    assert sum(len(entry.locks) for entry in journal.deletions) == 2


async def test_recorded_snapshot_is_read_and_blocks(tool: Tool) -> None:
    """Its uses count, but it does not say what the cluster mentions."""
    config = tool.emulator.config()
    snapshot = {"snapshot": str(FOLDER / "usage.json"), "max_age": LONG_AGO}
    config["kubernetes_clusters"] = {"production": snapshot}
    tool.world.clusters.clear()

    ran = await tool.plan(config, **POLICY)

    assert ran.code == 3, ran.out
    assert "without the names of the registry" in ran.out
    assert ran.planned == DELETED_TAGS
    assert ran.report["counts"]["in_use"] == 2
