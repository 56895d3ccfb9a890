"""The image itself: its contents, the demo, and that no file of the workspace becomes code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from acr_cleanup import __version__
from acr_cleanup.reports.outputs import NAMES
from tests.image.conftest import OWNER, Contoso, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

SITE = "/opt/venv/lib/python3*/site-packages"


def test_demo_runs_in_the_image(image: str) -> None:
    """The whole job, with both ways to read a cluster: no module that it needs was deleted."""
    ran = run("docker", "run", "--rm", image, "demo")
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    planned = re.search(r"would delete (\d+) tags", ran.stdout)
    assert planned is not None, ran.stdout
    assert f"Deleted {planned[1]} tags" in ran.stdout


def test_arguments_are_passed_to_the_command_line(image: str) -> None:
    ran = run("docker", "run", "--rm", "-e", "GITHUB_ACTIONS=true", image, "--version")
    # With the commit, if the image was built with one.
    assert ran.stdout.split(" (commit ")[0].strip() == f"acr-cleanup {__version__}"


def test_every_module_can_be_imported(image: str) -> None:
    """No package that a module of the tool imports was deleted."""
    code = (
        "import importlib, pkgutil, acr_cleanup\n"
        "names = [m.name for m in pkgutil.walk_packages(acr_cleanup.__path__, 'acr_cleanup.') if not m.name.endswith('__main__')]\n"
        "[importlib.import_module(name) for name in names]\n"
        "import actions_toolkit.core, azure.containerregistry.aio, azure.identity.aio, azure.mgmt.containerservice.aio\n"
        "print(len(names))\n"
    )
    ran = run("docker", "run", "--rm", "--entrypoint", "/opt/venv/bin/python", image, "-I", "-c", code)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 50


def test_image_size_is_bounded(image: str) -> None:
    """The environment above the base image, unpacked: it was 81 MB at first. Every run pulls it."""
    ran = run("docker", "run", "--rm", "--entrypoint", "sh", image, "-c", f"du -sm /opt/venv | cut -f1; ls -d {SITE}/*")
    size, *names = ran.stdout.split()
    assert int(size) <= 90
    packages = {Path(name).name for name in names}
    assert not packages & {"pip", "setuptools", "github", "nacl", "tests", "kubernetes", "pydantic"}


def test_run_as_a_github_runner_starts_it(image: str, contoso: Contoso, workspace: Path) -> None:
    """
    INPUT_ names with dashes, a mounted folder, files for outputs and summary, a hostile workspace.
    """
    commands = workspace.parent / "file_commands"
    commands.mkdir()
    for name in ("output", "summary"):
        (commands / name).touch()
    values = contoso.values
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": "/github/workspace",
        "GITHUB_OUTPUT": "/github/file_commands/output",
        "GITHUB_STEP_SUMMARY": "/github/file_commands/summary",
        "HOME": "/github/workspace",
        "PYTHONPATH": "/github/workspace",
        "PYTHONSTARTUP": "/github/workspace/yaml.py",
        "PYTHONHOME": "/github/workspace",
        "HTTPS_PROXY": values["proxy"],
        "SSL_CERT_FILE": "/github/workspace/contoso/ca.pem",
        "ACTIONS_ID_TOKEN_REQUEST_URL": values["id-token-url"],
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": values["id-token-token"],
        "INPUT_CLIENT-ID": values["client-id"],
        "INPUT_TENANT-ID": values["tenant-id"],
        "INPUT_REGISTRY": values["registry"],
        "INPUT_CLUSTERS": f"{values['cluster-1']}\n{values['cluster-2']}\n",
        "INPUT_DRY-RUN": "true",
        "INPUT_REPORT-DIR": "reports",
    }
    words = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
    ran = run(
        "docker", "run", "--rm", "--network", "host", "--workdir", "/github/workspace",
        "--entrypoint", "/app/entrypoint.py", *words,
        "-v", f"{workspace}:/github/workspace", "-v", f"{commands}:/github/file_commands", image,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "HOSTILE" not in ran.stdout + ran.stderr
    with_tokens = [line for line in (ran.stdout + ran.stderr).splitlines() if "eyJ" in line]
    assert with_tokens
    assert all(line.startswith("::add-mask::") for line in with_tokens)
    outputs = (commands / "output").read_text("utf-8")
    assert all(f"\n{name}<<" in f"\n{outputs}" for name in NAMES)
    assert "Dry run" in (commands / "summary").read_text("utf-8")
    assert json.loads((workspace / "reports" / "report.json").read_text("utf-8"))["counts"]["planned"] > 100
    assert {path.stat().st_uid for path in (workspace / "reports").iterdir()} == {OWNER}
