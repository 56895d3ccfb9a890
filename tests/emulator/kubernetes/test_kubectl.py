"""
The emulator's stand-in for kubectl, called in this process: output, errors and exit codes.

tests/emulator/kubernetes/test_run_command.py compares them with the real program, if it is
installed.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.emulator.kubernetes import kubectl
from tests.emulator.kubernetes.run_command import inside_kubeconfig, serve_inside

WEB = "contoso.azurecr.io/shop/web:1.0"


@dataclass(frozen=True)
class Output:
    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Output]]
Inside = Callable[..., AbstractAsyncContextManager[Run]]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Inside:
    return partial(_inside, tmp_path, monkeypatch, capfdbinary)


@asynccontextmanager
async def _inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], *faults: Fault
) -> AsyncIterator[Run]:
    """
    Yield a function that runs one command line in a cluster.

    The cluster has a Deployment with two pods, and three ConfigMaps.
    """
    cluster = ClusterState("aks-prod", private=True)
    cluster.run(build.deployment("shop", "web", [WEB], replicas=2))
    cluster.add(*(build.configmap("shop", f"settings-{number}", {"a": "1"}) for number in range(3)))
    world = World(clusters={cluster.name: cluster})
    world.faults.extend(faults)
    async with Emulator(world) as emulator, serve_inside(world, cluster, emulator.authority) as (server, ca):
        config = tmp_path / "kubeconfig"
        config.write_text(inside_kubeconfig(server, ca, cluster.inside_token))
        monkeypatch.setenv("KUBECONFIG", str(config))

        async def run(line: str, stdin: str = "") -> Output:
            monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
            code = await asyncio.to_thread(kubectl.main, line.split())
            out, err = capfdbinary.readouterr()
            return Output(code, out.decode(), err.decode())

        yield run


async def test_get_prints_every_output_form(inside: Inside, tmp_path: Path) -> None:
    async with inside() as run:
        assert len((await run("get pods -A -o name")).out.splitlines()) == 2
        assert (await run("get deployments.apps,configmaps -n shop -oname --chunk-size=1")).out.splitlines() == [
            "deployment.apps/web",
            *(f"configmap/settings-{number}" for number in range(3)),
        ]
        one = json.loads((await run("get deployment web -n shop --output=json")).out)
        assert one["metadata"]["name"] == "web"
        assert json.loads((await run("get po -A -o json --show-managed-fields")).out)["kind"] == "List"
        path = "{.items[*].metadata.name}"
        assert (await run(f"get cm -n shop -o jsonpath={path}")).out == "settings-0 settings-1 settings-2"
        template = tmp_path / "template"
        template.write_text(path)
        assert (await run(f"get cm -n shop -o jsonpath-file={template}")).out == "settings-0 settings-1 settings-2"
        table = (await run("get pods -A -L app")).out.splitlines()
        assert table[0].split() == ["NAMESPACE", "NAME", "AGE", "APP"]
        assert len(table) == 3
        assert "APP" not in (await run("get pods -A --no-headers -L app")).out
        assert (await run("get jobs -n nowhere")).err == "No resources found in nowhere namespace.\n"
        assert (await run("get jobs -A")).err == "No resources found\n"
        assert json.loads((await run("get --raw /version")).out)["gitVersion"]
        assert (await run("get pods -A -l app=web,tier!=x --field-selector=status.phase=Running -o name")).code == 0
        assert (await run("get configmaps -A --chunk-size=0 -o name --request-timeout=1m30s")).out.count("\n") == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("get", "Required resource not specified"),
        ("get pods -A -o", "flag needs an argument: -o"),
        ("get pods web -A", "cannot be retrieved by name across all namespaces"),
        ("get unicorns", 'doesn\'t have a resource type "unicorns"'),
        ("get pods -A -o yaml", "unable to match a printer"),
        ("get pods -A -o jsonpath={.items[", "error parsing jsonpath"),
        ("get pods -A -o jsonpath={.items[9].metadata}", "error executing jsonpath"),
        ("get pod missing -n shop", "Error from server (NotFound)"),
        ("get --raw /apis/nothing/v1", "NotFound"),
        ("delete pod x", "can only read"),
        ("create -f x", "can only read"),
    ],
)
async def test_invalid_command_exits_with_1(
    inside: Inside,
    line: str,
    message: str,
) -> None:
    async with inside() as run:
        output = await run(line)
        assert output.code == 1
        assert message in output.err


async def test_ignore_not_found_exits_with_0(inside: Inside) -> None:
    async with inside() as run:
        assert await run("get pod missing -n shop --ignore-not-found") == Output(0, "", "")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 401}, "You must be logged in to the server"),
        ({"status": 503}, "the server is currently unable to handle the request"),
        ({"status": 500, "body": "broken"}, "Error from server (InternalError): broken"),
        ({"reset": True}, "Unable to connect to the server"),
    ],
    ids=str,
)
async def test_refused_kind_keeps_earlier_output(
    inside: Inside,
    fault: dict[str, object],
    message: str,
) -> None:
    """Only the exit code shows that the output is incomplete."""
    broken = Fault(service="kubernetes/aks-prod", path="/pods$", **fault)  # type: ignore[arg-type]
    async with inside(broken) as run:
        output = await run("get configmaps,pods -A -o name")
        assert (output.code, output.out.count("configmap/")) == (1, 3)
        assert message in output.err


async def test_missing_kubeconfig_reports_refused_connection(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside() as run:
        monkeypatch.delenv("KUBECONFIG")
        assert "localhost:8080 was refused" in (await run("get pods")).err


async def test_other_commands_print_their_answers(inside: Inside) -> None:
    async with inside() as run:
        assert await run("auth can-i list pods -A") == Output(0, "yes\n", "")
        assert await run("auth can-i list pods -q") == Output(0, "", "")
        assert "doesn't have a resource type 'unicorns'" in (await run("auth can-i list unicorns")).err
        assert (await run("auth can-i * * -A")).code in {0, 1}
        kinds = (await run("api-resources --verbs=list --namespaced -o name")).out.splitlines()
        assert {"pods", "deployments.apps"} <= set(kinds)
        assert "nodes" not in kinds
        assert (await run("api-resources --api-group=apps")).out.startswith("NAME")
        assert not (await run("api-resources --api-group=apps --no-headers")).out.startswith("NAME")
        assert "Server Version" in (await run("version")).out
        assert "serverVersion" not in json.loads((await run("version --client -o json")).out)
        review = {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = await run(f"create --raw {path} -f -", json.dumps(review))
        assert json.loads(answer.out)["status"]["allowed"] is True
