"""
Each command works with exactly the rights that `acr-cleanup permissions` prints for it, and fails
without any one of them, with a message that names the role.
"""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.access import roles
from acr_cleanup.access.roles import Command, Right
from acr_cleanup.commands.collect import collect
from acr_cleanup.commands.names import names
from acr_cleanup.commands.restore import read, restore
from acr_cleanup.emulator.roles import BUILT_IN, CLUSTERS, RoleAssignment, RoleDefinition
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.explanations import run_explain
from tests.helpers.paths import ROOT
from tests.helpers.permission_scripts import PermissionScript, print_script
from tests.helpers.stage import OLD, REPOSITORY, Stage, shorten_pauses, staged_over_tls

pytestmark = pytest.mark.extended

PLAN, APPLY, EXPLAIN, COLLECT, NAMES, RESTORE = Command
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
HIDDEN = f"{SUBSCRIPTION}/resourceGroups/rg-other/providers/{CLUSTERS}/aks-hidden"


@dataclass(frozen=True)
class Case:
    """
    One command with its options, on one world.

    needs: the rights that it needs, besides those on the cluster.
    cluster: attributes of the cluster, and `access` of its entry in the configuration.
    """

    command: Command
    needs: tuple[Right, ...]
    abac: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    cluster: Mapping[str, Any] = field(default_factory=dict)
    access: str = "auto"

    @property
    def rights(self) -> tuple[Right, ...]:
        if self.command in {RESTORE, NAMES}:
            return self.needs
        reached_by = roles.RUN_COMMANDS_IN if self.access == "run-command" else roles.USER_CREDENTIALS
        return (*self.needs, roles.FIND_CLUSTER, reached_by)

    @property
    def name(self) -> str:
        words = (self.command, "abac" if self.abac else "", *self.options, self.access, *self.cluster)
        return "-".join(str(word) for word in words if word not in {"", "auto"})


READS = (roles.READ, roles.CATALOG, roles.POLICIES)
RESTORES = (roles.READ, roles.PUSH, roles.CHANGE_LOCKS, roles.UNDELETE)
INCLUDE_LOCKED = {"include-locked": "true"}
PULLED = {"pulled-within": "90d"}
CASES = [
    Case(PLAN, READS),
    Case(PLAN, READS, options={"scope": "all"}),
    Case(PLAN, READS, access="run-command"),
    Case(PLAN, (*READS, roles.LIST_OBJECTS), cluster={"azure_rbac": True}),
    Case(PLAN, (*READS, roles.FIND_UNLISTED), options={"require-all-clusters": "true"}),
    Case(PLAN, (*READS, roles.PULL_LOG), options=PULLED),
    Case(APPLY, (*READS, roles.DELETE)),
    Case(APPLY, (*READS, roles.DELETE, roles.CHANGE_LOCKS), options=INCLUDE_LOCKED),
    Case(EXPLAIN, (roles.READ, roles.CATALOG)),
    Case(COLLECT, (roles.READ, roles.CATALOG)),
    Case(NAMES, (roles.READ, roles.CATALOG)),
    Case(RESTORE, RESTORES),
    Case(PLAN, READS, abac=True),
    Case(PLAN, READS, abac=True, options={"scope": "all"}),
    Case(PLAN, (*READS, roles.PULL_LOG), abac=True, options=PULLED),
    Case(APPLY, (*READS, roles.DELETE), abac=True),
    Case(APPLY, (*READS, roles.DELETE, roles.CHANGE_LOCKS), abac=True, options=INCLUDE_LOCKED),
    Case(EXPLAIN, (roles.READ, roles.CATALOG), abac=True),
    Case(RESTORE, RESTORES, abac=True),
]


def assignments_in(script: PermissionScript) -> list[RoleAssignment]:
    """Return the role assignments that running the script creates."""
    custom = {}
    for call in script.run():
        if call[:4] == ["az", "role", "definition", "create"]:
            role = json.loads(call[-1])
            custom[role["Name"]] = RoleDefinition(
                role["Name"],
                actions=tuple(role["Actions"]),
                data_actions=tuple(role["DataActions"]),
                not_data_actions=tuple(role["NotDataActions"]),
            )
    return [RoleAssignment(custom.get(name) or BUILT_IN[name], scope) for name, scope in sorted(script.assignments())]


