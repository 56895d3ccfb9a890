"""
Documentation: links lead somewhere, paths exist, the front page is short, and the samples at the
top level work.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acr_cleanup.settings.load import load_settings
from tests.helpers.paths import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob(".github/*.md"),
        *ROOT.glob("azure-pipelines-task/*.md"),
        *ROOT.glob("tests/**/README.md"),
    ]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
CODE_PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|json|md|sh|yml|lock|ts))(?:::(\w+))?`")

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def prose(path: Path) -> str:
    """The text of a page without its fenced code."""
    return re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """
    The anchors that GitHub makes of the headings: lower case, no punctuation, dashes for spaces.
    """
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@page
def test_page_has_no_broken_link(page: Path) -> None:
    for groups in LINK.findall(prose(page)):
        target, _, anchor = (groups[0] or groups[1]).partition("#")
        if target.startswith(("https://", "http://")):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


@page
def test_page_names_only_paths_that_exist(page: Path) -> None:
    """A path is relative to the project, to the package, to the tests or to the task."""
    roots = (ROOT, ROOT / "acr_cleanup", ROOT / "tests", ROOT / "azure-pipelines-task")
    for name, function in CODE_PATH.findall(prose(page)):
        if not name.startswith(("acr-cleanup/", "bench-results/")):  # written by a run
            file = next((root / name for root in roots if (root / name).exists()), None)
            assert file, f"{page.name} names {name}"
            assert not function or f"def {function}(" in file.read_text("utf-8"), (
                f"{page.name} names {name}::{function}"
            )


def test_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 250


@page
def test_page_is_reachable_from_the_index(page: Path) -> None:
    """Every page in docs/ is listed in docs/README.md, every decision in its own index."""
    index = page.parent / "README.md"
    if page.is_relative_to(ROOT / "docs") and page != index:
        assert f"]({page.name})" in index.read_text("utf-8")


def test_index_of_test_helpers_lists_each_module_once() -> None:
    helpers = ROOT / "tests" / "helpers"
    listed = re.findall(r"^\| `(\w+)` \|", (helpers / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in helpers.glob("*.py") if path.stem != "__init__")


def test_sample_configuration_loads() -> None:
    """The first users have this file under this name."""
    settings = load_settings(ROOT / "sample.config.json", {}, {})
    (cluster,) = settings.clusters
    assert cluster.key == "production"
    assert settings.registry.login_server == "contoso.azurecr.io"


def test_requirements_txt_installs_the_lock_file() -> None:
    """`pip install -r requirements.txt` keeps working; the packages are named in one place."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["-r requirements/runtime.lock"]
    assert (ROOT / "requirements" / "runtime.lock").exists()


@pytest.mark.parametrize("name", ["summary-light.png", "summary-dark.png"])
def test_picture_of_the_front_page_is_small(name: str) -> None:
    assert (ROOT / "docs" / "images" / name).stat().st_size < 200_000
