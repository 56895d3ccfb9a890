"""The image as the Azure Pipelines task runs it: the handler's options for the container engine."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.entries.test_task_run import BUNDLE, CONNECTION, OUTPUTS, Run, commands_in
from tests.image.conftest import run

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

CONFIG = {
    "kubernetes_clusters": {"production": {"name": "aks-prod", "subscription_id": "none", "resource_group": "rg-prod"}},
    "container_registry": {"url": "contoso.azurecr.io"},
}


@pytest.fixture
def node() -> str:
    path = shutil.which("node")
    if path is None or not BUNDLE.is_file():
        pytest.skip("Node is missing, or the handler is not bundled: run make task.")
    return path


def test_handler_runs_the_image(image: str, node: str, workspace: Path) -> None:
    """
    Read-only, without rights, in a hostile workspace: result and summary are written and name the
    mistake.
    """
    (workspace / "acr-cleanup.json").write_text(json.dumps(CONFIG))
    temporary = workspace.parent / "temp"
    temporary.mkdir()
    login = {"tenantid": CONNECTION, "serviceprincipalid": CONNECTION, "serviceprincipalkey": "never-shown"}
    inputs = {
        "connectedServiceNameARM": CONNECTION,
        "method": "docker",
        "image": image,
        "configFile": str(workspace / "acr-cleanup.json"),
        "olderThan": "soon",
    }
    variables = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ},
        "SYSTEM_DEFAULTWORKINGDIRECTORY": str(workspace),
        "AGENT_TEMPDIRECTORY": str(temporary),
        "AGENT_VERSION": "4.265.1",
        f"ENDPOINT_AUTH_{CONNECTION}": json.dumps({"scheme": "ServicePrincipal", "parameters": login}),
        f"ENDPOINT_AUTH_SCHEME_{CONNECTION}": "ServicePrincipal",
        f"ENDPOINT_URL_{CONNECTION}": "https://management.azure.com/",
        **{f"INPUT_{name.upper()}": value for name, value in inputs.items()},
    }
    ran = run(node, str(BUNDLE), env=variables, cwd=workspace)
    seen = Run(ran.stdout, commands_in(ran.stdout))
    assert seen.completed[0] == "Failed", ran.stdout
    assert "nothing was read or deleted" in seen.completed[1]
    assert "olderThan" in seen.issues("error")
    assert "soon" in seen.summary
    assert set(seen.outputs) == OUTPUTS
    assert "HOSTILE" not in ran.stdout
    assert ran.stdout.count("never-shown") == 1, "printed only once, to mask it"
    assert not run("docker", "ps", "--quiet", "--filter", "name=acr-cleanup-").stdout.strip()
