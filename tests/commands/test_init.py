"""`acr-cleanup init`: from a login to a configuration, trust, rights and a pipeline, without a change by hand."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from acr_cleanup import cli
from acr_cleanup.commands.check import check
from acr_cleanup.commands.init import init
from acr_cleanup.commands.init_files import CONFIG, PIPELINES, RIGHTS, TRUST, FoundResource, Setup, trust
from acr_cleanup.commands.init_request import Ci, InitRequest
from acr_cleanup.commands.run import run
from acr_cleanup.emulator.roles import RoleDefinition
from acr_cleanup.emulator.world import GITHUB_ISSUER, FederatedCredential
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.permission_scripts import IDENTITY_ID
from tests.helpers.secret_leaks import assert_none_leaked, files_below
from tests.helpers.stage import Stage

REQUEST = InitRequest(yes=True, ci="github", repository="contoso/shop")


@pytest.fixture
def stage(stage_over_tls: Stage) -> Stage:
    """The cluster has Entra ID and Kubernetes RBAC."""
    stage_over_tls.cluster.auth = "entra-exec"
    return stage_over_tls


@dataclass
class InitRun:
    code: int
    out: str
    err: str
    folder: Path

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


async def start(stage: Stage, request: InitRequest = REQUEST, *answers: str) -> InitRun:
    """Run the command in a new folder, and answer its questions in order."""
    folder = stage.tool.folder / "new"
    folder.mkdir(exist_ok=True)
    left = list(answers)
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(stdout=out, stderr=err, environ={})
    request = replace(request, folder=folder)
    code = await asyncio.to_thread(init, request, terminal, os.environ, lambda _: left.pop(0))
    assert left == []
    assert_none_leaked(stage.tool.emulator, {"out": out.getvalue(), "err": err.getvalue()} | files_below(folder))
    return InitRun(code, out.getvalue(), err.getvalue(), folder)


def run_script(folder: Path, name: str, *, gh: str = "", **environ: str) -> list[list[str]]:
    """Run a script with tools that only record their arguments, in a directory without the application."""
    tools, calls = folder.parent / "tools", folder.parent / "calls"
    tools.mkdir(exist_ok=True)
    calls.write_text("")
    answers = (
        'case "$*" in\n'
        f'  *"ad app create"*) echo 99999999-0000-0000-0000-000000000000 ;;\n  *"ad sp create"*) echo {IDENTITY_ID} ;;\n'
        "  *tenantId*) echo the-tenant ;;\nesac\n"
    )
    github = f'case "$1" in api) {gh or "true"} ;; esac\n'
    for tool in ("az", "kubectl", "gh"):
        record = (
            f"for word in {tool} \"$@\"; do printf '%s\\037' \"$word\"; done >> {calls}; printf '\\036' >> {calls}\n"
        )
        (tools / tool).write_text(
            f"#!/bin/sh\n{record}{answers if tool == 'az' else ''}{github if tool == 'gh' else ''}"
        )
        (tools / tool).chmod(0o755)
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    script = ["sh", str(folder / name)]
    subprocess.run(script, check=True, env=path | environ, stdin=subprocess.DEVNULL, timeout=60)
    return [call.split("\x1f")[:-1] for call in calls.read_text().split("\x1e")[:-1]]


class JobTerminal(Terminal):
    """A job of the branch main."""

    stage: Stage

    async def id_token(self, audience: str) -> str:
        claims = {"iss": GITHUB_ISSUER, "sub": "repo:contoso/shop:ref:refs/heads/main", "aud": audience}
        return self.stage.tool.emulator.authority.signer.sign(claims, 300)


async def test_init_then_check_then_plan_needs_no_change_by_hand(stage: Stage) -> None:
    """The scripts give the job exactly what it needs: it has no other right and no other trust."""
    made = await start(stage)
    assert made.code == 0, made.err
    calls = await asyncio.to_thread(run_script, made.folder, TRUST)

    world, app = stage.world, "99999999-0000-0000-0000-000000000000"
    (created,) = [call for call in calls if call[1:5] == ["ad", "app", "federated-credential", "create"]]
    credential = json.loads(created[-1])
    assert created[created.index("--id") + 1] == app
    (audience,) = credential["audiences"]
    world.directory.federated.append(FederatedCredential(app, credential["issuer"], credential["subject"], audience))
    world.access.assign_only()
    custom = {}
    for call in calls:
        if call[:4] == ["az", "role", "definition", "create"]:
            role = json.loads(call[-1])
            custom[role["Name"]] = RoleDefinition(
                role["Name"], actions=tuple(role["Actions"]), data_actions=tuple(role["DataActions"])
            )
        if call[:4] == ["az", "role", "assignment", "create"]:
            assert call[call.index("--assignee-object-id") + 1] == IDENTITY_ID
            role, scope = call[call.index("--role") + 1], call[call.index("--scope") + 1]
            world.access.assign(custom.get(role, role), scope, identity=app)
    assert ["gh", "variable", "set", "AZURE_CLIENT_ID", "--repo", "contoso/shop", "--body", app] in calls

    workflow = yaml.safe_load(made.text(PIPELINES[Ci.GITHUB]))
    inputs = workflow["jobs"]["clean"]["steps"][1]["with"]
    assert inputs["config-file"] == CONFIG
    login = {"auth-type": "oidc", "client-id": app, "tenant-id": world.directory.tenant}
    settings = load_settings(made.folder / CONFIG, {**login, "report-dir": str(made.folder / "report")}, os.environ)
    (made.folder / "report").mkdir()
    for command in (check, lambda *given: run(*given, dry_run=True)):
        out, err = io.StringIO(), io.StringIO()
        terminal = JobTerminal(stdout=out, stderr=err, environ={})
        terminal.stage = stage
        assert await command(settings, terminal, os.environ) == 0, out.getvalue() + err.getvalue()
    report = json.loads((made.folder / "report" / "report.json").read_text())
    assert set(report["planned_tags"]) == {"shop/web:1.0", "shop/web:1.1"}


async def test_init_changes_nothing_in_azure(stage: Stage) -> None:
    made = await start(stage)
    assert not [
        record
        for record in stage.world.requests
        if record.service == "arm" and record.method in ("PUT", "PATCH", "DELETE")
    ]
    assert not stage.world.matching(service="acr", method="DELETE")
    assert [line.split()[0] for line in made.out.splitlines()[:4]] == ["Wrote"] * 4


async def test_existing_file_is_kept_without_force(stage: Stage) -> None:
    """Nothing at all is written then; with `--force`, the message says what was overwritten."""
    folder = stage.tool.folder / "new"
    folder.mkdir()
    (folder / CONFIG).write_text("mine")
    with pytest.raises(ConfigurationError) as caught:
        await start(stage)
    assert [(problem.path, problem.seen) for problem in caught.value.problems] == [
        (CONFIG, "This file exists already.")
    ]
    assert [path.name for path in folder.iterdir()] == [CONFIG]
    assert (folder / CONFIG).read_text() == "mine"
    made = await start(stage, replace(REQUEST, force=True))
    assert f"Overwrote {folder / CONFIG}" in made.out


async def test_questions_choose_registry_and_clusters(stage: Stage) -> None:
    stage.another("second")
    made = await start(stage, InitRequest(), "2", "azure-devops")
    config = yaml.safe_load(made.text(CONFIG))
    assert list(config["kubernetes_clusters"]) == ["aks-second"]
    assert made.text(PIPELINES[Ci.AZURE_DEVOPS]).startswith("trigger: none")
    calls = await asyncio.to_thread(
        run_script, made.folder, TRUST, issuer="https://vstoken.dev.azure.com/1", subject="sc://o/p/c"
    )
    (created,) = [call for call in calls if call[1:5] == ["ad", "app", "federated-credential", "create"]]
    assert json.loads(created[-1])["subject"] == "sc://o/p/c"


async def test_no_to_overwrite_writes_nothing(stage: Stage) -> None:
    await start(stage)
    with pytest.raises(ConfigurationError):
        await start(stage, InitRequest(repository="contoso/shop"), "", "no")


async def test_all_visible_clusters_are_taken_with_yes(stage: Stage) -> None:
    """A cluster that is left out would protect no image."""
    stage.another("second", power_state="Stopped")
    made = await start(stage)
    assert list(yaml.safe_load(made.text(CONFIG))["kubernetes_clusters"]) == ["aks-prod", "aks-second"]


async def test_login_without_registry_names_the_role(stage: Stage) -> None:
    stage.world.access.assign_only("Azure Kubernetes Service Cluster User Role")
    with pytest.raises(ConfigurationError) as caught:
        await start(stage)
    (problem,) = caught.value.problems
    assert problem.path == "--registry"
    assert "Reader" in problem.remedy


async def test_refused_login_exits_with_3(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    made = await start(stage)
    assert (made.code, list(made.folder.iterdir())) == (3, [])
    assert "Set AZURE_CLIENT_SECRET" in made.err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--repository", "a/b'; rm -rf /"),
        ("--branch", 'x";reboot'),
        ("--connection", "a\nb"),
        ("--folder", "/nowhere/at/all"),
    ],
)
def test_hostile_flag_is_refused(
    flag: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flags are written into scripts and YAML."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(["init", "--yes", "--ci", "github", flag, value], {}) == 2
    assert flag in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "suffix"), [("azurecloud", ""), ("azureusgovernment", "USGov"), ("azurechinacloud", "China")]
)
def test_audience_follows_the_cloud(environment: str, suffix: str) -> None:
    registry = FoundResource("/subscriptions/s/resourceGroups/g/providers/x/y/contoso", "contoso", "contoso.azurecr.us")
    text = trust(Setup(registry, (), environment, Ci.GITHUB, "contoso/shop"))
    assert f'"audiences": ["api://AzureADTokenExchange{suffix}"]' in text


@pytest.mark.parametrize("remote", ["https://github.com/contoso/shop.git", "git@github.com:contoso/shop.git"])
async def test_repository_is_that_of_the_clone(stage: Stage, remote: str) -> None:
    git = stage.tool.folder / "new" / ".git"
    git.mkdir(parents=True)
    (git / "config").write_text(f'[remote "origin"]\n\turl = {remote}\n')
    made = await start(stage, InitRequest(yes=True))
    assert "repository=contoso/shop\n" in made.text(TRUST)
    assert made.text(RIGHTS).startswith("set -eu")


@pytest.mark.parametrize(
    ("gh", "subject"),
    [
        ("echo repo:contoso@1/shop@2", "repo:contoso@1/shop@2:ref:refs/heads/main"),
        ("echo; exit 0", "repo:contoso/shop:ref:refs/heads/main"),
        ('echo "{\\"message\\": \\"Not Found\\"}"; exit 1', "repo:contoso/shop:ref:refs/heads/main"),
        ("exit 127", "repo:contoso/shop:ref:refs/heads/main"),
    ],
)
async def test_subject_begins_as_github_says(stage: Stage, gh: str, subject: str) -> None:
    """Repositories made or renamed since July 2026 send the ids of owner and repository."""
    made = await start(stage)
    calls = await asyncio.to_thread(run_script, made.folder, TRUST, gh=gh)
    (created,) = [call for call in calls if call[1:5] == ["ad", "app", "federated-credential", "create"]]
    assert json.loads(created[-1])["subject"] == subject
