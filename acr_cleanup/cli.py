"""The command line: arguments -> settings -> run -> exit code."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from acr_cleanup import __version__
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.reports.context import Context
from acr_cleanup.runtimes.base import Level, connect_log
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings import INPUTS, Kind, Settings, load_settings, schema

if TYPE_CHECKING:
    from acr_cleanup.records.reviewed_plan import ReviewedPlan

DEFAULT_FILES = ("acr-cleanup.yaml", "acr-cleanup.yml", "acr-cleanup.json")

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # argparse has no public name for it  # noqa: SLF001

EPILOG = (
    "Exit codes: 0 done, 1 some items failed, 2 wrong usage or configuration, 3 refused and nothing deleted, "
    "130/143 cancelled."
)


def entry() -> None:
    """What the `acr-cleanup` command calls."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what these arguments say and return the exit code. stdout is for results, stderr for everything else."""
    parsed = parser().parse_args(arguments)
    if parsed.command == "schema":
        runtime = Terminal()
        runtime.show(json.dumps(schema(), indent=2))
        runtime.finish()
        return 0
    try:
        if parsed.command == "demo":
            from acr_cleanup.commands.demo import demo  # noqa: PLC0415  the only way from the product to the emulator

            return asyncio.run(demo(called_as(), serve=parsed.serve))
        return _COMMANDS[parsed.command](parsed, environ)
    except ConfigurationError as error:
        _show_problems(error)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands. Flags are made from the table of inputs, so that they cannot differ from it."""
    result = argparse.ArgumentParser(
        prog="acr-cleanup",
        description="Deletes from one Azure container registry what is old and what no AKS cluster uses.",
        epilog=EPILOG,
    )
    result.add_argument("--version", action="version", version=f"acr-cleanup {__version__}")
    commands = result.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in (
        ("plan", "read, decide and show; delete nothing"),
        ("apply", "plan, look once more, and delete"),
    ):
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)
        _add_config(command)
        command.add_argument("days", metavar="DAYS", nargs="?", help="the same as --older-than")
        if name == "plan":
            command.add_argument("--out", metavar="FILE", type=Path, help="also write the plan to this file")
        else:
            told = "a reviewed plan.json: delete nothing beyond it, and of it what is still true"
            command.add_argument("--plan", metavar="FILE", type=Path, help=told)
        _add_flags(command)
    _add_collect(commands)
    _add_explain(commands)
    _add_permissions(commands)
    _add_restore(commands)
    serve = commands.add_parser("demo", help="the whole job on an embedded registry and clusters; no Azure needed")
    serve.add_argument("--serve", action="store_true", help="leave them running, to try every command by hand")
    commands.add_parser("schema", help="print the JSON schema of the configuration file")
    return result


# What reading clusters needs to know; the rest is for deciding.
_FOR_READING = frozenset(
    {"registry", "clusters", "registry-aliases", "environment", "helm-history", "waive", "log-level"}
)


def _add_collect(commands: _Commands) -> None:
    text = "read the clusters into a usage snapshot, which stands in for them in a run elsewhere"
    command = commands.add_parser("collect", help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)
    _add_config(command)
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write the snapshot")
    command.add_argument(
        "--only",
        metavar="CLUSTER",
        action="append",
        help="read just this cluster of the configuration; may be repeated",
    )
    _add_flags(command, _FOR_READING)


def _add_explain(commands: _Commands) -> None:
    text = "say why a tag or a manifest stays or goes, and who uses it"
    command = commands.add_parser("explain", help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)
    command.add_argument("target", metavar="REPOSITORY[:TAG|@DIGEST]", help="with or without the host of the registry")
    _add_config(command)
    command.add_argument(
        "--report", metavar="FILE", type=Path, help="answer from the report.json of a run instead of reading anything"
    )
    _add_flags(command)


def _add_permissions(commands: _Commands) -> None:
    text = "print the rights that the configuration needs: a ClusterRole and Azure role assignments"
    command = commands.add_parser("permissions", help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)
    _add_config(command)
    _add_flags(command, _FOR_READING | {"subscriptions", "require-all-clusters"})


def _add_restore(commands: _Commands) -> None:
    text = "put back what a run untagged or deleted, where the registry still can"
    command = commands.add_parser("restore", help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)
    command.add_argument(
        "journal", metavar="JOURNAL", type=Path, help="the journal.jsonl in the report folder of the run"
    )
    _add_config(command)
    command.add_argument("--dry-run", action="store_true", help="only say what can be restored")
    _add_flags(command, {"registry", "registry-aliases", "environment", "concurrency", "log-level"})


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "config",
        metavar="CONFIG",
        nargs="?",
        type=Path,
        help=f"the configuration file, JSON or YAML (default: {DEFAULT_FILES[0]}, .yml or .json, if there is one)",
    )


def _add_flags(command: argparse.ArgumentParser, names: Collection[str] = ()) -> None:
    """The flags of these inputs, by default of all."""
    for each in INPUTS:
        if each.flag and (not names or each.name in names):
            _add_flag(command, each.name, each.kind, each.choices, each.description, each.default)


def _add_flag(
    command: argparse.ArgumentParser, name: str, kind: Kind, choices: Sequence[str], description: str, default: str
) -> None:
    # argparse reads `%` as a format; the settings check values, so that all mistakes are reported at once.
    text = f"{description} (default: {default})" if default else description
    metavar = f"{{{','.join(choices)}}}" if choices else name.replace("-", "_").upper()
    action = "append" if kind is Kind.LIST else "store"
    command.add_argument(f"--{name}", metavar=metavar, action=action, help=text.replace("%", "%%"))


def _clean(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    config, settings = _settings(parsed, environ)
    reviewed = _reviewed(parsed)
    _prepare(settings.report_dir)
    if (out := getattr(parsed, "out", None)) is not None:
        from acr_cleanup.reports import files  # noqa: PLC0415

        files.prepare_file(out, "out", "the plan")
    runtime = _terminal(settings)
    # The SDKs take more than a second to import, and a wrong configuration needs none of them.
    from acr_cleanup.commands.run import run  # noqa: PLC0415

    context = _context(parsed, config)
    return asyncio.run(
        run(
            settings,
            runtime,
            environ,
            dry_run=parsed.command == "plan",
            context=context,
            plan_file=out,
            reviewed=reviewed,
        )
    )


def _reviewed(parsed: argparse.Namespace) -> ReviewedPlan | None:
    """The plan that an apply is bound to. Raises `ConfigurationError`."""
    if getattr(parsed, "plan", None) is None:
        return None
    from acr_cleanup.records.reviewed_plan import read  # noqa: PLC0415

    return read(parsed.plan, "--plan")


def _collect(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    _, settings = _settings(parsed, environ)
    from acr_cleanup.commands.collect import collect  # noqa: PLC0415

    return asyncio.run(collect(settings, _terminal(settings), environ, out=parsed.out, only=parsed.only or ()))


def _explain(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from acr_cleanup.commands.explain import explain, explain_report  # noqa: PLC0415

    if parsed.report is not None:
        return explain_report(parsed.target, parsed.report, Terminal())
    _, settings = _settings(parsed, environ)
    return asyncio.run(explain(parsed.target, settings, _terminal(settings), environ))


def _permissions(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    _, settings = _settings(parsed, environ)
    from acr_cleanup.commands.permissions import permissions  # noqa: PLC0415

    return asyncio.run(permissions(settings, _terminal(settings), environ))


def _restore(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from acr_cleanup.commands.restore import read, restore  # noqa: PLC0415

    recorded = read(parsed.journal)
    config = parsed.config or _found_file()
    given = _overrides(parsed)
    named = config is not None or given["registry"] is not None
    if not named:
        given["registry"] = recorded.registry
    settings = load_settings(config, given, environ, needs_clusters=False)
    if not named and not settings.registry.login_server.endswith(f".{settings.cloud.registry_suffix}"):
        # Whoever has edited the journal must not choose to whom we log in.
        seen = f"The journal is of {recorded.registry}, which is no usual name of an Azure container registry."
        raise ConfigurationError((Problem("registry", seen, "If it is yours, name it with --registry."),))
    return asyncio.run(
        restore(parsed.journal, recorded, settings, _terminal(settings), environ, dry_run=parsed.dry_run)
    )


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {
    "plan": _clean,
    "apply": _clean,
    "collect": _collect,
    "explain": _explain,
    "permissions": _permissions,
    "restore": _restore,
}


def _settings(parsed: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Path | None, Settings]:
    """The configuration file, if there is one, and the settings. Raises `ConfigurationError`."""
    config = parsed.config or _default_file(parsed)
    return config, load_settings(config, _overrides(parsed), environ)


def _terminal(settings: Settings) -> Terminal:
    level = Level[settings.log_level.upper()]
    runtime = Terminal(level)
    connect_log(runtime, level)
    return runtime


def _found_file() -> Path | None:
    return next((Path(name) for name in DEFAULT_FILES if Path(name).exists()), None)


def _default_file(parsed: argparse.Namespace) -> Path | None:
    found = _found_file()
    if found is None and not (parsed.registry or parsed.clusters):
        problem = Problem("CONFIG", "No configuration was given.", f"Name a file, or write {DEFAULT_FILES[0]} here.")
        raise ConfigurationError((problem,))
    return found


def _overrides(parsed: argparse.Namespace) -> dict[str, str | Sequence[str] | None]:
    given: dict[str, str | Sequence[str] | None] = {
        each.name: getattr(parsed, each.key, None) for each in INPUTS if each.flag
    }
    if getattr(parsed, "days", None) is not None:
        if given["older-than"] is not None:
            problem = Problem("DAYS", "The age is given twice: as DAYS and as --older-than.", "Leave one of them out.")
            raise ConfigurationError((problem,))
        given["older-than"] = parsed.days
    return given


def _prepare(folder: Path) -> None:
    from acr_cleanup.reports import files  # noqa: PLC0415

    try:
        files.prepare(folder)
    except OSError as error:
        seen = f"The folder {str(folder)!r} cannot be written to: {error.strerror or error}."
        problem = Problem("report-dir", seen, "Name another with --report-dir: a run that deletes must be reported.")
        raise ConfigurationError((problem,)) from error


def _show_problems(error: ConfigurationError) -> None:
    count = len(error.problems)
    where = f" in {error.where}" if error.where else ""
    runtime = Terminal()
    runtime.log(Level.ERROR, f"{count} problem{'s' if count != 1 else ''}{where}. Nothing was read or deleted.")
    for problem in error.problems:
        runtime.log(Level.INFO, f"\n  {problem.path}\n    {problem.seen}\n    {problem.remedy}")


def called_as() -> str:
    """What to type to call this program again, from here: it may not be installed."""
    if Path(sys.argv[0]).name != "__main__.py":
        return "acr-cleanup"
    python = Path(sys.executable)
    with suppress(ValueError):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m acr_cleanup"


def _context(parsed: argparse.Namespace, config: Path | None) -> Context:
    def command(verb: str) -> str:
        words = [verb, *([str(config)] if config else []), *([parsed.days] if parsed.days else [])]
        for each in INPUTS:
            value = getattr(parsed, each.key, None) if each.flag else None
            for one in value if isinstance(value, list) else [value] if value else []:
                words += [f"--{each.name}", one]
        # What is shown is what should be deleted: the plan that was written, or the one that this apply is bound to.
        path = getattr(parsed, "plan", None) or getattr(parsed, "out", None)
        if path is not None:
            words += ["--out" if verb == "plan" else "--plan", str(path)]
        return f"{called_as()} {shlex.join(words)}"

    return Context(plan_again=command("plan"), apply=command("apply"))
