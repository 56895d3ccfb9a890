"""Explanations and reports name the rule that governs a tag, and the entries of the keep list."""

from __future__ import annotations

import json
from datetime import date, timedelta

import jsonschema
import msgspec

from acr_cleanup.core.explanation import explain_tag
from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.left_out import LeftOutPart, PlannedPart, WhyLeftOut
from acr_cleanup.core.outcome import Result, Verdict
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.records.report import Report
from acr_cleanup.records.schemas import schema
from acr_cleanup.reports import json as report_json
from acr_cleanup.reports import markdown, text
from acr_cleanup.reports.explained_repository import explain_repository
from acr_cleanup.reports.explanation import explain_item
from acr_cleanup.reports.markdown_tables import totals
from acr_cleanup.reports.past import explain_past
from acr_cleanup.reports.view import View
from tests.helpers.generated_inventories import NOW, REPOSITORY, inventory, plan, tag, usage

POLICY = RetentionPolicy(
    rules=(
        PolicyRule("previews", tags=("pr-*",), older_than=timedelta(days=7), keep_last=1),
        PolicyRule("releases", tags=("v*",), keep=True),
    ),
    keep=(KeepEntry("shop/web:audit", REPOSITORY, "audit", reason="the audit", until=date(2026, 12, 31)),),
)
TAGS = inventory(
    [
        tag("pr-1", 1, days=50),
        tag("pr-2", 2, days=6),
        tag("pr-3", 3, days=5),
        tag("v1", 4),
        tag("audit", 5),
        tag("main", 6),
        tag("new", 7, days=10),
    ]
)


def lines(page: object) -> list[str]:
    return [" ".join(line.split()) for line in str(page).splitlines()]


def explained(name: str, policy: RetentionPolicy = POLICY) -> list[str]:
    evidence = Evidence(TAGS, usage(), policy, NOW)
    return lines(explain_item(evidence, explain_tag(evidence, name)))


def result(policy: RetentionPolicy = POLICY) -> Result:
    part = PlannedPart(2, {WhyLeftOut.OUT_OF_SCOPE: LeftOutPart(1, ("shop/old",))})
    whole = Plan("contoso.azurecr.io", policy, NOW, usage(), (plan(TAGS, policy=policy),), part=part)
    return Result(whole, Verdict.PLANNED, dry_run=True, started_at=NOW, finished_at=NOW)


def test_explanation_of_a_deleted_tag_names_its_rule() -> None:
    page = explained("pr-1")

    assert page[0] == "shop/web:pr-1 would be deleted."
    assert "Governed by rule previews: older than 7d; the newest is kept" in page
    assert "old enough pushed 2026-10-04, 50d ago, at least 7d (rule `previews`)" in page
    assert "not newest it is not among the newest 1 (rule `previews`)" in page
    assert "not kept by a rule rule previews: older than 7d; the newest is kept" in page


def test_explanation_of_a_kept_tag_names_its_rule() -> None:
    assert "shop/web:v1 is kept: the rule `releases` keeps it." in explained("v1")
    assert "Governed by rule releases: always kept" in explained("v1")
    assert not any(line.startswith("old enough") for line in explained("v1"))
    assert "Governed by no rule, so the top-level options: older than 30d" in explained("main")


def test_explanation_names_the_entry_of_the_keep_list() -> None:
    assert "shop/web:audit is kept: `shop/web:audit` is on the keep list (the audit, until 2026-12-31)." in explained(
        "audit"
    )


def test_explanation_without_rules_and_keep_list_does_not_mention_them() -> None:
    page = explained("main", RetentionPolicy())

    assert not any(line.startswith(("Governed", "not kept by a rule", "not on the keep list")) for line in page)


def test_explanation_of_a_repository_names_the_rule_of_each_deleted_tag() -> None:
    page = lines(explain_repository(Evidence(TAGS, usage(), POLICY, NOW)))

    assert any(line.startswith("pr-1") and "unused and old enough (rule `previews`)" in line for line in page)
    assert any(line.startswith("main") and line.endswith("unused and old enough") for line in page)


def test_text_groups_tags_by_rule() -> None:
    page = lines(text.render(result()))

    assert page[page.index("rule previews: older than 7d; the newest is kept") + 1] == "pr-1 50d"
    assert page[page.index("no rule, so the top-level options: older than 30d") + 1] == "main 100d"
    assert "kept: pushed less than 7d ago (rule `previews`) (2)" in page
    assert "kept: pushed less than 30d ago (1)" in page
    assert "kept: the rule `releases` keeps it (1)" in page
    assert "previews tags pr-* older than 7d; the newest is kept 3 1" in page


def test_summary_has_a_column_and_a_table_of_rules() -> None:
    page = markdown.render(result())

    assert "| Tag | Digest | Pushed | Decision | Why | Rule |" in page
    assert "| `previews` | `tags pr-*` | older than 7d; the newest is kept | 3 | 1 |" in page
    assert (
        "Scope: 1 of 2 repositories. Left out, with all its tags kept: 1 not running in any cluster (shop/old)." in page
    )


def test_totals_count_every_tag_once() -> None:
    rows = [tuple(cell.strip() for cell in row.split("|")[1:3]) for row in totals(View(result()))[2:]]

    assert rows == [
        ("**Would delete**", "**2**"),
        ("Kept: on the keep list", "1"),
        ("Kept: kept by a rule", "1"),
        ("Kept: pushed less than their rule says ago", "3"),
        ("**Total**", "**7**"),
    ]


def test_report_has_rules_keep_list_and_scope_and_is_read_back() -> None:
    written = "".join(report_json.render(result()))
    jsonschema.Draft202012Validator(schema("report")).validate(json.loads(written))
    report = msgspec.json.decode(written, type=Report)

    assert [(rule.name, rule.older_than, rule.keep) for rule in report.policy.rules] == [
        ("previews", "7d", False),
        ("releases", "30d", True),
    ]
    assert [(entry.image, entry.until) for entry in report.policy.keep] == [("shop/web:audit", "2026-12-31")]
    assert report.left_out is not None
    assert [(part.reason, part.number) for part in report.left_out] == [("out-of-scope", 1)]
    past = lines(explain_past(report, REPOSITORY, "pr-1"))
    assert "Governed by rule previews: older than 7d" in past
    assert "Governed by rule releases: always kept" in lines(explain_past(report, REPOSITORY, "v1"))
    assert "Governed by no rule, so the top-level options: older than 30d" in lines(
        explain_past(report, REPOSITORY, "main")
    )


def test_plan_document_has_the_rules() -> None:
    document = json.loads("".join(report_json.render_plan(result())))

    jsonschema.Draft202012Validator(schema("plan")).validate(document)
    assert [rule["name"] for rule in document["policy"]["rules"]] == ["previews", "releases"]
