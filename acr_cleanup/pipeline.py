"""
One step of a pipeline: inputs -> settings -> command -> outputs and exit code.

Every result, including an unexpected error, appears in the log, the summary and the outputs of the
step. The log never shows a traceback.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from errno import EACCES, EPERM, EROFS
from pathlib import Path

from acr_cleanup.errors import ConfigurationError, Problem, unexpected
from acr_cleanup.records.reviewed_plan import ReviewedPlan, read
from acr_cleanup.reports import files, markdown_failures
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.dialect import GITHUB, PLAIN, Dialect
from acr_cleanup.reports.outputs import outputs_of_failure
from acr_cleanup.runtimes.base import Level, connect_log
from acr_cleanup.runtimes.pipeline import PipelineRuntime
from acr_cleanup.settings import OPTIONS, Settings, Way, unknown_inputs
from acr_cleanup.settings.load import load_settings
from acr_cleanup.signals import Interrupted, ignore_signals, interrupt, stop_signals


def run(runtime: PipelineRuntime, environ: Mapping[str, str] = os.environ) -> int:
    """Run the step that the inputs describe, and return its exit code."""
    signals = stop_signals()
    handlers = [signal.signal(number, interrupt) for number in signals]
    try:
        code = _run_and_report(runtime, environ)
        # A second signal must not interrupt the report.
        ignore_signals()
        runtime.finish()
        if fault := runtime.end(code):
            runtime.log(Level.ERROR, f"The result could not be reported to the CI system: {fault}")
            return code or 1
        return code
    finally:
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler)


def _run_and_report(runtime: PipelineRuntime, environ: Mapping[str, str]) -> int:
    """Run the step. Report the errors that end it early."""
    try:
        return _run(runtime, environ)
    except ConfigurationError as error:
        _report_problems(error, runtime)
        return 2
    except Interrupted as interrupted:
        ignore_signals()
        text = "Cancelled before anything was read. Nothing was deleted."
        runtime.annotate(Level.WARNING, "ACR cleanup", text)
        _publish(runtime, markdown_failures.render_cancelled(text, _dialect(runtime)), result="aborted")
        return 128 + interrupted.number
    except Exception as error:  # noqa: BLE001  # a step never shows a traceback
        return _report_failure(error, runtime, deleting=False)


def _dialect(runtime: PipelineRuntime) -> Dialect:
    return PLAIN if runtime.plain_summary else GITHUB


def _run(runtime: PipelineRuntime, environ: Mapping[str, str]) -> int:
    if runtime.is_debugged:
        runtime.level = Level.DEBUG
    connect_log(runtime, runtime.level)
    if faults := runtime.begin():
        remedy = "Set it to a value that can be used. The task and the action set it themselves."
        raise ConfigurationError(
            tuple(Problem(name, f"{fault[:1].upper()}{fault[1:]}.", remedy) for name, fault in faults.items())
        )
    workspace = runtime.workspace.resolve()
    # Paths are relative to the workspace, the only folder that the other steps of the job share.
    with suppress(OSError):
        os.chdir(workspace)
    # Warn first: a misspelt name may be the reason for a missing input below.
    for warning in unknown_inputs(runtime.input_names()):
        runtime.annotate(Level.WARNING, "Unknown input", warning)
    step = _read_inputs(runtime, environ, workspace)
    settings = step.settings
    if not runtime.is_debugged:
        runtime.level = Level[settings.log_level.upper()]
    connect_log(runtime, runtime.level)
    if settings.check:
        from acr_cleanup.commands.check import check  # noqa: PLC0415

        return asyncio.run(check(settings, runtime, environ, dialect=_dialect(runtime)))
    if step.snapshot is not None:
        return _collect(settings, runtime, environ, step.snapshot)
    if settings.apply_plan is not None and settings.dry_run:
        text = "apply-plan is ignored in a dry run: the run makes a new plan."
        runtime.annotate(Level.INFO, "Reviewed plan", text)
    settings = replace(settings, report_dir=step.folder.prepare_folder(runtime))
    # Import the SDKs only now: it takes more than a second, and a wrong configuration needs no SDK.
    from acr_cleanup.commands.run import run as clean  # noqa: PLC0415

    context = Context(
        apply=runtime.apply_hint,
        apply_is_input=True,
        keep_files=runtime.keep_hint,
        artifact=settings.artifact,
        dialect=_dialect(runtime),
    )
    with step.folder.handed_over(), step.ledger.handed_over() if step.ledger is not None else nullcontext():
        try:
            return asyncio.run(
                clean(settings, runtime, environ, dry_run=settings.dry_run, context=context, reviewed=step.reviewed)
            )
        except Exception as error:  # noqa: BLE001
            return _report_failure(error, runtime, deleting=not settings.dry_run)


def _collect(settings: Settings, runtime: PipelineRuntime, environ: Mapping[str, str], snapshot: OutputPath) -> int:
    """Read the clusters into a usage snapshot. Nothing is planned or deleted."""
    from acr_cleanup.commands.collect import collect  # noqa: PLC0415

    with snapshot.handed_over():
        return asyncio.run(collect(settings, runtime, environ, out=snapshot.prepare_file(), dialect=_dialect(runtime)))


@dataclass(frozen=True)
class _Step:
    """The checked inputs of a step."""

    settings: Settings
    folder: OutputPath
    ledger: OutputPath | None
    snapshot: OutputPath | None
    """Where to write a usage snapshot; None if the step plans or deletes."""
    reviewed: ReviewedPlan | None


def _read_inputs(runtime: PipelineRuntime, environ: Mapping[str, str], workspace: Path) -> _Step:
    """Check all inputs. Raises `ConfigurationError` with every problem of every input and path."""
    # The defaults of action.yml are applied here too: an empty auth-type must not select another
    # login.
    given = {
        option.name: runtime.input(option.name) or option.action_default
        for option in OPTIONS
        if option.ways & Way.PIPELINE
    }
    collect = given["collect"].strip()
    settings, problems, where = _load(given, runtime, environ, workspace)
    named = settings.report_dir if settings is not None else Path(given["report-dir"].strip() or "acr-cleanup")
    folder = OutputPath.of_reports(workspace, named)
    snapshot = OutputPath.of_snapshot(workspace, Path(collect)) if collect else None
    ledger = OutputPath.of_ledger(workspace, settings.ledger) if settings and settings.ledger else None
    problems = (*problems, *(problem for path in (folder, snapshot, ledger) if path for problem in path.problems()))
    reviewed = None
    if settings is not None and settings.apply_plan is not None and not (settings.dry_run or snapshot):
        try:
            reviewed = read(settings.apply_plan, "apply-plan")
        except ConfigurationError as error:
            problems = (*problems, *error.problems)
    if problems or settings is None:
        raise ConfigurationError(problems, where=where)
    return _Step(settings, folder, ledger, snapshot, reviewed)


def _load(
    given: Mapping[str, str], runtime: PipelineRuntime, environ: Mapping[str, str], workspace: Path
) -> tuple[Settings | None, tuple[Problem, ...], str]:
    """
    Load the settings.

    Returns (settings, (), "") or (None, the problems, the file that they are in).
    """
    config = Path(given["config-file"]) if given["config-file"].strip() else None
    try:
        return load_settings(config, given, environ), (), ""
    except ConfigurationError as error:
        problems = error.problems
        if config is not None and not (config.is_absolute() or config.exists()) and _is_empty(workspace):
            remedy = f"The workspace is empty: {runtime.checkout_hint}"
            problems = tuple(
                replace(problem, remedy=remedy) if problem.path == str(config) else problem for problem in problems
            )
        return None, problems, error.where


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False


def _report_problems(error: ConfigurationError, runtime: PipelineRuntime) -> None:
    names = {option.name for option in OPTIONS}
    problems = (
        replace(problem, path=runtime.name_of(problem.path)) if problem.path in names else problem
        for problem in error.problems
    )
    error = ConfigurationError(tuple(problems), where=error.where)
    where = f" of {error.where}" if error.where else ""
    count = f"{len(error.problems)} problem{'s' if len(error.problems) != 1 else ''}"
    runtime.log(Level.ERROR, f"{count} in the configuration{where}. Nothing was read or deleted.")
    for problem in error.problems:
        runtime.annotate(Level.ERROR, problem.path, f"{problem.seen}\n{problem.remedy}")
    _publish(runtime, markdown_failures.render_problems(error, _dialect(runtime)))


def _report_failure(error: Exception, runtime: PipelineRuntime, *, deleting: bool) -> int:
    """Report an unexpected error in one sentence, and return the exit code."""
    runtime.annotate(Level.ERROR, "ACR cleanup", str(unexpected(error, runtime.name_of("log-level"))))
    _publish(runtime, markdown_failures.render_failure(error, deleting=deleting, dialect=_dialect(runtime)))
    return 1


def _publish(runtime: PipelineRuntime, summary: str, result: str = "failed") -> None:
    """Publish the outputs and the summary of a step that ended early."""
    faults = [runtime.outputs(outputs_of_failure() | {"result": result})]
    if runtime.input("summary").strip().lower() != "false":
        faults.append(runtime.summary(summary))
    for fault in filter(None, faults):
        runtime.annotate(Level.ERROR, "Report incomplete", fault)


def _is_inside(workspace: Path, named: Path) -> bool:
    try:
        return (workspace / named).resolve().is_relative_to(workspace)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or an invalid path
        return False


def _missing(path: Path, workspace: Path) -> list[Path]:
    """Return this path and its parents inside the workspace, without those that exist."""
    return [folder for folder in (path, *path.parents) if folder.is_relative_to(workspace) and not folder.exists()]


def _give_to_owner(workspace: Path, paths: Iterable[Path]) -> None:
    """
    Give these paths to the owner of the workspace, if this process is root, as in a container.

    The next checkout of the job cannot delete files that belong to root.
    """
    # Windows has no geteuid.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        with suppress(OSError):
            owner = workspace.stat()
            for path in filter(Path.exists, paths):
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@dataclass
class OutputPath:
    """A path that the step writes: inside the workspace, and with the owner of the workspace."""

    workspace: Path
    named: Path
    option: str
    """The input that names it."""
    kind: str
    """`file` or `folder`."""
    _made: list[Path] = field(default_factory=list)
    """The files and folders that the step creates."""

    @classmethod
    def of_reports(cls, workspace: Path, named: Path) -> OutputPath:
        """Return the folder of the report files."""
        return cls(workspace, named, "report-dir", "folder")

    @classmethod
    def of_ledger(cls, workspace: Path, named: Path) -> OutputPath:
        """Return the file that the runs hand on."""
        return cls(
            workspace, named, "ledger", "file", [(workspace / named), *_missing(workspace / named, workspace)[1:]]
        )

    @classmethod
    def of_snapshot(cls, workspace: Path, named: Path) -> OutputPath:
        """Return the file of a usage snapshot that the step collects."""
        return cls(workspace, named, "collect", "file")

    def problems(self) -> tuple[Problem, ...]:
        """Return why this path cannot be used."""
        if _is_inside(self.workspace, self.named):
            return ()
        remedy = f"Use a {self.kind} inside the workspace, relative to it: later steps see no other files."
        return (Problem(self.option, f"{str(self.named)!r} is not inside the workspace.", remedy),)

    @contextmanager
    def handed_over(self) -> Iterator[None]:
        """Give the created files and folders to the owner of the workspace, also after an error."""
        try:
            yield
        finally:
            reports = (
                path
                for folder in self._made[:1]
                for path in (*(folder / name for name in files.names()), *folder.glob(files.JOURNALS))
            )
            _give_to_owner(self.workspace, (*self._made, *reports))

    def prepare_file(self) -> Path:
        """
        Check that the file can be written. Returns its path, relative to the workspace.

        Raises `ConfigurationError`.
        """
        path = (self.workspace / self.named).resolve()
        self._made = [path, *_missing(path.parent, self.workspace)]
        path = path.relative_to(self.workspace)
        files.prepare_file(path, self.option, "the usage snapshot")
        return path

    def prepare_folder(self, runtime: PipelineRuntime) -> Path:
        """
        Create the folder, or a temporary one if the workspace is read-only.

        Returns its path, absolute or relative as the runtime needs it. Raises `ConfigurationError`
        if the path is not a folder, or if no folder can be written: no run may delete without a
        report.
        """
        path = (self.workspace / self.named).resolve()
        missing = _missing(path, self.workspace)
        try:
            files.prepare(path)
        except OSError as error:
            if error.errno not in (EACCES, EPERM, EROFS):
                raise _not_writable(self.named, error) from error
            return self._elsewhere(runtime, error)
        self._made = [path, *missing]
        return path if runtime.absolute_paths else path.relative_to(self.workspace)

    def _elsewhere(self, runtime: PipelineRuntime, reason: OSError) -> Path:
        try:
            path = Path(tempfile.mkdtemp(prefix="acr-cleanup-", dir=runtime.temporary))
        except OSError as error:
            raise _not_writable(self.named, error) from error
        path.chmod(0o755)
        self._made = [path]
        lost = "" if runtime.temporary else " They are lost when the step ends; the summary and the outputs are kept."
        text = f"The workspace cannot be written to ({reason.strerror}). The report files are in {path}.{lost}"
        runtime.annotate(Level.WARNING, "Report files", text)
        return path


def _not_writable(folder: Path, error: OSError) -> ConfigurationError:
    seen = f"The folder {str(folder)!r} cannot be written to: {error.strerror or error}."
    remedy = "Choose another folder: no run may delete without a report."
    return ConfigurationError((Problem("report-dir", seen, remedy),))
