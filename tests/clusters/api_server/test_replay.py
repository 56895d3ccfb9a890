"""A whole scan of a captured API server: discovery, every list, and Helm's history."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acr_cleanup.clusters.api_server.client import HttpAnswer
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.target import Search
from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.core.references import Digest
from acr_cleanup.core.usage import ClusterScan
from tests.helpers.cluster_objects import CORPUS, OURS, SEARCH, Replay

EXPECTED: dict[str, Any] = json.loads((CORPUS / "expected.json").read_text())
DEAD = "custom.metrics.k8s.io/v1beta1"


@pytest.fixture(params=["whole", "paged", "plain discovery"])
async def scanned(request: pytest.FixtureRequest) -> ClusterScan:
    """Scan the captured cluster, with all of Helm's history."""
    server = Replay(limit=5 if request.param == "paged" else None, aggregated=request.param != "plain discovery")
    names = Names.of(OURS, {entry["repository"] for entry in EXPECTED["expected"]})
    return await scan(server.ask, "real", Search(names, 10), access="direct")


def named(entry: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return entry["repository"], "latest" if entry["implicit_latest"] else entry["tag"], entry["digest"]


def test_all_expected_references_are_found(scanned: ClusterScan) -> None:
    """As uses where a runtime reads them, otherwise as mentions."""
    references = {
        (use.workload.namespace, use.reference.repository, use.reference.tag, use.reference.digest)
        for use in scanned.uses
    }

    def is_mentioned(entry: dict[str, Any]) -> bool:
        repository, tag, digest = named(entry)
        mentions = scanned.mentions.of(
            ListedNames(repository, {tag: None} if tag else {}, [Digest(digest)] if digest else [])
        )
        of = mentions.by_tag.get(tag or "", ()) or mentions.by_digest.get(Digest(digest or ""), ()) or mentions.of_any
        return any(mention.workload.namespace == entry["namespace"] for mention in of)

    missing = [
        entry
        for entry in EXPECTED["expected"]
        if (entry["namespace"], *named(entry)) not in references and not is_mentioned(entry)
    ]
    assert missing == []
    assert len({entry["class"] for entry in EXPECTED["expected"]}) == 11


def test_no_other_references_are_found(scanned: ClusterScan) -> None:
    """Lookalikes and other registries are not found."""
    forbidden = {entry["raw"] for entry in EXPECTED["must_not_match"]}
    known = {named(entry) for entry in EXPECTED["expected"]}
    assert [use for use in scanned.uses if use.text in forbidden] == []
    references = [(use.reference.repository, use.reference.tag, use.reference.digest) for use in scanned.uses]
    assert [reference for reference in references if reference not in known] == []


def test_dead_api_is_only_blocker_and_waivable(scanned: ClusterScan) -> None:
    (blocker,) = scanned.blockers
    assert (blocker.kind, "503" in blocker.seen) == (DEAD, True)
    assert scanned.waive([DEAD]).blockers == ()


def test_running_repositories_come_from_containers(scanned: ClusterScan) -> None:
    running = {use.reference.repository for use in scanned.uses if use.running}
    assert sorted(running) == EXPECTED["running_repositories"]


def test_all_objects_are_counted(scanned: ClusterScan, request: pytest.FixtureRequest) -> None:
    # No pages of definitions were captured.
    not_read = {"Node", *(["CustomResourceDefinition"] if "paged" in request.node.name else [])}
    assert scanned.objects == sum(count for name, count in EXPECTED["objects"].items() if name not in not_read)


async def test_helm_is_not_requested_without_history() -> None:
    server = Replay()
    asked: list[str] = []

    async def ask(method: str, path: str, body: Any = None, **more: Any) -> HttpAnswer:
        asked.append(path)
        return await server.ask(method, path, body, **more)

    await scan(ask, "real", SEARCH, access="direct")
    assert len(asked) > len(EXPECTED["objects"])
    assert [path for path in asked if "secrets" in path] == []
