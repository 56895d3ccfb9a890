"""`acr-cleanup demo`, without any configuration."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest

from acr_cleanup.commands.demo import demo
from acr_cleanup.emulator.company import PULLED


@pytest.fixture(autouse=True)
def _temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def demo_folder(parent: Path) -> Path:
    (folder,) = parent.glob("acr-cleanup-demo-*")
    return folder


async def test_demo_plans_and_applies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It ignores the user's Azure login and proxy."""
    monkeypatch.setenv("AZURE_CLIENT_ID", "a-real-client")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    assert await demo("acr-cleanup", serve=False) == 0

    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert "1. What would be deleted?" in out
    assert "2. Delete it" in out
    text = " ".join(out.split())
    # The nightly job and the waiting tag are seen only by the ledger.
    assert "used on" in text
    assert "by production/batch/Pod/nightly-export" in text
    assert "1 tag on probation, deletable from" in text
    assert f"shop/cart:{PULLED}" in text
    assert "docker/27.3.1" in out
    folder = demo_folder(tmp_path)
    report = json.loads((folder / "apply" / "report.json").read_text())
    (cart,) = [repository for repository in report["repositories"] if repository["name"] == "shop/cart"]
    pulled = [tag["tag"] for tag in cart["decisions"] if tag["reasons"] and tag["reasons"][0]["rule"] == "pulled"]
    assert pulled == [PULLED]
    assert {path.name for path in folder.iterdir()} >= {"acr-cleanup.json", "plan", "apply"}
    assert "acr-cleanup demo --serve" in out.replace("\n", " ")
    # A command that can be typed.
    assert "acr-cleanup apply acr-cleanup.json --report-dir plan" in " ".join(out.split())


async def test_demo_with_serve_runs_until_a_signal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It prints the environment and the command for another terminal."""
    served = asyncio.create_task(demo("acr-cleanup", serve=True))
    out = ""
    async with asyncio.timeout(60):
        while "Ctrl-C" not in out:
            await asyncio.sleep(0.02)
            out += capfd.readouterr().out
    os.kill(os.getpid(), signal.SIGTERM)

    assert await served == 0
    assert "export AZURE_" in out
    exported = set(re.findall(r"^export (\w+)=", out, re.MULTILINE))
    (unset,) = re.findall(r"^unset (.*)$", out, re.MULTILINE)
    assert set(unset.split()) == exported
    folder = demo_folder(tmp_path)
    assert f"acr-cleanup plan {folder}/acr-cleanup.json" in out
