"""The run command: real execution, the changes that AKS makes to the log, and kubectl."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import AKS_SERVER_APP, ClusterState, CommandResult
from tests.emulator.kubernetes.jsonpath import JsonPathError, JsonPathIndexError, render
from tests.emulator.kubernetes.run_command import run_command

pytestmark = pytest.mark.extended

WEB = "contoso.azurecr.io/shop/web:1.0"
IMAGES = '{range .items[*]}{.metadata.namespace}/{.metadata.name}{"\\x1f"}{.spec.containers[*].image}{"\\n"}{end}'


def shop(**more: Any) -> ClusterState:
    """Return a private cluster with objects of several kinds."""
    cluster = ClusterState("aks-prod", private=True, **more)
    cluster.run(
        build.deployment("shop", "web", [WEB, "contoso.azurecr.io/a<b>&:é"], replicas=3, init=["x/init:1"]),
        history=[["contoso.azurecr.io/shop/web:0.9"]],
    )
    cluster.run(build.statefulset("shop", "db", ["x/db:1"]), build.cronjob("ops", "nightly", ["x/night:1"]))
    cluster.add(build.pod("shop", "debugged", [WEB], ephemeral=["x/shell:1"]))
    cluster.add(*[build.configmap("shop", f"settings-{n}", {"a": "1"}) for n in range(5)])
    cluster.add(build.custom_object("argoproj.io/v1alpha1", "Rollout", "shop", "ro", {"image": WEB, "none": None}))
    return cluster


@asynccontextmanager
async def inside(cluster: ClusterState) -> AsyncIterator[Any]:
    """Start a world; yield a function that runs a command in the cluster."""
    world = World(clusters={cluster.name: cluster})
    async with Emulator(world) as emulator:

        async def run(command: str, **options: Any) -> CommandResult:
            return await run_command(world, cluster, emulator.authority, command=command, **options)

        run.world, run.emulator = world, emulator  # type: ignore[attr-defined]
        yield run


async def test_command_reaches_a_private_api_server() -> None:
    """
    kubectl lists all pods of a cluster that clients outside cannot reach.

    The requests are recorded.
    """
    cluster = shop()
    async with inside(cluster) as run:
        result = await run(f"kubectl get pods -A -o jsonpath='{IMAGES}'")
        assert result.exit_code == 0
        lines = result.logs.splitlines()
        assert len(lines) == len(cluster.pods())
        assert f"shop/debugged\x1f{WEB}" in lines
        assert run.world.count(service="kubernetes/aks-prod", path="/api/v1/pods") == 1


async def test_log_has_both_streams_and_exit_code() -> None:
    """As in AKS. The shell starts in an empty folder, without the environment of this process."""
    async with inside(shop()) as run:
        result = await run("echo one; echo two >&2; echo three; ls; echo $HOME; exit 7")
        assert (result.exit_code, result.logs.splitlines()[:3]) == (7, ["one", "two", "three"])
        assert len(result.logs.splitlines()) == 4
        names = {line.partition("=")[0] for line in (await run("env")).logs.splitlines()}
        assert names <= {"PATH", "HOME", "KUBECONFIG", "PWD", "OLDPWD", "SHLVL", "_"}


async def test_context_files_are_in_the_working_folder() -> None:
    """A zip file in base64, as `az aks command invoke --file` sends it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("script.sh", "echo from the file")
    async with inside(shop()) as run:
        result = await run("sh script.sh", context=base64.b64encode(data.getvalue()).decode())
        assert result.logs == "from the file\n"


async def test_long_log_is_silently_cut_at_512_kib() -> None:
    """The exit code is still 0, so the reader must notice the missing end."""
    async with inside(shop()) as run:
        result = await run("yes | head -c 600000; echo END")
        assert result.exit_code == 0
        assert len(result.logs) == 512 * 1024
        assert "END" not in result.logs


async def test_cluster_settings_change_the_log() -> None:
    """Cut short, empty, with a warning before it, with another exit code."""
    cluster = shop()
    async with inside(cluster) as run:
        cluster.truncate_log_at = 4
        assert (await run("echo hello")).logs == "hell"
        cluster.prefix_line = "Warning: old kubectl"
        cluster.truncate_log_at = 1000
        assert (await run("echo hello")).logs == "Warning: old kubectl\nhello\n"
        cluster.exit_code = 137
        cluster.empty_log = True
        result = await run("echo hello")
        assert (result.exit_code, result.logs) == (137, "")


async def test_command_over_its_time_is_killed() -> None:
    """With all processes that it started."""
    async with inside(shop(run_command_seconds=0.3)) as run:
        result = await run("sleep 60 & sleep 60")
        assert result.exit_code is None
        assert result.reason == "the command did not end in time"


