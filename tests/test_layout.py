"""The layout of the package: no import circles, small files, few modules at the root."""

from __future__ import annotations

import re
import subprocess
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
    """
    Return the Python and TypeScript files that git tracks; skip the test without a git checkout.
    """
    command = ["git", "ls-files", "*.py", "*.ts"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    if listing.returncode:
        pytest.skip(f"git cannot list the files of the project: {listing.stderr.strip()}")
    return tuple(path for name in listing.stdout.splitlines() if (path := ROOT / name).exists())


def import_circles() -> list[list[str]]:
    """Return each group of modules that import one another, directly or through others."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    imported = {module: _imported(graph, module) for module in graph.modules}
    circles = {
        tuple(sorted(other for other in imported[module] if module in imported[other]))
        for module in graph.modules
        if module in imported[module]
    }
    return [list(circle) for circle in sorted(circles)]


def _imported(graph: grimp.ImportGraph, module: str) -> set[str]:
    """Return all modules that a module imports, directly or through others."""
    modules: set[str] = set()
    waiting = [module]
    while waiting:
        for other in graph.find_modules_directly_imported_by(waiting.pop()) - modules:
            modules.add(other)
            waiting.append(other)
    return modules


def test_modules_have_no_import_circle() -> None:
    """Imports for type checking count too."""
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
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.match(r"\s*(async )?def _+\(", line)
    ]
    assert unnamed == []
