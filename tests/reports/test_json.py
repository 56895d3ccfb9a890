"""report.json and plan.json keep their published form."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from acr_cleanup import __version__
from acr_cleanup.core.outcome import OutcomeKind, Result, Verdict
from acr_cleanup.core.policy import Rule, Scope
from acr_cleanup.core.removal import Hold
from acr_cleanup.reports import json as report
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples

# Made once, without a look at the schemas themselves, which takes longer than all reports; one test below takes it.
REPORTS = jsonschema.Draft202012Validator(report.schema(), format_checker=jsonschema.FormatChecker())
PLANS = jsonschema.Draft202012Validator(report.schema("plan"))


def rendered(result: Result) -> Any:
    loaded = json.loads("".join(report.render(result)))
    REPORTS.validate(loaded)
    return loaded


@pytest.mark.parametrize("name", samples.ALL)
def test_every_report_is_as_its_schema_says(name: str) -> None:
    result = samples.ALL[name]()

    loaded = rendered(result)
    plan = json.loads("".join(report.render_plan(result)))

    PLANS.validate(plan)
    assert (loaded["schema_version"], plan["schema_version"]) == (1, 2)
    assert loaded["tool_version"] == __version__


def test_the_schemas_are_schemas_and_know_every_member() -> None:
    """A member that the schema does not describe is a member that nobody can rely on."""
    for name in ("report", "plan"):
        jsonschema.Draft202012Validator.check_schema(report.schema(name))
    strict = {**report.schema(), "additionalProperties": False}
    definitions = {**strict["$defs"]}
    for name in ("decision", "untagged", "reason", "use", "manifest", "outcome", "blocker", "policy"):
        definitions[name] = {**definitions[name], "additionalProperties": False}

    for sample in ("partial", "untagged_partial"):
        jsonschema.validate(rendered(samples.ALL[sample]()), {**strict, "$defs": definitions})


def test_the_schema_knows_every_word_of_the_core() -> None:
    schema = report.schema()

    assert schema["properties"]["verdict"]["enum"] == [str(each) for each in Verdict]
    pattern = schema["$defs"]["reason"]["properties"]["rule"]["pattern"]
    assert all(re.fullmatch(pattern, word) for word in (*Rule, *Hold))
    assert schema["$defs"]["outcome"]["properties"]["outcome"]["enum"] == [str(each) for each in OutcomeKind]
    assert schema["$defs"]["policy"]["properties"]["scope"]["enum"] == [str(each) for each in Scope]


def test_the_counts_are_these_and_no_others() -> None:
    assert rendered(samples.partial())["counts"] == {
        "deleted": 294,
        "planned": 297,
        "kept": 97,
        "in_use": 13,
        "failed": 2,
        "deleted_manifests": 292,
        "bytes": samples.partial().counts.bytes,
    }


def test_every_manifest_without_tags_is_told_with_its_reasons() -> None:
    result = samples.result(samples.untagged_plan())
    (repository,) = rendered(result)["repositories"]
    plan = json.loads("".join(report.render_plan(result)))

    told = {each["digest"]: each for each in repository["untagged"]}
    assert [told[samples.digest(number)]["decision"] for number in (100, 101, 102, 103)] == [
        "delete", "delete", "keep", "keep",
    ]  # fmt: skip
    assert [each["rule"] for each in told[samples.digest(103)]["reasons"]] == ["locked"]
    assert (told[samples.digest(100)]["bytes"], told[samples.digest(100)]["updated_at"]) == (
        20 * samples.MIB,
        "2026-08-25T10:00:00Z",
    )
    assert plan["counts"]["untagged"] == 2


def test_every_decision_has_all_its_reasons_and_users() -> None:
    (repository,) = rendered(samples.result(samples.small()))["repositories"]
    decisions = {decision["tag"]: decision for decision in repository["decisions"]}

    assert {tag: each["decision"] for tag, each in decisions.items()} == {
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


def test_a_dry_run_lists_no_deleted_tag_and_an_apply_lists_them_all() -> None:
    dry, done = rendered(samples.result(samples.small())), rendered(samples.ALL["small_applied"]())

    assert (dry["deleted_tags"], dry["planned_tags"]) == ([], ["shop/web:1.0.0", "shop/web:old"])
    assert done["deleted_tags"] == done["planned_tags"] == dry["planned_tags"]


def test_steps_of_a_plan_are_the_two_verbs() -> None:
    for plan, verb in ((samples.planned().plan, "delete manifest"), (samples.small(), "untag")):
        steps = json.loads("".join(report.render_plan(samples.result(plan))))["steps"]

        assert {step["verb"] for step in steps} == {verb}
        assert sum(len(step["tags"]) for step in steps) == plan.planned


def test_it_streams() -> None:
    """No piece grows with the registry: a million tags need no string of a gigabyte."""
    pieces = list(report.render(samples.partial()))

    assert len(pieces) > 800
    assert max(map(len, pieces)) < 5000


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_hostile_text_comes_back_unchanged_and_shows_nothing(world: str) -> None:
    """A reader gets the very text; whoever prints the file gets no escape, no control, no command."""
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
