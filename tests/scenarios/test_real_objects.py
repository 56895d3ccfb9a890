"""The captured objects of a real cluster, page by page, before the whole tool and a registry that holds what they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.clusters.images.pod_specs import KINDS
from tests.clusters.api_server.test_replay import DEAD, EXPECTED
from tests.helpers.cluster_objects import CORPUS, capture_of
from tests.helpers.stage import OLD, Stage, always, impatient, staged

WORKLOADS = tuple(capture_of(kind) for kind in KINDS)
# What no built-in workload names.
ELSEWHERE = {"custom-resource", "configmap", "helm-history"}


def captures(private: bool) -> dict[str, list[dict[str, Any]]]:
    """The objects of each captured list; of a private cluster those of workloads, by resource."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((CORPUS / "responses" / "list").glob("*.json")):
        # Beside whole lists: pages, other forms of the same list, and lists of one namespace. Helm's Secrets are asked for as such.
        name = path.name.removesuffix(".json").removesuffix(".labelSelector")
        group, _, rest = f"_{name}".partition("_v")
        listed = json.loads(path.read_text())
        if not rest or "." in rest or (private and name not in WORKLOADS):
            continue
        group, (version, _, resource) = group.removeprefix("_"), f"v{rest}".partition("_")
        about = {"apiVersion": f"{group}/{version}" if group else version, "kind": listed["kind"].removesuffix("List")}
        found[f"{resource}.{group}" if group else resource] = [{**about, **item} for item in listed["items"]]
    return found


def fill(stage: Stage, private: bool) -> None:
    stage.registry.repositories.clear()
    stage.cluster.objects.clear()
    stage.cluster.objects.update(captures(private))
    stage.cluster.private = private
    stage.cluster.page_cap = 50
    if not private:
        stage.cluster.dead_apis.add(DEAD)
        stage.settings(helm_history=10, waive=[f"production: {DEAD}"])


@pytest.mark.parametrize("private", [False, True], ids=["direct", "run-command"])
async def test_what_a_real_cluster_names_stays_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    """Directly with all that it holds: custom resources, ConfigMaps, Helm's history, and an API whose backend is gone."""
    impatient(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
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

        always(ran, stage)
        left = {(name, tag) for name, state in stage.registry.repositories.items() for tag in state.tags}
        assert ran.code == 0, ran.out
        assert left == named | {("no/cluster", "stale")}
