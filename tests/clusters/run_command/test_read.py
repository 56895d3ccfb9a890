"""Run commands: the script in real shells with the real kubectl and its stand-in, and every way a log can be spoilt."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import re
import shutil
import subprocess
from typing import Any, Literal

import pytest

from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP
from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.run_command.log import CommandResult
from acr_cleanup.clusters.run_command.read import read_result
from acr_cleanup.clusters.run_command.script import script
from acr_cleanup.clusters.targets import Access
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.run_command import run_command
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.cluster_objects import CORPUS, DIGEST, OURS, blockers, used
from tests.helpers.emulated_clusters import edge, shop

U = "\x1f"
# Where both would do, the real one: hundreds of calls of the stub take long.
KUBECTL: Literal["stub", "real"] = "stub" if shutil.which("kubectl") is None else "real"
WEB = "contoso.azurecr.io/shop/web"
KUBECTLS = [
    "stub",
    pytest.param(
        "real", marks=pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
    ),
]


# -- logs, without any shell -----------------------------------------------------------------------


def counts(**others: str) -> list[str]:
    """How each list ended, and three objects of each kind, unless told otherwise; a server that serves nothing else."""
    lines = [f"1 #{U}api-resources{U}0{U}", f"1 #{U}/apis{U}0{U}", f"1 r{U}pods{U}v1{U}Pod"]
    for each in (*KINDS, CONFIG_MAP):
        lines.append(f"1 #{U}{each}{U}0{U}")
        lines.append(others.get(each.resource, f"3 c{U}{each.api_version}{U}{each.name}{U}"))
    return lines


def pod_line(image: str = f"{WEB}:1", **metadata: Any) -> str:
    spec = {"containers": [{"name": "main", "image": image}]}
    fields = ["", "", "", json.dumps(metadata) if metadata else "", json.dumps(spec), "", ""]
    return "1 " + U.join(["p", "v1", "Pod", "shop", "web", *fields])


def block(*lines: str) -> list[str]:
    body = "\n".join(lines).encode()
    packed = base64.encodebytes(gzip.compress(body)).decode().splitlines()
    return [f"acr-cleanup begin 2 {hashlib.sha256(body).hexdigest()} {len(body)}", *packed, "acr-cleanup end"]


def read(logs: str, *, exit_code: int | None = 0, state: str = "Succeeded", reason: str = "") -> ClusterScan:
    return read_result(CommandResult(state, exit_code, logs, reason), "prod", OURS)


def whole(*more: str) -> str:
    return "\n".join(block(*counts(), pod_line(), *more)) + "\n"


def test_a_whole_log_is_read() -> None:
    found = read(whole())
    assert (used(found), found.blockers) == ({f"{WEB}:1"}, ())
    assert (found.objects, found.access) == (3 * len(KINDS) + 4, "run-command")
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
        lambda lines: [lines[0].replace(" 2 ", " 1 "), *lines[1:]],
        lambda lines: [lines[0][:-1], *lines[1:]],
        lambda lines: [lines[0].replace("begin 2 ", "begin 2 " + "0" * 8)[: len(lines[0])], *lines[1:]],
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
        "p",
        "1 p",
        f"x c{U}v1{U}Pod{U}",
        f"1 c{U}v1{U}Pod",
        pod_line() + U,
        pod_line().replace("Pod", "Secret"),
        pod_line().replace("{", "{{", 1),
        pod_line().replace("v1", "v2"),
        f"1 o{U}v1{U}ConfigMap{U}shop{U}[]",
        f"1 o{U}v1{U}ConfigMap{U}shop{U}7",
        f'1 o{U}v1{U}ConfigMap{U}shop{U}{{"metadata": {{}}',
        f"1 o{U}v1{U}ConfigMap{U}shop{U}" + "[" * 100_000,
        f"1 h{U}secrets{U}shop{U}x{U}{U}{U}",
        f"1 r{U}pods{U}{U}Pod",
        f"1 #{U}pods",
    ],
    ids=lambda line: line[:20],
)
def test_a_record_that_cannot_be_read_is_a_blocker_and_the_others_count(line: str) -> None:
    found = read("\n".join(block(*counts(), line, pod_line())))
    assert "cannot be read" in blockers(found)
    assert used(found) == {f"{WEB}:1"}


@pytest.mark.parametrize("key", [*map(str, KINDS), "configmaps", "api-resources", "/apis"])
def test_what_the_result_does_not_cover_is_a_blocker(key: str) -> None:
    """Of a kind of objects, one that names it."""
    lines = [line for line in counts() if line != f"1 #{U}{key}{U}0{U}"]
    (blocker,) = read("\n".join(block(*lines))).blockers
    assert blocker.kind == ("" if key in {"api-resources", "/apis"} else key)


def test_a_kind_that_is_served_and_was_not_listed_is_a_blocker() -> None:
    (blocker,) = read("\n".join(block(*counts(), f"1 r{U}rollouts{U}argoproj.io/v1alpha1{U}Rollout"))).blockers
    assert blocker.kind == "rollouts.argoproj.io"


def test_a_failure_is_never_taken_back() -> None:
    """Whatever comes after it: an object cannot make a list that failed a good one."""
    for lines in ([f"1 #{U}pods{U}1{U}boom", f"1 #{U}pods{U}0{U}"], [f"1 #{U}pods{U}0{U}", f"1 #{U}pods{U}1{U}boom"]):
        (blocker,) = read("\n".join(block(*counts(), *lines))).blockers
        assert (blocker.kind, "boom" in blocker.seen) == ("pods", True)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ('Error from server (Forbidden): pods is forbidden: User "x" cannot list', "pods", "ClusterRole"),
        ("error: You must be logged in to the server (Unauthorized)", "", "identity"),
        ("Error from server (ServiceUnavailable): the server is down", "pods", "Run again"),
        ('error: the server doesn\'t have a resource type "pods"', "pods", "Run again"),
    ],
)
def test_what_a_list_failed_with_is_a_blocker_with_its_remedy(text: str, kind: str, words: str) -> None:
    (blocker,) = read("\n".join(block(*counts(), f"1 #{U}pods{U}1{U}{text}"))).blockers
    assert (blocker.kind, text in blocker.seen, words in blocker.remedy) == (kind, True, True)


def test_a_kind_that_a_server_need_not_have_may_be_missing() -> None:
    text = 'error: the server doesn\'t have a resource type "podtemplates"'
    assert read("\n".join(block(*counts(), f"1 #{U}podtemplates{U}1{U}{text}"))).blockers == ()


RESOURCES = json.dumps(
    {"resources": [{"name": "things", "verbs": ["list"]}, {"name": "things/status", "verbs": ["get"]}]}
)


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        (1, "Error from server (ServiceUnavailable): no", "ServiceUnavailable"),
        (0, RESOURCES, "things.example.com"),
        (0, "<html>", "html"),
        (0, RESOURCES.replace("list", "create"), ""),
        (0, '{"resources":null}', ""),
    ],
)
def test_a_group_version_in_which_nothing_was_found_is_looked_at(code: int, text: str, words: str) -> None:
    """It may be down, or hold what kubectl did not list; if it holds nothing that can be listed, all is well."""
    found = read("\n".join(block(*counts(), f"1 d{U}example.com/v1{U}{code}{U}{text}")))
    assert {blocker.kind for blocker in found.blockers} == ({"example.com/v1"} if words else set())
    assert words in blockers(found)


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
    lines = counts(cronjobs=f"1 v{U}cronjobs.batch{U}{answer}")
    found = read("\n".join(block(*lines)))
    assert (found.blockers == ()) == believed
    assert believed or "cronjobs.batch" in blockers(found)


def test_image_names_may_hold_line_ends() -> None:
    """A template whose image was written as a YAML block ends in one."""
    found = read("\n".join(block(*counts(), pod_line(f"{WEB}:1\n"))))
    assert used(found) == {f"{WEB}:1"}


# -- the script ------------------------------------------------------------------------------------


def test_the_script_only_reads() -> None:
    words = script(OURS, 3)
    calls = re.findall(r"(?:\bk|kubectl) ([a-z][a-z-]*(?: --raw \S+)?)", words)
    assert set(calls) - {"get", "get --raw /apis", 'get --raw "/apis/$v"'} == {
        "api-resources",
        "auth",
        "create --raw /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    }
    assert len(words) < 20_000
    assert words.isascii()
    assert words.replace("\n", "").isprintable()


def test_secrets_are_asked_for_only_if_helms_history_is() -> None:
    assert "history secrets" not in script(OURS)
    assert "history secrets --field-selector=type=helm.sh/release.v1" in script(OURS, 1)


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
def test_the_script_is_plain_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    command = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
    subprocess.run(command, input=script(OURS), text=True, check=True, capture_output=True)


def test_hostile_aliases_stay_words() -> None:
    registry = Registry("contoso.azurecr.io", frozenset({"a'b; rm -rf /"}))
    subprocess.run(["sh", "-n"], input=script(registry), text=True, check=True, capture_output=True)
    assert "rm -rf" not in script(registry)


def real_world() -> ClusterState:
    """A cluster that holds every captured object, custom resources and Helm's Secrets included."""
    cluster = ClusterState("aks-prod")
    for path in sorted((CORPUS / "responses" / "list").glob("*.json")):
        whole = re.fullmatch(r"(?:[a-z0-9.]+_)?v[a-z0-9]+_([a-z]+)(?:\.labelSelector)?\.json", path.name)
        if whole is None:
            continue
        page = json.loads(path.read_bytes())
        group = page["apiVersion"].rpartition("/")[0]
        cluster.objects[f"{whole[1]}.{group}" if group else whole[1]] = [
            {"apiVersion": page["apiVersion"], "kind": page["kind"].removesuffix("List"), **item}
            for item in page["items"]
        ]
    assert {"rollouts.argoproj.io", "configmaps", "secrets", *map(str, KINDS)} <= set(cluster.objects)
    return cluster


