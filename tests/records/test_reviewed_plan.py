"""A plan is reviewed, and later applied: only what it says, and of that only what is still true."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.plan import Decision, Plan, RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import RetentionPolicy, Rule
from acr_cleanup.core.reviewed import bound_to
from acr_cleanup.core.second_look import confirm
from acr_cleanup.core.steps import DeleteManifest, Step, Untag
from acr_cleanup.core.usage import ClusterScan, ImageUse
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.api import ClusterState
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.records import reviewed_plan as plan_file
from acr_cleanup.reports import json as report_json
from tests.entries.test_entrypoint import inline, installed  # noqa: F401  a fixture
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples
from tests.helpers.drawn_inventories import inventories, named_uses
from tests.helpers.generated_inventories import NOW, image, usage
from tests.helpers.jobs import Job
from tests.helpers.running import Ran
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Stage, always, impatient, staged

FRESH_DIGEST = f"sha256:{'f' * 64}"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Two old tags of `shop/web`, 1.0 and 1.1, which a plan deletes; 2.0 runs."""
    impatient(monkeypatch)
    async with staged(tmp_path, monkeypatch) as made:
        yield made


async def review(stage: Stage, **options: str) -> Path:
    """Plan, and put the plan where nothing else writes."""
    ran = await stage.tool.plan(stage.config, **options)
    assert ran.code == 0, ran.out
    path = stage.tool.folder / "reviewed.json"
    shutil.copy(stage.tool.folder / "report" / "plan.json", path)
    return path


async def apply(stage: Stage, path: Path, **options: str) -> Ran:
    ran = await stage.tool.apply(stage.config, **{"apply-plan": str(path)}, **options)
    always(ran, stage)
    return ran


def forge(path: Path, change: Callable[[dict[str, Any]], object], *, rehash: bool = True) -> None:
    """Change a plan as an attacker would, or (without a new hash) as somebody with an editor would."""
    plan = json.loads(path.read_text("utf-8"))
    change(plan)
    if rehash:
        plan["hash"] = hash_of(plan)
    path.write_text(json.dumps(plan), "utf-8")


def hash_of(plan: dict[str, Any]) -> str:
    """The published definition, by another JSON library."""
    rest = {key: value for key, value in plan.items() if key != "hash"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def refused(ran: Ran, *said: str) -> None:
    assert ran.code == 3, ran.out
    assert ran.report["verdict"] == "refused"
    assert ran.deleted == set()
    (refusal,) = ran.report["refusals"]
    for each in said:
        assert each in refusal


# -- what is done ---------------------------------------------------------------------------------------------


async def test_an_unchanged_world_gets_all_of_the_plan_and_the_reports_name_it(stage: Stage) -> None:
    path = await review(stage)
    written = path.read_bytes()

    ran = await apply(stage, path)

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    applied = ran.report["applied_plan"]
    plan = json.loads(written)
    assert applied == {"path": str(path), "created_at": plan["created_at"], "hash": plan["hash"]}
    assert plan["hash"][:19] in ran.out
    assert str(path) in ran.out.replace("\n", "")
    summary = (stage.tool.folder / "report" / "summary.md").read_text("utf-8")
    assert f"reviewed plan `{path}`" in summary
    assert plan["hash"][:19] in summary
    assert (stage.tool.folder / "report" / "plan.json").read_bytes() == written


async def test_without_a_reviewed_plan_the_report_names_none(stage: Stage) -> None:
    ran = await stage.tool.apply()

    assert ran.report["applied_plan"] is None
    assert "Bound to" not in ran.out


async def test_what_came_of_age_since_is_kept_for_nobody_has_reviewed_it(stage: Stage) -> None:
    """Also a whole repository, and a further tag of a manifest that was planned."""
    path = await review(stage)
    stage.registry.push(REPOSITORY, "1.2", age=OLD)
    stage.registry.push("shop/api", "1.0", age=OLD)
    stage.pod(stage.image("9.9", repository="shop/api"))
    stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), OLD)

    ran = await apply(stage, path)

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert set(stage.repository.tags) == {"1.2", "2.0", "alias"}
    assert stage.digest("alias") in stage.repository.manifests
    kept = {
        f"{repository['name']}:{each['tag']}": [reason["rule"] for reason in each["reasons"]]
        for repository in ran.report["repositories"]
        for each in repository["decisions"]
    }
    assert kept["shop/web:1.2"] == kept["shop/web:alias"] == kept["shop/api:1.0"] == ["unreviewed"]
    assert ran.report["counts"]["planned"] == 2
    assert "not in the reviewed plan" in ran.out


