"""
Reads, plans, applies and reports: the only module that knows everyone.

Configuration -> scan -> plan -> (refuse, or look once more and apply) -> reports. A dry run is the same plan, not applied; nothing
below this module asks which it is. Reports are written on every way out.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from acr_cleanup.clusters.targets import KubeconfigCluster
from acr_cleanup.concurrency import together
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result, Undo, Verdict, verdict_of
from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.planning import nothing_to_delete, plan_repository
from acr_cleanup.core.policy import Scope, eligible_repositories
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import prepare
from acr_cleanup.core.reviewed import bound_to
from acr_cleanup.core.shard import Shard
from acr_cleanup.core.space import Content
from acr_cleanup.core.tally import Tally
from acr_cleanup.core.usage import Blocker, ClusterScan, Outside, UsageIndex
from acr_cleanup.errors import AcrCleanupError, RegistryError, RegistryUnreachable
from acr_cleanup.records.journal import open_journal
from acr_cleanup.records.reviewed_plan import ReviewedPlan, SeenCluster
from acr_cleanup.reports import files, markdown, text, words
from acr_cleanup.reports.outputs import outputs
from acr_cleanup.reports.plan_words import describe_policy, refusal_text, warning_text
from acr_cleanup.reports.view import MISSING_MEANS, Context, Tone, View
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import FailOn, Settings
from acr_cleanup.stages.apply import Applied, Registry, apply, unless_stopped
from acr_cleanup.stages.measure import measured
from acr_cleanup.stages.verify import Witness, find_missing, prove

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from acr_cleanup.access.network import Network

REPOSITORIES_AT_ONCE = 8
"""Repositories being listed at once; the registry's pace bounds the requests themselves."""

MISSING_ANNOTATED = 10
"""What is missing and shown beside the summary, which names more."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of the registry's clock ours may be."""

REFUSED = 3
"""The exit code when nothing was deleted because of a blocker or a limit."""

log = logging.getLogger("acr_cleanup")


class ReadableRegistry(Registry, Protocol):
    """What planning needs beside what apply needs."""

    async def catalog(self) -> tuple[str, ...]:
        """The names of all repositories; raises `RegistryError`."""
        ...

    def announce(self, repositories: Iterable[str]) -> None:
        """Tell which repositories are going to be read, for registries whose tokens must name them."""
        ...

    async def resolves(self, repository: str, name: str) -> bool:
        """Can this tag or digest be pulled? Raises `RegistryError`."""
        ...

    async def read_contents(self, inventory: RepositoryInventory) -> tuple[dict[Digest, Content | None], int]:
        """What each manifest takes up, and how many had to be read; raises `RegistryError`."""
        ...

    def now(self) -> datetime | None:
        """The time by the registry's own clock, which has dated every push; None if it has not told."""
        ...


Scan: TypeAlias = Callable[[Callable[[ClusterScan], None]], Awaitable[tuple[ClusterScan, ...]]]
"""Reads all clusters, and tells of each as it is done."""


async def _nothing_outside() -> Outside:
    return Outside()


async def _nothing_known() -> Undo:
    return Undo()


@dataclass(frozen=True)
class Edges:
    """The world as a run sees it: one registry, and one way to read all clusters (reporting each as it is done)."""

    registry: ReadableRegistry
    scan: Scan
    look_outside: Callable[[], Awaitable[Outside]] = _nothing_outside
    """Looks for clusters that the configuration forgot."""
    look_at_undo: Callable[[], Awaitable[Undo]] = _nothing_known
    """Finds out whether the registry could bring back what is deleted."""