async def test_entra_cluster_runs_command_as_caller() -> None:
    """With a token for the AKS server app. Without a token, kubectl is not logged in."""
    async with inside(shop(auth="entra-exec", forbidden={"secrets"})) as run:
        token = run.emulator.authority.issue_token(AKS_SERVER_APP, "the-caller")
        assert (await run("kubectl get pods -A -o name", token=token)).exit_code == 0
        refused = await run("kubectl get secrets -A -o name", token=token)
        assert refused.exit_code == 1
        assert 'User "the-caller" cannot list resource "secrets"' in refused.logs
        anonymous = await run("kubectl get pods -A -o name")
        assert (anonymous.exit_code, anonymous.logs) == (
            1,
            "error: You must be logged in to the server (Unauthorized)\n",
        )


async def test_kubectl_reports_rights_kinds_and_version() -> None:
    """`auth can-i` by word and exit code, `api-resources` by name, `version`."""
    async with inside(shop(forbidden={"cronjobs.batch"}, hidden={"pods"})) as run:
        yes = await run("kubectl auth can-i list deployments.apps -A")
        assert (yes.exit_code, yes.logs) == (0, "yes\n")
        for kind in ("cronjobs.batch", "pods"):
            no = await run(f"kubectl auth can-i list {kind} --all-namespaces")
            assert (no.exit_code, no.logs) == (1, "no\n")
        kinds = (await run("kubectl api-resources --verbs=list --namespaced -o name")).logs.splitlines()
        assert {"pods", "rollouts.argoproj.io"} <= set(kinds)
        assert not {"nodes", "bindings"} & set(kinds)
        assert "Server Version: v1.36.2" in (await run("kubectl version")).logs


async def test_kubectl_leaves_out_unavailable_group_versions() -> None:
    """
    As the real program, if the server describes all groups in one document.

    So the tool must ask the server.
    """
    async with inside(shop(dead_apis={"custom.metrics.k8s.io/v1beta1"})) as run:
        listed = await run("kubectl api-resources --verbs=list --no-headers")
        assert listed.exit_code == 0
        assert "metrics" not in listed.logs
        direct = await run("kubectl get --raw /apis/custom.metrics.k8s.io/v1beta1")
        assert (direct.exit_code, "ServiceUnavailable" in direct.logs) == (1, True)


# -- the stand-in and the real kubectl -------------------------------------------------------------

COMMANDS = [
    f"get pods -A -o jsonpath='{IMAGES}'",
    "get pods -A -o json",
    "get pods,deploy,cj,sts,rollouts.argoproj.io -A -o name --chunk-size=2",
    (
        "get deployments.v1.apps,replicasets.apps,statefulsets -A "
        '-o jsonpath=\'{range .items[*]}{.kind}{"\\t"}{range .spec.template.spec.containers[*]}{.image}{"\\x1e"}{end}{end}\''
    ),
    "get cronjobs.batch -A -o jsonpath='{.items[*].spec.jobTemplate.spec.template.spec.containers[*].image}'",
    (
        'get pods -A -o jsonpath=\'{range .items[*]}{.metadata.name}{range .spec.initContainers[*]}{" i="}{.image}{end}'
        '{range .spec.ephemeralContainers[*]}{" e="}{@.image}{end}{.status.containerStatuses[*].imageID}{"\\n"}{end}\''
    ),
    "get pods -A -o jsonpath='{.items[0].metadata.labels}{.items[0].nope.nope[3]}{.items[-1:].spec}'",
    (
        "get deploy -A -o jsonpath=\"{.items[0].metadata.annotations['deployment\\.kubernetes\\.io/revision']}"
        '{.items[0].metadata.annotations.deployment\\.kubernetes\\.io/revision}"'
    ),
    "get rollouts -A -o jsonpath='{.items[*]}|{.items[0].spec.none}|{.items[0].metadata.generation}'",
    'get pods -A -o jsonpath=\'x{"a\\"b"}{"é\\u00e9\\x1f\\t"}\'',
    "get pods -A -o jsonpath='{\"\\q\"}'",
    "get pods -A -o jsonpath='{.items[0].metadata.name'",
    "get jobs -A -o json",
    "get jobs -A -o jsonpath='{.items[*].metadata.name}'",
    "get jobs -A -o json --ignore-not-found",
    "get pods -A -l app=web -o name",
    "get pods -A --field-selector status.phase=Pending -o name",
    "get pods -n shop debugged -o jsonpath='{.spec.containers[0].image}' --request-timeout=30s",
    "get pods -n shop nope -o json",
    "get pods -n shop nope -o json --ignore-not-found",
    "get foos -A -o json",
    "get jobs -A",
    "get jobs -n shop",
    "get --raw '/api/v1/namespaces/shop/configmaps?limit=1' | cut -c1-50",
    "get --raw /apis/nope/v1",
    "get --raw /healthz",
    "get secrets -A -o json",
    "get pods,secrets,deploy -A -o jsonpath='{range .items[*]}{.metadata.name} {end}'",
    "get configmaps -A -o name --chunk-size=2",
    "api-resources --verbs=list -o name",
    "api-resources --verbs=list --no-headers",
    "api-resources --api-group=batch",
    "get configmaps -A -L a,b/c --no-headers",
    "get pods -A -L app",
    "get pods -n shop -l app=web -L app,nope",
    "get configmaps,foos.example.com -A -o name",
    "get configmaps,rollouts.argoproj.io,deploy -A -o jsonpath='{range .items[*]}{.apiVersion}{.kind}{@}{\"\\n\"}{end}'",
    "get configmaps -A -l owner=helm --no-headers -L name,version,status",
    "get deploy -n shop -l 'app=web,tier notin (a,b)' -o jsonpath='{range .items[*]}{.metadata.labels}{end}'",
    "get metrics.custom.metrics.k8s.io -A -o name",
    "get --raw /apis/custom.metrics.k8s.io/v1beta1",
    "get --raw /apis/argoproj.io/v1alpha1",
    (
        "create --raw /apis/authorization.k8s.io/v1/selfsubjectaccessreviews -f - <<E\n"
        '{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":'
        '{"resourceAttributes":{"group":"*","resource":"*","verb":"list"}}}\nE'
    ),
]


