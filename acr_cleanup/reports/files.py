"""Writes the report files of a run into one folder, one file for each entry of `FORMATS`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from acr_cleanup.core.outcome import Result
from acr_cleanup.core.plan import RepositoryPlans
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.quoting import quoted
from acr_cleanup.records.encoding import PAUSE
from acr_cleanup.records.whole_file import create, replace_file, replacement
from acr_cleanup.reports import formats
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.shared_plans import SharedPlans

JOURNALS = "journal*.jsonl"
"""
The journals of this run and of earlier ones: what was deleted, and how to restore it.

They are written while the run deletes, and never removed.
"""


def names() -> tuple[str, ...]:
    """Return the names of the files that `write` creates."""
    return tuple(report_format.file_name for report_format in formats.FORMATS)


def prepare(folder: Path) -> None:
    """
    Create the folder and check that it is writable. Call it before anything is deleted.

    Removes the report of an earlier run: if this run is killed, that report must not be taken for
    its own. A plan is not removed, because an apply may read it.

    Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".acr-cleanup"
    create(probe).close()
    probe.unlink()
    for report_format in formats.FORMATS:
        if not report_format.input_of_apply:
            (folder / report_format.file_name).unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Do the same as `prepare`. Raises `ConfigurationError`."""
    try:
        prepare(folder)
    except OSError as error:
        seen = f"The folder {str(folder)!r} cannot be written to: {error.strerror or error}."
        remedy = "Choose another with --report-dir: no run may delete without a report."
        raise ConfigurationError((Problem("report-dir", seen, remedy),)) from error


def prepare_file(out: Path, name: str, thing: str) -> None:
    """
    Check that a file is writable. Call it before anything is read.

    `name`: the option that named the file.
    `thing`: its content, in words, for the remedy.

    Raises `ConfigurationError`.
    """

    def unwritable(why: str) -> ConfigurationError:
        seen = f"{quoted(repr(str(out)), 80)} cannot be written: {why}."
        return ConfigurationError((Problem(name, seen, f"Name another file for {thing}."),))

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # A device or a pipe would be replaced by a file instead of being written to.
        if not stat.S_ISREG(out.stat().st_mode):
            raise unwritable("it exists and is not a regular file")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise unwritable(getattr(error, "strerror", None) or str(error)) from error
    probe = out.with_name(f".{out.name}.{os.getpid()}.probe")
    try:
        create(probe).close()
    except (OSError, ValueError) as error:
        raise unwritable(getattr(error, "strerror", None) or str(error)) from error
    finally:
        with suppress(OSError, ValueError):
            probe.unlink()


def write(
    result: Result, folder: Path, context: Context, reviewed: bytes | None = None, plan_file: Path | None = None
) -> Context:
    """
    Write a file for each format, and return the context with the paths of these files.

    Each file is complete or absent: it is written under a temporary name and then renamed. A file
    that fails does not stop the others.

    `reviewed`: the content of the plan file that was applied. It is written unchanged, because a
    new plan would have a later creation time than the plan that was reviewed.
    `plan_file`: receives the new plan, too.

    Raises `OSError`.
    """
    paths = {report_format: folder / report_format.file_name for report_format in formats.FORMATS}
    context = replace(context, files=tuple(map(str, paths.values())))
    shared = None
    if isinstance(result.plan.repositories, RepositoryPlans):
        shared = SharedPlans(result.plan.repositories)
        result = replace(result, plan=replace(result.plan, repositories=shared))
    writers = [
        _write_file(path, report_format.render(result, context))
        for report_format, path in paths.items()
        if reviewed is None or report_format is not formats.PLAN
    ]
    if plan_file is not None:
        writers.append(_write_file(plan_file, formats.PLAN.render(result, context)))
    if reviewed is not None:
        replace_file(paths[formats.PLAN], [reviewed])
    try:
        _in_turns(writers)
    finally:
        if shared is not None:
            shared.let_go()
    return context


def _write_file(path: Path, pieces: Iterable[str]) -> Iterator[None]:
    """Write a file, with a yield at every `PAUSE`."""
    with replacement(path) as file:
        for piece in pieces:
            if piece == PAUSE:
                yield
            else:
                # Foreign text may contain half of a surrogate pair. It is escaped, because it must
                # not make the report fail.
                file.write(piece.encode("utf-8", "backslashreplace"))


def _in_turns(writers: Iterable[Iterator[None]]) -> None:
    """
    Run these writers in turns, each up to its next pause. Raises the first error after the last turn.

    All writers are then at the same repository, so its plan is unpacked once for all of them.
    """
    waiting, errors = list(writers), list[Exception]()
    while waiting:
        turn, waiting = waiting, []
        for writer in turn:
            try:
                next(writer)
            except StopIteration:
                continue
            except Exception as error:  # noqa: BLE001  the other files must still be written
                errors.append(error)
            else:
                waiting.append(writer)
    if errors:
        raise errors[0]