def random_world(seed: int) -> ClusterState:
    """Workloads, custom resources and ConfigMaps whose texts are made of pieces that are hard to part from each other."""
    chance = random.Random(seed)
    pieces = [
        f"{WEB}:{{n}}", "CONTOSO.azurecr.io/shop/up:{n}", "contoso.westeurope.geo.azurecr.io/shop/geo:{n}", WEB, "nginx:1",
        "contoso.azurecr.io", "contoso.azurecr.io.evil.example/x:1",
        '"', "\\", '\\"', '":"', '","', '"}],', "\n", "\t", "\x01", "\x1f",
        "é", "{{ .tag }}", "$(TAG)", "<b>&", "[]", "{}", ":", ",", "!", "1.10", "managedFields", '"name":"x"', "'",
        "kube-api-access-abcde",
        '{"image":"contoso.azurecr.io/shop/in-json:{n}"}', "#", " ", "",
    ]  # fmt: skip
    keys = [
        "image",
        "tag",
        "repository",
        "registry",
        "name",
        "value",
        "nodeName",
        "data",
        "x/y",
        "version",
        "IMAGE_TAG",
        "a b",
    ]

    def text() -> str:
        parts = chance.choices(pieces, k=chance.randint(0, 4))
        return "".join(parts).replace("{n}", str(chance.randint(0, 99)))

    def tree(depth: int = 0) -> Any:
        match chance.randint(0, 6 if depth < 3 else 3):
            case 0 | 1 | 2:
                return text()
            case 3:
                return chance.choice([None, True, 7, 1.5, 10**15, -0.25])
            case 4:
                return [tree(depth + 1) for _ in range(chance.randint(0, 3))]
            case _:
                return {chance.choice(keys): tree(depth + 1) for _ in range(chance.randint(0, 4))}

    def dress(spec: dict[str, Any]) -> None:
        for container in spec["containers"]:
            container["env"] = [{"name": chance.choice([*keys, text()]), "value": text()} for _ in range(3)]
            container["args"] = [text() for _ in range(2)]
        spec["volumes"] = [{"name": "m", "image": {"reference": text()}}, {"name": "kube-api-access-x1y2z"}]

    cluster = ClusterState("aks-prod")
    for n in range(4):
        name = f"w{n}"
        images = [chance.choice([f"{WEB}:{n}", "nginx:1", text()])]
        made = cluster.run(
            chance.choice([build.deployment, build.statefulset])("shop", name, images, replicas=2), history=[[text()]]
        )
        made += cluster.run(build.cronjob("shop", name, images), build.job("shop", f"j{n}", images))
        for obj in made:
            obj["metadata"]["annotations"] = {chance.choice(keys): text() for _ in range(3)}
            if obj["kind"] == "Pod":
                dress(obj["spec"])
                obj["status"]["message"] = text()
            elif obj["kind"] in {"Deployment", "ReplicaSet", "StatefulSet"}:
                dress(obj["spec"]["template"]["spec"])
        cluster.add(build.configmap("shop", name, {f"k{m}": text() for m in range(3)}))
        cluster.add(build.custom_object("example.com/v1", "Thing", "shop", name, {"spec": tree(), "more": tree()}))
        cluster.add(build.custom_object("other.example/v1beta1", "Whole", None, name, {"x": tree()}))
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


