"""
One step of a pipeline: inputs -> settings -> run -> outputs and exit code.

What `cli` is for a person. Whatever happens, the step says so in its log, its summary and its outputs, and leaves no traceback.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from types import FrameType
from typing import Protocol

from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.records.reviewed_plan import ReviewedPlan, read
from acr_cleanup.reports import files, markdown_failures
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.dialect import GITHUB, PLAIN, Dialect
from acr_cleanup.reports.outputs import outputs_of_failure
from acr_cleanup.runtimes.base import Level, Runtime, connect_log
from acr_cleanup.settings import INPUTS, Settings, load_settings, unknown_inputs

log = logging.getLogger("acr_cleanup")


class PipelineRuntime(Runtime, Protocol):
    """What a step needs of the CI system that it runs in, beside what every run needs."""

    level: Level
    """The least level of what the log shows."""
    apply_hint: str
    """The input that makes a dry run delete, as the workflow would write it."""
    keep_hint: str
    """How a workflow keeps report files."""
    checkout_hint: str
    """What fills the workspace with the files of the repository, to be said of an empty one."""
    plain_summary: bool
    """Does the page of a run know little more of Markdown than tables?"""
    absolute_paths: bool
    """Do later steps want the paths of files from the root on? Else they are relative to the workspace."""

    def begin(self) -> Mapping[str, str]:
        """
        Make ready to be told everything. Returns what makes a run impossible, by what is to blame for it.

        Called before anything is read: a run that deletes must be reported.
        """
        ...

    def end(self, code: int) -> str:
        """The last word: the step ends with this exit code. Returns why that could not be handed on, or nothing."""
        ...

    def name_of(self, name: str) -> str:
        """An input as a workflow of this CI system writes it."""
        ...

    def input(self, name: str) -> str:
        """What the workflow says for this input, empty where it says nothing."""
        ...

    def input_names(self) -> tuple[str, ...]:
        """The names of all inputs that were given, known or not."""
        ...

    @property
    def is_debugged(self) -> bool:
        """Has somebody asked the CI system for a debug log?"""
        ...

    @property
    def workspace(self) -> Path:
        """The folder that all steps of the job share."""
        ...

    @property
    def temporary(self) -> Path | None:
        """A folder outside the workspace that outlives the step, where there is one that can be written to."""
        ...


class Interrupted(BaseException):
    """A signal before the run itself began, which from then on listens for signals."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(runtime: PipelineRuntime, environ: Mapping[str, str] = os.environ) -> int:
    """Do what the inputs say and return the exit code."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, _interrupt) for each in signals]
    try:
        code = _run_or_tell(runtime, environ, signals)
        # CI systems send a second signal soon after the first: it must not cut the last word.
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        runtime.finish()
        if fault := runtime.end(code):
            runtime.log(Level.ERROR, f"The result could not be handed on: {fault}")
            return code or 1
        return code
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def _run_or_tell(runtime: PipelineRuntime, environ: Mapping[str, str], signals: Iterable[signal.Signals]) -> int:
    """Run, and tell what ended it early."""
    try:
        return _run(runtime, environ)
    except ConfigurationError as error:
        _tell_problems(error, runtime)
        return 2
    except Interrupted as interrupted:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        text = "Cancelled before anything was read. Nothing was deleted."
        runtime.annotate(Level.WARNING, "ACR cleanup", text)
        _hand_on(runtime, markdown_failures.render_cancelled(text, _dialect(runtime)), result="aborted")
        return 128 + interrupted.number
    except Exception as error:
        log.debug("unexpected", exc_info=True)
        _tell_failure(error, runtime, deleting=False)
        return 1


def _dialect(runtime: PipelineRuntime) -> Dialect:
    return PLAIN if runtime.plain_summary else GITHUB


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


def _run(runtime: PipelineRuntime, environ: Mapping[str, str]) -> int:
    if runtime.is_debugged:
        runtime.level = Level.DEBUG
    connect_log(runtime, runtime.level)
    if faults := runtime.begin():
        remedy = "Let the task set it, or name what can be used."
        raise ConfigurationError(
            tuple(Problem(name, f"{fault[:1].upper()}{fault[1:]}.", remedy) for name, fault in faults.items())
        )
    workspace = runtime.workspace.resolve()
    # Paths are relative to the workspace, for the steps before and after this one see nothing else.
    with suppress(OSError):
        os.chdir(workspace)
    # First of all: a misspelt name may be why something else is missing.
    for warning in unknown_inputs(runtime.input_names()):
        runtime.annotate(Level.WARNING, "Unknown input", warning)
    settings, folder, snapshot, reviewed = _settings(runtime, environ, workspace)
    if not runtime.is_debugged:
        runtime.level = Level[settings.log_level.upper()]
    connect_log(runtime, runtime.level)
    if snapshot is not None:
        return _collect(settings, runtime, environ, snapshot)
    if settings.apply_plan is not None and settings.dry_run:
        text = "apply-plan does nothing in a dry run: what would be deleted is decided anew."
        runtime.annotate(Level.INFO, "Reviewed plan", text)
    settings = replace(settings, report_dir=folder.prepare(runtime))
    # The SDKs take more than a second to import, and a wrong configuration needs none of them.
    from acr_cleanup.commands.run import run as clean  # noqa: PLC0415

    context = Context(
        apply=runtime.apply_hint, apply_is_input=True, keep_files=runtime.keep_hint, dialect=_dialect(runtime)
    )
    with folder.handed_over():
        try:
            return asyncio.run(
                clean(settings, runtime, environ, dry_run=settings.dry_run, context=context, reviewed=reviewed)
            )
        except Exception as error:
            log.debug("unexpected", exc_info=True)
            _tell_failure(error, runtime, deleting=not settings.dry_run)
            return 1


def _collect(settings: Settings, runtime: PipelineRuntime, environ: Mapping[str, str], snapshot: SnapshotFile) -> int:
    """Only read the clusters, into this file."""
    from acr_cleanup.commands.collect import collect  # noqa: PLC0415

    with snapshot.handed_over():
        return asyncio.run(collect(settings, runtime, environ, out=snapshot.prepare(), dialect=_dialect(runtime)))


def _settings(
    runtime: PipelineRuntime, environ: Mapping[str, str], workspace: Path
) -> tuple[Settings, ReportFolder, SnapshotFile | None, ReviewedPlan | None]:
    """Every problem of every input at once, those of the paths among them."""
    given = {each.name: runtime.input(each.name) for each in INPUTS}
    # As if action.yml had said it: an empty input must not mean that some other login is looked for.
    given = {each.name: given[each.name] or each.action_default for each in INPUTS}
    collect = given.pop("collect").strip()
    config = Path(given["config-file"]) if given["config-file"].strip() else None
    problems: tuple[Problem, ...] = ()
    settings, where = None, ""
    try:
        settings = load_settings(config, given, environ)
    except ConfigurationError as error:
        problems, where = error.problems, error.where
        if config is not None and not config.exists() and _is_empty(workspace):
            remedy = f"The workspace is empty: {runtime.checkout_hint}"
            problems = tuple(replace(each, remedy=remedy) if each.path == str(config) else each for each in problems)
    named = settings.report_dir if settings is not None else Path(given["report-dir"].strip() or "acr-cleanup")
    folder = ReportFolder(workspace, named)
    snapshot = SnapshotFile(workspace, Path(collect)) if collect else None
    problems = (*problems, *folder.problems(), *(snapshot.problems() if snapshot is not None else ()))
    reviewed = None
    try:
        if settings is not None and settings.apply_plan is not None and not (settings.dry_run or snapshot):
            reviewed = read(settings.apply_plan, "apply-plan")
    except ConfigurationError as error:
        problems = (*problems, *error.problems)
    if problems or settings is None:
        raise ConfigurationError(problems, where=where)
    return settings, folder, snapshot, reviewed


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False


def _tell_problems(error: ConfigurationError, runtime: PipelineRuntime) -> None:
    names = {each.name for each in INPUTS}
    problems = (
        replace(each, path=runtime.name_of(each.path)) if each.path in names else each for each in error.problems
    )
    error = ConfigurationError(tuple(problems), where=error.where)
    where = f" of {error.where}" if error.where else ""
    count = f"{len(error.problems)} problem{'s' if len(error.problems) != 1 else ''}"
    runtime.log(Level.ERROR, f"{count} in the configuration{where}. Nothing was read or deleted.")
    for problem in error.problems:
        runtime.annotate(Level.ERROR, problem.path, f"{problem.seen}\n{problem.remedy}")
    _hand_on(runtime, markdown_failures.render_problems(error, _dialect(runtime)))


def _tell_failure(error: Exception, runtime: PipelineRuntime, *, deleting: bool) -> None:
    """Of what nobody foresaw. Nobody who reads the log of a job can do anything with a traceback."""
    level = runtime.name_of("log-level")
    text = f"Unexpected error: {type(error).__name__}: {error}. Set {level}: debug, and report it."
    runtime.annotate(Level.ERROR, "ACR cleanup", text)
    _hand_on(runtime, markdown_failures.render_failure(error, deleting=deleting, dialect=_dialect(runtime)))


def _hand_on(runtime: PipelineRuntime, summary: str, result: str = "failed") -> None:
    """The outputs and the summary of a step that came to no result."""
    faults = [runtime.outputs(outputs_of_failure() | {"result": result})]
    if runtime.input("summary").strip().lower() != "false":
        faults.append(runtime.summary(summary))
    for fault in filter(None, faults):
        runtime.annotate(Level.ERROR, "Not reported everywhere", fault)


def _is_inside(workspace: Path, named: Path) -> bool:
    try:
        return (workspace / named).resolve().is_relative_to(workspace)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or no path at all
        return False


def _missing(path: Path, workspace: Path) -> list[Path]:
    """This path and those folders above it that are yet to be made."""
    return [each for each in (path, *path.parents) if each.is_relative_to(workspace) and not each.exists()]


def _give_to_owner(workspace: Path, paths: Iterable[Path]) -> None:
    """In a container we are root; what we leave must belong to the job, or its next checkout cannot clean up."""
    # Windows knows no root.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        with suppress(OSError):
            owner = workspace.stat()
            for each in filter(Path.exists, paths):
                os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)


@dataclass
class SnapshotFile:
    """The usage snapshot of a step that only reads, inside the workspace and owned by whoever owns that."""

    workspace: Path
    named: Path
    _made: list[Path] = field(default_factory=list)

    def problems(self) -> tuple[Problem, ...]:
        """Why this file cannot be used."""
        if not _is_inside(self.workspace, self.named):
            remedy = "Name a file inside the workspace, relative to it: later steps see nothing else."
            return (Problem("collect", f"{str(self.named)!r} is not inside the workspace.", remedy),)
        return ()

    def prepare(self) -> Path:
        """The path, relative to the workspace, once it can be written. Raises `ConfigurationError`."""
        path = (self.workspace / self.named).resolve()
        self._made = [path, *_missing(path.parent, self.workspace)]
        path = path.relative_to(self.workspace)
        files.prepare_file(path, "collect", "the usage snapshot")
        return path

    @contextmanager
    def handed_over(self) -> Iterator[None]:
        """Whatever was made belongs to the job in the end."""
        try:
            yield
        finally:
            _give_to_owner(self.workspace, self._made)


@dataclass
class ReportFolder:
    """The folder of the report files, inside the workspace and owned by whoever owns that."""

    workspace: Path
    named: Path
    _made: list[Path] = field(default_factory=list)
    """Folders that were not there before, the one with the reports among them."""

    def problems(self) -> tuple[Problem, ...]:
        """Why this folder cannot be used."""
        if not _is_inside(self.workspace, self.named):
            remedy = "Name a folder inside the workspace, relative to it: later steps see nothing else."
            return (Problem("report-dir", f"{str(self.named)!r} is not inside the workspace.", remedy),)
        return ()

    def prepare(self, runtime: PipelineRuntime) -> Path:
        """
        Make the folder and return it, as the runtime wants its paths; or another one where nothing can be written there.

        Raises `ConfigurationError` where it is none, or no folder can be written to at all: a run that deletes must be reported.
        """
        path = self._path()
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
        lost = "" if runtime.temporary else " They are lost when the step ends: the summary and the outputs are not."
        text = f"The workspace cannot be written to ({reason.strerror}). The report files are in {path}.{lost}"
        runtime.annotate(Level.WARNING, "Report files", text)
        return path

    @contextmanager
    def handed_over(self) -> Iterator[None]:
        """Whatever was made belongs to the job in the end."""
        try:
            yield
        finally:
            inside = (
                path
                for each in self._made[:1]
                for path in (*(each / name for name in files.names()), *each.glob(files.JOURNALS))
            )
            _give_to_owner(self.workspace, (*self._made, *inside))

    def _path(self) -> Path:
        return (self.workspace / self.named).resolve()


def _not_writable(folder: Path, error: OSError) -> ConfigurationError:
    seen = f"The folder {str(folder)!r} cannot be written to: {error.strerror or error}."
    remedy = "Name another folder: a run that deletes must be reported."
    return ConfigurationError((Problem("report-dir", seen, remedy),))
