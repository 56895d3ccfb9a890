"""Run commands: the script in real shells with the real kubectl and its stand-in, and every way a log can be spoilt."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
from typing import Any

import pytest

from acr_cleanup.clusters.objects import KINDS
from acr_cleanup.clusters.runcommand import CommandResult, read_result, script
from acr_cleanup.clusters.targets import Access
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.emulator import kubernetes_objects as build
from acr_cleanup.emulator.kubernetes import ClusterState
from tests.clusters.emulated import edge, shop
from tests.clusters.support import DIGEST, OURS, blockers, capture_of, captured, used

U, G, FS = "\x1f", "\x1d", "\x1c"
WEB = "contoso.azurecr.io/shop/web"
KUBECTLS = [
    "stub",
    pytest.param(
        "real", marks=pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
    ),
]


# -- logs, without any shell ---------------------------------------------------------------------------------------------


def counts(**others: str) -> list[str]:
    """The count of each kind: three objects, unless told otherwise."""
    return [others.get(each.resource, f"#{U}{each}{U}3{U}") for each in KINDS]


def pod_line(image: str = f"{WEB}:1", more: str = "") -> str:
    head = U.join(("Pod", "shop", "web", ""))
    return f"{head}{G}containers{U}main{U}{image}{G}{more}"


def block(*lines: str) -> list[str]:
    body = "\n".join(lines).encode()
    packed = base64.encodebytes(gzip.compress(body)).decode().splitlines()
    return [f"acr-cleanup begin 1 {hashlib.sha256(body).hexdigest()} {len(body)}", *packed, "acr-cleanup end"]


def read(logs: str, *, exit_code: int | None = 0, state: str = "Succeeded", reason: str = "") -> ClusterScan:
    return read_result(CommandResult(state, exit_code, logs, reason), "prod", OURS)


def whole(*more: str) -> str:
    return "\n".join(block(*counts(), pod_line(), *more)) + "\n"


def test_a_whole_log_is_read() -> None:
    found = read(whole())
    assert (used(found), found.blockers) == ({f"{WEB}:1"}, ())
    assert (found.objects, found.access) == (3 * len(KINDS), "run-command")
    (use,) = found.uses
    assert (str(use.workload), use.container, use.running) == ("prod/shop/Pod/web", "main", True)


@pytest.mark.parametrize("state", ["succeeded", "Succeeded", "SUCCEEDED"])
def test_the_state_is_read_in_any_case(state: str) -> None:
    assert read(whole(), state=state).blockers == ()


@pytest.mark.parametrize("state", ["Failed", "failed", "Canceled", "Running", ""])
def test_a_command_that_did_not_run_is_a_blocker(state: str) -> None:
    found = read("", state=state, exit_code=None, reason="ImagePullBackoff")
    (blocker,) = found.blockers
    assert blocker.where == "prod"
    assert "ImagePullBackoff" in blocker.seen
    assert "access: direct" in blocker.remedy


@pytest.mark.parametrize("logs", ["", "\n", "  \r\n "])
def test_an_empty_log_is_a_blocker_and_not_an_empty_cluster(logs: str) -> None:
    (blocker,) = read(logs).blockers
    assert "its log is empty" in blocker.seen


@pytest.mark.parametrize("exit_code", [1, 137, -1, None])
def test_a_failed_command_is_a_blocker_that_quotes_why_but_its_uses_count(exit_code: int | None) -> None:
    error = 'Error from server (Forbidden): cronjobs.batch is forbidden: User "x" cannot list resource "cronjobs"'
    found = read(f"{error}\n{whole()}", exit_code=exit_code)
    (blocker,) = found.blockers
    assert f"exit code {exit_code}" in blocker.seen
    assert error in blocker.seen
    assert used(found) == {f"{WEB}:1"}


@pytest.mark.parametrize(
    "line",
    [
        "Warning: batch/v1beta1 CronJob is deprecated in v1.21+",
        "E0101 00:00:00.000000 1 memcache.go:287] couldn't get resource list for custom.metrics.k8s.io/v1beta1",
        "error: the server doesn't have a resource type",
        "\x1b[31mevil\x1b[0m ::error::x",
    ],
)
@pytest.mark.parametrize("place", ["before", "inside", "after"])
def test_a_foreign_line_is_a_blocker_that_quotes_it(line: str, place: str) -> None:
    lines = whole().splitlines()
    lines.insert({"before": 0, "inside": 2, "after": len(lines)}[place], line)
    (blocker,) = read("\n".join(lines)).blockers
    assert line.replace("\x1b", " ").strip()[:40] in blocker.seen
    assert "\x1b" not in str(blocker)


def test_a_long_foreign_line_is_shortened() -> None:
    assert len(blockers(read("x y" * 10_000 + "\n" + whole()))) < 1000


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_log_that_is_cut_anywhere_is_a_blocker(share: float) -> None:
    log = whole(*(pod_line(f"{WEB}:{hashlib.sha256(bytes([n])).hexdigest()}") for n in range(200)))
    found = read(log[: int(len(log) * share)])
    assert found.uses == ()
    assert found.blockers
    if share > 0.2:
        assert "512 kB" in blockers(found)
        assert "access: direct" in blockers(found)


def test_no_cut_whatever_goes_unnoticed() -> None:
    """Every prefix and every suffix of a log but the whole is a blocker (the last line's end aside)."""
    log = whole()
    assert [end for end in range(len(log) - 1) if not read(log[:end]).blockers] == []
    assert [start for start in range(1, len(log)) if not read(log[start:]).blockers] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines, *lines],
        lambda lines: lines[::-1],
        lambda lines: [lines[0], lines[-1]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[1].swapcase(), *lines[2:]],
        lambda lines: [lines[0].replace(" 1 ", " 2 "), *lines[1:]],
        lambda lines: [lines[0][:-1], *lines[1:]],
        lambda lines: [lines[0].replace("begin 1 ", "begin 1 " + "0" * 8)[: len(lines[0])], *lines[1:]],
    ],
)
def test_a_log_with_a_wrong_marker_checksum_or_length_is_a_blocker(spoil: Any) -> None:
    assert read("\n".join(spoil(whole().splitlines()))).blockers


