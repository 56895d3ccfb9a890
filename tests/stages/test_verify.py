"""The look afterwards, end to end: an ordinary run is proven, and a saboteur is found out; and exact sizes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.policy import RetentionPolicy
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.stages import verify as proof
from acr_cleanup.stages.registry_port import Registry
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, inventory, tag, usage
from tests.helpers.tool_runs import Ran, Tool, serving

OLD = timedelta(days=100)


@pytest.fixture
async def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """One old build that goes; beside it a tag that runs, an index that runs, one that is kept for its age, a kept tag."""
    monkeypatch.setattr(proof, "SETTLE", 0.05)
    world = World(face="proxy")
    registry = world.registry
    registry.push("shop/web", "1.0", age=OLD)
    registry.push("shop/web", "2.0", age=OLD)
    registry.push("shop/web", "young", age=timedelta(days=1))
    children = [registry.push("shop/web", age=OLD, architecture=each) for each in ("amd64", "arm64")]
    registry.push_index("shop/web", "multi", children=children, age=OLD)
    others = [registry.push("shop/web", age=OLD, architecture=each) for each in ("amd64", "arm64")]
    registry.push_index("shop/web", "spare", children=others, age=timedelta(days=1))
    cluster = ClusterState("aks-prod")
    cluster.run(build.deployment("shop", "web", [registry.image("shop/web", "2.0")]))
    cluster.run(build.deployment("shop", "multi", [registry.image("shop/web", "multi")]))
    world.clusters["production"] = cluster
    async with serving(world, tmp_path, monkeypatch) as served:
        yield served


def children_of(tool: Tool, tag: str) -> tuple[str, ...]:
    state = tool.world.registry.repositories["shop/web"]
    return state.manifests[state.tags[tag].digest].children


def sabotage(tool: Tool, what: Callable[[Any], None]) -> None:
    """Do this to the repository as soon as the first deletion is through."""

    async def strike(_: object) -> None:
        what(tool.world.registry.repositories["shop/web"])

    tool.world.faults.append(Fault(service="acr", method="DELETE", after_handler=strike, times=1))


def broken(ran: Ran) -> list[dict[str, Any]]:
    return list(ran.report["proof"]["broken"])


async def test_an_ordinary_run_is_proven_in_one_line(tool: Tool) -> None:
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.deleted == {"shop/web:1.0"}
    assert ran.report["proof"]["holds"]
    assert ran.report["proof"]["references"] >= 2
    assert "references in use (1 repository) can still be pulled." in ran.out
    assert "can still be pulled" in (tool.folder / "report" / "summary.md").read_text(encoding="utf-8")


async def test_the_proof_takes_two_requests_for_each_repository_in_which_something_went(tool: Tool) -> None:
    tool.world.registry.push("idle/thing", "1.0", age=timedelta(days=1))
    image = tool.world.registry.image("idle/thing", "1.0")
    tool.world.clusters["production"].run(build.deployment("shop", "idle", [image]))
    await tool.apply(verify="true")

    assert tool.world.count(service="acr", path="shop/web/_tags$", method="GET") == 3
    assert tool.world.count(service="acr", path="shop/web/_manifests$", method="GET") == 3
    assert tool.world.count(service="acr", path="idle/thing/_tags", method="GET") == 1


async def test_without_verify_or_without_deletions_nobody_looks(tool: Tool) -> None:
    ran = await tool.apply(verify="false")
    assert (ran.code, ran.report["proof"]) == (0, None)

    again = await tool.apply()
    assert (again.code, again.report["proof"]) == (0, None)
    assert "Verified" not in again.out


async def test_a_used_tag_that_goes_meanwhile_fails_the_run_and_names_who_uses_it(tool: Tool) -> None:
    sabotage(tool, lambda state: state.delete_manifest(state.tags["2.0"].digest))
    ran = await tool.apply()

    assert ran.code == 1
    assert ran.report["verdict"] == "partial"
    first = ran.out.splitlines()[0]
    assert first.startswith("Broken: shop/web:2.0 cannot be pulled any more (not deleted by this run)")
    assert "used by production/shop/Deployment/web" in " ".join(ran.out.split())
    names = {each["tag"]: each for each in broken(ran)}
    assert {use["name"] for use in names["2.0"]["uses"]} == {"web"}
    assert names["2.0"]["deleted_by_this_run"] is False
    way_back = f"acr-cleanup restore {tool.folder / 'report' / 'journal.jsonl'}"
    assert "To restore what was deleted: acr-cleanup restore" in " ".join(ran.out.split())
    summary = (tool.folder / "report" / "summary.md").read_text(encoding="utf-8")
    assert way_back in summary
    assert "Broken references" in summary
    assert (tool.folder / "report" / "journal.jsonl").exists()


async def test_no_setting_waves_through_what_is_broken(tool: Tool) -> None:
    sabotage(tool, lambda state: state.untag("2.0"))

    assert (await tool.apply(**{"fail-on": "planned-deletions"})).code == 1


@pytest.mark.parametrize(("tag", "users"), [("multi", {"multi"}), ("spare", set())])
async def test_a_registry_that_takes_a_child_of_a_kept_index_along_is_found_out(
    tool: Tool, tag: str, users: set[str]
) -> None:
    child = children_of(tool, tag)[1]
    sabotage(tool, lambda state: state.delete_manifest(child))
    ran = await tool.apply()

    assert ran.code == 1
    (found,) = broken(ran)
    assert found["digest"] == child
    assert f"shop/web:{tag}, which was to stay, lists it" in found["seen"]
    assert {use["name"] for use in found["uses"]} == users


async def test_a_kept_tag_that_somebody_else_deletes_is_a_note(tool: Tool) -> None:
    sabotage(tool, lambda state: state.untag("young"))
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.report["proof"]["notes"] == ["shop/web:young is gone; this run did not delete it."]
    assert "Changed by others during the run" in ran.out


async def test_a_list_that_lags_behind_breaks_nothing(tool: Tool) -> None:
    """What is not listed is asked for by itself before anybody is alarmed."""

    def hide(state: Any) -> None:
        for each in (state.tags["2.0"], state.manifests[state.tags["2.0"].digest]):
            each.attributes = type(each.attributes)(list=False)
        state.forget_orders()

    sabotage(tool, hide)
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.report["proof"]["holds"]


async def test_a_replica_that_lags_behind_gets_a_second_look(tool: Tool) -> None:
    def lag(state: Any) -> None:
        tag = state.untag("2.0")

        async def catch_up(_: object) -> None:
            state.tag("2.0", tag.digest, tag.updated)

        tool.world.faults.append(Fault(service="acr", path="/manifests/2.0$", after_handler=catch_up, times=1))

    sabotage(tool, lag)
    ran = await tool.apply()

    assert ran.code == 0
    assert ran.report["proof"]["holds"]


async def test_a_registry_that_is_silent_afterwards_leaves_it_unproven_and_says_so(tool: Tool) -> None:
    def fall_silent(_: Any) -> None:
        tool.world.faults.append(Fault(service="acr", method="GET", status=403))

    sabotage(tool, fall_silent)
    ran = await tool.apply()

    assert ran.code == 1
    assert ran.deleted == {"shop/web:1.0"}
    assert ran.report["proof"]["unproven"]
    assert "Verification incomplete: " in ran.out
    assert "can still be pulled." not in ran.out.splitlines()[0].replace("could not be proven", "")


async def test_a_stopped_run_says_that_it_did_not_look() -> None:
    class Unasked:
        async def list_repository(self, name: str) -> Any:
            raise AssertionError(name)

        async def resolves(self, repository: str, name: str) -> bool:
            raise AssertionError(repository, name)

    witness, stop = proof.Witness(), asyncio.Event()
    witness.look(inventory([tag("1.0", 1)]), usage())
    stop.set()
    plan = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage())
    deleted = [Outcome(REPOSITORY, d(1), "1.0", OutcomeKind.DELETED)]

    found = await proof.prove(plan, witness, deleted, cast("Registry", Unasked()), stop)

    assert found is not None
    assert found.skipped
    assert not found.holds


# --- missing already ----------------------------------------------------------------------------------------------------


async def test_what_is_used_and_missing_is_told_in_plan_and_apply(tool: Tool) -> None:
    registry, cluster = tool.world.registry, tool.world.clusters["production"]
    cluster.run(build.deployment("shop", "lost", [registry.image("shop/web", "lost")]))
    cluster.run(build.deployment("shop", "nowhere", [registry.image("shop/nowhere", "1.0")]))
    for ran in (await tool.plan(), await tool.apply()):
        assert ran.code == 0
        found = {(each["repository"], each["tag"]): each for each in ran.report["missing"]}
        assert set(found) == {("shop/web", "lost"), ("shop/nowhere", "1.0")}
        assert {use["name"] for use in found["shop/web", "lost"]["uses"]} == {"lost"}
        assert "In use, but not in the registry" in ran.out
        assert "production/shop/Deployment/lost" in ran.out

    assert (await tool.plan(**{"fail-on": "warnings"})).code == 1


async def test_what_is_unlisted_is_not_missing(tool: Tool) -> None:
    registry, cluster = tool.world.registry, tool.world.clusters["production"]
    digest = registry.push("shop/web", "hidden", age=OLD)
    state = registry.repositories["shop/web"]
    for each in (state.tags["hidden"], state.manifests[digest]):
        each.attributes = type(each.attributes)(list=False)
    cluster.run(build.deployment("shop", "hidden", [registry.image("shop/web", "hidden")]))

    assert (await tool.plan()).report["missing"] == []


# --- exact sizes --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """Two old images on one base that the running one stands on, too."""
    world = World(face="proxy")
    for name, blobs, age in (
        ("1.0", {"base": 100_000, "a": 500}, OLD),
        ("1.1", {"base": 100_000, "a": 500, "b": 30}, OLD),
        ("2.0", {"base": 100_000, "c": 9}, OLD),
    ):
        push(world, name, blobs, age)
    cluster = ClusterState("aks-prod")
    cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "2.0")]))
    world.clusters["production"] = cluster
    async with serving(world, tmp_path, monkeypatch) as served:
        yield served


def push(world: World, tag: str, blobs: dict[str, int], age: timedelta) -> None:
    def named(text: str) -> str:
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    body = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 7, "digest": named(tag)},
        "layers": [{"mediaType": "application/x", "size": size, "digest": named(name)} for name, size in blobs.items()],
    }
    world.registry.put("shop/web", tag, json.dumps(body).encode(), media_type, age, architecture="amd64", os="linux")


def documents(tool: Tool, *tags: str) -> int:
    state = tool.world.registry.repositories["shop/web"]
    return sum(len(state.manifests[state.tags[tag].digest].body) for tag in tags)


async def test_the_default_is_an_upper_bound_and_says_so(layers: Tool) -> None:
    ran = await layers.plan()

    assert ran.report["space"] == {"bytes": 201_044, "exact": False, "manifests_read": 0}
    assert "freeing up to" in ran.out
    assert layers.world.count(service="acr", path="/v2/shop/web/manifests") == 0


async def test_exact_sizes_count_what_nothing_kept_shares_once(layers: Tool) -> None:
    expected = 500 + 30 + 2 * 7 + documents(layers, "1.0", "1.1")
    ran = await layers.plan(**{"exact-sizes": "true"})

    assert ran.report["space"] == {"bytes": expected, "exact": True, "manifests_read": 3}
    assert layers.world.count(service="acr", path="/v2/shop/web/manifests") == 3
    assert "freeing up to" not in ran.out
    assert "3 manifests read for it" in " ".join(ran.out.split())

    ran = await layers.apply(**{"exact-sizes": "true"})
    assert ran.report["space"]["bytes"] == expected
    assert ran.report["counts"]["bytes"] == expected


async def test_what_could_not_be_deleted_frees_nothing_and_holds_what_it_shares(layers: Tool) -> None:
    own = documents(layers, "1.1") + 30 + 7
    digest = layers.world.registry.repositories["shop/web"].tags["1.0"].digest
    layers.world.faults.append(Fault(service="acr", method="DELETE", path=digest, status=403))
    ran = await layers.apply(**{"exact-sizes": "true"})

    assert ran.deleted == {"shop/web:1.1"}
    assert ran.report["space"]["bytes"] == own


async def test_one_unreadable_manifest_makes_it_an_upper_bound_again_and_it_says_so(layers: Tool) -> None:
    digest = layers.world.registry.repositories["shop/web"].tags["2.0"].digest
    layers.world.faults.append(Fault(service="acr", method="GET", path=f"/v2/shop/web/manifests/{digest}", status=404))
    ran = await layers.plan(**{"exact-sizes": "true"})

    assert ran.report["space"]["exact"] is False
    assert ran.report["space"]["bytes"] == 201_044
    assert "upper bound" in " ".join(ran.report["warnings"])
    assert "freeing up to" in ran.out


async def test_only_repositories_that_lose_a_manifest_are_read_for_it(layers: Tool) -> None:
    layers.world.registry.push("idle/thing", "1.0", age=timedelta(days=1))
    image = layers.world.registry.image("idle/thing", "1.0")
    layers.world.clusters["production"].run(build.deployment("shop", "idle", [image]))
    await layers.plan(**{"exact-sizes": "true"})

    assert layers.world.count(service="acr", path="/v2/idle/thing/manifests") == 0
