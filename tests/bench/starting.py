"""How long it takes until anything happens, and what is read for it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.rows import Row

ROOT = Path(__file__).parents[2]
TRIES = 9

SDKS = ("azure", "kubernetes", "aiohttp", "msal", "cryptography")


def start_up() -> list[Row]:
    """`--version` beside a bare interpreter, and what `plan --help` imports."""
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(TRIES):
        # In turns: what else the machine does then hits both.
        bare.append(_seconds("-c", "pass"))
        ours.append(_seconds("-m", "acr_cleanup", "--version"))
    spent = min(_cpu("-m", "acr_cleanup", "plan", "--help") for _ in range(3))
    found = sorted(imported("plan", "--help") & set(SDKS))
    bound = 1.5 * min(bare) + 0.1
    return [
        Row(
            "`acr-cleanup --version`",
            f"{min(ours) * 1e3:.0f} ms",
            f"`python -c pass`: {min(bare) * 1e3:.0f} ms",
            f"{min(ours) / min(bare):.1f} ×",
            f"≤ 1.5 × and 100 ms: {bound * 1e3:.0f} ms",
            min(ours) <= bound,
        ),
        Row(
            "SDKs imported by `acr-cleanup plan --help`",
            ", ".join(found) or "none",
            f"of {', '.join(SDKS)}",
            f"{spent:.2f} s of CPU",
            "none",
            not found,
        ),
    ]


def _seconds(*words: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT)
    return time.monotonic() - began


def _cpu(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _seconds(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported(*arguments: str) -> frozenset[str]:
    """Which packages a command has imported by the time that it ends."""
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps([name.partition('.')[0] for name in sys.modules])))\n"
        f"sys.argv = ['acr-cleanup', *{arguments!r}]\n"
        "from acr_cleanup.__main__ import entry\n"
        "entry()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    return frozenset(json.loads(done.stdout.splitlines()[-1]))
