"""A new keep rule: one entry of `RULES` is all that the plan and the reports need."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import cast

import jsonschema
import pytest

from acr_cleanup.core import policy
from acr_cleanup.core.explanation import explain_tag
from acr_cleanup.core.outcome import Result, Verdict
from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.policy import RULES, Evidence, KeepReason, KeepRule, KeptTags, Rule
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.records.schemas import schema
from acr_cleanup.reports import json as report_json
from acr_cleanup.reports import markdown, text
from acr_cleanup.reports.explanation import explain_item
from acr_cleanup.reports.markdown_tables import totals
from acr_cleanup.reports.view import View
from tests.helpers.generated_inventories import NOW, REPOSITORY, inventory, plan, rules_of, tag, usage, use

ODD = cast("Rule", "odd")
REPOSITORY_WITH_ODD_TAGS = inventory([tag("1", 1), tag("2", 2), tag("3", 3), tag("10", 4), tag("used", 5)])


def odd(evidence: Evidence) -> KeptTags:
    for named in evidence.inventory.tags:
        if named.name[-1] in "13579":
            yield named, KeepReason(ODD, f"its name ends with {named.name[-1]}")


@pytest.fixture(autouse=True)
def _add_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the rule wherever `RULES` was imported."""
    rule = KeepRule(ODD, odd, "odd after {older_than}", "not odd")
    for name, module in list(sys.modules.items()):
        if name.startswith("acr_cleanup.") and getattr(module, "RULES", None) is RULES:
            monkeypatch.setattr(module, "RULES", (*RULES, rule))


def planned(*, packed: bool = False) -> Result:
    repository_plan = plan(REPOSITORY_WITH_ODD_TAGS, usage(use("used")))
    repositories = PackedPlans([Packed.of(repository_plan)]) if packed else (repository_plan,)
    whole = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage(use("used")), repositories)
    return Result(whole, Verdict.PLANNED, dry_run=True, started_at=NOW, finished_at=NOW + timedelta(seconds=1))


def test_new_rule_keeps_tags() -> None:
    repository_plan = plan(REPOSITORY_WITH_ODD_TAGS, usage(use("used")))

    assert rules_of(repository_plan, "1") == rules_of(repository_plan, "3") == ["odd"]
    assert {decision.tag.name for decision in repository_plan.deletions} == {"2", "10"}
    assert repository_plan.tally.kept_by == {ODD: 2, Rule.IN_USE: 1}


def test_new_rule_is_in_the_report_which_its_schema_accepts() -> None:
    """Also from packed plans, which a large registry uses."""
    for packed in (False, True):
        report = json.loads("".join(report_json.render(planned(packed=packed))))

        jsonschema.Draft202012Validator(schema("report")).validate(report)
        (repository,) = report["repositories"]
        rules = {
            decision["tag"]: [reason["rule"] for reason in decision["reasons"]] for decision in repository["decisions"]
        }
        assert rules == {"1": ["odd"], "2": [], "3": ["odd"], "10": [], "used": ["in-use"]}


def test_new_rule_is_in_the_text_and_the_summary() -> None:
    """The text groups tags with different evidence by the title of the rule."""
    written, summary = str(text.render(planned())), markdown.render(planned())

    assert "kept: odd after 30d (2)" in written
    assert "its name ends with 3" in written
    assert "its name ends with 3" in summary


def test_new_rule_is_in_the_totals() -> None:
    assert "| Kept: odd after 30d | 2 | 40 % |  |" in totals(View(planned()))


@pytest.mark.parametrize(
    ("name", "line"), [("1", "odd its name ends with 1"), ("2", "not odd it is not odd after 30d")]
)
def test_new_rule_is_in_the_explanation(name: str, line: str) -> None:
    """As a reason for a tag that it keeps, and among the rules that do not apply to another one."""
    evidence = Evidence(REPOSITORY_WITH_ODD_TAGS, usage(use("used")), RetentionPolicy(), NOW)
    page = explain_item(evidence, explain_tag(evidence, name))

    assert page.verdict.startswith(f"{REPOSITORY}:{name} ")
    assert line in [" ".join(row.split()) for row in str(page).splitlines()]


def test_each_rule_has_one_entry() -> None:
    """Without an entry, a reason would have no title, and no place in a report."""
    assert [entry.id for entry in policy.RULES] == [*Rule, ODD]
    assert all(entry.title for entry in policy.RULES)
