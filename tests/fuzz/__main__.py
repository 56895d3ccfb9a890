"""
Lets coverage choose the examples of every law: `python -m tests.fuzz [SECONDS [LAW]]`, with atheris where that is installed.

atheris changes the code of the package while it is imported and ends the process by itself, so each law has a process of its own.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def laws(stem: str = "test_*") -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """Every law (of the files of this name) by its own name, as a function of the bytes that its examples are made from."""
    for path in sorted(FOLDER.glob(f"{stem}.py")):
        module = importlib.import_module(f"tests.fuzz.{path.stem}")
        for name, found in vars(module).items():
            if name.startswith("test_") and hasattr(found, "hypothesis"):
                yield f"{path.stem}::{name}", found.hypothesis.fuzz_one_input


def one(wanted: str, seconds: int) -> None:
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=["acr_cleanup"]):
        known = dict(laws(wanted.partition("::")[0]))
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        "-rss_limit_mb=3072",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, known[wanted])
    atheris.Fuzz()


def run(seconds: int) -> int:
    try:
        import atheris  # noqa: F401, PLC0415
    except ImportError:
        print("Coverage does not choose examples here: there is no atheris for this Python or this machine.")
        return 0
    broken = 0
    for name, _ in laws():
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
        one(arguments[1], seconds)
        return 0
    return run(seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
