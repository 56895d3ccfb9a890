"""
Benchmark of the pull log: a million rows in answers of the largest size, decoded and matched.

As a module, it measures in another process: `python -m tests.bench.pulls ours|sdk ROWS`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from acr_cleanup.core.pulls import PullLog
from acr_cleanup.core.references import RegistryHost
from tests.bench.rows import Row, measured

ROWS, ANSWER, SAMPLE = 1_000_000, 500_000, 100_000
NOW = datetime(2026, 11, 23, tzinfo=UTC)
COLUMNS = (("Repository", "string"), ("Tag", "string"), ("Digest", "string"), ("Identity", "string"),
           ("UserAgent", "string"), ("last", "datetime"), ("pulls", "long"))  # fmt: skip


def million_pulls() -> list[Row]:
    """CPU and memory for each row, compared with the SDK's own rows."""
    ours, sdk = measured(__name__, "ours", str(ROWS)), measured(__name__, "sdk", str(SAMPLE))
    cpu, yardstick = ours["cpu"] / ROWS * 1e6, sdk["cpu"] / SAMPLE * 1e6
    return [
        Row(
            f"CPU of decoding, counting and matching {ROWS:,} rows of pulls, each",
            f"{cpu:.1f} µs",
            f"the rows of the SDK's client alone: {yardstick:.1f} µs",
            f"{cpu / yardstick:.2f} ×",
            "< 1.5 ×",
            cpu < 1.5 * yardstick,
        ),
        Row(
            f"memory of the process with {ROWS:,} rows",
            f"{ours['mebibytes']:,.0f} MiB",
            f"the SDK's client with {SAMPLE:,} rows: {sdk['mebibytes']:,.0f} MiB",
            f"{ours['mebibytes'] / ROWS * 1024:.2f} KiB for each",
            "< 1 GiB",
            ours["mebibytes"] < 1024,
        ),
    ]


def _answer(first: int, rows: int) -> bytes:
    last = f"{NOW - timedelta(days=3):%Y-%m-%dT%H:%M:%S}.0000000Z"
    values = (
        [
            f"team/{number % 1000}",
            f"1.0.{number}",
            f"sha256:{number:064x}",
            f"node-{number % 40}",
            "containerd/1.7",
            last,
            3,
        ]
        for number in range(first, first + rows)
    )
    columns = [{"name": name, "type": type_} for name, type_ in COLUMNS]
    return json.dumps({"tables": [{"name": "PrimaryResult", "columns": columns, "rows": list(values)}]}).encode()


def _measure(side: str, rows: int) -> dict[str, float]:
    from azure.monitor.query import LogsQueryResult

    from acr_cleanup.registry.pull_rows import PullRows
    from acr_cleanup.registry.query_logs import _result
    from tests.helpers.generated_inventories import inventory, tag

    cpu = 0.0
    collected = PullRows(RegistryHost("contoso.azurecr.io"), NOW - timedelta(days=90), NOW)
    for first in range(0, rows, ANSWER):
        content = _answer(first, min(ANSWER, rows))
        started = time.process_time()
        if side == "ours":
            collected.add(_result(content))
        else:
            LogsQueryResult._from_generated(json.loads(content))
        cpu += time.process_time() - started
    if side == "ours":
        repository = inventory([tag(f"1.0.{number}", number) for number in range(1000)])
        started = time.process_time()
        log = PullLog.of(collected.pulls)
        kept = sum(1 for name in log.repositories for _ in log.kept_tags(replace(repository, name=name)))
        assert kept >= 1000  # each tag was pulled from one of the repositories
        cpu += time.process_time() - started
    return {"cpu": cpu, "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
