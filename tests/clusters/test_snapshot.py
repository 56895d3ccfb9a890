"""A usage snapshot stands in for its cluster only if it is whole, fresh, and of this cluster and registry."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acr_cleanup import __version__
from acr_cleanup.clusters import snapshot
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.clusters.snapshot import SnapshotEntry, write_snapshot
from acr_cleanup.clusters.snapshot_reader import read_snapshot, recorded_resource_id
from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.core.references import Digest, ImageReference, Registry, parse_reference
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse, UsageIndex, Workload
from acr_cleanup.records.schemas import schema

NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
KEY = "production"
REGISTRY = Registry("contoso.azurecr.io", frozenset({"images.contoso.example"}))
AKS = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks"
DIGEST = Digest(f"sha256:{'0a' * 32}")

SCHEMA = schema("snapshot")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def use(reference: ImageReference, *, running: bool = False, name: str = "web") -> ImageUse:
    workload = Workload(KEY, "shop", "Deployment", name)
    return ImageUse(workload, "main", "spec.containers[0].image", str(reference), reference, running)


SCAN = ClusterScan(
    KEY,
    uses=(
        use(parse_reference("contoso.azurecr.io/shop/web:2.0"), running=True),
        use(parse_reference(f"contoso.azurecr.io/shop/web:2.1@{DIGEST}")),
        use(parse_reference(f"contoso.azurecr.io/shop/web@{DIGEST}")),
        use(ImageReference("contoso.azurecr.io", "shop/api", None, None)),
    ),
    access="direct",
    objects=12,
    waived=(Blocker(KEY, "list rollouts.argoproj.io", "403 Forbidden.", "Let it.", "rollouts.argoproj.io"),),
    notes=("It is managed by Helm.",),
)


def write(
    path: Path, *scans: ClusterScan, read_at: datetime = NOW, registry: Registry = REGISTRY, helm_history: int = 3
) -> Path:
    clusters = [SnapshotEntry(scan, read_at, AKS) for scan in scans or (SCAN,)]
    write_snapshot(path, registry, clusters, helm_history=helm_history, created_at=read_at)
    return path


def read(
    path: Path, *, now: datetime = NOW, registry: Registry = REGISTRY, helm: int = 3, **target: Any
) -> ClusterScan:
    return read_snapshot(SnapshotCluster(target.pop("key", KEY), path, **target), registry, helm, now)


def as_read(scan: ClusterScan, read_at: datetime = NOW) -> ClusterScan:
    return replace(scan, access="snapshot", read_at=read_at, resource_id=AKS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "usage.json")


@pytest.fixture
def whole(path: Path) -> bytes:
    return path.read_bytes()


# -- what is written -------------------------------------------------------------------------------


def test_what_was_written_is_read(path: Path) -> None:
    assert read(path) == as_read(SCAN)


def test_the_file_is_as_its_published_schema_says(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    blocked = replace(SCAN, blockers=(Blocker(KEY, "list pods", "500.", "Run again.", "pods"),))
    content = json.loads(write(path, blocked).read_text("utf-8"))
    VALIDATOR.validate(content)
    assert content["schema_version"] == 1
    assert content["tool_version"] == __version__
    assert content["registry"] == {"login_server": "contoso.azurecr.io", "aliases": ["images.contoso.example"]}
    assert content["clusters"][0]["read_at"] == "2026-11-22T10:00:00.123456Z"


def test_anybody_can_compute_the_hash(path: Path) -> None:
    """With the JSON of another library: what is canonical must not be an accident of ours."""
    odd = replace(SCAN, notes=('\u2028 \x7f \x00 " \\ / \u00e9 \U0001f9f9 \ttab\n',))
    content = json.loads(write(path, odd).read_text("utf-8"))
    told = content.pop("hash")
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert told == f"sha256:{sha256(canonical).hexdigest()}"


def test_the_file_is_there_completely_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acr_cleanup.clusters.snapshot.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, ClusterScan(KEY))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_many_uses_make_no_large_file(tmp_path: Path) -> None:
    """50,000 uses, as of a large company, stay far below what is read."""
    uses = tuple(use(parse_reference(f"contoso.azurecr.io/shop/web:{n}"), name=f"web-{n}") for n in range(50_000))
    scan = replace(SCAN, uses=uses)
    path = write(tmp_path / "usage.json", scan)
    assert path.stat().st_size < 25_000_000 < snapshot.MAX_BYTES
    assert read(path) == as_read(scan)


def test_half_a_surrogate_pair_does_not_spoil_the_file(path: Path) -> None:
    write(path, replace(SCAN, notes=("half \ud800",)))
    assert read(path).notes == ("half \\ud800",)


# -- a file is decoded once ------------------------------------------------------------------------


def test_a_merged_file_is_decoded_once_for_all_its_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "usage.json", *(ClusterScan(f"c{n}") for n in range(5)))
    decoded: list[object] = []
    plain = msgspec.json.decode

    def counted(*arguments: Any, **more: Any) -> Any:
        decoded.append(more["type"])
        return plain(*arguments, **more)

    monkeypatch.setattr(msgspec.json, "decode", counted)
    for n in range(5):
        assert read(path, key=f"c{n}").blockers == ()
    assert len(decoded) == 2, "its version, and the whole"


def test_a_file_that_was_replaced_is_read_anew(path: Path) -> None:
    assert len(read(path).uses) == 4
    write(path, replace(SCAN, uses=SCAN.uses[:1]))
    assert len(read(path).uses) == 1


# -- what is refused outright ----------------------------------------------------------------------


def test_a_missing_file_is_a_blocker(tmp_path: Path) -> None:
    with pytest.raises(ReadFailure) as refused:
        read(tmp_path / "usage.json")
    assert "the file does not exist" in refused.value.seen
    assert "acr-cleanup collect" in refused.value.remedy
    assert str(tmp_path / "usage.json")[:100] in refused.value.call


def test_a_folder_or_a_pipe_is_no_snapshot(tmp_path: Path) -> None:
    """A pipe would let the run wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe"):
        with pytest.raises(ReadFailure, match="it is not a regular file"):
            read(tmp_path / name)


