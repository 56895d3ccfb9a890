"""`acr-cleanup collect`: hostile text from clusters and snapshots is printed harmlessly."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.snapshot import SnapshotEntry, write_snapshot
from acr_cleanup.clusters.snapshot_reader import read_snapshot
from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import Blocker, ClusterScan
from acr_cleanup.reports.collected import CollectedReport
from tests.helpers import hostile_text as hostile
from tests.reports.test_markdown import OURS, elements, html, whole


def test_hostile_text_is_neither_markup_nor_a_command() -> None:
    """Checks the table and the summary; the text comes from clusters or from a snapshot."""
    for text in hostile.TEXTS:
        blocker = Blocker(text, text, text, text, text)
        scan = ClusterScan(text, blockers=(blocker,), waived=(blocker,), access=text, notes=(text,))
        report = CollectedReport((scan,), text)
        for line in str(report).splitlines():
            assert line.isprintable()
            assert "##vso[" not in line
            assert "##[" not in line
            assert not line.lstrip().startswith("::")
        summary = report.markdown()
        assert set(elements(summary)) <= OURS | {f"/{name}" for name in OURS}
        assert whole(summary)
        assert "::" not in summary
        assert not re.search(r"##\[|##vso", summary)
        assert all(line.isprintable() for line in summary.replace("\u200b", "").splitlines())
        assert html(summary).count("<td") == 5


def test_snapshot_with_hostile_names_has_a_printable_message(tmp_path: Path) -> None:
    path = tmp_path / "usage.json"
    clusters = [
        SnapshotEntry(ClusterScan(text), datetime.now(UTC), text) for text in ("::error::\n", "\x1b[2J##vso[x]")
    ]
    write_snapshot(path, RegistryHost("a.azurecr.io"), clusters, helm_history=0, created_at=datetime.now(UTC))
    with pytest.raises(ReadFailure) as caught:
        read_snapshot(SnapshotCluster("production", path), RegistryHost("a.azurecr.io"), 0)
    assert caught.value.seen.isprintable()
