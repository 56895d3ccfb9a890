"""A further kind of cluster target is one class: scan, survey and search ask the target itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from acr_cleanup.clusters.survey import survey_clusters
from acr_cleanup.clusters.target import ClusterAccess, ClusterSurvey, ClusterTarget, Search
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster, SnapshotCluster
from acr_cleanup.clusters.unlisted import find_unlisted
from acr_cleanup.core.references import parse_reference
from acr_cleanup.core.usage import ClusterScan, ImageUse
from acr_cleanup.core.workload import Workload
from tests.helpers.cluster_objects import OURS
from tests.helpers.emulated_clusters import edge, shop, target

PLACE = ("aks", "00000000-0000-0000-0000-000000000000", "rg")
AKS = AksCluster("prod", *PLACE)


@dataclass(frozen=True, slots=True)
class ListCluster(ClusterTarget):
    """A kind of target that the package does not have: a file with one image per line."""

    key: str
    path: Path

    @property
    def resource_id(self) -> str | None:
        return AKS.resource_id

    def describe(self) -> str:
        return f"list of images {self.path}"

    async def read(self, access: ClusterAccess, search: Search) -> ClusterScan:
        lines = (await asyncio.to_thread(self.path.read_text)).split()
        workload = Workload(self.key, "", "List", self.path.name)
        references = [parse_reference(line) for line in lines]
        return ClusterScan(
            self.key,
            uses=tuple(
                ImageUse(workload, "", "line", str(reference), reference)
                for reference in references
                if reference.host == search.registry.login_server
            ),
        )


async def test_further_kind_of_target_is_scanned(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.write_text("contoso.azurecr.io/shop/web:1 docker.io/library/nginx:2\n")
    async with edge(shop(), registry=OURS) as at:
        (scan,) = await at.scan(ListCluster("prod", images))
        assert [str(use.reference) for use in scan.uses] == ["contoso.azurecr.io/shop/web:1"]
        assert scan.blockers == ()


async def test_failing_further_kind_is_a_blocker(tmp_path: Path) -> None:
    async with edge(shop(), registry=OURS) as at:
        broken, sound = await at.scan(ListCluster("broken", tmp_path / "absent"), target(shop()))
        (blocker,) = broken.blockers
        assert blocker.call == f"read list of images {tmp_path / 'absent'}"
        assert "FileNotFoundError" in blocker.seen
        assert sound.blockers == ()
        assert sound.uses


async def test_further_kind_of_target_is_surveyed_and_recognised(tmp_path: Path) -> None:
    """
    By default, it is not asked anything, and its `resource_id` tells the search for unlisted
    clusters which cluster it is.
    """
    listed = ListCluster("prod", tmp_path / "images")
    async with edge(shop(), registry=OURS) as at:
        assert await survey_clusters([listed], at.azure) == (ClusterSurvey(listed),)
        assert (await find_unlisted([listed], [], at.azure, required=False)).warnings != ()
    async with edge(shop("aks", resource_group="rg")) as at:
        assert (await find_unlisted([listed], [], at.azure, required=False)).warnings == ()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (AKS, AksCluster("again", "AKS", PLACE[1], "RG"), True),
        (AKS, AksCluster("prod", "aks-2", *PLACE[1:]), False),
        (KubeconfigCluster("a", Path("config")), KubeconfigCluster("b", Path.cwd() / "config"), True),
        (KubeconfigCluster("a", Path("config")), KubeconfigCluster("a", Path("config"), "context"), False),
        (SnapshotCluster("a", Path("usage")), SnapshotCluster("a", Path.cwd() / "usage"), True),
        (SnapshotCluster("a", Path("usage")), SnapshotCluster("b", Path("usage")), False),
        (ListCluster("a", Path("x")), ListCluster("b", Path("x")), True),
    ],
)
def test_place_identifies_the_cluster(first: ClusterTarget, second: ClusterTarget, same: bool) -> None:
    assert (first.place() == second.place()) is same


def test_targets_describe_themselves() -> None:
    kubeconfig = KubeconfigCluster("k", Path("config"), "admin")
    snapshot = SnapshotCluster("s", Path("usage.json"), resource_id=AKS.resource_id)
    assert [target.resource_id for target in (AKS, kubeconfig, snapshot)] == [AKS.resource_id, None, AKS.resource_id]
    assert AKS.describe() == f"AKS cluster aks in resource group rg of subscription {PLACE[1]}"
    assert kubeconfig.describe() == "context admin of config"
    assert KubeconfigCluster("k", Path("config")).describe() == "current context of config"
    assert snapshot.describe() == "cluster s in the usage snapshot usage.json"
