"""
Reading usage snapshots: only a whole and recent one, of this cluster and registry, is accepted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters import snapshot
from acr_cleanup.clusters.snapshot import SnapshotEntry, write_snapshot
from acr_cleanup.clusters.snapshot_reader import recorded_resource_id
from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import Blocker, ClusterScan, UsageIndex
from acr_cleanup.records.names import RegistryNames
from tests.helpers.snapshots import AKS, DIGEST, KEY, NOW, REGISTRY, SCAN, as_read, read, write


def test_merged_snapshot_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "usage.json", *(ClusterScan(f"c{n}") for n in range(5)))
    decoded: list[object] = []
    plain = msgspec.json.decode

    def counted(*arguments: Any, **more: Any) -> Any:
        decoded.append(more["type"])
        return plain(*arguments, **more)

    monkeypatch.setattr(msgspec.json, "decode", counted)
    for n in range(5):
        assert read(path, key=f"c{n}").blockers == ()
    assert len(decoded) == 2, "once for its version, once for its content"


def test_replaced_snapshot_is_decoded_again(path: Path) -> None:
    assert len(read(path).uses) == 4
    write(path, replace(SCAN, uses=SCAN.uses[:1]))
    assert len(read(path).uses) == 1


def test_missing_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadFailure) as refused:
        read(tmp_path / "usage.json")
    assert "the file does not exist" in refused.value.seen
    assert "acr-cleanup collect" in refused.value.remedy
    assert str(tmp_path / "usage.json")[:100] in refused.value.call


def test_folder_or_pipe_is_refused(tmp_path: Path) -> None:
    """Opening a pipe would block for ever."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe"):
        with pytest.raises(ReadFailure, match="it is not a regular file"):
            read(tmp_path / name)


def test_unreadable_snapshot_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ReadFailure, match="Permission denied"):
        read(path)


def test_impossible_path_is_refused() -> None:
    with pytest.raises(ReadFailure):
        read(Path("usage\0.json"))


def test_oversized_snapshot_is_refused(path: Path) -> None:
    """Its size is checked before it is opened."""
    os.truncate(path, snapshot.MAX_BYTES + 1)
    with pytest.raises(ReadFailure, match="512 MiB"):
        read(path)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff\xfe", b"null", b"[]", b"{}", b'"usage"', b"not json", b'{"schema_version": 2}', b'{"schema_version": "1"}',
        b'{"schema_version": 2, "clusters": null}', b"[" * 100_000, b'{"a":' * 100_000, b'{"schema_version": 2}{}',
        b"<html>Sign in</html>",
    ],
)  # fmt: skip
def test_other_content_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ReadFailure, match="it is not a usage snapshot"):
        read(path)


@pytest.mark.parametrize("length", [1, 100, 1000, -2])
def test_truncated_snapshot_is_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ReadFailure, match="a part of one"):
        read(path)


def test_other_schema_version_is_refused(path: Path) -> None:
    path.write_text('{"schema_version": 4, "new": {}}')
    with pytest.raises(ReadFailure, match="its schema version is 4"):
        read(path)


