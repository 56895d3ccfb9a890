"""
Manifests deleted or kept together: image graphs from real registries.

Every `apply` here also checks promise 11: each deleted item was decided, counted and journalled.
"""

from __future__ import annotations

from typing import Any

import pytest

from acr_cleanup.core.references import Digest
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_CONFIG, OCI_EMPTY, OCI_MANIFEST
from acr_cleanup.records.journal_reader import read_journal
from acr_cleanup.stages import apply_repository, looks
from tests.helpers.graph_world import APP, OLD, YOUNG, GraphWorld, graph

__all__ = ["graph"]

SUBJECT_TYPES = pytest.mark.parametrize(
    "media_type", [OCI_MANIFEST, DOCKER_MANIFEST], ids=["OCI subject", "Docker subject"]
)


def push_subject(graph: GraphWorld, media_type: str = OCI_MANIFEST) -> str:
    return graph.push("v1", media_type=media_type)


# -- images that refer to an image -----------------------------------------------------------------


@SUBJECT_TYPES
@pytest.mark.parametrize("by_digest", [False, True], ids=["by tag", "by digest"])
def test_running_referrer_image_keeps_its_subject(graph: GraphWorld, by_digest: bool, media_type: str) -> None:
    """
    Nydus and overlaybd convert an image into another image whose subject is the original.

    https://github.com/goharbor/harbor/issues/19452
    """
    subject = push_subject(graph, media_type)
    converted = graph.push("v1-nydus", subject=subject)
    graph.run_image(**{"digest": converted} if by_digest else {"tag": "v1-nydus"})

    ran = graph.apply()

    assert ran.code == 0
    assert {subject, converted} <= graph.manifests
    assert "v1-nydus" in graph.tags


@SUBJECT_TYPES
@pytest.mark.parametrize("reason", ["young", "locked tag", "locked manifest", "excluded", "newest"])
def test_kept_referrer_image_keeps_its_subject(graph: GraphWorld, reason: str, media_type: str) -> None:
    subject = push_subject(graph, media_type)
    converted = graph.push("v1-nydus", subject=subject, age=YOUNG if reason == "young" else OLD)
    if reason.startswith("locked"):
        graph.registry.lock(APP, "v1-nydus" if reason == "locked tag" else converted)
    options = {"excluded": {"exclude-tags": "*-nydus"}, "newest": {"keep-last": "2"}}.get(reason, {})

    ran = graph.apply(**options)

    assert ran.code == 0
    assert {subject, converted} <= graph.manifests


def test_nested_referrer_image_keeps_the_whole_chain(graph: GraphWorld) -> None:
    subject = push_subject(graph)
    middle = graph.push("v1-nydus", subject=subject)
    outer = graph.push("v1-nydus-again", subject=middle, age=YOUNG)

    graph.apply()

    assert {subject, middle, outer} <= graph.manifests


@pytest.mark.parametrize("count", [1, 5], ids=["few kept images", "many kept images"])
@pytest.mark.parametrize("backup", [False, True], ids=["no backup", "backup"])
def test_old_referrer_images_are_deleted_before_their_subject(graph: GraphWorld, backup: bool, count: int) -> None:
    for number in range(count):
        graph.push(f"kept-{number}", age=YOUNG)
    subject = push_subject(graph)
    graph.push("v1-nydus", subject=subject)
    graph.push(None, subject=subject)
    graph.registry.push_referrer(APP, subject, age=OLD)

    ran = graph.apply(backup=str(backup).lower())

    assert ran.code == 0
    assert graph.tags == {"live", *(f"kept-{number}" for number in range(count))}
    assert ran.report["counts"]["deleted_manifests"] == 4
    entries = read_journal(graph.folder / "report" / "journal.jsonl").deletions
    assert all((entry.document is not None) is backup for entry in entries)


@pytest.mark.parametrize("concurrency", ["1", "8"])
def test_old_referrer_of_a_subject_that_was_pushed_again_is_counted(graph: GraphWorld, concurrency: str) -> None:
    """The last push of the subject is later than that of its referrer. Its first push is not."""
    subject = graph.push("v1", age=3 * OLD, content="image")
    graph.push("v1-nydus", age=2 * OLD, subject=subject)
    graph.push("v1-again", age=OLD, content="image")

    ran = graph.apply(concurrency=concurrency)

    assert ran.report["counts"]["deleted_manifests"] == 2


