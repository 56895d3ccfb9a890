"""The layout of the package: no import circles, small files, few modules at the root."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

from tests.helpers.paths import ROOT

PACKAGE = "acr_cleanup"
LONGEST_FILE = 400
"""Lines of the longest source file."""
MODULES_AT_ROOT = 7


@cache
def sources() -> tuple[Path, ...]:
    """Return the Python and TypeScript files that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.ts"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    if listing.returncode:
        pytest.skip(f"git cannot list the files of the project: {listing.stderr.strip()}")
    return tuple(path for name in listing.stdout.splitlines() if (path := ROOT / name).exists())


def import_circles() -> list[list[str]]:
    """Return each group of modules that import one another, directly or through others."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # What imports nothing, or is imported by nothing, is in no circle: take it off until only circles are left.
    while loose := {module for module, others in imports.items() if not others & imports.keys()}:
        imports = {module: others for module, others in imports.items() if module not in loose}
    while loose := imports.keys() - {other for others in imports.values() for other in others}:
        imports = {module: others for module, others in imports.items() if module not in loose}
    return list(_groups(imports))


def _groups(imports: dict[str, set[str]]) -> Iterator[list[str]]:
    def reachable(start: str) -> set[str]:
        modules: set[str] = set()
        following = [start]
        while following:
            for module in imports.get(following.pop(), set()) - modules:
                modules.add(module)
                following.append(module)
        return modules

    left = {module: reachable(module) for module in imports}
    while left:
        module = min(left)
        group = {other for other in left[module] if module in left.get(other, ())} | {module}
        if len(group) > 1 or module in left[module]:
            yield sorted(group)
        left = {other: modules for other, modules in left.items() if other not in group}


def test_modules_have_no_import_circle() -> None:
    """Imports for type checking count too: a reader follows them as well."""
    assert import_circles() == []


def test_source_files_have_at_most_400_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_package_root_has_few_modules() -> None:
    modules = sorted(path.name for path in (ROOT / PACKAGE).glob("*.py"))
    assert len(modules) <= MODULES_AT_ROOT, modules


def test_test_functions_have_names() -> None:
    """A failing test function called `_` shows as `_` in the report."""
    unnamed = [
        f"{path.relative_to(ROOT)}:{function.lineno}"
        for path in sources()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")
        for function in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and not function.name.strip("_")
    ]
    assert unnamed == []
