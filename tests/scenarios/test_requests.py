"""How many requests the whole job sends: counted on the wire, against what the work itself needs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.tool_runs import serving

REPOSITORIES, MANIFESTS, GOING = 10, 125, 25


@pytest.mark.parametrize(("abac", "tokens"), [(False, 2), (True, 2)])
async def test_one_request_per_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abac: bool, tokens: int
) -> None:
    """
    Ten repositories of 250 tags on 125 manifests, 500 tags deleted with their 250 manifests.

    The work needs two pages per repository to plan, two to look once more, two to look afterwards, the repository's own lock
    whenever it is decided, one DELETE per manifest, and the tokens.
    """
    world = World(face="proxy")
    world.registry.abac = abac
    cluster = ClusterState("aks-prod")
    world.clusters["production"] = cluster
    for number in range(REPOSITORIES):
        name = f"team/service-{number}"
        for build_number in range(MANIFESTS):
            age = timedelta(days=100 if build_number < GOING else 1)
            digest = world.registry.push(name, f"{build_number}", age=age)
            world.registry.tag(name, f"{build_number}-alias", digest, age)
        cluster.run(build.deployment("team", f"service-{number}", [world.registry.image(name, f"{MANIFESTS - 1}")]))

    async with serving(world, tmp_path, monkeypatch) as tool:
        ran = await tool.apply()

        assert ran.code == 0
        assert ran.report["counts"]["deleted"] == REPOSITORIES * GOING * 2
        needed = REPOSITORIES * (2 * 3 + 2) + REPOSITORIES * GOING + tokens
        assert world.count(service="acr") <= 1.05 * needed
        assert world.count(service="acr", status=401) == 0
