"""The log of a run command: any damage is a blocker."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from acr_cleanup.clusters.images.pod_specs import KINDS
from tests.helpers.cluster_objects import WEB, blockers, used
from tests.helpers.run_command_logs import block, counts, pod_line, read_log, whole_log


def test_whole_log_is_read() -> None:
    scan = read_log(whole_log())
    assert (used(scan), scan.blockers) == ({f"{WEB}:1"}, ())
    assert (scan.objects, scan.access) == (3 * len(KINDS) + 4, "run-command")
    (use,) = scan.uses
    assert (str(use.workload), use.container, use.running) == ("prod/shop/Pod/web", "main", True)


@pytest.mark.parametrize("state", ["succeeded", "Succeeded", "SUCCEEDED"])
def test_state_is_compared_without_case(state: str) -> None:
    assert read_log(whole_log(), state=state).blockers == ()


@pytest.mark.parametrize("state", ["Failed", "failed", "Canceled", "Running", ""])
def test_failed_state_is_a_blocker(state: str) -> None:
    scan = read_log("", state=state, exit_code=None, reason="ImagePullBackoff")
    (blocker,) = scan.blockers
    assert blocker.where == "prod"
    assert "ImagePullBackoff" in blocker.seen
    assert "access: direct" in blocker.remedy


@pytest.mark.parametrize("logs", ["", "\n", "  \r\n "])
def test_empty_log_is_a_blocker(logs: str) -> None:
    (blocker,) = read_log(logs).blockers
    assert "its log is empty" in blocker.seen


@pytest.mark.parametrize("exit_code", [1, 137, -1, None])
def test_nonzero_exit_code_is_a_blocker(exit_code: int | None) -> None:
    """It quotes the error. The uses in a whole block count all the same."""
    error = 'Error from server (Forbidden): cronjobs.batch is forbidden: User "x" cannot list resource "cronjobs"'
    scan = read_log(f"{error}\n{whole_log()}", exit_code=exit_code)
    (blocker,) = scan.blockers
    assert f"exit code {exit_code}" in blocker.seen
    assert error in blocker.seen
    assert used(scan) == {f"{WEB}:1"}


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
def test_foreign_line_is_quoted_in_a_blocker(line: str, place: str) -> None:
    lines = whole_log().splitlines()
    lines.insert({"before": 0, "inside": 2, "after": len(lines)}[place], line)
    (blocker,) = read_log("\n".join(lines)).blockers
    assert line.replace("\x1b", " ").strip()[:40] in blocker.seen
    assert "\x1b" not in str(blocker)


def test_long_foreign_line_is_shortened() -> None:
    assert len(blockers(read_log("x y" * 10_000 + "\n" + whole_log()))) < 1000


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_truncated_log_is_a_blocker(share: float) -> None:
    log = whole_log(*(pod_line(f"{WEB}:{hashlib.sha256(bytes([n])).hexdigest()}") for n in range(200)))
    scan = read_log(log[: int(len(log) * share)])
    assert scan.uses == ()
    assert scan.blockers
    if share > 0.2:
        assert "512 kB" in blockers(scan)
        assert "access: direct" in blockers(scan)


def test_every_prefix_and_suffix_of_log_is_a_blocker() -> None:
    """Except the whole log, with or without its last newline."""
    log = whole_log()
    assert [end for end in range(len(log) - 1) if not read_log(log[:end]).blockers] == []
    assert [start for start in range(1, len(log)) if not read_log(log[start:]).blockers] == []


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
        lambda lines: [lines[0].replace(" 3 ", " 1 "), *lines[1:]],
        lambda lines: [lines[0][:-1], *lines[1:]],
        lambda lines: [lines[0].replace("begin 3 ", "begin 3 " + "0" * 8)[: len(lines[0])], *lines[1:]],
    ],
)
def test_wrong_marker_checksum_or_length_is_a_blocker(spoil: Any) -> None:
    assert read_log("\n".join(spoil(whole_log().splitlines()))).blockers


def test_other_content_of_same_length_is_a_blocker() -> None:
    mine, other = block(*counts(), pod_line(f"{WEB}:1")), block(*counts(), pod_line(f"{WEB}:2"))
    assert "damaged" in blockers(read_log("\n".join([mine[0], *other[1:]])))
