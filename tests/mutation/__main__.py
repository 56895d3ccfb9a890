"""
`make mutation`: changes the code in thousands of small ways, and lists the changes that no test
notices.

mutmut does this, in copies below `mutants/`. This module adds:

- Properties are changed, too.
- The quickest tests of the changed folder run first. pytest collects the tests once (`runner`).
- A change that has a result is not tried again.
- A table of the results by module is printed. The exit code is 1 if a module misses the goal.

docs/mutation.md has the results.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import libcst
from mutmut import __main__ as mutmut
from mutmut.mutation import file_mutation
from mutmut.stats import status_by_exit_code

from tests.mutation import runner

GOAL = 95.0
"""Percent of the changes that must be noticed, in each module."""

ALSO = {"property", "cached_property", "lru_cache", "cache"}
"""
Decorators whose functions are changed like any other. The original keeps its decorator; the changed
copies do not need it.
"""

NOTICED = {"killed", "timeout", "segfault"}

SECONDS = 60.0
"""Time limit of the tests of one change, as they took when they were measured; `SECONDS` gives another one."""


def _names(function: libcst.FunctionDef) -> set[str]:
    """The names of the decorators of a function; `?` for one that is not a plain name."""
    decorators = (decorator.decorator for decorator in function.decorators)
    called = (node.func if isinstance(node, libcst.Call) else node for node in decorators)
    return {node.value if isinstance(node, libcst.Name) else "?" for node in called}


def change_properties_too() -> None:
    """Make mutmut change properties: https://github.com/boxed/mutmut#limitations."""
    skips = file_mutation.MutationVisitor._skip_node_and_children
    arrange = file_mutation.function_trampoline_arrangement

    def skips_less(visitor: Any, node: libcst.CSTNode) -> bool:
        if isinstance(node, libcst.FunctionDef) and node.decorators and _names(node) <= ALSO:
            return False
        return bool(skips(visitor, node))

    def arranged(function: libcst.FunctionDef, mutants: Any, class_name: str | None) -> Any:
        if not _names(function) & ALSO:
            return arrange(function, mutants, class_name)
        declared, nodes, assigned, names = arrange(function.with_changes(decorators=()), mutants, class_name)
        first, *others = nodes
        return (
            declared,
            [first.with_changes(decorators=[*function.decorators, *first.decorators]), *others],
            assigned,
            names,
        )

    file_mutation.MutationVisitor._skip_node_and_children = skips_less
    file_mutation.function_trampoline_arrangement = arranged


def quick_tests(function: str, tests: set[str], durations: dict[str, float], limit: float = SECONDS) -> list[str]:
    """
    Return the tests that may notice a change of a function, until they take longer than the limit:
    first those of a file of the same name, then those of the same folder, the quickest of each first.
    """
    folder, _, module = function.rpartition(".")[0].removeprefix("acr_cleanup.").replace(".", "/").rpartition("/")

    def order(test: str) -> tuple[bool, bool, float, str]:
        path = test.partition("::")[0]
        return not path.endswith(f"/test_{module}.py"), not path.startswith(f"tests/{folder}"), durations[test], test

    chosen: list[str] = []
    for test in sorted(tests, key=order):
        if (limit := limit - durations[test]) < 0 and chosen:
            break
        chosen.append(test)
    return chosen


