"""The report files of a run: `report.json`, `plan.json` and `summary.md` in one folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from acr_cleanup.core.outcome import Result
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.quoting import quoted
from acr_cleanup.reports import json, markdown
from acr_cleanup.reports.context import Context

NAMES = ("report.json", "plan.json", "summary.md")
JOURNALS = "journal*.jsonl"
"""What was deleted in this run and in earlier ones, and how to bring it back: written while it is done, and never removed."""


def prepare(folder: Path) -> None:
    """
    Make the folder and see that it can be written to; raises `OSError`. To be asked before anything is deleted.

    What an earlier run reported goes: should this one be killed, its report must not be taken for this one's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".acr-cleanup"
    os.close(_anew(probe))
    probe.unlink()
    for name in ("report.json", "summary.md"):
        (folder / name).unlink(missing_ok=True)


def prepare_file(out: Path, name: str, thing: str) -> None:
    """
    See, before anything is read, that `thing` can be written to this file, which the user gave as `name`.

    Raises `ConfigurationError`.
    """

    def unwritable(why: str) -> ConfigurationError:
        seen = f"{quoted(repr(str(out)), 80)} cannot be written: {why}."
        return ConfigurationError((Problem(name, seen, f"Name another file for {thing}."),))

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # A device or a pipe would be replaced, not written to.
        if not stat.S_ISREG(out.stat().st_mode):
            raise unwritable("it is there, and is no file")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise unwritable(getattr(error, "strerror", None) or str(error)) from error
    probe = out.with_name(f".{out.name}.{os.getpid()}.probe")
    try:
        os.close(_anew(probe))
    except (OSError, ValueError) as error:
        raise unwritable(getattr(error, "strerror", None) or str(error)) from error
    finally:
        with suppress(OSError, ValueError):
            probe.unlink()


def write(result: Result, folder: Path, context: Context, reviewed: bytes | None = None) -> Context:
    """
    Write all files and return the context that names them; raises `OSError`.

    Each file appears whole or not at all: it is written beside its place first. `reviewed` is the plan file that was applied: it
    stays the plan of this run, to the byte, for a new one would look younger than what was reviewed.
    """
    context = replace(context, files=tuple(str(folder / name) for name in NAMES))
    _write(folder / "report.json", json.render(result))
    if reviewed is None:
        write_plan(result, folder / "plan.json")
    else:
        part = folder / ".plan.json.part"
        with os.fdopen(_anew(part), "wb") as file:
            file.write(reviewed)
        part.replace(folder / "plan.json")
    _write(folder / "summary.md", [markdown.render(result, context)])
    return context


def write_plan(result: Result, path: Path) -> None:
    """Write `plan.json` to a place of the user's choice; raises `OSError`."""
    _write(path, json.render_plan(result))


def _write(path: Path, pieces: Iterable[str]) -> None:
    part = path.with_name(f".{path.name}.part")
    # Foreign text may hold half a surrogate pair: it is written as an escape, for a report must not fail because of it.
    with os.fdopen(_anew(part), "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(pieces)
    part.replace(path)


def _anew(path: Path) -> int:
    """
    A new empty file in this place, open to be written to; raises `OSError`.

    Never through a symbolic link: whoever may put files into a workspace (a branch that is checked out) does not get to choose
    which other file of the machine is overwritten.
    """
    path.unlink(missing_ok=True)
    # Windows has no such flag, and makes links for administrators only.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)