async def test_an_empty_plan_deletes_nothing(stage: Stage) -> None:
    path = await review(stage, **{"older-than": "1000d"})

    ran = await apply(stage, path)

    assert ran.code == 0
    assert set(stage.repository.tags) == {"1.0", "1.1", "2.0"}
    assert ran.report["counts"]["planned"] == 0


async def test_a_stricter_configuration_keeps_what_the_plan_would_delete(stage: Stage) -> None:
    path = await review(stage)

    ran = await apply(stage, path, **{"exclude-tags": "1.0"})

    assert ran.deleted == {"shop/web:1.1"}
    assert ran.outcomes("1.0") == {"kept"}


async def test_a_plan_of_all_is_applied_part_by_part_and_one_of_a_part_by_no_other(stage: Stage) -> None:
    """`shop/web` is in the second half. Every place that tells of a run says which part it was."""
    whole = await review(stage)
    stage.world.requests.clear()

    other = await apply(stage, whole, shard="1/2")

    assert other.code == 0
    assert other.deleted == set()
    assert other.report["repositories"] == other.report["outcomes"] == []
    assert not stage.world.matching(service="acr", path="/shop/web")

    path = await review(stage, shard="2/2")
    refused(await apply(stage, path, shard="1/2"), "is a plan for shard 2/2", "this run is shard 1/2", "set shard to")
    refused(await apply(stage, path, shard="2/3"), "is a plan for shard 2/2")
    ran = await apply(stage, path, shard="2/2")

    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert json.loads(path.read_text())["policy"]["shard"] == ran.report["policy"]["shard"] == "2/2"
    folder = stage.tool.folder / "report"
    assert json.loads((folder / "journal.jsonl").read_text().splitlines()[0])["parameters"]["shard"] == "2/2"
    summary = (folder / "summary.md").read_text("utf-8")
    assert summary.splitlines()[0].endswith(" · shard 2/2")
    for told in (summary, ran.out):
        assert "from contoso.azurecr.io (shard 2/2), freeing" in " ".join(told.split())


Change = Callable[[Stage], object]

BETWEEN: dict[str, tuple[Change, dict[str, str], set[str]]] = {
    "pushed again": (lambda s: s.registry.push(REPOSITORY, "1.0"), {"1.0": "moved", "1.1": "deleted"}, {"1.1"}),
    "pushed again with the same content": (
        lambda s: s.registry.tag(REPOSITORY, "1.0", s.digest("1.0"), YOUNG),
        {"1.0": "moved", "1.1": "deleted"},
        {"1.1"},
    ),
    "deployed": (
        lambda s: s.cluster.add(build.cronjob("shop", "report", [s.image("1.0")])),
        {"1.0": "in use now", "1.1": "deleted"},
        {"1.1"},
    ),
    "deployed by digest": (
        lambda s: s.pod(s.image(digest=s.digest("1.0"))),
        {"1.0": "in use now", "1.1": "deleted"},
        {"1.1"},
    ),
    "deleted by somebody else": (
        lambda s: s.repository.untag("1.0"),
        {"1.0": "gone", "1.1": "deleted"},
        {"1.0", "1.1"},
    ),
    "locked": (lambda s: s.registry.lock(REPOSITORY, "1.0"), {"1.0": "locked", "1.1": "deleted"}, {"1.1"}),
    "given a new name": (
        lambda s: s.registry.tag(REPOSITORY, "alias", s.digest("1.0"), YOUNG),
        {"1.0": "deleted", "1.1": "deleted"},
        {"1.0", "1.1"},
    ),
    "out of scope": (lambda s: s.cluster.objects.clear(), {"1.0": "kept", "1.1": "kept"}, set()),
    "gone with its repository": (
        lambda s: s.registry.repositories.pop(REPOSITORY),
        {"1.0": "gone", "1.1": "gone"},
        {"1.0", "1.1", "2.0"},
    ),
}


