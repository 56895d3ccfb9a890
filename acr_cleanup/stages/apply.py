"""
Applies a plan: the only stage that deletes.

Usage is read again before the first deletion, and again when it is older than `USAGE_STAYS_FRESH`.
Each repository is listed and decided again right before its steps (`apply_repository`). Every
deletion is journalled before it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from acr_cleanup.concurrency import gather, unless_stopped
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.outcome import Outcome
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.tally import Tally
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.records.journal import Journal
from acr_cleanup.stages.apply_repository import RepositoryApply
from acr_cleanup.stages.attempt import ApplyContext
from acr_cleanup.stages.fresh_usage import FreshUsage, UsageBlockedError
from acr_cleanup.stages.read_repository import never, off_loop
from acr_cleanup.stages.registry_port import REPOSITORIES_AT_ONCE, Registry

AHEAD = 2
"""
Steps in the journal for each deletion that may be in flight.

The next deletions are journalled while the current ones are in flight, so no deletion waits for the
disk.
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """
    The outcomes of an apply. With blockers and no outcomes, nothing was deleted.

    `warnings` name the locks that were removed and could not be restored.
    """

    outcomes: tuple[Outcome, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    warnings: tuple[str, ...] = ()


async def apply(
    plan: Plan,
    registry: Registry,
    read_usage: Callable[[], Awaitable[UsageIndex]],
    *,
    stop: asyncio.Event,
    concurrency: int,
    report: Callable[[Sequence[Outcome]], None],
    journal: Journal | None = None,
    backup: bool = False,
    untagged_expire: Callable[[], Awaitable[bool]] = never,
    on_inventory: Callable[[RepositoryInventory, UsageIndex], None] = lambda _inventory, _usage: None,
) -> Applied:
    """
    Carry out the steps of the plan that a new check of clusters and repository confirms.

    The caller must not pass a plan that has blockers or exceeds a limit.

    plan: applicable, see above.
    stop: once set, no new deletion starts; the remaining steps end as `not attempted`.
    concurrency: deletions in flight at once.
    report, journal, backup, untagged_expire, on_inventory: see `ApplyContext`.
    """
    usage = FreshUsage(read_usage)
    try:
        await unless_stopped(usage.get(), stop)
    except UsageBlockedError as blocked:
        return Applied(blockers=blocked.blockers)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise

    context = ApplyContext(
        plan,
        registry,
        usage,
        stop,
        in_flight=asyncio.Semaphore(concurrency),
        workers=AHEAD * concurrency,
        ahead=asyncio.Semaphore(AHEAD * concurrency),
        report=report,
        on_inventory=on_inventory,
        journal=journal,
        backup=backup,
        untagged_expire=untagged_expire,
    )

    async def run_repository(tally: Tally) -> RepositoryApply:
        planned = await off_loop(tally.tags, partial(plan.to_apply, tally.repository))
        repository = RepositoryApply(context, planned)
        await repository.run()
        return repository

    jobs = [partial(run_repository, tally) for tally in plan.tallies if tally.steps]
    repositories = await gather(jobs, limit=REPOSITORIES_AT_ONCE)
    outcomes = [outcome for repository in repositories for outcome in repository.outcomes]
    outcomes.sort(key=lambda outcome: (outcome.repository, outcome.tag or "", outcome.digest))
    blockers = dict.fromkeys(blocker for repository in repositories for blocker in repository.blockers)
    warnings = tuple(warning for repository in repositories for warning in repository.warnings)
    return Applied(tuple(outcomes), tuple(blockers), warnings)
