"""The words for past uses and probation: in explain, the summary and report.json."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from acr_cleanup.commands.explain import explain
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.ledger_runs import LedgerWorld, shop
from tests.helpers.tool_runs import RunResult, Tool

__all__ = ["shop"]

OPTIONS = {"used_within": "14d", "probation": "7d"}


def explained(shop: LedgerWorld, target: str, **options: str) -> str:
    """The answer of explain at the time of the shop, in one line."""
    named = {"ledger": str(shop.ledger)} | {name.replace("_", "-"): text for name, text in options.items()}

    async def ask(tool: Tool) -> RunResult:
        path = Path(tool.folder) / "acr-cleanup.json"
        path.write_text(json.dumps(tool.emulator.config()), encoding="utf-8")
        out = io.StringIO()
        terminal = Terminal(stdout=out, stderr=out, environ={})
        code = await explain(
            target, load_settings(path, named, os.environ), terminal, os.environ, clock=lambda: shop.time
        )
        return RunResult(code, {}, " ".join(out.getvalue().split()), "")

    return shop.play(ask).out


def test_explain_names_past_use_and_probation(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.push("job")
    end = shop.nightly(tag="job")
    shop.at(0, **OPTIONS)
    end()
    shop.at(1, **OPTIONS)
    written = shop.text()

    job, tag = explained(shop, "app:job", **OPTIONS), explained(shop, "app:v1", **OPTIONS)

    assert "used-recently used on 2026-11-02 by production/batch/Pod/nightly" in job
    assert "not on probation the last run found it to be no candidate" in job
    assert "probation on probation since 2 Nov, deletable from 16 Nov" in tag
    assert "not used recently no earlier run saw it in use in the last 14d" in tag
    # A question is no run: it changes nothing.
    assert shop.text() == written


def test_explain_without_the_options_does_not_name_the_rules(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.at(0)

    answer = explained(shop, "app:v1")

    assert "used recently" not in answer
    assert "probation" not in answer


def test_summary_announces_each_day(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.push(None)
    shop.at(0, delete_untagged="true", **OPTIONS)
    shop.push("v2")
    ran = shop.plan_at(20, delete_untagged="true", probation="30d", used_within="14d")

    sentence = "2 tags and 1 untagged manifest on probation, deletable: 2 from 2 Dec and 1 from 22 Dec."
    assert sentence in ran.out
    summary = (shop.folder / "report" / "summary.md").read_text(encoding="utf-8")
    assert f"{sentence} The ledger was written on 2 Nov and reaches back to 2 Nov." in summary
    assert ran.report["probation"] == [
        {"deletable_from": "2026-12-02", "tags": 1, "untagged": 1},
        {"deletable_from": "2026-12-22", "tags": 1, "untagged": 0},
    ]


def test_many_days_are_shown_in_part(shop: LedgerWorld) -> None:
    for day in range(7):
        shop.push(f"v{day}")
        ran = shop.at(day, probation="30d")

    assert "7 tags on probation, deletable: 1 from 2 Dec," in ran.out
    assert "1 from 6 Dec and 2 later." in ran.out


def test_report_without_probation_has_no_list(shop: LedgerWorld) -> None:
    assert "probation" not in shop.at(0).report


def test_policy_is_recorded(shop: LedgerWorld) -> None:
    report = shop.at(0, **OPTIONS).report

    assert report["policy"]["used_within"] == "14d"
    assert report["policy"]["probation"] == "7d"
    assert "used_within" not in shop.at(1).report["policy"]