def manifest(*images: str) -> str:
    """What a chart renders."""
    return "\n---\n".join(f"kind: Deployment\nspec:\n  image: {image}" for image in images)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def rich_world() -> ClusterState:
    """Everything that may name an image, beside workloads and outside of their image fields."""
    b64text = f"image: {WEB}:packed".encode()
    cluster = ClusterState("aks-prod")
    web = build.deployment("shop", "web", [f"{WEB}:1"], replicas=3)
    main = web["spec"]["template"]["spec"]["containers"][0]
    main["env"] = [
        {"name": "ACR", "value": "contoso.azurecr.io"},
        {"name": "WORKER", "value": "$(ACR)/shop/worker:1"},
        {"name": "SIDE", "value": "contoso.azurecr.io/shop/side"},
        {"name": "OPTIONS", "value": "--tag 7"},
        {"name": "SIDECAR", "value": f"{WEB}:sidecar"},
        {"name": "AGENT_REPOSITORY", "value": "contoso.azurecr.io/shop/agent"},
        {"name": "AGENT_TAG", "value": "7.1"},
        {"name": "PASSWORD", "value": "correct horse"},
        {"name": "FROM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    main["args"] = [
        "--helper-image=CONTOSO.azurecr.io/shop/helper:2",
        "--proxy-image",
        "contoso.azurecr.io/shop/proxy",
        "x",
    ]
    main["command"] = ["sh", "-c", f'echo "pull {WEB}:\\"quoted\\"" && run {WEB}:script\\n']
    web["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"image": f"{WEB}:applied", "q": 'a"b\\'}),
        "note": f"was {WEB}:note",
    }
    made = cluster.run(web, history=[[f"{WEB}:0"]])
    for obj in made:
        if obj["kind"] == "Pod":
            obj["spec"]["containers"][0] |= {key: main[key] for key in ("env", "args", "command")}
            obj["metadata"]["annotations"] = {
                "cni.projectcalico.org/podIP": obj["metadata"]["name"],
                "x": f"{WEB}:note",
            }
            obj["status"]["message"] = f'Back-off pulling image "{WEB}:waiting"'
    cluster.add(
        build.configmap("shop", "settings", {"values.yaml": "image:\n  repository: contoso.azurecr.io/shop/job\n  tag: '1.10'\n"}),
        build.configmap("shop", "script", {"run.sh": f'docker run {WEB}:from-script -t "x"\n'}),
        build.configmap("shop", "policy", {"allow": "contoso.azurecr.io/*", "v2": "https://contoso.azurecr.io/v2/"}),
        build.configmap("shop", "template", {"x": "contoso.azurecr.io/{{ .app }}:1", "y": f"{WEB}-open:$(TAG)"}),
        {**build.configmap("shop", "binary", {}), "binaryData": {"a.txt": b64(b"\xff\0"), "b.gz": b64(gzip.compress(b64text))}},
        {**build.configmap("shop", "plain-binary", {}), "binaryData": {"x": b64(b"image: CONTOSO.azurecr.io/shop/encoded:1")}},
        {**build.configmap("shop", "other-binary", {}), "binaryData": {"x": b64(b"image: nginx"), "y": b64(bytes(range(256)))}},
        build.configmap("shop", "foreign", {"image": "docker.io/library/nginx:1"}),
        *(
            build.custom_object("argoproj.io/v1alpha1", "Rollout", "shop", f"r{n}", {"template": {"image": f"{WEB}:r{n}"}})
            for n in range(3)
        ),
        build.custom_object(
            "helm.toolkit.fluxcd.io/v2", "HelmRelease", "flux", "hr",
            {"values": {"image": {"repository": "contoso.azurecr.io/shop/flux", "tag": 1.5}, "none": None}},
        ),
        build.custom_object("example.com/v1", "Big", None, "whole-cluster", {"n": 3, "images": [f"{WEB}:c", "x"]}),
        build.custom_object("example.com/v1", "Silent", None, "nothing", {"n": 3}),
    )  # fmt: skip
    return cluster


def helm_world() -> ClusterState:
    """Releases with many revisions, one of whose deployed is not the newest; one that cannot be decoded; one of others."""
    cluster = rich_world()
    for n in range(1, 12):
        status = "deployed" if n == 3 else "superseded"
        cluster.add(build.helm_release("shop", "web", n, manifest(f"{WEB}:helm-{n}"), status=status))
        cluster.add(build.helm_release("shop", "other", n, manifest("docker.io/library/nginx:1"), status="deployed"))
    values = {"image": {"registry": "contoso.azurecr.io", "repository": "shop/values", "tag": "v1"}}
    cluster.add(
        build.helm_release("ops", "web", 1, manifest(f"{WEB}:ops"), hooks=[manifest(f"{WEB}:hook")], values=values)
    )
    cluster.add(build.helm_release("ops", "stored", 2, manifest(f"{WEB}:in-configmap"), kind="ConfigMap"))
    escaped = 'image: "\\x63ontoso.azurecr.io/shop/web:escaped"'
    cluster.add(build.helm_release("ops", "escaped", 1, escaped))
    broken = build.helm_release("ops", "broken", 1, "")
    broken["data"]["release"] = base64.b64encode(base64.b64encode(b"\x1f\x8b\x08broken")).decode()
    unlabelled = build.helm_release("ops", "unlabelled", 4, manifest(f"{WEB}:unlabelled"))
    del unlabelled["metadata"]["labels"]["version"]
    cluster.add(broken, unlabelled)
    return cluster


@pytest.fixture(params=[real_world, nasty_world, rich_world, shop], ids=lambda make: make.__name__)
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
    assert set(command.notes) == set(direct.notes)
    assert command.objects == direct.objects


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 37])
async def test_both_ways_of_reading_find_the_same_in_any_cluster(seed: int) -> None:
    world = random_world(seed)
    world.kubectl = "real" if seed % 2 and shutil.which("kubectl") else "stub"
    async with edge(world, registry=OURS) as at:
        direct, command = await at.read(Access.DIRECT), await at.read(Access.RUN_COMMAND)
    assert set(command.uses) == set(direct.uses)
    assert set(command.blockers) == set(direct.blockers)
    assert set(command.notes) == set(direct.notes)
    assert command.objects == direct.objects


