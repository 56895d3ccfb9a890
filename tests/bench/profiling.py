"""`make profile`: where the CPU of a plan and of an apply goes, by package and by function."""

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
# How the rows of a profile look is nowhere promised, and has not changed for decades: calls (twice), own seconds, all seconds, and
# the same for each caller.
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
    for what, found in (("By module or package", packages), ("By function, with what it calls of C", functions)):
        print(f"  {what}")
        for name, seconds in found.most_common(TOP):
            print(f"    {seconds / total:6.1%}  {name}")
        print()


def _charged(costs: Costs) -> Iterator[tuple[Function, float]]:
    """
    The seconds of each function of Python and of all of C that it calls: that `len` is called often is nothing to act upon.

    Without the benchmark's own making of pages, and without waiting.
    """
    for function, (_, _, own, _, callers) in costs.items():
        if any(word in function[2] for word in WAITING):
            continue
        charged = [(caller, each[2]) for caller, each in callers.items()] if function[0] == BUILT_IN else []
        for who, seconds in charged or [(function, own)]:
            if f"{os.sep}tests{os.sep}bench" not in who[0] and "json" not in Path(who[0]).parts:
                yield who, seconds


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
