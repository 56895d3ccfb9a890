"""Benchmarks of start-up: time, CPU and imported packages."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.rows import Row
from tests.bench.serving import Usage, served, usage_of_plan
from tests.helpers.paths import ROOT

TRIES, RUNS = 9, 5

SDKS = ("azure", "kubernetes", "aiohttp", "msal", "cryptography")

# The imports of a run of the action before its first request.
STEP = (
    "import acr_cleanup.pipeline, acr_cleanup.runtimes.github, acr_cleanup.commands.run, "
    "acr_cleanup.access.credentials, acr_cleanup.access.network, "
    "acr_cleanup.registry.acr, acr_cleanup.clusters.scan_clusters, acr_cleanup.clusters.unlisted, "
    "acr_cleanup.stages.soft_delete"
)
# The imports in the documentation of each SDK.
ALONE = "import azure.identity.aio, azure.containerregistry.aio, azure.mgmt.containerservice.aio, kubernetes.aio"


def start_up() -> list[Row]:
    """
    Compare `--version` with a bare interpreter and a pipeline step with the SDKs alone; list the
    imports of `plan --help`.
    """
    bare: list[float] = []
    ours: list[float] = []
    container: list[float] = []
    for _ in range(TRIES):
        # In turns, so that other load on the machine affects all three.
        bare.append(_seconds("-c", "pass"))
        ours.append(_seconds("-m", "acr_cleanup", "--version"))
        container.append(_seconds("entrypoint.py", "--version"))
    spent = min(_cpu("-m", "acr_cleanup", "plan", "--help") for _ in range(5))
    bare_cpu = min(_cpu("-c", "pass") for _ in range(5))
    sdks = sorted(imported("plan", "--help") & set(SDKS))
    bound = 1.5 * min(bare) + 0.1
    versions = [
        Row(
            f"`{command} --version`",
            f"{min(taken) * 1e3:.0f} ms",
            f"`python -c pass`: {min(bare) * 1e3:.0f} ms",
            f"{min(taken) / min(bare):.1f} ×",
            f"≤ 1.5 × and 100 ms: {bound * 1e3:.0f} ms",
            min(taken) <= bound,
        )
        for command, taken in (("acr-cleanup", ours), ("entrypoint.py", container))
    ]
    return [
        *versions,
        Row(
            "SDKs imported by `acr-cleanup plan --help`",
            ", ".join(sdks) or "none",
            f"of {', '.join(SDKS)}",
            f"{spent:.2f} s of CPU",
            "none",
            not sdks,
        ),
        Row(
            "CPU of `acr-cleanup plan --help`",
            f"{spent * 1e3:.0f} ms",
            f"`python -c pass`: {bare_cpu * 1e3:.0f} ms",
            f"{spent / bare_cpu:.1f} ×",
            "≤ 100 ms",
            spent <= 0.1,
        ),
        _step(),
        *_dry_run(),
    ]


def _dry_run() -> list[Row]:
    """The CPU of a whole run with little to do, and the time until its first request."""
    began, runs = list[float](), list[Usage]()
    with served("one-cluster") as world, tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            began.append(time.time())
            runs.append(usage_of_plan(world, Path(folder)))
    best = min(runs, key=lambda usage: usage.cpu)
    first = min(next(at for at in sorted(world.arrivals) if at > start) - start for start in began)
    imported_alone = [(_seconds("-c", ALONE), _cpu("-c", ALONE)) for _ in range(RUNS)]
    alone, alone_cpu = map(min, zip(*imported_alone, strict=True))
    return [
        Row(
            "CPU of a dry run with 300 tags and one cluster",
            f"{best.cpu:.2f} s",
            f"the SDKs alone, only imported: {alone_cpu:.2f} s",
            f"{best.cpu / alone_cpu:.1f} ×, {best.memory / 1e6:.0f} MB",
            "≤ 0.7 s",
            best.cpu <= 0.7,
        ),
        Row(
            "time until the first request of the same",
            f"{first:.2f} s",
            f"the SDKs alone, only imported: {alone:.2f} s",
            f"{first / alone:.1f} ×",
            "≤ 0.5 s",
            first <= 0.5,
        ),
    ]


def _step() -> Row:
    """The CPU of all imports of a step, settings and reports included."""
    ours: list[float] = []
    alone: list[float] = []
    for _ in range(TRIES // 2):
        alone.append(_cpu("-c", ALONE))
        ours.append(_cpu("-c", STEP))
    ratio = min(ours) / min(alone)
    return Row(
        "CPU of all that a step imports before its first request",
        f"{min(ours):.2f} s",
        f"the SDKs alone, imported as documented: {min(alone):.2f} s",
        f"{ratio:.2f} ×",
        "≤ 1.25 ×",
        ratio <= 1.25,
    )


def _seconds(*words: str) -> float:
    # Compiled modules are kept: a user compiles them only once.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT, env=environ)
    return time.monotonic() - began


def _cpu(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _seconds(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported(*arguments: str) -> frozenset[str]:
    """The packages that a command has imported at its end."""
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps([name.partition('.')[0] for name in sys.modules])))\n"
        f"sys.argv = ['acr-cleanup', *{arguments!r}]\n"
        "from acr_cleanup.__main__ import entry\n"
        "entry()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    return frozenset(json.loads(done.stdout.splitlines()[-1]))
