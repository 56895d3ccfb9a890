"""The command as text: it only reads, and is plain POSIX shell."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.run_command.script import script
from acr_cleanup.clusters.target import Search
from acr_cleanup.core.references import RegistryHost
from tests.helpers.cluster_objects import NAMES, SEARCH


def test_script_only_reads() -> None:
    words = script(Search(NAMES, 3))
    calls = re.findall(r"(?:\bk|kubectl) ([a-z][a-z-]*(?: --raw \S+)?)", words)
    assert set(calls) - {"get", "get --raw /apis", 'get --raw "/apis/$v"'} == {
        "api-resources",
        "auth",
        "create --raw /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    }
    assert len(words) < 20_000
    assert words.isascii()
    assert words.replace("\n", "").isprintable()


def test_script_reads_secrets_only_for_helm_history() -> None:
    assert "history secrets" not in script(SEARCH)
    assert "history secrets --field-selector=type=helm.sh/release.v1" in script(Search(NAMES, 1))


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
def test_script_is_plain_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    command = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
    subprocess.run(command, input=script(SEARCH), text=True, check=True, capture_output=True)


def test_hostile_alias_is_not_executed() -> None:
    registry = RegistryHost("contoso.azurecr.io", frozenset({"a'b; rm -rf /"}))
    subprocess.run(
        ["sh", "-n"], input=script(Search(Names.of(registry, ()))), text=True, check=True, capture_output=True
    )
    assert "rm -rf" not in script(Search(Names.of(registry, ())))