def choose(patterns: list[str], sample: int, seconds: float, *, again: bool) -> None:
    """
    Make mutmut try the changes that have no result yet, with quick tests.

    - `patterns`: only the changes with names like these.
    - `sample`: at most this many of each module, always the same ones; 0 for all.
    - `seconds`: for the tests of one change.
    - `again`: also those that no test noticed before.
    """
    collect = mutmut.collect_source_file_mutation_data
    chosen_tests: set[str] = set()
    turns: dict[str, int] = {}

    def collected(*, mutant_names: Any) -> Any:
        changes, files = collect(mutant_names=patterns)
        by_function = mutmut.state().tests_by_mangled_function_name
        for function, tests in by_function.items():
            by_function[function] = quick_tests(function, tests, mutmut.state().duration_by_test, seconds)
        by_module: dict[int, list[Any]] = {}
        for data, name, code in sorted(changes, key=lambda change: hashlib.sha256(change[1].encode()).digest()):
            by_module.setdefault(id(data), []).append((data, name, code))
        chosen: list[Any] = []
        for of_module in by_module.values():
            for turn, (data, name, code) in enumerate(of_module[: sample or None]):
                turns[name] = turn
                if code is None or (again and status_by_exit_code[code] not in NOTICED):
                    chosen.append((data, name, None))
                    chosen_tests.update(by_function.get(mutmut.mangled_name_from_mutant_name(name), ()))
        if not chosen:
            print("Every chosen change has a result.")
            raise SystemExit(report())
        return chosen, files

    mutmut.collect_source_file_mutation_data = collected
    mutmut.tests_for_mutant_names = lambda names: chosen_tests
    # One change of each module in turn: what an interrupted run has tried is a fair sample.
    mutmut.estimated_worst_case_time = turns.__getitem__


def drop_stale_copies() -> None:
    """Remove the copies of a run that was stopped while it wrote them, of deleted modules, and of the tests."""
    shutil.rmtree("mutants/tests", ignore_errors=True)
    for copy in Path("mutants/acr_cleanup").rglob("*.py"):
        source = copy.relative_to("mutants")
        if not source.exists() or copy.stat().st_size < source.stat().st_size:
            copy.unlink()
            if not source.exists():
                Path(f"{copy}.meta").unlink(missing_ok=True)


def verdicts() -> dict[str, dict[str, str]]:
    """Return the status of each change, by module and name of the change."""
    statuses = {}
    for file in sorted(Path("mutants").rglob("*.py.meta")):
        codes = json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            module = file.relative_to("mutants/acr_cleanup").as_posix().removesuffix(".meta")
            statuses[module] = {name: status_by_exit_code[code] for name, code in codes.items()}
    return statuses


def counted(changes: Iterable[str]) -> Counter[str]:
    """Count statuses: `tried`, `noticed`, and `all`."""
    count: Counter[str] = Counter()
    for status in changes:
        count += Counter(all=1, tried=status != "not checked", noticed=status in NOTICED)
    return count


def table(counts: dict[str, Counter[str]]) -> Iterable[str]:
    """Yield the lines of a Markdown table: the counts of each module, and of all modules."""
    yield "| Module | Changes | Tried | Noticed | Not noticed | Rate |"
    yield "|---|---:|---:|---:|---:|---:|"
    for module, count in (*counts.items(), ("**all**", sum(counts.values(), Counter()))):
        tried, noticed = count["tried"], count["noticed"]
        yield f"| {module} | {count['all']} | {tried} | {noticed} | {tried - noticed} | {rate(count):.1f} % |"


def rate(count: Counter[str]) -> float:
    """Percent of the tried changes that were noticed."""
    return 100 * count["noticed"] / (count["tried"] or 1)


def report() -> int:
    """Print what no test noticed and the table. Return the exit code."""
    statuses = verdicts()
    for changes in statuses.values():
        for name, status in changes.items():
            if status not in {*NOTICED, "not checked"}:
                print(f"{status}: {name}")
    counts = {module: counted(changes.values()) for module, changes in statuses.items()}
    print("\n".join(table(counts)))
    return int(any(count["tried"] and rate(count) < GOAL for count in counts.values()))


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["show"]:
        for name in arguments[1:]:
            print(mutmut.get_diff_for_mutant(name, path=mutmut.find_mutant(name).path))
        return 0
    if arguments[:1] != ["table"]:
        # The tests run as copies, too: no module of the original tests may be imported already.
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        drop_stale_copies()
        change_properties_too()
        runner.use()
        sample, seconds = int(os.environ.get("SAMPLE") or 0), float(os.environ.get("SECONDS") or SECONDS)
        choose(arguments, sample, seconds, again=bool(os.environ.get("AGAIN")))
        mutmut._run([], max_children=int(os.environ.get("JOBS") or 0) or None)
    return report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
