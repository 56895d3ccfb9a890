"""Verification: all tags and digests in use can be pulled, before and after a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.verification import Proof
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.errors import RegistryError
from acr_cleanup.stages import verify as verify_stage
from acr_cleanup.stages.registry_port import Registry
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, inventory, tag, usage, use
from tests.helpers.in_memory_world import serving
from tests.helpers.tool_runs import RunResult, Tool

OLD = timedelta(days=100)


@pytest.fixture
async def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """
    Serve `shop/web`, of which a run deletes the tag 1.0.

    Kept are 2.0 (running), multi (a running index), spare (a young index), and young.
    """
    monkeypatch.setattr(verify_stage, "SETTLE", 0.05)
    world = World(face="proxy")
    registry = world.registry
    registry.push("shop/web", "1.0", age=OLD)
    registry.push("shop/web", "2.0", age=OLD)
    registry.push("shop/web", "young", age=timedelta(days=1))
    for name, age in (("multi", OLD), ("spare", timedelta(days=1))):
        children = [registry.push("shop/web", age=OLD, architecture=machine) for machine in ("amd64", "arm64")]
        registry.push_index("shop/web", name, children=children, age=age)
    cluster = ClusterState("aks-prod")
    cluster.run(build.deployment("shop", "web", [registry.image("shop/web", "2.0")]))
    cluster.run(build.deployment("shop", "multi", [registry.image("shop/web", "multi")]))
    world.clusters["production"] = cluster
    async with serving(world, tmp_path, monkeypatch) as served:
        yield served


def children_of(tool: Tool, tag: str) -> tuple[str, ...]:
    repository = tool.world.registry.repositories["shop/web"]
    return repository.manifests[repository.tags[tag].digest].children


def change_after_first_deletion(tool: Tool, change: Callable[[Any], None]) -> None:
    """Change the repository `shop/web` right after the first deletion."""

    async def run_change(_request: object) -> None:
        change(tool.world.registry.repositories["shop/web"])

    tool.world.faults.append(Fault(service="acr", method="DELETE", after_handler=run_change, times=1))


def broken_names(ran: RunResult) -> list[dict[str, Any]]:
    return list(ran.report["proof"]["broken"])


# -- a run without problems ----------------------------------------------------------------------


async def test_successful_run_is_verified(tool: Tool) -> None:
    """Output and summary say so in one line."""
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.0"}
    assert ran.report["proof"]["holds"]
    assert ran.report["proof"]["references"] >= 2
    assert "references in use (1 repository) can still be pulled." in ran.out
    assert "can still be pulled" in (tool.folder / "report" / "summary.md").read_text(encoding="utf-8")


async def test_verification_lists_changed_repositories_once(tool: Tool) -> None:
    """It sends two requests for each of them, after those of the plan and the second look."""
    tool.world.registry.push("idle/thing", "1.0", age=timedelta(days=1))
    image = tool.world.registry.image("idle/thing", "1.0")
    tool.world.clusters["production"].run(build.deployment("shop", "idle", [image]))
    await tool.apply(verify="true")

    assert tool.world.count(service="acr", path="shop/web/_tags$", method="GET") == 3
    assert tool.world.count(service="acr", path="shop/web/_manifests$", method="GET") == 3
    assert tool.world.count(service="acr", path="idle/thing/_tags", method="GET") == 1


async def test_verification_is_skipped_without_verify_or_deletions(tool: Tool) -> None:
    ran = await tool.apply(verify="false")
    assert (ran.code, ran.report["proof"]) == (0, None)

    second = await tool.apply()
    assert (second.code, second.report["proof"]) == (0, None)
    assert "Verified" not in second.out


# -- deletions without effect --------------------------------------------------------------------


async def test_accepted_deletion_without_effect_is_noted(tool: Tool) -> None:
    """The run succeeds: a replica may only lag behind. A deletion that failed is not noted."""
    tool.world.registry.push("shop/web", "0.9", age=OLD)
    ignored = tool.world.registry.repositories["shop/web"].tags["0.9"].digest
    failing = tool.world.registry.push("shop/web", "0.8", age=OLD)
    tool.world.faults += [
        Fault(service="acr", method="DELETE", path=ignored, status=202),
        Fault(service="acr", method="DELETE", path=failing, status=409),
    ]

    ran = await tool.apply()

    notes = ran.report["proof"]["notes"]
    assert [note.partition(" ")[0] for note in notes] == ["shop/web:0.9", f"shop/web@{ignored}"]
    assert all("still exists, although the registry accepted its deletion" in note for note in notes)
    assert "shop/web:0.9 still exists" in " ".join(ran.out.split())


async def test_deletion_that_lists_show_late_is_not_noted(tool: Tool) -> None:
    digest = tool.world.registry.repositories["shop/web"].tags["1.0"].digest
    stale = {"tags": [{"name": "1.0", "digest": digest}], "imageName": "shop/web"}
    change_after_first_deletion(
        tool,
        lambda _: tool.world.faults.append(
            Fault(service="acr", path="shop/web/_tags$", status=200, body=stale, times=1)
        ),
    )

    ran = await tool.apply()

    assert (ran.code, ran.report["proof"]["notes"]) == (0, [])


# -- broken names --------------------------------------------------------------------------------


async def test_lost_tag_in_use_fails_the_run(tool: Tool) -> None:
    """
    Another client deleted it.

    The reports name its uses and the command to restore this run's deletions.
    """
    change_after_first_deletion(tool, lambda repository: repository.delete_manifest(repository.tags["2.0"].digest))
    ran = await tool.apply()

    assert ran.code == 1
    assert ran.report["verdict"] == "partial"
    first = ran.out.splitlines()[0]
    assert first.startswith("Broken: shop/web:2.0 can no longer be pulled (not deleted by this run)")
    assert "used by production/shop/Deployment/web" in " ".join(ran.out.split())
    by_tag = {name["tag"]: name for name in broken_names(ran)}
    assert {use["name"] for use in by_tag["2.0"]["uses"]} == {"web"}
    assert by_tag["2.0"]["deleted_by_this_run"] is False
    command = f"acr-cleanup restore {tool.folder / 'report' / 'journal.jsonl'}"
    assert "To restore what was deleted: acr-cleanup restore" in " ".join(ran.out.split())
    summary = (tool.folder / "report" / "summary.md").read_text(encoding="utf-8")
    assert command in summary
    assert "Broken references" in summary
    assert (tool.folder / "report" / "journal.jsonl").exists()


async def test_lost_tag_fails_the_run_with_any_fail_on(tool: Tool) -> None:
    change_after_first_deletion(tool, lambda repository: repository.untag("2.0"))

    assert (await tool.apply(**{"fail-on": "planned-deletions"})).code == 1


@pytest.mark.parametrize(("tag", "users"), [("multi", {"multi"}), ("spare", set())])
async def test_lost_child_of_a_kept_index_fails_the_run(tool: Tool, tag: str, users: set[str]) -> None:
    child = children_of(tool, tag)[1]
    change_after_first_deletion(tool, lambda repository: repository.delete_manifest(child))
    ran = await tool.apply()

    assert ran.code == 1
    (broken,) = broken_names(ran)
    assert broken["digest"] == child
    assert f"shop/web:{tag}, which was kept, lists it" in broken["seen"]
    assert {use["name"] for use in broken["uses"]} == users


async def test_lost_unused_tag_is_a_note(tool: Tool) -> None:
    """Another client deleted it."""
    change_after_first_deletion(tool, lambda repository: repository.untag("young"))
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.report["proof"]["notes"] == ["shop/web:young no longer exists; this run did not delete it."]
    assert "Changed by others during the run" in ran.out


# -- names that exist ----------------------------------------------------------------------------


async def test_unlisted_tag_is_requested_before_it_is_reported(tool: Tool) -> None:
    def hide(repository: Any) -> None:
        for item in (repository.tags["2.0"], repository.manifests[repository.tags["2.0"].digest]):
            item.attributes = type(item.attributes)(list=False)
        repository.forget_orders()

    change_after_first_deletion(tool, hide)
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.report["proof"]["holds"]


@pytest.mark.parametrize("name", ["young", "spare", "hidden"])
async def test_unlisted_manifest_that_cannot_be_pulled_is_not_broken(tool: Tool, name: str) -> None:
    """It exists as before: the registry has its attributes, and never had its body."""
    registry, cluster = tool.world.registry, tool.world.clusters["production"]
    registry.push("shop/web", "hidden", age=OLD)
    cluster.run(build.deployment("shop", "hidden", [registry.image("shop/web", "hidden")]))
    digest = registry.repositories["shop/web"].tags[name].digest
    registry.ghost("shop/web", digest)
    registry.lock("shop/web", digest, list=False)
    if name == "hidden":
        registry.lock("shop/web", name, list=False)
    ran = await tool.apply()

    assert ran.deleted == {"shop/web:1.0"}
    assert ran.code == 0, ran.out
    assert ran.report["proof"]["holds"]
    assert ran.report["proof"]["notes"] == []


async def test_missing_tag_is_requested_again_after_a_pause(tool: Tool) -> None:
    """A replica may lag behind."""

    def lag(repository: Any) -> None:
        tag = repository.untag("2.0")

        async def catch_up(_request: object) -> None:
            repository.tag("2.0", tag.digest, tag.updated)

        tool.world.faults.append(Fault(service="acr", path="/manifests/2.0$", after_handler=catch_up, times=1))

    change_after_first_deletion(tool, lag)
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.report["proof"]["holds"]


# -- no verification -----------------------------------------------------------------------------


async def test_unreadable_registry_leaves_the_run_unverified(tool: Tool) -> None:
    """The run fails, and says so."""

    def refuse_reading(_repository: Any) -> None:
        tool.world.faults.append(Fault(service="acr", method="GET", status=403))

    change_after_first_deletion(tool, refuse_reading)
    ran = await tool.apply()

    assert ran.code == 1
    assert ran.deleted == {"shop/web:1.0"}
    assert ran.report["proof"]["unproven"]
    assert "Verification incomplete: " in ran.out
    assert "can still be pulled." not in ran.out.splitlines()[0]


async def test_stopped_run_skips_the_verification() -> None:
    """It sends no request, and does not claim success."""

    class RegistryWithoutRequests:
        async def list_names(self, name: str, _: object = None) -> Any:
            raise AssertionError(name)

        async def resolves(self, repository: str, name: str) -> bool:
            raise AssertionError(repository, name)

    witness, stop = verify_stage.Witness(), asyncio.Event()
    witness.look(inventory([tag("1.0", 1)]), usage())
    stop.set()
    deleted = [Outcome(REPOSITORY, d(1), "1.0", OutcomeKind.DELETED)]

    proof = await verify_stage.verify(PLAN, witness, deleted, cast("Registry", RegistryWithoutRequests()), stop)

    assert proof is not None
    assert proof.skipped
    assert not proof.holds


async def test_name_that_the_registry_does_not_answer_for_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    class SilentRegistry:
        async def resolves(self, repository: str, name: str) -> bool:
            raise RegistryError(f"no answer about {repository}:{name}.")

    caplog.set_level("DEBUG", "acr_cleanup")
    [missing] = await verify_stage.find_missing(
        inventory([]), usage(use("1.0"), runs=False), cast("Registry", SilentRegistry())
    )

    assert missing.name == "1.0"
    assert caplog.messages == [f"looking for {missing}"]
    assert caplog.records[0].exc_info is not None


class FailingRegistry:
    async def list_names(self, name: str, _: object = None) -> Any:
        raise ValueError(f"a bug in {name}")


def seen(*names: str) -> verify_stage.Witness:
    witness = verify_stage.Witness()
    for name in names:
        witness.look(replace(inventory([tag("1.0", 1)]), name=name), usage())
    return witness


PLAN = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage())


async def test_unexpected_error_leaves_the_run_unverified() -> None:
    """It must not hide what was deleted."""
    deleted = [Outcome(REPOSITORY, d(1), "1.0", OutcomeKind.DELETED)]
    registry = cast("Registry", FailingRegistry())

    proof = await verify_stage.verify(PLAN, seen(REPOSITORY), deleted, registry, asyncio.Event())

    assert proof == Proof(unproven=(f"unexpected: ValueError: a bug in {REPOSITORY}",))


@pytest.mark.parametrize(
    "kind", [kind for kind in OutcomeKind if kind not in {OutcomeKind.DELETED, OutcomeKind.FAILED}]
)
async def test_run_that_deleted_nothing_is_not_verified(kind: OutcomeKind) -> None:
    """Also if another client deleted what was planned, or if the first look at the repository failed."""
    outcomes = [Outcome(REPOSITORY, d(1), "1.0", kind), Outcome("shop/api", d(1), None, OutcomeKind.FAILED)]
    registry = cast("Registry", FailingRegistry())

    assert await verify_stage.verify(PLAN, seen(REPOSITORY), outcomes, registry, asyncio.Event()) is None


# -- names that are missing before the run -------------------------------------------------------


async def test_missing_names_in_use_are_reported(tool: Tool) -> None:
    """By plan and apply, with their uses."""
    registry, cluster = tool.world.registry, tool.world.clusters["production"]
    cluster.run(build.deployment("shop", "lost", [registry.image("shop/web", "lost")]))
    cluster.run(build.deployment("shop", "nowhere", [registry.image("shop/nowhere", "1.0")]))
    for ran in (await tool.plan(), await tool.apply()):
        assert ran.code == 0
        missing = {(name["repository"], name["tag"]): name for name in ran.report["missing"]}
        assert set(missing) == {("shop/web", "lost"), ("shop/nowhere", "1.0")}
        assert {use["name"] for use in missing["shop/web", "lost"]["uses"]} == {"lost"}
        assert "In use, but not in the registry" in ran.out
        assert "production/shop/Deployment/lost" in ran.out

    assert (await tool.plan(**{"fail-on": "warnings"})).code == 1


async def test_unlisted_name_in_use_is_not_missing(tool: Tool) -> None:
    registry, cluster = tool.world.registry, tool.world.clusters["production"]
    digest = registry.push("shop/web", "hidden", age=OLD)
    repository = registry.repositories["shop/web"]
    for item in (repository.tags["hidden"], repository.manifests[digest]):
        item.attributes = type(item.attributes)(list=False)
    cluster.run(build.deployment("shop", "hidden", [registry.image("shop/web", "hidden")]))

    assert (await tool.plan()).report["missing"] == []
