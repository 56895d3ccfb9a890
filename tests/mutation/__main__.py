"""
`make mutation`: changes the code in thousands of small ways, and lists the changes that no test
notices.

mutmut does this, in copies below `mutants/`. Two things are added: it also changes properties,
which it skips by default although half of the core is in them, and it prints a table of results by
module. The exit code is 1 if a module misses the goal. docs/mutation.md has the results.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import libcst
from mutmut import __main__ as mutmut
from mutmut.mutation import file_mutation
from mutmut.stats import status_by_exit_code

GOAL = 95.0
"""Percent of the changes that must be noticed, in each module."""

ALSO = {"property", "cached_property", "lru_cache", "cache"}
"""
Decorators whose functions are changed like any other. The original keeps its decorator; the changed
copies do not need it.
"""

NOTICED = {"killed", "timeout", "segfault"}


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


def verdicts() -> dict[str, dict[str, str]]:
    """Return the status of each change in the last run, by module and name of the change."""
    statuses = {}
    for file in sorted(Path("mutants").rglob("*.py.meta")):
        codes = json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            module = file.relative_to("mutants/acr_cleanup").as_posix().removesuffix(".meta")
            statuses[module] = {name: status_by_exit_code[code] for name, code in codes.items()}
    return statuses


def table(statuses: dict[str, dict[str, str]]) -> Iterable[str]:
    """Yield the lines of a Markdown table: the counts of each module, and of all modules."""
    yield "| Module | Changes | Noticed | Not noticed | Rate |"
    yield "|---|---:|---:|---:|---:|"
    counted = {
        module: Counter(status in NOTICED for status in changes.values()) for module, changes in statuses.items()
    }
    for module, count in (*counted.items(), ("all", sum(counted.values(), Counter()))):
        yield f"| {module} | {count.total()} | {count[True]} | {count[False]} | {rate(count):.1f} % |"


def rate(count: Counter[bool]) -> float:
    """Percent of the changes that were noticed."""
    return 100 * count[True] / (count.total() or 1)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["show"]:
        for name in arguments[1:]:
            print(mutmut.get_diff_for_mutant(name, path=mutmut.find_mutant(name).path))
        return 0
    if arguments[:1] != ["table"]:
        # The tests run as copies, too: no module of the original tests may be imported already.
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        change_properties_too()
        mutmut._run(arguments, max_children=None)
    statuses = verdicts()
    for changes in statuses.values():
        for name, status in changes.items():
            if status not in NOTICED:
                print(f"{status}: {name}")
    print("\n".join(table(statuses)))
    rates = [rate(Counter(status in NOTICED for status in changes.values())) for changes in statuses.values()]
    return int(any(percent < GOAL for percent in rates))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
