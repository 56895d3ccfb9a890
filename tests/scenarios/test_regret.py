"""What would be regretted: everything that deletes more, switched on at once, against what nobody may lose."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from acr_cleanup.core.references import Digest
from acr_cleanup.records.journal_reader import read_journal
from acr_cleanup.stages import verify as proof
from tests.helpers.stage import OLD, REPOSITORY, Stage, always, impatient, staged

BOLD = {"delete-untagged": "true", "include-locked": "true", "backup": "true", "exact-sizes": "true"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    monkeypatch.setattr(proof, "SETTLE", 0.01)


def unlisted(stage: Stage, children: Sequence[str]) -> str:
    """An index with the tag `hidden`, neither of which any list shows."""
    index = stage.registry.push_index(REPOSITORY, "hidden", children=children, age=OLD)
    for reference in ("hidden", index):
        stage.registry.lock(REPOSITORY, reference, list=False)
    return index


@pytest.mark.parametrize("used", ["by its tag", "by its digest", "not at all"])
async def test_children_of_an_unlisted_index_stay(used: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No list shows what holds them; that something does is known by its use, or by the count of the registry."""
    async with staged(tmp_path, monkeypatch) as stage:
        child = stage.registry.push(REPOSITORY, age=OLD)
        index = unlisted(stage, [child])
        if used != "not at all":
            stage.pod(stage.image("hidden") if used == "by its tag" else stage.image(digest=index))

        ran = await stage.tool.apply(**BOLD)

        assert (ran.code, ran.deleted) == (0, {"shop/web:1.0", "shop/web:1.1"})
        assert {child, index} <= stage.repository.manifests.keys()
        hidden = [each for each in ran.report["warnings"] if "more than it lists" in each]
        assert len(hidden) == (used == "not at all")
        always(ran, stage)


async def test_a_tagged_child_of_an_unlisted_index_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        child = stage.registry.push(REPOSITORY, "3.0-amd64", age=OLD)
        stage.pod(stage.image(digest=unlisted(stage, [child])))

        ran = await stage.tool.apply()

        assert ran.code == 0
        assert child in stage.repository.manifests
        assert "3.0-amd64" in stage.repository.tags


def wrong_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """From now on this machine believes that it is later (or earlier) by that much."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + by

    monkeypatch.setattr("acr_cleanup.commands.run.datetime", Wrong)


async def test_a_clock_that_is_a_day_ahead_makes_nothing_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of this machine the tag is a day old, by that of the registry it was pushed a moment ago."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.push(REPOSITORY, "fresh", age=timedelta(minutes=1))
        wrong_clock(monkeypatch, timedelta(days=1))

        ran = await stage.tool.apply(**{"older-than": "12h"})

        assert ran.code == 3
        (blocker,) = ran.blockers
        assert blocker["seen"].startswith("The clock of this machine is 1d ahead of the registry's")
        assert "Set the clock" in blocker["remedy"]
        always(ran, stage)


async def test_a_clock_that_is_a_day_behind_only_keeps_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.push(REPOSITORY, "aged", age=timedelta(hours=25))
        wrong_clock(monkeypatch, -timedelta(days=1))

        ran = await stage.tool.apply(**{"older-than": "12h"})

        assert (ran.code, ran.deleted) == (0, {"shop/web:1.0", "shop/web:1.1"})


async def test_a_backup_holds_what_the_registry_removes_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An untagged signature goes with its subject, asked for or not: what is not in the journal could not come back."""
    async with staged(tmp_path, monkeypatch) as stage:
        signature = stage.registry.push_referrer(REPOSITORY, stage.digest("1.0"), age=OLD)

        ran = await stage.tool.apply(backup="true")

        assert ran.code == 0
        assert signature not in stage.repository.manifests
        held = {each.digest: each.document for each in read_journal(tmp_path / "report" / "journal.jsonl").deletions}
        assert held.get(Digest(signature))