@pytest.mark.parametrize("look_every", [500, 1])
@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, OCI_MANIFEST], ids=["docker", "oci"])
def test_referrers_pushed_before_their_subject_are_counted(
    graph: GraphWorld, media_type: str, look_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The OCI specification allows it, so the order of the pushes tells nothing."""
    monkeypatch.setattr(apply_repository, "LOOK_EVERY", look_every)
    subject = graph.push("v1", age=OLD, media_type=media_type)
    converted = graph.push("v1-nydus", age=2 * OLD, subject=subject)
    graph.push("v1-nydus-again", age=3 * OLD, subject=converted)
    graph.registry.push_referrer(APP, converted, tag="signature", age=3 * OLD)

    ran = graph.apply()

    assert ran.report["counts"]["deleted_manifests"] == 4


@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, OCI_MANIFEST], ids=["docker", "oci"])
def test_signed_referrers_are_counted_where_many_are_deleted(graph: GraphWorld, media_type: str) -> None:
    """Their subjects are not read, and each waits for its signature. Its own subject must wait, too."""
    for number in range(looks.FEW):
        subject = graph.push(f"v{number}", age=2 * OLD, media_type=media_type)
        converted = graph.push(f"v{number}-nydus", age=OLD, subject=subject)
        graph.registry.push_referrer(APP, converted, tag=f"signature-{number}", age=OLD)

    ran = graph.apply()

    assert ran.report["counts"]["deleted_manifests"] == 3 * looks.FEW


@pytest.mark.parametrize("config", [OCI_EMPTY, OCI_CONFIG], ids=["signature", "image"])
def test_untagged_companion_is_counted_and_journalled(graph: GraphWorld, config: str) -> None:
    subject = push_subject(graph)
    graph.registry.push_referrer(APP, subject, age=YOUNG, config_media_type=config)

    ran = graph.apply()

    assert ran.report["counts"]["deleted_manifests"] == 2


def test_lost_referrer_image_keeps_subjects_only_if_the_registry_says_so(graph: GraphWorld) -> None:
    """The body of the referrer answers 404. The registry's list of referrers still tells its subject."""
    subject, other = push_subject(graph), graph.push("v0")
    converted = graph.push("v1-nydus", subject=subject, age=YOUNG)
    graph.registry.ghost(APP, converted)

    graph.apply()

    assert {subject, converted} <= graph.manifests
    assert other not in graph.manifests


# -- lists of referrers ----------------------------------------------------------------------------


def kept_images(graph: GraphWorld, count: int = 8) -> None:
    """Push so many kept images that asking for the referrers of one manifest is cheaper."""
    for number in range(count):
        graph.push(f"kept-{number}", age=YOUNG)


def test_referrers_on_several_pages_are_all_found(graph: GraphWorld) -> None:
    graph.registry.largest_page = 2
    kept_images(graph)
    subject = push_subject(graph)
    for _ in range(4):
        graph.registry.push_referrer(APP, subject, age=OLD)
    graph.push("v1-nydus", subject=subject, age=YOUNG)

    ran = graph.apply()

    assert graph.requests("GET", "/referrers/") > 1
    assert subject in graph.manifests
    assert ran.code == 0


def test_registry_without_referrers_api_uses_the_tag(graph: GraphWorld) -> None:
    """https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema"""
    graph.registry.referrers_api = False
    kept_images(graph)
    subject, other = push_subject(graph), graph.push("v0")
    converted = graph.push("v1-nydus", subject=subject, age=YOUNG)
    fallback = f"sha256-{subject.partition(':')[2]}"
    graph.registry.push_index(APP, fallback, children=[converted], age=OLD)

    graph.apply()

    assert {subject, converted} <= graph.manifests
    assert other not in graph.manifests


def test_failing_referrers_list_is_replaced_by_bodies(graph: GraphWorld) -> None:
    kept_images(graph)
    subject = push_subject(graph)
    converted = graph.push("v1-nydus", subject=subject, age=YOUNG)
    other = graph.push("v0")
    graph.world.faults.append(Fault(service="acr", path="/referrers/", status=500))

    graph.apply()

    assert {subject, converted} <= graph.manifests
    assert other not in graph.manifests


def test_foreign_referrers_change_nothing(graph: GraphWorld) -> None:
    """A list that names a manifest of another repository, and one with another subject."""
    kept_images(graph)
    subject = push_subject(graph)
    index = graph.registry.push_index(APP, "index", children=[], age=YOUNG)
    foreign = [{"digest": digest, "mediaType": "x", "size": 1} for digest in (f"sha256:{'7' * 64}", index)]
    body = {"schemaVersion": 2, "manifests": foreign}
    graph.world.faults.append(Fault(service="acr", path=f"/referrers/{subject}", status=200, body=body))

    ran = graph.apply()

    assert ran.code == 0
    assert subject not in graph.manifests
    assert index in graph.manifests


@pytest.mark.parametrize("age", [OLD, YOUNG], ids=["old", "young"])
def test_new_signature_before_the_second_look_keeps_its_subject(graph: GraphWorld, age: Any) -> None:
    """The plan has no step for it, so it must not be deleted together with its subject."""
    kept_images(graph)
    subject, other = push_subject(graph), graph.push("v0")
    graph.when(lambda: graph.registry.push_referrer(APP, subject, age=age), path=f"/acr/v1/{APP}/_tags", after=1)

    ran = graph.apply()

    assert ran.code == 0
    assert subject in graph.manifests
    assert other not in graph.manifests
    assert "refers to it since the plan" in " ".join(ran.out.split())


@pytest.mark.parametrize("age", [OLD, YOUNG], ids=["old", "young"])
def test_referrer_image_without_its_subject_is_decided_alone(graph: GraphWorld, age: Any) -> None:
    graph.push("v1-nydus", subject=f"sha256:{'0' * 64}", age=age)
    graph.push("v0")

    ran = graph.apply()

    assert ran.code == 0
    assert graph.tags == ({"live"} if age is OLD else {"live", "v1-nydus"})


def test_new_referrer_before_the_second_look_keeps_its_subject(graph: GraphWorld) -> None:
    kept_images(graph)
    subject = push_subject(graph)
    graph.when(lambda: graph.push("v1-nydus", subject=subject, age=YOUNG), path=f"/acr/v1/{APP}/_tags", after=1)

    ran = graph.apply()

    assert ran.code == 0
    assert subject in graph.manifests


def test_registry_of_docker_images_pays_nothing(graph: GraphWorld) -> None:
    graph.registry.repositories.clear()
    for number in range(5):
        graph.push(f"v{number}", media_type=DOCKER_MANIFEST)
    graph.push("live", media_type=DOCKER_MANIFEST, age=YOUNG)

    ran = graph.apply()

    assert ran.report["counts"]["deleted_manifests"] == 5
    assert graph.requests("GET", "^/v2/") == 0


@pytest.mark.parametrize(("kept", "deleted"), [(3, 20), (20, 3)])
def test_oci_registry_pays_for_the_smaller_side_once(graph: GraphWorld, kept: int, deleted: int) -> None:
    """The plan and the second look together: bodies of kept images, or lists of deleted ones."""
    for number in range(kept - 1):
        graph.push(f"kept-{number}", age=YOUNG)
    for number in range(deleted):
        graph.push(f"old-{number}")

    ran = graph.apply()

    assert ran.report["counts"]["deleted_manifests"] == deleted
    # The verification asks for no name that it finds in the lists.
    assert graph.requests("GET", "^/v2/") <= min(kept, deleted)
    assert Digest(graph.repository.tags["live"].digest) in graph.manifests


# -- indexes that refer to an image ----------------------------------------------------------------


@pytest.mark.parametrize("by", ["digest of a child", "digest of the index"])
def test_published_compose_app_keeps_its_tag(graph: GraphWorld, by: str) -> None:
    """
    `docker compose publish` pushes an index of the app's images, with the tagged app as its subject.

    https://github.com/docker/compose/pull/13257
    """
    application = graph.registry.push_referrer(
        APP, f"sha256:{'0' * 64}", "application/vnd.docker.compose.project", tag="shop", age=OLD
    )
    images = [graph.push(None), graph.push(None)]
    index = graph.registry.push_index(APP, None, children=images, subject=application, age=OLD)
    graph.run_image(digest=images[0] if by == "digest of a child" else index)
    graph.push("v0")

    ran = graph.apply()

    assert ran.code == 0
    assert graph.tags == {"live", "shop"}
    assert {application, index, *images} <= graph.manifests


def test_unused_compose_app_is_deleted_with_its_images(graph: GraphWorld) -> None:
    application = graph.push("shop")
    images = [graph.push(None), graph.push(None)]
    index = graph.registry.push_index(APP, None, children=images, subject=application, age=OLD)

    graph.apply()

    assert not {application, index, *images} & graph.manifests


# -- the registry's own repositories ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["csscpolicies/patchpolicy", "aks-managed-repository/oss/kubernetes/pause"])
def test_own_repositories_of_the_registry_are_left_alone(graph: GraphWorld, name: str) -> None:
    graph.push("v1", repository=name)
    graph.push("v1")

    ran = graph.apply(scope="all")

    assert ran.code == 0
    assert set(graph.registry.repositories[name].tags) == {"v1"}
    assert graph.tags == {"live"}
    assert graph.requests("GET", name.partition("/")[0]) == 0
    assert graph.plan(scope="all", repositories="*").planned == set()
    assert graph.plan(scope="all", repositories=f"{name.partition('/')[0]}/*").planned == {f"{name}:v1"}


# -- a registry that deletes more than it is asked for ---------------------------------------------


def test_referrer_deleted_with_an_untagged_subject_is_broken(graph: GraphWorld) -> None:
    """A retention policy that is set during the run: the registry deletes the subject with its last tag."""
    subject = push_subject(graph)
    graph.push("v1-nydus", subject=subject, age=YOUNG)
    graph.when(lambda: setattr(graph.registry, "retention_days", 0), method="DELETE")

    ran = graph.apply()

    assert ran.code == 1
    assert "v1-nydus was kept, and the registry deleted it together with a manifest" in " ".join(ran.out.split())
    assert [broken["tag"] for broken in ran.report["proof"]["broken"]] == [None, "v1-nydus"]


def test_locked_referrer_after_the_check_keeps_its_subject(graph: GraphWorld) -> None:
    """
    A referrer that is deleted by its own rules was not read. If its deletion is refused, it is.

    Otherwise the registry would delete it together with its subject, despite the lock.
    """
    subject = push_subject(graph)
    converted = graph.push("v1-nydus", subject=subject, age=OLD - YOUNG)
    graph.when(lambda: graph.registry.lock(APP, converted), method="DELETE", path=converted)

    ran = graph.apply(concurrency="1")

    assert ran.code == 0
    assert ran.outcomes("v1-nydus") == {"locked"}
    assert {subject, converted} <= graph.manifests