@pytest.mark.parametrize("name", BETWEEN)
async def test_what_changed_since_the_review_is_an_outcome(name: str, stage: Stage) -> None:
    change, outcomes, gone = BETWEEN[name]
    path = await review(stage)
    manifests = dict(stage.repository.manifests)
    change(stage)

    ran = await apply(stage, path)

    assert ran.code == 0, ran.out
    assert {tag: ran.outcomes(tag) for tag in outcomes} == {tag: {kind} for tag, kind in outcomes.items()}
    state = stage.registry.repositories.get(REPOSITORY)
    left = set(state.tags) if state is not None else set()
    assert {"1.0", "1.1", "2.0"} - left == gone
    assert ran.report["counts"]["planned"] == 2
    if name == "given a new name":
        assert state is not None
        assert len(set(manifests) - set(state.manifests)) == 1
        assert state.tags["alias"].digest in state.manifests


async def test_a_plan_can_be_applied_once_more_to_finish_it(stage: Stage) -> None:
    """What is gone already is no failure, and counts once."""
    path = await review(stage)
    await apply(stage, path)
    again = await apply(stage, path)

    assert again.code == 0
    assert again.deleted == set()
    assert again.outcomes("1.0") == again.outcomes("1.1") == {"gone"}


async def test_a_repository_that_cannot_be_read_now_fails_and_the_others_go_on(stage: Stage) -> None:
    stage.registry.push("shop/api", "1.0", age=OLD)
    stage.pod(stage.image("9.9", repository="shop/api"))
    path = await review(stage)
    stage.fault(service="acr", path="shop/api/_tags", status=500)

    ran = await apply(stage, path)

    assert ran.code == 1
    assert {str(each["repository"]): each["outcome"] for each in ran.report["outcomes"] if each["tag"]} == {
        "shop/api": "failed",
        "shop/web": "deleted",
    }
    assert "1.0" in stage.registry.repositories["shop/api"].tags


async def test_the_limits_hold_for_what_was_reviewed(stage: Stage) -> None:
    path = await review(stage)

    refused(await apply(stage, path, **{"max-deletions": "1"}), "max-deletions")
    refused(await apply(stage, path, **{"max-deletion-percent": "50"}), "max-deletion-percent")


async def test_a_cluster_that_cannot_be_read_now_blocks(stage: Stage) -> None:
    path = await review(stage)
    stage.cluster.power_state = "Stopped"

    ran = await apply(stage, path)

    assert ran.code == 3
    assert ran.blockers


# -- what is refused ------------------------------------------------------------------------------------------


def another_digest(plan: dict[str, Any]) -> None:
    plan["steps"][0]["digest"] = FRESH_DIGEST


async def test_an_edited_plan_is_refused(stage: Stage) -> None:
    path = await review(stage)
    forge(path, another_digest, rehash=False)

    ran = await apply(stage, path)

    refused(ran, "changed after it had been written", "Plan again")
    assert not stage.world.matching(service="acr", method="DELETE")


async def test_a_forged_plan_makes_nothing_else_go(stage: Stage) -> None:
    """Whoever can write the file can write its hash; what goes is decided by what is true."""
    path = await review(stage)
    (repository,) = json.loads((stage.tool.folder / "report" / "report.json").read_text("utf-8"))["repositories"]
    (two,) = (
        {"name": "2.0", "updated_at": each["updated_at"]} for each in repository["decisions"] if each["tag"] == "2.0"
    )

    def change(plan: dict[str, Any]) -> None:
        another_digest(plan)
        plan["steps"].append({**plan["steps"][1], "digest": stage.digest("2.0"), "tags": [two]})

    forge(path, change)
    ran = await apply(stage, path)

    assert ran.code == 0
    assert len(ran.deleted) == 1
    assert ran.outcomes("2.0") == {"in use now"}
    assert "2.0" in stage.repository.tags
    assert {"moved", "deleted"} == ran.outcomes("1.0") | ran.outcomes("1.1")


def made(**ago: float) -> Callable[[dict[str, Any]], None]:
    def change(plan: dict[str, Any]) -> None:
        plan["created_at"] = (datetime.now(UTC) - timedelta(**ago)).isoformat()

    return change


BLOCKER = {"where": "production", "call": "list pods", "seen": "403", "remedy": "Give the right."}

REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], tuple[str, ...]]] = {
    "another registry": (lambda plan: plan.update(registry="fabrikam.azurecr.io"), ("fabrikam.azurecr.io",)),
    "too old": (made(days=8), ("8d ago", "plan-max-age allows 7d", "Plan again")),
    "made tomorrow": (made(days=-1, minutes=-1), ("1d from now", "clocks", "lan again")),
    "made with blockers": (lambda plan: plan["blockers"].append(BLOCKER), ("production", "lan again")),
    "based on another cluster": (
        lambda plan: plan["clusters"].append({**plan["clusters"][0], "name": "old", "resource_id": None}),
        ("the cluster old", "not configured any more"),
    ),
    "based on a cluster that was replaced by one of its name": (
        lambda plan: plan["clusters"][0].update(resource_id=plan["clusters"][0]["resource_id"] + "-blue"),
        ("-blue", "not configured any more"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_plan_that_nobody_can_rely_on_is_refused_before_anything_is_read(name: str, stage: Stage) -> None:
    change, said = REFUSED[name]
    path = await review(stage)
    forge(path, change)
    stage.world.requests.clear()

    ran = await apply(stage, path)

    refused(ran, *said)
    assert stage.world.requests == []
    assert "Plan again" in ran.out


async def test_clocks_may_differ_a_little_and_a_plan_may_be_as_old_as_allowed(stage: Stage) -> None:
    for ago, options in (
        ({"minutes": -4}, {}),
        ({"days": 6.9}, {}),
        ({"days": 20}, {"plan-max-age": "21d"}),
    ):
        path = await review(stage)
        forge(path, made(**ago))
        ran = await apply(stage, path, **options, **{"exclude-tags": "1.*"})
        assert ran.code == 0, (ago, ran.out)


async def test_a_cluster_may_be_called_otherwise_since_and_others_may_be_new(stage: Stage) -> None:
    path = await review(stage)
    stage.another("second")
    stage.world.clusters["renamed"] = stage.world.clusters.pop("production")

    ran = await apply(stage, path)

    assert ran.code == 0
    assert len(ran.deleted) == 2


# -- what is no plan ------------------------------------------------------------------------------------------


@pytest.fixture
def plan_json(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text("".join(report_json.render_plan(samples.result(samples.small()))), "utf-8")
    return path


def step(**members: object) -> Callable[[dict[str, Any]], None]:
    return lambda plan: plan["steps"][0].update(members)


def tag(**members: object) -> Callable[[dict[str, Any]], None]:
    return lambda plan: plan["steps"][0]["tags"][0].update(members)


def cycle(plan: dict[str, Any]) -> None:
    one, two = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    delete = {"verb": "delete manifest", "repository": "shop/web", "tags": [], "locks": []}
    plan["steps"] = [{**delete, "digest": one, "after": [two]}, {**delete, "digest": two, "after": [one]}]


NO_PLANS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a path as a repository": step(repository="../../oauth2"),
    "a repository that climbs": step(repository="shop/../web"),
    "a repository with a query": step(repository="shop/web?x=1"),
    "a repository with a line break": step(repository="shop/web\n"),
    "a repository that is endless": step(repository="a" * 300),
    "no repository": step(repository=""),
    "a tag with a line break": tag(name="1.0\n::error::owned"),
    "a tag that ends with a line break": tag(name="1.0\n"),
    "a tag that is a path": tag(name="../1.0"),
    "a tag that is a digest": tag(name=FRESH_DIGEST),
    "a tag of 129 characters": tag(name="x" * 129),
    "a tag with an escape": tag(name="\x1b[31m"),
    "a time without its zone": tag(updated_at="2026-01-01T00:00:00"),
    "a digest that is none": step(digest="sha256:abc"),
    "something else to wait for": step(after=["../x"]),
    "another verb": step(verb="delete repository"),
    "an untag of nothing": step(tags=[]),
    "an unknown member": step(force=True),
    "an unknown member at the top": lambda plan: plan.update(force=True),
    "the same step twice": lambda plan: plan["steps"].append(plan["steps"][0]),
    "steps that wait for one another": cycle,
    "a repository in two places": lambda plan: plan["steps"].extend(
        [{**plan["steps"][0], "repository": "other"}, {**plan["steps"][0], "tags": [{"name": "x", "updated_at": None}]}]
    ),
    "another version of the form": lambda plan: plan.update(schema_version=1),
    "steps that are none": lambda plan: plan.update(steps={}),
    "no steps": lambda plan: plan.pop("steps"),
    "a hash that is none": lambda plan: plan.update(schema_version=2, hash="md5"),
}


def no_plan(path: Path, *said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_file.read(path, "--plan")
    (problem,) = caught.value.problems
    assert problem.path == "--plan"
    assert "plan.json" in problem.remedy
    assert problem.seen.isprintable()
    assert len(problem.seen) < 1000
    for each in said:
        assert each in problem.seen


@pytest.mark.parametrize("name", NO_PLANS)
def test_what_no_plan_can_say_is_no_plan(name: str, plan_json: Path) -> None:
    """Also with the right hash: names that are none must not come as far as a request."""
    plan_file.read(plan_json, "--plan")
    forge(plan_json, NO_PLANS[name], rehash=name != "a hash that is none")

    no_plan(plan_json)


def test_every_part_of_a_plan_is_no_plan(plan_json: Path) -> None:
    whole = plan_json.read_bytes().rstrip()
    for length in range(0, len(whole), 97):
        plan_json.write_bytes(whole[:length])
        no_plan(plan_json)


def test_one_changed_byte_is_noticed(plan_json: Path) -> None:
    """Whichever it is; what is left may be no plan, but never one that seems to be whole."""
    whole = plan_json.read_bytes()
    blanks = set(b" \n")
    for place in range(0, len(whole), 13):
        if whole[place] in blanks:
            continue
        plan_json.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with suppress(ConfigurationError):
            assert not plan_file.read(plan_json, "--plan").intact, place


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "2", "[" * 100_000, '{"schema_version": 2, "steps": ' + "[" * 100_000, "\x00", "<html>",
     '{"schema_version": "2", "steps": []}', '{"schema_version": 2, "steps": [], "hash": "\\ud800"}'],
)  # fmt: skip
def test_other_files_are_no_plans(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text, "utf-8")

    no_plan(path)


def test_a_report_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("".join(report_json.render(samples.planned())), "utf-8")

    no_plan(path)


def test_bytes_that_are_no_text_are_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"\xff\xfe{}")

    no_plan(path)


def test_what_is_no_file_or_a_huge_one_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(plan_file.MAX_BYTES + 1)

    no_plan(huge, "larger than 512 MiB")
    no_plan(tmp_path, "no file")
    no_plan(Path("/dev/zero"), "no file")
    no_plan(tmp_path / "missing.json", "no such file")
    no_plan(Path("nul\x00l"), "cannot be read")


# -- what is written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", samples.ALL)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    result = samples.ALL[name]()
    path = tmp_path / "plan.json"
    path.write_text("".join(report_json.render_plan(result)), "utf-8")

    found = plan_file.read(path, "--plan")

    assert found.intact
    assert found.hash == hash_of(json.loads(path.read_bytes()))
    assert found.created_at == result.plan.created_at
    assert bool(found.blockers) == bool(result.plan.blockers or result.blockers or result.plan.usage.blockers)
    steps = [step for each in result.plan.repositories for step in each.steps]
    assert [told(step) for each in found.repositories for step in each.steps] == [told(step) for step in steps]
    assert sum(len(each.deletions) for each in found.repositories) == result.plan.planned


def told(step: Step) -> tuple[object, ...]:
    size = (step.manifest.media_type, step.manifest.size) if isinstance(step, DeleteManifest) else ()
    return (type(step), step.digest, [(tag.name, tag.updated_at) for tag in step.tags], step.after, step.locks, *size)


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_a_plan_of_hostile_names_can_be_hashed_and_shows_nothing(world: str, tmp_path: Path) -> None:
    """What the registry's grammar forbids is then no plan; it never is one that is taken for edited."""
    text = "".join(report_json.render_plan(hostile.WORLDS[world]()))
    path = tmp_path / "plan.json"
    path.write_text(text, "utf-8")

    assert text.isascii()
    assert "##" not in text
    loaded = json.loads(text)
    assert loaded["hash"] == hash_of(loaded)


def test_a_plan_streams() -> None:
    pieces = list(report_json.render_plan(samples.partial()))

    assert len(pieces) > 290
    assert max(map(len, pieces)) < 5000


def test_what_was_used_is_in_the_hash_of_a_cluster_in_whatever_order() -> None:
    uses = samples.deployed("shop/web", "1.0", "web")

    def evidence(found: Iterable[ImageUse]) -> dict[str, Any]:
        return report_json._evidence(ClusterScan("production", tuple(found)))

    assert evidence(uses) == evidence(reversed(uses))
    assert evidence(uses)["uses_hash"] != evidence([replace(uses[0], field="spec"), *uses[1:]])["uses_hash"]
    assert (
        evidence(uses)["uses_hash"] != evidence([replace(uses[0], running=not uses[0].running), *uses[1:]])["uses_hash"]
    )


# -- in every world -------------------------------------------------------------------------------------------


@st.composite
def forged(draw: st.DrawFn, repository: RepositoryInventory) -> tuple[Step, ...]:
    """Steps that no plan would have, of what the repository holds."""
    steps: list[Step] = []
    for each in draw(st.lists(st.sampled_from(repository.tags or [None]), unique=True, max_size=4)):
        if each is not None:
            as_manifest = draw(st.booleans()) and all(step.digest != each.digest for step in steps)
            steps.append(DeleteManifest(replace(image(1), digest=each.digest), (each,)) if as_manifest else Untag(each))
    return tuple(steps)


@settings(max_examples=150, deadline=None)
@given(
    then=inventories(), now=inventories(), before=named_uses(), uses=named_uses(), same=st.booleans(), data=st.data()
)
def test_what_is_done_is_in_the_reviewed_plan_and_in_the_one_of_now(
    then: RepositoryInventory,
    now: RepositoryInventory,
    before: list[ImageUse],
    uses: list[ImageUse],
    same: bool,
    data: st.DataObject,
) -> None:
    """Promise 7, and for plans that somebody forged as well."""
    now = then if same else now
    reviewed = plan_repository(then, usage(*before), RetentionPolicy(), NOW)
    if data.draw(st.booleans()):
        steps = data.draw(forged(now))
        reviewed = RepositoryPlan(
            then.name, decisions=tuple(Decision(each) for step in steps for each in step.tags), steps=steps
        )
    fresh = plan_repository(now, usage(*uses), RetentionPolicy(), NOW)
    whole = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage(*uses), (fresh,))

    told = RepositoryPlan(then.name, decisions=reviewed.deletions, steps=reviewed.steps)
    (bound,) = bound_to((told,), whole).repositories
    confirmed = confirm(bound.steps, fresh, now)

    planned = {each.name for step in reviewed.steps for each in step.tags}
    wanted = {each.tag.name for each in fresh.deletions}
    done: set[str] = set()
    for step in confirmed.steps:
        gone = now.tags_of.get(step.digest, ()) if isinstance(step, DeleteManifest) else step.tags
        done |= {each.name for each in gone}
        if isinstance(step, DeleteManifest):
            assert step.digest in {each.digest for each in reviewed.steps if isinstance(each, DeleteManifest)}
            assert step.digest in {each.digest for each in fresh.manifests}
    assert done <= planned & wanted
    # Nothing is dropped without a word.
    assert planned == done | {outcome.tag for outcome in confirmed.outcomes if outcome.tag is not None}
    assert {each.tag.name for each in bound.deletions} == planned
    assert all(
        [reason.rule for reason in each.reasons] == [Rule.UNREVIEWED] for each in bound.kept if each.tag.name in wanted
    )
    assert all(outcome.kind is not OutcomeKind.FAILED for outcome in confirmed.outcomes)


