"""report.json and plan.json match their published schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from acr_cleanup import __version__
from acr_cleanup.core.outcome import OutcomeKind, Result, Verdict
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.removal import Hold
from acr_cleanup.core.retention import Scope
from acr_cleanup.records.schemas import schema
from acr_cleanup.reports import json as report
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples

# Made once, without checking the schemas, which takes longer than validating all reports. One test
# checks them.
REPORTS = jsonschema.Draft202012Validator(schema("report"), format_checker=jsonschema.FormatChecker())
PLANS = jsonschema.Draft202012Validator(schema("plan"))


def rendered(result: Result) -> Any:
    loaded = json.loads("".join(report.render(result)))
    REPORTS.validate(loaded)
    return loaded


@pytest.mark.parametrize("name", samples.ALL)
def test_report_matches_its_schema(name: str) -> None:
    result = samples.ALL[name]()

    loaded = rendered(result)
    plan = json.loads("".join(report.render_plan(result)))

    PLANS.validate(plan)
    assert (loaded["schema_version"], plan["schema_version"]) == (1, 2)
    assert loaded["tool_version"] == __version__


def test_schemas_describe_every_member() -> None:
    """Readers can rely only on members that the schema describes."""
    described = schema("report")
    strict = {name: {**definition, "additionalProperties": False} for name, definition in described["$defs"].items()}

    for sample in ("partial", "untagged_partial"):
        loaded = rendered(samples.ALL[sample]())
        jsonschema.validate(loaded, {**described, "additionalProperties": False, "$defs": strict})


def test_schema_lists_every_enumeration_value() -> None:
    described = schema("report")
    definitions = described["$defs"]

    assert described["properties"]["verdict"]["enum"] == sorted(Verdict)
    pattern = definitions["TagReason"]["properties"]["rule"]["pattern"]
    assert pattern == definitions["ManifestReason"]["properties"]["rule"]["pattern"]
    assert all(re.fullmatch(pattern, word) for word in (*Rule, *Hold))
    assert definitions["RecordedOutcome"]["properties"]["outcome"]["enum"] == sorted(OutcomeKind)
    assert definitions["RecordedPolicy"]["properties"]["scope"]["enum"] == sorted(Scope)


def test_counts_of_a_partial_apply() -> None:
    assert rendered(samples.partial())["counts"] == {
        "deleted": 294,
        "planned": 297,
        "kept": 97,
        "in_use": 13,
        "failed": 2,
        "deleted_manifests": 292,
        "bytes": samples.partial().counts.bytes,
    }


def test_untagged_manifests_have_their_reasons() -> None:
    result = samples.result(samples.untagged_plan())
    (repository,) = rendered(result)["repositories"]
    plan = json.loads("".join(report.render_plan(result)))

    decisions = {decision["digest"]: decision for decision in repository["untagged"]}
    assert [decisions[samples.digest(number)]["decision"] for number in (100, 101, 102, 103)] == [
        "delete", "delete", "keep", "keep",
    ]  # fmt: skip
    assert [reason["rule"] for reason in decisions[samples.digest(103)]["reasons"]] == ["locked"]
    assert (decisions[samples.digest(100)]["bytes"], decisions[samples.digest(100)]["updated_at"]) == (
        20 * samples.MIB,
        "2026-08-25T10:00:00Z",
    )
    assert plan["counts"]["untagged"] == 2


def test_decisions_have_their_reasons_and_users() -> None:
    (repository,) = rendered(samples.result(samples.small()))["repositories"]
    decisions = {decision["tag"]: decision for decision in repository["decisions"]}

    assert {tag: decision["decision"] for tag, decision in decisions.items()} == {
        "1.0.0": "delete",
        "1.0.1": "keep",
        "1.0.2": "keep",
        "latest": "keep",
        "old": "delete",
    }
    assert decisions["1.0.1"]["updated_at"] == "2026-10-14T10:00:00Z"
    (reason,) = decisions["1.0.1"]["reasons"]
    assert reason["rule"] == "in-use"
    assert reason["uses"][0] == {
        "cluster": "production",
        "namespace": "shop",
        "kind": "Deployment",
        "name": "web",
        "container": "app",
        "field": "spec.template.spec.containers[0].image",
        "text": "contoso.azurecr.io/shop/web:1.0.1",
    }


def test_deleted_tags_are_empty_in_a_dry_run() -> None:
    dry, done = rendered(samples.result(samples.small())), rendered(samples.ALL["small_applied"]())

    assert (dry["deleted_tags"], dry["planned_tags"]) == ([], ["shop/web:1.0.0", "shop/web:old"])
    assert done["deleted_tags"] == done["planned_tags"] == dry["planned_tags"]


def test_plan_steps_use_two_verbs() -> None:
    for plan, verb in ((samples.planned().plan, "delete manifest"), (samples.small(), "untag")):
        steps = json.loads("".join(report.render_plan(samples.result(plan))))["steps"]

        assert {step["verb"] for step in steps} == {verb}
        assert sum(len(step["tags"]) for step in steps) == plan.planned


@pytest.mark.parametrize("render", [report.render, report.render_plan])
def test_pieces_are_small_with_more_tags(render: Callable[[Result], Iterator[str]]) -> None:
    """The size of a piece does not depend on the size of the registry."""
    few, many = (list(map(len, render(samples.many_tags(tags)))) for tags in (1000, 3000))

    assert max(many) <= max(few) * 1.05 < 200_000
    assert sum(many) > 2.5 * sum(few)


@pytest.mark.parametrize("name", ["partial", "untagged_partial"])
def test_report_has_one_line_for_each_decision(name: str) -> None:
    lines = "".join(report.render(samples.ALL[name]())).splitlines()

    decisions = [json.loads(line.rstrip(",")) for line in lines if line.startswith('        {"tag":')]
    assert len(decisions) == samples.ALL[name]().plan.kept + samples.ALL[name]().plan.planned


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_hostile_text_is_escaped_but_unchanged_for_readers(world: str) -> None:
    """
    Printed to a terminal or a log, the file contains no escapes, control characters or commands.
    """
    result = hostile.WORLDS[world]()
    text = "".join(report.render(result))

    loaded = rendered(result)
    *_, of_run, of_repository = loaded["warnings"]
    assert of_run == result.warnings[0]
    assert of_run in of_repository
    assert loaded["outcomes"][0]["tag"] == result.outcomes[0].tag
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert "##" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
