"""Why a reviewed plan must not be applied now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from acr_cleanup.core.references import normalise_host
from acr_cleanup.core.retention import describe_duration
from acr_cleanup.core.shard import WHOLE, Shard
from acr_cleanup.core.usage import SERVICES
from acr_cleanup.quoting import in_utc
from acr_cleanup.records.reviewed_plan import ReviewedPlan, SeenCluster
from acr_cleanup.reports import words

CLOCK_SKEW = timedelta(minutes=5)
"""A plan from further in the future is refused: its age cannot be checked."""

_AGAIN = "Plan again, and have the new plan reviewed."


def doubts(
    plan: ReviewedPlan,
    registry: str,
    clusters: Iterable[SeenCluster],
    max_age: timedelta,
    now: datetime,
    shard: Shard = WHOLE,
) -> tuple[str, ...]:
    """
    Return why this plan must not be applied now, one message per reason.

    `registry`: the configured login server. `clusters`: the configured clusters. `shard`: the
    shard of this run.
    """
    reasons = _doubts(plan, registry, clusters, max_age, now, shard)
    return tuple(f"{words.plain(plan.name)}: {reason}" for reason in reasons)


def _doubts(
    plan: ReviewedPlan, registry: str, clusters: Iterable[SeenCluster], max_age: timedelta, now: datetime, shard: Shard
) -> Iterator[str]:
    if not plan.intact:
        # The rest of the file was not reviewed: do not report it.
        yield f"the file was modified after it was written (hash mismatch). {_AGAIN}"
        return
    if normalise_host(plan.registry) != normalise_host(registry):
        yield (
            f"the plan is for registry {words.plain(plan.registry, 100)}, not for {registry}. "
            "Use the plan of this registry."
        )
        return
    if plan.shard != str(WHOLE) and not shard.is_whole and plan.shard != str(shard):
        # Different shards have no repository in common: this is the plan of another job.
        yield (
            f"the plan is for shard {words.plain(plan.shard, 40)}, but this run is shard {shard}. "
            f"Use the plan of this shard, or set shard to the plan's."
        )
    made = f"the plan was made at {in_utc(plan.created_at):%Y-%m-%d %H:%M:%S} UTC"
    age = now - plan.created_at
    if age > max_age:
        ago = f"{words.age(age)} ago" if age >= timedelta(minutes=1) else "just now"
        yield f"{made}, {ago}, but plan-max-age allows {describe_duration(max_age)}. {_AGAIN}"
    elif age < -CLOCK_SKEW:
        yield (
            f"{made}, {words.age(-age)} in the future, so its age cannot be checked. "
            f"Synchronise the clocks of both machines. {_AGAIN}"
        )
    if plan.blockers:
        yield (
            f"the plan has blockers ({words.plain(words.listing(plan.blockers))}), so it may miss uses. "
            f"Resolve them. {_AGAIN}"
        )
    configured = tuple(clusters)
    for cluster in plan.clusters:
        if not any(_is_same(cluster, candidate) for candidate in configured):
            resource_id = f" ({words.plain(cluster.resource_id)})" if cluster.resource_id else ""
            yield (
                f"the plan is based on cluster {words.plain(cluster.name, 100)}{resource_id}, "
                "which is no longer configured. "
                f"Add it again; if it was deleted: {_AGAIN[0].lower()}{_AGAIN[1:]}"
            )


def _is_same(planned: SeenCluster, configured: SeenCluster) -> bool:
    """
    Compare by resource id if both are known: the cluster may have a new name in the configuration.

    Azure ignores case in resource ids.
    """
    if planned.resource_id and configured.resource_id:
        return planned.resource_id.lower() == configured.resource_id.lower()
    if configured.name == SERVICES and planned.name.startswith(f"{SERVICES}:"):
        return True
    return planned.name == configured.name