# -- the plan of one job, applied in another --------------------------------------------------------------------


@pytest.fixture
async def jobs(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[tuple[Job, Job]]:  # noqa: F811
    """Two jobs of one workflow, each on a machine of its own."""
    world = World(face="proxy")
    for name in ("1.0", "1.1", "2.0"):
        world.registry.push("shop/web", name, age=OLD)
    world.clusters["production"] = cluster = ClusterState("aks-prod")
    async with Emulator(world) as emulator:
        cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "2.0")]))
        made = []
        for name in ("plan", "delete"):
            (tmp_path / name).mkdir()
            made.append(Job(emulator, tmp_path / name, *installed))
        made[0].trust()
        yield made[0], made[1]


def hand_over(first: Job, second: Job) -> None:
    """What upload-artifact and download-artifact do."""
    shutil.copytree(first.workspace / "acr-cleanup", second.workspace / "acr-cleanup")


async def test_the_plan_of_a_dry_run_is_applied_in_a_second_job(jobs: tuple[Job, Job]) -> None:
    first, second = jobs
    planned = await first.run(inline(first))
    hand_over(first, second)
    first.world.registry.push("shop/web", "1.2", age=OLD)

    step = await second.run(inline(second, dry_run="false", apply_plan="acr-cleanup/plan.json"))

    assert step.code == 0, step.log.text
    assert step.deleted == step.planned == planned.planned == {"shop/web:1.0", "shop/web:1.1"}
    assert step.outputs["planned-count"] == "2"
    assert step.report["applied_plan"]["path"] == "acr-cleanup/plan.json"
    assert "Bound to the reviewed plan `acr-cleanup/plan.json`" in step.summary
    assert (second.workspace / "acr-cleanup/plan.json").read_bytes() == (
        first.workspace / "acr-cleanup/plan.json"
    ).read_bytes()


