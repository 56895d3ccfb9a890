"""
Writing usage snapshots: they are read again unchanged, match their schema, and replace files as a
whole.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acr_cleanup import __version__
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters import snapshot
from acr_cleanup.core.references import Digest, ImageReference, parse_reference
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.records.schemas import schema
from tests.helpers.snapshots import DIGEST, KEY, SCAN, as_read, read, use, write

SCHEMA = schema("snapshot")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def test_written_snapshot_is_read_unchanged(path: Path) -> None:
    assert read(path) == as_read(SCAN)


def test_snapshot_matches_published_schema(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    blocked = replace(SCAN, blockers=(Blocker(KEY, "list pods", "500.", "Run again.", "pods"),))
    content = json.loads(write(path, blocked).read_text("utf-8"))
    VALIDATOR.validate(content)
    assert content["schema_version"] == 3
    assert content["tool_version"] == __version__
    assert content["registry"] == {"login_server": "contoso.azurecr.io", "aliases": ["images.contoso.example"]}
    assert content["clusters"][0]["read_at"] == "2026-11-22T10:00:00.123456Z"


def test_hash_is_reproducible_with_standard_json(path: Path) -> None:
    """Another JSON library makes the same canonical text."""
    odd = replace(SCAN, notes=('\u2028 \x7f \x00 " \\ / \u00e9 \U0001f9f9 \ttab\n',))
    content = json.loads(write(path, odd).read_text("utf-8"))
    recorded = content.pop("hash")
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert recorded == f"sha256:{sha256(canonical).hexdigest()}"


def test_failed_write_keeps_previous_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acr_cleanup.records.whole_file.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, ClusterScan(KEY))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.extended
def test_large_snapshot_is_below_size_limit(tmp_path: Path) -> None:
    """50,000 uses, as in a large company, need a fraction of the limit."""
    uses = tuple(use(parse_reference(f"contoso.azurecr.io/shop/web:{n}"), name=f"web-{n}") for n in range(50_000))
    scan = replace(SCAN, uses=uses)
    path = write(tmp_path / "usage.json", scan)
    assert path.stat().st_size < 25_000_000 < snapshot.MAX_BYTES
    assert read(path) == as_read(scan)


def test_lone_surrogate_is_escaped(path: Path) -> None:
    write(path, replace(SCAN, notes=("half \ud800",)))
    assert read(path).notes == ("half \\ud800",)


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
def test_any_scan_survives_writing_and_reading(tmp_path: Path, scan: ClusterScan, read_at: datetime) -> None:
    path = write(tmp_path / "usage.json", scan, ClusterScan("other"), read_at=read_at)
    VALIDATOR.validate(json.loads(path.read_text("utf-8")))
    back = read(path, now=read_at)
    # Uses are grouped by object.
    assert sorted(back.uses, key=repr) == sorted(scan.uses, key=repr)
    assert replace(back, uses=()) == replace(as_read(scan, read_at), uses=())


def test_snapshot_of_151_000_uses_is_below_10_mb(tmp_path: Path) -> None:
    """50,400 pods without a workload, with thirty images: what repeats is written once."""
    images = [parse_reference(f"contoso.azurecr.io/team-{n % 7}/service-{n}:2026.11.{n}-a1b2c3d") for n in range(30)]
    workloads = [Workload(KEY, f"namespace-{n % 90}", "Pod", f"service-{n}-of-the-shop-{n:09}") for n in range(50_400)]
    fields = ["spec.containers[0].image", "status.containerStatuses[0].image", "status.containerStatuses[0].imageID"]
    uses = [
        ImageUse(workload, f"container-{at}", field, str(image := images[(number + at) % 30]), image)
        for number, workload in enumerate(workloads)
        for at, field in enumerate(fields)
    ]
    path = write(tmp_path / "usage.json", replace(SCAN, uses=tuple(uses)))
    assert len(uses) == 151_200
    assert path.stat().st_size <= 10_000_000


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=250)
@given(data=st.data())
def test_changed_byte_is_refused_or_harmless(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "spoilt.json"
    content = bytearray(whole)
    place = data.draw(st.integers(0, len(content) - 1))
    before = content[place]
    content[place] = data.draw(st.integers(0, 255) | st.sampled_from(b' ":,{}[]0129.-+eEtTzZ\\'))
    path.write_bytes(bytes(content))
    try:
        scan = read(path)
    except ReadFailure:
        assert content[place] != before
    else:
        assert scan == as_read(SCAN)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_lost_or_doubled_piece_is_refused_or_harmless(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "spoilt.json"
    content = whole
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, min(start + 400, len(content))))
    gone, doubled = content[:start] + content[end:], content[:end] + content[start:]
    path.write_bytes(data.draw(st.sampled_from([gone, doubled])))
    try:
        scan = read(path)
    except ReadFailure:
        pass
    else:
        assert scan == as_read(SCAN)
