"""
Golden scenarios: one step of the action on one world, among them incidents of other tools.

`UPDATE_GOLDEN=1 pytest tests/scenarios/test_golden.py` rewrites the golden files.
The *expected* deletions of each folder are written by hand and never rewritten. With
GOLDEN_OVER_THE_WIRE=1 every step uses TLS and sockets. The golden files are the same; it takes five
times as long.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from acr_cleanup.stages import verify
from tests.helpers.golden_steps import Runner, ServedInMemory, ServedOverTls, Step, published_texts, stable
from tests.helpers.golden_worlds import FOLDER, GoldenScenario, names
from tests.helpers.jobs import Log
from tests.helpers.secret_leaks import assert_none_leaked
from tests.helpers.stage import REPORT_SCHEMA, shorten_pauses

pytestmark = pytest.mark.untraced

_THREAD = re.compile(r"https://(?:github|gitlab)\.com/([\w.-]+)/([\w.-]+)(?:/-)?/(issue|pull)s?/(\d+)")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)
    monkeypatch.setattr(verify, "SETTLE", 0.01)


@pytest.mark.parametrize("name", names())
def test_golden(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = GoldenScenario(FOLDER / name)
    missing = scenario.registry.missing_children()
    # The request for GitHub's token leaves the loop that a world in memory needs.
    over_tls = bool(os.environ.get("GOLDEN_OVER_THE_WIRE")) or scenario.inputs.get("auth-type") == "oidc"
    served = ServedOverTls(scenario.world) if over_tls else ServedInMemory(scenario.world, tmp_path, monkeypatch)
    with served:
        runner = Runner(scenario, served, tmp_path, monkeypatch)
        if over_tls:
            runner.trust_github()
        if scenario.earlier is not None:
            runner.step(scenario.earlier)
            scenario.change_by_others()
        elif scenario.has_changes_by_others:
            scenario.change_by_others_at_second_look()
        step = runner.step(scenario.inputs)
        texts = published_texts(step, runner.workspace)
        for emulator in served.emulators:
            assert_none_leaked(emulator, texts)
    assert_expected(scenario, step)
    assert_invariants(scenario, step, missing)
    assert_golden(scenario, step)


def assert_expected(scenario: GoldenScenario, step: Step) -> None:
    """Assert the deletions that the folder expects. A person derived them from the rule."""
    expect = scenario.document["expect"]
    deleted, kept = set(expect["deleted"]), set(expect["kept"])
    assert deleted | kept == scenario.items(), "expect must name every tag and untagged manifest once"
    assert not deleted & kept
    left = {item for item in deleted | kept if scenario.registry.has(item)}
    assert (step.code, scenario.items() - left, left) == (expect["exit"], deleted, kept), step.log


def assert_invariants(scenario: GoldenScenario, step: Step, missing: set[str]) -> None:
    """Assert what every step must fulfil. `missing`: children that were missing before it."""
    log = Log(step.log)
    assert "Traceback" not in step.log
    assert "Unexpected error" not in step.log
    assert not log.others, "a workflow command that our steps never use"
    assert scenario.registry.missing_children() <= missing, "an index lost a child"
    deletions = scenario.world.matching(service="acr", method="DELETE")
    if scenario.inputs.get("dry-run") != "false" or step.code in (2, 3):
        assert not deletions
    if step.code == 2:
        return
    report = json.loads((step.report_dir / "report.json").read_text(encoding="utf-8"))
    REPORT_SCHEMA.validate(report)
    assert set(json.loads(step.outputs["deleted-tags"])) == set(report["deleted_tags"]) <= set(report["planned_tags"])
    expected = {item for item in scenario.document["expect"]["deleted"] if ":" in item}
    deleted = {scenario.registry.written(tag) for tag in report["deleted_tags"]}
    assert deleted == expected - scenario.deleted_by_others()
    assert (step.code == 3) is (report["verdict"] == "refused")
    assert (step.report_dir / "summary.md").read_text(encoding="utf-8").strip() == step.summary.strip()


def assert_golden(scenario: GoldenScenario, step: Step) -> None:
    """Assert that the results equal the golden files of the folder."""
    texts = {
        "summary.md": stable(step.summary, scenario.now),
        "outputs.json": _pretty(step.outputs),
        "survives.json": _pretty(scenario.result(step.code)),
    }
    for name, text in texts.items():
        path = scenario.folder / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: UPDATE_GOLDEN=1 writes it"
        assert text == path.read_text(encoding="utf-8"), f"{scenario.folder.name}/{name}"


def _pretty(document: object) -> str:
    return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n"


@pytest.mark.parametrize("name", names())
def test_incident_folder_is_named_after_its_thread(name: str) -> None:
    about = GoldenScenario(FOLDER / name).about
    assert about["expectation"]
    if "thread" in about:
        assert about["incident"]
        match = _THREAD.fullmatch(about["thread"])
        assert match is not None, about["thread"]
        owner, project, kind, number = match.groups()
        assert name.startswith(f"{owner}-{project}-{kind}-{number}-".lower())


def test_table_of_threads_is_complete() -> None:
    """golden/README.md lists every folder of an incident, and only existing folders."""
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in names():
        if "thread" in GoldenScenario(FOLDER / name).about:
            assert f"`{name}`" in table
    for name in re.findall(r"`([a-z0-9.-]+-(?:issue|pull)-\d+-[a-z0-9-]+)`", table):
        assert (FOLDER / name).is_dir(), name


def test_there_are_at_least_40_scenarios() -> None:
    assert len(names()) >= 40