async def test_a_plan_that_did_not_arrive_stops_the_job(jobs: tuple[Job, Job]) -> None:
    step = await jobs[1].run(inline(jobs[1], dry_run="false", apply_plan="acr-cleanup/plan.json"))

    assert step.code == 2
    assert step.outputs["result"] == "failed"
    (annotation,) = step.log.of("error")
    assert annotation.title == "apply-plan"
    assert "no such file" in annotation.message
    assert jobs[1].world.count(service="acr") == 0


async def test_an_edited_plan_stops_the_job(jobs: tuple[Job, Job]) -> None:
    first, second = jobs
    await first.run(inline(first))
    hand_over(first, second)
    forge(second.workspace / "acr-cleanup/plan.json", another_digest, rehash=False)

    step = await second.run(inline(second, dry_run="false", apply_plan="acr-cleanup/plan.json"))

    assert step.code == 3
    assert step.outputs["result"] == "aborted"
    assert "Why it is refused" in step.summary
    assert "Would delete" not in step.summary  # nothing was read, so there is nothing to count
    assert second.world.count(service="acr", method="DELETE") == 0


async def test_a_dry_run_says_that_it_takes_no_plan(jobs: tuple[Job, Job]) -> None:
    step = await jobs[0].run(inline(jobs[0], apply_plan="missing.json"))

    assert step.code == 0
    assert any("apply-plan" in each.message for each in step.log.of("notice"))
    assert len(step.planned) == 2


