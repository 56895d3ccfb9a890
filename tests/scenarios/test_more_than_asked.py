"""A registry that deletes more than it was asked to: reported, counted, journalled, and restorable."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from acr_cleanup.commands.restore import read, restore
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.state import OCI_MANIFEST
from acr_cleanup.records.journal_reader import read_journal
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.graph_world import APP, OLD, YOUNG, GraphWorld, graph
from tests.helpers.tool_runs import RunResult, Tool

__all__ = ["graph"]


def after_deletion(graph: GraphWorld, do: Any) -> None:
    """Do this once, when the registry has answered the first deletion."""

    async def hook(_: Any) -> None:
        do()

    graph.world.faults.append(Fault(service="acr", method="DELETE", after_handler=hook, times=1))


def broken(ran: RunResult) -> set[str]:
    return {entry["tag"] or entry["digest"] for entry in ran.report["proof"]["broken"]}


@pytest.mark.parametrize("soft_delete", [True, False])
def test_manifests_deleted_by_a_retention_policy_can_be_restored(graph: GraphWorld, soft_delete: bool) -> None:
    """The policy is set during the run. It deletes the subject with its last tag, and its referrers."""
    graph.registry.soft_delete = soft_delete
    subject = graph.push("v1")
    converted = graph.push("v1-nydus", subject=subject, age=YOUNG)
    signature = graph.registry.push_referrer(APP, converted, age=OLD)
    graph.when(lambda: setattr(graph.registry, "retention_days", 0), method="DELETE")

    journal, out = graph.folder / "report" / "journal.jsonl", io.StringIO()
    codes = []

    async def apply_and_restore(tool: Tool) -> RunResult:
        ran = await tool.apply()
        graph.registry.retention_days = None
        settings = load_settings(tool.folder / "acr-cleanup.json", {}, os.environ, needs_clusters=False)
        terminal = Terminal(stdout=out, stderr=io.StringIO(), environ={})
        codes.append(await restore(journal, read(journal), settings, terminal, os.environ))
        return ran

    ran = graph.play(apply_and_restore)

    assert ran.code == 1
    assert broken(ran) == {subject, "v1-nydus"}
    assert any(signature in note for note in ran.report["proof"]["notes"]), "nothing told its subject"
    assert ran.report["counts"]["deleted"] == 2
    assert ran.report["counts"]["deleted_manifests"] == 2
    assert "1 of 1 planned tag was deleted" in " ".join(ran.out.split())
    deletions = read_journal(journal).deletions
    assert {entry.digest for entry in deletions if entry.deletes_manifest} == {subject, converted}
    if soft_delete:
        assert codes == [0]
        assert {subject, converted} <= graph.manifests
        assert {"v1", "v1-nydus"} <= graph.tags
    else:
        assert codes == [1]
        assert "its content was not kept" in " ".join(out.getvalue().split())


@pytest.mark.parametrize("use", ["by tag", "by digest", "none"])
def test_unrelated_image_that_disappears_is_reported(graph: GraphWorld, use: str) -> None:
    graph.push("v1")
    other = graph.push("other", age=YOUNG)
    if use != "none":
        graph.run_image(**{"tag": "other"} if use == "by tag" else {"digest": other})
    after_deletion(graph, lambda: graph.registry.remove(APP, other))

    ran = graph.play(lambda tool: tool.apply())

    assert ran.code == (0 if use == "none" else 1)
    assert broken(ran) == {"by tag": {"other"}, "by digest": {other}, "none": set()}[use]
    assert f"{APP}:other" in ran.out or other in ran.out
    assert ran.report["counts"]["deleted"] == 1


def test_unrelated_manifest_without_a_tag_that_disappears_is_reported(graph: GraphWorld) -> None:
    graph.push("v1")
    other = graph.push(None)
    after_deletion(graph, lambda: graph.registry.remove(APP, other))

    ran = graph.play(lambda tool: tool.apply())

    assert ran.code == 0
    assert any(other in note and "this run did not delete it" in note for note in ran.report["proof"]["notes"])


@pytest.mark.parametrize("why", ["young tag", "young", "locked", "in use"])
def test_kept_child_deleted_with_its_index_is_reported(graph: GraphWorld, why: str) -> None:
    """No registry of Azure does so today."""
    age = YOUNG if why.startswith("young") else OLD
    child = graph.push("child" if why == "young tag" else None, age=age)
    index = graph.registry.push_index(APP, "v1", children=[child, graph.push(None)], age=OLD)
    if why == "locked":
        graph.registry.lock(APP, child)
    if why == "in use":
        graph.registry.push_index(APP, "v2", children=[child], age=YOUNG)
    after_deletion(graph, lambda: graph.registry.remove(APP, child))

    ran = graph.play(lambda tool: tool.apply())

    assert index not in graph.manifests
    assert "child" in ran.out or child in ran.out
    assert ran.code == (1 if why == "in use" else 0)


def test_planned_child_deleted_with_its_index_does_not_fail(graph: GraphWorld) -> None:
    child = graph.push(None, media_type=OCI_MANIFEST)
    graph.registry.push_index(APP, "v1", children=[child], age=OLD)
    after_deletion(graph, lambda: graph.registry.remove(APP, child))

    ran = graph.play(lambda tool: tool.apply())

    assert ran.code == 0
    assert ran.report["counts"]["deleted_manifests"] == 1
