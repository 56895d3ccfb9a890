"""What a plan costs for each tag, however many there are."""

from __future__ import annotations

import sys

from tests.bench.rows import Row, measured

SMALL, MIDDLE, LARGE = 10_000, 100_000, 1_000_000
EACH = 500
"""Tags of a repository: a registry of a million tags has 2,000 of them."""

MOST_CPU = 60e-6
MOST_MEMORY = 250e6


def size() -> list[Row]:
    """CPU and memory of planning, decoding included; a million tags with `--large`."""
    small, *others = [
        _planned(tags, tags // EACH) for tags in (SMALL, MIDDLE, *((LARGE,) if "--large" in sys.argv else ()))
    ]
    largest = others[-1]
    one = _planned(200_000, 1) if "--large" in sys.argv else _planned(20_000, 1)
    rows = [_cpu(each) for each in (small, *others)]
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
        _cpu(one, "one repository with "),
    ]
    rows += [
        _memory(largest, "peak", "planning"),
        _memory(largest, "told", "planning and every report"),
        _memory(one, "peak", "planning one repository with", 200_000),
        _memory(one, "told", "planning and every report of one repository with", 200_000),
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
    return rows


def _planned(tags: int, repositories: int) -> dict[str, float]:
    return measured("tests.bench.planning", str(tags), str(repositories))


def _per_tag(found: dict[str, float]) -> float:
    return found["cpu"] / found["tags"]


def _memory(found: dict[str, float], which: str, what: str, most: int = LARGE) -> Row:
    """Peak memory, measured or carried forward to `most` tags."""
    bytes_ = (found[which] - found["before"]) / found["tags"]
    whole = found["before"] + bytes_ * most
    how = "measured" if found["tags"] == most else f"from {bytes_:.0f} bytes a tag"
    return Row(
        f"peak memory of {what} {found['tags']:,} tags",
        f"{found[which] / 1e6:.0f} MB",
        f"before any tag: {found['before'] / 1e6:.0f} MB",
        f"{most:,}: {whole / 1e6:.0f} MB ({how})",
        f"≤ 250 MB at {most:,}",
        whole <= MOST_MEMORY,
    )


def _cpu(found: dict[str, float], what: str = "") -> Row:
    return Row(
        f"CPU of planning {what}{found['tags']:,} tags",
        f"{_per_tag(found) * 1e6:.0f} µs a tag",
        f"`json.loads` of the same pages: {found['plain'] / found['tags'] * 1e6:.0f} µs a tag",
        f"{found['cpu'] / found['plain']:.1f} ×",
        "≤ 60 µs a tag",
        _per_tag(found) <= MOST_CPU,
    )
