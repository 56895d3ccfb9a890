"""Makes reviewed plans, edits them, and applies them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.helpers.stage import Stage, assert_invariants
from tests.helpers.tool_runs import RunResult

PlanEdit = Callable[[dict[str, Any]], object]
"""Changes the JSON of a plan in place."""

OTHER_DIGEST = f"sha256:{'f' * 64}"


async def make_reviewed_plan(stage: Stage, **options: str) -> Path:
    """Plan, and copy the plan to a file that no run overwrites."""
    ran = await stage.tool.plan(stage.config, **options)
    assert ran.code == 0, ran.out
    path = stage.tool.folder / "reviewed.json"
    shutil.copy(stage.tool.folder / "report" / "plan.json", path)
    return path


async def apply_reviewed_plan(stage: Stage, path: Path, **options: str) -> RunResult:
    """Apply a reviewed plan, and check what holds for each run."""
    ran = await stage.tool.apply(stage.config, **{"apply-plan": str(path)}, **options)
    assert_invariants(ran, stage)
    return ran


def edit_plan(path: Path, edit: PlanEdit, *, rehash: bool = True) -> None:
    """
    Edit a plan file.

    With `rehash`, correct its hash as an attacker would. Without it, the hash does not match, as
    after a change in an editor.
    """
    plan = json.loads(path.read_text("utf-8"))
    edit(plan)
    if rehash:
        plan["hash"] = expected_hash(plan)
    path.write_text(json.dumps(plan), "utf-8")


def change_first_digest(plan: dict[str, Any]) -> None:
    """Let the first step delete another manifest."""
    plan["steps"][0]["digest"] = OTHER_DIGEST


def expected_hash(plan: dict[str, Any]) -> str:
    """Compute a plan's hash as documented, with another JSON library than the product."""
    content = {key: value for key, value in plan.items() if key != "hash"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def assert_refused(ran: RunResult, *words: str) -> None:
    """Check that a run was refused for exactly one reason, whose message has these words."""
    assert ran.code == 3, ran.out
    assert ran.report["verdict"] == "refused"
    assert ran.deleted == set()
    (refusal,) = ran.report["refusals"]
    for text in words:
        assert text in refusal
