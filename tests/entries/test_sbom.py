"""The comparison of a release's SBOM with the lock file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.paths import ROOT

LOCK = ROOT / "requirements" / "runtime.lock"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / ".github" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sbom = _load()


def spdx(packages: dict[str, str]) -> dict[str, Any]:
    """Return an SBOM as the release makes it: also packages of Debian, and files without a locator."""
    references = [f"pkg:pypi/{name}@{version}" for name, version in packages.items()]
    references.append("pkg:deb/debian/pip@1.0?arch=amd64")
    entries = [
        {"name": "x", "externalRefs": [{"referenceType": "purl", "referenceLocator": text}]} for text in references
    ]
    return {"spdxVersion": "SPDX-2.3", "packages": [*entries, {"name": "acr-cleanup"}]}


@pytest.fixture
def whole() -> dict[str, str]:
    """The packages of the image."""
    versions, _ = sbom.locked(LOCK.read_text(encoding="utf-8"))
    return {**{name: version for name, version in versions.items() if name not in sbom.REMOVED}, "pip": "26.0"}


def test_lock_file_is_read_whole() -> None:
    versions, _ = sbom.locked(LOCK.read_text(encoding="utf-8"))
    assert len(versions) == LOCK.read_text(encoding="utf-8").count("==") - LOCK.read_text(encoding="utf-8").count(
        " == "
    )
    assert versions.keys() >= {"aiohttp", "azure-identity", "pydantic-core", *sbom.REMOVED}


def test_equal_sbom_has_no_differences(whole: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sbom.json").write_text(json.dumps(spdx(whole)), encoding="utf-8")
    assert sbom.main(str(LOCK), str(tmp_path / "sbom.json")) == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"aiohttp": None}, "is locked, but not in the SBOM"),
        ({"aiohttp": "0.1"}, "aiohttp==0.1 is in the SBOM, but"),
        ({"requests2": "1.0"}, "requests2==1.0 is in the SBOM, but must not be"),
        ({"PyGithub": "2.0"}, "pygithub==2.0 is in the SBOM, but must not be"),
    ],
    ids=["missing", "other-version", "unknown", "removed"],
)
def test_difference_is_named(
    whole: dict[str, str], change: dict[str, Any], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = {name: version for name, version in {**whole, **change}.items() if version is not None}
    (tmp_path / "sbom.json").write_text(json.dumps(spdx(packages)), encoding="utf-8")
    assert sbom.main(str(LOCK), str(tmp_path / "sbom.json")) == 1
    assert line in capsys.readouterr().out
