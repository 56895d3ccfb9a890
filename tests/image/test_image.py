"""The image itself: its contents, the demo, and that no file of the workspace becomes code."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from acr_cleanup import __version__
from acr_cleanup.reports.outputs import NAMES
from tests.entries.test_sbom import sbom
from tests.helpers.paths import ROOT
from tests.image.conftest import OWNER, Contoso, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

SITE = "/opt/venv/lib/python3*/site-packages"


def test_demo_runs_in_the_image(image: str) -> None:
    """The whole job, with both logins to a cluster: no module that it needs was deleted."""
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
        "from kubernetes.aio.client import ApiClient, Configuration\n"
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
    assert not packages & {"pip", "setuptools", "github", "nacl", "tests"}


def test_packages_are_those_of_the_lock_file(image: str) -> None:
    """The release compares its SBOM in the same way."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    ran = run("docker", "run", "--rm", "--entrypoint", "/opt/venv/bin/python", image, "-I", "-c", code)
    names = {f"pkg:pypi/{name}@{version}" for name, version in json.loads(ran.stdout).items()}
    document = {"packages": [{"externalRefs": [{"referenceLocator": name} for name in names]}]}
    lock = (ROOT / "requirements" / "runtime.lock").read_text(encoding="utf-8")
    assert len(names) > 40
    assert sbom.differences(lock, document) == []


def test_layers_have_no_setuid_and_no_writable_files(image: str) -> None:
    """Above the base image, only root may write, and no program gets the rights of its owner."""
    find = "find / -xdev {} 2>/dev/null | sort"
    setuid = find.format("-type f -perm /6000")
    assert shell(image, setuid) == shell(base_image(), setuid)
    writable = find.format("! -type l -perm /022 ! -path '/proc/*' ! -path '/sys/*' ! -path '/dev/*'")
    assert set(shell(image, writable)) <= set(shell(base_image(), writable))
    assert shell(image, "find /opt/venv /app ! -user root -o ! -group root") == []


SECRETS = (
    # A key has lines of base64 after its head; source code that only writes such a head has none.
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[[:space:]]*[A-Za-z0-9+/]{40}",
    r"\b(ghp|gho|ghs|github_pat)_[A-Za-z0-9]{20}",
    r"\bAKIA[A-Z0-9]{16}\b",
    r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.",
    r"AccountKey=[A-Za-z0-9+/]{40}",
)
FILES = r"\.(pem|key|p12|pfx|env|npmrc|pypirc|netrc)$|/\.git/|/id_(rsa|ed25519)|/pip\.conf$|/\.docker/"


def test_image_has_no_secrets(image: str) -> None:
    """No key, token or login in the files, the variables or the history above the base image."""
    assert shell(image, f"{search_for(*SECRETS)} /opt/venv /app || true") == []
    files = shell(image, f"find /opt/venv /app -type f | grep -E '{FILES}' || true")
    # The authorities that certifi and msal-like packages bring are certificates, not keys.
    assert [name for name in files if not name.endswith("cacert.pem")] == []
    inspected = run("docker", "inspect", image).stdout + run("docker", "history", "--no-trunc", image).stdout
    assert not re.search(r"(?i)(password|secret|token)=\S", inspected)


def test_search_for_secrets_finds_them(image: str) -> None:
    """Otherwise the test above could pass because of a mistake in a pattern."""
    key = "-----BEGIN PRIVATE KEY-----\n" + "A" * 64
    samples = (
        key,
        f"ghp_{'a1' * 18}",
        f"AKIA{'A1' * 8}",
        f"eyJ{'a' * 24}.eyJ{'b' * 24}.c",
        f"AccountKey={'a' * 44}",
    )
    for pattern, sample in zip(SECRETS, samples, strict=True):
        command = f"printf %s {shlex.quote(sample)} > /tmp/x; {search_for(pattern)} /tmp/x"
        assert shell(image, command) == ["/tmp/x"], pattern


def search_for(*patterns: str) -> str:
    """Return a command that lists files with such a text. METADATA is prose: PyJWT's has an example token."""
    return shlex.join(
        ["grep", "-rlzaE", "--exclude=METADATA", *(word for pattern in patterns for word in ("-e", pattern))]
    )


def shell(image: str, command: str) -> list[str]:
    """Return the lines that a shell in an image prints."""
    ran = run("docker", "run", "--rm", "--entrypoint", "sh", image, "-c", command)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def base_image() -> str:
    """Return the image below this one."""
    pinned = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    return os.environ.get("IMAGE_TEST_BASE") or pinned[1]


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