def test_a_file_that_cannot_be_read_is_a_blocker(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ReadFailure, match="Permission denied"):
        read(path)


def test_a_path_that_is_none_is_a_blocker() -> None:
    with pytest.raises(ReadFailure):
        read(Path("usage\0.json"))


def test_a_file_without_bounds_is_not_even_opened(path: Path) -> None:
    os.truncate(path, snapshot.MAX_BYTES + 1)
    with pytest.raises(ReadFailure, match="512 MiB"):
        read(path)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff\xfe", b"null", b"[]", b"{}", b'"usage"', b"not json", b'{"schema_version": 1}', b'{"schema_version": "1"}',
        b'{"schema_version": 1, "clusters": null}', b"[" * 100_000, b'{"a":' * 100_000, b'{"schema_version": 1}{}',
        b"<html>Sign in</html>",
    ],
)  # fmt: skip
def test_what_is_no_snapshot_is_a_blocker(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ReadFailure, match="it is not a usage snapshot"):
        read(path)


@pytest.mark.parametrize("length", [1, 100, 1000, -2])
def test_a_part_of_a_snapshot_is_a_blocker(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ReadFailure, match="a part of one"):
        read(path)


def test_another_version_is_a_blocker_whatever_else_it_holds(path: Path) -> None:
    path.write_text('{"schema_version": 2, "new": {}}')
    with pytest.raises(ReadFailure, match="its schema version is 2"):
        read(path)


