"""Plan files, reports, journals and usage snapshots that were edited, cut or forged."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.snapshot_reader import read_snapshot
from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.core.inventory import Lock, Manifest, Tag
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import COMPONENT, DIGEST, TAG, Digest
from acr_cleanup.core.steps import DeleteManifest, Step, Untag
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.records.encoding import content_hash
from acr_cleanup.records.journal import JournalError, open_journal, put_aside
from acr_cleanup.records.journal_reader import read_journal
from acr_cleanup.records.report import read_report
from acr_cleanup.records.reviewed_plan import ReviewedPlan, SeenCluster, read
from acr_cleanup.reports import json as report_json
from acr_cleanup.reports.past import explain_past
from acr_cleanup.reports.plan_doubts import doubts
from tests.helpers import sample_results as samples
from tests.helpers import snapshots
from tests.helpers.damaged_documents import (
    as_json,
    bounded_time,
    damaged,
    damaged_bytes,
    fuzz_test,
    values,
    with_key_twice,
)
from tests.helpers.generated_inventories import NOW
from tests.records.test_journal import PLAN

pytestmark = pytest.mark.untraced

REPOSITORY = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")


@contextmanager
def file_with(content: bytes, name: str) -> Iterator[Path]:
    """A temporary file with this content."""
    with tempfile.TemporaryDirectory(prefix="acr-cleanup-fuzz-") as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        yield path


# -- plan.json -----------------------------------------------------------------------------------

PLAN_JSON: dict[str, Any] = json.loads("".join(report_json.render_plan(samples.result(samples.small()))))


def read_plan(content: bytes) -> ReviewedPlan | None:
    """The plan, or None if it is rejected; its names must be valid and its messages printable."""
    with file_with(content, "plan.json") as path, bounded_time():
        try:
            plan = read(path, "apply-plan")
        except ConfigurationError as error:
            (problem,) = error.problems
            assert problem.remedy
            assert problem.seen.isprintable()
            return None
        reasons = doubts(plan, PLAN_JSON["registry"], (SeenCluster("production"),), timedelta(days=7), samples.NOW)
        assert all(reason.isprintable() for reason in reasons)
        for repository in plan.repositories:
            assert REPOSITORY.fullmatch(repository.repository)
            for step in repository.steps:
                assert re.fullmatch(DIGEST, step.digest)
                assert all(re.fullmatch(TAG, tag.name) for tag in step.tags)
        return plan


def meaning(plan: ReviewedPlan) -> tuple[object, ...]:
    return plan.registry, plan.created_at, plan.blockers, plan.clusters, plan.repositories


@cache
def undamaged_plan() -> ReviewedPlan:
    plan = read_plan(as_json(PLAN_JSON))
    assert plan is not None
    assert plan.intact
    return plan


@fuzz_test
@given(damaged(PLAN_JSON))
def test_changed_plan_is_detected_or_equal(tree: Any) -> None:
    plan = read_plan(as_json(tree))
    if plan is not None and plan.intact:
        assert meaning(plan) == meaning(undamaged_plan())


@fuzz_test
@given(
    damaged_bytes(as_json(PLAN_JSON))
    | st.sampled_from(sorted(PLAN_JSON)).flatmap(
        lambda key: st.builds(with_key_twice, st.just(PLAN_JSON), st.just(key), values)
    )
)
def test_plan_with_damaged_bytes_is_detected_or_equal(content: bytes) -> None:
    plan = read_plan(content)
    if plan is not None and plan.intact:
        assert meaning(plan) == meaning(undamaged_plan())


@fuzz_test
@given(damaged(PLAN_JSON))
def test_forged_plan_has_only_valid_names(tree: Any) -> None:
    """A person who can write the file can also write its hash."""
    if isinstance(tree, dict):
        with suppress(Exception):  # a tree that cannot be hashed is not changed
            tree["hash"] = content_hash(tree)
    read_plan(as_json(tree))


# -- report.json ---------------------------------------------------------------------------------

REPORT_JSON: dict[str, Any] = json.loads("".join(report_json.render(samples.ALL["small_applied"]())))


def explain(content: bytes) -> None:
    """Read a report and explain all of it; each line must be printable."""
    with file_with(content, "report.json") as path, bounded_time():
        try:
            report = read_report(path)
        except ConfigurationError as error:
            (problem,) = error.problems
            assert problem.seen.isprintable()
            return
        for target in (("shop/web",), ("shop/web", "1.0.0"), ("shop/web", None, samples.digest(1)), ("none",)):
            assert all(line.isprintable() for line in explain_past(report, *target).lines())


@fuzz_test
@given(damaged(REPORT_JSON))
def test_changed_report_is_explained_or_rejected(tree: Any) -> None:
    explain(as_json(tree))


@fuzz_test
@given(damaged_bytes(as_json(REPORT_JSON)))
def test_report_with_damaged_bytes_is_explained_or_rejected(content: bytes) -> None:
    explain(content)


# -- usage snapshots -----------------------------------------------------------------------------


@cache
def undamaged_snapshot() -> bytes:
    with file_with(b"", "usage.json") as path:
        return snapshots.write(path).read_bytes()


def read_scan(content: bytes) -> ClusterScan | None:
    with file_with(content, "usage.json") as path, bounded_time():
        try:
            return read_snapshot(SnapshotCluster(snapshots.KEY, path), snapshots.REGISTRY, 3, snapshots.NOW)
        except ReadFailure as unread:
            assert unread.seen.isprintable()
            return None


@fuzz_test
@given(st.data())
def test_changed_snapshot_is_detected_or_equal(data: st.DataObject) -> None:
    tree = data.draw(damaged(json.loads(undamaged_snapshot())))
    scan = read_scan(as_json(tree))
    assert scan is None or scan == snapshots.as_read(snapshots.SCAN)


@fuzz_test
@given(st.data())
def test_forged_snapshot_is_read_or_rejected(data: st.DataObject) -> None:
    """Its texts are shown as all foreign text is."""
    tree = data.draw(damaged(json.loads(undamaged_snapshot())))
    if isinstance(tree, dict):
        with suppress(Exception):
            tree["hash"] = content_hash(tree)
    scan = read_scan(as_json(tree))
    if scan is not None:
        for use in scan.uses:
            assert REPOSITORY.fullmatch(use.reference.repository)


# -- journals ------------------------------------------------------------------------------------

digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda text: Digest(f"sha256:{text}"))
tag_names = st.from_regex(rf"\A{TAG}\Z")
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
tags = st.builds(Tag, tag_names, digests, st.none() | moments)
locks = st.lists(st.builds(Lock, st.none() | tag_names, st.booleans(), st.booleans()), max_size=2).map(tuple)
afters = st.lists(digests, max_size=2).map(tuple)
manifests = st.builds(Manifest, digests, st.sampled_from(["", "application/vnd.oci.image.index.v1+json", "x\n::y"]))
steps = st.one_of(
    st.builds(Untag, tags, afters, locks),
    st.builds(DeleteManifest, manifests, st.lists(tags, max_size=3).map(tuple), afters, locks),
)
Entry = tuple[Step, bytes | None, OutcomeKind | None]


def write_journal(entries: list[Entry], folder: Path) -> bytes:
    async def write() -> None:
        with open_journal(folder, PLAN, NOW, {"older-than": "30d"}) as opened:
            for step, document, outcome in entries:
                number = await opened.intend("shop/web", step, document)
                if outcome is not None:
                    opened.outcome(number, outcome, "::error::x")

    asyncio.run(write())
    return (folder / "journal.jsonl").read_bytes()


@fuzz_test
@given(
    st.lists(st.tuples(steps, st.none() | st.binary(max_size=20), st.none() | st.sampled_from(OutcomeKind)), max_size=3)
)
def test_journal_returns_the_written_entries(entries: list[Entry]) -> None:
    with file_with(b"", "other") as path:
        write_journal(entries, path.parent)
        recorded = read_journal(path.with_name("journal.jsonl"))
    assert (recorded.faults, recorded.torn, recorded.registry) == ((), False, PLAN.registry)
    entries_read = [
        (entry.digest, entry.tags, entry.locks, entry.after, entry.document, entry.outcome, entry.deletes_manifest)
        for entry in recorded.deletions
    ]
    assert entries_read == [
        (
            step.digest,
            tuple(tag.name for tag in step.tags),
            step.locks,
            step.after,
            document,
            outcome,
            isinstance(step, DeleteManifest),
        )
        for step, document, outcome in entries
    ]


@cache
def undamaged_journal() -> bytes:
    digest = Digest(f"sha256:{'0a' * 32}")
    entries: list[Entry] = [
        (Untag(Tag("1.0", digest, NOW)), b"{}", OutcomeKind.DELETED),
        (
            DeleteManifest(Manifest(digest), (Tag("2.0", digest, NOW),), (digest,), (Lock("2.0", False, True),)),
            b"\x00",
            None,
        ),
    ]
    with file_with(b"", "other") as path:
        return write_journal(entries, path.parent)


@fuzz_test
@given(st.data())
def test_valid_lines_of_damaged_journal_are_read(data: st.DataObject) -> None:
    lines = undamaged_journal().splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(("tree", "tree", "bytes", "drop", "double", "first")))
        if change == "tree":
            with suppress(ValueError, RecursionError):
                lines[index] = as_json(data.draw(damaged(json.loads(lines[index])))) + b"\n"
        elif change == "bytes":
            lines[index] = data.draw(damaged_bytes(lines[index] or b"x"))
        elif change == "drop":
            lines[index] = b""
        else:
            lines.insert(0 if change == "first" else index, lines[index])
    with file_with(b"".join(lines), "journal.jsonl") as path, bounded_time():
        with suppress(JournalError):
            recorded = read_journal(path)
            assert all(fault.isprintable() for fault in recorded.faults)
            for deletion in recorded.deletions:
                assert ".." not in deletion.repository
                assert all(re.fullmatch(TAG, tag) for tag in deletion.tags)
                assert re.fullmatch(DIGEST, deletion.digest)
        assert put_aside(path) is not None
