"""The ready workflows and pipelines keep the way back: the journal dies with the runner otherwise."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (page.name, yaml.safe_load(block))
    for page in PAGES
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if "org/acr-cleanup@" in block or "AcrCleanup@" in block
]
WHOLE = [
    pytest.param(block, id=f"{page}-{place}")
    for place, (page, block) in enumerate(BLOCKS)
    if {"jobs", "stages", "pool"} & block.keys()
]


def jobs(node: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield the steps of each job, in a workflow or a pipeline."""
    if isinstance(node, list):
        for item in node:
            yield from jobs(item)
    elif isinstance(node, dict):
        if isinstance(steps := node.get("steps"), list):
            yield steps
        for value in node.values():
            yield from jobs(value)


def inputs_of(step: dict[str, Any]) -> dict[str, Any] | None:
    """Return the inputs of a step that plans or deletes; None for another step."""
    ours = str(step.get("uses", "")).startswith("org/acr-cleanup@") or str(step.get("task", "")).startswith(
        "AcrCleanup@"
    )
    inputs = dict(step.get("with") or step.get("inputs") or {})
    return inputs if ours and "collect" not in inputs else None


def upload_of(step: dict[str, Any]) -> tuple[str, str, str] | None:
    """Return the name, the path and the condition of a step that uploads."""
    if "upload-artifact" in str(step.get("uses")):
        return step["with"]["name"], step["with"]["path"], step.get("if", "")
    if "publish" in step:
        return step["artifact"], step["publish"], step.get("condition", "")
    return None


def test_documentation_has_whole_workflows() -> None:
    assert len(WHOLE) >= 9


@pytest.mark.parametrize("block", WHOLE)
def test_every_job_that_cleans_uploads_its_reports(block: Any) -> None:
    """The artifact has a separate name, after every outcome, and the summary shows it."""
    names: list[str] = []
    for steps in jobs(block):
        for place, step in enumerate(steps):
            if (inputs := inputs_of(step)) is None:
                continue
            (name, path, condition), *_ = [
                upload
                for later in steps[place:]
                # A workflow may keep other folders too, such as the ledger.
                if (upload := upload_of(later)) and upload[1].startswith("acr-cleanup")
            ]
            assert condition == "always()"
            assert path.rstrip("/") == "acr-cleanup"
            assert name == inputs.get("artifact", "acr-cleanup")
            names.append(name)
    assert names
    assert len(set(names)) == len(names)


# -- the login ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "subject"),
    [
        ("", "repo:ORG/REPO:ref:refs/heads/main"),
        ("repo:ORG@5544123/REPO@821093847", "repo:ORG@5544123/REPO@821093847:ref:refs/heads/main"),
    ],
)
def test_set_up_asks_github_for_the_subject(answer: str, subject: str, tmp_path: Path) -> None:
    """Repositories made since July 2026 send ids in their subject: github.com/Azure/login/issues/617."""
    (script,) = (
        block
        for block in re.findall(
            r"^```sh\n(.*?)^```$", (ROOT / "docs/github.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
        )
        if "federated-credential" in block
    )
    programs = {"az": 'printf "%s\\n" "$@" >> az.log; echo id', "gh": f'echo "{answer}"', "acr-cleanup": "echo true"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-eu", "-c", script], cwd=tmp_path, env=environment, check=True, capture_output=True)
    parameters = re.search(r"\{.*?\}", (tmp_path / "az.log").read_text(), re.DOTALL)
    assert parameters is not None
    assert json.loads(parameters[0])["subject"] == subject


# -- where it runs -----------------------------------------------------------------------------------

ROWS = re.findall(
    r"^\| (?!Runs on|---)(.+?) \| .* \| `(.+?)::(.+?)` \|$", (ROOT / "docs/runs-on.md").read_text("utf-8"), re.MULTILINE
)


def test_table_of_machines_has_every_kind() -> None:
    text = " ".join(row for row, _, _ in ROWS)
    for word in (
        "GitHub-hosted",
        "Docker",
        "podman",
        "Controller",
        "Server",
        "proxy",
        "without Docker",
        "Windows",
        "China",
    ):
        assert word in text


@pytest.mark.parametrize(("row", "path", "name"), ROWS, ids=[row for row, _, _ in ROWS])
def test_row_of_machines_names_an_existing_test(row: str, path: str, name: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    declared = f"def {name}(" if path.endswith(".py") else name
    assert declared in text, row
