"""
Every workflow of README and docs, run by act on Contoso.

The actions of GitHub are replaced by steps that do the same with folders of the workspace, and the ids by
those of Contoso. Everything else is as a user copies it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.paths import ROOT
from tests.image.conftest import Contoso, change_owner, program, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORKFLOWS = {
    f"{page.stem}: {yaml.safe_load(block)['name']}": block
    for page in PAGES
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    # Those with a ledger ask GitHub for its cache and for the artifacts of earlier runs, which act does not have.
    if "org/acr-cleanup@" in block and "ledger/" not in block and "actions/cache" not in block
}
STUBS = {
    "checkout": "true",
    # The folder is moved away: a later job gets it as an artifact or not at all.
    "upload-artifact": 'mkdir -p .artifacts && rm -rf ".artifacts/$NAME" && mkdir ".artifacts/$NAME" && '
    'cp -R "$FROM" ".artifacts/$NAME" && rm -rf "$FROM"',
    "download-artifact": 'if [ -n "$PATTERN" ]; then for one in .artifacts/$PATTERN; do mkdir -p "$FROM/${one##*/}"; '
    'cp -R "$one"/. "$FROM/${one##*/}"; done; else mkdir -p "$FROM"; cp -R ".artifacts/$NAME/${FROM%/}"/. "$FROM"; fi',
}


def write_stubs(workspace: Path) -> None:
    for name, script in STUBS.items():
        folder = workspace / ".stubs" / name
        folder.mkdir(parents=True)
        values = {"NAME": "name", "FROM": "path", "PATTERN": "pattern"}
        step = {
            "shell": "bash",
            "run": script,
            "env": {variable: f"${{{{ inputs.{key} }}}}" for variable, key in values.items()},
        }
        document = {
            "name": name,
            "description": name,
            "inputs": {key: {"description": key, "required": False, "default": ""} for key in values.values()},
            "runs": {"using": "composite", "steps": [step]},
        }
        (folder / "action.yml").write_text(yaml.safe_dump(document))


def adapted(text: str, contoso: Contoso, *, delete: bool) -> dict[str, Any]:
    """Return the workflow with the ids of Contoso, and local actions."""
    ids = [contoso.values[name] for name in sorted(contoso.values) if name.startswith("cluster-")]
    for place, name in enumerate(("aks-prod", "aks-test")):
        group = "rg-prod" if place == 0 else "rg-test"
        written = (
            f"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/{group}/providers/"
            f"Microsoft.ContainerService/managedClusters/{name}"
        )
        text = text.replace(written, ids[place]).replace(
            f"cluster: {name}", f"cluster: {ids[place].rpartition('/')[2]}"
        )
    text = re.sub(r"actions/(checkout|upload-artifact|download-artifact)@v\d+", r"./.stubs/\1", text)
    text = text.replace("org/acr-cleanup@v1", "./")
    if delete:
        text = text.replace('dry-run: "true"', 'dry-run: "false"')
    document: dict[str, Any] = yaml.safe_load(text)
    document["env"] = {
        "HTTPS_PROXY": contoso.values["proxy"],
        "SSL_CERT_FILE": "contoso/ca.pem",
        "ACTIONS_ID_TOKEN_REQUEST_URL": contoso.values["id-token-url"],
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": contoso.values["id-token-token"],
    }
    for job in document["jobs"].values():
        job["runs-on"] = "ubuntu-latest"
        job.pop("environment", None)  # the approval of a reviewer
        if "strategy" in job:
            # All jobs share one workspace here.
            job["strategy"]["max-parallel"] = 1
    return document


def write_config(workspace: Path, contoso: Contoso, *, snapshots: bool) -> None:
    config = json.loads((contoso.folder / "config.json").read_text("utf-8"))
    if snapshots:
        ids = [value for name, value in sorted(contoso.values.items()) if name.startswith("cluster-")]
        names = {resource_id.rpartition("/")[2]: resource_id for resource_id in ids}
        config["kubernetes_clusters"] = {
            name: {"snapshot": f"snapshots/usage-{name}/usage.json", "resource_id": resource_id}
            for name, resource_id in names.items()
        }
    (workspace / "acr-cleanup.json").write_text(json.dumps(config))


@pytest.fixture
def ready(image: str, workspace: Path) -> Path:
    shutil.copy(ROOT / "action.yml", workspace)
    subprocess.run([str(ROOT / ".github/pin-image.sh"), image, "v0"], cwd=workspace, check=True)
    write_stubs(workspace)
    return workspace


@pytest.mark.parametrize("name", WORKFLOWS)
def test_documented_workflow_cleans_contoso(name: str, ready: Path, runner: str, contoso: Contoso) -> None:
    """Each plans or deletes, hands over its artifacts, and keeps its reports."""
    act = program("act")
    assert act is not None, "act is missing: `make image-test` installs it."
    text = WORKFLOWS[name]
    document = adapted(text, contoso, delete=True)
    # YAML 1.1 reads the key `on` as true.
    document["on"] = document.pop(True)  # type: ignore[call-overload]
    event = "workflow_dispatch" if "workflow_dispatch" in document["on"] else "schedule"
    write_config(ready, contoso, snapshots="snapshots" in text)
    path = ready / ".github" / "workflows" / "documented.yml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    for words in (
        "init --quiet --initial-branch main",
        "add --all",
        "-c user.name=a -c user.email=a@b.c commit --quiet -m start",
    ):
        subprocess.run(["git", "-c", "safe.directory=*", *words.split()], cwd=ready, check=True)
    change_owner(ready)
    variables = {
        "AZURE_CLIENT_ID": contoso.values["client-id"],
        "AZURE_TENANT_ID": contoso.values["tenant-id"],
    }
    ran = run(
        act, event, "--bind", "--pull=false", "--rm", "--concurrent-jobs", "1", "--workflows", str(path),
        "-P", f"ubuntu-latest={runner}", "--input", "dry-run=false", "--input", "older-than=30d", "--input", "repositories=*",
        *(word for key, value in variables.items() for word in ("--var", f"{key}={value}")),
        cwd=ready, timeout=800,
    )  # fmt: skip
    log = ran.stdout + ran.stderr
    assert ran.returncode == 0, log[-6000:]
    reports = sorted((ready / ".artifacts").glob("*/acr-cleanup/report.json"))
    journals = sorted((ready / ".artifacts").glob("*/acr-cleanup/journal*.jsonl"))
    deleted = sum(json.loads(report.read_text("utf-8"))["counts"]["deleted"] for report in reports)
    assert reports, log[-6000:]
    assert deleted > 0, log[-6000:]
    assert journals, "the way back"
