"""How clusters are read: one of 50,000 pods, and a hundred at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.pods import pages
from tests.bench.rows import Row, measured
from tests.bench.serving import served

PODS = 50_000
TYPED_PAGES = 10
"""The typed client would take a minute for all of them: it is measured on fewer, and compared per pod."""


def large_cluster() -> list[Row]:
    """CPU and memory of reading 50,000 pods of 5.7 kB."""
    reading = "tests.bench.reading_pods"
    with tempfile.NamedTemporaryFile(suffix=".pages") as file:
        for page in pages(PODS):
            file.write(page + b"\n")
        file.flush()
        ours = measured(reading, "scan", file.name)
        plain = measured(reading, "json", file.name)
        typed = measured(reading, "typed", file.name, str(TYPED_PAGES))
    per_typed = typed["cpu"] / typed["count"]
    per_ours = ours["cpu"] / ours["count"]
    return [
        Row(
            f"CPU of reading {PODS:,} pods",
            f"{per_ours * 1e6:.0f} µs a pod",
            f"typed list of the kubernetes client: {per_typed * 1e6:.0f} µs a pod",
            f"{per_typed / per_ours:.1f} × less",
            "≥ 10 × less",
            per_typed >= 10 * per_ours,
        ),
        Row(
            "the same",
            f"{ours['cpu']:.2f} s",
            f"`json.loads` of the same pages, result thrown away: {plain['cpu']:.2f} s",
            f"{ours['cpu'] / plain['cpu']:.2f} ×",
            "< 1 ×",
            ours["cpu"] < plain["cpu"],
        ),
        Row(
            "peak memory of the same",
            f"{ours['peak'] / 1e6:.0f} MB",
            f"`json.loads`, page by page: {plain['peak'] / 1e6:.0f} MB",
            f"{ours['peak'] / 1e6:.0f} MB",
            "< 300 MB",
            ours["peak"] < 300e6,
        ),
    ]


def many_clusters() -> list[Row]:
    """Wall time of reading a hundred clusters, beside that of the slowest of them alone."""
    with served("hundred-clusters") as (config, environment), tempfile.TemporaryDirectory() as folder:
        clusters = dict(config["kubernetes_clusters"])
        slowest = min(clusters)
        all_ = _plan(config, environment, Path(folder))
        alone = _plan({**config, "kubernetes_clusters": {slowest: clusters[slowest]}}, environment, Path(folder))
        quick = _plan(
            {**config, "kubernetes_clusters": {max(clusters): clusters[max(clusters)]}}, environment, Path(folder)
        )
    return [
        Row(
            f"wall time of a plan over {len(clusters)} clusters",
            f"{all_:.1f} s",
            f"the slowest of them alone: {alone:.1f} s (one after the other: about {alone + quick * (len(clusters) - 1):.0f} s)",
            f"{all_ / alone:.2f} ×",
            "≤ 1.5 ×",
            all_ <= 1.5 * alone,
        )
    ]


def _plan(config: Mapping[str, Any], environment: Mapping[str, str], folder: Path) -> float:
    """Seconds that `acr-cleanup plan` takes with this configuration."""
    file = folder / "acr-cleanup.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    words = [sys.executable, "-m", "acr_cleanup", "plan", str(file), "--report-dir", str(folder / "report")]
    began = time.monotonic()
    subprocess.run(
        words, check=True, capture_output=True, env={**os.environ, **environment}, cwd=Path(__file__).parents[2]
    )
    return time.monotonic() - began
