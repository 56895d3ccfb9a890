"""The number of requests that a whole run sends to the registry."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.in_memory_world import serving

REPOSITORIES, MANIFESTS, OLD_MANIFESTS = 10, 125, 25


@pytest.mark.extended
@pytest.mark.parametrize(("abac", "tokens"), [(False, 2), (True, 2)])
async def test_run_sends_one_request_per_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abac: bool, tokens: int
) -> None:
    """
    A run deletes 500 of 2,500 tags with their 250 manifests, in ten repositories.

    It needs for each repository two pages for the plan, two for the second look and two for the
    verification, and reads the repository's lock for each of the first two. It needs one DELETE
    per manifest, and the tokens.
    """
    world = World(face="proxy")
    world.registry.abac = abac
    cluster = ClusterState("aks-prod")
    world.clusters["production"] = cluster
    for number in range(REPOSITORIES):
        name = f"team/service-{number}"
        for build_number in range(MANIFESTS):
            age = timedelta(days=100 if build_number < OLD_MANIFESTS else 1)
            digest = world.registry.push(name, f"{build_number}", age=age)
            world.registry.tag(name, f"{build_number}-alias", digest, age)
        cluster.run(build.deployment("team", f"service-{number}", [world.registry.image(name, f"{MANIFESTS - 1}")]))

    async with serving(world, tmp_path, monkeypatch) as tool:
        ran = await tool.apply()

        assert ran.code == 0
        assert ran.report["counts"]["deleted"] == REPOSITORIES * OLD_MANIFESTS * 2
        required = REPOSITORIES * (2 * 3 + 2) + REPOSITORIES * OLD_MANIFESTS + tokens
        assert world.count(service="acr") <= 1.05 * required
        assert world.count(service="acr", status=401) == 0
