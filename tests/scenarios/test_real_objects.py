"""The captured objects of a real cluster, page by page, before the whole tool and a registry that holds what they name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acr_cleanup.clusters.objects import KINDS
from tests.clusters.support import CORPUS, capture_of
from tests.clusters.test_corpus import CLASSES, EXPECTED
from tests.scenarios.stage import OLD, always, impatient, staged


@pytest.mark.parametrize("private", [False, True], ids=["direct", "run-command"])
async def test_what_a_real_cluster_names_stays_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    impatient(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.repositories.clear()
        stage.cluster.objects.clear()
        stage.cluster.private = private
        stage.cluster.page_cap = 50
        for kind in KINDS:
            listed = json.loads((CORPUS / "responses" / "list" / f"{capture_of(kind)}.json").read_text())
            stage.cluster.objects[str(kind)] = [
                {"apiVersion": kind.api_version, "kind": kind.name, **item} for item in listed["items"]
            ]
        named = {
            (entry["repository"], "latest" if entry["implicit_latest"] else entry["tag"])
            for entry in EXPECTED["expected"]
            if entry["class"] in CLASSES and (entry["tag"] or entry["implicit_latest"])
        }
        stale = {(repository, "stale") for repository in EXPECTED["running_repositories"]}
        for repository, tag in named | stale | {("no/cluster", "stale")}:
            stage.registry.push(repository, tag, age=OLD)
        ran = await stage.tool.apply()

        always(ran, stage)
        left = {(name, tag) for name, state in stage.registry.repositories.items() for tag in state.tags}
        assert ran.code == 0, ran.out
        assert left == named | {("no/cluster", "stale")}
