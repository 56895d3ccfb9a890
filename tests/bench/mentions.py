"""Benchmarks of looking for the names of the registry in the objects of a cluster."""

from __future__ import annotations

from tests.bench.rows import Row, measured

MODULE = "tests.bench.reading_mentions"


def mentions() -> list[Row]:
    """CPU and memory of reading objects with the names of the registry, compared with decoding them."""
    return [
        *_rows("10,000 objects of 20 kB against 2,000 repositories", "objects", 4.0, 300e6),
        *_rows("400 ConfigMaps of 900 KiB that name the registry", "large", 6.0, 250e6),
        *_rows("400 ConfigMaps of 900 KiB that name the registry, in distinct words", "distinct", 6.0, 250e6),
        *_rows("500 objects with `latest` against 20,000 repositories called a, b, 1", "short", 6.0, 250e6),
        *_rows("60 texts of 1 MiB without a blank", "unbroken", 10.0, 250e6),
        *_rows("100 objects against 20,000 repositories that are called like their words", "words", 30.0, 400e6),
    ]


def _rows(claim: str, world: str, cpu: float, peak: float) -> list[Row]:
    ours, plain = measured(MODULE, world, "read"), measured(MODULE, world, "json")
    return [
        Row(
            f"CPU of {claim}, and of looking up their tags",
            f"{ours['cpu']:.2f} s",
            f"`json.loads` of the same: {plain['cpu']:.2f} s",
            f"{ours['cpu'] / plain['cpu']:.1f} ×",
            f"≤ {cpu:.0f} s",
            ours["cpu"] <= cpu,
        ),
        Row(
            "peak memory of the same",
            f"{ours['peak'] / 1e6:.0f} MB",
            f"`json.loads`, one by one: {plain['peak'] / 1e6:.0f} MB",
            f"{ours['peak'] / plain['peak']:.1f} ×",
            f"≤ {peak / 1e6:.0f} MB",
            ours["peak"] <= peak,
        ),
    ]
