"""Ways to reach a cluster: ARM, kubeconfig and run command. An unreachable cluster blocks."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from acr_cleanup.emulator.kubernetes.state import Auth
from acr_cleanup.emulator.roles import CLUSTERS
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import (
    BOTH,
    REPOSITORY,
    Scenario,
    ScenarioTable,
    Stage,
    assert_invariants,
    build,
    play,
    shorten_pauses,
    staged_over_tls,
)

scenarios = ScenarioTable(services="off")

# -- ARM ------------------------------------------------------------------------------------------


@scenarios.refuses("production", "stopped", "az aks start")
def stopped_cluster_blocks(stage: Stage) -> None:
    stage.cluster.power_state = "Stopped"


for action, role in {"read": "Reader", "listClusterUserCredential/action": "Cluster User Role"}.items():

    @scenarios.refuses("production", "403", role, case=action.partition("/")[0])
    def missing_right_names_the_role(stage: Stage, action: str = action) -> None:
        stage.world.access.withhold(f"{CLUSTERS}/{action}", stage.cluster.resource_id)


for status in (429, 500, 503):

    @scenarios.deletes(*BOTH, case=str(status))
    def single_arm_error_is_retried(stage: Stage, status: int = status) -> None:
        stage.fault(service="arm", status=status, times=1, headers={"Retry-After": "1"}, body={})

    @scenarios.refuses("production", str(status), case=str(status))
    def permanent_arm_error_blocks(stage: Stage, status: int = status) -> None:
        stage.fault(service="arm", path="listClusterUserCredential", status=status, body={})


BROKEN_ANSWERS: dict[str, dict[str, object]] = {
    "reset": {"reset": True},
    "cut short": {"truncate": 0.4},
    "malformed": {"malformed": True},
}
for request, path in {"cluster": "managedClusters/aks-prod$", "credentials": "listClusterUserCredential"}.items():
    for flaw, fault in BROKEN_ANSWERS.items():

        @scenarios.refuses("production", case=f"{request} {flaw}")
        def permanently_broken_arm_answer_blocks(
            stage: Stage, path: str = path, fault: dict[str, object] = fault
        ) -> None:
            stage.fault(service="arm", path=path, **fault)


for flaw, text in {"no kubeconfig": None, "empty": "", "not YAML": "{", "a list": "- 1"}.items():

    @scenarios.refuses("production", case=flaw)
    def unusable_credentials_block(stage: Stage, text: str | None = text) -> None:
        kubeconfigs = []
        if text is not None:
            kubeconfigs = [{"name": "clusterUser", "value": base64.b64encode(text.encode()).decode()}]
        body = {"kubeconfigs": kubeconfigs}
        stage.fault(service="arm", path="listClusterUserCredential", status=200, body=body)


LOGINS: tuple[Auth, ...] = ("certificate", "token", "entra", "entra-exec")
for auth in LOGINS:

    @scenarios.deletes("1.1", case=auth)
    def cluster_with_this_login_is_read(stage: Stage, auth: Auth = auth) -> None:
        stage.cluster.auth = auth
        stage.pod(stage.image("1.0"))


@scenarios.refuses("c17", "500")
def one_failing_cluster_of_thirty_blocks(stage: Stage) -> None:
    for number in range(29):
        stage.another(f"c{number}")
    stage.fault(service="kubernetes/aks-c17", path="/jobs", status=500, body="no")


@scenarios.deletes("1.1")
def clusters_of_several_subscriptions_are_read(stage: Stage) -> None:
    other = stage.another("other", subscription_id="44444444-4444-4444-4444-444444444444", resource_group="rg-other")
    other.add(build.cronjob("a", "nightly", [stage.image("1.0")]))


# -- kubeconfig -----------------------------------------------------------------------------------


def add_kubeconfig(stage: Stage, user: dict[str, object] | None = None) -> dict[str, object]:
    """
    Add a cluster that is reached by kubeconfig. Return its entry in the configuration.

    The kubeconfig has relative paths and two contexts. The current context is the wrong one.
    `user`: its login; a client certificate by default.
    """
    cluster = stage.another("theirs")
    cluster.add(build.cronjob("a", "nightly", [stage.image("1.0")]))
    folder = stage.tool.folder / "kube"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(stage.tool.emulator.authority.ca_pem)
    certificate, key = stage.tool.emulator.authority.client_certificate(cluster)
    (folder / "me.pem").write_text(certificate)
    (folder / "me.key").write_text(key)
    url = stage.tool.emulator.kubernetes_url(cluster)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "wrong",
        "clusters": [
            {"name": "theirs", "cluster": {"server": url, "certificate-authority": "ca.pem"}},
            {"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}},
        ],
        "users": [{"name": "me", "user": user or {"client-certificate": "me.pem", "client-key": "me.key"}}],
        "contexts": [
            {"name": "wrong", "context": {"cluster": "nowhere", "user": "me"}},
            {"name": "right", "context": {"cluster": "theirs", "user": "me"}},
        ],
    }
    (folder / "config").write_text(yaml.safe_dump(document))
    config = stage.tool.emulator.config()
    config["kubernetes_clusters"]["theirs"] = {"kubeconfig": "kube/config", "context": "right"}
    stage.config = config
    return config["kubernetes_clusters"]["theirs"]  # type: ignore[no-any-return]


@scenarios.deletes("1.1", both_faces=True)
def kubeconfig_with_relative_paths_and_context_is_used(stage: Stage) -> None:
    """The API server is on this machine, so it is reached without the proxy."""
    add_kubeconfig(stage)


@scenarios.refuses("theirs", "127.0.0.1:1", over_tls=True)
def current_context_is_the_default(stage: Stage) -> None:
    del add_kubeconfig(stage)["context"]


@scenarios.refuses("theirs", "left", "right")
def missing_context_blocks(stage: Stage) -> None:
    add_kubeconfig(stage)["context"] = "left"


def add_program(stage: Stage, name: str) -> str:
    """Make a program that leaves the file `ran` when it runs. Return its path."""
    program = stage.tool.folder / name
    program.write_text(f"#!/bin/sh\ntouch {stage.tool.folder}/ran\n")
    program.chmod(0o755)
    return str(program)


@scenarios.refuses("theirs", "not run")
def program_in_a_kubeconfig_is_not_run(stage: Stage) -> None:
    command = add_program(stage, "canary")
    entry = {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never"}
    add_kubeconfig(stage, {"exec": entry})


@scenarios.deletes("1.1", over_tls=True)
def kubelogin_is_replaced_by_our_login(stage: Stage) -> None:
    """Even a kubelogin with a full path is not run."""
    command = add_program(stage, "kubelogin")
    arguments = ["get-token", "--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630"]
    entry = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": command, "args": arguments}
    add_kubeconfig(stage, {"exec": entry})
    stage.world.clusters["theirs"].auth = "entra-exec"


# -- run command ----------------------------------------------------------------------------------


@scenarios.deletes("1.1", over_tls=True)
def private_cluster_is_read_by_run_command(stage: Stage) -> None:
    stage.cluster.private, stage.cluster.auth = True, "entra-exec"
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=stage.digest("1.0"))])
    if stage.world.face == "direct":
        stage.fault(service=stage.service, path="^/version", reset=True)


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_unreachable_clusters(
    scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await play(scenario, face, tmp_path, monkeypatch)

    assert not (tmp_path / "ran").exists(), "a program from a kubeconfig was run"


RUN_COMMAND_FLAWS: dict[str, tuple[dict[str, object], str]] = {
    "disabled": ({"disable_run_command": True}, "disabled"),
    "never-run": ({"run_command_reason": "ImagePullBackOff"}, "ImagePullBackOff"),
    "refused": ({}, "runcommand/action"),
    "cut": ({"truncate_log_at": 400}, "cut"),
    "failing": ({"exit_code": 1, "truncate_log_at": 0}, "exit code 1"),
    "warned": ({"prefix_line": "Warning: v1 is deprecated"}, "deprecated"),
    "hiding": ({"hidden": {"jobs.batch"}}, "jobs.batch"),
}
"""By cluster: its attributes, and a text of its blocker."""


@pytest.mark.extended
async def test_every_flaw_of_a_run_command_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All flaws are in one world, because the emulated run command starts a dozen processes."""
    shorten_pauses(monkeypatch)
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        for key, (attributes, _) in RUN_COMMAND_FLAWS.items():
            stage.another(key, private=True, **attributes)
        refused = stage.world.clusters["refused"].resource_id
        stage.world.access.withhold(f"{CLUSTERS}/runcommand/action", refused)
        ran = await stage.tool.apply()

        assert_invariants(ran, stage)
        assert ran.code == 3
        assert {blocker["where"] for blocker in ran.blockers} == RUN_COMMAND_FLAWS.keys()
        for key, (_, text) in RUN_COMMAND_FLAWS.items():
            assert any(text in " ".join(blocker.values()) for blocker in ran.blockers if blocker["where"] == key)
        assert ran.planned == {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}
