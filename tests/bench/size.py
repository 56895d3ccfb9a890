"""Benchmarks of the size of a registry: CPU and memory of a plan per tag."""

from __future__ import annotations

import sys

from tests.bench.rows import Row, measured

SMALL, MIDDLE, LARGE = 10_000, 100_000, 1_000_000
TAGS_PER_REPOSITORY = 500
"""A registry with a million tags has 2,000 repositories of this size."""

MOST_CPU = 60e-6
MOST_WITH_REPORTS = 14
MOST_MEMORY = 250e6


def size() -> list[Row]:
    """CPU and memory of planning, with decoding; with `--large`, of a million tags."""
    small, *others = [
        _planned(tags, tags // TAGS_PER_REPOSITORY)
        for tags in (SMALL, MIDDLE, *((LARGE,) if "--large" in sys.argv else ()))
    ]
    largest = others[-1]
    # The least of three: chance only adds, and 1 MB more is 10 MB more after extrapolation.
    sizes = [200_000] if "--large" in sys.argv else [20_000] * 3
    single = min((_planned(tags, 1) for tags in sizes), key=lambda figures: figures["reporting_peak"])
    rows = [_cpu(figures) for figures in (small, *others)]
    slope = _per_tag(largest) / _per_tag(small)
    rows += [
        Row(
            f"slope: CPU per tag at {largest['tags']:,} tags",
            f"{_per_tag(largest) * 1e6:.0f} µs",
            f"at {small['tags']:,}: {_per_tag(small) * 1e6:.0f} µs",
            f"{slope:.2f} ×",
            "≤ 1.25 ×",
            slope <= 1.25,
        ),
        _cpu(single, "one repository with "),
    ]
    rows += [
        _memory(largest, "peak", "planning"),
        _memory(largest, "reporting_peak", "planning and every report"),
        _memory(single, "peak", "planning one repository with", 200_000),
        _memory(single, "reporting_peak", "planning and every report of one repository with", 200_000),
    ]
    rows.append(
        Row(
            f"CPU of every report of {largest['tags']:,} tags",
            f"{largest['reports'] / largest['tags'] * 1e6:.0f} µs a tag",
            f"of planning: {_per_tag(largest) * 1e6:.0f} µs a tag",
            f"{largest['reports'] / largest['cpu']:.1f} ×",
            "≤ 2 ×",
            largest["reports"] <= 2 * largest["cpu"],
        )
    )
    whole = (largest["cpu"] + largest["reports"]) / largest["tags"]
    rows.append(
        Row(
            f"CPU of planning {largest['tags']:,} tags with every report",
            f"{whole * 1e6:.0f} µs a tag",
            f"`json.loads` of the same pages: {largest['plain'] / largest['tags'] * 1e6:.0f} µs a tag",
            f"{(largest['cpu'] + largest['reports']) / largest['plain']:.1f} ×",
            f"≤ {MOST_WITH_REPORTS} × (40 µs a tag where `json.loads` takes 2.8 µs)",
            (largest["cpu"] + largest["reports"]) <= MOST_WITH_REPORTS * largest["plain"],
        )
    )
    return rows


def _planned(tags: int, repositories: int) -> dict[str, float]:
    return measured("tests.bench.planning", str(tags), str(repositories))


def _per_tag(figures: dict[str, float]) -> float:
    return figures["cpu"] / figures["tags"]


def _memory(figures: dict[str, float], key: str, what: str, most: int = LARGE) -> Row:
    """Peak memory, measured or extrapolated to `most` tags."""
    bytes_ = (figures[key] - figures["before"]) / figures["tags"]
    total = figures["before"] + bytes_ * most
    how = "measured" if figures["tags"] == most else f"from {bytes_:.0f} bytes a tag"
    return Row(
        f"peak memory of {what} {figures['tags']:,} tags",
        f"{figures[key] / 1e6:.0f} MB",
        f"before any tag: {figures['before'] / 1e6:.0f} MB",
        f"{most:,}: {total / 1e6:.0f} MB ({how})",
        f"≤ 250 MB at {most:,}",
        total <= MOST_MEMORY,
    )


def _cpu(figures: dict[str, float], what: str = "") -> Row:
    return Row(
        f"CPU of planning {what}{figures['tags']:,} tags",
        f"{_per_tag(figures) * 1e6:.0f} µs a tag",
        f"`json.loads` of the same pages: {figures['plain'] / figures['tags'] * 1e6:.0f} µs a tag",
        f"{figures['cpu'] / figures['plain']:.1f} ×",
        "≤ 60 µs a tag",
        _per_tag(figures) <= MOST_CPU,
    )
