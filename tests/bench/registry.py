"""How the registry is spoken to: as fast as it allows, and no faster."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench.rows import Row
from tests.bench.serving import DELETIONS, MINUTE, run, served


def rate() -> list[Row]:
    """How much of a limit on deletions is used."""
    return [_rate(500), _rate(2_000)]


def _rate(limit: int) -> Row:
    with served(f"{limit}-a-minute") as world, tempfile.TemporaryDirectory() as folder:
        _, report = run("apply", world, Path(folder), max_deletions=0)
    deletions = [each for each in world.requests if each["method"] == "DELETE"]
    done = [each["at"] for each in deletions if each["status"] == 202]
    refused = sum(each["status"] == 429 for each in deletions)
    # The first window opens with the first deletion; the last deletion falls into the window in which it must.
    windows = -(-len(done) // limit)
    least = (windows - 1) * MINUTE
    used = least / (max(done) - min(done) - _within_last(done, least))
    lost = report["counts"]["failed"] + DELETIONS - report["counts"]["deleted"]
    return Row(
        f"{DELETIONS:,} deletions at {limit:,} a minute",
        f"{len(done)} done, {lost} lost, {refused} answered 429",
        f"{windows} minutes of the registry, which are the fewest possible",
        f"{min(used, 1.0):.1%} used",
        "≥ 95 %, none lost",
        used >= 0.95 and lost == 0,
    )


def _within_last(done: list[float], least: float) -> float:
    """Seconds from the earliest moment at which the last window could open to the last deletion: it may take its time there."""
    opened = min(done) + least
    late = [at for at in done if at >= opened]
    return max(late) - min(late) if late else 0.0
