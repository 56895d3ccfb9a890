"""Custom resources, ConfigMaps and other kinds that discovery finds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acr_cleanup.clusters.api_server.client import HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP
from acr_cleanup.clusters.images.pod_specs import POD
from tests.helpers.cluster_objects import (
    WEB,
    FakeServer,
    captured,
    custom,
    listing,
    page,
    pod,
    read_fake,
    status,
    used,
)

ROLLOUT = custom()


def rollouts(*images: str, version: str = "v1", **metadata: Any) -> bytes:
    spec = [{"metadata": {"name": image[-1], "namespace": "shop"}, "spec": {"image": image}} for image in images]
    return listing(custom(version=version), spec, **metadata)


async def test_custom_resources_are_read_page_by_page() -> None:
    server = FakeServer(ROLLOUT)
    server.put("rollouts", rollouts(f"{WEB}:1", **{"continue": "a"}), rollouts(f"{WEB}:2", **{"continue": ""}))
    result = await read_fake(server)
    assert (used(result), result.blockers, result.objects) == ({f"{WEB}:1", f"{WEB}:2"}, (), 2)
    assert result.uses == ()


async def test_config_maps_are_read_without_discovery() -> None:
    server = FakeServer()
    server.others = {"/api": HttpAnswer(503, b"no"), "/apis": HttpAnswer(503, b"no")}
    item = {"metadata": {"name": "sidecar", "namespace": "ops"}, "data": {"config.yaml": f"image: {WEB}:9"}}
    server.put("configmaps", listing(CONFIG_MAP, [item]))
    result = await read_fake(server)
    assert used(result) == {f"{WEB}:9"}
    assert [blocker.kind for blocker in result.blockers] == ["", ""]


async def test_server_without_config_maps_is_believed() -> None:
    server = FakeServer()
    server.put("configmaps", HttpAnswer(404, b"404 page not found"))
    assert (await read_fake(server)).blockers == ()


async def test_kind_removed_after_discovery_is_not_a_blocker() -> None:
    server = FakeServer(ROLLOUT)
    server.put("rollouts", HttpAnswer(404, captured("errors/404_missing-custom-resource.json")))
    assert (await read_fake(server)).blockers == ()
    assert server.requests("/apis/argoproj.io/v1") == 2


async def test_404_for_a_served_custom_kind_is_a_blocker() -> None:
    server = FakeServer(ROLLOUT)
    server.put("rollouts", HttpAnswer(404, b"404 page not found"))
    server.others["/apis/argoproj.io/v1"] = HttpAnswer(200, captured("discovery/argoproj.io_v1alpha1.json"))
    (blocker,) = (await read_fake(server)).blockers
    assert blocker.kind == "rollouts.argoproj.io"


async def test_other_version_is_read_if_preferred_fails() -> None:
    """Without its conversion webhook, a server answers 500 for one of the versions."""
    server = FakeServer(custom(version="v2"), ROLLOUT)
    server.put(custom(version="v2").path, rollouts(f"{WEB}:1", version="v2", **{"continue": "a"}), status(500))
    server.put(ROLLOUT.path, rollouts(f"{WEB}:1", f"{WEB}:2"))
    result = await read_fake(server)
    assert (used(result), result.blockers, result.objects) == ({f"{WEB}:1", f"{WEB}:2"}, (), 2)


@pytest.mark.parametrize("code", [403, 429, 500, 503])
async def test_kind_failing_in_all_versions_can_be_waived(code: int) -> None:
    server = FakeServer(custom(version="v2"), ROLLOUT)
    server.put("pods", page(f"{WEB}:1"))
    server.put("rollouts", status(code))
    result = await read_fake(server)
    (blocker,) = result.blockers
    assert (blocker.call, blocker.kind) == ("list rollouts.argoproj.io", "rollouts.argoproj.io")
    assert str(code) in blocker.seen
    # A server that is busy will answer later.
    assert blocker.remedy.endswith('waive: "prod: rollouts.argoproj.io".') == (code != 429)
    assert result.waive(["Rollouts.argoproj.io"]).blockers == ()
    assert used(result) == {f"{WEB}:1"}
    assert server.requests("rollouts") == (1 if code == 403 else 2), "a refusal is the same for all versions"


async def test_missing_other_version_does_not_excuse_failure() -> None:
    server = FakeServer(custom(version="v2"), ROLLOUT)
    server.put(custom(version="v2").path, status(500))
    server.put(ROLLOUT.path, HttpAnswer(404, b"404 page not found"))
    assert len((await read_fake(server)).blockers) == 1


async def test_dead_api_group_is_one_blocker() -> None:
    server = FakeServer(ROLLOUT, stale=["custom.metrics.k8s.io/v1beta1"])
    server.others["/apis/custom.metrics.k8s.io/v1beta1"] = HttpAnswer(503, b"service unavailable")
    (blocker,) = (await read_fake(server)).blockers
    assert blocker.kind == "custom.metrics.k8s.io/v1beta1"


async def test_hundreds_of_custom_kinds_are_read() -> None:
    kinds = [custom(f"K{n}", f"k{n}s", f"g{n % 40}.example") for n in range(300)]
    server = FakeServer(*kinds)
    server.put(kinds[-1].resource, listing(kinds[-1], [{"metadata": {"name": "a"}, "x": [f"{WEB}:1"]}]))
    result = await read_fake(server)
    assert (used(result), result.blockers) == ({f"{WEB}:1"}, ())
    assert server.reviewed == ["*"]


async def test_malformed_objects_are_never_lost() -> None:
    """
    Null lists, numbers in place of text, malformed images: the other objects of the page are read.
    """
    good = pod("good", f"{WEB}:1")
    null = {"metadata": {"name": "null"}, "spec": {"containers": None, "volumes": None}, "status": None}
    number = {**pod("number", f"{WEB}:2"), "metadata": {"name": 7, "labels": [], "ownerReferences": 5}}
    malformed = pod("malformed", f"{WEB} :3")
    server = FakeServer(ROLLOUT)
    server.put("pods", listing(POD, [good, null, number, malformed]))
    server.put("rollouts", listing(ROLLOUT, [{"metadata": None, "spec": {"a": [None, 1, {"b": f"{WEB}:4"}]}}]))
    result = await read_fake(server)
    assert {f"{WEB}:1", f"{WEB}:2", f"{WEB}:4"} <= used(result)
    (blocker,) = result.blockers
    assert "malformed" in blocker.call


@pytest.mark.parametrize(
    "broken", [b'{"metadata": {"name": "\xff"}, "a": "HOST/x:1"}', b"[]", b"7", b"null", b'"HOST/x:1"']
)
async def test_item_that_is_not_an_object_is_a_blocker(broken: bytes) -> None:
    server = FakeServer(ROLLOUT)
    body = listing(ROLLOUT, [{"metadata": {"name": "PLACE"}}])
    server.put(
        "rollouts",
        body.replace(
            json.dumps({"metadata": {"name": "PLACE"}}).encode(), broken.replace(b"HOST", b"contoso.azurecr.io")
        ),
    )
    (blocker,) = (await read_fake(server)).blockers
    assert blocker.kind == "rollouts.argoproj.io"