@pytest.mark.parametrize("revisions", [1, 3])
async def test_both_ways_of_reading_find_the_same_in_helms_history(revisions: int) -> None:
    world = helm_world()
    world.kubectl = KUBECTL
    async with edge(world, registry=OURS) as at:
        direct = await at.read(Access.DIRECT, helm_history=revisions)
        command = await at.read(Access.RUN_COMMAND, helm_history=revisions)
    assert {f"{WEB}:helm-3", f"{WEB}:helm-11", f"{WEB}:in-configmap", f"{WEB}:unlabelled"} <= used(command)
    assert f"{WEB}:helm-4" not in used(command)
    assert set(command.uses) == set(direct.uses)
    assert {(blocker.call, blocker.kind) for blocker in command.blockers} == {
        (blocker.call, blocker.kind) for blocker in direct.blockers
    }
    assert "ops/sh.helm.release.v1.broken.v1" in blockers(command)
    assert command.objects == direct.objects


async def test_what_is_nobodys_business_does_not_travel() -> None:
    """Neither the value of a variable that names no image, nor an object that does not name our registry."""
    world = rich_world()
    async with edge(world, registry=OURS) as at:
        await at.read(Access.RUN_COMMAND)
        result = await run_command(at.world, world, at.emulator.authority, command=script(OURS))
    lines = result.logs.splitlines()
    body = gzip.decompress(base64.b64decode("".join(lines[1:-1]))).decode()
    assert f"{WEB}:sidecar" in body
    assert "correct horse" not in body
    assert "nginx" not in body


