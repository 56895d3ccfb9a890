"""Benchmarks of reading clusters: one with 50,000 pods, and 100 at once."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import certifi

from tests.bench.pods import pages
from tests.bench.rows import Row, measured
from tests.bench.serving import PODS_EACH, Usage, served, usage_of_plan

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
            "the same, with imports",
            f"{ours['whole']:.2f} s",
            f"`json.loads` with its imports: {plain['whole']:.2f} s",
            f"{ours['whole'] / plain['whole']:.2f} ×",
            "≤ 2.5 s",
            ours["whole"] <= 2.5,
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
    """Plans over 100 clusters, of which one is slow, and over the quick ones, compared with one of them."""
    with served("hundred-clusters") as world, tempfile.TemporaryDirectory() as folder:
        clusters = dict(world.config["kubernetes_clusters"])
        variables = _company_authorities(world.environment["SSL_CERT_FILE"], Path(folder))

        def plan(*keys: str, environment: Mapping[str, str] | None = None) -> Usage:
            chosen = {key: clusters[key] for key in keys or clusters}
            return usage_of_plan(world, Path(folder), environment, kubernetes_clusters=chosen)

        slowest, *others = sorted(clusters)
        together, slow, quick = plan(), plan(slowest), plan(others[-1])
        alike = plan(*others)
        behind_proxy = plan(*others, environment=variables)
        quick_behind_proxy = plan(others[-1], environment=variables)
    with served("busy-clusters") as world, tempfile.TemporaryDirectory() as folder:
        busy = usage_of_plan(world, Path(folder))
    number = len(clusters)
    one_by_one = slow.seconds + quick.seconds * (number - 1)
    named = f"wall time of a plan over {number} clusters, one of them slow"
    named_alike = f"wall time of a plan over {len(others)} clusters, all quick"
    bundles = f"with {' and '.join(variables)}"
    return [
        _compared(named, together, slow, f"the slowest alone (one after the other: about {one_by_one:.0f} s)", 1.5),
        _compared(named_alike, alike, quick, "one of them alone", 2.5),
        _compared(f"{named_alike}, {bundles}", behind_proxy, quick_behind_proxy, "one of them alone, with them", 2.5),
        Row(
            f"peak memory of the same {bundles}",
            f"{behind_proxy.memory / 1e6:.0f} MB",
            f"one cluster: {quick_behind_proxy.memory / 1e6:.0f} MB",
            f"CPU: {behind_proxy.cpu:.1f} s, one: {quick_behind_proxy.cpu:.1f} s",
            "≤ 150 MB",
            behind_proxy.memory <= 150e6,
        ),
        Row(
            f"peak memory of a plan over {number} clusters with {PODS_EACH} pods each",
            f"{busy.memory / 1e6:.0f} MB",
            f"with 3 pods each: {together.memory / 1e6:.0f} MB",
            f"CPU: {busy.cpu:.1f} s, with 3 pods each: {together.cpu:.1f} s",
            "≤ 250 MB",
            busy.memory <= 250e6,
        ),
    ]


def _compared(claim: str, ours: Usage, other: Usage, yardstick: str, most: float) -> Row:
    ratio = ours.seconds / other.seconds
    seconds = f"{ours.seconds:.1f} s"
    return Row(claim, seconds, f"{yardstick}: {other.seconds:.1f} s", f"{ratio:.2f} ×", f"≤ {most} ×", ratio <= most)


def _company_authorities(own: str, folder: Path) -> dict[str, str]:
    """Two bundles, as a company sets them: all public authorities and its own, the emulator's."""
    bundle = Path(certifi.where()).read_text(encoding="utf-8") + Path(own).read_text(encoding="utf-8")
    paths = {name: folder / f"{name}.pem" for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
    for path in paths.values():
        path.write_text(bundle, encoding="utf-8")
    return {name: str(path) for name, path in paths.items()}