def test_a_block_with_another_content_of_the_same_length_is_a_blocker() -> None:
    mine, other = block(*counts(), pod_line(f"{WEB}:1")), block(*counts(), pod_line(f"{WEB}:2"))
    assert "damaged" in blockers(read("\n".join([mine[0], *other[1:]])))


@pytest.mark.parametrize(
    "line",
    [
        "Pod",
        f"Secret{U}shop{U}x{U}{G}",
        pod_line() + "rest",
        pod_line(more=f"containers{U}only-two{G}"),
        pod_line(more=f"secrets{U}a{U}b{G}"),
        pod_line(f"{WEB}:1{U}forged"),
        f"#{U}pods",
    ],
)
def test_a_record_that_cannot_be_read_is_a_blocker(line: str) -> None:
    assert "cannot be read" in blockers(read("\n".join(block(*counts(), line))))


def test_a_kind_without_a_count_is_a_blocker() -> None:
    lines = [line for line in counts() if "cronjobs" not in line]
    (blocker,) = read("\n".join(block(*lines))).blockers
    assert blocker.call == "list cronjobs.batch"


@pytest.mark.parametrize(
    ("answer", "believed"),
    [
        ("yes", True),
        ('{"kind":"SelfSubjectAccessReview","status":{"allowed":true}}', True),
        ("Error from server (NotFound): the server could not find the requested resource", True),
        ("no", False),
        ("no - no RBAC policy matched", False),
        ('{"status":{"allowed":false}}', False),
        ("", False),
        ("Error from server (Forbidden): selfsubjectaccessreviews is forbidden", False),
        ('{"status":{}}', False),
        ("maybe", False),
    ],
)
def test_an_empty_kind_is_believed_only_with_the_right_to_list_it(answer: str, believed: bool) -> None:
    lines = counts(cronjobs=f"#{U}cronjobs.batch{U}0{U}{answer}")
    found = read("\n".join(block(*lines)))
    assert (found.blockers == ()) == believed
    assert believed or "cronjobs.batch" in blockers(found)


def test_image_names_may_hold_line_ends() -> None:
    """A template whose image was written as a YAML block ends in one."""
    found = read("\n".join(block(*counts(), pod_line(f"{WEB}:1{FS}"))))
    assert used(found) == {f"{WEB}:1"}


# -- the script ----------------------------------------------------------------------------------------------------------


