"""Plan files: reading and validating them, and their hash."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.core.steps import DeleteManifest, Step
from acr_cleanup.core.usage import ClusterScan, ImageUse
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.records.plan import PlannedCluster
from acr_cleanup.records.reviewed_plan import MAX_BYTES, read
from acr_cleanup.reports import json as report_json
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples
from tests.helpers.reviewed_plans import OTHER_DIGEST, PlanEdit, edit_plan, expected_hash


@pytest.fixture
def plan_json(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text("".join(report_json.render_plan(samples.result(samples.small()))), "utf-8")
    return path


# -- invalid plans -------------------------------------------------------------------------------


def with_step(**members: object) -> PlanEdit:
    return lambda plan: plan["steps"][0].update(members)


def with_tag(**members: object) -> PlanEdit:
    return lambda plan: plan["steps"][0]["tags"][0].update(members)


def with_cycle(plan: dict[str, Any]) -> None:
    first, second = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    step = {"verb": "delete manifest", "repository": "shop/web", "tags": [], "locks": []}
    plan["steps"] = [{**step, "digest": first, "after": [second]}, {**step, "digest": second, "after": [first]}]


def with_split_repository(plan: dict[str, Any]) -> None:
    (first, *_) = plan["steps"]
    plan["steps"] += [{**first, "repository": "other"}, {**first, "tags": [{"name": "x", "updated_at": None}]}]


INVALID: dict[str, PlanEdit] = {
    "repository that is a path": with_step(repository="../../oauth2"),
    "repository with dots": with_step(repository="shop/../web"),
    "repository with a query": with_step(repository="shop/web?x=1"),
    "repository with a line break": with_step(repository="shop/web\n"),
    "repository that is too long": with_step(repository="a" * 300),
    "empty repository": with_step(repository=""),
    "tag with a line break": with_tag(name="1.0\n::error::owned"),
    "tag that ends with a line break": with_tag(name="1.0\n"),
    "tag that is a path": with_tag(name="../1.0"),
    "tag that is a digest": with_tag(name=OTHER_DIGEST),
    "tag of 129 characters": with_tag(name="x" * 129),
    "tag with an escape": with_tag(name="\x1b[31m"),
    "time without its zone": with_tag(updated_at="2026-01-01T00:00:00"),
    "short digest": with_step(digest="sha256:abc"),
    "path in after": with_step(after=["../x"]),
    "unknown verb": with_step(verb="delete repository"),
    "untag without a tag": with_step(tags=[]),
    "unknown member of a step": with_step(force=True),
    "unknown member of the plan": lambda plan: plan.update(force=True),
    "duplicate step": lambda plan: plan["steps"].append(plan["steps"][0]),
    "cycle of steps": with_cycle,
    "steps of a repository that are not consecutive": with_split_repository,
    "another format version": lambda plan: plan.update(schema_version=1),
    "steps that are not a list": lambda plan: plan.update(steps={}),
    "no steps": lambda plan: plan.pop("steps"),
    "hash without digest": lambda plan: plan.update(schema_version=2, hash="md5"),
}


def assert_invalid(path: Path, *words: str) -> None:
    """Check that a file is refused, with a short printable message that has these words."""
    with pytest.raises(ConfigurationError) as caught:
        read(path, "--plan")
    (problem,) = caught.value.problems
    assert problem.path == "--plan"
    assert "plan.json" in problem.remedy
    assert problem.seen.isprintable()
    assert len(problem.seen) < 1000
    for text in words:
        assert text in problem.seen


@pytest.mark.parametrize("case", INVALID)
def test_invalid_plan_with_the_right_hash_is_refused(case: str, plan_json: Path) -> None:
    """An invalid name must not become part of a request."""
    read(plan_json, "--plan")
    edit_plan(plan_json, INVALID[case], rehash=case != "hash without digest")

    assert_invalid(plan_json)


def test_truncated_plan_is_refused(plan_json: Path) -> None:
    content = plan_json.read_bytes().rstrip()
    for length in range(0, len(content), 97):
        plan_json.write_bytes(content[:length])
        assert_invalid(plan_json)


def test_plan_with_a_changed_byte_is_not_intact(plan_json: Path) -> None:
    """Such a file may also be an invalid plan."""
    content = plan_json.read_bytes()
    blanks = set(b" \n")
    for place in range(0, len(content), 13):
        if content[place] in blanks:
            continue
        plan_json.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with suppress(ConfigurationError):
            assert not read(plan_json, "--plan").intact, place


# -- other files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "2", "[" * 100_000, '{"schema_version": 2, "steps": ' + "[" * 100_000, "\x00", "<html>",
     '{"schema_version": "2", "steps": []}', '{"schema_version": 2, "steps": [], "hash": "\\ud800"}'],
)  # fmt: skip
def test_other_text_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text, "utf-8")

    assert_invalid(path)


def test_plan_of_another_version_says_which(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"schema_version": 9, "steps": []}', "utf-8")

    assert_invalid(path, "The plan has format version 9, but acr-cleanup")


def test_report_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("".join(report_json.render(samples.planned())), "utf-8")

    assert_invalid(path)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"\xff\xfe{}")

    assert_invalid(path)


def test_special_missing_and_huge_files_are_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 1)

    assert_invalid(huge, "larger than the limit of 512 MiB")
    assert_invalid(tmp_path, "not a regular file")
    assert_invalid(Path("/dev/zero"), "not a regular file")
    assert_invalid(tmp_path / "missing.json", "does not exist")
    assert_invalid(Path("nul\x00l"), "cannot be read")


# -- written plans -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", samples.ALL)
def test_written_plan_can_be_read(name: str, tmp_path: Path) -> None:
    result = samples.ALL[name]()
    path = tmp_path / "plan.json"
    path.write_text("".join(report_json.render_plan(result)), "utf-8")

    plan = read(path, "--plan")

    assert plan.intact
    assert plan.hash == expected_hash(json.loads(path.read_bytes()))
    assert (plan.name, plan.registry, plan.shard) == (
        str(path),
        result.plan.registry,
        str(result.plan.policy.shard),
    )
    assert plan.created_at == result.plan.created_at
    assert bool(plan.blockers) == bool(result.plan.blockers or result.blockers or result.plan.usage.blockers)
    written_steps = [step for repository in result.plan.repositories for step in repository.steps]
    read_steps = [step for repository in plan.repositories for step in repository.steps]
    assert list(map(fields_of, read_steps)) == list(map(fields_of, written_steps))
    assert sum(len(repository.deletions) for repository in plan.repositories) == result.plan.planned


def test_plan_tells_which_clusters_were_read(plan_json: Path) -> None:
    document = json.loads(plan_json.read_bytes())
    cluster = document["clusters"][0]
    document["clusters"] = [
        {**cluster, "name": "a", "resource_id": "/id"},
        {**cluster, "name": "b", "resource_id": None},
    ]
    plan_json.write_text(json.dumps(document), "utf-8")

    plan = read(plan_json, "--plan")

    assert [(cluster.name, cluster.resource_id) for cluster in plan.clusters] == [("a", "/id"), ("b", None)]
    assert not plan.intact


def fields_of(step: Step) -> tuple[object, ...]:
    """The fields of a step that a plan file contains."""
    size = (step.manifest.media_type, step.manifest.size) if isinstance(step, DeleteManifest) else ()
    return (type(step), step.digest, [(tag.name, tag.updated_at) for tag in step.tags], step.after, step.locks, *size)


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_plan_with_hostile_names_has_a_valid_hash(world: str) -> None:
    """
    It is ASCII without workflow commands; reading it may refuse names, but not report an edit.
    """
    text = "".join(report_json.render_plan(hostile.WORLDS[world]()))

    assert text.isascii()
    assert "##" not in text
    plan = json.loads(text)
    assert plan["hash"] == expected_hash(plan)


def test_cluster_hash_ignores_the_order_of_uses() -> None:
    uses = samples.deployed("shop/web", "1.0", "web")

    def evidence(cluster_uses: Iterable[ImageUse]) -> PlannedCluster:
        return report_json._evidence(ClusterScan("production", tuple(cluster_uses)))

    other_field = [replace(uses[0], field="spec"), *uses[1:]]
    not_running = [replace(uses[0], running=not uses[0].running), *uses[1:]]
    assert evidence(uses) == evidence(reversed(uses))
    assert evidence(uses).uses_hash != evidence(other_field).uses_hash
    assert evidence(uses).uses_hash != evidence(not_running).uses_hash
    # Pods come and go.
    assert evidence(uses).uses_hash == evidence([replace(use, holder="Pod/web-2") for use in uses]).uses_hash