def edit(path: Path, change: Callable[[Any], object], *, forge: bool = False) -> None:
    """Change the content; `forge` computes the hash anew, as whoever writes the file could."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    if forge:
        content.pop("hash")
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        content["hash"] = f"sha256:{sha256(canonical).hexdigest()}"
    path.write_text(json.dumps(content), encoding="utf-8")


EDITS: dict[str, Callable[[Any], object]] = {
    "a use is gone": lambda it: it["clusters"][0]["uses"].pop(),
    "a blocker is gone": lambda it: it["clusters"][0]["blockers"].clear(),
    "a tag is another": lambda it: it["clusters"][0]["uses"][0].update(tag="1.0"),
    "it is younger": lambda it: it["clusters"][0].update(read_at="2026-11-22T10:00:01Z"),
    "it is of another registry": lambda it: it["registry"].update(login_server="fabrikam.azurecr.io"),
    "it is of another cluster": lambda it: it["clusters"][0].update(cluster="test"),
    "a cluster is gone": lambda it: it["clusters"].clear(),
    "the hash is another": lambda it: it.update(hash=f"sha256:{'0' * 64}"),
    "the hash is empty": lambda it: it.update(hash=""),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edited_snapshot_is_a_blocker(path: Path, change: Callable[[Any], object]) -> None:
    write(path, replace(SCAN, blockers=(Blocker(KEY, "list pods", "500.", "Run again.", "pods"),)))
    edit(path, change)
    with pytest.raises(ReadFailure, match="it was modified after it was written"):
        read(path)


def test_white_space_is_no_edit(path: Path) -> None:
    edit(path, lambda _: None)
    assert read(path) == as_read(SCAN)


FORGED: dict[str, Callable[[Any], object]] = {
    "a repository that cannot be": lambda it: it["clusters"][0]["uses"][0].update(repository="Shop/Web"),
    "a repository with a tag in it": lambda it: it["clusters"][0]["uses"][0].update(repository="shop/web:1", tag=None),
    "a tag that cannot be": lambda it: it["clusters"][0]["uses"][0].update(tag="1\n::set-output name=x::1"),
    "an empty tag": lambda it: it["clusters"][0]["uses"][0].update(tag=""),
    "a tag with a digest in it": lambda it: it["clusters"][0]["uses"][0].update(tag=f"1@{DIGEST}"),
    "a digest that cannot be": lambda it: it["clusters"][0]["uses"][1].update(digest="sha256:ABC"),
    "a host that cannot be": lambda it: it["clusters"][0]["uses"][0].update(host="contoso azurecr io"),
    "a host in other letters": lambda it: it["clusters"][0]["uses"][0].update(host="CONTOSO.azurecr.io"),
    "no host": lambda it: it["clusters"][0]["uses"][0].update(host=""),
    "an open use of no repository": lambda it: it["clusters"][0]["uses"][3].update(repository=""),
    "a number for a name": lambda it: it["clusters"][0]["uses"][0].update(name=7),
    "null for a list": lambda it: it["clusters"][0].update(uses=None),
    "text for a truth": lambda it: it["clusters"][0]["uses"][0].update(running="true"),
    "less than nothing": lambda it: it["clusters"][0].update(objects=-1),
    "a time of no zone": lambda it: it["clusters"][0].update(read_at="2026-11-22T10:00:00"),
    "no time": lambda it: it["clusters"][0].update(read_at="yesterday"),
    "a member nobody knows": lambda it: it["clusters"][0].update(more=1),
    "a member less": lambda it: it["clusters"][0].pop("blockers"),
    "the cluster twice": lambda it: it["clusters"].append(it["clusters"][0]),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_names_are_checked_even_if_the_hash_is_right(path: Path, change: Callable[[Any], object]) -> None:
    edit(path, change, forge=True)
    with pytest.raises(ReadFailure) as refused:
        read(path)
    assert "modified after" not in refused.value.seen
    assert refused.value.seen.isprintable()


def test_a_cluster_that_it_does_not_hold_is_a_blocker(path: Path) -> None:
    with pytest.raises(ReadFailure, match=r"it has no cluster test. It has: production."):
        read(path, key="test")


def test_a_snapshot_of_another_registry_is_a_blocker(path: Path) -> None:
    with pytest.raises(ReadFailure, match=r"for the registry contoso.azurecr.io, not for fabrikam.azurecr.io"):
        read(path, registry=Registry("fabrikam.azurecr.io"))


def test_the_registry_is_the_same_in_any_case(path: Path) -> None:
    assert read(path, registry=Registry("CONTOSO.azurecr.io:443")).blockers == ()


def test_a_snapshot_of_another_aks_cluster_is_a_blocker(path: Path) -> None:
    assert read(path, resource_id=AKS.upper()).blockers == ()
    with pytest.raises(ReadFailure, match=r"it was read from .*/aks, not from .*/aks-2"):
        read(path, resource_id=f"{AKS}-2")


def test_a_snapshot_of_no_aks_cluster_is_none_of_one(path: Path) -> None:
    write_snapshot(path, REGISTRY, [SnapshotEntry(SCAN, NOW)], helm_history=3, created_at=NOW)
    assert read(path).blockers == ()
    with pytest.raises(ReadFailure, match="a cluster without a resource id"):
        read(path, resource_id=AKS)


# -- what is in it, but proves nothing -------------------------------------------------------------


def doubts(scan: ClusterScan) -> list[str]:
    """What blocks; all that was in use is still known as such."""
    assert scan.uses == SCAN.uses
    assert UsageIndex.of([scan], NOW).blockers == scan.blockers
    assert all(each.where == KEY and each.remedy and not each.kind for each in scan.blockers)
    return [each.seen for each in scan.blockers]


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
def test_the_age_of_the_reading_counts(path: Path, age: timedelta, fits: bool) -> None:
    assert (doubts(read(path, now=NOW + age)) == []) is fits


def test_how_old_it_may_be_is_said_with_what_to_do(path: Path) -> None:
    (blocker,) = read(path, now=NOW + timedelta(hours=3), max_age=timedelta(hours=2)).blockers
    assert blocker.seen == "it was read at 2026-11-22 10:00:00 UTC, 3 h ago. `max_age` allows 2 h."
    assert blocker.remedy == "Collect it again (acr-cleanup collect CONFIG --out usage.json)."


def test_each_cluster_of_a_file_has_an_age_of_its_own(tmp_path: Path) -> None:
    """A file that was merged today may hold what was read last week."""
    path = tmp_path / "usage.json"
    old = SnapshotEntry(ClusterScan("old"), NOW - timedelta(days=7))
    write_snapshot(path, REGISTRY, [SnapshotEntry(SCAN, NOW), old], helm_history=3, created_at=NOW)
    assert read(path).blockers == ()
    assert len(read(path, key="old").blockers) == 1


def test_an_alias_that_was_not_looked_for_is_a_blocker(path: Path) -> None:
    more = Registry("contoso.azurecr.io", REGISTRY.aliases | {"cr.contoso.example"})
    assert doubts(read(path, registry=more)) == [
        "it was collected without the registry's alias cr.contoso.example, so images used by that name are not in it."
    ]
    assert doubts(read(path, registry=Registry("contoso.azurecr.io"))) == [], "one more does no harm"


def test_less_of_helms_history_than_asked_for_is_a_blocker(path: Path) -> None:
    assert doubts(read(path, helm=4)) == ["it has 3 revisions of each Helm release, and this run asks for 4."]
    assert doubts(read(path, helm=0)) == []


def test_everything_that_speaks_against_it_is_told_at_once(path: Path) -> None:
    registry = Registry("contoso.azurecr.io", frozenset({"a.example", "b.example"}))
    assert len(doubts(read(path, now=NOW + timedelta(days=9), registry=registry, helm=9))) == 4


def test_what_blocked_the_reading_blocks_the_run(path: Path) -> None:
    """Whatever was done about the cause since then: only another reading shows it. It can still be waived by its kind."""
    blocker = Blocker(KEY, "list pods", "403 Forbidden.", "Give the role.", "pods")
    scan = read(write(path, replace(SCAN, blockers=(blocker,))))
    again = "Give the role. Collect it again (acr-cleanup collect CONFIG --out usage.json)."
    assert scan.blockers == (replace(blocker, remedy=again),)
    assert scan.waive(["Pods"]).blockers == ()
    assert read(write(path, replace(SCAN, blockers=scan.blockers))).blockers == scan.blockers, "said once"


def test_what_was_waived_where_it_was_read_is_still_told(path: Path) -> None:
    warnings = UsageIndex.of([read(path)], NOW).warnings
    assert any("rollouts.argoproj.io is waived" in each for each in warnings)
    assert any("managed by Helm" in each for each in warnings)


def test_it_knows_which_cluster_it_was_read_from(path: Path) -> None:
    assert recorded_resource_id(SnapshotCluster(KEY, path)) == AKS
    assert recorded_resource_id(SnapshotCluster("test", path)) is None


# -- laws ------------------------------------------------------------------------------------------

HOSTILE = [
    "::error::x",
    "##vso[task.complete]",
    "\x1b[2J",
    "<script>",
    "a\u202eb",
    "`|`",
    "\n",
    "\u2028",
    "{{ x }}",
    "%0A",
]
words = st.text(max_size=12) | st.sampled_from(HOSTILE)
references = st.builds(
    ImageReference,
    st.sampled_from(["contoso.azurecr.io", "localhost:5000", "contoso.westeurope.geo.azurecr.io"]),
    st.sampled_from(["a", "shop/web", "a/b/c/d", "x__y/z--z"]),
    st.none() | st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}\Z"),
    st.none() | st.sampled_from([DIGEST, Digest(f"sha512:{'f' * 128}")]),
)
uses = st.builds(
    ImageUse,
    st.builds(Workload, st.just(KEY), words, words, words),
    words, words, words, references, st.booleans(),
)  # fmt: skip
blockers = st.builds(Blocker, st.just(KEY), words, words, words.map(lambda text: f"Collect it again {text}"), words)
scans = st.builds(
    ClusterScan,
    st.just(KEY),
    st.lists(uses, max_size=4).map(tuple),
    st.lists(blockers, max_size=2).map(tuple),
    words,
    st.integers(0, 10**12),
    st.lists(blockers, max_size=2).map(tuple),
    st.lists(words, max_size=2).map(tuple),
)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scan=scans, read_at=moments)
def test_any_scan_comes_back_as_it_went(tmp_path: Path, scan: ClusterScan, read_at: datetime) -> None:
    path = write(tmp_path / "usage.json", scan, ClusterScan("other"), read_at=read_at)
    VALIDATOR.validate(json.loads(path.read_text("utf-8")))
    assert read(path, now=read_at) == as_read(scan, read_at)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=250)
@given(data=st.data())
def test_a_changed_byte_blocks_or_changes_nothing(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "spoilt.json"
    content = bytearray(whole)
    place = data.draw(st.integers(0, len(content) - 1))
    before = content[place]
    content[place] = data.draw(st.integers(0, 255) | st.sampled_from(b' ":,{}[]0129.-+eEtTzZ\\'))
    path.write_bytes(bytes(content))
    try:
        found = read(path)
    except ReadFailure:
        assert content[place] != before
    else:
        assert found == as_read(SCAN)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_lost_or_doubled_piece_blocks_or_changes_nothing(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "spoilt.json"
    content = whole
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, min(start + 400, len(content))))
    gone, doubled = content[:start] + content[end:], content[:end] + content[start:]
    path.write_bytes(data.draw(st.sampled_from([gone, doubled])))
    try:
        found = read(path)
    except ReadFailure:
        pass
    else:
        assert found == as_read(SCAN)