@dataclass
class Stop:
    """Set by SIGINT or SIGTERM: no new deletion starts, and what was done is reported."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    received: int = signal.SIGTERM

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            for each in before:
                loop.add_signal_handler(each, self._receive, each)
        except NotImplementedError:
            # On Windows no event loop listens for signals.
            with self._on_plain_signals(loop, before):
                yield
            return
        try:
            yield
        finally:
            for each in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(each)

    @contextmanager
    def _on_plain_signals(
        self, loop: asyncio.AbstractEventLoop, before: Mapping[signal.Signals, object]
    ) -> Iterator[None]:
        def receive(number: int, _: object) -> None:
            loop.call_soon_threadsafe(self._receive, number)

        for each in before:
            signal.signal(each, receive)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)  # type: ignore[arg-type]

    def _receive(self, received: int) -> None:
        if not self.event.is_set():
            self.received = received
            self.event.set()


async def main(
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    dry_run: bool,
    context: Context | None = None,
    plan_file: Path | None = None,
    reviewed: ReviewedPlan | None = None,
) -> int:
    """
    Do one run, report it, and return the exit code.

    `context` says what a user would type next; `plan_file` receives the plan beside the report files. With a `reviewed` plan,
    nothing beyond it is deleted.
    """
    stop = Stop()
    # Until the end: a second signal must not cut the report of what the first one stopped.
    with stop.on_signals():
        title = f"{'Read and decide' if dry_run else 'Read, decide and delete'}: {settings.registry.login_server}"
        with runtime.group(title):
            result = await run(
                settings,
                lambda: connect(settings, environ, runtime),
                runtime,
                dry_run=dry_run,
                stop=stop.event,
                reviewed=reviewed,
            )
        code = 128 + stop.received if result.verdict is Verdict.CANCELLED else exit_code(result, settings.fail_on)
        if tell(result, settings, runtime, context or Context(), plan_file, reviewed) and code == 0:
            code = 1
        runtime.finish()
    return code


def exit_code(result: Result, fail_on: Collection[FailOn]) -> int:
    """0 or 1 as `fail_on` says; a refusal is never waved through."""
    if result.verdict is Verdict.REFUSED:
        return REFUSED
    if result.proof is not None and not (result.proof.holds or result.proof.skipped):
        # Who asks for a proof must not overlook that there is none.
        return 1
    fails = (
        (FailOn.DELETE_ERRORS in fail_on and result.verdict is Verdict.PARTIAL)
        or (FailOn.WARNINGS in fail_on and bool(result.warnings or result.plan.missing))
        or (FailOn.PLANNED_DELETIONS in fail_on and result.dry_run and result.plan.planned + result.plan.untagged > 0)
    )
    return int(fails)


def tell(
    result: Result,
    settings: Settings,
    runtime: Runtime,
    context: Context,
    plan_file: Path | None = None,
    reviewed: ReviewedPlan | None = None,
) -> bool:
    """Report a run wherever it is to be reported. One place that fails leaves the others; returns whether any did."""
    faults: list[str] = []

    @contextmanager
    def place(lost: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, what was deleted must be told in the other places
            log.debug("reporting", exc_info=True)
            faults.append(f"{lost}: {error if isinstance(error, OSError) else f'{type(error).__name__}: {error}'}.")

    with place("The report files could not be written"), rare_collections():
        context = files.write(result, settings.report_dir, context, reviewed.data if reviewed is not None else None)
        if plan_file is not None:
            files.write_plan(result, plan_file)
    # Before the long text: whoever is about to be killed has at least handed on what matters.
    with place("The outputs could not be made"):
        if fault := runtime.outputs(outputs(result, context)):
            faults.append(f"The outputs could not be handed on to later steps: {fault}.")
    with place("The summary could not be made"):
        if settings.summary and (fault := runtime.summary(markdown.render(result, context))):
            faults.append(f"The summary could not be shown: {fault}.")
    with place("The report could not be shown"), runtime.group("Report: every tag, and why"):
        runtime.show(text.render(result, context))
    with place("The annotations could not be made"):
        _annotate(result, runtime)
    for fault in faults:
        runtime.log(Level.ERROR, fault)
        runtime.annotate(Level.ERROR, "Not reported everywhere", f"{fault} What happened is told in the other places.")
    return bool(faults)


def _annotate(result: Result, runtime: Runtime) -> None:
    """The verdict and what must be looked into; everything else is in the summary."""
    view = View(result)
    level = {Tone.BAD: Level.ERROR, Tone.WARNING: Level.WARNING}.get(view.tone, Level.INFO)
    runtime.annotate(level, "ACR cleanup", words.plain(view.headline, 2000))
    for blocker in view.blockers:
        what = f"{blocker.where}: {blocker.call}" if blocker.call else blocker.where
        runtime.annotate(Level.ERROR, words.plain(what), f"{blocker.seen}\n{blocker.remedy}".strip())
    for refusal in result.refusals:
        runtime.annotate(Level.ERROR, "Refused", refusal)
    # A manifest without tags, too, must not fail in silence.
    for outcome in (each for kind, those in view.surprises if kind is OutcomeKind.FAILED for each in those):
        runtime.annotate(Level.ERROR, f"{words.plain(str(outcome))} was not deleted", words.plain(outcome.detail))
    for broken in view.broken:
        runtime.annotate(Level.ERROR, f"{words.plain(broken.what)} {broken.seen}", words.plain(broken.who, 1000))
    if view.missing:
        shown = "; ".join(f"{each.what}, {each.who}" for each in view.missing[:MISSING_ANNOTATED])
        more = len(view.missing) - MISSING_ANNOTATED
        shown += f"; and {more:,} more" if more > 0 else ""
        title = f"{words.count(len(view.missing), 'reference')} in use, but not in the registry"
        runtime.annotate(Level.WARNING, title, f"{words.plain(shown, 2000)}. {MISSING_MEANS}")
    for tally in view.unread:
        runtime.annotate(Level.WARNING, f"{words.plain(tally.repository)} was not read", tally.error)
    for warning in view.warnings:
        runtime.annotate(Level.WARNING, "ACR cleanup", warning)


@asynccontextmanager
async def connect(settings: Settings, environ: Mapping[str, str], runtime: Runtime) -> AsyncIterator[Edges]:
    """Open the real edges: one network session and one login for all of them."""
    # The SDKs take more than a second to import; a wrong configuration needs none of them.
    from acr_cleanup.registry.acr import open_registry  # noqa: PLC0415
    from acr_cleanup.registry.tokens import DELETING, UNLOCKING  # noqa: PLC0415
    from acr_cleanup.stages.soft_delete import look_at_undo  # noqa: PLC0415

    async with (
        log_in(settings, environ, runtime) as (network, credential),
        open_registry(
            settings.registry.login_server,
            credential,
            network.transport(),
            audience=settings.cloud.audience,
            concurrency=settings.concurrency,
            actions=UNLOCKING if settings.policy.include_locked else DELETING,
        ) as registry,
    ):
        scan = _scanner(settings, network, credential)
        yield Edges(
            registry,
            scan,
            partial(_look_outside, settings, network, credential),
            partial(look_at_undo, settings, network, credential),
        )


@asynccontextmanager
async def connect_clusters(settings: Settings, environ: Mapping[str, str], runtime: Runtime) -> AsyncIterator[Scan]:
    """Open the edges of the clusters alone: for what never speaks to the registry."""
    async with log_in(settings, environ, runtime) as (network, credential):
        yield _scanner(settings, network, credential)


@asynccontextmanager
async def log_in(
    settings: Settings, environ: Mapping[str, str], runtime: Runtime
) -> AsyncIterator[tuple[Network, AsyncTokenCredential]]:
    """Open the network session and the login that all edges share."""
    from acr_cleanup.access.credentials import open_credential  # noqa: PLC0415
    from acr_cleanup.access.network import open_network  # noqa: PLC0415

    async with (
        open_network(environ) as network,
        open_credential(
            settings.cloud, network, environ, settings.login, id_tokens=runtime.id_token, mask=runtime.mask
        ) as credential,
    ):
        yield network, credential


def _scanner(settings: Settings, network: Network, credential: AsyncTokenCredential) -> Scan:
    from acr_cleanup.clusters.scan_clusters import scan_clusters  # noqa: PLC0415

    async def scan(report: Callable[[ClusterScan], None]) -> tuple[ClusterScan, ...]:
        return await scan_clusters(
            settings.clusters,
            settings.registry,
            credential=credential,
            make_transport=network.transport,
            resource_manager=settings.cloud.resource_manager,
            resource_manager_scope=settings.cloud.resource_manager_scope,
            trust=network.ca_files,
            proxy_for=network.proxy_for,
            progress=report,
            helm_history=settings.helm_history,
            waive=settings.waive,
        )

    return scan


async def _look_outside(settings: Settings, network: Network, credential: AsyncTokenCredential) -> Outside:
    from acr_cleanup.clusters.unlisted import find_forgotten  # noqa: PLC0415

    return await find_forgotten(
        settings.clusters,
        settings.subscriptions,
        required=settings.require_all_clusters,
        credential=credential,
        make_transport=network.transport,
        resource_manager=settings.cloud.resource_manager,
        resource_manager_scope=settings.cloud.resource_manager_scope,
    )


async def run(
    settings: Settings,
    open_edges: Callable[[], AbstractAsyncContextManager[Edges]],
    runtime: Runtime,
    *,
    dry_run: bool,
    stop: asyncio.Event,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    reviewed: ReviewedPlan | None = None,
) -> Result:
    """One run, from reading to its result. What ends it early becomes a blocker of the result."""
    started = clock()
    plan = Plan(settings.registry.login_server, settings.policy, started, UsageIndex.of((), started))
    if reviewed is not None and (doubts := _doubts(reviewed, settings, started)):
        # Before anything is read: what was reviewed must not be done, whatever is true by now.
        return Result(plan, Verdict.REFUSED, dry_run, started, clock(), refusals=doubts, applied_plan=reviewed.named)
    applied, refused, blockers = Applied(()), tuple[str, ...](), tuple[Blocker, ...]()
    undo = Undo()
    try:
        async with open_edges() as edges:
            plan = await unless_stopped(make_plan(settings, edges, runtime, clock, reviewed), stop)
            blockers, refused = plan.blockers, tuple(map(refusal_text, settings.limits.exceeded_by(plan.tallies)))
            if plan.planned or plan.manifests:
                undo = await unless_stopped(edges.look_at_undo(), stop)
                if undo.text:
                    runtime.log(Level.INFO, undo.text)
            if (plan.planned or plan.manifests) and not (dry_run or blockers or refused):
                applied = await carry_out(plan, settings, edges, runtime, stop, clock)
                blockers = applied.blockers
    except AcrCleanupError as error:
        log.debug("the run ended early", exc_info=True)
        blockers = (Blocker(error.where or settings.registry.login_server, "", error.seen, error.remedy),)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    except Exception as error:  # a report must be written whatever happens, and a user can do nothing with a traceback
        log.debug("unexpected", exc_info=True)
        seen = f"Something unforeseen happened: {type(error).__name__}: {error}"
        blockers = (*blockers, Blocker("acr-cleanup", "", seen, "Run again with --log-level debug, and report it."))
    return Result(
        plan=plan,
        verdict=verdict_of(
            plan, applied.outcomes, blockers, refused, applied.proof, dry_run=dry_run, cancelled=stop.is_set()
        ),
        dry_run=dry_run,
        started_at=started,
        finished_at=clock(),
        outcomes=applied.outcomes,
        blockers=blockers,
        refusals=refused,
        warnings=(
            *applied.warnings,
            *undo.warnings,
            *plan.usage.warnings,
            *(warning_text(warning) for each in plan.tallies for warning in each.warnings),
        ),
        undo=undo.text,
        applied_plan=reviewed.named if reviewed is not None else None,
        proof=applied.proof,
    )


def _doubts(reviewed: ReviewedPlan, settings: Settings, now: datetime) -> tuple[str, ...]:
    login_server, shard = settings.registry.login_server, settings.policy.shard
    return reviewed.doubts(login_server, _configured(settings), settings.plan_max_age, now, shard)


def _configured(settings: Settings) -> tuple[SeenCluster, ...]:
    return tuple(
        SeenCluster(each.key, None if isinstance(each, KubeconfigCluster) else each.resource_id)
        for each in settings.clusters
    )


async def make_plan(
    settings: Settings,
    edges: Edges,
    runtime: Runtime,
    clock: Callable[[], datetime],
    reviewed: ReviewedPlan | None = None,
) -> Plan:
    """
    Read everything and decide everything; with a `reviewed` plan, bound to that.

    Raises `AcrCleanupError` where there is nothing to show at all.
    """
    usage = await read_usage(settings, edges, runtime, clock)
    catalog = await edges.registry.catalog() if settings.policy.scope is Scope.ALL else ()
    names = eligible_repositories(usage, settings.policy, catalog)
    # Of a plan of the whole registry, the other shards have nothing to do with this run.
    ours = () if reviewed is None else _in_shard(reviewed, settings.policy.shard)
    # Also those that are out of scope by now: what became of their tags is to be told.
    names = tuple(sorted({*names, *(each.repository for each in ours)}))
    edges.registry.announce(names)
    now = clock()
    plans: list[Packed] = []

    async def one(name: str) -> None:
        plans.append(Packed.of(await _plan_one(name, edges.registry, usage, settings, now)))
        runtime.progress("repositories", len(plans), len(names), name)

    runtime.progress("repositories", 0, len(names), "")
    with rare_collections():
        await together([partial(one, name) for name in names], limit=REPOSITORIES_AT_ONCE)
    repositories = PackedPlans(plans)
    plan = Plan(
        registry=settings.registry.login_server,
        policy=settings.policy,
        created_at=now,
        usage=usage,
        repositories=repositories,
        blockers=(
            *usage.blockers,
            *_unreadable(repositories.tallies, settings.registry.login_server),
            *_hasty_clock(clock(), edges.registry.now(), settings.registry.login_server),
        ),
    )
    if read := plan.read_for_sizes:
        runtime.log(Level.INFO, f"Exact sizes: {read:,} manifests were read for them, with one request each.")
    return plan if reviewed is None else bound_to(ours, plan)


def _in_shard(reviewed: ReviewedPlan, shard: Shard) -> tuple[RepositoryPlan, ...]:
    return tuple(each for each in reviewed.repositories if shard.includes(each.repository))


@contextmanager
def rare_collections() -> Iterator[None]:
    """
    Let Python look less often for garbage in cycles: a plan makes millions of values, which stay, and none of them is in one.

    Looking through all of them again and again takes a quarter of the time, and more the larger the registry.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _plan_one(
    name: str, registry: ReadableRegistry, usage: UsageIndex, settings: Settings, now: datetime
) -> RepositoryPlan:
    try:
        inventory = await registry.list_repository(name)
        inventory = prepare(inventory, usage, settings.policy, now, backup=settings.backup)
        if not nothing_to_delete(inventory, usage, settings.policy, now):
            inventory = await registry.read_edges(inventory)
    except RegistryUnreachable:
        raise
    except RegistryError as error:
        # What it holds is unknown, so all of it is kept; the other repositories have nothing to do with it.
        return RepositoryPlan(name, error=str(error))
    plan = plan_repository(inventory, usage, settings.policy, now)
    plan = replace(plan, missing=await find_missing(inventory, usage, registry))
    return await measured(plan, inventory, registry) if settings.exact_sizes else plan


