"""Plan files, journals and usage snapshots, which may have been edited, cut or forged on their way."""

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

from acr_cleanup.clusters.snapshot import read_snapshot
from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.clusters.unread import Unread
from acr_cleanup.core.inventory import Lock, Manifest, Tag
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import COMPONENT, DIGEST, TAG, Digest
from acr_cleanup.core.steps import DeleteManifest, Step, Untag
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.records.journal import JournalError, open_journal, put_aside, read_journal
from acr_cleanup.records.reviewed_plan import ReviewedPlan, SeenCluster, read
from acr_cleanup.reports import json as report_json
from acr_cleanup.reports.json import plan_hash
from tests.clusters import test_snapshot as snapshots
from tests.helpers import sample_results as samples
from tests.helpers.generated_inventories import NOW
from tests.helpers.spoiling import dumped, law, prompt, spoilt, spoilt_bytes, twice, values
from tests.records.test_journal import PLAN

pytestmark = pytest.mark.untraced

REPOSITORY = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")


@contextmanager
def holding(content: bytes, name: str) -> Iterator[Path]:
    """A file of this content."""
    with tempfile.TemporaryDirectory(prefix="acr-cleanup-fuzz-") as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        yield path


# -- plan.json -------------------------------------------------------------------------------------------------

PLAN_JSON: dict[str, Any] = json.loads("".join(report_json.render_plan(samples.result(samples.small()))))


def reviewed(content: bytes) -> ReviewedPlan | None:
    """The plan, or None for what is none; whatever it says, looking at it raises nothing else."""
    with holding(content, "plan.json") as path, prompt():
        try:
            plan = read(path, "apply-plan")
        except ConfigurationError as error:
            (problem,) = error.problems
            assert problem.remedy
            assert problem.seen.isprintable()
            return None
        doubts = plan.doubts(PLAN_JSON["registry"], (SeenCluster("production"),), timedelta(days=7), samples.NOW)
        assert all(doubt.isprintable() for doubt in doubts)
        for repository in plan.repositories:
            assert REPOSITORY.fullmatch(repository.repository)
            for step in repository.steps:
                assert re.fullmatch(DIGEST, step.digest)
                assert all(re.fullmatch(TAG, tag.name) for tag in step.tags)
        return plan


def meaning(plan: ReviewedPlan) -> tuple[object, ...]:
    return plan.registry, plan.created_at, plan.blockers, plan.clusters, plan.repositories


@cache
def whole_plan() -> ReviewedPlan:
    found = reviewed(dumped(PLAN_JSON))
    assert found is not None
    assert found.intact
    return found


@law
@given(spoilt(PLAN_JSON))
def test_a_plan_that_was_changed_is_noticed_or_means_the_same(tree: Any) -> None:
    plan = reviewed(dumped(tree))
    if plan is not None and plan.intact:
        assert meaning(plan) == meaning(whole_plan())


@law
@given(
    spoilt_bytes(dumped(PLAN_JSON))
    | st.sampled_from(sorted(PLAN_JSON)).flatmap(lambda key: st.builds(twice, st.just(PLAN_JSON), st.just(key), values))
)
def test_a_plan_whose_text_was_damaged_is_noticed_or_means_the_same(content: bytes) -> None:
    plan = reviewed(content)
    if plan is not None and plan.intact:
        assert meaning(plan) == meaning(whole_plan())


@law
@given(spoilt(PLAN_JSON))
def test_a_forged_plan_holds_nothing_but_names(tree: Any) -> None:
    """Whoever can write the file can write its hash."""
    if isinstance(tree, dict):
        with suppress(Exception):  # what cannot be hashed stays as it is
            tree["hash"] = plan_hash({key: value for key, value in tree.items() if key != "hash"})
    reviewed(dumped(tree))


# -- usage snapshots -------------------------------------------------------------------------------------------


@cache
def whole_snapshot() -> bytes:
    with holding(b"", "usage.json") as path:
        return snapshots.write(path).read_bytes()


