"""
One measured figure with its yardstick and goal, and the page of all figures in Markdown and JSON.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "262144"}
"""As in the image."""


@dataclass(frozen=True)
class Row:
    """
    One claim: `ours` compared with `yardstick`, both measured in this run, and the goal for their
    ratio.
    """

    claim: str
    ours: str
    yardstick: str
    found: str
    goal: str
    met: bool


def measured(module: str, *arguments: str) -> dict[str, Any]:
    """
    Run a module in its own process, so that its memory is measured alone.

    Returns the JSON object that the module prints as its last line.
    """
    words = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        words, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2], env={**os.environ, **MALLOC}
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def machine() -> str:
    """A description of this machine."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, {platform.system()}"


def as_markdown(sections: Iterable[tuple[str, Sequence[Row]]]) -> str:
    """The page in Markdown."""
    lines = ["# Measured", "", f"On {machine()}. Ratios of one run; nothing here is compared with another machine.", ""]
    for title, rows in sections:
        lines += [
            f"## {title}",
            "",
            "| | Ours | Yardstick | Found | Goal | |",
            "| :--- | :--- | :--- | ---: | ---: | :--- |",
        ]
        lines += [
            f"| {row.claim} | {row.ours} | {row.yardstick} | {row.found} | {row.goal} | {'✓' if row.met else '✗ missed'} |"
            for row in rows
        ]
        lines.append("")
    return "\n".join(lines)


def as_json(sections: Iterable[tuple[str, Sequence[Row]]]) -> str:
    """The page in JSON."""
    page = {"machine": machine(), "sections": {title: [asdict(row) for row in rows] for title, rows in sections}}
    return json.dumps(page, indent=2, ensure_ascii=False)