def _unreadable(plans: Sequence[Tally], registry: str) -> tuple[Blocker, ...]:
    """When not one repository could be read, the registry is what cannot be seen."""
    if plans and all(plan.error for plan in plans):
        return (Blocker(registry, "list its repositories", plans[0].error, ""),)
    return ()


def _hasty_clock(ours: datetime, theirs: datetime | None, registry: str) -> tuple[Blocker, ...]:
    """What was pushed a moment ago must not look old. A clock that is behind only keeps more."""
    if theirs is None or ours - theirs <= CLOCK_SKEW:
        return ()
    seen = (
        f"The clock of this machine is {words.age(ours - theirs)} ahead of the registry's "
        f"({ours:%Y-%m-%d %H:%M} and {theirs:%Y-%m-%d %H:%M} UTC): tags would look older than they are."
    )
    return (Blocker(registry, "tell how old its tags are", seen, "Set the clock of this machine, and run again."),)


async def read_usage(
    settings: Settings, edges: Edges, runtime: Runtime, clock: Callable[[], datetime], *, again: bool = False
) -> UsageIndex:
    """
    Scan all clusters, and look for forgotten ones, side by side, into one usage index.

    `again` says that a plan is already made: then forgotten clusters matter only where they forbid deleting.
    """
    read_at = clock()
    ids = {each.name: each.resource_id for each in _configured(settings)}
    scans, outside = tuple[ClusterScan, ...](), Outside()

    async def scan() -> None:
        nonlocal scans
        found = await read_clusters(settings, edges.scan, runtime)
        scans = tuple(replace(each, resource_id=ids.get(each.cluster) or each.resource_id) for each in found)

    async def look_outside() -> None:
        nonlocal outside
        outside = await edges.look_outside()

    works = [scan] if again and not settings.require_all_clusters else [scan, look_outside]
    await together(works, limit=len(works))
    return UsageIndex.of(scans, read_at, outside)


