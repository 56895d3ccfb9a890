"""`acr-cleanup check`: a page of what a run needs, and the command that mends each missing part."""

from __future__ import annotations

import io
import json
import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from acr_cleanup.commands.check import check
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.roles import BUILT_IN, DEFAULT_ROLES, REGISTRIES, RUN_COMMAND
from acr_cleanup.emulator.world import GITHUB_ISSUER, FederatedCredential
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.secret_leaks import assert_none_leaked
from tests.helpers.stage import Stage

REGISTRY_RIGHTS = "Rights on the registry"


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """The cluster has Entra ID and Kubernetes RBAC."""
    stage.cluster.auth = "entra-exec"
    return stage


@dataclass
class Page:
    """A printed page. `checks`: its lines, from the JSON format."""

    code: int
    text: str
    checks: list[dict[str, str]]

    def of(self, part: str, mark: str) -> list[dict[str, str]]:
        return [line for line in self.checks if line["part"] == part and line["mark"] == mark]

    @property
    def failed(self) -> dict[str, dict[str, str]]:
        """The failed lines by their part; the last one of each."""
        return {line["part"]: line for line in self.checks if line["mark"] == "failed"}


async def ask(stage: Stage, *, clock: Any = lambda: datetime.now(UTC), **options: str) -> Page:
    """Run the command in both formats. It deletes nothing, and shows no secret."""
    path = stage.tool.folder / "acr-cleanup.json"
    path.write_text(json.dumps(stage.config or stage.tool.emulator.config()), encoding="utf-8")
    settings = load_settings(path, options, os.environ)
    printed = []
    for as_json in (False, True):
        out, err = io.StringIO(), io.StringIO()
        terminal = Terminal(stdout=out, stderr=err, environ={})
        code = await check(settings, terminal, os.environ, as_json=as_json, clock=clock)
        assert_none_leaked(stage.tool.emulator, {"stdout": out.getvalue(), "stderr": err.getvalue()})
        assert "Traceback" not in out.getvalue() + err.getvalue()
        printed.append(out.getvalue())
    assert not stage.world.matching(service="acr", method="DELETE")
    document = json.loads(printed[1])
    assert document["ok"] is (code == 0)
    return Page(code, printed[0], document["checks"])


async def test_complete_setup_has_ticks_only(stage: Stage) -> None:
    page = await ask(stage)
    assert (page.code, page.failed) == (0, {})
    assert {line["part"] for line in page.checks} == {
        "Network", "Login", "Registry", REGISTRY_RIGHTS, "Cluster production", "Other clusters", "Services of Azure",
    }  # fmt: skip
    assert page.text.rstrip().splitlines()[-1].startswith("Ready: none of ")
    assert "✗" not in page.text


async def test_check_reads_no_object_of_a_cluster(stage: Stage) -> None:
    """It asks with access reviews, and lists nothing."""
    await ask(stage)
    assert stage.world.matching(service=stage.service, path="selfsubjectaccessreviews")
    assert not stage.world.matching(service=stage.service, path=r"/(pods|deployments|configmaps|secrets)\b")


@pytest.mark.parametrize(
    ("role", "withheld"), [("AcrDelete", "artifacts/delete"), ("Reader", "read"), ("AcrPull", "pull/read")]
)
async def test_missing_role_on_the_registry_is_a_command(stage: Stage, role: str, withheld: str) -> None:
    """The command assigns this role on the registry, to the identity that asked."""
    registry = stage.registry.resource_id
    stage.world.access.withhold(f"{REGISTRIES}/{withheld}", registry)
    page = await ask(stage)
    assert page.code == 3
    (line,) = [line for line in page.of(REGISTRY_RIGHTS, "failed") if f"{REGISTRIES}/{withheld} is" in line["text"]][:1]
    command = shlex.split(line["remedy"].splitlines()[-1].strip("`"))
    assert command == [
        "az", "role", "assignment", "create",
        "--assignee-object-id", stage.world.directory.client_id, "--assignee-principal-type", "ServicePrincipal",
        "--role", role, "--scope", registry,
    ]  # fmt: skip


async def test_unknown_mode_of_the_registry_leaves_rights_open(stage: Stage) -> None:
    """Rights on repositories may be of no effect, which only the mode tells."""
    roles = [role for role in DEFAULT_ROLES if not role.name.startswith("Acr")]
    stage.world.access.assign_only(*roles)
    stage.world.access.withhold(f"{REGISTRIES}/read", stage.registry.resource_id)
    page = await ask(stage)
    assert {line["text"].split(":")[0] for line in page.of(REGISTRY_RIGHTS, "unknown")} >= {"Delete tags and manifests"}


async def test_registry_with_abac_needs_data_actions(stage: Stage) -> None:
    """Owner has all actions, but no data actions, so it may not delete in a registry with ABAC."""
    stage.registry.abac = True
    stage.world.access.assign_only("Owner", RUN_COMMAND)
    page = await ask(stage)
    failed = {line["text"].split(":")[0] for line in page.of(REGISTRY_RIGHTS, "failed")}
    assert {"Read its tags and manifests", "Delete tags and manifests"} <= failed
    assert "Container Registry Repository Contributor" in page.text