@asynccontextmanager
async def granted(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Serve the world of a case, in which the identity has exactly the printed rights."""
    shorten_pauses(monkeypatch)
    async with staged_over_tls(folder, monkeypatch) as stage:
        stage.cluster.auth = "entra-exec"
        for name, value in case.cluster.items():
            setattr(stage.cluster, name, value)
        stage.registry.abac, stage.registry.soft_delete = case.abac, True
        stage.world.logs.enable()
        stage.world.logs.write("Push", stage.world.clock() - OLD, REPOSITORY, "1.0")
        stage.registry.push(REPOSITORY, "locked", age=OLD)
        stage.registry.lock(REPOSITORY, "locked")
        # The bodies of an index must be read.
        stage.registry.push_index(REPOSITORY, "multi", children=[stage.digest("2.0")])
        config = stage.tool.emulator.config()
        config["kubernetes_clusters"]["production"]["access"] = case.access
        stage.config = config
        if case.command is RESTORE:
            await prepare_restore(stage)
        script = await print_script(stage, stage.config, case.command, **case.options)
        stage.world.access.assign_only(*assignments_in(script))
        yield stage


async def prepare_restore(stage: Stage) -> None:
    """
    Delete three tags: one manifest must be restored from soft delete, one pushed, one locked.

    A pushed manifest must not be in soft delete.
    """
    one = stage.digest("1.0")
    await stage.tool.apply(stage.config, backup="true", **INCLUDE_LOCKED)
    stage.registry.deleted[REPOSITORY] = {one: stage.registry.deleted[REPOSITORY][one]}
    journal = stage.tool.folder / "report" / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line.get("digest") == one:
            line.pop("manifest", None)
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


async def run_command(stage: Stage, case: Case) -> tuple[int, str]:
    """Run the command; return the exit code and everything that it prints."""
    if case.command is EXPLAIN:
        explanation = await run_explain(stage, f"{REPOSITORY}:1.0", **case.options)
        return explanation.code, explanation.out + explanation.err
    if case.command in {PLAN, APPLY}:
        ran = await stage.tool.run(stage.config, dry_run=case.command is PLAN, **case.options)
        return ran.code, ran.out + ran.err
    folder = stage.tool.folder
    path = folder / "acr-cleanup.json"
    path.write_text(json.dumps(stage.config), encoding="utf-8")
    settings = load_settings(path, dict(case.options), os.environ)
    out = io.StringIO()
    runtime = Terminal(stdout=out, stderr=out, environ={})
    if case.command is COLLECT:
        code = await collect(settings, runtime, os.environ, out=folder / "usage.json", only=())
    elif case.command is NAMES:
        code = await names(settings, runtime, os.environ, out=folder / "names.json")
    else:
        journal = folder / "report" / "journal.jsonl"
        code = await restore(journal, read(journal), settings, runtime, os.environ)
    return code, out.getvalue()


def withhold(stage: Stage, case: Case, right: Right, action: str) -> None:
    """Take away one action on the resource of the right."""
    scope = stage.registry.resource_id
    if right is roles.FIND_UNLISTED:
        scope = HIDDEN
    elif right in roles.CLUSTER_RIGHTS:
        scope = stage.cluster.resource_id
    if right is roles.LIST_OBJECTS:
        action = f"{CLUSTERS}/batch/cronjobs/read"
    stage.world.access.withhold(action, scope)


def is_fatal(case: Case, right: Right) -> bool:
    """
    Does the command fail without this right?

    A run without Reader on the registry only says that it cannot read the policies, unless it needs
    the registry's logs. An explanation without a cluster is still an explanation, and names the
    cluster.
    """
    if right is roles.POLICIES and case.options == PULLED:
        return True
    if right is roles.CATALOG and case.abac:
        # Without the list, the names of the used repositories are taken from the clusters.
        return case.command is NAMES or case.options.get("scope") == "all"
    return right is not roles.POLICIES and not (case.command is EXPLAIN and right in roles.CLUSTER_RIGHTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_printed_rights_are_sufficient(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with granted(case, tmp_path, monkeypatch) as stage:
        code, shown = await run_command(stage, case)
        assert code == 0, shown
        assert "rights are missing" not in shown
        assert "It is unknown" not in shown
        if case.command is RESTORE:
            assert {"1.0", "1.1", "locked"} <= stage.repository.tags.keys()
            assert stage.repository.tags["locked"].attributes.locked


@pytest.mark.parametrize(
    "challenges", [pytest.param(False, id="403"), pytest.param(True, id="401", marks=pytest.mark.extended)]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_missing_right_is_named(
    case: Case, challenges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each needed action is taken away in turn."""
    numbers = itertools.count()
    for right in case.rights:
        role = right.abac if case.abac else right.role
        names = (role.actions or (f"{CLUSTERS}/*/read",)) if role.is_custom else (role.name,)
        for action in (right.abac_actions or right.actions) if case.abac else right.actions:
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            async with granted(case, folder, monkeypatch) as stage:
                stage.registry.challenges_missing_rights = challenges
                withhold(stage, case, right, action)
                code, shown = await run_command(stage, case)
                text = " ".join(shown.split())
                assert (code != 0) == is_fatal(case, right), (action, shown)
                if right is roles.LIST_OBJECTS:
                    assert "cronjobs.batch" in text
                else:
                    assert any(name in text for name in names), (action, shown)


def test_each_right_is_needed_by_a_case() -> None:
    """A right that no command needs must not be in the table."""
    needed = {right for case in CASES for right in case.rights}
    assert needed == {*roles.REGISTRY_RIGHTS, *roles.CLUSTER_RIGHTS}


def test_documentation_names_each_command() -> None:
    text = (ROOT / "docs" / "rights.md").read_text(encoding="utf-8")
    assert [command for command in Command if f"`{command}`" not in text] == []
