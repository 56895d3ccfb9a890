"""
Let coverage choose the examples of every test: `python -m tests.fuzz [SECONDS [TEST]]`.

Needs atheris. It instruments the package during the import and ends the process, so each test runs
in its own process.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def fuzz_tests(stem: str = "test_*") -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """
    Every test (of the files with this name) by name, as a function of the bytes of an example.
    """
    for path in sorted(FOLDER.glob(f"{stem}.py")):
        module = importlib.import_module(f"tests.fuzz.{path.stem}")
        for name, value in vars(module).items():
            if name.startswith("test_") and hasattr(value, "hypothesis"):
                yield f"{path.stem}::{name}", value.hypothesis.fuzz_one_input


def fuzz_one(name: str, seconds: int) -> None:
    """Fuzz one test; atheris ends the process."""
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=["acr_cleanup"]):
        known = dict(fuzz_tests(name.partition("::")[0]))
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        "-rss_limit_mb=3072",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, known[name])
    atheris.Fuzz()


def run_all(seconds: int) -> int:
    """Fuzz each test for some seconds; returns the exit code."""
    try:
        import atheris  # noqa: F401, PLC0415
    except ImportError:
        print("Fuzzing with coverage is skipped: atheris is not installed (no build for this Python or machine).")
        return 0
    broken = 0
    for name, _ in fuzz_tests():
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", str(seconds), name], capture_output=True, text=True, check=False
        )
        executed = next(
            (line.split()[-1] for line in ended.stderr.splitlines() if "number_of_executed_units" in line), "?"
        )
        print(f"{name}: {executed} examples, {'ok' if ended.returncode == 0 else 'broken'}", flush=True)
        if ended.returncode != 0:
            broken += 1
            print(ended.stdout[-4000:], ended.stderr[-8000:], sep="\n")
    return int(broken > 0)


def main(arguments: list[Any]) -> int:
    seconds = int(arguments[0]) if arguments else 60
    if len(arguments) > 1:
        fuzz_one(arguments[1], seconds)
        return 0
    return run_all(seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
