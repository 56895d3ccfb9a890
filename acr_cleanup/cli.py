"""
The command line: arguments -> settings -> command -> exit code.

A function imports what only its command needs, so that `--help` and a wrong usage are answered at
once: rich, YAML and asyncio take longer to import than the parser takes to answer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from acr_cleanup import __version__
from acr_cleanup.access.roles import FIND_CLUSTER, Command
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.reports.context import Context
from acr_cleanup.runtimes.base import Level, connect_log
from acr_cleanup.settings import OPTIONS, InputKind, Option, Settings, Way
from acr_cleanup.settings.option import Group, Purpose

if TYPE_CHECKING:
    from acr_cleanup.records.reviewed_plan import ReviewedPlan
    from acr_cleanup.runtimes.terminal import Terminal

DEFAULT_FILES = ("acr-cleanup.yaml", "acr-cleanup.yml", "acr-cleanup.json")

_OBJECT_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # argparse has no public name for it  # noqa: SLF001

EPILOG = (
    "Exit codes: 0 done, 1 some items failed, 2 wrong usage or configuration, 3 refused and nothing deleted, "
    "130/143 cancelled."
)


def entry() -> None:
    """Run `acr-cleanup` with the arguments of this process, and exit."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """
    Run the command and return its exit code.

    Results go to stdout, progress and log to stderr.
    """
    parsed = parser(arguments).parse_args(arguments)
    if parsed.command == "schema":
        return _schema()
    try:
        if parsed.command == "demo":
            from acr_cleanup.commands.demo import demo  # noqa: PLC0415  the only import of the emulator

            return _wait(demo(called_as(), serve=parsed.serve))
        return _COMMANDS[parsed.command][0](parsed, environ)
    except ConfigurationError as error:
        _show_problems(error)
        return 2
    except KeyboardInterrupt:
        return 130


def parser(arguments: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """
    Return the parser of all commands. Its flags are made from the table of options.

    arguments: only the commands that occur in them get flags, which take time to make; None: all.
    """
    result = argparse.ArgumentParser(
        prog="acr-cleanup",
        description="Deletes old images that no AKS cluster uses from one Azure container registry.",
        epilog=EPILOG,
    )
    result.add_argument("--version", action="version", version=f"acr-cleanup {__version__}")
    commands = result.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in (
        ("plan", "show what would be deleted, and delete nothing"),
        ("apply", "plan, check again right before deleting, and delete"),
    ):
        command = _add_command(commands, name, text)
        _add_config(command)
        command.add_argument("days", metavar="DAYS", nargs="?", help="the same as --older-than")
        if name == "plan":
            command.add_argument("--out", metavar="FILE", type=Path, help="also write the plan to this file")
        else:
            reviewed = "a reviewed plan.json: delete only what it lists, and only if that is still valid"
            command.add_argument("--plan", metavar="FILE", type=Path, help=reviewed)
    _add_collect(commands)
    _add_explain(commands)
    _add_permissions(commands)
    _add_restore(commands)
    serve = commands.add_parser("demo", help="plan and apply on an embedded registry and clusters; no Azure needed")
    serve.add_argument("--serve", action="store_true", help="keep them running, to try every command by hand")
    commands.add_parser("schema", help="print the JSON schema of the configuration file")
    for name, (_, purposes) in _COMMANDS.items():
        if arguments is None or name in arguments:
            _add_flags(commands.choices[name], purposes)
    return result


def _add_command(commands: _Commands, name: str, text: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)


def _add_collect(commands: _Commands) -> None:
    text = "read the clusters into a usage snapshot, for a run on a machine that cannot reach them"
    command = _add_command(commands, "collect", text)
    _add_config(command)
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write the snapshot")
    command.add_argument(
        "--only",
        metavar="CLUSTER",
        action="append",
        help="read only this cluster of the configuration; may be repeated",
    )
    command.add_argument(
        "--names", metavar="FILE", type=Path, help="the names of the registry, written by `acr-cleanup names`"
    )
    text = "write the names of the registry into a file, for a collect that cannot reach the registry"
    command = _add_command(commands, "names", text)
    _add_config(command)
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write the names")


def _add_explain(commands: _Commands) -> None:
    text = "explain why a tag or a manifest is kept or deleted, and which workloads use it"
    command = _add_command(commands, "explain", text)
    command.add_argument("target", metavar="REPOSITORY[:TAG|@DIGEST]", help="with or without the host of the registry")
    _add_config(command)
    command.add_argument(
        "--report", metavar="FILE", type=Path, help="answer from the report.json of a run; read no cluster or registry"
    )


def _add_permissions(commands: _Commands) -> None:
    text = "print the rights that the configuration needs: a ClusterRole and Azure role assignments"
    command = _add_command(commands, "permissions", text)
    _add_config(command)
    command.add_argument(
        "--format",
        choices=("shell", "bicep", "terraform", "kubernetes"),
        default="shell",
        help="how to print them (default: shell, a script that also covers the clusters)",
    )
    command.add_argument(
        "--for",
        dest="for_command",
        choices=tuple(map(str, Command)),
        default=str(Command.APPLY),
        help="the command that needs them (default: apply)",
    )
    command.add_argument("--identity", metavar="OBJECT_ID", help="the object id of the identity that gets them")


def _add_restore(commands: _Commands) -> None:
    text = "restore what a run untagged or deleted, if the registry still has the content"
    command = _add_command(commands, "restore", text)
    command.add_argument(
        "journal", metavar="JOURNAL", type=Path, help="the journal.jsonl in the report folder of the run"
    )
    _add_config(command)
    command.add_argument("--dry-run", action="store_true", help="show what can be restored, and restore nothing")


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "config",
        metavar="CONFIG",
        nargs="?",
        type=Path,
        help=f"the configuration file, JSON or YAML (default: {DEFAULT_FILES[0]}, .yml or .json, if it exists)",
    )


def _add_flags(command: argparse.ArgumentParser, purposes: Purpose) -> None:
    """Add the flags of the options for these purposes, under the headings of their groups."""
    for group in Group:
        options = [option for option in _FLAGS if option.group is group and option.purpose & purposes]
        heading = command.add_argument_group(group.value.lower()) if group.value and options else command
        for option in options:
            _add_flag(heading, option)


_FLAGS = tuple(option for option in OPTIONS if Way.FLAG in option.ways)


def _add_flag(command: argparse._ActionsContainer, option: Option) -> None:  # argparse has no public name for it
    text = f"{option.description} (default: {option.default})" if option.default else option.description
    # The choices are shown but not checked here: the settings report all invalid values at once.
    metavar = f"{{{','.join(option.choices)}}}" if option.choices else option.key.upper()
    action = "append" if option.kind.input is InputKind.LIST else "store"
    # argparse reads `%` in a help text as a format.
    command.add_argument(f"--{option.name}", metavar=metavar, action=action, help=text.replace("%", "%%"))


def _wait(command: Coroutine[Any, Any, int]) -> int:
    import asyncio  # noqa: PLC0415

    return asyncio.run(command)


def _schema() -> int:
    from acr_cleanup.runtimes.terminal import Terminal  # noqa: PLC0415
    from acr_cleanup.settings.form import schema  # noqa: PLC0415

    runtime = Terminal()
    runtime.show(json.dumps(schema(), indent=2))
    runtime.finish()
    return 0


def _clean(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    settings = _settings(parsed, environ)
    reviewed = _reviewed(parsed)
    from acr_cleanup.reports import files  # noqa: PLC0415

    files.prepare_folder(settings.report_dir)
    if (out := getattr(parsed, "out", None)) is not None:
        files.prepare_file(out, "out", "the plan")
    runtime = _terminal(settings)
    # Import the SDKs only now: it takes more than a second, and a wrong configuration needs no SDK.
    from acr_cleanup.commands.run import run  # noqa: PLC0415

    context = _context(parsed, settings.config_file)
    return _wait(
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
    """Return the reviewed plan of `apply --plan`. Raises `ConfigurationError`."""
    if getattr(parsed, "plan", None) is None:
        return None
    from acr_cleanup.records.reviewed_plan import read  # noqa: PLC0415

    return read(parsed.plan, "--plan")


def _collect(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    settings = _settings(parsed, environ)
    from acr_cleanup.commands.collect import collect  # noqa: PLC0415

    only = parsed.only or ()
    return _wait(collect(settings, _terminal(settings), environ, out=parsed.out, only=only, names=parsed.names))


def _names(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from acr_cleanup.commands.names import names  # noqa: PLC0415
    from acr_cleanup.settings.load import load_settings  # noqa: PLC0415

    settings = load_settings(parsed.config or _file_here(), _overrides(parsed), environ, needs_clusters=False)
    return _wait(names(settings, _terminal(settings), environ, out=parsed.out))


def _explain(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from acr_cleanup.commands.explain import explain, explain_report  # noqa: PLC0415
    from acr_cleanup.runtimes.terminal import Terminal  # noqa: PLC0415

    if parsed.report is not None:
        return explain_report(parsed.target, parsed.report, Terminal())
    settings = _settings(parsed, environ)
    return _wait(explain(parsed.target, settings, _terminal(settings), environ))


def _permissions(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    command, identity = Command(parsed.for_command), parsed.identity or ""
    if identity and not _OBJECT_ID.fullmatch(identity):
        seen = f"{identity!r} is not an object id."
        remedy = "Give the GUID that this prints: az ad sp show --id CLIENT_ID --query id --output tsv"
        raise ConfigurationError((Problem("--identity", seen, remedy),))
    settings = _settings(parsed, environ, needs_clusters=command in FIND_CLUSTER.commands)
    from acr_cleanup.commands.permissions import PermissionsRequest, permissions  # noqa: PLC0415

    request = PermissionsRequest(parsed.format, command, identity)
    return _wait(permissions(settings, _terminal(settings), environ, request))


def _restore(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from acr_cleanup.commands.restore import read, restore  # noqa: PLC0415
    from acr_cleanup.settings.load import load_settings  # noqa: PLC0415

    recorded = read(parsed.journal)
    config = parsed.config or _file_here()
    given = _overrides(parsed)
    named = config is not None or given["registry"] is not None
    if not named:
        given["registry"] = recorded.registry
    settings = load_settings(config, given, environ, needs_clusters=False)
    if not named and not settings.registry.login_server.endswith(f".{settings.cloud.registry_suffix}"):
        # An edited journal must not decide to which host the login is sent.
        seen = f"The journal names the registry {recorded.registry}, which has no usual Azure host name."
        remedy = "If this registry is yours, give its name with --registry."
        raise ConfigurationError((Problem("registry", seen, remedy),))
    return _wait(restore(parsed.journal, recorded, settings, _terminal(settings), environ, dry_run=parsed.dry_run))


_COMMANDS: Mapping[str, tuple[Callable[[argparse.Namespace, Mapping[str, str]], int], Purpose]] = {
    "plan": (_clean, Purpose.ALL),
    "apply": (_clean, Purpose.ALL),
    "collect": (_collect, Purpose.REGISTRY | Purpose.CLUSTERS),
    "names": (_names, Purpose.REGISTRY),
    "explain": (_explain, Purpose.ALL),
    "permissions": (_permissions, Purpose.REGISTRY | Purpose.CLUSTERS | Purpose.SEARCH | Purpose.RIGHTS),
    "restore": (_restore, Purpose.REGISTRY | Purpose.REQUESTS),
}
"""How each command runs, and for which parts of a run it has flags."""


def _settings(parsed: argparse.Namespace, environ: Mapping[str, str], *, needs_clusters: bool = True) -> Settings:
    """Load the settings. Raises `ConfigurationError`."""
    from acr_cleanup.settings.load import load_settings  # noqa: PLC0415

    config = parsed.config or _default_file(parsed)
    return load_settings(config, _overrides(parsed), environ, needs_clusters=needs_clusters)


def _terminal(settings: Settings) -> Terminal:
    from acr_cleanup.runtimes.terminal import Terminal  # noqa: PLC0415

    level = Level[settings.log_level.upper()]
    runtime = Terminal(level)
    connect_log(runtime, level)
    return runtime


def _file_here() -> Path | None:
    return next((Path(name) for name in DEFAULT_FILES if Path(name).exists()), None)


def _default_file(parsed: argparse.Namespace) -> Path | None:
    file = _file_here()
    if file is None and not (parsed.registry or parsed.clusters):
        remedy = f"Give the path of a file, or create {DEFAULT_FILES[0]} in this folder."
        raise ConfigurationError((Problem("CONFIG", "No configuration was given.", remedy),))
    return file


def _overrides(parsed: argparse.Namespace) -> dict[str, str | Sequence[str] | None]:
    given: dict[str, str | Sequence[str] | None] = {option.name: getattr(parsed, option.key, None) for option in _FLAGS}
    if getattr(parsed, "days", None) is not None:
        if given["older-than"] is not None:
            problem = Problem("DAYS", "The age is given twice: as DAYS and as --older-than.", "Remove one of them.")
            raise ConfigurationError((problem,))
        given["older-than"] = parsed.days
    return given


def _show_problems(error: ConfigurationError) -> None:
    from acr_cleanup.runtimes.terminal import Terminal  # noqa: PLC0415

    count = len(error.problems)
    where = f" in {error.where}" if error.where else ""
    runtime = Terminal()
    runtime.log(Level.ERROR, f"{count} problem{'s' if count != 1 else ''}{where}. Nothing was read or deleted.")
    for problem in error.problems:
        runtime.log(Level.INFO, f"\n  {problem.path}\n    {problem.seen}\n    {problem.remedy}")


def called_as() -> str:
    """Return the command that starts this program again, which may not be installed."""
    if Path(sys.argv[0]).name != "__main__.py":
        return "acr-cleanup"
    python = Path(sys.executable)
    with suppress(ValueError):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m acr_cleanup"


def _context(parsed: argparse.Namespace, config: Path | None) -> Context:
    def command(verb: str) -> str:
        words = [verb, *([str(config)] if config else []), *([parsed.days] if parsed.days else [])]
        for option in _FLAGS:
            value = getattr(parsed, option.key, None)
            for item in value if isinstance(value, list) else [value] if value else []:
                words += [f"--{option.name}", item]
        # The suggested command names the plan that was shown: the file that this plan wrote, or the
        # reviewed plan of this apply.
        path = getattr(parsed, "plan", None) or getattr(parsed, "out", None)
        if path is not None:
            words += ["--out" if verb == "plan" else "--plan", str(path)]
        return f"{called_as()} {shlex.join(words)}"

    return Context(plan_again=command("plan"), apply=command("apply"))
