"""Tags, manifests and repositories that someone put aside with `readEnabled: false`."""

from __future__ import annotations

import pytest

from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.roles import REGISTRIES
from tests.helpers.graph_world import APP, OLD, GraphWorld, graph

__all__ = ["graph"]

REFUSAL = pytest.mark.parametrize("status", [403, 405])
FORBIDDEN = {"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]}


def refuse(graph: GraphWorld, path: str, status: int) -> None:
    graph.world.faults.append(Fault(service="acr", method="GET", path=path, status=status, body=FORBIDDEN))


def forbid_pulls(graph: GraphWorld) -> None:
    graph.registry.abac = True
    graph.world.access.withhold(f"{REGISTRIES}/repositories/content/read", graph.registry.resource_id)


def reasons(graph: GraphWorld, tag: str, **options: str) -> list[tuple[str, str]]:
    report = graph.plan(**options).report
    [decision] = [
        entry for repository in report["repositories"] for entry in repository["decisions"] if entry["tag"] == tag
    ]
    return [(reason["rule"], reason["detail"]) for reason in decision["reasons"]]


@REFUSAL
@pytest.mark.parametrize("locked", ["true", "false"])
def test_put_aside_image_is_kept_and_the_rest_is_done(graph: GraphWorld, status: int, locked: str) -> None:
    """`include-locked` does not change it: reading was not disabled to protect it from deletion."""
    aside, other = graph.push("v1"), graph.push("v0")
    graph.put_aside(aside)
    refuse(graph, f"/v2/{APP}/manifests/{aside}", status)

    ran = graph.apply(**{"include-locked": locked})

    assert ran.code == 0, ran.out
    assert graph.tags == {"live", "v1"}
    assert other not in graph.manifests
    assert "put aside" in ran.out
    assert not ran.report["warnings"]


def test_put_aside_tag_is_kept(graph: GraphWorld) -> None:
    graph.push("v1")
    graph.put_aside("v1", delete=False)
    graph.push("v0")

    ran = graph.apply(**{"include-locked": "true"})

    assert graph.tags == {"live", "v1"}
    assert "put aside" in ran.out


@REFUSAL
def test_put_aside_index_keeps_its_children(graph: GraphWorld, status: int) -> None:
    child, other = graph.push("v1-amd64"), graph.push("v0")
    index = graph.registry.push_index(APP, "v1", children=[child], age=OLD)
    graph.put_aside(index)
    refuse(graph, f"/v2/{APP}/manifests/{index}", status)

    ran = graph.apply()

    assert ran.code == 0
    assert {child, index} <= graph.manifests
    assert other not in graph.manifests
    assert not ran.report["warnings"]


@pytest.mark.parametrize("kind", ["image", "index"])
def test_put_aside_referrer_keeps_its_subject(graph: GraphWorld, kind: str) -> None:
    subject, other = graph.push("v1"), graph.push("v0")
    if kind == "image":
        aside = graph.push("v1-nydus", subject=subject)
    else:
        aside = graph.registry.push_index(APP, "v1-index", children=[], subject=subject, age=OLD)
    graph.put_aside(aside)

    ran = graph.apply()

    assert ran.code == 0
    assert {subject, aside} <= graph.manifests
    assert other not in graph.manifests


@REFUSAL
def test_put_aside_index_that_the_list_does_not_show_is_asked_for(graph: GraphWorld, status: int) -> None:
    child, other = graph.push("v1-amd64"), graph.push("v0")
    index = graph.registry.push_index(APP, "v1", children=[child], age=OLD)
    graph.when(lambda: graph.put_aside(index), path=f"/v2/{APP}/manifests/{index}")
    if status == 403:
        refuse(graph, f"/v2/{APP}/manifests/{index}", status)

    ran = graph.apply()

    assert ran.code == 0
    assert {child, index} <= graph.manifests
    assert other not in graph.manifests


@REFUSAL
def test_put_aside_repository_is_kept_and_the_others_are_done(graph: GraphWorld, status: int) -> None:
    graph.push("v0")
    graph.push("old", repository="team/aside")
    index = graph.registry.push_index(
        "team/aside", "index", children=[graph.push(None, repository="team/aside")], age=OLD
    )
    graph.registry.lock("team/aside", read=False)
    graph.run_image(tag="old", repository="team/aside")
    refuse(graph, "/v2/team(/|%2F)aside/manifests/", status)

    ran = graph.apply()

    assert ran.code == 0, ran.out
    assert graph.tags == {"live"}
    assert index in graph.registry.repositories["team/aside"].manifests
    assert "put aside" in ran.out


def test_put_aside_is_a_reason_of_the_rule_locked(graph: GraphWorld) -> None:
    graph.put_aside(graph.push("v1"))
    graph.push("v0")

    assert reasons(graph, "v1") == [
        ("locked", "its manifest is put aside in the registry: reading it is disabled (readEnabled: false)")
    ]


def test_missing_right_to_pull_is_still_an_error(graph: GraphWorld) -> None:
    graph.registry.push_index(APP, "v1", children=[graph.push(None)], age=OLD)
    forbid_pulls(graph)

    ran = graph.plan()

    assert ran.code == 3
    assert "AcrPull" in ran.blockers[0]["seen"]


def test_missing_right_to_pull_is_an_error_for_images(graph: GraphWorld) -> None:
    graph.push("v1")
    forbid_pulls(graph)

    ran = graph.plan()

    assert ran.code == 3
    assert "AcrPull" in ran.blockers[0]["seen"], ran.blockers
