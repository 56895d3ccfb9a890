"""The whole tool on the captured objects of a real cluster and a registry with their images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.clusters.images.pod_specs import KINDS
from tests.clusters.api_server.test_replay import DEAD, EXPECTED
from tests.helpers.cluster_objects import CORPUS, capture_of
from tests.helpers.stage import OLD, Stage, assert_invariants, shorten_pauses, staged_over_tls

pytestmark = pytest.mark.extended

WORKLOADS = tuple(capture_of(kind) for kind in KINDS)
# The classes of expected findings that are not in built-in workloads.
ELSEWHERE = {"custom-resource", "configmap", "helm-history"}


def captures(private: bool) -> dict[str, list[dict[str, Any]]]:
    """The captured objects by resource. For a private cluster, only those of built-in workloads."""
    objects: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((CORPUS / "responses" / "list").glob("*.json")):
        # Skip single pages, other forms of a list, and lists of one namespace: their names contain
        # a dot. The list of Helm's Secrets has a label selector, and is used.
        name = path.name.removesuffix(".json").removesuffix(".labelSelector")
        group, _, rest = f"_{name}".partition("_v")
        listed = json.loads(path.read_text())
        if not rest or "." in rest or (private and name not in WORKLOADS):
            continue
        group, (version, _, resource) = group.removeprefix("_"), f"v{rest}".partition("_")
        about = {"apiVersion": f"{group}/{version}" if group else version, "kind": listed["kind"].removesuffix("List")}
        objects[f"{resource}.{group}" if group else resource] = [{**about, **item} for item in listed["items"]]
    return objects


def fill(stage: Stage, private: bool) -> None:
    """Replace the ordinary world by the captured cluster and an empty registry."""
    stage.registry.repositories.clear()
    stage.cluster.objects.clear()
    stage.cluster.objects.update(captures(private))
    stage.cluster.private = private
    stage.cluster.page_cap = 50
    if not private:
        stage.cluster.dead_apis.add(DEAD)
        stage.settings(helm_history=10, waive=[f"production: {DEAD}"])


@pytest.mark.parametrize("private", [False, True], ids=["direct", "run-command"])
async def test_only_images_of_a_real_cluster_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    """
    The direct scan reads custom resources, ConfigMaps and Helm's history as well.

    It meets an API without a backend, which is waived.
    """
    shorten_pauses(monkeypatch)
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        fill(stage, private)
        named = {
            (entry["repository"], "latest" if entry["implicit_latest"] else entry["tag"])
            for entry in EXPECTED["expected"]
            if (not private or entry["class"] not in ELSEWHERE) and (entry["tag"] or entry["implicit_latest"])
        }
        stale = {(repository, "stale") for repository in EXPECTED["running_repositories"]}
        for repository, tag in named | stale | {("no/cluster", "stale")}:
            stage.registry.push(repository, tag, age=OLD)
        ran = await stage.tool.apply(stage.config)

        assert_invariants(ran, stage)
        left = {(name, tag) for name, state in stage.registry.repositories.items() for tag in state.tags}
        assert ran.code == 0, ran.out
        assert left == named | {("no/cluster", "stale")}
