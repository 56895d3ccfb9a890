"""The list of the code that `make mutation` changes follows the code."""

from __future__ import annotations

import ast
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTMUT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
MODULES = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "acr_cleanup").rglob("*.py")}
FOLDERS = tuple(f"acr_cleanup/{folder}/" for folder in ("core", "services", "records", "clusters/images"))
DELETES = {"untag", "delete_manifest", "unlock"}
"""The methods of a registry that take something away. The registry's own side of them is not a decision."""


def _calls(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}


def test_every_module_that_decides_or_deletes_is_changed() -> None:
    deciding = {name for name in MODULES if name.startswith(FOLDERS)}
    deleting = {name for name, path in MODULES.items() if "/emulator/" not in name and _calls(path) & DELETES}
    assert deleting, "no module deletes: have the methods of the registry other names?"
    missed = {
        name for name in deciding | deleting if not any(fnmatch(name, pattern) for pattern in MUTMUT["only_mutate"])
    }
    assert not missed, "add these to only_mutate in pyproject.toml"


def test_every_pattern_of_changed_code_matches_a_module() -> None:
    unused = [pattern for pattern in MUTMUT["only_mutate"] if not any(fnmatch(name, pattern) for name in MODULES)]
    assert not unused, "these modules have another name now: correct only_mutate in pyproject.toml"


def test_every_selected_test_path_exists() -> None:
    assert not [path for path in MUTMUT["pytest_add_cli_args_test_selection"] if not (ROOT / path).exists()]


def test_every_changed_folder_has_its_tests_selected() -> None:
    for pattern in MUTMUT["only_mutate"]:
        folder = pattern.removeprefix("acr_cleanup/").rpartition("/")[0] or "test_concurrency.py"
        assert f"tests/{folder}" in MUTMUT["pytest_add_cli_args_test_selection"]
