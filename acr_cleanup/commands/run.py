"""
`plan` and `apply`: connect, read, plan, apply, verify, publish.

A dry run is the same run without apply and verify. Reports are published on every way out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from acr_cleanup.commands.connections import REFUSED, Connections, connect
from acr_cleanup.concurrency import Stop, unless_stopped
from acr_cleanup.core.outcome import Outcome, Result, Undo, Verdict, outcomes_of_taken, verdict_of
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.usage import SERVICES, Blocker, UsageIndex
from acr_cleanup.core.verification import Proof
from acr_cleanup.errors import AcrCleanupError, unexpected
from acr_cleanup.records.journal import open_journal
from acr_cleanup.records.reviewed_plan import ReviewedPlan, SeenCluster
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.plan_doubts import doubts
from acr_cleanup.reports.plan_words import describe_policy, refusal_text, warning_text
from acr_cleanup.reports.policy_words import finding_text
from acr_cleanup.runtimes.base import Level, Progress, Runtime
from acr_cleanup.settings import FailOn, Settings
from acr_cleanup.stages.apply import Applied, apply
from acr_cleanup.stages.ledger import LedgerKeeper
from acr_cleanup.stages.names import read_named_usage, read_repository_names
from acr_cleanup.stages.plan import make_plan
from acr_cleanup.stages.publish import publish
from acr_cleanup.stages.read import read_usage
from acr_cleanup.stages.verify import Witness, verify

log = logging.getLogger("acr_cleanup")


async def run(
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    dry_run: bool,
    context: Context | None = None,
    plan_file: Path | None = None,
    reviewed: ReviewedPlan | None = None,
    print_json: Callable[[Iterable[str]], None] | None = None,
) -> int:
    """
    Do one run, publish its result, and return the exit code.

    context: the commands and inputs that reports recommend.
    plan_file: receives the plan, besides the report files.
    reviewed: a reviewed plan; nothing beyond it is deleted.
    print_json: receives report.json in pieces, instead of the report for people.
    """
    stop = Stop()
    # Signals are handled until the end: a second one must not interrupt the report.
    with stop.on_signals():
        title = f"{'Read and decide' if dry_run else 'Read, decide and delete'}: {settings.registry.login_server}"
        with runtime.group(title):
            connections = partial(connect, settings, runtime, environ)
            result = await clean(settings, runtime, connections, dry_run=dry_run, stop=stop.event, reviewed=reviewed)
        published = publish(
            result,
            runtime,
            context or Context(),
            settings.report_dir,
            summary=settings.summary,
            plan_file=plan_file,
            reviewed=reviewed.data if reviewed is not None else None,
            print_json=print_json,
        )
        runtime.finish()
    if result.verdict is Verdict.CANCELLED:
        return 128 + stop.received
    return exit_code(result, settings.fail_on) or int(not published)


@dataclass
class _Run:
    """A run and what it has done so far. If it ends early, its result is made from this."""

    settings: Settings
    runtime: Runtime
    stop: asyncio.Event
    clock: Callable[[], datetime]
    dry_run: bool
    reviewed: ReviewedPlan | None
    started: datetime
    plan: Plan
    names: frozenset[str] | None = None
    """The names of the registry's repositories; None if they cannot be listed."""
    undo: Undo = field(default_factory=Undo)
    refusals: tuple[str, ...] = ()
    applied: Applied = field(default_factory=Applied)
    proof: Proof | None = None
    errors: tuple[Blocker, ...] = ()
    """The errors that ended the run early."""
    ledger: LedgerKeeper | None = None
    planned: bool = False

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        return self.errors or self.applied.blockers or self.plan.blockers

    async def read(self, connections: Connections) -> UsageIndex:
        """Log in, and read the names of the repositories and every use."""
        await unless_stopped(connections.log_in(), self.stop)
        listed = await unless_stopped(read_repository_names(connections.registry, self.runtime), self.stop)
        read = partial(self._read_usage, connections, registry=self.settings.registry)
        reading = read_named_usage(listed, read, connections.registry, self.runtime)
        self.names, usage = await unless_stopped(reading, self.stop)
        return usage

    async def _read_usage(self, connections: Connections, names: frozenset[str] | None, **options: Any) -> UsageIndex:
        usage = await read_usage(connections.sources, names, self.runtime.progress, self.clock, **options)
        return self.ledger.attach(usage) if self.ledger is not None else usage

    def open_ledger(self, connections: Connections) -> LedgerKeeper:
        """Read the ledger, before anything else: a damaged one is a blocker."""
        settings = self.settings
        self.ledger = LedgerKeeper(
            settings.ledger,
            settings.registry.login_server,
            settings.policy,
            self.started,
            connections.bodies,
            connections.registry.now,
        )
        self.ledger.open()
        return self.ledger

    async def decide(self, connections: Connections, usage: UsageIndex, ledger: LedgerKeeper) -> None:
        """Make the plan, and find what refuses it."""
        settings, reviewed = self.settings, self.reviewed
        planning = make_plan(
            connections.registry,
            settings.registry.login_server,
            usage,
            settings.policy,
            self.runtime.progress,
            self.clock,
            backup=settings.backup,
            exact_sizes=settings.exact_sizes,
            untagged_expire=connections.untagged_expire,
            catalog=self.names,
            reviewed=reviewed.repositories if reviewed is not None else None,
            on_decided=ledger.look,
        )
        self.plan = await unless_stopped(planning, self.stop)
        self.planned = True
        self.refusals = tuple(map(refusal_text, self.plan.obstacles(settings.limits).refusals))
        if read := self.plan.read_for_sizes:
            self.runtime.log(Level.INFO, f"Exact sizes: read {read:,} manifests, with one request each.")
        if self.plan.has_changes:
            self.undo = await unless_stopped(connections.read_soft_delete(), self.stop)
            if self.undo.text and not self.undo.final:
                self.runtime.log(Level.INFO, self.undo.text)

    @property
    def deletes(self) -> bool:
        """Whether the plan is to be applied now."""
        return self.plan.has_changes and not (self.dry_run or self.plan.obstacles(self.settings.limits))

    async def delete(self, connections: Connections) -> None:
        """Apply the plan, then verify that every image in use can still be pulled."""
        plan, settings, registry, witness = self.plan, self.settings, connections.registry, Witness()
        # If the journal cannot be opened, this raises, and nothing has been deleted.
        with open_journal(settings.report_dir, plan, self.clock(), _parameters(settings)) as journal:
            applied = await apply(
                plan,
                registry,
                partial(self._read_usage, connections, self.names, planned=True),
                stop=self.stop,
                concurrency=settings.concurrency,
                report=_count_tags(plan, self.runtime.progress),
                journal=journal,
                backup=settings.backup,
                untagged_expire=connections.untagged_expire,
                on_inventory=witness.look,
            )
            self.applied = applied
            if not settings.verify:
                return
            self.runtime.log(Level.INFO, "Checking that every image in use can still be pulled.")
            self.proof = await verify(plan, witness, applied.outcomes, registry, self.stop)
            taken = outcomes_of_taken(self.proof)
            journal.add_taken(taken)
        self.applied = replace(applied, outcomes=(*applied.outcomes, *taken))

    def result(self) -> Result:
        """Close the ledger, and return the result of what was done."""
        plan, ledger = self.plan, self.ledger
        kept = ledger is None or ledger.close(plan if self.planned else None, self.clock(), self.names)
        outcomes, cancelled = self.applied.outcomes, self.stop.is_set()
        return Result(
            plan=plan,
            verdict=verdict_of(
                plan, outcomes, self.blockers, self.refusals, self.proof, dry_run=self.dry_run, cancelled=cancelled
            ),
            dry_run=self.dry_run,
            started_at=self.started,
            finished_at=self.clock(),
            outcomes=outcomes,
            blockers=self.blockers,
            refusals=self.refusals,
            warnings=(
                *self.applied.warnings,
                *self.undo.warnings,
                *plan.usage.warnings,
                *map(finding_text, plan.findings),
                *(ledger.warnings if ledger is not None else ()),
                *(warning_text(warning) for tally in plan.tallies for warning in tally.warnings),
            ),
            undo=self.undo.text,
            final=self.undo.final,
            applied_plan=self.reviewed.named if self.reviewed is not None else None,
            proof=self.proof,
            ledger=ledger.described if ledger is not None else "",
            incomplete=not kept,
        )


