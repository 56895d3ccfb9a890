"""
`plan` and `apply`: connect, read, plan, apply, verify, publish.

A dry run is the same run without apply and verify. Reports are published on every way out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.ignored_kinds import ignored_kinds
from acr_cleanup.clusters.target import Waiver
from acr_cleanup.commands.connections import REFUSED, open_azure, open_registry
from acr_cleanup.concurrency import Stop, unless_stopped
from acr_cleanup.core.known_bodies import BodyMemory
from acr_cleanup.core.outcome import Outcome, Result, Undo, Verdict, outcomes_of_taken, verdict_of
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.pulls import PULL_LOG
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
from acr_cleanup.stages.cache_rules import CacheRules
from acr_cleanup.stages.connect import log_in
from acr_cleanup.stages.ledger import LedgerKeeper
from acr_cleanup.stages.names import read_repository_names
from acr_cleanup.stages.plan import make_plan, relaxed_gc
from acr_cleanup.stages.publish import publish
from acr_cleanup.stages.read import ConfiguredClusters, ServiceChoice, UsageSources, read_usage
from acr_cleanup.stages.read_repository import never
from acr_cleanup.stages.registry_port import Registry
from acr_cleanup.stages.soft_delete import RegistryPolicies
from acr_cleanup.stages.verify import Witness, verify

log = logging.getLogger("acr_cleanup")


async def _unknown() -> Undo:
    return Undo()


async def _done() -> None:
    return None


@dataclass(frozen=True)
class Connections:
    """Everything outside this process that a run reads or changes."""

    registry: Registry
    sources: UsageSources
    read_soft_delete: Callable[[], Awaitable[Undo]] = _unknown
    """Asks Azure whether deleted manifests can be restored."""
    untagged_expire: Callable[[], Awaitable[bool]] = never
    """Asks Azure whether a policy of the registry may delete manifests without a tag."""
    log_in: Callable[[], Awaitable[None]] = _done
    """Asks for every token that the run will need."""
    bodies: BodyMemory = field(default_factory=BodyMemory)
    """What the client of the registry knows of manifests."""


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
    with stop.on_signals(), relaxed_gc():
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


@asynccontextmanager
async def connect(settings: Settings, runtime: Runtime, environ: Mapping[str, str]) -> AsyncIterator[Connections]:
    """Open the login, the registry and the clusters of these settings."""
    bodies = BodyMemory()
    async with (
        open_azure(settings, runtime, environ) as azure,
        open_registry(azure, settings, include_locked=settings.policy.include_locked, bodies=bodies) as registry,
    ):
        policies = RegistryPolicies(azure, settings.registry_place)
        yield Connections(
            registry,
            configured_clusters(azure, settings),
            partial(policies.can_restore, backup=settings.backup),
            policies.untagged_expire,
            partial(log_in, azure, token_scopes(settings)),
            bodies,
        )


def token_scopes(settings: Settings) -> dict[str, str]:
    """Return the scopes of all tokens that these settings need, and what they are for."""
    azure = settings.services - {"auto"} or settings.subscriptions or settings.registry_subscription_id
    scopes = {settings.cloud.registry_scope: f"the registry {settings.registry.login_server}"}
    if azure or any(target.in_azure for target in settings.clusters):
        scopes[settings.cloud.resource_manager_scope] = "Azure Resource Manager"
    if settings.pull_window and Waiver(SERVICES, PULL_LOG) not in settings.waive:
        scopes[f"{settings.cloud.log_analytics}/.default"] = "Log Analytics"
    for target in settings.clusters:
        for scope in target.token_scopes():
            scopes.setdefault(scope, f"the API server of {target.key}")
    return scopes


def service_choice(settings: Settings) -> ServiceChoice:
    """Return which services of Azure these settings read."""
    return ServiceChoice(
        settings.services,
        required=settings.require_all_services,
        revisions=settings.container_app_revisions,
        site_snapshots=settings.app_service_snapshots,
        concurrency=settings.concurrency,
    )


def configured_clusters(azure: Azure, settings: Settings) -> ConfiguredClusters:
    """Return the clusters of these settings."""
    return ConfiguredClusters(
        azure,
        settings.registry_place,
        settings.clusters,
        settings.helm_history,
        (*settings.waive, *(replace(waiver, workloads=True) for waiver in settings.waive_workloads)),
        dict(settings.mirrors),
        CacheRules(azure, settings.registry_place),
        ignored_kinds(settings.ignore_kinds),
        settings.subscriptions,
        unlisted_block=settings.require_all_clusters,
        services=service_choice(settings),
        pulled_within=settings.pull_window,
        ignore_pulls_by=settings.ignore_pulls_by,
        shows_addresses=settings.log_level == "debug",
    )


@dataclass
class _Run:
    """The state of a run. If the run ends early, its result is made from this state."""

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
    started = clock()
    host = settings.registry.login_server
    run = _Run(Plan(host, settings.policy, started, UsageIndex.of((), started)))
    if reviewed is not None and (reasons := _doubts(reviewed, settings, started)):
        # Checked before anything is read: with these doubts, the plan must not be applied.
        return Result(
            run.plan, Verdict.REFUSED, dry_run, started, clock(), refusals=reasons, applied_plan=reviewed.named
        )
    try:
        async with open_connections() as connections:
            registry, sources = connections.registry, connections.sources
            ledger = run.ledger = LedgerKeeper(
                settings.ledger, host, settings.policy, started, connections.bodies, registry.now
            )
            ledger.open()
            await unless_stopped(connections.log_in(), stop)
            run.names = await unless_stopped(read_repository_names(registry, runtime), stop)
            reading = read_usage(sources, run.names, runtime.progress, clock, registry=settings.registry)
            usage = ledger.attach(await unless_stopped(reading, stop))
            run.plan = await unless_stopped(
                make_plan(
                    registry,
                    host,
                    usage,
                    settings.policy,
                    runtime.progress,
                    clock,
                    backup=settings.backup,
                    exact_sizes=settings.exact_sizes,
                    untagged_expire=connections.untagged_expire,
                    catalog=run.names,
                    reviewed=reviewed.repositories if reviewed is not None else None,
                    on_decided=ledger.look,
                ),
                stop,
            )
            run.planned = True
            obstacles = run.plan.obstacles(settings.limits)
            run.refusals = tuple(map(refusal_text, obstacles.refusals))
            if read := run.plan.read_for_sizes:
                runtime.log(Level.INFO, f"Exact sizes: read {read:,} manifests, with one request each.")
            if run.plan.has_changes:
                run.undo = await unless_stopped(connections.read_soft_delete(), stop)
                if run.undo.text and not run.undo.final:
                    runtime.log(Level.INFO, run.undo.text)
                if not (dry_run or obstacles):
                    run.applied, run.proof = await _delete(run, connections, settings, runtime, stop, clock)
    except AcrCleanupError as error:
        log.debug("the run ended early", exc_info=True)
        run.errors = (Blocker(error.where or host, "", error.seen, error.remedy),)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    except Exception as error:  # noqa: BLE001  # reports must be written on every way out
        fault = unexpected(error)
        run.errors = (*run.blockers, Blocker("acr-cleanup", "", fault.seen, fault.remedy))
    kept = run.ledger is None or run.ledger.close(run.plan if run.planned else None, clock(), run.names)
    return Result(
        plan=run.plan,
        verdict=verdict_of(
            run.plan,
            run.applied.outcomes,
            run.blockers,
            run.refusals,
            run.proof,
            dry_run=dry_run,
            cancelled=stop.is_set(),
        ),
        dry_run=dry_run,
        started_at=started,
        finished_at=clock(),
        outcomes=run.applied.outcomes,
        blockers=run.blockers,
        refusals=run.refusals,
        warnings=(
            *run.applied.warnings,
            *run.undo.warnings,
            *run.plan.usage.warnings,
            *map(finding_text, run.plan.findings),
            *(run.ledger.warnings if run.ledger is not None else ()),
            *(warning_text(warning) for tally in run.plan.tallies for warning in tally.warnings),
        ),
        undo=run.undo.text,
        final=run.undo.final,
        applied_plan=reviewed.named if reviewed is not None else None,
        proof=run.proof,
        ledger=run.ledger.described if run.ledger is not None else "",
        incomplete=not kept,
    )


async def _delete(
    run: _Run,
    connections: Connections,
    settings: Settings,
    runtime: Runtime,
    stop: asyncio.Event,
    clock: Callable[[], datetime],
) -> tuple[Applied, Proof | None]:
    """Apply the plan, then verify that every image in use can still be pulled."""
    plan, registry, witness = run.plan, connections.registry, Witness()

    async def read_again() -> UsageIndex:
        usage = await read_usage(connections.sources, run.names, runtime.progress, clock, planned=True)
        return run.ledger.attach(usage) if run.ledger is not None else usage

    # If the journal cannot be opened, this raises, and nothing has been deleted.
    with open_journal(settings.report_dir, plan, clock(), _parameters(settings)) as journal:
        applied = await apply(
            plan,
            registry,
            read_again,
            stop=stop,
            concurrency=settings.concurrency,
            report=_count_tags(plan, runtime.progress),
            journal=journal,
            backup=settings.backup,
            untagged_expire=connections.untagged_expire,
            on_inventory=witness.look,
        )
        if not settings.verify:
            return applied, None
        runtime.log(Level.INFO, "Checking that every image in use can still be pulled.")
        proof = await verify(plan, witness, applied.outcomes, registry, stop)
        taken = outcomes_of_taken(proof)
        journal.add_taken(taken)
    return replace(applied, outcomes=(*applied.outcomes, *taken)), proof


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
