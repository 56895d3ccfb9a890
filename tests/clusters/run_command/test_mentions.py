"""Every row of the truth table of mentions, read directly and by a run command."""

from __future__ import annotations

import asyncio
import copy

import pytest

from acr_cleanup.clusters.images.mention_index import MentionIndex
from acr_cleanup.clusters.target import Access
from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.cluster_objects import OURS
from tests.helpers.emulated_clusters import edge
from tests.helpers.mention_worlds import WORLDS, MentionWorld
from tests.helpers.run_command_worlds import KUBECTL

ROWS = list(enumerate(WORLDS))
CLUSTER_SCOPED = {"StorageClass", "PersistentVolume", "CustomResourceDefinition"}


@pytest.fixture(scope="module")
def scans() -> dict[str, ClusterScan]:
    return asyncio.run(read_all_rows())


async def read_all_rows() -> dict[str, ClusterScan]:
    """Read one cluster with the objects of all rows, each row in a separate namespace."""
    cluster = ClusterState("aks-prod", kubectl=KUBECTL)
    for index, world in ROWS:
        for obj in copy.deepcopy(list(world.objects)):
            if obj["kind"] in CLUSTER_SCOPED:
                del obj["metadata"]["namespace"]
                obj["metadata"]["name"] = f"row-{index}"
            else:
                obj["metadata"]["namespace"] = f"row-{index}"
            cluster.add(obj)
    repositories = {repository for world in WORLDS for repository in world.tags}
    mirrors = {host: folder for world in WORLDS for host, folder in world.mirrors.items()}
    async with edge(cluster, registry=OURS) as at:
        return {
            access: await at.read(access, repositories=repositories, mirrors=mirrors)
            for access in (Access.DIRECT, Access.RUN_COMMAND)
        }


def stays(scan: ClusterScan, index: int, world: MentionWorld) -> dict[str, set[str]]:
    """The tags that the objects of one row keep."""
    assert isinstance(scan.mentions, MentionIndex)
    row = {f"row-{index}"}
    own = [of for of in scan.mentions.objects if row & {of.workload.namespace, of.workload.name}]
    kept: dict[str, set[str]] = {}
    for repository, tags in world.tags.items():
        mentions = MentionIndex(own).of(ListedNames(repository, dict.fromkeys(tags)))
        uses = {use.reference.tag or "" for use in scan.uses if use.workload.namespace in row}
        kept[repository] = set(tags) if mentions.of_any else {*mentions.by_tag, *(uses & set(tags))}
    return kept


@pytest.mark.parametrize(("index", "world"), ROWS, ids=[world.title for world in WORLDS])
def test_row_is_read_alike(index: int, world: MentionWorld, scans: dict[str, ClusterScan]) -> None:
    direct = stays(scans[Access.DIRECT], index, world)
    assert stays(scans[Access.RUN_COMMAND], index, world) == direct
    for repository in world.tags:
        assert world.must_stay(repository) <= direct[repository]


def test_nothing_is_unread(scans: dict[str, ClusterScan]) -> None:
    assert [scan.blockers for scan in scans.values()] == [(), ()]
    direct, command = scans[Access.DIRECT], scans[Access.RUN_COMMAND]
    assert (direct.objects, set(direct.uses)) == (command.objects, set(command.uses))
