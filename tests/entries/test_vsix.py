"""The packed extension (.vsix) of the Azure Pipelines task contains what the image contains."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from acr_cleanup import __version__
from tests.entries.test_task import PACKED, TASK, manifest
from tests.helpers.paths import ROOT
from tests.settings.test_contract import action

pytestmark = pytest.mark.skipif(not PACKED, reason="`make task` packs the .vsix and checks it.")


@pytest.fixture(scope="module")
def vsix() -> zipfile.ZipFile:
    (path,) = (TASK / "dist").glob("*.vsix")
    return zipfile.ZipFile(path)


def tracked_package() -> set[str]:
    return {
        f"AcrCleanupV1/python/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "acr_cleanup").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_extension_contains_only_needed_files(vsix: zipfile.ZipFile) -> None:
    """
    One bundle, the Python package, and the texts for the marketplace; no node_modules, TypeScript
    or tests.
    """
    assert {name for name in vsix.namelist() if not name.endswith("/")} == tracked_package() | {
        "[Content_Types].xml",
        "extension.vsixmanifest",
        "extension.vsomanifest",
        "LICENSE",
        "overview.md",
        "images/icon.png",
        "AcrCleanupV1/task.json",
        "AcrCleanupV1/icon.png",
        "AcrCleanupV1/index.js",
        "AcrCleanupV1/python/start.py",
        "AcrCleanupV1/python/entrypoint.py",
        "AcrCleanupV1/python/requirements.lock",
    }


def test_extension_contains_package_of_image(vsix: zipfile.ZipFile) -> None:
    assert json.loads(vsix.read("AcrCleanupV1/task.json")) == manifest()
    assert vsix.read("AcrCleanupV1/python/requirements.lock") == (ROOT / "requirements" / "runtime.lock").read_bytes()
    assert vsix.read("AcrCleanupV1/python/entrypoint.py") == (ROOT / "entrypoint.py").read_bytes()
    assert f'Version="{__version__}"' in vsix.read("extension.vsixmanifest").decode("utf-8")


def test_bundle_is_one_small_file(vsix: zipfile.ZipFile) -> None:
    bundle = vsix.read("AcrCleanupV1/index.js").decode("utf-8")
    assert len(bundle) < 1024 * 1024
    assert not re.search(r"""require\(["']azure-pipelines-task-lib""", bundle)


def test_task_runs_the_image_of_the_action(tmp_path: Path, vsix: zipfile.ZipFile) -> None:
    """
    pin-image.sh writes the image of a release into action.yml, and the task takes it from there.
    """
    node = shutil.which("node")
    assert node is not None
    (tmp_path / "action.yml").write_bytes((ROOT / "action.yml").read_bytes())
    image = f"ghcr.io/org/acr-cleanup@sha256:{'0' * 64}"
    current = action()["runs"]["image"].removeprefix("docker://")
    if current == "Dockerfile":
        current = ""
    else:
        text = re.sub(
            r'^  image: "docker:.*$',
            '  image: "Dockerfile"',
            (ROOT / "action.yml").read_text("utf-8"),
            flags=re.MULTILINE,
        )
        (tmp_path / "action.yml").write_text(text, encoding="utf-8")
    subprocess.run([str(ROOT / ".github/pin-image.sh"), image, "v1.2.3"], cwd=tmp_path, check=True)
    script = (
        "import('./scripts/package.mjs').then(({pinnedImage}) => console.log(JSON.stringify("
        "process.argv.slice(1).map((name) => pinnedImage(require('fs').readFileSync(name, 'utf8'))))))"
    )
    files = [str(ROOT / "action.yml"), str(tmp_path / "action.yml")]
    out = subprocess.run([node, "-e", script, *files], cwd=TASK, check=True, capture_output=True, text=True).stdout
    assert json.loads(out) == [current, image]
    assert current in vsix.read("AcrCleanupV1/index.js").decode("utf-8")
