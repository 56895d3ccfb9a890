"""The outputs for later steps: always set, within their limits, and harmless in a shell."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from acr_cleanup.core.outcome import OutcomeKind, Result, Verdict
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.dialect import GITHUB, PLAIN
from acr_cleanup.reports.outputs import NAMES, outputs, outputs_of_failure
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples

CONTEXT = Context(("acr-cleanup/report.json", "acr-cleanup/plan.json", "acr-cleanup/summary.md"))
RESULTS = {
    "planned": "dry-run",
    "small": "dry-run",
    "untagged": "dry-run",
    "untagged_and_tags": "dry-run",
    "untagged_partial": "partial",
    "nothing_to_do": "dry-run",
    "nothing_in_scope": "dry-run",
    "refused_plan": "dry-run",
    "blocked": "aborted",
    "blocked_apply": "aborted",
    "refused": "aborted",
    "cancelled": "aborted",
    "applied": "success",
    "applied_but_moved": "success",
    "small_applied": "success",
    "partial": "partial",
    "no_login": "failed",
    "proven": "success",
    "exact": "dry-run",
    "broken": "partial",
    "unproven": "partial",
}


def utf16(text: str) -> int:
    """The size in bytes, as the pipeline counts it."""
    return len(text.encode("utf-16-le"))


@pytest.mark.parametrize("name", samples.ALL)
def test_every_output_is_set(name: str) -> None:
    values = outputs(samples.ALL[name](), CONTEXT)

    assert tuple(values) == NAMES
    assert not any("\n" in value for value in values.values())
    assert values["result"] == RESULTS[name]
    assert values["report-path"] == "acr-cleanup/report.json"
    assert values["plan-path"] == "acr-cleanup/plan.json"


def test_failure_sets_every_output() -> None:
    values = outputs_of_failure()

    assert set(values) == set(NAMES)
    assert values["result"] == "failed"
    assert values["deleted-tags"] == values["planned-tags"] == "[]"
    assert values["deleted-tags-truncated"] == "false"
    assert values["deleted-count"] == values["bytes-freed"] == "0"
    assert values["report-path"] == ""


def test_dry_run_outputs_only_planned_tags() -> None:
    result = samples.planned()
    values = outputs(result, CONTEXT)

    assert values["deleted-tags"] == "[]"
    assert values["deleted-count"] == "0"
    assert len(json.loads(values["planned-tags"])) == int(values["planned-count"]) == 297
    assert values["bytes-freed"] == str(result.plan.size)


def test_deleted_tags_exclude_failures() -> None:
    values = outputs(samples.partial(), CONTEXT)
    deleted = json.loads(values["deleted-tags"])

    assert len(deleted) == int(values["deleted-count"]) == 294
    assert not {"shop/web:1.0.0", "shop/web:1.0.2", "jobs/report:1.0.0"}.intersection(deleted)
    assert "shop/web:1.0.1" in deleted
    assert values["failed-count"] == "2"
    assert values["deleted-manifests-count"] == "292"


def many(number: int) -> Result:
    made = samples.plan(
        [samples.repository("team/a-service-with-a-long-name", number, first=1, every=1)],
        [replace(samples.company()[1][0], uses=(samples.use("team/a-service-with-a-long-name", "x", "Pod", "x"),))],
    )
    return samples.result(made, Verdict.APPLIED, dry_run=False, outcomes=samples.outcomes(made))


@pytest.mark.extended
@pytest.mark.untraced
@pytest.mark.parametrize("limit", [GITHUB.outputs, PLAIN.outputs])
def test_long_lists_are_cut_to_valid_json(limit: int) -> None:
    result = many(20_030)
    values = outputs(result, CONTEXT, limit=limit)

    assert result.counts.deleted == 20_000
    for name in ("deleted-tags", "planned-tags"):
        assert utf16(values[name]) <= 2 * limit
        # The list is cut between two tags, and not earlier than necessary.
        assert utf16(values[name]) > 2 * (limit - 100)
        assert values[f"{name}-truncated"] == "true"
        shown = json.loads(values[name])
        assert len(set(shown)) == len(shown)
        assert set(shown) < set(map(str, result.outcomes))
    assert values["deleted-count"] == "20000"
    assert sum(map(utf16, values.values())) < 1_000_000


def test_list_at_the_limit_is_not_cut() -> None:
    result = many(40)
    length = len(outputs(result)["deleted-tags"])

    assert outputs(result, limit=length)["deleted-tags-truncated"] == "false"
    assert outputs(result, limit=length - 1)["deleted-tags-truncated"] == "true"
    assert json.loads(outputs(result, limit=2)["deleted-tags"]) == []


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_hostile_names_are_escaped(world: str) -> None:
    """
    No line break, no command, and nothing that a shell or a template expands. JSON decodes to the
    original name.
    """
    result = hostile.WORLDS[world]()
    values = outputs(result, CONTEXT)

    for value in values.values():
        assert value.isascii()
        assert value.isprintable()
        assert "::" not in value
        assert not re.search(r"##|[`$'<>|&;{}()*]", value)
    deleted = [
        str(outcome) for outcome in result.outcomes if outcome.tag is not None and outcome.kind is OutcomeKind.DELETED
    ]
    assert json.loads(values["deleted-tags"]) == deleted