def test_the_script_only_reads() -> None:
    words = script(OURS)
    assert [
        line for line in words.splitlines() if "kubectl" in line and "get" not in line and not line.startswith("#")
    ] == [
        "    kubectl create --raw /apis/authorization.k8s.io/v1/selfsubjectaccessreviews -f - 2>&1",
        *(line for line in words.splitlines() if "can-i" in line),
    ]
    assert len(words) < 8000


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
def test_the_script_is_plain_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    command = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
    subprocess.run(command, input=script(OURS), text=True, check=True, capture_output=True)


def test_hostile_aliases_stay_words() -> None:
    registry = Registry("contoso.azurecr.io", frozenset({"a'b; rm -rf /"}))
    subprocess.run(["sh", "-n"], input=script(registry), text=True, check=True, capture_output=True)
    assert "-e 'a'\"'\"'b; rm -rf /'" in script(registry)


def real_world() -> ClusterState:
    """A cluster that holds every captured object."""
    cluster = ClusterState("aks-prod")
    for each in KINDS:
        page = json.loads(captured(f"list/{capture_of(each)}.json"))
        cluster.objects[str(each)] = [
            {"apiVersion": each.api_version, "kind": each.name, **item} for item in page["items"]
        ]
    return cluster


def nasty_world() -> ClusterState:
    """Spaces, line ends, image volumes, owners, odd statuses."""
    cluster = shop()
    spec: dict[str, Any] = {
        "containers": [{"name": "a", "image": f"{WEB}:1\n"}, {"name": "b"}],
        "initContainers": None,
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "model", "image": {"reference": f"{WEB}:model"}}],
    }
    template = {"metadata": {"name": "odd", "namespace": "shop"}, "spec": {"template": {"spec": spec}}}
    bad = {"containers": [{"name": "a", "image": "contoso.azurecr.io/Shop web:$(TAG)"}]}
    status = {"containerStatuses": [{"name": "a", "image": "sha256:1", "imageID": f"docker-pullable://x/y@{DIGEST}"}]}
    cluster.add(
        {"apiVersion": "apps/v1", "kind": "Deployment", **template},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad", "namespace": "shop"}, "spec": bad},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "odd", "namespace": "shop", "labels": None},
            "spec": spec,
            "status": status,
        },
        build.podtemplate("shop", "stored", [f"{WEB}:stored"]),
    )
    return cluster


@pytest.fixture(params=[real_world, nasty_world, shop], ids=lambda make: make.__name__)
def world(request: pytest.FixtureRequest) -> ClusterState:
    made: ClusterState = request.param()
    return made


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_both_ways_of_reading_find_the_same(world: ClusterState, kubectl: Any) -> None:
    world.kubectl = kubectl
    async with edge(world, registry=OURS) as at:
        direct, command = await at.read(Access.DIRECT), await at.read(Access.RUN_COMMAND)
    assert direct.uses
    assert set(command.uses) == set(direct.uses)
    assert set(command.blockers) == set(direct.blockers)
    assert command.objects == direct.objects


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"truncate_log_at": 600}, "512 kB"),
        ({"truncate_log_at": 40}, "start and one end marker"),
        ({"exit_code": 1}, "exit code 1"),
        ({"empty_log": True}, "its log is empty"),
        ({"prefix_line": "Warning: policy/v1beta1 PodSecurityPolicy is deprecated"}, "PodSecurityPolicy is deprecated"),
        ({"run_command_reason": "ImagePullBackoff"}, "ImagePullBackoff"),
        ({"disable_run_command": True}, "disabled"),
        ({"dead_apis": {"custom.metrics.k8s.io/v1beta1"}}, ""),
    ],
    ids=str,
)
async def test_a_spoilt_run_command_is_a_blocker(settings: dict[str, Any], words: str) -> None:
    async with edge(shop(private=True, **settings), registry=OURS) as at:
        found = await at.read()
    assert words in blockers(found)
    assert bool(found.blockers) == bool(words)


async def test_a_large_cluster_fits_into_a_log() -> None:
    """Replicas are one line: 3,000 pods of 300 workloads stay far below 512 kB."""
    cluster = ClusterState("aks-prod", private=True)
    for n in range(300):
        cluster.run(build.deployment("shop", f"web-{n}", [f"{WEB}:{n}"], replicas=10))
    async with edge(cluster, registry=OURS) as at:
        cluster.truncate_log_at = 128 * 1024
        found = await at.read()
    assert found.blockers == ()
    assert len({use.reference.tag for use in found.uses} - {None}) == 300
    assert found.objects == 300 * 12