async def read_clusters(settings: Settings, scan: Scan, runtime: Runtime) -> tuple[ClusterScan, ...]:
    """Scan all clusters, side by side, telling how far it is."""
    done: list[ClusterScan] = []

    def report(scan: ClusterScan) -> None:
        done.append(scan)
        what = f"{len(scan.blockers)} blockers" if scan.blockers else f"{scan.objects} objects"
        runtime.progress("clusters", len(done), len(settings.clusters), f"{scan.cluster}: {what}")

    runtime.progress("clusters", 0, len(settings.clusters), "")
    return await scan(report)


async def carry_out(
    plan: Plan, settings: Settings, edges: Edges, runtime: Runtime, stop: asyncio.Event, clock: Callable[[], datetime]
) -> Applied:
    """Apply the plan, telling how far it is, and look afterwards whether what is used still stands."""
    closed, witness = 0, Witness()

    def report(outcomes: Sequence[Outcome]) -> None:
        nonlocal closed
        closed += sum(outcome.tag is not None for outcome in outcomes)
        if outcomes:
            runtime.progress("tags", closed, plan.planned, str(outcomes[-1]))

    # A journal that cannot be begun ends the run here: nothing has been deleted.
    with open_journal(settings.report_dir, plan, clock(), _parameters(settings)) as journal:
        applied = await apply(
            plan,
            edges.registry,
            lambda: read_usage(settings, edges, runtime, clock, again=True),
            stop=stop,
            concurrency=settings.concurrency,
            report=report,
            journal=journal,
            backup=settings.backup,
            looked=witness.look,
        )
    if not settings.verify:
        return applied
    runtime.log(Level.INFO, "Looking whether everything in use can still be pulled.")
    return replace(applied, proof=await prove(plan, witness, applied.outcomes, edges.registry, stop))


def _parameters(settings: Settings) -> dict[str, str | bool]:
    """What the journal says of how the run was asked to delete."""
    return {**describe_policy(settings.policy), "backup": settings.backup}