def scanned(content: bytes) -> ClusterScan | None:
    with holding(content, "usage.json") as path, prompt():
        try:
            return read_snapshot(SnapshotCluster(snapshots.KEY, path), snapshots.REGISTRY, 3, snapshots.NOW)
        except Unread as unread:
            assert unread.seen.isprintable()
            return None


@law
@given(st.data())
def test_a_snapshot_that_was_changed_is_noticed_or_means_the_same(data: st.DataObject) -> None:
    tree = data.draw(spoilt(json.loads(whole_snapshot())))
    found = scanned(dumped(tree))
    assert found is None or found == snapshots.as_read(snapshots.SCAN)


@law
@given(st.data())
def test_a_forged_snapshot_is_read_or_refused(data: st.DataObject) -> None:
    """And what it says is told in text that does no harm, by the rules for all foreign text."""
    tree = data.draw(spoilt(json.loads(whole_snapshot())))
    if isinstance(tree, dict):
        with suppress(Exception):
            tree["hash"] = plan_hash({key: value for key, value in tree.items() if key != "hash"})
    found = scanned(dumped(tree))
    if found is not None:
        for use in found.uses:
            assert REPOSITORY.fullmatch(use.reference.repository)


# -- journals --------------------------------------------------------------------------------------------------

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


def journal(entries: list[Entry], folder: Path) -> bytes:
    async def write() -> None:
        with open_journal(folder, PLAN, NOW, {"older-than": "30d"}) as made:
            for step, document, outcome in entries:
                number = await made.intend("shop/web", step, document)
                if outcome is not None:
                    made.outcome(number, outcome, "::error::said")

    asyncio.run(write())
    return (folder / "journal.jsonl").read_bytes()


@law
@given(
    st.lists(st.tuples(steps, st.none() | st.binary(max_size=20), st.none() | st.sampled_from(OutcomeKind)), max_size=3)
)
def test_what_a_journal_tells_is_what_was_intended(entries: list[Entry]) -> None:
    with holding(b"", "other") as path:
        journal(entries, path.parent)
        recorded = read_journal(path.with_name("journal.jsonl"))
    assert (recorded.faults, recorded.torn, recorded.registry) == ((), False, PLAN.registry)
    told = [
        (each.digest, each.tags, each.locks, each.after, each.document, each.outcome, each.whole)
        for each in recorded.deletions
    ]
    assert told == [
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
def whole_journal() -> bytes:
    digest = Digest(f"sha256:{'0a' * 32}")
    entries: list[Entry] = [
        (Untag(Tag("1.0", digest, NOW)), b"{}", OutcomeKind.DELETED),
        (
            DeleteManifest(Manifest(digest), (Tag("2.0", digest, NOW),), (digest,), (Lock("2.0", False, True),)),
            b"\x00",
            None,
        ),
    ]
    with holding(b"", "other") as path:
        return journal(entries, path.parent)


@law
@given(st.data())
def test_a_spoilt_journal_is_read_as_far_as_it_goes(data: st.DataObject) -> None:
    lines = whole_journal().splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        what = data.draw(st.sampled_from(("tree", "tree", "bytes", "drop", "double", "first")))
        if what == "tree":
            with suppress(ValueError, RecursionError):
                lines[at] = dumped(data.draw(spoilt(json.loads(lines[at])))) + b"\n"
        elif what == "bytes":
            lines[at] = data.draw(spoilt_bytes(lines[at] or b"x"))
        elif what == "drop":
            lines[at] = b""
        else:
            lines.insert(0 if what == "first" else at, lines[at])
    with holding(b"".join(lines), "journal.jsonl") as path, prompt():
        with suppress(JournalError):
            recorded = read_journal(path)
            assert all(fault.isprintable() for fault in recorded.faults)
            for each in recorded.deletions:
                assert ".." not in each.repository
                assert all(re.fullmatch(TAG, tag) for tag in each.tags)
                assert re.fullmatch(DIGEST, each.digest)
        assert put_aside(path) is not None
