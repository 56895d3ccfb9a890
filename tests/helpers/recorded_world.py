"""
The world from which the documents in `tests/data/v0_1` were written, by version 0.1.

Its digests and push times are always the same, so a recorded plan or journal still fits it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from acr_cleanup.emulator import World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.state import RegistryState
from tests.helpers.paths import DATA

FOLDER = DATA / "v0_1"

PUSHED = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

POLICY = {"delete-untagged": "true", "include-locked": "true", "backup": "true", "exclude-tags": "keep-*"}
"""The options of the recorded runs."""

HOSTILE_TAGS = ("__proto__", "null", "_1.", "A" * 128, "file.set-output-name-a--b")


def recorded_world() -> World:
    """Make the world: a registry with two repositories, and the cluster `production`."""
    world = World(face="proxy")
    _push(world.registry)
    cluster = world.clusters["production"] = ClusterState("aks-prod")
    running = world.registry.image("shop/web", "2.0")
    digest = world.registry.repositories["shop/web"].tags["2.0"].digest
    by_digest = world.registry.image("shop/web", digest=digest)
    cluster.run(build.deployment("shop", "web", [running]), image_ids={running: by_digest})
    cluster.run(build.deployment("shop", "lost", [world.registry.image("shop/web", "9.9")]))
    cluster.add(build.cronjob("shop", "report", [world.registry.image("shop/api", "2.0")]))
    cluster.run(build.deployment("shop", "api", [world.registry.image("shop/api", "2.0")]))
    return world


def _push(registry: RegistryState) -> None:
    for number, name in enumerate(("1.0", "1.1", "2.0", "keep-this", "locked", *HOSTILE_TAGS)):
        registry.push("shop/web", name, age=PUSHED + timedelta(days=number))
    registry.push("shop/web", "young")
    young = registry.repositories["shop/web"].tags["young"].digest
    registry.tag("shop/web", "old-name-of-young", young, PUSHED)
    registry.lock("shop/web", "locked")
    registry.lock("shop/web", registry.repositories["shop/web"].tags["locked"].digest, delete=False)
    registry.push("shop/web", age=PUSHED)
    children = [registry.push("shop/api", age=PUSHED, architecture=machine) for machine in ("amd64", "arm64")]
    index = registry.push_index("shop/api", "1.0", children=children, age=PUSHED)
    registry.tag("shop/api", "1.0-again", index, PUSHED)
    registry.push_referrer("shop/api", index, tag="sbom", age=PUSHED)
    registry.push("shop/api", "2.0", age=PUSHED)
