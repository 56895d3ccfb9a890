"""Benchmarks of reading clusters: one with 50,000 pods, and 100 at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench.pods import pages
from tests.bench.rows import Row, measured
from tests.bench.serving import run, served

PODS = 50_000
TYPED_PAGES = 10
"""
The typed client would take a minute for all pages, so it reads fewer; costs are compared per pod.
"""


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
    """Wall time of reading 100 clusters, compared with the slowest of them alone."""
    with served("hundred-clusters") as world, tempfile.TemporaryDirectory() as folder:
        clusters = dict(world.config["kubernetes_clusters"])

        def seconds(*keys: str) -> float:
            chosen = {key: clusters[key] for key in keys or clusters}
            return run("plan", world, Path(folder), kubernetes_clusters=chosen)[0]

        together, alone, quick = seconds(), seconds(min(clusters)), seconds(max(clusters))
    return [
        Row(
            f"wall time of a plan over {len(clusters)} clusters",
            f"{together:.1f} s",
            f"the slowest of them alone: {alone:.1f} s (one after the other: about {alone + quick * (len(clusters) - 1):.0f} s)",
            f"{together / alone:.2f} ×",
            "≤ 1.5 ×",
            together <= 1.5 * alone,
        )
    ]