async def clean(
    settings: Settings,
    runtime: Runtime,
    open_connections: Callable[[], AbstractAsyncContextManager[Connections]],
    *,
    dry_run: bool,
    stop: asyncio.Event,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    reviewed: ReviewedPlan | None = None,
) -> Result:
    """Read, plan, apply and verify. An error that ends the run early is a blocker of the result."""
    started, host = clock(), settings.registry.login_server
    nothing = Plan(host, settings.policy, started, UsageIndex.of((), started))
    run = _Run(settings, runtime, stop, clock, dry_run, reviewed, started, nothing)
    if reviewed is not None and (reasons := _doubts(reviewed, settings, started)):
        # Checked before anything is read: with these doubts, the plan must not be applied.
        return Result(
            nothing, Verdict.REFUSED, dry_run, started, clock(), refusals=reasons, applied_plan=reviewed.named
        )
    try:
        async with open_connections() as connections:
            ledger = run.open_ledger(connections)
            usage = await run.read(connections)
            await run.decide(connections, usage, ledger)
            if run.deletes:
                await run.delete(connections)
    except AcrCleanupError as error:
        log.debug("the run ended early", exc_info=True)
        run.errors = (Blocker(error.where or host, "", error.seen, error.remedy),)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    except Exception as error:  # noqa: BLE001  # reports must be written on every way out
        fault = unexpected(error)
        run.errors = (*run.blockers, Blocker("acr-cleanup", "", fault.seen, fault.remedy))
    return run.result()


