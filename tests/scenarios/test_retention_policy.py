"""Registries whose retention policy deletes untagged manifests (Premium)."""

from __future__ import annotations

import pytest

from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.roles import REGISTRIES
from tests.helpers.graph_world import APP, OLD, YOUNG, GraphWorld, graph

__all__ = ["graph"]

DAYS = pytest.mark.parametrize("days", [0, 7])


@DAYS
def test_children_of_a_used_index_keep_their_tags(graph: GraphWorld, days: int) -> None:
    """
    A CronJob names the index by its tag; its platform images have old tags of their own.

    https://github.com/Azure/acr/issues/785
    """
    graph.registry.retention_days = days
    children = [graph.push(f"v1-{architecture}", architecture=architecture) for architecture in ("amd64", "arm64")]
    index = graph.registry.push_index(APP, "v1", children=children, age=OLD)
    graph.cluster.add(build.cronjob("shop", "report", [graph.registry.image(APP, "v1")]))
    other = graph.push("v0")

    ran = graph.apply()

    assert ran.code == 0
    assert graph.tags == {"live", "v1", "v1-amd64", "v1-arm64"}
    assert {index, *children} <= graph.manifests
    assert other not in graph.manifests
    assert "retention policy" in ran.report["repositories"][0]["decisions"][-1]["reasons"][0]["detail"]


@DAYS
def test_manifest_with_a_kept_tag_loses_the_others(graph: GraphWorld, days: int) -> None:
    graph.registry.retention_days = days
    digest = graph.push("v2", age=YOUNG)
    graph.registry.tag(APP, "alias", digest, OLD)

    graph.apply()

    assert graph.tags == {"live", "v2"}


def test_subject_of_a_kept_referrer_keeps_its_tag(graph: GraphWorld) -> None:
    graph.registry.retention_days = 0
    subject = graph.push("v1")
    graph.push("v1-nydus", subject=subject, age=YOUNG)

    graph.apply()

    assert graph.tags == {"live", "v1", "v1-nydus"}


def test_repository_not_seen_whole_keeps_last_tags(graph: GraphWorld) -> None:
    """Any manifest may be a child of the unlisted index."""
    graph.registry.retention_days = 0
    child = graph.push("v1-amd64")
    index = graph.registry.push_index(APP, None, children=[child], age=OLD)
    graph.registry.lock(APP, index, list=False, delete=False)

    graph.apply()

    assert child in graph.manifests


def test_index_pushed_after_the_plan_keeps_the_tags_of_its_children(graph: GraphWorld) -> None:
    graph.registry.retention_days = 0
    child = graph.push("v1-amd64")
    graph.when(
        lambda: graph.registry.push_index(APP, "v1", children=[child], age=YOUNG),
        path=f"/acr/v1/{APP}/_tags",
        after=1,
    )

    ran = graph.apply()

    assert ran.code == 0
    assert child in graph.manifests
    assert ran.outcomes("v1-amd64") == {"kept"}


@pytest.mark.parametrize("known", [True, False])
def test_unknown_policy_counts_as_a_policy(graph: GraphWorld, known: bool) -> None:
    child = graph.push("v1-amd64")
    graph.registry.push_index(APP, "v1", children=[child], age=YOUNG)
    if not known:
        graph.world.access.withhold(f"{REGISTRIES}/read", graph.registry.resource_id)

    ran = graph.apply()

    assert ran.code == 0
    assert ("v1-amd64" in graph.tags) is not known


def test_policy_is_read_only_if_a_decision_depends_on_it(graph: GraphWorld) -> None:
    """Services are off, because they list the registry too."""
    graph.push("v2", age=YOUNG)

    graph.plan(services="off")

    assert not graph.world.count(service="arm", path="Microsoft.ContainerRegistry/registries$")
