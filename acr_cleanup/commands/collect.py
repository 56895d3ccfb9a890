"""Reads the clusters that this machine can reach into a usage snapshot, and decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from acr_cleanup.clusters.snapshot import SnapshotEntry, recorded_resource_id, write_snapshot
from acr_cleanup.clusters.targets import AksCluster, ClusterTarget, SnapshotCluster
from acr_cleanup.commands.run import REFUSED
from acr_cleanup.concurrency import Stop, unless_stopped
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, Problem
from acr_cleanup.reports import files, markdown_failures, words
from acr_cleanup.reports.collected import CollectedReport
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.outputs import outputs_of_failure
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.settings.grammar import did_you_mean, nearest, shown
from acr_cleanup.stages.connect import open_azure
from acr_cleanup.stages.read import ConfiguredClusters

log = logging.getLogger("acr_cleanup")


async def collect(
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    out: Path,
    only: Collection[str] = (),
    dialect: Dialect = GITHUB,
) -> int:
    """
    Read the clusters (`only` these, by their keys) into the usage snapshot `out`, and return the exit code.

    The code is 3 if a cluster could not be read completely: the snapshot says so, and whoever uses it is refused. Nothing is
    written if nobody could log in, or the reading was cancelled. Raises `ConfigurationError`.
    """
    settings = replace(settings, clusters=_chosen(settings.clusters, only))
    files.prepare_file(out, "out", "the usage snapshot")
    stop = Stop()
    with stop.on_signals():
        try:
            return await _collect(settings, runtime, environ, out, stop, dialect)
        except asyncio.CancelledError:
            if not stop.event.is_set():
                raise
            text = "Cancelled. No usage snapshot was written."
            runtime.log(Level.WARNING, text)
            runtime.annotate(Level.WARNING, "ACR cleanup", text)
            _hand_on(runtime, settings, "aborted", markdown_failures.render_cancelled(text, dialect))
            return 128 + stop.received
        except AcrCleanupError as error:
            log.debug("collecting ended early", exc_info=True)
            return _failed(error, str(error), REFUSED, runtime, settings, dialect)
        except OSError as error:
            text = f"{out} could not be written: {error.strerror or error}."
            return _failed(error, text, 1, runtime, settings, dialect)
        except Exception as error:  # a user can do nothing with a traceback
            log.debug("unexpected", exc_info=True)
            text = f"Unexpected error: {type(error).__name__}: {error}. Run again with log-level debug, and report it."
            return _failed(error, text, 1, runtime, settings, dialect)
        finally:
            runtime.finish()


async def _collect(
    settings: Settings, runtime: Runtime, environ: Mapping[str, str], out: Path, stop: Stop, dialect: Dialect
) -> int:
    title = f"Read the clusters for {settings.registry.login_server}"
    with runtime.group(title):
        async with open_azure(
            settings.cloud, settings.login, environ, id_tokens=runtime.id_token, mask=runtime.mask
        ) as azure:
            clusters = ConfiguredClusters(
                azure, settings.registry, settings.clusters, settings.helm_history, settings.waive
            )
            # Before the first request: what is deployed while we read may or may not be seen.
            began = datetime.now(UTC)
            scans = await unless_stopped(clusters.scan(runtime.progress), stop.event)
    write_snapshot(
        out,
        settings.registry,
        _recorded(settings.clusters, scans, began),
        helm_history=settings.helm_history,
        created_at=datetime.now(UTC),
    )
    report = CollectedReport(scans, str(out))
    runtime.show(report)
    for blocker in report.blockers:
        what = words.plain(f"{blocker.where}: {blocker.call}")
        runtime.annotate(Level.ERROR, what, f"{blocker.seen}\n{blocker.remedy}".strip())
    for warning in report.warnings:
        runtime.annotate(Level.WARNING, "ACR cleanup", words.plain(warning))
    _hand_on(runtime, settings, "aborted" if report.blockers else "success", report.markdown(dialect))
    return REFUSED if report.blockers else 0


def _chosen(clusters: tuple[ClusterTarget, ...], only: Collection[str]) -> tuple[ClusterTarget, ...]:
    """The targets with these keys, or all. Raises `ConfigurationError` for a key that there is not."""
    keys = [target.key for target in clusters]
    problems = tuple(
        Problem(
            "only",
            f"There is no cluster {shown(each)}.{did_you_mean(nearest(each, keys))}",
            "Name a cluster as the configuration calls it.",
        )
        for each in only
        if each not in keys
    )
    if problems:
        raise ConfigurationError(problems)
    return tuple(target for target in clusters if not only or target.key in only)


def _recorded(
    targets: Iterable[ClusterTarget], scans: Iterable[ClusterScan], began: datetime
) -> Iterable[SnapshotEntry]:
    for target, scan in zip(targets, scans, strict=True):
        match target:
            case AksCluster():
                resource_id: str | None = target.resource_id
            case SnapshotCluster():
                resource_id = recorded_resource_id(target)
            case _:
                resource_id = None
        # What comes from a snapshot does not become younger by being copied.
        yield SnapshotEntry(scan, scan.read_at or began, resource_id)


def _failed(error: Exception, text: str, code: int, runtime: Runtime, settings: Settings, dialect: Dialect) -> int:
    text = f"{text} No usage snapshot was written."
    runtime.log(Level.ERROR, text)
    runtime.annotate(Level.ERROR, "ACR cleanup", text)
    _hand_on(runtime, settings, "failed", markdown_failures.render_failure(error, dialect=dialect))
    return code


def _hand_on(runtime: Runtime, settings: Settings, result: str, summary: str) -> None:
    """The outputs and the summary: nothing was decided, so everything but the result is empty."""
    faults = [runtime.outputs(outputs_of_failure() | {"result": result})]
    if settings.summary:
        faults.append(runtime.summary(summary))
    for fault in filter(None, faults):
        runtime.annotate(Level.ERROR, "Not reported everywhere", fault)
