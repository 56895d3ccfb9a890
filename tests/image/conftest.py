"""
Build the image, and start Contoso for it.

Needs a container engine; `make image-test` finds or starts one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

OWNER = 1001
"""The user id that owns the workspace, as on GitHub's machines; the container runs as root."""

HOSTILE = """import os
print("HOSTILE CODE RAN from", __file__, flush=True)
os._exit(66)
"""


def run(*words: str, timeout: float = 300, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, text=True, capture_output=True, timeout=timeout, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip without a container engine, or fail if ACR_CLEANUP_REQUIRE_IMAGE is set."""
    missing = shutil.which("docker") is None or run("docker", "info").returncode != 0
    if missing and not os.environ.get("ACR_CLEANUP_REQUIRE_IMAGE"):
        pytest.skip("There is no container engine: the image is neither built nor run.")


def build(tag: str, folder: Path, *options: str) -> str:
    """Build an image. IMAGE_TEST_BASE names another base if the pinned one cannot be pulled."""
    base = os.environ.get("IMAGE_TEST_BASE")
    words = ["docker", "build", "--network", "host", "--tag", tag, *options]
    words += ["--build-arg", f"BASE={base}"] if base else []
    built = run(*words, str(folder), timeout=900)
    assert built.returncode == 0, f"{built.stdout[-3000:]}{built.stderr[-3000:]}"
    return tag


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The image of this checkout."""
    return build("localhost/acr-cleanup:test", ROOT)


@pytest.fixture(scope="session")
def runner(engine: None) -> str:
    """The image in which act runs the steps of a job."""
    folder = ROOT / "tests" / "image"
    return build("localhost/act-runner:latest", folder, "--file", str(folder / "runner.Dockerfile"))


@dataclass(frozen=True)
class Contoso:
    """The addresses and ids of Contoso, and the folder of its files in the workspace."""

    values: Mapping[str, str]
    folder: Path


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkout of another user, with modules that would run if Python imported from here."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    for name in ("yaml.py", "sitecustomize.py", "usercustomize.py", "aiohttp.py"):
        (folder / name).write_text(HOSTILE, encoding="utf-8")
    for package in ("acr_cleanup", "actions_toolkit"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(HOSTILE, encoding="utf-8")
    return folder


@pytest.fixture
def contoso(workspace: Path) -> Iterator[Contoso]:
    """Contoso, with its certificate authority and configuration file in the workspace."""
    words = (sys.executable, "-m", "tests.image.contoso", str(workspace / "contoso"))
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            values = {}
            for line in iter(process.stdout.readline, "\n"):
                assert line, "Contoso did not start"
                name, _, value = line.rstrip("\n").partition("=")
                values[name] = value
            change_owner(workspace)
            yield Contoso(values, workspace / "contoso")
        finally:
            process.terminate()


def change_owner(folder: Path) -> None:
    """Give a folder and its files to `OWNER`."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OWNER, OWNER)


def program(name: str) -> str | None:
    """The path of a program next to this interpreter or on PATH."""
    sibling = Path(sys.executable).parent / name
    return str(sibling) if sibling.exists() else shutil.which(name)
