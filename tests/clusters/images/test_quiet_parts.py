"""Parts of workloads that name nothing are read once, and the findings are those of reading every part."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.object_texts import QuietMapping
from acr_cleanup.clusters.images.pod_specs import KINDS, POD, Findings, Kind, image_uses
from acr_cleanup.clusters.images.quiet_parts import QuietParts
from tests.helpers.cluster_objects import OURS

HOST = OURS.login_server
DIGEST = "0123456789abcdef" * 4
NAMES = Names.of(
    OURS,
    ["shop/web", "shop/api", "kubevirt/virt-launcher", "hub/library/nginx", "env", "mesh/proxy-slim"],
    {"docker.io": "hub"},
)
DEPLOYMENT = next(kind for kind in KINDS if kind.name == "Deployment")
CRON_JOB = next(kind for kind in KINDS if kind.name == "CronJob")
REVISION = next(kind for kind in KINDS if kind.name == "ControllerRevision")

keys = st.sampled_from(
    [
        "name", "value", "image", "key", "path", "default", "env", "args", "command", "registry", "repository",
        "tag", "imageTag", "version", "TAG", "IMAGE_TAG", "imagePath", "chart", "labels", "annotations", "metadata",
        "status", "spec", "data", "template", "containers", "volumes", "selector", "matchFields", "claimName", "uid",
        "kind", "web", "reference", "conditions", "nodeName", "app.kubernetes.io/version", "restartPolicy",
        "tolerations", "resources", "ports",
    ]
)  # fmt: skip
texts = st.sampled_from(
    [
        "", "1.2.3", "v1.2.3", "canary", "a1b2c3d", "distroless", "12", "TAG", "IMAGE_TAG", "image.tag", "ClusterFirst",
        "/etc/config", "web", "web:1.2.3", "shop/web", f"{HOST}/shop/web", f"{HOST}/shop/api:canary", HOST, "kubevirt",
        f"oci://{HOST}", f"{HOST}/kubevirt", "docker.io/library/nginx:1", "nginx", "mesh/proxy-", "$(REGISTRY)/$NAME:canary",
        "web:{{ .tag }}", f"sha256:{DIGEST}", DIGEST, DIGEST.upper(), "d2ViOmNhbmFyeSAxLjIuMw==", "shop\\u002fweb:1.2.3",
        '{"image": "web", "tag": "canary"}', "image: web\ntag: canary\n", f"{HOST}/UPPER/x", "see web.", "api\n", "x-web",
        "kube-api-access-x2x9k", "password", "~1.2", "ghcr.io/x/y:1.2.3", "linkerd/web@1.2.3", "contoso.westeurope.geo.azurecr.io",
    ]
)  # fmt: skip
scalars = texts | st.sampled_from([None, True, 0, 1.25, 8080])
# Each counts only together with a name or our host elsewhere in the object.
halves = st.sampled_from(
    [
        {"matchLabels": {"version": "1.2.3"}}, {"imageTag": "canary"}, [{"name": "IMAGE_TAG", "value": "canary"}],
        {"imagePath": "kubevirt"}, {"name": "IMAGE_TAG", "value": "canary"}, {"webImage": {"tag": "canary"}}, {"tag": "1.2.3"},
        {"containers": [{"image": "ghcr.io/x/y:1"}]},
    ]
)  # fmt: skip
values = halves | st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=6
)
containers = st.lists(st.dictionaries(keys, values, max_size=5) | values, max_size=2)
images = st.sampled_from([f"{HOST}/shop/web", f"{HOST}/shop/api:1", "nginx", "ghcr.io/x/y:1"])
specs = st.builds(
    lambda spec, image, fields, own, volumes: (
        spec | {"containers": [{"name": "main", "image": image, **fields}, *own], "volumes": volumes}
    ),
    st.dictionaries(keys, values, max_size=4),
    images,
    st.dictionaries(keys, values, max_size=3),
    containers,
    containers,
)
named = st.dictionaries(st.sampled_from(["image", "registry", "app"]), st.sampled_from(["shop/web", "web", HOST]))
metadata = st.fixed_dictionaries(
    {"name": texts, "labels": st.dictionaries(keys, texts, max_size=2), "annotations": named}
)


def placed(spec: Any, kind: Kind) -> dict[str, Any]:
    for key in reversed(kind.pod_spec):
        spec = {key: spec}
    return dict(spec)


def said(findings: Findings) -> dict[str, Any]:
    """The findings in a form in which the order of words, chance in a set, does not matter."""
    mentions = [
        (m.workload, m.names, set(m.words.split()), None if m.letters is None else set(m.letters.split()), m.versions)
        for m in findings.mentions
    ]
    fields = ("uses", "blockers", "notes", "digests", "foreign")
    return {"mentions": mentions, **{name: getattr(findings, name) for name in fields}}


@given(st.lists(specs, min_size=1, max_size=3), metadata, st.sampled_from([POD, DEPLOYMENT, CRON_JOB, REVISION]))
def test_findings_are_those_of_reading_every_part(pod_specs: list[Any], about: dict[str, Any], kind: Kind) -> None:
    parts = QuietParts(NAMES)
    objects = [json.dumps({"metadata": about, "status": {}} | placed(spec, kind)).encode() for spec in pod_specs]
    # The third time, the parts are known.
    for data in objects * 3:
        whole = image_uses(msgspec.json.decode(data), kind, "prod", NAMES)
        assert said(image_uses(parts.decode(data), kind, "prod", NAMES)) == said(whole)


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "main", "image": f"{HOST}/shop/web", **fields}


def decoded(*objects: Any) -> Any:
    """The last of these objects, each seen three times."""
    parts = QuietParts(NAMES)
    return [parts.decode(json.dumps(obj).encode()) for obj in objects for _ in range(3)][-1]


def test_words_of_a_quiet_part_count() -> None:
    """A tag in a variable belongs to a name elsewhere in the object."""
    obj = decoded(placed({"containers": [container(args=["--level", "1.2.3"])]}, DEPLOYMENT))
    quiet = obj["spec"]["template"]["spec"]["containers"][0]
    assert isinstance(quiet, QuietMapping)
    assert quiet.own == ("name", "image")
    (mentions,) = image_uses(obj, DEPLOYMENT, "prod", NAMES).mentions
    assert b"1.2.3" in mentions.words.split()


def test_part_is_shared_by_containers_of_other_names() -> None:
    probe = {"livenessProbe": {"httpGet": {"path": "/healthz", "port": 80}}}
    seen = [container(**probe), container(**probe)]
    other = {"name": "other", "image": f"{HOST}/shop/api:2", **probe}
    obj = decoded({"spec": {"containers": seen}}, {"spec": {"containers": [other]}})
    (found,) = obj["spec"]["containers"]
    assert isinstance(found, QuietMapping)
    assert found == other


@pytest.mark.parametrize(
    "fields",
    [
        {"args": ["--image", "shop/web:1"]},
        {"args": [f"--registry={HOST}"]},
        {"args": ["kubevirt"]},
        {"args": ["web"]},
        {"args": [DIGEST]},
        {"args": ["d2ViOmNhbmFyeSAxLjIuMw=="]},
        {"env": [{"name": "IMAGE_TAG", "value": "canary"}]},
        {"value": "canary"},
        {"labels": {"version": "1.2"}},
        {"template": {"containers": [{"image": "ghcr.io/x/y:1"}]}, "x": [{"containers": [{"image": "ghcr.io/x/y"}]}]},
        {"args": ["x" * 9000]},
    ],
)
def test_part_that_may_hold_a_name_or_a_distant_tag_is_read_each_time(fields: dict[str, Any]) -> None:
    (found,) = decoded({"spec": {"containers": [container(**fields)]}})["spec"]["containers"]
    assert not isinstance(found, QuietMapping)


def test_memory_of_parts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acr_cleanup.clusters.images.quiet_parts._MOST_BYTES", 1_000)
    parts = QuietParts(NAMES)
    for number in range(200):
        parts.decode(json.dumps({"spec": {"containers": [container(args=[f"n{number}"])]}}).encode())
    assert sum(len(field) for part in parts._seen for field in part) < 1_100
