"""The demo: what a newcomer sees first, in a place where nothing is configured."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from acr_cleanup.commands.demo import demo


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def made_in(place: Path) -> Path:
    (folder,) = place.glob("acr-cleanup-demo-*")
    return folder


async def test_the_demo_plans_deletes_and_says_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In processes of their own, which must not hear of the Azure that somebody is logged in to."""
    monkeypatch.setenv("AZURE_CLIENT_ID", "somebody")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    assert await demo("acr-cleanup", serve=False) == 0

    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert "1. What would be deleted?" in out
    assert "2. Delete it" in out
    folder = made_in(tmp_path)
    assert {each.name for each in folder.iterdir()} >= {"acr-cleanup.json", "plan", "apply"}
    assert "acr-cleanup demo --serve" in out.replace("\n", " ")


async def test_the_company_can_be_left_running(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    served = asyncio.create_task(demo("acr-cleanup", serve=True))
    out = ""
    async with asyncio.timeout(60):
        while "Ctrl-C" not in out:
            await asyncio.sleep(0.02)
            out += capfd.readouterr().out
    os.kill(os.getpid(), signal.SIGTERM)

    assert await served == 0
    assert "export AZURE_" in out
    folder = made_in(tmp_path)
    assert f"acr-cleanup plan {folder}/acr-cleanup.json" in out
