"""Reads the clusters that this machine can reach into a usage snapshot, without planning."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.snapshot import SnapshotEntry, write_snapshot
from acr_cleanup.clusters.target import ClusterTarget
from acr_cleanup.commands.connections import REFUSED, configured_clusters, open_azure, open_registry
from acr_cleanup.commands.names import or_names_file, read_names_file
from acr_cleanup.concurrency import Stop, unless_stopped
from acr_cleanup.core.usage import SERVICES, ClusterScan, Outside, UsageIndex
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, Problem, RegistryError, unexpected
from acr_cleanup.records.names import RegistryNames
from acr_cleanup.reports import files, markdown_failures, words
from acr_cleanup.reports.collected import CollectedReport
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.outputs import outputs_of_failure
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.settings.grammar import did_you_mean, nearest, shown
from acr_cleanup.stages.names import read_named_usage, read_registry_names, read_repository_names
from acr_cleanup.stages.read import ConfiguredClusters, used_repositories
from acr_cleanup.stages.registry_port import Registry

log = logging.getLogger("acr_cleanup")


async def collect(
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    out: Path,
    only: Collection[str] = (),
    names: Path | None = None,
    dialect: Dialect = GITHUB,
) -> int:
    """
    Read clusters into a usage snapshot, and return the exit code.

    `out`: the file to write. `only`: the keys of the clusters to read, empty for all. The code is
    3 if a cluster could not be read completely; the snapshot then contains the blockers, which
    refuse each run that uses it. No file is written if the login failed or the command was
    cancelled. Raises `ConfigurationError`.
    """
    settings = replace(settings, clusters=_select(settings.clusters, only))
    files.prepare_file(out, "out", "the usage snapshot")
    known = read_names_file(names, settings.registry.login_server) if names is not None else None
    stop = Stop()
    with stop.on_signals():
        try:
            return await _collect(settings, runtime, environ, out, stop, dialect, known)
        except asyncio.CancelledError:
            if not stop.event.is_set():
                raise
            text = "Cancelled. No usage snapshot was written."
            runtime.log(Level.WARNING, text)
            runtime.annotate(Level.WARNING, "ACR cleanup", text)
            _publish(runtime, settings, "aborted", markdown_failures.render_cancelled(text, dialect))
            return 128 + stop.received
        except AcrCleanupError as error:
            log.debug("collect failed", exc_info=True)
            return _failed(error, str(error), REFUSED, runtime, settings, dialect)
        except OSError as error:
            text = f"{out} could not be written: {error.strerror or error}."
            return _failed(error, text, 1, runtime, settings, dialect)
        except Exception as error:  # noqa: BLE001  `unexpected` logs it; a traceback does not help a user
            return _failed(error, str(unexpected(error)), 1, runtime, settings, dialect)
        finally:
            runtime.finish()


@dataclass
class _Reading:
    """Reads the names of the registry, the clusters, and the selected services."""

    settings: Settings
    runtime: Runtime
    azure: Azure
    clusters: ConfiguredClusters
    started: datetime
    scans: tuple[ClusterScan, ...] = ()
    services: tuple[ClusterScan, ...] = ()

    async def run(self, known: RegistryNames | None) -> RegistryNames:
        """Read everything, with the names that a file has, or those of the registry. Returns the names."""
        if known is not None:
            await self._read_usage([repository.name for repository in known.repositories])
            return known
        try:
            async with open_registry(self.azure, self.settings) as registry:
                listed = await read_repository_names(registry, self.runtime)
                if listed is None:
                    # Nothing can be deleted of the others.
                    listed = await used_repositories(self.clusters, self.runtime.progress)
                known = await self._read_names(registry, listed)
                names, _ = await read_named_usage(listed, self._read_usage, registry, self.runtime)
                left_out = (names or listed) - listed
                return known.with_repositories(await self._read_names(registry, left_out)) if left_out else known
        except RegistryError as error:
            raise or_names_file(error) from error

    async def _read_names(self, registry: Registry, repositories: Collection[str]) -> RegistryNames:
        host = self.settings.registry.login_server
        return await read_registry_names(registry, host, repositories, self.runtime.progress, self.started)

    async def _read_usage(self, names: Collection[str] | None) -> UsageIndex:
        repositories = sorted(names or ())
        scans = await self.clusters.scan(self.runtime.progress, repositories)
        unread = self.clusters.unread_rules
        self.scans = tuple(replace(scan, notes=(*scan.notes, *unread)) for scan in scans)
        # Not with `auto`: a machine that reads clusters on its site may not reach Azure.
        if self.settings.services and self.settings.services != {"auto"}:
            self.services = _with_outside(*await self.clusters.read_services(repositories, planned=True))
        return UsageIndex.of((*self.scans, *self.services), self.started)


async def _collect(
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    out: Path,
    stop: Stop,
    dialect: Dialect,
    known: RegistryNames | None,
) -> int:
    title = f"Read the clusters for {settings.registry.login_server}"
    with runtime.group(title):
        async with open_azure(settings, runtime, environ) as azure:
            clusters = configured_clusters(azure, settings)
            # Taken before the first request: a workload deployed during the reading may be missed.
            started = datetime.now(UTC)
            reading = _Reading(settings, runtime, azure, clusters, started)
            known = await unless_stopped(reading.run(known), stop.event)
    scans, services = reading.scans, reading.services
    write_snapshot(
        out,
        settings.registry,
        (*_records(settings.clusters, scans, started), *(SnapshotEntry(scan, started) for scan in services)),
        helm_history=settings.helm_history,
        created_at=datetime.now(UTC),
        names=known,
    )
    report = CollectedReport((*scans, *services), str(out))
    runtime.show(report)
    for blocker in report.blockers:
        title = words.plain(f"{blocker.where}: {blocker.call}")
        runtime.annotate(Level.ERROR, title, f"{blocker.seen}\n{blocker.remedy}".strip())
    for warning in report.warnings:
        runtime.annotate(Level.WARNING, "ACR cleanup", words.plain(warning))
    _publish(runtime, settings, "aborted" if report.blockers else "success", report.markdown(dialect))
    return REFUSED if report.blockers else 0


def _select(clusters: tuple[ClusterTarget, ...], only: Collection[str]) -> tuple[ClusterTarget, ...]:
    """
    Return the targets with these keys, by default all.

    Raises `ConfigurationError` for an unknown key.
    """
    keys = [target.key for target in clusters]
    problems = tuple(
        Problem(
            "only",
            f"The configuration has no cluster {shown(key)}.{did_you_mean(nearest(key, keys))}",
            "Use the name of a cluster in the configuration.",
        )
        for key in only
        if key not in keys
    )
    if problems:
        raise ConfigurationError(problems)
    return tuple(target for target in clusters if not only or target.key in only)


def _with_outside(services: tuple[ClusterScan, ...], outside: Outside) -> tuple[ClusterScan, ...]:
    """Add what is not seen as a whole to each scan, so that a run with any of them says so, or refuses."""
    if not services and (outside.warnings or outside.blockers):
        services = (ClusterScan(SERVICES, access=SERVICES),)
    return tuple(
        replace(scan, blockers=(*scan.blockers, *outside.blockers), notes=(*scan.notes, *outside.warnings))
        for scan in services
    )


def _records(
    targets: Iterable[ClusterTarget], scans: Iterable[ClusterScan], started: datetime
) -> Iterable[SnapshotEntry]:
    for target, scan in zip(targets, scans, strict=True):
        # A scan copied from a snapshot keeps its age.
        yield SnapshotEntry(scan, scan.read_at or started, target.recognise().resource_id)


def _failed(error: Exception, text: str, code: int, runtime: Runtime, settings: Settings, dialect: Dialect) -> int:
    text = f"{text} No usage snapshot was written."
    runtime.log(Level.ERROR, text)
    runtime.annotate(Level.ERROR, "ACR cleanup", text)
    _publish(runtime, settings, "failed", markdown_failures.render_failure(error, dialect=dialect))
    return code


def _publish(runtime: Runtime, settings: Settings, result: str, summary: str) -> None:
    """
    Write the outputs and the summary.

    All outputs but `result` are empty, because no plan was made.
    """
    faults = [runtime.outputs(outputs_of_failure() | {"result": result})]
    if settings.summary:
        faults.append(runtime.summary(summary))
    for fault in filter(None, faults):
        runtime.annotate(Level.ERROR, "Not reported everywhere", fault)
