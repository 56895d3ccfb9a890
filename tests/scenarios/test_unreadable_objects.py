"""What we cannot see, we keep: every way in which a cluster, or a part of one, may stay unread."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from acr_cleanup.emulator.kubernetes.object_parts import metadata
from acr_cleanup.emulator.roles import CLUSTERS
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import REPOSITORY, Scenario, Stage, Table, always, build, impatient, play, staged

world = Table()
BOTH = ("1.0", "1.1")
GONE = {"code": 3, "says": ("production",)}

# -- lists ----------------------------------------------------------------------------------------------------


def pages(stage: Stage, count: int = 6) -> None:
    stage.cluster.page_cap = 1
    for number in range(count):
        stage.pod(stage.image("2.0"), labels={"n": str(number)})
    stage.pod(stage.image("1.0"))


@world("what stands on the last of many pages is found", "1.1")
def _(stage: Stage) -> None:
    pages(stage)


@world("a list that expires once is read again from its start", "1.1")
def _(stage: Stage) -> None:
    pages(stage)
    stage.cluster.expire_continue["pods"] = 1


@world("a list that always expires blocks", code=3, says=("production", "list pods", "410"))
def _(stage: Stage) -> None:
    pages(stage)
    stage.cluster.expire_continue["pods"] = 10_000


RESOURCES = (
    "pods", "replicationcontrollers", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps",
    "jobs.batch", "cronjobs.batch", "controllerrevisions.apps", "podtemplates", "configmaps",
)  # fmt: skip
for resource in RESOURCES:

    @world(f"not being allowed to list {resource} blocks", code=3, says=("production", resource, "403"))
    def _(stage: Stage, resource=resource) -> None:  # type: ignore[no-untyped-def]
        stage.cluster.forbidden.add(resource)


@world("not being allowed to list secrets blocks nothing: they are not read", *BOTH)
def _(stage: Stage) -> None:
    stage.cluster.forbidden.add("secrets")


@world("not being allowed to list secrets blocks whoever asks for Helm's history", code=3, says=("secrets", "403"))
def _(stage: Stage) -> None:
    stage.cluster.forbidden.add("secrets")
    stage.settings(helm_history=3)


# -- custom resources and discovery -----------------------------------------------------------------------------


def rollout(stage: Stage, tag: str = "1.0") -> None:
    """A custom resource that names an image of ours where no built-in kind would."""
    meta = metadata("Rollout", "shop", "canary")
    spec = {"canary": {"analysis": {"image": stage.image(tag)}}}
    stage.cluster.add({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": meta, "spec": spec})


ROLLOUTS = "rollouts.argoproj.io"
DEAD = "custom.metrics.k8s.io/v1beta1"


@world("not being allowed to list a custom resource blocks", code=3, says=("production", ROLLOUTS, "403", "waive"))
def _(stage: Stage) -> None:
    rollout(stage)
    stage.cluster.forbidden.add(ROLLOUTS)


@world("a custom resource that was given up by name blocks nothing, and is told of", *BOTH, says=(ROLLOUTS, "waived"))
def _(stage: Stage) -> None:
    rollout(stage)
    stage.cluster.forbidden.add(ROLLOUTS)
    stage.settings(waive=[f"production: {ROLLOUTS}"])


@world("an empty answer for a custom resource in place of a refusal blocks", code=3, says=(ROLLOUTS, "empty"))
def _(stage: Stage) -> None:
    rollout(stage)
    stage.cluster.hidden.add(ROLLOUTS)


@world("a custom resource whose list fails blocks", code=3, says=("production", ROLLOUTS, "500"))
def _(stage: Stage) -> None:
    rollout(stage)
    stage.fault(service=stage.service, path="/rollouts", status=500, body="conversion webhook failed")


@world("a custom resource whose preferred version fails is read in the other", "1.1")
def _(stage: Stage) -> None:
    stage.cluster.add(build.definition("argoproj.io", "Rollout", "rollouts", versions=("v1", "v1alpha1")))
    rollout(stage)
    stage.fault(service=stage.service, path="/v1/rollouts", status=500, body="conversion webhook failed")


@world("an API whose backend is gone blocks by its name", code=3, says=("production", DEAD, "503", "apiservice"))
def _(stage: Stage) -> None:
    stage.cluster.dead_apis.add(DEAD)


@world("an API whose backend is gone blocks nothing when it is given up", *BOTH, says=(DEAD, "waived"))
def _(stage: Stage) -> None:
    stage.cluster.dead_apis.add(DEAD)
    stage.settings(waive=[f"production: {DEAD}"])


@world("a cluster without a metrics server blocks nothing", *BOTH)
def _(stage: Stage) -> None:
    stage.cluster.dead_apis.add("metrics.k8s.io/v1beta1")


for words, kind in {
    "refused": {"status": 403, "body": {"kind": "Status", "message": "forbidden"}},
    "broken": {"status": 500, "body": "no"},
    "cut short": {"truncate": 0.5},
    "malformed": {"malformed": True},
    "a gateway's page": {"status": 200, "body": "<html>Sign in</html>"},
}.items():

    @world(f"discovery that is {words} blocks", **GONE)
    def _(stage: Stage, kind=kind) -> None:  # type: ignore[no-untyped-def]
        stage.fault(service=stage.service, path="^/apis$", **kind)


@world("an empty answer in place of a refusal blocks", code=3, says=("production", "cronjobs.batch", "empty"))
def _(stage: Stage) -> None:
    stage.cluster.hidden.add("cronjobs.batch")


@world("a cluster that may not be read at all blocks", code=3, says=("production", "403"))
def _(stage: Stage) -> None:
    stage.cluster.forbidden.add("*")


# -- the API server -------------------------------------------------------------------------------------------

for status in (429, 500, 503):

    @world(f"an API server that answers {status} once is asked again", "1.1")
    def _(stage: Stage, status=status) -> None:  # type: ignore[no-untyped-def]
        stage.pod(stage.image("1.0"))
        stage.fault(
            service=stage.service, path="/pods", status=status, times=1, headers={"Retry-After": "1"}, body="no"
        )

    @world(f"an API server that always answers {status} blocks", code=3, says=("production", "list pods", str(status)))
    def _(stage: Stage, status=status) -> None:  # type: ignore[no-untyped-def]
        stage.fault(service=stage.service, path="/pods", status=status, body="no")


@world("an API server that does not know our token blocks", code=3, says=("production", "401"))
def _(stage: Stage) -> None:
    stage.fault(service=stage.service, status=401, body={"kind": "Status", "message": "Unauthorized"})


for words, kind in {"cut off": {"reset": True}, "cut short": {"truncate": 0.5}}.items():

    @world(f"an answer of the API server that is {words} once is asked for again", "1.1")
    def _(stage: Stage, kind=kind) -> None:  # type: ignore[no-untyped-def]
        stage.pod(stage.image("1.0"))
        stage.fault(service=stage.service, path="/pods", times=1, **kind)

    @world(f"an answer of the API server that is always {words} blocks", **GONE)
    def _(stage: Stage, kind=kind) -> None:  # type: ignore[no-untyped-def]
        stage.fault(service=stage.service, path="/cronjobs", **kind)


@world("an answer of the API server that is no JSON blocks", **GONE)
def _(stage: Stage) -> None:
    stage.fault(service=stage.service, path="/jobs", malformed=True)


for words, body in {
    "another kind": {"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": []},
    "no items": {"kind": "PodList", "apiVersion": "v1", "metadata": {}},
    "a gateway's page": "<html>Sign in</html>",
    "an object that is none": {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": ["pod"]},
    "the same page for ever": {
        "kind": "PodList", "apiVersion": "v1", "metadata": {"continue": "again"}, "items": [{"metadata": {}}],
    },
    "items that remain": {
        "kind": "PodList", "apiVersion": "v1", "metadata": {"remainingItemCount": 7}, "items": [{"metadata": {}}],
    },
}.items():  # fmt: skip

    @world(f"an API server that answers with {words} blocks", code=3, says=("production", "list pods"))
    def _(stage: Stage, body=body) -> None:  # type: ignore[no-untyped-def]
        stage.fault(service=stage.service, path="/api/v1/pods", status=200, body=body)


@world(
    "an API server that sends us elsewhere blocks, and we do not go", code=3, says=("redirected to elsewhere.example",)
)
def _(stage: Stage) -> None:
    stage.fault(service=stage.service, status=302, headers={"Location": "https://elsewhere.example/api/v1/pods"})


@world("an API server that cannot be reached blocks", **GONE)
def _(stage: Stage) -> None:
    stage.cluster.reachable = False
    stage.fault(service=stage.service, reset=True)


# -- ARM ------------------------------------------------------------------------------------------------------


@world("a stopped cluster blocks", code=3, says=("production", "stopped", "az aks start"))
def _(stage: Stage) -> None:
    stage.cluster.power_state = "Stopped"


for action, role in {"read": "Reader", "listClusterUserCredential/action": "Cluster User Role"}.items():

    @world(f"not being allowed {action} names the role", code=3, says=("production", "403", role))
    def _(stage: Stage, action=action) -> None:  # type: ignore[no-untyped-def]
        stage.world.access.withhold(f"{CLUSTERS}/{action}", stage.cluster.resource_id)


for status in (429, 500, 503):

    @world(f"ARM that answers {status} once is asked again", *BOTH)
    def _(stage: Stage, status=status) -> None:  # type: ignore[no-untyped-def]
        stage.fault(service="arm", status=status, times=1, headers={"Retry-After": "1"}, body={})

    @world(f"ARM that always answers {status} blocks", code=3, says=("production", str(status)))
    def _(stage: Stage, status=status) -> None:  # type: ignore[no-untyped-def]
        stage.fault(service="arm", path="listClusterUserCredential", status=status, body={})


for path in ("managedClusters/aks-prod$", "listClusterUserCredential"):
    for words, kind in {
        "cut off": {"reset": True},
        "cut short": {"truncate": 0.4},
        "spoilt": {"malformed": True},
    }.items():

        @world(f"an answer of ARM to {path[:15]} that is always {words} blocks", **GONE)
        def _(stage: Stage, path=path, kind=kind) -> None:  # type: ignore[no-untyped-def]
            stage.fault(service="arm", path=path, **kind)


for name, text in {"no kubeconfig": None, "an empty one": "", "one that is no YAML": "{", "a list": "- 1"}.items():

    @world(f"credentials with {name} block", **GONE)
    def _(stage: Stage, text=text) -> None:  # type: ignore[no-untyped-def]
        body = {"kubeconfigs": [] if text is None else [{"name": "clusterUser", "value": _base64(text)}]}
        stage.fault(service="arm", path="listClusterUserCredential", status=200, body=body)


def _base64(text: str) -> str:
    import base64  # noqa: PLC0415

    return base64.b64encode(text.encode()).decode()


for auth in ("certificate", "token", "entra", "entra-exec"):

    @world(f"a cluster that lets its users in by {auth} is read", "1.1")
    def _(stage: Stage, auth=auth) -> None:  # type: ignore[no-untyped-def]
        stage.cluster.auth = auth
        stage.pod(stage.image("1.0"))


@world("one bad cluster of thirty blocks", code=3, says=("c17", "500"))
def _(stage: Stage) -> None:
    for number in range(29):
        stage.another(f"c{number}")
    stage.fault(service="kubernetes/aks-c17", path="/jobs", status=500, body="no")


@world("clusters of several subscriptions are all read", "1.1")
def _(stage: Stage) -> None:
    other = stage.another("other", subscription_id="44444444-4444-4444-4444-444444444444", resource_group="rg-other")
    other.add(build.cronjob("a", "nightly", [stage.image("1.0")]))


# -- kubeconfig -----------------------------------------------------------------------------------------------


def kubeconfig(stage: Stage, user: dict[str, object] | None = None) -> dict[str, object]:
    """A second cluster, reached by a kubeconfig with relative paths and two contexts; the current one is wrong."""
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


for _face in ("one face", "the other face"):

    @world(f"a kubeconfig means paths beside it, the context named, and no proxy to this machine, on {_face}", "1.1")
    def _(stage: Stage) -> None:
        kubeconfig(stage)


@world("a kubeconfig's current context is used when none is named", code=3, says=("theirs", "127.0.0.1:1"))
def _(stage: Stage) -> None:
    del kubeconfig(stage)["context"]


@world("a context that is not there blocks", code=3, says=("theirs", "left", "right"))
def _(stage: Stage) -> None:
    kubeconfig(stage)["context"] = "left"


@world("a program that a kubeconfig names is never run", code=3, says=("theirs", "not run"))
def _(stage: Stage) -> None:
    canary = stage.tool.folder / "canary"
    canary.write_text(f"#!/bin/sh\ntouch {stage.tool.folder}/ran\n")
    canary.chmod(0o755)
    program = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(canary), "interactiveMode": "Never"}
    kubeconfig(stage, {"exec": program})


@world("a kubelogin that lies in a folder of its own is not run either, and our login takes its place", "1.1")
def _(stage: Stage) -> None:
    canary = stage.tool.folder / "kubelogin"
    canary.write_text(f"#!/bin/sh\ntouch {stage.tool.folder}/ran\n")
    canary.chmod(0o755)
    arguments = ["get-token", "--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630"]
    program = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": str(canary), "args": arguments}
    kubeconfig(stage, {"exec": program})
    stage.world.clusters["theirs"].auth = "entra-exec"


# -- run command ----------------------------------------------------------------------------------------------


def private(stage: Stage, **knobs: object) -> None:
    stage.cluster.private = True
    for knob, value in knobs.items():
        setattr(stage.cluster, knob, value)


@world("a private cluster that cannot be reached is read by run command", "1.1")
def _(stage: Stage) -> None:
    private(stage, auth="entra-exec")
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=stage.digest("1.0"))])
    if stage.world.face == "direct":
        stage.fault(service=stage.service, path="^/version", reset=True)


FLAWS: dict[str, tuple[dict[str, object], str]] = {
    "disabled": ({"disable_run_command": True}, "disabled"),
    "never-run": ({"run_command_reason": "ImagePullBackOff"}, "ImagePullBackOff"),
    "refused": ({}, "runcommand/action"),
    "cut": ({"truncate_log_at": 400}, "cut"),
    "failing": ({"exit_code": 1, "truncate_log_at": 0}, "exit code 1"),
    "warned": ({"prefix_line": "Warning: v1 is deprecated"}, "deprecated"),
    "hiding": ({"hidden": {"jobs.batch"}}, "jobs.batch"),
}


async def test_every_flaw_of_a_run_command_blocks_by_the_name_of_its_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one world, for a run command starts a dozen processes here."""
    impatient(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        for key, (knobs, _) in FLAWS.items():
            stage.another(key, private=True, **knobs)
        refused = stage.world.clusters["refused"].resource_id
        stage.world.access.withhold(f"{CLUSTERS}/runcommand/action", refused)
        ran = await stage.tool.apply()

        always(ran, stage)
        assert ran.code == 3
        assert {each["where"] for each in ran.blockers} == FLAWS.keys()
        for key, (_, words) in FLAWS.items():
            assert any(words in " ".join(each.values()) for each in ran.blockers if each["where"] == key)
        assert ran.planned == {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}


@pytest.mark.parametrize(("scenario", "face"), world.parameters())
async def test_unseen(scenario: Scenario, face: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)

    assert not (tmp_path / "ran").exists(), "a program was run that a kubeconfig names"
