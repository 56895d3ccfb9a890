"""
`make soak`: thousands of generated worlds, races, and a fault at every call, in parts of an hour.

Each job is one run of pytest with its own seed. A part starts no job after MINUTES. The next part runs
the jobs that have no result yet, and first those that failed. `build/soak` has the results and the
output of each job. `python -m tests.soak --status` only says how far it is. SEED, WORLDS, RACES,
MINUTES and WORKERS in the environment change the defaults.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path("build/soak")
BATCH = 50
"""Worlds of one seed, as in `test_many_worlds`."""
WORLDS_EACH, RACES_EACH, FAULT_PARTS = 5 * BATCH, 100, 10
MEMORY = Path("/dev/shm")
"""A file system in memory, if the machine has it: a world writes thirty files."""
SCENARIOS = "tests/scenarios"


@dataclass(frozen=True)
class Job:
    """One run of pytest. `worlds`: the generated worlds or races that it runs."""

    name: str
    test: str
    worlds: int
    variables: dict[str, str]

    @property
    def command(self) -> str:
        """The command that runs it alone."""
        variables = " ".join(f"{name}={value}" for name, value in self.variables.items())
        return f"{variables} {sys.executable} -m pytest -q -p no:cacheprovider '{self.test}'"


def jobs(seed: int, worlds: int, races: int) -> Iterator[Job]:
    """All jobs. The seeds of batches and races count from `seed`; only the last job of a kind may be smaller."""
    for start in range(0, worlds, WORLDS_EACH):
        count, first = min(WORLDS_EACH, worlds - start), seed + start // BATCH
        variables = {"ACR_CLEANUP_SEED": f"{first}", "ACR_CLEANUP_WORLDS": f"{count}", "ACR_CLEANUP_SOAK": "1"}
        yield Job(f"worlds-{first}-{count}", f"{SCENARIOS}/test_many_worlds.py", count, variables)
    for kind in ("interleaved", "standing_looks"):
        for number, start in enumerate(range(0, races, RACES_EACH)):
            count = min(RACES_EACH, races - start)
            variables = {"ACR_CLEANUP_SEED": f"{seed + number}", "ACR_CLEANUP_RACES": f"{count}"}
            yield Job(f"{kind}-{seed + number}-{count}", f"{SCENARIOS}/test_{kind}.py", count, variables)
    for part in range(FAULT_PARTS if races else 0):
        test = f"{SCENARIOS}/test_faults.py::test_fault_at_any_request_leaves_a_sound_run[{part}]"
        yield Job(f"faults-{part}", test, 0, {"ACR_CLEANUP_EVERY_FAULT": "1"})


@dataclass
class Soak:
    """
    The jobs, and the results of this part and of earlier ones.

    `commit`: of the code that runs. `commits`: of the code that made each result.
    """

    jobs: Sequence[Job]
    folder: Path = FOLDER
    passed: dict[str, bool] = field(default_factory=dict)
    commit: str = ""
    commits: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.results.exists():
            for line in self.results.read_text(encoding="utf-8").splitlines():
                result = json.loads(line)
                self.passed[result["job"]] = result["passed"]
                self.commits[result["job"]] = result["commit"]

    @property
    def results(self) -> Path:
        return self.folder / "results.jsonl"

    @property
    def open_jobs(self) -> list[Job]:
        """First those that failed, then those without a result."""
        missing = [job for job in self.jobs if not self.passed.get(job.name, False)]
        return sorted(missing, key=lambda job: job.name not in self.passed)

    def run(self, workers: int, seconds: float, run_job: Callable[[Job], tuple[bool, str]]) -> None:
        """Run open jobs until the time is over."""
        end = time.monotonic() + seconds

        def run_in_time(job: Job) -> None:
            if time.monotonic() >= end:
                return
            passed, output = run_job(job)
            self.passed[job.name], self.commits[job.name] = passed, self.commit
            (self.folder / f"{job.name}.log").write_text(output, encoding="utf-8")
            with self.results.open("a", encoding="utf-8") as results:
                results.write(json.dumps({"job": job.name, "passed": passed, "commit": self.commit}) + "\n")
            sys.stdout.write(f"{'passed' if passed else 'FAILED'} {job.name}\n")
            sys.stdout.flush()

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run_in_time, self.open_jobs))

    def status(self) -> str:
        """How far the jobs are, the code that they ran, and how to run each failed one alone."""
        finished = [job for job in self.jobs if job.name in self.passed]
        failed = [job for job in finished if not self.passed[job.name]]
        worlds, all_worlds = (sum(job.worlds for job in group) for group in (finished, self.jobs))
        done = f"{len(finished):,} of {len(self.jobs):,} jobs are done"
        lines = [f"{done} ({worlds:,} of {all_worlds:,} worlds and races); {len(failed)} failed."]
        versions = Counter(self.commits[job.name] for job in finished)
        lines += [f"Code of commit {commit}: {count:,} of these jobs." for commit, count in versions.items()]
        lines += [f"{self.folder / job.name}.log: {job.command}" for job in failed]
        if len(finished) < len(self.jobs):
            lines.append("Run `make soak` again to go on.")
        return "\n".join(lines)


def run_pytest(job: Job) -> tuple[bool, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", "-n", "0", job.test]
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        env = os.environ | job.variables | {"TMPDIR": folder}
        ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return ran.returncode == 0, ran.stdout + ran.stderr


def current_commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> int:
    defaults = {"SEED": "1000", "WORLDS": "20000", "RACES": "2000", "MINUTES": "55", "WORKERS": f"{os.cpu_count()}"}
    seed, worlds, races, minutes, workers = (int(os.environ.get(name) or value) for name, value in defaults.items())
    soak = Soak(tuple(jobs(seed, worlds, races)), commit=current_commit())
    if "--status" not in sys.argv:
        soak.run(workers, minutes * 60, run_pytest)
    sys.stdout.write(soak.status() + "\n")
    return 0 if all(soak.passed.get(job.name, True) for job in soak.jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
