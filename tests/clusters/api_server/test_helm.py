"""Helm's history is read only if it is configured, and only from Helm's own objects."""

from __future__ import annotations

import pytest

from acr_cleanup.clusters.api_server.client import HttpAnswer
from acr_cleanup.clusters.api_server.discovery import SECRET
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.api_server.scan_result import HELM_NOTE
from acr_cleanup.clusters.images.pod_specs import POD
from acr_cleanup.clusters.target import Search
from tests.helpers.cluster_objects import NAMES, FakeServer, captured, kind, listing, pod, read_fake, status, used


async def test_secrets_are_not_requested_without_helm_history() -> None:
    server = FakeServer(SECRET)
    await read_fake(server)
    assert server.requests("secrets") == 0


async def test_only_helm_secrets_are_requested() -> None:
    server = FakeServer()
    server.put("secrets", captured("list/v1_secrets.labelSelector.json"))
    result = await scan(server.ask, "prod", Search(NAMES, 2), access="direct")
    assert result.blockers == ()
    assert any("helm/billing" in reference for reference in used(result))
    asked = [path for _, path in server.asked if "secrets" in path]
    assert asked == ["/api/v1/secrets?limit=50&labelSelector=owner%3Dhelm&fieldSelector=type%3Dhelm.sh%2Frelease.v1"]


async def test_expired_helm_history_is_counted_once() -> None:
    server = FakeServer()
    first, second, *rest = (captured(f"list/v1_secrets.labelSelector.limit3.p00{n}.json") for n in range(1, 5))
    gone = HttpAnswer(410, captured("errors/410_pods.expired.json"))
    server.put("secrets", first, gone, first, second, *rest)
    result = await scan(server.ask, "prod", Search(NAMES, 10), access="direct")
    whole = FakeServer()
    whole.put("secrets", captured("list/v1_secrets.labelSelector.json"))
    assert set(result.uses) == set((await scan(whole.ask, "prod", Search(NAMES, 10), access="direct")).uses)
    assert (result.blockers, result.objects) == ((), 10)


async def test_forbidden_secrets_blocker_names_rule() -> None:
    server = FakeServer()
    server.put("secrets", status(403, "secrets is forbidden"))
    (blocker,) = (await scan(server.ask, "prod", Search(NAMES, 3), access="direct")).blockers
    assert blocker.kind == "secrets"
    assert 'apiGroups: [""], resources: ["secrets"], verbs: ["list"]' in blocker.remedy


@pytest.mark.parametrize("history", [0, 3])
async def test_helm_history_is_proposed_once(history: int) -> None:
    server = FakeServer()
    labels = {"labels": {"app.kubernetes.io/managed-by": "Helm"}}
    server.put("pods", listing(POD, [pod("a", "ghcr.io/x:1"), pod("b", "ghcr.io/x:1", **labels)]))
    server.put("deployments", listing(kind("Deployment"), [{"metadata": {"name": "b", **labels}}]))
    result = await scan(server.ask, "prod", Search(NAMES, history), access="direct")
    assert result.notes == ((HELM_NOTE,) if history == 0 else ())