def skip_without_kubectl() -> None:
    """Skip the test without kubectl, or with a version whose output differs from today's."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    output = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, check=False)
    version = json.loads(output.stdout or "{}").get("clientVersion", {})
    if int(re.sub(r"\D", "", version.get("minor", "0"))) < 28:
        pytest.skip(f"kubectl {version.get('gitVersion')} is older than 1.28")


@pytest.mark.parametrize("command", COMMANDS)
async def test_stand_in_prints_the_bytes_of_kubectl(command: str) -> None:
    """Output, errors and exit code, also for output before an error."""
    skip_without_kubectl()
    cluster = shop(forbidden={"secrets"}, dead_apis={"custom.metrics.k8s.io/v1beta1"})
    async with inside(cluster) as run:
        results = {}
        for program in ("real", "stub"):
            cluster.kubectl = program
            cluster.expire_continue = {"configmaps": 1}
            result = await run(f"kubectl {command}")
            results[program] = (result.exit_code, result.logs)
    assert results["stub"] == results["real"]


# -- jsonpath --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{.a}", "1"),
        ("{.b.c}-{.b['c']}-{.b.d\\.e}-{.b['d.e']}", "x-x-y-y"),
        ("{.l[*]}", "1 2 3"),
        ("{.l[0]}{.l[-1]}{.l[1:]}", "132 3"),
        ("{range .l[*]}<{@}>{end}", "<1><2><3>"),
        ("{range .n[*]}{range .m[*]}{.v},{end};{end}", "1,2,;3,;"),
        ("{range .n[*]}{$.a}{end}", "11"),
        ('{"\\t\\n\\x1e\\x1f"}', "\t\n\x1e\x1f"),
        ('{"}{"}', "}{"),
        ("{.a}{.missing}{.missing[0].x}{range .missing[*]}x{end}", "1"),
        ("{.t}{.none}{.b}", 'truenull{"c":"x","d.e":"y"}'),
        ("{.html}{.wrapped}", '<&>{"h":"\\u003c\\u0026\\u003e"}'),
        ("{..v}", "1 2 3"),
        ('{.a}{" "}{.b.c}{"\\n"}', "1 x\n"),
        ('{.a"x"}', "1x"),
    ],
)
def test_jsonpath_template_prints_its_text(template: str, text: str) -> None:
    """The texts are those of the real program."""
    value = {
        "a": 1,
        "b": {"c": "x", "d.e": "y"},
        "l": [1, 2, 3],
        "n": [{"m": [{"v": 1}, {"v": 2}]}, {"m": [{"v": 3}]}],
        "t": True,
        "none": None,
        "html": "<&>",
        "wrapped": {"h": "<&>"},
    }
    assert render(template, value) == text


@pytest.mark.parametrize("template", ["{.a", '{"a}', "{range .a[*]}", "{end}", "{.a[x]}"])
def test_invalid_jsonpath_template_is_an_error(template: str) -> None:
    """An error, not empty output."""
    with pytest.raises(JsonPathError):
        render(template, {})


def test_jsonpath_index_past_the_end_is_an_error() -> None:
    """As in the real program. A missing list prints nothing."""
    assert render("{.missing[0]}", {}) == ""
    with pytest.raises(JsonPathIndexError):
        render("{.l[5]}", {"l": [1]})
