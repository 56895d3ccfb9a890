"""`make profile`: the CPU time of a plan and of an apply, by package and by function."""

from __future__ import annotations

import json
import os
import pstats
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.bench.serving import served
from tests.helpers.paths import ROOT

TOP = 5

Function = tuple[str, int, str]
"""File, line and name."""
# The rows of a profile are not documented, but have not changed for decades: calls (twice), own
# seconds, all seconds, and the same for each caller.
Costs = Mapping[Function, tuple[int, int, float, float, Mapping[Function, tuple[int, int, float, float]]]]

WAITING = ("epoll", "acquire", "process_time")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _show("Plan of 20,000 tags", _profiled(folder / "plan", {}, "tests.bench.planning", "20000", "40"))
        with served("counted") as world:
            config = folder / "acr-cleanup.json"
            config.write_text(json.dumps(world.config), encoding="utf-8")
            words = ("acr_cleanup", "apply", str(config), "--report-dir", str(folder / "report"))
            costs = _profiled(folder / "apply", world.environment, *words)
        _show("Apply: 500 tags on 250 manifests", costs)


def _profiled(file: Path, environment: Mapping[str, str], *words: str) -> Costs:
    command = [sys.executable, "-m", "cProfile", "-o", str(file), "-m", *words]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env={**os.environ, **environment})
    costs: Costs = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]
    return costs


def _show(title: str, costs: Costs) -> None:
    functions, packages = Counter[str](), Counter[str]()
    for function, seconds in _charged(costs):
        package = _package(function)
        packages[package] += seconds  # type: ignore[assignment]
        functions[package if package == IMPORTS else f"{package}: {function[2]}"] += seconds  # type: ignore[assignment]
    total = sum(packages.values())
    print(f"{title}: {total:.1f} s of work under the profiler, which makes everything slower\n")
    for heading, counter in (
        ("By module or package", packages),
        ("By function, with the C functions it calls", functions),
    ):
        print(f"  {heading}")
        for name, seconds in counter.most_common(TOP):
            print(f"    {seconds / total:6.1%}  {name}")
        print()


def _charged(costs: Costs) -> Iterator[tuple[Function, float]]:
    """
    The seconds of each Python function, with those of the C functions that it calls.

    A C function such as `len` alone would not tell what to improve. Waiting is left out, and so is
    the benchmark's own work of generating pages.
    """
    for function, (_, _, own, _, callers) in costs.items():
        if any(word in function[2] for word in WAITING):
            continue
        charged = [(caller, cost[2]) for caller, cost in callers.items()] if function[0] == BUILT_IN else []
        for caller, seconds in charged or [(function, own)]:
            if f"{os.sep}tests{os.sep}bench" not in caller[0] and "json" not in Path(caller[0]).parts:
                yield caller, seconds


BUILT_IN = "~"
IMPORTS = "imports"


def _package(function: Function) -> str:
    file, _, name = function
    parts = Path(file).parts
    if name == "<module>" or "importlib" in file or "dataclasses" in Path(file).stem:
        return IMPORTS
    if "acr_cleanup" in parts:
        return ".".join(parts[parts.index("acr_cleanup") :]).removesuffix(".py")
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "Python itself" if file == BUILT_IN else f"Python's {Path(file).stem}"


if __name__ == "__main__":
    main()
