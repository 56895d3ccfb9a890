"""Paths of the host inside a container: the remedy is to copy the file, not to correct the path."""

from __future__ import annotations

from pathlib import Path

import pytest

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.access.host_paths import path_remedy
from acr_cleanup.access.network import environment_problems
from acr_cleanup.settings.load import load_settings
from tests.helpers.logins import refusal

ACTION = {"GITHUB_ACTIONS": "true", "INPUT_DRY-RUN": "true"}
COPY = "Copy the file there in a step before"
HOST = "/usr/local/share/ca-certificates/contoso.crt"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_missing_ca_file_of_host_is_to_be_copied(variable: str) -> None:
    (problem,) = environment_problems({**ACTION, variable: HOST})
    assert HOST in problem.seen
    assert COPY in problem.remedy


async def test_missing_login_files_of_host_are_to_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ACTION.items():
        monkeypatch.setenv(name, value)
    ids = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}
    for variable in ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_CERTIFICATE_PATH"):
        error = await refusal(CLOUDS["azurecloud"], {**ids, **ACTION, variable: "/home/runner/work/_temp/token"})
        assert COPY in error.remedy


def test_missing_config_file_of_host_is_to_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ACTION.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match="1 problem") as caught:
        load_settings(Path("/home/runner/work/shop/shop/acr-cleanup.json"), {}, ACTION)
    assert COPY in caught.value.problems[0].remedy  # type: ignore[attr-defined]


def test_relative_path_and_other_processes_keep_their_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_remedy("ca.crt", "Correct it.", ACTION) == "Correct it."
    monkeypatch.setattr("acr_cleanup.access.host_paths._MARKS", (tmp_path / "mark",))
    # A script on the runner itself is not in a container.
    assert path_remedy(HOST, "Correct it.", {"GITHUB_ACTIONS": "true"}) == "Correct it."
    (tmp_path / "mark").touch()
    assert "mounted" in path_remedy(HOST, "Correct it.", {})