def edit(path: Path, change: Callable[[Any], object], *, forge: bool = False) -> None:
    """Change the content of the file. With `forge`, also replace the hash by the right one."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    if forge:
        content.pop("hash")
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        content["hash"] = f"sha256:{sha256(canonical).hexdigest()}"
    path.write_text(json.dumps(content), encoding="utf-8")


def web(content: Any) -> Any:
    """Return the numbers of places and images of the only object with uses."""
    return content["clusters"][0]["uses"]["shop"]["Deployment"]["web"]


EDITS: dict[str, Callable[[Any], object]] = {
    "a use is gone": lambda it: web(it).pop(),
    "a blocker is gone": lambda it: it["clusters"][0]["blockers"].clear(),
    "a tag is another": lambda it: it["clusters"][0]["images"][0].update(tag="1.0"),
    "it is younger": lambda it: it["clusters"][0].update(read_at="2026-11-22T10:00:01Z"),
    "it is of another registry": lambda it: it["registry"].update(login_server="fabrikam.azurecr.io"),
    "it is of another cluster": lambda it: it["clusters"][0].update(cluster="test"),
    "a cluster is gone": lambda it: it["clusters"].clear(),
    "the hash is another": lambda it: it.update(hash=f"sha256:{'0' * 64}"),
    "the hash is empty": lambda it: it.update(hash=""),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_edited_snapshot_is_refused(path: Path, change: Callable[[Any], object]) -> None:
    write(path, replace(SCAN, blockers=(Blocker(KEY, "list pods", "500.", "Run again.", "pods"),)))
    edit(path, change)
    with pytest.raises(ReadFailure, match="it was modified after it was written"):
        read(path)


def as_version_2(content: Any) -> None:
    content["schema_version"] = 2
    for cluster in content["clusters"]:
        places, images = cluster.pop("places"), cluster.pop("images")
        cluster["uses"] = [
            {"namespace": namespace, "kind": kind, "name": name, **places[place], **images[image]}
            for namespace, kinds in cluster["uses"].items()
            for kind, names in kinds.items()
            for name, pairs in names.items()
            for place, image in pairs
        ]


def test_snapshot_of_version_2_is_read(path: Path) -> None:
    edit(path, as_version_2, forge=True)
    assert read(path) == as_read(SCAN)


def test_white_space_is_not_an_edit(path: Path) -> None:
    edit(path, lambda _: None)
    assert read(path) == as_read(SCAN)


FORGED: dict[str, Callable[[Any], object]] = {
    "a repository that cannot be": lambda it: it["clusters"][0]["images"][0].update(repository="Shop/Web"),
    "a repository with a tag in it": lambda it: it["clusters"][0]["images"][0].update(
        repository="shop/web:1", tag=None
    ),
    "a tag that cannot be": lambda it: it["clusters"][0]["images"][0].update(tag="1\n::set-output name=x::1"),
    "an empty tag": lambda it: it["clusters"][0]["images"][0].update(tag=""),
    "a tag with a digest in it": lambda it: it["clusters"][0]["images"][0].update(tag=f"1@{DIGEST}"),
    "a digest that cannot be": lambda it: it["clusters"][0]["images"][1].update(digest="sha256:ABC"),
    "a host that cannot be": lambda it: it["clusters"][0]["images"][0].update(host="contoso azurecr io"),
    "a host in other letters": lambda it: it["clusters"][0]["images"][0].update(host="CONTOSO.azurecr.io"),
    "no host": lambda it: it["clusters"][0]["images"][0].update(host=""),
    "an open use of no repository": lambda it: it["clusters"][0]["images"][3].update(repository=""),
    "a number for a name": lambda it: it["clusters"][0]["images"][0].update(text=7),
    "a place that is missing": lambda it: web(it).append([len(it["clusters"][0]["places"]), 0]),
    "an image that is missing": lambda it: web(it).append([0, len(it["clusters"][0]["images"])]),
    "an image before the first": lambda it: web(it).append([0, -1]),
    "uses without images": lambda it: it["clusters"][0].pop("images"),
    "null for a list": lambda it: it["clusters"][0].update(uses=None),
    "text for a truth": lambda it: it["clusters"][0]["places"][0].update(running="true"),
    "less than nothing": lambda it: it["clusters"][0].update(objects=-1),
    "a time of no zone": lambda it: it["clusters"][0].update(read_at="2026-11-22T10:00:00"),
    "no time": lambda it: it["clusters"][0].update(read_at="yesterday"),
    "unknown member": lambda it: it["clusters"][0].update(more=1),
    "a member less": lambda it: it["clusters"][0].pop("blockers"),
    "the cluster twice": lambda it: it["clusters"].append(it["clusters"][0]),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_forged_snapshot_with_valid_hash_is_refused(path: Path, change: Callable[[Any], object]) -> None:
    """Names are checked even if the hash is right."""
    edit(path, change, forge=True)
    with pytest.raises(ReadFailure) as refused:
        read(path)
    assert "modified after" not in refused.value.seen
    assert refused.value.seen.isprintable()


def test_cluster_missing_in_snapshot_is_refused(path: Path) -> None:
    with pytest.raises(ReadFailure, match=r"it has no cluster test. It has: production."):
        read(path, key="test")


def test_snapshot_of_other_registry_is_refused(path: Path) -> None:
    with pytest.raises(ReadFailure, match=r"for the registry contoso.azurecr.io, not for fabrikam.azurecr.io"):
        read(path, registry=RegistryHost("fabrikam.azurecr.io"))


def test_registry_is_compared_without_case_and_port(path: Path) -> None:
    assert read(path, registry=RegistryHost("CONTOSO.azurecr.io:443")).blockers == ()


def test_snapshot_of_other_aks_cluster_is_refused(path: Path) -> None:
    assert read(path, resource_id=AKS.upper()).blockers == ()
    with pytest.raises(ReadFailure, match=r"it was read from .*/aks, not from .*/aks-2"):
        read(path, resource_id=f"{AKS}-2")


def test_snapshot_without_resource_id_rejects_aks_target(path: Path) -> None:
    write_snapshot(path, REGISTRY, [SnapshotEntry(SCAN, NOW)], helm_history=3, created_at=NOW, names=NO_NAMES)
    assert read(path).blockers == ()
    with pytest.raises(ReadFailure, match="a cluster without a resource id"):
        read(path, resource_id=AKS)


NO_NAMES = RegistryNames(REGISTRY.login_server, NOW, ())


def doubts(scan: ClusterScan) -> list[str]:
    """Return what the blockers of a scan say, after checking that its uses are complete."""
    assert scan.uses == SCAN.uses
    assert UsageIndex.of([scan], NOW).blockers == scan.blockers
    assert all(blocker.where == KEY and blocker.remedy and not blocker.kind for blocker in scan.blockers)
    return [blocker.seen for blocker in scan.blockers]


@pytest.mark.parametrize(
    ("age", "fits"),
    [
        (timedelta(0), True),
        (timedelta(hours=24), True),
        (timedelta(hours=24, seconds=1), False),
        (timedelta(days=400), False),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, seconds=-1), False),
        (timedelta(days=-400), False),
    ],
)
def test_age_of_snapshot_is_limited(path: Path, age: timedelta, fits: bool) -> None:
    assert (doubts(read(path, now=NOW + age)) == []) is fits


def test_old_snapshot_blocker_names_limit_and_remedy(path: Path) -> None:
    (blocker,) = read(path, now=NOW + timedelta(hours=3), max_age=timedelta(hours=2)).blockers
    assert blocker.seen == "it was read at 2026-11-22 10:00:00 UTC, 3 h ago. `max_age` allows 2 h."
    assert blocker.remedy == "Collect it again (acr-cleanup collect CONFIG --out usage.json)."


def test_each_cluster_in_snapshot_has_own_age(tmp_path: Path) -> None:
    """A file that was merged today may have clusters that were read last week."""
    path = tmp_path / "usage.json"
    old = SnapshotEntry(ClusterScan("old"), NOW - timedelta(days=7))
    write_snapshot(path, REGISTRY, [SnapshotEntry(SCAN, NOW), old], helm_history=3, created_at=NOW, names=NO_NAMES)
    assert read(path).blockers == ()
    assert len(read(path, key="old").blockers) == 1


def test_alias_missing_in_snapshot_is_a_blocker(path: Path) -> None:
    more = RegistryHost("contoso.azurecr.io", REGISTRY.aliases | {"cr.contoso.example"})
    assert doubts(read(path, registry=more)) == [
        "it was collected without the registry's alias cr.contoso.example, so images used by that name are not in it."
    ]
    assert doubts(read(path, registry=RegistryHost("contoso.azurecr.io"))) == [], "an additional alias is harmless"


def test_shorter_helm_history_is_a_blocker(path: Path) -> None:
    assert doubts(read(path, helm=4)) == ["it has 3 revisions of each Helm release, and this run asks for 4."]
    assert doubts(read(path, helm=0)) == []


def test_all_problems_are_reported_at_once(path: Path) -> None:
    registry = RegistryHost("contoso.azurecr.io", frozenset({"a.example", "b.example"}))
    assert len(doubts(read(path, now=NOW + timedelta(days=9), registry=registry, helm=9))) == 4


def test_recorded_blocker_blocks_the_run(path: Path) -> None:
    """
    Even if its cause was solved since: only another scan can show that. It can be waived by its
    kind.
    """
    blocker = Blocker(KEY, "list pods", "403 Forbidden.", "Give the role.", "pods")
    scan = read(write(path, replace(SCAN, blockers=(blocker,))))
    again = "Give the role. Collect it again (acr-cleanup collect CONFIG --out usage.json)."
    assert scan.blockers == (replace(blocker, remedy=again),)
    assert scan.waive(["Pods"]).blockers == ()
    assert read(write(path, replace(SCAN, blockers=scan.blockers))).blockers == scan.blockers, (
        "the remedy is not repeated"
    )


def test_recorded_waiver_remains_a_warning(path: Path) -> None:
    warnings = UsageIndex.of([read(path)], NOW).warnings
    assert any("rollouts.argoproj.io is waived" in warning for warning in warnings)
    assert any("managed by Helm" in warning for warning in warnings)


def test_recorded_resource_id_is_returned(path: Path) -> None:
    assert recorded_resource_id(SnapshotCluster(KEY, path)) == AKS
    assert recorded_resource_id(SnapshotCluster("test", path)) is None
