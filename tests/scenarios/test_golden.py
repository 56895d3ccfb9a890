"""
Golden scenarios: a world, inputs, and what the step of the action says, hands on and leaves; among them what went wrong elsewhere.

`UPDATE_GOLDEN=1 pytest tests/scenarios/test_golden.py` writes the summaries, outputs and survivors anew. What is *expected* to
go and to stay is written by hand, in each folder, and never anew. With GOLDEN_OVER_THE_WIRE=1 every step speaks TLS over
sockets, and writes the same, in five times the time.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest

from acr_cleanup.records.schemas import schema
from acr_cleanup.stages import verify as proof
from tests.helpers.golden_worlds import FOLDER, Joined, Runner, Scenario, Served, Step, artefacts, names, stable
from tests.helpers.jobs import Log
from tests.helpers.secret_leaks import assert_none_leaked
from tests.helpers.stage import impatient

pytestmark = pytest.mark.untraced

# Made once: checking the schema itself takes longer than any run here.
_REPORTS = jsonschema.Draft202012Validator(schema("report"))
_THREAD = re.compile(r"https://(?:github|gitlab)\.com/([\w.-]+)/([\w.-]+)(?:/-)?/(issue|pull)s?/(\d+)")


@pytest.fixture(autouse=True)
def _promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    monkeypatch.setattr(proof, "SETTLE", 0.01)


@pytest.mark.parametrize("name", names())
def test_golden(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(FOLDER / name)
    before = scenario.broken()
    # Asking GitHub for a token leaves the loop in which step and world are joined.
    wired = bool(os.environ.get("GOLDEN_OVER_THE_WIRE")) or scenario.inputs.get("auth-type") == "oidc"
    with Served(scenario.world) if wired else Joined(scenario.world, tmp_path, monkeypatch) as served:
        runner = Runner(scenario, served, tmp_path, monkeypatch)
        if wired:
            runner.trust()
        if scenario.earlier is not None:
            runner.step(scenario.earlier)
            scenario.meanwhile()
        elif scenario.has_meanwhile:
            scenario.arm_meanwhile()
        step = runner.step(scenario.inputs)
        left = artefacts(step, runner.workspace)
        for emulator in served.emulators:
            assert_none_leaked(emulator, left)
    as_expected(scenario, step)
    always(scenario, step, before)
    as_golden(scenario, step)


def as_expected(scenario: Scenario, step: Step) -> None:
    """What somebody thought must go and stay, as far as the rule says and whatever the tool does."""
    expect = scenario.registry_json["expect"]
    goes, stays = set(expect["goes"]), set(expect["stays"])
    assert goes | stays == scenario.things(), "expect must name everything that is there, once"
    assert not goes & stays
    there = {thing for thing in goes | stays if scenario.is_there(thing)}
    assert (step.code, goes | stays - there, there) == (expect["exit"], goes, stays), step.log


def always(scenario: Scenario, step: Step, before: set[str]) -> None:
    """What holds in every world."""
    log = Log(step.log)
    assert "Traceback" not in step.log
    assert "Something unforeseen" not in step.log
    assert "Unexpected error" not in step.log
    assert not log.others, "a command that no step of ours gives"
    assert scenario.broken() <= before, "an index lost a child"
    deletions = scenario.world.matching(service="acr", method="DELETE")
    if scenario.inputs.get("dry-run") != "false" or step.code in (2, 3):
        assert not deletions
    if step.code == 2:
        return
    report = json.loads((step.report_dir / "report.json").read_text(encoding="utf-8"))
    _REPORTS.validate(report)
    assert set(json.loads(step.outputs["deleted-tags"])) == set(report["deleted_tags"]) <= set(report["planned_tags"])
    deleted = {scenario.written(tag) for tag in report["deleted_tags"]}
    assert (
        deleted
        == {thing for thing in scenario.registry_json["expect"]["goes"] if ":" in thing} - scenario.taken_by_others()
    )
    assert (step.code == 3) is (report["verdict"] == "refused")
    assert (step.report_dir / "summary.md").read_text(encoding="utf-8").strip() == step.summary.strip()


def as_golden(scenario: Scenario, step: Step) -> None:
    """Is it what the folder says, word for word?"""
    written = {
        "summary.md": stable(step.summary, scenario.now),
        "outputs.json": _pretty(step.outputs),
        "survives.json": _pretty(scenario.survivors(step.code)),
    }
    for name, text in written.items():
        path = scenario.folder / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: UPDATE_GOLDEN=1 writes it"
        assert text == path.read_text(encoding="utf-8"), f"{scenario.folder.name}/{name}"


def _pretty(document: object) -> str:
    return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n"


@pytest.mark.parametrize("name", names())
def test_a_folder_of_an_incident_is_named_after_its_thread(name: str) -> None:
    """So that whoever knows the thread finds the folder, and whoever finds the folder finds the thread."""
    about = json.loads((FOLDER / name / "registry.json").read_text(encoding="utf-8"))["about"]
    assert about["here"]
    if "thread" in about:
        assert about["there"]
        found = _THREAD.fullmatch(about["thread"])
        assert found is not None, about["thread"]
        owner, project, kind, number = found.groups()
        assert name.startswith(f"{owner}-{project}-{kind}-{number}-".lower())


def test_every_folder_of_an_incident_is_in_the_table_of_threads() -> None:
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in names():
        about = json.loads((FOLDER / name / "registry.json").read_text(encoding="utf-8"))["about"]
        if "thread" in about:
            assert f"`{name}`" in table
    for named in re.findall(r"`([a-z0-9.-]+-(?:issue|pull)-\d+-[a-z0-9-]+)`", table):
        assert (FOLDER / named).is_dir(), named


def test_there_are_as_many_as_were_asked_for() -> None:
    assert len(names()) >= 40
