"""The fixture of all tests of logins: no test may use a login of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.logins import dead_port


@pytest.fixture(autouse=True)
def _no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """
    Hide the tools of this machine, and move the endpoint of managed identities to a closed port.
    """
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with dead_port() as port:
        monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", f"http://127.0.0.1:{port}")
        yield
