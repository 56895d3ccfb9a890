"""Losses that no option may cause: hidden indexes, wrong clocks, missing backups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from acr_cleanup.core.references import Digest
from acr_cleanup.records.journal_reader import read_journal
from acr_cleanup.stages import verify
from tests.helpers.stage import OLD, REPOSITORY, Stage, assert_invariants, shorten_pauses, staged

BOLD = {"delete-untagged": "true", "include-locked": "true", "backup": "true", "exact-sizes": "true"}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)
    monkeypatch.setattr(verify, "SETTLE", 0.01)


def push_unlisted_index(stage: Stage, children: Sequence[str]) -> str:
    """Push an index with the tag `hidden`. No list shows the index or the tag."""
    index = stage.registry.push_index(REPOSITORY, "hidden", children=children, age=OLD)
    for reference in ("hidden", index):
        stage.registry.lock(REPOSITORY, reference, list=False)
    return index


@pytest.mark.parametrize("used", ["by its tag", "by its digest", "not at all"])
async def test_children_of_unlisted_index_are_kept(used: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index and its tag are known from the use, or from the registry's counts."""
    async with staged(tmp_path, monkeypatch) as stage:
        child = stage.registry.push(REPOSITORY, age=OLD)
        index = push_unlisted_index(stage, [child])
        if used != "not at all":
            stage.pod(stage.image("hidden") if used == "by its tag" else stage.image(digest=index))

        ran = await stage.tool.apply(**BOLD)

        assert (ran.code, ran.deleted) == (0, {"shop/web:1.0", "shop/web:1.1"})
        assert {child, index} <= stage.repository.manifests.keys()
        warnings = [warning for warning in ran.report["warnings"] if "more than it lists" in warning]
        assert len(warnings) == (used == "not at all")
        assert_invariants(ran, stage)


async def test_tagged_child_of_used_unlisted_index_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        child = stage.registry.push(REPOSITORY, "3.0-amd64", age=OLD)
        stage.pod(stage.image(digest=push_unlisted_index(stage, [child])))

        ran = await stage.tool.apply()

        assert ran.code == 0
        assert child in stage.repository.manifests
        assert "3.0-amd64" in stage.repository.tags


def shift_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Move the clock of this machine forwards, or backwards if `by` is negative."""

    class ShiftedTime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + by

    monkeypatch.setattr("acr_cleanup.commands.run.datetime", ShiftedTime)


async def test_clock_a_day_ahead_refuses_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this machine's clock the tag is a day old. By the registry's it is a minute old."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.push(REPOSITORY, "fresh", age=timedelta(minutes=1))
        shift_clock(monkeypatch, timedelta(days=1))

        ran = await stage.tool.apply(**{"older-than": "12h"})

        assert ran.code == 3
        (blocker,) = ran.blockers
        assert blocker["seen"].startswith("The clock of this machine is 1d ahead of the registry's")
        assert "Set the clock" in blocker["remedy"]
        assert_invariants(ran, stage)


async def test_clock_a_day_behind_only_keeps_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.push(REPOSITORY, "aged", age=timedelta(hours=25))
        shift_clock(monkeypatch, -timedelta(days=1))

        ran = await stage.tool.apply(**{"older-than": "12h"})

        assert (ran.code, ran.deleted) == (0, {"shop/web:1.0", "shop/web:1.1"})


async def test_backup_contains_referrers_that_the_registry_deletes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry deletes an untagged signature with its subject. The journal must contain it."""
    async with staged(tmp_path, monkeypatch) as stage:
        signature = stage.registry.push_referrer(REPOSITORY, stage.digest("1.0"), age=OLD)

        ran = await stage.tool.apply(backup="true")

        assert ran.code == 0
        assert signature not in stage.repository.manifests
        deletions = read_journal(tmp_path / "report" / "journal.jsonl").deletions
        documents = {deletion.digest: deletion.document for deletion in deletions}
        assert documents.get(Digest(signature))
