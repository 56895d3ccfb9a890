"""Plans: lists each repository in scope, and decides about its tags and manifests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from acr_cleanup.concurrency import gather
from acr_cleanup.core.left_out import planned_part
from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.policy import Evidence, eligible_repositories
from acr_cleanup.core.policy_findings import findings
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.reviewed import bound_to
from acr_cleanup.core.tally import Tally
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.errors import RegistryError, RegistryUnreachable
from acr_cleanup.reports import words
from acr_cleanup.runtimes.base import Progress
from acr_cleanup.stages.measure import measured
from acr_cleanup.stages.read_repository import decide_repository, never, off_loop, read_repository
from acr_cleanup.stages.registry_port import REPOSITORIES_AT_ONCE, Registry
from acr_cleanup.stages.verify import find_missing

CLOCK_SKEW = timedelta(minutes=5)
"""How far this machine's clock may be ahead of the registry's."""


async def make_plan(
    registry: Registry,
    login_server: str,
    usage: UsageIndex,
    policy: RetentionPolicy,
    progress: Progress,
    clock: Callable[[], datetime],
    *,
    backup: bool = False,
    exact_sizes: bool = False,
    untagged_expire: Callable[[], Awaitable[bool]] = never,
    catalog: Collection[str] | None = None,
    reviewed: Iterable[RepositoryPlan] | None = None,
    on_decided: Callable[[Evidence, RepositoryPlan], None] = lambda _evidence, _plan: None,
) -> Plan:
    """
    List the repositories in scope and decide about each.

    Raises `AcrCleanupError` when nothing of the registry can be read.

    backup: the content of deleted manifests is journalled, so it must be readable.
    exact_sizes: measure the freed space. This reads every manifest of a repository that loses one.
    catalog: the names of all repositories, if they are known.
    reviewed: repositories of a reviewed plan. Then nothing beyond it is planned.
    on_decided: called with each repository that could be read, and what was decided about it.
    """
    known = catalog
    if catalog is None:
        # Where it is refused, this says so.
        catalog = await registry.catalog() if policy.scope is Scope.ALL else ()
    # A reviewed plan of the whole registry may be applied shard by shard.
    ours = None if reviewed is None else tuple(plan for plan in reviewed if policy.shard.includes(plan.repository))
    # Includes reviewed repositories that have left the scope: their tags must end as outcomes too.
    names = sorted({*eligible_repositories(usage, policy, catalog), *(plan.repository for plan in ours or ())})
    registry.announce(names)
    now = clock()
    plans: list[Packed] = []

    async def plan_one(name: str) -> None:
        plan = await _plan_repository(
            name,
            registry,
            usage,
            policy,
            now,
            untagged_expire,
            on_decided,
            backup=backup,
            exact_sizes=exact_sizes,
            listed=known is None or name in known,
        )
        plans.append(await off_loop(len(plan.decisions), partial(Packed.of, plan)))
        progress("repositories", len(plans), len(names), name)

    progress("repositories", 0, len(names), "")
    await gather([partial(plan_one, name) for name in names], limit=REPOSITORIES_AT_ONCE)
    repositories = PackedPlans(plans)
    known = catalog if policy.scope is Scope.ALL else known
    plan = Plan(
        registry=login_server,
        policy=policy,
        created_at=now,
        usage=usage,
        repositories=repositories,
        blockers=(
            *usage.blockers,
            *_unreadable(repositories.tallies, login_server),
            *_clock_ahead(clock(), registry.now(), login_server),
        ),
        findings=findings(policy, repositories.tallies, known, now),
        part=None if known is None else planned_part(known, names, usage, policy),
    )
    return plan if ours is None else bound_to(ours, plan)


NOT_IN_CATALOG = (
    "The registry's list of repositories leaves it out, so no object was searched for mentions of it. Run again. If that "
    "does not help, let the identity list all repositories of the registry."
)


async def _plan_repository(
    name: str,
    registry: Registry,
    usage: UsageIndex,
    policy: RetentionPolicy,
    now: datetime,
    untagged_expire: Callable[[], Awaitable[bool]],
    on_decided: Callable[[Evidence, RepositoryPlan], None],
    *,
    backup: bool,
    exact_sizes: bool,
    listed: bool,
) -> RepositoryPlan:
    try:
        inventory = await read_repository(registry, name, usage, policy, now, all_referrers=backup, edges=False)
    except RegistryUnreachable:
        raise
    except RegistryError as error:
        # Its content is unknown, so all of it is kept. Other repositories do not depend on it.
        return RepositoryPlan(name, error=str(error))
    if not listed and (inventory.tags or inventory.manifests):
        return RepositoryPlan(name, error=NOT_IN_CATALOG)
    decided = await decide_repository(Evidence(inventory, usage, policy, now), untagged_expire)
    on_decided(decided.evidence, decided.plan)
    plan = replace(decided.plan, missing=await find_missing(inventory, usage, registry))
    return await measured(plan, inventory, registry) if exact_sizes else plan


def _unreadable(tallies: Sequence[Tally], login_server: str) -> tuple[Blocker, ...]:
    """Return a blocker if no repository could be read: the cause is then the registry."""
    if tallies and all(tally.error for tally in tallies):
        return (Blocker(login_server, "read its repositories", tallies[0].error, ""),)
    return ()


def _clock_ahead(ours: datetime, registry_time: datetime | None, login_server: str) -> tuple[Blocker, ...]:
    """
    Return a blocker if this machine's clock is ahead: new tags would look old. If it is behind,
    more tags are kept.
    """
    if registry_time is None or ours - registry_time <= CLOCK_SKEW:
        return ()
    seen = (
        f"The clock of this machine is {words.age(ours - registry_time)} ahead of the registry's "
        f"({ours:%Y-%m-%d %H:%M} and {registry_time:%Y-%m-%d %H:%M} UTC): tags would look older than they are."
    )
    return (Blocker(login_server, "tell how old its tags are", seen, "Set the clock of this machine, and run again."),)