def _doubts(reviewed: ReviewedPlan, settings: Settings, now: datetime) -> tuple[str, ...]:
    configured = [SeenCluster(target.key, target.resource_id) for target in settings.clusters]
    if settings.services:
        configured.append(SeenCluster(SERVICES, None))
    return doubts(
        reviewed, settings.registry.login_server, configured, settings.plan_max_age, now, settings.policy.shard
    )


def _count_tags(plan: Plan, progress: Progress) -> Callable[[Sequence[Outcome]], None]:
    """Report progress by tags that have an outcome."""
    finished = 0

    def report(outcomes: Sequence[Outcome]) -> None:
        nonlocal finished
        finished += sum(outcome.tag is not None for outcome in outcomes)
        if outcomes:
            progress("tags", finished, plan.planned, str(outcomes[-1]))

    return report


def _parameters(settings: Settings) -> dict[str, str | bool]:
    """The policy, as the journal records it."""
    return {**describe_policy(settings.policy), "backup": settings.backup}


def exit_code(result: Result, fail_on: Collection[FailOn]) -> int:
    """Return 0, 1 as `fail_on` says, or `REFUSED`: no choice of `fail_on` hides a refusal."""
    if result.verdict is Verdict.REFUSED:
        return REFUSED
    if result.proof is not None and not (result.proof.holds or result.proof.skipped):
        # A verification that failed or could not be completed must not be overlooked.
        return 1
    if result.incomplete:
        return 1
    fails = (
        (FailOn.DELETE_ERRORS in fail_on and result.verdict is Verdict.PARTIAL)
        or (FailOn.WARNINGS in fail_on and bool(result.warnings or result.plan.missing))
        or (FailOn.PLANNED_DELETIONS in fail_on and result.dry_run and result.plan.planned + result.plan.untagged > 0)
    )
    return int(fails)
