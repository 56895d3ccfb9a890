"""The tables of who pulls: in the log of the registry, and who may pull besides everything that was read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from acr_cleanup.core.usage import UsageIndex


@dataclass(frozen=True, slots=True)
class PullerTable:
    """One table. Its cells are foreign text: escape them before they are shown."""

    title: str
    columns: tuple[str, str, str]
    rows: tuple[tuple[str, str, str], ...]


def puller_tables(usage: UsageIndex) -> Iterator[PullerTable]:
    """Yield the tables that have rows; that of the log also if nothing was pulled."""
    log = usage.pulls
    if log.since is not None:
        reach = f"; the log reaches back to {log.reaches_back_to:%Y-%m-%d}" if log.reaches_back_to else ""
        rows = [(who, f"{pulls:,}", "yes") for who, pulls in log.counted]
        rows += [(who, f"{pulls:,}", "no, ignored") for who, pulls in log.ignored]
        title = f"Pulls since {log.since:%Y-%m-%d}{reach}"
        yield PullerTable(title, ("Who", "Pulls", "Counts"), tuple(rows) or (("no one", "0", ""),))
    if pullers := usage.outside.pullers:
        rows = [(puller.name, puller.kind, puller.role) for puller in pullers]
        yield PullerTable("May pull, and is not read", ("Name", "Kind", "Role"), tuple(rows))
