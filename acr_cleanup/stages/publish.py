"""Publishes a result: report files, outputs, summary, terminal report, annotations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from acr_cleanup.core.outcome import OutcomeKind, Result
from acr_cleanup.reports import files, json, markdown, text, words
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.headline import headline
from acr_cleanup.reports.outputs import outputs
from acr_cleanup.reports.rows import MISSING_MEANS
from acr_cleanup.reports.tone import Tone
from acr_cleanup.reports.view import View
from acr_cleanup.runtimes.base import Level, Runtime

MISSING_ANNOTATED = 10
"""Missing images named in the annotation. The summary names more."""

log = logging.getLogger("acr_cleanup")


def publish(
    result: Result,
    runtime: Runtime,
    context: Context,
    report_dir: Path,
    *,
    summary: bool = True,
    plan_file: Path | None = None,
    reviewed: bytes | None = None,
    print_json: Callable[[Iterable[str]], None] | None = None,
) -> bool:
    """
    Report a run in every place. A place that fails does not stop the others.

    Returns whether all places succeeded.

    report_dir: receives the report files.
    plan_file: receives the plan too.
    reviewed: the bytes of the reviewed plan, if the run was bound to one.
    print_json: receives report.json in pieces, instead of the report for people.
    """
    faults: list[str] = []

    @contextmanager
    def place(lost: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the deletions must still be reported in the other places
            log.debug("reporting", exc_info=True)
            faults.append(f"{lost}: {error if isinstance(error, OSError) else f'{type(error).__name__}: {error}'}.")

    with place("The report files could not be written"):
        context = files.write(result, report_dir, context, reviewed, plan_file)
    # Before the long text: a run that is about to be killed has at least set its outputs.
    with place("The outputs could not be made"):
        if fault := runtime.outputs(outputs(result, context)):
            faults.append(f"The outputs could not be passed to later steps: {fault}.")
    with place("The summary could not be made"):
        if summary and (fault := runtime.summary(markdown.render(result, context))):
            faults.append(f"The summary could not be shown: {fault}.")
    with place("The report could not be shown"), runtime.group("Report: every tag, and why"):
        if print_json is None:
            runtime.show(text.render(result, context))
        else:
            print_json(json.render(result))
    with place("The annotations could not be made"):
        _annotate(result, runtime)
    for fault in faults:
        runtime.log(Level.ERROR, fault)
        runtime.annotate(Level.ERROR, "Report incomplete", f"{fault} The other places have the whole report.")
    return not faults


def _annotate(result: Result, runtime: Runtime) -> None:
    """Annotate the verdict and everything that needs action. The summary has the rest."""
    view = View(result)
    level = {Tone.BAD: Level.ERROR, Tone.WARNING: Level.WARNING}.get(view.tone, Level.INFO)
    runtime.annotate(level, "ACR cleanup", words.plain(headline(view), 2000))
    for blocker in view.blockers:
        title = f"{blocker.where}: {blocker.call}" if blocker.call else blocker.where
        runtime.annotate(Level.ERROR, words.plain(title), f"{blocker.seen}\n{blocker.remedy}".strip())
    for refusal in result.refusals:
        runtime.annotate(Level.ERROR, "Refused", refusal)
    # Includes untagged manifests: their failures must be shown too.
    failed = (outcome for kind, outcomes in view.deviations if kind is OutcomeKind.FAILED for outcome in outcomes)
    for outcome in failed:
        runtime.annotate(Level.ERROR, f"{words.plain(str(outcome))} was not deleted", words.plain(outcome.detail))
    for broken in view.broken:
        runtime.annotate(Level.ERROR, f"{words.plain(broken.what)} {broken.seen}", words.plain(broken.who, 1000))
    if view.missing:
        shown = "; ".join(f"{missing.what}, {missing.who}" for missing in view.missing[:MISSING_ANNOTATED])
        more = len(view.missing) - MISSING_ANNOTATED
        shown += f"; and {more:,} more" if more > 0 else ""
        title = f"{words.count(len(view.missing), 'reference')} in use, but not in the registry"
        runtime.annotate(Level.WARNING, title, f"{words.plain(shown, 2000)}. {MISSING_MEANS}")
    for tally in view.unread:
        runtime.annotate(Level.WARNING, f"{words.plain(tally.repository)} was not read", tally.error)
    for warning in view.warnings:
        runtime.annotate(Level.WARNING, "ACR cleanup", warning)
