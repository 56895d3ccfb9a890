"""
Run commands find the same as direct reading: in a real shell, with the real kubectl and a stub.
"""

from __future__ import annotations

import base64
import gzip
import shutil
from collections import defaultdict
from typing import Any

import pytest

from acr_cleanup.clusters.images.mention_index import MentionIndex
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.run_command.script import context, script
from acr_cleanup.clusters.target import Access
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.emulator.kubernetes.run_command import run_command
from tests.helpers.cluster_objects import NAMES, OURS, SEARCH, WEB, blockers, used
from tests.helpers.emulated_clusters import edge, shop
from tests.helpers.run_command_worlds import (
    KUBECTL,
    KUBECTLS,
    helm_world,
    hidden_world,
    nasty_world,
    random_world,
    real_world,
    rich_world,
)

pytestmark = pytest.mark.extended


def mentions_by_workload(scan: ClusterScan) -> dict[str, set[object]]:
    """
    Each name, the words near it and the words of its object. Replicas of a workload count together.
    """
    assert isinstance(scan.mentions, MentionIndex)
    found: defaultdict[str, set[object]] = defaultdict(set)
    for of in scan.mentions.objects:
        for key, name in of.names.items():
            flags = (name.open, name.open_chart, name.bare, name.is_partial, name.has_tag, name.is_image)
            found[str(of.workload)].add((key, frozenset(name.near), frozenset(name.beside), *map(bool, flags)))
        found[str(of.workload)] |= {*of.words.split(), *(of.letters or b"").split(), *of.versions}
    return found


@pytest.fixture(params=[real_world, nasty_world, rich_world, hidden_world, shop], ids=lambda make: make.__name__)
def world(request: pytest.FixtureRequest) -> ClusterState:
    made: ClusterState = request.param()
    return made


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_run_command_finds_same_as_direct_reading(world: ClusterState, kubectl: Any) -> None:
    world.kubectl = kubectl
    async with edge(world, registry=OURS) as at:
        direct, command = await at.read(Access.DIRECT), await at.read(Access.RUN_COMMAND)
    assert direct.uses
    assert set(command.uses) == set(direct.uses)
    assert mentions_by_workload(command) == mentions_by_workload(direct)
    assert set(command.blockers) == set(direct.blockers)
    assert set(command.notes) == set(direct.notes)
    assert command.objects == direct.objects


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 37])
async def test_run_command_agrees_on_random_clusters(seed: int) -> None:
    world = random_world(seed)
    world.kubectl = "real" if seed % 2 and shutil.which("kubectl") else "stub"
    async with edge(world, registry=OURS) as at:
        direct, command = await at.read(Access.DIRECT), await at.read(Access.RUN_COMMAND)
    assert set(command.uses) == set(direct.uses)
    assert mentions_by_workload(command) == mentions_by_workload(direct)
    assert set(command.blockers) == set(direct.blockers)
    assert set(command.notes) == set(direct.notes)
    assert command.objects == direct.objects


@pytest.mark.parametrize("revisions", [1, 3])
async def test_run_command_agrees_on_helm_history(revisions: int) -> None:
    world = helm_world()
    world.kubectl = KUBECTL
    async with edge(world, registry=OURS) as at:
        direct = await at.read(Access.DIRECT, helm_history=revisions)
        command = await at.read(Access.RUN_COMMAND, helm_history=revisions)
    assert {f"{WEB}:helm-3", f"{WEB}:helm-11", f"{WEB}:in-configmap", f"{WEB}:unlabelled"} <= used(command)
    assert f"{WEB}:helm-4" not in used(command)
    assert set(command.uses) == set(direct.uses)
    assert {(blocker.call, blocker.kind) for blocker in command.blockers} == {
        (blocker.call, blocker.kind) for blocker in direct.blockers
    }
    assert "ops/sh.helm.release.v1.broken.v1" in blockers(command)
    assert command.objects == direct.objects


async def test_unrelated_text_is_not_transferred() -> None:
    """
    A value without an image, or an object that does not name the registry, is not in the result.
    """
    world = rich_world()
    async with edge(world, registry=OURS) as at:
        await at.read(Access.RUN_COMMAND)
        result = await run_command(
            at.world, world, at.emulator.authority, command=script(SEARCH), context=context(NAMES)
        )
    lines = result.logs.splitlines()
    body = gzip.decompress(base64.b64decode("".join(lines[1:-1]))).decode()
    assert f"{WEB}:sidecar" in body
    assert "correct horse" not in body
    assert "nginx" not in body


