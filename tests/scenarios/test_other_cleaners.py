"""Other clients delete in the same repository during the run, and a run spans several checks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from aiohttp import web

from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_MANIFEST
from acr_cleanup.stages import apply_repository
from tests.helpers.graph_world import APP, OLD, YOUNG, GraphWorld, contents, graph
from tests.helpers.tool_runs import RunResult, Tool

pytestmark = pytest.mark.extended

__all__ = ["graph"]

TAGS, MANIFESTS = f"/acr/v1/{APP}/_tags$", f"/acr/v1/{APP}/_manifests$"
TYPES = pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, OCI_MANIFEST], ids=["docker", "oci"])


class OtherCleaner:
    """Deletes manifests one after the other, so many a second, while the tool runs."""

    def __init__(self, graph: GraphWorld, digests: list[str], rate: float) -> None:
        self.graph, self.rate = graph, rate
        self.pending: Iterator[str] = iter(digests)
        self.deleted: set[str] = set()

    async def run(self) -> None:
        for digest in self.pending:
            await asyncio.sleep(1 / self.rate)
            if digest in self.graph.repository.manifests:
                self.deleted |= {
                    f"{APP}@{digest}",
                    *(f"{APP}:{tag}" for tag in self.graph.repository.manifests[digest].tags),
                }
                self.graph.registry.remove(APP, digest)

    async def apply(self, tool: Tool, **options: str) -> RunResult:
        cleaner = asyncio.create_task(self.run())
        try:
            return await tool.apply(**options)
        finally:
            cleaner.cancel()
            with suppress(asyncio.CancelledError):
                await cleaner


@TYPES
@pytest.mark.parametrize("rate", [2, 20])
def test_other_cleaner_does_not_disturb_the_run(graph: GraphWorld, rate: float, media_type: str) -> None:
    """
    Another client deletes young manifests and some of the planned ones.

    Every planned manifest is deleted, nothing is called broken, and what others deleted is `gone`.
    """
    graph.registry.largest_page = 50
    planned = [graph.push(f"old-{number:04}", media_type=media_type) for number in range(700)]
    others = [graph.push(f"young-{number:03}", media_type=media_type, age=YOUNG) for number in range(600)]
    graph.world.faults.append(Fault(service="acr", latency=0.05))
    mixed = [digest for pair in zip(others, planned[::7], strict=False) for digest in pair] + others[100:]
    cleaner = OtherCleaner(graph, mixed, rate)
    before = contents(graph.registry.repositories)

    ran = graph.play(lambda tool: cleaner.apply(tool, **{"max-deletions": "0"}))

    gone = {str(name) for name in cleaner.deleted}
    assert ran.code == 0, ran.out
    assert not set(planned) & graph.manifests
    removed = before - contents(graph.registry.repositories)
    assert ran.deleted == {name for name in removed - gone if "@" not in name}
    assert ran.report["counts"]["deleted_manifests"] == sum("@" in name for name in removed - gone)
    assert {outcome["outcome"] for outcome in ran.report["outcomes"]} <= {"deleted", "gone"}
    assert not ran.report["warnings"]


async def slowly(_: web.Request) -> None:
    await asyncio.sleep(1)


def test_manifest_deleted_between_both_lists_is_gone(graph: GraphWorld) -> None:
    """The list of tags still has the tag; the list of manifests no longer has the manifest."""
    planned, other = graph.push("v1"), graph.push("v2", age=YOUNG)
    graph.when(lambda: graph.registry.remove(APP, other), path=MANIFESTS, after=1)

    graph.world.faults.append(Fault(service="acr", path=MANIFESTS, before=slowly))
    ran = graph.play(lambda tool: tool.apply())

    assert ran.code == 0
    assert planned not in graph.manifests
    assert not ran.report["warnings"]
    assert "no longer exists; this run did not delete it" in ran.out or other not in ran.out


def test_planned_manifest_without_tags_that_others_deleted_is_gone(graph: GraphWorld) -> None:
    """The list of manifests still has the manifest; the list of tags no longer has its tag."""
    planned, other = graph.push("v1"), graph.push("v0")
    graph.when(lambda: graph.registry.remove(APP, planned), path=TAGS, after=1)

    graph.world.faults.append(Fault(service="acr", path=TAGS, before=slowly))
    ran = graph.play(lambda tool: tool.apply())

    assert ran.code == 0
    assert other not in graph.manifests
    assert ran.outcomes("v1") == {"gone"}
    assert {outcome["outcome"] for outcome in ran.report["outcomes"]} == {"deleted", "gone"}


def test_index_deleted_by_others_after_the_list_is_not_unknown(graph: GraphWorld) -> None:
    index = graph.registry.push_index(APP, "multi", children=[graph.push(None)], age=YOUNG)
    planned = graph.push("v1")
    graph.when(lambda: graph.registry.remove(APP, index), path=f"/manifests/{index}")

    ran = graph.play(lambda tool: tool.apply())

    assert ran.code == 0
    assert planned not in graph.manifests
    assert not ran.report["warnings"]


def test_kept_image_deleted_by_others_after_the_list_asks_for_no_referrers(graph: GraphWorld) -> None:
    for number in range(5):
        graph.push(f"v{number}")
    other = graph.push("kept", age=YOUNG)
    graph.when(lambda: graph.registry.remove(APP, other), path=f"/manifests/{other}")

    ran = graph.play(lambda tool: tool.apply())

    assert ran.report["counts"]["deleted_manifests"] == 5
    assert graph.requests("GET", "/referrers/") == 0


# -- a run of several checks -----------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_children_in_a_later_check_are_deleted(
    graph: GraphWorld, nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their index was deleted after an earlier check. They would remain as untagged manifests."""
    monkeypatch.setattr(apply_repository, "LOOK_EVERY", 3)
    for number in range(4):
        children = [graph.push(None), graph.push(None)]
        index = graph.registry.push_index(APP, None if nested else f"v{number}", children=children, age=OLD)
        if nested:
            graph.registry.push_index(APP, f"v{number}", children=[index], age=OLD)

    ran = graph.apply()

    assert graph.manifests == {graph.repository.tags["live"].digest}
    assert {outcome["outcome"] for outcome in ran.report["outcomes"]} == {"deleted"}