async def test_refused_list_right_names_the_kinds(stage: Stage) -> None:
    stage.cluster.forbidden |= {"cronjobs.batch", "podtemplates"}
    page = await ask(stage)
    assert page.code == 3
    (line,) = page.of("Cluster production", "failed")
    assert line["text"] == "This identity may not list cronjobs.batch, podtemplates in all namespaces."
    assert line["remedy"].splitlines()[-1].startswith("`acr-cleanup permissions ")
    waived = await ask(stage, waive="production: cronjobs.batch\nproduction: podtemplates")
    assert waived.code == 0


async def test_failed_part_stops_no_other_part(stage: Stage) -> None:
    """A stopped cluster, a registry that refuses and a clock that is wrong are told side by side."""
    stage.another("second", power_state="Stopped")
    stage.world.faults.append(Fault(service="acr", path="_catalog", status=403))
    page = await ask(stage, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    assert page.code == 3
    assert set(page.failed) == {"Network", "Registry", "Cluster second"}
    assert "az aks start" in page.failed["Cluster second"]["remedy"]
    assert "ahead of" in page.failed["Network"]["text"]
    assert page.of("Cluster production", "ok")


async def test_refused_login_leaves_the_other_parts_unknown(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    page = await ask(stage)
    assert page.code == 3
    assert set(page.failed) == {"Login"}
    assert page.of("Registry", "unknown")
    assert page.of("Network", "ok")


async def test_private_cluster_is_checked_by_its_run_commands(stage: Stage) -> None:
    stage.cluster.private = True
    page = await ask(stage)
    assert (page.code, len(page.of("Cluster production", "ok"))) == (0, 1)
    stage.world.access.assign_only(*(BUILT_IN[name] for name in ("Reader", "AcrPull", "AcrDelete")))
    stage.world.access.assign("Azure Kubernetes Service Cluster User Role")
    refused = (await ask(stage)).failed["Cluster production"]
    assert "runcommand/action" in refused["text"]
    assert "acr-cleanup permissions" in refused["remedy"]
    assert not stage.world.matching(method="POST", path="runCommand")


async def test_ledger_that_cannot_be_written_fails(stage: Stage) -> None:
    (stage.tool.folder / "file").write_text("x")
    page = await ask(stage, ledger=str(stage.tool.folder / "file" / "ledger.json"))
    assert set(page.failed) == {"Ledger"}
    page = await ask(stage, ledger=str(stage.tool.folder / "ledger.json"))
    assert page.of("Ledger", "ok")
    assert not (stage.tool.folder / "ledger.json").exists()


async def test_pull_log_without_a_setting_fails(stage: Stage) -> None:
    page = await ask(stage, **{"pulled-within": "30d"})
    assert page.code == 3
    assert "az monitor diagnostic-settings create" in page.failed["Pull log"]["remedy"]


async def test_unreadable_authorities_are_reported(stage_over_tls: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_over_tls
    path = stage.tool.folder / "acr-cleanup.json"
    path.write_text(json.dumps(stage.tool.emulator.config()), encoding="utf-8")
    settings = load_settings(path, {}, os.environ)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    out = io.StringIO()
    code = await check(settings, Terminal(stdout=out, stderr=io.StringIO(), environ={}), os.environ)
    assert code == 3
    assert "SSL_CERT_FILE: The file '/nowhere/ca.pem' does not exist." in out.getvalue()


async def test_wrong_subject_of_a_job_prints_the_command(stage: Stage) -> None:
    """The page of a job that no federated credential trusts has the command that creates one."""
    emulator, directory = stage.tool.emulator, stage.world.directory

    class JobTerminal(Terminal):
        async def id_token(self, audience: str) -> str:
            claims = {"iss": GITHUB_ISSUER, "sub": directory.github_subject, "aud": audience}
            return emulator.authority.signer.sign(claims, 300)

    directory.federated.append(
        FederatedCredential(directory.client_id, GITHUB_ISSUER, "repo:contoso/shop:pull_request")
    )
    path = stage.tool.folder / "acr-cleanup.json"
    path.write_text(json.dumps(emulator.config()), encoding="utf-8")
    login = {"auth-type": "oidc", "client-id": directory.client_id, "tenant-id": directory.tenant}
    settings = load_settings(path, login, os.environ)
    for code, shown in (
        (3, "az ad app federated-credential create"),
        (0, f"sub={directory.github_subject}, aud=api://"),
    ):
        out = io.StringIO()
        assert await check(settings, JobTerminal(stdout=out, stderr=io.StringIO(), environ={}), os.environ) == code
        assert shown in out.getvalue()
        directory.federated.append(FederatedCredential(directory.client_id, GITHUB_ISSUER, directory.github_subject))
