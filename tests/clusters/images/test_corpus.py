"""The captured answers of a real API server: what has to be found in them, and what must not be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind, image_uses
from tests.helpers.cluster_objects import CORPUS, OURS, kept, mentions_of
from tests.helpers.paths import SHARED

# The whole corpus where it is at hand, and otherwise the part of it that is kept here.
RECORDED = SHARED / "kubernetes"
WHOLE = RECORDED if (RECORDED / "expected.json").exists() else CORPUS
EXPECTED: dict[str, Any] = json.loads((WHOLE / "expected.json").read_text())

NAMES = Names.of(OURS, {entry["repository"] for entry in EXPECTED["expected"]})
# Where a runtime reads the reference itself; elsewhere it is mentioned.
EXACT = {
    "running-pod",
    "pod-status",
    "template",
    "history-replicaset",
    "history-controllerrevision",
    "ephemeral",
    "image-volume",
}

CUSTOM = (
    ("apps.kruise.io/v1alpha1", "clonesets"),
    ("argoproj.io/v1alpha1", "analysistemplates"),
    ("argoproj.io/v1alpha1", "cronworkflows"),
    ("argoproj.io/v1alpha1", "rollouts"),
    ("argoproj.io/v1alpha1", "workflowtemplates"),
    ("cache.contoso.example/v1", "redisclusters"),
    ("db.contoso.example/v1", "postgreses"),
    ("empty.contoso.example/v1", "unuseds"),
    ("helm.toolkit.fluxcd.io/v2", "helmreleases"),
    ("keda.sh/v1alpha1", "scaledjobs"),
    ("serving.knative.dev/v1", "services"),
    ("tekton.dev/v1", "pipelines"),
    ("tekton.dev/v1", "tasks"),
    ("v1", "configmaps"),
    ("v1", "namespaces"),
)
BUILT_IN = tuple((each.api_version, each.resource) for each in KINDS)
POD_CLASSES = {*EXACT, "env-or-arg"}


def listed(version: str, resource: str) -> Iterator[tuple[dict[str, Any], Kind]]:
    """The objects of a list, and their kind: of custom resources nothing is known but their names."""
    page = json.loads((WHOLE / "responses" / "list" / f"{version.replace('/', '_')}_{resource}.json").read_bytes())
    name, group = page["kind"].removesuffix("List"), version.rpartition("/")[0]
    known = next((each for each in KINDS if (each.api_version, each.name) == (version, name)), None)
    for item in page["items"]:
        yield item, known or Kind(name, resource, group, version=version.rpartition("/")[2])


def read(lists: tuple[tuple[str, str], ...]) -> Findings:
    found = Findings()
    for version, resource in lists:
        for obj, kind in listed(version, resource):
            found.add(image_uses(obj, kind, "real", NAMES))
    return found


def finds(entry: dict[str, Any], found: Findings) -> bool:
    tag = "latest" if entry["implicit_latest"] else entry["tag"]
    raw = entry["raw"] if isinstance(entry["raw"], str) else ":".join(entry["raw"])
    is_use = any(
        (use.reference.repository, use.reference.tag, use.reference.digest)
        == (entry["repository"], tag, entry["digest"])
        and use.text == raw
        and use.container == entry.get("container", use.container)
        and use.workload.namespace == entry["namespace"]
        and use.running == (entry["class"] == "running-pod")
        and use.field == entry["path"]
        for use in found.uses
    )
    return is_use or (entry["class"] not in EXACT and is_mentioned(entry, tag, found))


def is_mentioned(entry: dict[str, Any], tag: str | None, found: Findings) -> bool:
    tags = [tag] if tag else []
    digests = [entry["digest"]] if entry["digest"] else []
    mentions = mentions_of(found, entry["repository"], *tags, digests=digests)
    wanted = [
        *(mentions.by_tag.get(tag, ()) for tag in tags),
        *(mentions.by_digest.get(digest, ()) for digest in digests),
    ]
    if not wanted:
        wanted = [mentions.of_any]
    return all(
        any(mention.workload.namespace == entry["namespace"] for mention in (*of, *mentions.of_any)) for of in wanted
    )


@pytest.fixture(scope="module")
def pods() -> Findings:
    return read(BUILT_IN)


@pytest.fixture(scope="module")
def everything(pods: Findings) -> Findings:
    if WHOLE is CORPUS and not (CORPUS / "responses" / "list" / "v1_configmaps.json").exists():
        pytest.skip("the captured custom resources are in ../shared/data/kubernetes, which is not here")
    found = read(CUSTOM)
    found.add(pods)
    return found


def test_every_reference_in_a_pod_spec_or_its_surroundings_is_found(pods: Findings) -> None:
    wanted = [entry for entry in EXPECTED["expected"] if entry["class"] in POD_CLASSES]
    assert len(wanted) > 140
    assert [entry for entry in wanted if not finds(entry, pods)] == []
    assert pods.blockers == {}
    assert pods.notes == {}


def test_every_reference_of_every_class_is_found(everything: Findings) -> None:
    """All except Helm's history, which is in Secrets."""
    wanted = [entry for entry in EXPECTED["expected"] if entry["class"] != "helm-history"]
    assert {"custom-resource", "configmap"} <= {entry["class"] for entry in wanted}
    assert [entry for entry in wanted if not finds(entry, everything)] == []
    assert everything.blockers == {}
    assert everything.notes == {}


def test_nothing_else_is_found(everything: Findings) -> None:
    """Neither a lookalike nor another registry; every use is one of the expected references of its place."""
    forbidden = {entry["raw"] for entry in EXPECTED["must_not_match"]}
    known = {
        (entry["repository"], entry["raw"] if isinstance(entry["raw"], str) else ":".join(entry["raw"]), entry["path"])
        for entry in EXPECTED["expected"]
    }
    assert [use for use in everything.uses if use.text in forbidden] == []
    assert [use for use in everything.uses if (use.reference.repository, use.text, use.field) not in known] == []
    decoys = ("9.9.8", "a0b1c2d", "canary", "main-20200101")
    opened = {name for name in NAMES.repositories if mentions_of(everything, name, *decoys).of_any}
    assert opened <= {
        entry["repository"] for entry in EXPECTED["expected"] if entry["tag"] is None and not entry["digest"]
    }
    kept_decoys = {name: kept(everything, name, *decoys, "latest") - {"latest"} for name in NAMES.repositories - opened}
    assert {name: tags for name, tags in kept_decoys.items() if tags} == {}


def test_the_running_repositories_are_those_of_containers_and_init_containers(everything: Findings) -> None:
    running = {use.reference.repository for use in everything.uses if use.running}
    assert sorted(running) == EXPECTED["running_repositories"]


def test_uses_name_the_top_owner(pods: Findings) -> None:
    """Reports say `shop/Deployment/web`, not the name of one of its pods."""
    owners = {(use.workload.namespace, f"{use.workload.kind}/{use.workload.name}") for use in pods.uses}
    assert ("shop", "Deployment/web") in owners
    assert not any(owner.startswith(("ReplicaSet/", "Pod/web-")) for _, owner in owners)
