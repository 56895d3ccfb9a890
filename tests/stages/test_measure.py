"""Exact sizes: the space that a run frees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.in_memory_world import serving
from tests.helpers.tool_runs import Tool

OLD = timedelta(days=100)
UPPER_BOUND = 201_044
"""Bytes of both old images, with their shared layers counted twice."""


@pytest.fixture
async def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """
    Serve two old images, 1.0 and 1.1, that share layers with each other and with the running 2.0.
    """
    world = World(face="proxy")
    for name, layers in (
        ("1.0", {"base": 100_000, "a": 500}),
        ("1.1", {"base": 100_000, "a": 500, "b": 30}),
        ("2.0", {"base": 100_000, "c": 9}),
    ):
        push_image(world, name, layers)
    cluster = ClusterState("aks-prod")
    cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "2.0")]))
    world.clusters["production"] = cluster
    async with serving(world, tmp_path, monkeypatch) as served:
        yield served


def push_image(world: World, tag: str, layers: dict[str, int]) -> None:
    """Push an old image with these layers: name -> bytes. Its configuration has 7 bytes."""

    def digest_of(text: str) -> str:
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    config_type = "application/vnd.docker.container.image.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, "size": 7, "digest": digest_of(tag)},
        "layers": [
            {"mediaType": "application/x", "size": size, "digest": digest_of(name)} for name, size in layers.items()
        ],
    }
    content = json.dumps(manifest).encode()
    world.registry.put("shop/web", tag, content, media_type, OLD, architecture="amd64", os="linux")


def document_bytes(tool: Tool, *tags: str) -> int:
    """Sum the lengths of the manifests of these tags."""
    repository = tool.world.registry.repositories["shop/web"]
    return sum(len(repository.manifests[repository.tags[tag].digest].body) for tag in tags)


def digest_of_tag(tool: Tool, tag: str) -> str:
    return tool.world.registry.repositories["shop/web"].tags[tag].digest


async def test_default_size_is_an_upper_bound(tool: Tool) -> None:
    """The output says so, and no manifest is read."""
    ran = await tool.plan()

    assert ran.report["space"] == {"bytes": UPPER_BOUND, "exact": False, "manifests_read": 0}
    assert "freeing up to" in ran.out
    assert tool.world.count(service="acr", path="/v2/shop/web/manifests") == 0


async def test_exact_size_counts_unshared_layers_once(tool: Tool) -> None:
    """A layer that a kept manifest shares is not counted."""
    expected = 500 + 30 + 2 * 7 + document_bytes(tool, "1.0", "1.1")
    ran = await tool.plan(**{"exact-sizes": "true"})

    assert ran.report["space"] == {"bytes": expected, "exact": True, "manifests_read": 3}
    assert tool.world.count(service="acr", path="/v2/shop/web/manifests") == 3
    assert "freeing up to" not in ran.out
    assert "(3 manifests read, one request each)" in " ".join(ran.out.split())

    ran = await tool.apply(**{"exact-sizes": "true"})
    assert ran.report["space"]["bytes"] == expected
    assert ran.report["counts"]["bytes"] == expected


async def test_failed_deletion_frees_no_space(tool: Tool) -> None:
    """Neither do the layers that it shares with deleted manifests."""
    expected = document_bytes(tool, "1.1") + 30 + 7
    tool.world.faults.append(Fault(service="acr", method="DELETE", path=digest_of_tag(tool, "1.0"), status=403))
    ran = await tool.apply(**{"exact-sizes": "true"})

    assert ran.deleted == {"shop/web:1.1"}
    assert ran.report["space"]["bytes"] == expected


async def test_unreadable_manifest_makes_the_size_an_upper_bound(tool: Tool) -> None:
    """A warning says so."""
    path = f"/v2/shop/web/manifests/{digest_of_tag(tool, '2.0')}"
    tool.world.faults.append(Fault(service="acr", method="GET", path=path, status=404))
    ran = await tool.plan(**{"exact-sizes": "true"})

    assert ran.report["space"]["exact"] is False
    assert ran.report["space"]["bytes"] == UPPER_BOUND
    assert "upper bound" in " ".join(ran.report["warnings"])
    assert "freeing up to" in ran.out


async def test_manifests_are_read_only_where_one_is_deleted(tool: Tool) -> None:
    tool.world.registry.push("idle/thing", "1.0", age=timedelta(days=1))
    image = tool.world.registry.image("idle/thing", "1.0")
    tool.world.clusters["production"].run(build.deployment("shop", "idle", [image]))
    await tool.plan(**{"exact-sizes": "true"})

    assert tool.world.count(service="acr", path="/v2/idle/thing/manifests") == 0