# -- on the command line ----------------------------------------------------------------------------------------


async def acr_cleanup(job: Job, *arguments: str) -> tuple[int, str]:
    """Type it, in the folder of the job."""
    process = await asyncio.create_subprocess_exec(
        job.python, "-I", "-m", "acr_cleanup", *arguments,
        cwd=job.workspace, env={"PATH": "/usr/bin:/bin", "HOME": str(job.folder), "COLUMNS": "150", **job.emulator.environment()},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in out, out.decode()
    return process.returncode or 0, out.decode()


async def test_plan_out_and_apply_plan_are_made_for_one_another(jobs: tuple[Job, Job]) -> None:
    """With the default configuration file, or one that is named, and an age."""
    job = jobs[0]
    job.write_config(name="acr-cleanup.json")

    code, out = await acr_cleanup(job, "plan", "--out", "monday.json")
    assert code == 0, out
    assert "apply acr-cleanup.json --plan monday.json" in out
    job.world.registry.push("shop/web", "1.2", age=OLD)
    code, out = await acr_cleanup(job, "apply", "acr-cleanup.json", "60", "--plan", "monday.json")
    assert code == 0, out
    assert set(job.world.registry.repositories["shop/web"].tags) == {"1.2", "2.0"}
    code, out = await acr_cleanup(job, "apply", "--plan", "monday.json", "--plan-max-age", "0d")
    assert code == 3, out
    assert "plan acr-cleanup.json --plan-max-age 0d --out monday.json" in out
    code, out = await acr_cleanup(job, "apply", "--plan", "tuesday.json")
    assert code == 2, out
    assert "no such file" in out
