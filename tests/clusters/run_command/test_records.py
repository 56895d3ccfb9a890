"""The records in the result of a run command."""

from __future__ import annotations

import json

import pytest

from acr_cleanup.clusters.images.pod_specs import KINDS
from tests.helpers.cluster_objects import WEB, blockers, used
from tests.helpers.run_command_logs import U, block, counts, pod_line, read_log


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
def test_malformed_record_is_a_blocker(line: str) -> None:
    """The other records count."""
    scan = read_log("\n".join(block(*counts(), line, pod_line())))
    assert "cannot be read" in blockers(scan)
    assert used(scan) == {f"{WEB}:1"}


@pytest.mark.parametrize("key", [*map(str, KINDS), "configmaps", "api-resources", "/apis"])
def test_missing_record_is_a_blocker(key: str) -> None:
    """A blocker for a missing kind names that kind."""
    lines = [line for line in counts() if line != f"1 #{U}{key}{U}0{U}"]
    (blocker,) = read_log("\n".join(block(*lines))).blockers
    assert blocker.kind == ("" if key in {"api-resources", "/apis"} else key)


def test_served_kind_without_list_is_a_blocker() -> None:
    (blocker,) = read_log("\n".join(block(*counts(), f"1 r{U}rollouts{U}argoproj.io/v1alpha1{U}Rollout"))).blockers
    assert blocker.kind == "rollouts.argoproj.io"


def test_later_success_does_not_cancel_a_failure() -> None:
    """An object with such a name cannot hide that a list failed."""
    for lines in ([f"1 #{U}pods{U}1{U}boom", f"1 #{U}pods{U}0{U}"], [f"1 #{U}pods{U}0{U}", f"1 #{U}pods{U}1{U}boom"]):
        (blocker,) = read_log("\n".join(block(*counts(), *lines))).blockers
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
def test_failed_list_blocker_has_its_remedy(text: str, kind: str, words: str) -> None:
    (blocker,) = read_log("\n".join(block(*counts(), f"1 #{U}pods{U}1{U}{text}"))).blockers
    assert (blocker.kind, text in blocker.seen, words in blocker.remedy) == (kind, True, True)


def test_optional_kind_may_be_missing() -> None:
    text = 'error: the server doesn\'t have a resource type "podtemplates"'
    assert read_log("\n".join(block(*counts(), f"1 #{U}podtemplates{U}1{U}{text}"))).blockers == ()


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
def test_group_version_without_kinds_is_checked(code: int, text: str, words: str) -> None:
    """
    It may be down, or have resources that kubectl did not list. One without listable resources is
    valid.
    """
    scan = read_log("\n".join(block(*counts(), f"1 d{U}example.com/v1{U}{code}{U}{text}")))
    assert {blocker.kind for blocker in scan.blockers} == ({"example.com/v1"} if words else set())
    assert words in blockers(scan)


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
def test_empty_kind_needs_right_to_list(answer: str, believed: bool) -> None:
    lines = counts(cronjobs=f"1 v{U}cronjobs.batch{U}{answer}")
    scan = read_log("\n".join(block(*lines)))
    assert (scan.blockers == ()) == believed
    assert believed or "cronjobs.batch" in blockers(scan)


def test_image_name_may_end_in_newline() -> None:
    """A template whose image is a YAML block scalar ends in a newline."""
    scan = read_log("\n".join(block(*counts(), pod_line(f"{WEB}:1\n"))))
    assert used(scan) == {f"{WEB}:1"}
