"""Benchmarks of the registry: number of requests, use of the network, and use of rate limits."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.rows import Row
from tests.bench.sdk_deletion import delete_with_sdk
from tests.bench.serving import (
    DELETIONS,
    KEPT_IMAGES,
    MINUTE,
    OLD_IMAGES,
    OLD_MANIFESTS,
    READ_MINUTE,
    READS,
    REPOSITORIES,
    cpu_of_children,
    run,
    served,
)

KINDS = (
    ("login", re.compile(r"^/oauth2/")),
    ("list", re.compile(r"/_(?:tags|manifests|catalog)$")),
    ("manifest", re.compile(r"^/v2/")),
    ("attributes", re.compile(r"^/acr/v1/")),
)
"""The kind of a request by its path; the first match counts."""

INDEXES = KEPT_IMAGES + OLD_IMAGES

CONCURRENCY = 32
"""Deletions at once, the maximum that the registry recommends; and the threads of the plain SDK."""
DEFAULT_CONCURRENCY = 8
"""The default of `concurrency`."""


def requests() -> list[Row]:
    """
    Requests for the same deletions, in a normal registry and in one whose tokens name repositories.
    """
    return [
        *_requests("counted", "an ordinary registry", 1.05),
        *_requests("counted-abac", "an ABAC registry", 1.10),
        _subjects("subjects-docker", "Docker images", KEPT_IMAGES, OLD_IMAGES, 0),
        _subjects("subjects-oci", "OCI images", KEPT_IMAGES, OLD_IMAGES, OLD_IMAGES),
        _subjects("subjects-few-kept", "OCI images", OLD_IMAGES, KEPT_IMAGES, OLD_IMAGES),
        # Every index is read, and only the smaller side of its children.
        _subjects("subjects-indexes", "OCI indexes", KEPT_IMAGES, OLD_IMAGES, INDEXES + 3 * OLD_IMAGES, 3),
        _subjects("subjects-indexes-few-kept", "OCI indexes", OLD_IMAGES, KEPT_IMAGES, INDEXES + 2 * OLD_IMAGES, 3),
        # The attestation of a shared platform is read, and kept with its subject.
        _subjects(
            "subjects-shared", "OCI indexes that share platforms", KEPT_IMAGES, OLD_IMAGES, INDEXES + 2 * OLD_IMAGES
        ),
    ]


def _subjects(name: str, kind: str, kept: int, old: int, allowed: int, manifests: int = 1) -> Row:
    """
    Requests to learn whether a kept image refers to a deleted one, in plan and second look together.

    manifests: those that are deleted with each old one.
    """
    with served(name) as world, tempfile.TemporaryDirectory() as folder:
        _, report = run("apply", world, Path(folder))
    assert report["counts"]["deleted_manifests"] == old * manifests
    ours = sum(
        request["method"] == "GET" and request["path"].startswith("/v2/") and request["status"] == 200
        for request in world.requests
    )
    indexes = "indexes" in kind
    smaller = f"≤ {allowed}, the smaller side{' besides the indexes' if indexes else ''}"
    return Row(
        f"bodies and lists of referrers for {old} deleted and {kept} kept {kind}",
        f"{ours}",
        f"one for each manifest: {(kept + old) * (3 if indexes else 1)}",
        f"{ours}",
        smaller if allowed else "none: they cannot have a subject",
        ours <= allowed,
    )


def _requests(name: str, where: str, bound: float) -> list[Row]:
    with served(name) as world, tempfile.TemporaryDirectory() as folder:
        _, report = run("apply", world, Path(folder))
    with served(name) as other:
        repositories = [f"team/service-{number}" for number in range(REPOSITORIES)]
        delete_with_sdk(other, repositories, threads=1)
    manifests = REPOSITORIES * OLD_MANIFESTS
    assert report["counts"]["deleted"] == 2 * manifests
    assert sum(request["method"] == "DELETE" and request["status"] == 202 for request in other.requests) == manifests
    # Per repository two lists (of one page) and its own lock, per manifest one DELETE, and two
    # requests for the login. The check before deleting and the verification are further promises:
    # each reads both lists again.
    once = 2 + 3 * REPOSITORIES + manifests
    promised = once + REPOSITORIES * (2 + 1) + REPOSITORIES * 2
    ours = len(world.requests)
    return [
        Row(
            f"requests for 500 tags on {manifests} manifests, {where}",
            f"{ours:,}: {_by_kind(world.requests)}",
            f"fewest for the same promises (plan, second look, proof): {promised:,}",
            f"{ours / promised:.3f} ×",
            f"≤ {bound} ×",
            ours <= bound * promised,
        ),
        Row(
            "the same",
            f"{ours:,}",
            f"fewest without a second look and a proof: {once:,}",
            f"{ours / once:.2f} ×",
            "shown, no goal",
            True,
        ),
        Row(
            "the same",
            f"{ours:,}",
            f"SDK used plainly, no second look, no proof: {len(other.requests):,}: {_by_kind(other.requests)}",
            f"{len(other.requests) / ours:.1f} × fewer",
            "≥ 2 × fewer",
            len(other.requests) >= 2 * ours,
        ),
    ]


def _by_kind(requests: Iterable[Mapping[str, Any]]) -> str:
    counts: Counter[str] = Counter()
    for request in requests:
        if request["status"] == 401:
            counts["refused for want of a token"] += 1
        elif request["method"] == "DELETE":
            counts["delete"] += 1
        else:
            counts[next(kind for kind, path in KINDS if path.search(request["path"]))] += 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


PLAIN_DELETIONS = 600
"""
The plain SDK would take minutes for all deletions, so it does fewer; costs are compared per
deletion.
"""


def distance() -> list[Row]:
    """Deletions over a network with latency."""
    return [*_distance(20), *_distance(50)]


def _distance(milliseconds: int) -> list[Row]:
    name, latency = f"{milliseconds}-ms", milliseconds / 1000
    with served(name) as world, tempfile.TemporaryDirectory() as folder:
        began = cpu_of_children()
        seconds, report = run("apply", world, Path(folder), max_deletions=0, concurrency=CONCURRENCY)
        spent = cpu_of_children()
    our_cpu = (spent - began) / DELETIONS
    # This includes the emulator's start and its lists, on the same cores as the run.
    emulator_cpu = (cpu_of_children() - spent) / DELETIONS
    assert report["counts"]["deleted"] == DELETIONS
    with served(name) as calm, tempfile.TemporaryDirectory() as folder:
        run("apply", calm, Path(folder), max_deletions=0, concurrency=DEFAULT_CONCURRENCY)
    with served(name) as other:
        began = cpu_of_children()
        delete_with_sdk(other, ["shop/web"], threads=CONCURRENCY, at_most=PLAIN_DELETIONS)
        plain_cpu = (cpu_of_children() - began) / PLAIN_DELETIONS
    usual = _deleting(calm.requests, latency)
    ours, plain = _deleting(world.requests, latency), _deleting(other.requests, latency)
    per_ours, per_plain = ours / DELETIONS, plain / PLAIN_DELETIONS
    path = DELETIONS * latency / DEFAULT_CONCURRENCY
    claim = f"{DELETIONS:,} manifests deleted at {milliseconds} ms, {CONCURRENCY} at once"
    return [
        Row(
            claim,
            f"{ours:.1f} s, {per_ours * 1e3:.2f} ms each (the whole run: {seconds:.1f} s)",
            f"SDK used plainly, {CONCURRENCY} threads: {per_plain * 1e3:.2f} ms each",
            f"{per_plain / per_ours:.1f} × faster",
            "≥ 4 × faster",
            per_plain >= 4 * per_ours,
        ),
        Row(
            "CPU of the same, whole runs",
            f"{our_cpu * 1e3:.1f} ms each, clusters, plan, second look, journal, proof and reports included",
            f"SDK: {plain_cpu * 1e3:.1f} ms each; the emulated registry on the same cores: {emulator_cpu * 1e3:.1f} ms",
            f"{plain_cpu / our_cpu:.1f} × less",
            "≥ 2 × less",
            plain_cpu >= 2 * our_cpu,
        ),
        Row(
            f"the same, {DEFAULT_CONCURRENCY} at once (the default)",
            f"{usual:.1f} s",
            f"{DELETIONS:,} × {milliseconds} ms / {DEFAULT_CONCURRENCY} at once = {path:.1f} s",
            f"{usual / path:.2f} ×",
            "≤ 1.3 ×",
            usual <= 1.3 * path,
        ),
        Row(
            "connections opened to the registry",
            f"{world.connections}",
            f"{CONCURRENCY} at once; SDK: {other.connections}",
            f"{world.connections}",
            f"≤ {CONCURRENCY}",
            world.connections <= CONCURRENCY,
        ),
    ]


def _deleting(requests: Iterable[Mapping[str, Any]], latency: float) -> float:
    """Seconds from the first deletion request to the last answer."""
    moments = [request["at"] for request in requests if request["method"] == "DELETE"]
    return float(max(moments) - min(moments)) + latency


def rate() -> list[Row]:
    """The share of a rate limit that is used, and deletions in a registry that becomes slow."""
    return [_rate(500), _rate(2_000), _reads(5_000), _slowing()]


def _slowing() -> Row:
    with served("slowing") as world, tempfile.TemporaryDirectory() as folder:
        _, report = run("apply", world, Path(folder), max_deletions=0, concurrency=CONCURRENCY)
    answered = sum(request["method"] == "DELETE" and request["status"] == 202 for request in world.requests)
    sent = sum(request["method"] == "DELETE" for request in world.requests)
    failed = report["counts"]["failed"] + DELETIONS - report["counts"]["deleted"]
    return Row(
        f"{DELETIONS:,} deletions, a third of them at ten times the latency (200 ms)",
        f"{answered:,} done with {sent:,} requests, {failed} failed or lost",
        f"one request each: {DELETIONS:,}",
        f"{failed} failed",
        "none",
        failed == 0,
    )


def _rate(limit: int) -> Row:
    with served(f"{limit}-a-minute") as world, tempfile.TemporaryDirectory() as folder:
        _, report = run("apply", world, Path(folder), max_deletions=0)
    deletions = [request for request in world.requests if request["method"] == "DELETE"]
    done = [request["at"] for request in deletions if request["status"] == 202]
    refused = sum(request["status"] == 429 for request in deletions)
    windows, used = _used(done, limit, MINUTE)
    lost = report["counts"]["failed"] + DELETIONS - report["counts"]["deleted"]
    return Row(
        f"{DELETIONS:,} deletions at {limit:,} a minute",
        f"{len(done)} done, {lost} lost, {refused} answered 429",
        f"{windows} minutes of the registry, which are the fewest possible",
        f"{min(used, 1.0):.1%} used",
        "≥ 95 %, none lost",
        used >= 0.95 and lost == 0,
    )


def _reads(limit: int) -> Row:
    with served(f"{limit}-reads-a-minute") as world, tempfile.TemporaryDirectory() as folder:
        _, report = run("plan", world, Path(folder))
    reads = [request for request in world.requests if request["method"] == "GET"]
    done = [request["at"] for request in reads if request["status"] == 200]
    refused = sum(request["status"] == 429 for request in reads)
    windows, used = _used(done, limit, READ_MINUTE)
    lost = READS // 2 - report["counts"]["kept"]
    return Row(
        f"{len(done):,} reads at {limit:,} a minute",
        f"{READS // 2 - lost:,} repositories read, {lost} lost, {refused} answered 429",
        f"{windows} minutes of the registry, which are the fewest possible",
        f"{min(used, 1.0):.1%} used",
        "≥ 95 %, none lost",
        used >= 0.95 and lost == 0,
    )


def _used(done: list[float], limit: int, minute: float) -> tuple[int, float]:
    """
    The fewest windows for these requests, and the share of the time until the last one opened that
    was needed.
    """
    # The first window opens with the first request.
    windows = -(-len(done) // limit)
    least = (windows - 1) * minute
    return windows, least / (max(done) - min(done) - _within_last(done, least))


def _within_last(done: list[float], least: float) -> float:
    """
    Seconds between the first and the last request in the last window; they do not count as lost
    time.
    """
    opened = min(done) + least
    late = [moment for moment in done if moment >= opened]
    return max(late) - min(late) if late else 0.0