FAULTS: dict[str, dict[str, Any]] = {
    "forbidden kinds": {"forbidden": {"cronjobs.batch", "rollouts.argoproj.io", "configmaps", "podtemplates"}},
    "an empty answer in place of a refusal": {"hidden": {"rollouts.argoproj.io", "jobs.batch"}},
    "an aggregated API that is down": {"dead_apis": {"custom.metrics.k8s.io/v1beta1", "x.example.com/v1"}},
    "an API that holds no images and is down": {"dead_apis": {"metrics.k8s.io/v1beta1"}},
}


@pytest.mark.parametrize("settings", FAULTS.values(), ids=FAULTS)
async def test_both_ways_of_reading_miss_the_same(settings: dict[str, Any]) -> None:
    """And say of which kind it is, so that the same waiver serves both."""
    world = rich_world()
    world.kubectl = KUBECTL
    for name, value in settings.items():
        setattr(world, name, value)
    async with edge(world, registry=OURS) as at:
        direct, command = await at.read(Access.DIRECT), await at.read(Access.RUN_COMMAND)
        assert set(command.uses) == set(direct.uses)
        missed = {blocker.kind for blocker in direct.blockers}
        assert {blocker.kind for blocker in command.blockers} == missed
        assert {blocker.call for blocker in command.blockers} == {blocker.call for blocker in direct.blockers}
        assert "" not in missed
    waived = command.waive(missed)
    assert waived.blockers == ()
    assert {blocker.kind for blocker in waived.waived} == missed


async def test_a_cluster_that_may_not_be_read_at_all_blocks_kind_by_kind() -> None:
    async with edge(shop(forbidden={"*"}), registry=OURS) as at:
        found = await at.read(Access.RUN_COMMAND)
    assert {blocker.kind for blocker in found.blockers} >= {*map(str, KINDS), "configmaps"}


async def test_a_list_that_fails_once_is_read_again() -> None:
    cluster = rich_world()
    cluster.page_cap, cluster.expire_continue = 1, {"pods": 1, "configmaps": 1, "rollouts.argoproj.io": 2}
    async with edge(cluster, registry=OURS) as at:
        command = await at.read(Access.RUN_COMMAND)
        direct = await at.read(Access.DIRECT)
    assert command.blockers == ()
    assert set(command.uses) == set(direct.uses)


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
        ({"dead_apis": {"custom.metrics.k8s.io/v1beta1"}}, "custom.metrics.k8s.io/v1beta1"),
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
    assert found.objects == 300 * 12 + 1  # and their namespace