FAULTS: dict[str, dict[str, Any]] = {
    "forbidden kinds": {"forbidden": {"cronjobs.batch", "rollouts.argoproj.io", "configmaps", "podtemplates"}},
    "an empty answer in place of a refusal": {"hidden": {"rollouts.argoproj.io", "jobs.batch"}},
    "an aggregated API that is down": {"dead_apis": {"custom.metrics.k8s.io/v1beta1", "x.example.com/v1"}},
    "an API that holds no images and is down": {"dead_apis": {"metrics.k8s.io/v1beta1"}},
}


@pytest.mark.parametrize("settings", FAULTS.values(), ids=FAULTS)
async def test_run_command_has_same_blockers(settings: dict[str, Any]) -> None:
    """The blockers name the same kinds, so the same waiver applies to both."""
    world = rich_world()
    world.kubectl = KUBECTL
    for name, value in settings.items():
        setattr(world, name, value)
    async with edge(world, registry=OURS) as at:
        direct, command = await at.read(Access.DIRECT), await at.read(Access.RUN_COMMAND)
        assert set(command.uses) == set(direct.uses)
        missed = {blocker.kind for blocker in direct.blockers}
        assert {blocker.kind for blocker in command.blockers} == missed
        assert {blocker.call for blocker in command.blockers} == {blocker.call for blocker in direct.blockers}
        assert "" not in missed
    waived = command.waive(missed)
    assert waived.blockers == ()
    assert {blocker.kind for blocker in waived.waived} == missed


async def test_forbidden_cluster_blocks_kind_by_kind() -> None:
    async with edge(shop(forbidden={"*"}), registry=OURS) as at:
        scan = await at.read(Access.RUN_COMMAND)
    assert {blocker.kind for blocker in scan.blockers} >= {*map(str, KINDS), "configmaps"}


async def test_list_that_fails_once_is_retried() -> None:
    cluster = rich_world()
    cluster.page_cap, cluster.expire_continue = 1, {"pods": 1, "configmaps": 1, "rollouts.argoproj.io": 2}
    async with edge(cluster, registry=OURS) as at:
        command = await at.read(Access.RUN_COMMAND)
        direct = await at.read(Access.DIRECT)
    assert command.blockers == ()
    assert set(command.uses) == set(direct.uses)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"truncate_log_at": 600}, "512 kB"),
        ({"truncate_log_at": 40}, "start and one end marker"),
        ({"exit_code": 1}, "exit code 1"),
        ({"empty_log": True}, "its log is empty"),
        ({"prefix_line": "Warning: policy/v1beta1 PodSecurityPolicy is deprecated"}, "PodSecurityPolicy is deprecated"),
        ({"run_command_reason": "ImagePullBackoff"}, "ImagePullBackoff"),
        ({"disable_run_command": True}, "disabled"),
        ({"dead_apis": {"custom.metrics.k8s.io/v1beta1"}}, "custom.metrics.k8s.io/v1beta1"),
    ],
    ids=str,
)
async def test_damaged_run_command_is_a_blocker(settings: dict[str, Any], words: str) -> None:
    async with edge(shop(private=True, **settings), registry=OURS) as at:
        scan = await at.read()
    assert words in blockers(scan)
    assert bool(scan.blockers) == bool(words)


async def test_large_cluster_fits_into_log() -> None:
    """Replicas share one line, so 3,000 pods of 300 workloads need far less than 512 kB."""
    cluster = ClusterState("aks-prod", private=True)
    for n in range(300):
        cluster.run(build.deployment("shop", f"web-{n}", [f"{WEB}:{n}"], replicas=10))
    async with edge(cluster, registry=OURS) as at:
        cluster.truncate_log_at = 128 * 1024
        scan = await at.read()
    assert scan.blockers == ()
    assert len({use.reference.tag for use in scan.uses} - {None}) == 300
    assert scan.objects == 300 * 12 + 1  # the last one is their namespace
