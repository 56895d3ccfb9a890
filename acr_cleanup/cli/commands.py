"""
How each command runs: parsed arguments -> settings -> command -> exit code.

A function imports what only its command needs, so that `--help` and a wrong usage are answered at
once: rich, YAML and asyncio take longer to import than the parser takes to answer.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acr_cleanup.access.roles import FIND_CLUSTER, Command
from acr_cleanup.cli.parser import DEFAULT_FILES, parser
from acr_cleanup.cli.usage import FLAGS, parse
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.reports.context import Context
from acr_cleanup.runtimes.base import Level, connect_log
from acr_cleanup.settings import Settings

if TYPE_CHECKING:
    from acr_cleanup.records.reviewed_plan import ReviewedPlan
    from acr_cleanup.runtimes.terminal import Terminal


def entry() -> None:
    """Run `acr-cleanup` with the arguments of this process, and exit."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """
    Run the command and return its exit code.

    Results go to stdout, progress and log to stderr.
    """
    parsed = parse(arguments, parser(arguments))
    try:
        if parsed.command == "demo":
            from acr_cleanup.commands.demo import demo  # noqa: PLC0415  the only import of the emulator

            return _wait(demo(called_as(), serve=parsed.serve))
        return _COMMANDS[parsed.command](parsed, environ)
    except ConfigurationError as error:
        _show_problems(error)
        return 2


def _wait(command: Coroutine[Any, Any, int]) -> int:
    import asyncio  # noqa: PLC0415

    return asyncio.run(command)


def _schema(_: argparse.Namespace, __: Mapping[str, str]) -> int:
    from acr_cleanup.runtimes.terminal import Terminal  # noqa: PLC0415
    from acr_cleanup.settings.form import schema  # noqa: PLC0415

    runtime = Terminal()
    runtime.show(json.dumps(schema(), indent=2))
    runtime.finish()
    return 0


def _completion(parsed: argparse.Namespace, _: Mapping[str, str]) -> int:
    from acr_cleanup.cli.completion import completion  # noqa: PLC0415
    from acr_cleanup.runtimes.terminal import Terminal  # noqa: PLC0415

    runtime = Terminal()
    runtime.write([completion(parsed.shell)])
    runtime.finish()
    return 0


def _clean(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    settings = settings_of(parsed, environ)
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
            print_json=runtime.write if parsed.format == "json" else None,
        )
    )


def _reviewed(parsed: argparse.Namespace) -> ReviewedPlan | None:
    """Return the reviewed plan of `apply --plan`. Raises `ConfigurationError`."""
    if getattr(parsed, "plan", None) is None:
        return None
    from acr_cleanup.records.reviewed_plan import read  # noqa: PLC0415

    return read(parsed.plan, "--plan")


def _collect(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    settings = settings_of(parsed, environ)
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

    as_json = parsed.format == "json"
    if parsed.report is not None:
        terminal = Terminal()
        return explain_report(parsed.target, parsed.report, terminal, terminal.write if as_json else None)
    settings = settings_of(parsed, environ)
    runtime = _terminal(settings)
    print_json = runtime.write if as_json else None
    return _wait(explain(parsed.target, settings, runtime, environ, print_json=print_json))


def _permissions(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from acr_cleanup.commands.permissions import PermissionsRequest, permissions  # noqa: PLC0415

    command = Command(parsed.for_command)
    request = PermissionsRequest(parsed.format, command, parsed.identity or "")
    settings = settings_of(parsed, environ, needs_clusters=command in FIND_CLUSTER.commands)
    return _wait(permissions(settings, _terminal(settings), environ, request))


def _check(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    settings = settings_of(parsed, environ)
    from acr_cleanup.commands.check import check  # noqa: PLC0415

    return _wait(check(settings, _terminal(settings), environ, as_json=parsed.format == "json"))


def _init(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from acr_cleanup.commands.init import init  # noqa: PLC0415
    from acr_cleanup.commands.init_request import InitRequest  # noqa: PLC0415
    from acr_cleanup.runtimes.terminal import Terminal  # noqa: PLC0415

    connect_log(runtime := Terminal(), Level.WARNING)
    return init(InitRequest.of(parsed), runtime, environ)


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


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {
    "plan": _clean,
    "apply": _clean,
    "collect": _collect,
    "names": _names,
    "explain": _explain,
    "permissions": _permissions,
    "check": _check,
    "init": _init,
    "restore": _restore,
    "schema": _schema,
    "completion": _completion,
}


def settings_of(parsed: argparse.Namespace, environ: Mapping[str, str], *, needs_clusters: bool = True) -> Settings:
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
    given: dict[str, str | Sequence[str] | None] = {option.name: getattr(parsed, option.key, None) for option in FLAGS}
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
        for option in FLAGS:
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
