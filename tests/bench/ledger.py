"""Benchmarks of the ledger: its size, and what it costs per tag."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.rows import Row, measured

TAGS, REPOSITORIES = 1_000_000, 2_000
MOST_BYTES = 20_000_000
MOST_CPU = 60e-6
MOST_MEMORY = 250e6


def ledger() -> list[Row]:
    """A million tags on probation, half of them with a known body: the file, CPU per tag, peak memory."""
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "ledger.json")
        made = measured("tests.bench.keeping_ledger", str(TAGS), str(REPOSITORIES), path)
        read = measured("tests.bench.keeping_ledger", str(TAGS), str(REPOSITORIES), path)
    return [
        Row(
            f"file of {TAGS:,} candidates",
            f"{made['bytes'] / 1e6:.1f} MB",
            "a digest in JSON: 73 bytes",
            f"{made['bytes'] / TAGS:.0f} bytes a tag",
            f"≤ {MOST_BYTES / 1e6:.0f} MB",
            made["bytes"] <= MOST_BYTES,
        ),
        Row(
            "CPU of reading it, planning with it, and writing it again",
            f"{read['cpu'] / TAGS * 1e6:.0f} µs a tag",
            f"the first run, which only writes: {made['cpu'] / TAGS * 1e6:.0f} µs a tag",
            f"{read['cpu']:.0f} s",
            f"≤ {MOST_CPU * 1e6:.0f} µs a tag",
            read["cpu"] / TAGS <= MOST_CPU,
        ),
        Row(
            "peak memory of the same",
            f"{read['peak'] / 1e6:.0f} MB",
            f"before: {read['before'] / 1e6:.0f} MB",
            f"{(read['peak'] - read['before']) / TAGS:.0f} bytes a tag",
            f"≤ {MOST_MEMORY / 1e6:.0f} MB",
            read["peak"] <= MOST_MEMORY,
        ),
    ]
