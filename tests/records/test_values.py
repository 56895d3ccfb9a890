"""Values of the core in the documents, and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from msgspec import UNSET

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.core.policy import KeepReason, Rule
from acr_cleanup.core.pulls import PullLog
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.records.names import NamedRepository, RegistryNames
from acr_cleanup.records.parts import CountedPulls, RecordedKeepEntry, RecordedPolicy, RecordedPullLog
from acr_cleanup.records.plan import PlannedLock
from acr_cleanup.records.report import RecordedUse, TagDecision, TagReason, read_report
from tests.helpers.generated_inventories import NOW, d, use


def test_names_of_a_registry_are_listed_by_repository() -> None:
    names = RegistryNames("contoso.azurecr.io", NOW, (NamedRepository("shop/web", ["1", "2"], [d("a")]),))
    (listed,) = names.listed()
    assert isinstance(listed, ListedNames)
    assert (listed.repository, [*listed.tags], listed.digests) == ("shop/web", ["1", "2"], frozenset({d("a")}))


def test_names_of_further_repositories_are_joined_by_name() -> None:
    """The time of the first reading counts: what was pushed after it may be missing."""
    web, api = NamedRepository("shop/web", ["1.0"], [d("a")]), NamedRepository("shop/api", [], [])
    known = RegistryNames("contoso.azurecr.io", NOW, (web,))
    further = RegistryNames("other", NOW + timedelta(hours=1), (api,))

    assert known.with_repositories(further) == replace(known, repositories=(api, web))


@pytest.mark.parametrize("lock", [Lock(None, True, False), Lock("1", False, True)])
def test_planned_lock_is_the_lock(lock: Lock) -> None:
    planned = PlannedLock.of(lock)
    assert (planned.tag, planned.delete_enabled, planned.write_enabled) == (
        lock.tag,
        lock.delete_enabled,
        lock.write_enabled,
    )
    assert planned.lock == lock


def test_recorded_pull_log_has_its_times_and_counts() -> None:
    log = PullLog(since=NOW, reaches_back_to=NOW - timedelta(1), counted=(("a", 2),), ignored=(("b", 3),))
    recorded = RecordedPullLog.of(log)
    assert recorded == RecordedPullLog(NOW, NOW - timedelta(1), [CountedPulls("a", 2)], [CountedPulls("b", 3)])
    assert RecordedPullLog.of(PullLog()) is None


def test_recorded_policy_has_its_rules_and_keep_list() -> None:
    keep = KeepEntry("shop/web:1", "shop/web", "1", reason="audit", until=date(2026, 12, 31))
    policy = RetentionPolicy(used_within=timedelta(days=14), keep=(keep,))
    rule = replace(policy.top, name="dev", tags=("dev-*",), keep_last=2, keep=True)
    endless = replace(keep, until=None, owner="ops")
    recorded = RecordedPolicy.of(replace(policy, rules=(rule,), keep=(keep, endless)))
    assert recorded.keep == [
        RecordedKeepEntry("shop/web:1", "audit", "", "2026-12-31"),
        RecordedKeepEntry("shop/web:1", "audit", "ops", None),
    ]
    (of_rule,) = recorded.rules
    assert (of_rule.name, of_rule.tags, of_rule.older_than, of_rule.keep_last, of_rule.keep) == (
        "dev",
        ["dev-*"],
        "30d",
        2,
        True,
    )
    assert (of_rule.pulled_within, recorded.used_within, recorded.probation) == (UNSET, "14d", UNSET)
    assert (recorded.scope, recorded.include_locked, recorded.shard) == ("running", False, "1/1")


def test_recorded_decision_is_a_decision_on_a_tag_of_its_repository() -> None:
    used = replace(use("1.0", name="web"), holder="Pod/web-1")
    reasons = [TagReason("in-use", "used by web", [RecordedUse.of(used)]), TagReason("locked", "locked")]
    decision = TagDecision("1.0", d("a"), NOW, "keep", reasons).value("shop/web")
    assert (decision.tag.name, decision.tag.digest, decision.tag.updated_at) == ("1.0", d("a"), NOW)
    in_use, locked = decision.reasons
    (again,) = in_use.uses
    assert (again.workload, again.container, again.field, again.text, again.holder) == (
        used.workload,
        used.container,
        used.field,
        used.text,
        "Pod/web-1",
    )
    assert again.reference.repository == "shop/web"
    assert (in_use.rule, in_use.detail) == (Rule.IN_USE, "used by web")
    assert locked == KeepReason(Rule.LOCKED, "locked")


_NAME = "Name the report.json in the report folder of a run."


@pytest.mark.parametrize(
    ("data", "seen", "remedy"),
    [
        (None, "The file cannot be read: No such file or directory.", _NAME),
        (b"", "The file is not the report of a run: Expecting value: line 1 column 1 (char 0).", _NAME),
        (b'{"schema_version": 9, "tool_version": "7.0\\u001b[1m"}',
         "The report has version 9, but this program reads version 1 only.",
         "Read it with the acr-cleanup that wrote it (7.0\\x1b[1m)."),
    ],
)  # fmt: skip
def test_other_file_is_not_a_report(data: bytes | None, seen: str, remedy: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigurationError) as caught:
        read_report(path)
    (problem,) = caught.value.problems
    assert (problem.path, problem.seen, problem.remedy) == (str(path), seen, remedy)
