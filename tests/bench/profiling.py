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
from typing import Any

from tests.bench.serving import served

ROOT = Path(__file__).parents[2]
TOP = 5

# How the rows of a profile look is nowhere promised, and has not changed for decades.
Costs = Mapping[tuple[str, int, str], tuple[int, int, float, float, Any]]


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
    for function, seconds in _ours(costs):
        packages[_package(function[0])] += seconds  # type: ignore[assignment]
        functions[f"{_package(function[0])} {function[2]}"] += seconds  # type: ignore[assignment]
    total = sum(packages.values())
    print(f"{title}: {total:.1f} s under the profiler\n")
    for what, found in (("package", packages), ("function", functions)):
        for name, seconds in found.most_common(TOP):
            print(f"  {seconds / total:6.1%}  {what} {name}")
        print()


def _ours(costs: Costs) -> Iterator[tuple[tuple[str, int, str], float]]:
    """Without the benchmark's own making of pages, and without waiting."""
    for function, (_, _, own, _, _) in costs.items():
        in_bench = f"{os.sep}tests{os.sep}bench" in function[0] or "json" in Path(function[0]).parts
        if not (in_bench or any(word in function[2] for word in ("epoll", "acquire", "process_time"))):
            yield function, own


def _package(file: str) -> str:
    parts = Path(file).parts
    if "acr_cleanup" in parts:
        return ".".join(parts[parts.index("acr_cleanup") :]).removesuffix(".py")
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "(built in)" if file == "~" else "(imports)" if "importlib" in file else Path(file).stem


if __name__ == "__main__":
    main()