def test_child_in_a_later_check_that_is_in_use_now_is_kept(graph: GraphWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_repository, "LOOK_EVERY", 1)
    monkeypatch.setattr("acr_cleanup.stages.fresh_usage.USAGE_STAYS_FRESH", 0)
    child, other = graph.push(None), graph.push(None)
    index = graph.registry.push_index(APP, "v1", children=[child, other], age=OLD)
    graph.when(lambda: graph.run_image(digest=child), method="DELETE", path=index)

    ran = graph.apply()

    assert child in graph.manifests
    assert other not in graph.manifests
    assert ran.code == 0


# -- repositories that are not seen whole ----------------------------------------------------------


@pytest.mark.parametrize("untagged", ["true", "false"])
def test_repository_with_an_unlisted_manifest_loses_names_only(graph: GraphWorld, untagged: str) -> None:
    """
    An unlisted, locked index without a listed tag may need any manifest.

    https://github.com/Azure/azure-cli/issues/28260
    """
    child, other = graph.push("v1-amd64"), graph.push("v0")
    index = graph.registry.push_index(APP, None, children=[child], age=OLD)
    graph.registry.lock(APP, index, list=False, delete=False)

    ran = graph.apply(**{"delete-untagged": untagged})

    assert ran.code == 0
    assert {child, other, index} <= graph.manifests
    assert graph.tags == {"live"}
    assert any("1 manifest more than it lists" in warning for warning in ran.report["warnings"])


def test_manifest_pushed_during_the_check_does_not_hide_anything(graph: GraphWorld) -> None:
    """The registry then counts one manifest more than it has listed."""
    planned = graph.push("v1")
    graph.when(lambda: graph.push("new", age=YOUNG), path=f"/acr/v1/{APP}$")

    ran = graph.apply()

    assert ran.code == 0
    assert planned not in graph.manifests
    assert not ran.report["warnings"]


def test_tag_pushed_during_the_check_does_not_hide_anything(graph: GraphWorld) -> None:
    """The registry then counts one tag more than it has listed."""
    planned = graph.push("v1")
    live = graph.repository.tags["live"].digest
    graph.when(lambda: graph.registry.tag(APP, "new", live, YOUNG), path=f"/acr/v1/{APP}$")

    ran = graph.apply()

    assert ran.code == 0
    assert planned not in graph.manifests
    assert not ran.report["warnings"]


def test_tag_set_on_a_planned_manifest_during_the_check_keeps_it(graph: GraphWorld) -> None:
    planned, other = graph.push("v1"), graph.push("v0")
    graph.when(lambda: graph.registry.tag(APP, "new", planned, YOUNG), path=f"/acr/v1/{APP}$", after=1)

    ran = graph.apply()

    assert ran.code == 0
    assert planned in graph.manifests
    assert other not in graph.manifests


def test_index_pushed_during_the_check_keeps_its_children(graph: GraphWorld) -> None:
    child, other = graph.push("v1"), graph.push("v0")
    graph.when(
        lambda: graph.registry.push_index(APP, "new", children=[child], age=YOUNG), path=f"/acr/v1/{APP}$", after=1
    )

    ran = graph.apply()

    assert ran.code == 0
    assert child in graph.manifests
    assert other not in graph.manifests
