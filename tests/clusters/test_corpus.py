"""The captured answers of a real API server: what has to be found in them, and what must not be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acr_cleanup.clusters.api import Answer
from acr_cleanup.clusters.objects import KINDS, Kind
from acr_cleanup.clusters.scanner import scan
from acr_cleanup.core.usage import ClusterScan, ImageUse
from tests.clusters.support import CORPUS, OURS, FakeServer, capture_of, captured

EXPECTED: dict[str, Any] = json.loads((CORPUS / "expected.json").read_text())
CLASSES = {
    "running-pod",
    "pod-status",
    "template",
    "history-replicaset",
    "history-controllerrevision",
    "ephemeral",
    "image-volume",
}


def pages(each: Kind) -> list[Answer]:
    """The pages of a walk over this kind."""
    names = sorted(path.name for path in (CORPUS / "responses" / "list").glob(f"{capture_of(each)}.limit5.p*.json"))
    assert names
    return [Answer(200, captured(f"list/{name}")) for name in names]


@pytest.fixture(params=["whole", "paged"])
async def scanned(request: pytest.FixtureRequest) -> ClusterScan:
    server = FakeServer()
    for each in KINDS:
        if request.param == "whole":
            server.put(each.resource, captured(f"list/{capture_of(each)}.json"))
        else:
            server.put(each.resource, *pages(each))
    return await scan(server.ask, "real", OURS, access="direct")


def finds(entry: dict[str, Any], uses: tuple[ImageUse, ...]) -> bool:
    tag = "latest" if entry["implicit_latest"] else entry["tag"]
    return any(
        (use.reference.repository, use.reference.tag, use.reference.digest)
        == (entry["repository"], tag, entry["digest"])
        and use.text == entry["raw"]
        and use.container == entry["container"]
        and use.workload.namespace == entry["namespace"]
        and use.running == (entry["class"] == "running-pod")
        and (use.field == entry["path"] or entry["class"] == "image-volume")
        for use in uses
    )


def test_every_reference_of_every_class_is_found(scanned: ClusterScan) -> None:
    wanted = [entry for entry in EXPECTED["expected"] if entry["class"] in CLASSES]
    assert len(wanted) > 130
    assert [entry for entry in wanted if not finds(entry, scanned.uses)] == []
    assert scanned.blockers == ()


def test_nothing_else_is_found(scanned: ClusterScan) -> None:
    """Neither a lookalike nor another registry; every use is one of the expected references of its place."""
    forbidden = {entry["raw"] for entry in EXPECTED["must_not_match"]}
    known = {(entry["repository"], str(entry["raw"])) for entry in EXPECTED["expected"]}
    assert [use for use in scanned.uses if use.text in forbidden] == []
    assert [use for use in scanned.uses if (use.reference.repository, use.text) not in known] == []


def test_the_running_repositories_are_those_of_containers_and_init_containers(scanned: ClusterScan) -> None:
    running = {use.reference.repository for use in scanned.uses if use.running}
    assert sorted(running) == EXPECTED["running_repositories"]


def test_all_objects_are_counted(scanned: ClusterScan) -> None:
    counts = EXPECTED["objects"]
    assert scanned.objects == sum(counts[each.name] for each in KINDS)


def test_uses_name_the_top_owner(scanned: ClusterScan) -> None:
    """Reports say `shop/Deployment/web`, not the name of one of its pods."""
    owners = {(use.workload.namespace, f"{use.workload.kind}/{use.workload.name}") for use in scanned.uses}
    assert ("shop", "Deployment/web") in owners
    assert not any(owner.startswith(("ReplicaSet/", "Pod/web-")) for _, owner in owners)
