"""
Prints the script of `acr-cleanup permissions`, checks its syntax, and runs it with fake tools.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from acr_cleanup.access.roles import Command
from acr_cleanup.commands.permissions import PermissionsRequest, permissions
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.stage import Stage

IDENTITY_ID = "12345678-0000-0000-0000-000000000000"


@dataclass
class PermissionScript:
    """A printed script."""

    code: int
    text: str
    folder: Path

    def documents(self, mark: str) -> list[str]:
        """The here-documents that end with this mark (JSON or YAML)."""
        return re.findall(rf"<<'{mark}'\n(.*?)\n{mark}\n", self.text, re.DOTALL)

    @property
    def cluster_role(self) -> dict[str, Any]:
        (document,) = self.documents("YAML")
        first, _ = yaml.safe_load_all(document)
        assert first["kind"] == "ClusterRole"
        return dict(first)

    @property
    def api_groups(self) -> set[str]:
        """The API groups in the ClusterRole."""
        return {group for rule in self.cluster_role["rules"] for group in rule["apiGroups"]}

    @property
    def resources(self) -> set[tuple[str, str]]:
        """API group and resource of each kind in the ClusterRole."""
        return {
            (group, resource)
            for rule in self.cluster_role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }

    def check(self) -> None:
        """Check the syntax of the script and of its JSON and YAML."""
        subprocess.run(["bash", "-n"], input=self.text, text=True, check=True)
        for document in self.documents("JSON"):
            assert json.loads(document)["AssignableScopes"]
        for document in self.documents("YAML"):
            kinds = [part["kind"] for part in yaml.safe_load_all(document)]
            assert kinds == ["ClusterRole", "ClusterRoleBinding"]

    def run(self) -> list[list[str]]:
        """
        Run the script with an `az` and a `kubectl` that only record their arguments.

        Returns the recorded commands. The last word of a `kubectl` command is its standard input.
        """
        script = self.folder / "rights.sh"
        script.write_text(self.text)
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        calls = self.folder / "calls"
        calls.write_text("")
        for name in ("az", "kubectl"):
            stdin = '"$(cat)"' if name == "kubectl" else ""
            (tools / name).write_text(
                f'#!/bin/sh\nfor word in {name} "$@" {stdin}; do printf \'%s\\037\' "$word"; done >> {calls}\n'
                f"printf '\\036' >> {calls}\n"
                # `az acr show` answers with a resource id.
                'if [ "$1 $2" = "acr show" ]; then echo /subscriptions/from-az/resourceGroups/rg/providers/x; fi\n'
            )
            (tools / name).chmod(0o755)
        subprocess.run(
            ["sh", str(script), "--identity", IDENTITY_ID],
            check=True,
            cwd=self.folder,
            env={"PATH": f"{tools}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
        return [call.split("\x1f")[:-1] for call in calls.read_text().split("\x1e")[:-1]]

    def kubectl_calls(self) -> list[list[str]]:
        return [call for call in self.run() if call[0] == "kubectl"]

    def assignments(self) -> set[tuple[str, str]]:
        """Role and scope of each role assignment that the script creates."""
        calls = [call for call in self.run() if call[:4] == ["az", "role", "assignment", "create"]]
        assert all(call[call.index("--assignee-object-id") + 1] == IDENTITY_ID for call in calls)
        return {(call[call.index("--role") + 1], call[call.index("--scope") + 1]) for call in calls}


async def print_script(
    stage: Stage,
    config: Mapping[str, Any] | None = None,
    command: Command = Command.APPLY,
    /,
    **options: str,
) -> PermissionScript:
    """Print the script for this configuration, or for the stage's, and check its syntax."""
    code, text = await print_rights(stage, config, PermissionsRequest("shell", command), **options)
    script = PermissionScript(code, text, stage.tool.folder)
    script.check()
    return script


async def print_rights(
    stage: Stage, config: Mapping[str, Any] | None, request: PermissionsRequest, **options: str
) -> tuple[int, str]:
    """Print the rights in any format; return the exit code and the text."""
    folder = stage.tool.folder
    path = folder / "acr-cleanup.json"
    path.write_text(json.dumps(config or stage.tool.emulator.config()))
    settings = load_settings(path, options, os.environ)
    out, err = io.StringIO(), io.StringIO()
    code = await permissions(settings, Terminal(stdout=out, stderr=err, environ={}), os.environ, request)
    text = out.getvalue()
    assert "Traceback" not in text + err.getvalue()
    return code, text
