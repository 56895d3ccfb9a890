"""
The parser of the command line: one entry of `VERBS` per command.

The flags of the options are made from the table of options.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acr_cleanup import version
from acr_cleanup.access.roles import Command
from acr_cleanup.cli.usage import FLAGS, UsageParser
from acr_cleanup.commands import init_request
from acr_cleanup.settings import InputKind, Option
from acr_cleanup.settings.option import Group, Purpose

PROGRAM = "acr-cleanup"
DEFAULT_FILES = ("acr-cleanup.yaml", "acr-cleanup.yml", "acr-cleanup.json")
SHELLS = ("bash", "zsh", "fish")
_EXIT_CODES = (
    "Exit codes: 0 done, 1 some items failed, 2 wrong usage or configuration, 3 refused and nothing deleted, "
    "130/143 cancelled."
)
_SWITCHES_EXPLAINED = "A {true,false} flag without a value means true; --no-FLAG means false."
_LONG = 40
"""A longer list of choices is in the help text of a flag, not next to its name."""
_METAVARS = {InputKind.NUMBER: "N", InputKind.PATH: "PATH", InputKind.BOOLEAN: "{true,false}"}


class _Help(argparse.HelpFormatter):
    """Wrap paragraphs, and leave indented lines as they are: a command is pasted."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(line if line.startswith("  ") else fill(line, width, indent) for line in text.split("\n"))


@dataclass(frozen=True, slots=True)
class Verb:
    """
    One command.

    text: completes "acr-cleanup NAME: …". usage: its arguments. example: one useful call.
    purposes: the parts of a run that it does; it has the flags of these.
    arguments: adds its own arguments.
    """

    name: str
    text: str
    usage: str
    example: str
    purposes: Purpose | None = None
    arguments: Callable[[UsageParser], None] = lambda _: None

    def add_to(self, commands: argparse._SubParsersAction[UsageParser], *, flags: bool, completing: bool) -> None:
        text = f"{self.text[0].upper()}{self.text[1:]}."
        explained = f"\n{_SWITCHES_EXPLAINED}" if self.purposes else ""
        command = commands.add_parser(
            self.name,
            help=self.text,
            description=text,
            usage=f"{PROGRAM} {self.name} {self.usage}".rstrip(),
            epilog=f"Example:\n  {PROGRAM} {self.example}\n \n{_EXIT_CODES}{explained}",
            formatter_class=_Help,
            allow_abbrev=False,
        )
        self.arguments(command)
        if flags and self.purposes:
            _add_flags(command, self.purposes, completing=completing)


def parser(arguments: Sequence[str] | None = None, *, completing: bool = False) -> UsageParser:
    """
    Return the parser of all commands.

    arguments: only the commands that occur in them get flags, which take time to make; None: all.
    completing: for a completion, which lists both forms of each switch.
    """
    result = UsageParser(
        prog=PROGRAM,
        description="Deletes old images that no AKS cluster uses from one Azure container registry.",
        usage=f"{PROGRAM} COMMAND [...]",
        epilog=f"Example:\n  {PROGRAM} plan acr-cleanup.yaml --older-than 60d\n \n{PROGRAM} COMMAND --help shows the flags and "
        f"an example of a command.\n{_EXIT_CODES}",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    result.add_argument("--version", action="version", version=f"{PROGRAM} {version()}")
    commands = result.add_subparsers(dest="command", metavar="COMMAND", required=True, prog=PROGRAM)
    for verb in VERBS:
        verb.add_to(commands, flags=arguments is None or verb.name in arguments, completing=completing)
    return result


# -- arguments of the commands ---------------------------------------------------------------------


def _add_config(command: UsageParser) -> None:
    text = f"the configuration file, JSON or YAML (default: {DEFAULT_FILES[0]}, .yml or .json, if it exists)"
    command.add_argument("config", metavar="CONFIG", nargs="?", type=Path, help=text)
    command.add_argument("--config", "--config-file", dest="config_flag", type=Path, help=argparse.SUPPRESS)


def _add_planning(command: UsageParser) -> None:
    _add_config(command)
    command.add_argument("days", metavar="DAYS", nargs="?", help="the same as --older-than")
    text = "what is printed on stdout: the report for people, or report.json (default: text)"
    command.add_argument("--format", choices=("text", "json"), default="text", help=text)


def _add_plan(command: UsageParser) -> None:
    _add_planning(command)
    command.add_argument("--out", metavar="FILE", type=Path, help="also write the plan to this file")


def _add_apply(command: UsageParser) -> None:
    _add_planning(command)
    reviewed = "a reviewed plan.json: delete only what it lists, and only if that is still valid"
    command.add_argument("--plan", metavar="FILE", type=Path, help=reviewed)


def _add_collect(command: UsageParser) -> None:
    _add_config(command)
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write the snapshot")
    only = "read only this cluster of the configuration; may be repeated"
    command.add_argument("--only", metavar="CLUSTER", action="append", help=only)
    names = "the names of the registry, written by `acr-cleanup names`"
    command.add_argument("--names", metavar="FILE", type=Path, help=names)


def _add_names(command: UsageParser) -> None:
    _add_config(command)
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write the names")


def _add_explain(command: UsageParser) -> None:
    text = "REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST, with or without the host of the registry"
    command.add_argument("target", metavar="TARGET", help=text)
    _add_config(command)
    report = "answer from the report.json of a run; read no cluster or registry"
    command.add_argument("--report", metavar="FILE", type=Path, help=report)
    text = "how the answer is printed (default: text)"
    command.add_argument("--format", choices=("text", "json"), default="text", help=text)


def _add_permissions(command: UsageParser) -> None:
    _add_config(command)
    formats = ("shell", "bicep", "terraform", "kubernetes")
    text = "how to print them (default: shell, a script that also covers the clusters)"
    command.add_argument("--format", choices=formats, default="shell", help=text)
    command.add_argument(
        "--for",
        dest="for_command",
        choices=tuple(map(str, Command)),
        default=str(Command.APPLY),
        help="the command that needs them (default: apply)",
    )
    command.add_argument("--identity", metavar="OBJECT_ID", help="the object id of the identity that gets them")


def _add_check(command: UsageParser) -> None:
    _add_config(command)
    text = "how the page is printed (default: text)"
    command.add_argument("--format", choices=("text", "json"), default="text", help=text)


def _add_restore(command: UsageParser) -> None:
    journal = "the journal.jsonl in the report folder of the run"
    command.add_argument("journal", metavar="JOURNAL", type=Path, help=journal)
    _add_config(command)
    command.add_argument("--dry-run", action="store_true", help="show what can be restored, and restore nothing")


def _add_demo(command: UsageParser) -> None:
    text = "keep them running, to try every command by hand"
    command.add_argument("--serve", action="store_true", help=text)


def _add_completion(command: UsageParser) -> None:
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def _add_flags(command: UsageParser, purposes: Purpose, *, completing: bool) -> None:
    """Add the flags of the options for these purposes, under the headings of their groups."""
    for group in Group:
        options = [option for option in FLAGS if option.group is group and option.purpose & purposes]
        heading = command.add_argument_group(group.value.lower()) if group.value and options else command
        for option in options:
            _add_flag(heading, option, completing=completing)


def _add_flag(command: argparse._ActionsContainer, option: Option, *, completing: bool) -> None:
    text = f"{option.description} (default: {option.default})" if option.default else option.description
    kind = option.kind
    # argparse reads `%` in a help text as a format.
    text = text.replace("%", "%%")
    if completing and kind.input is InputKind.BOOLEAN:
        command.add_argument(f"--{option.name}", action="store_true", help=text)
        command.add_argument(f"--no-{option.name}", action="store_true", help=f"The opposite of --{option.name}.")
        return
    # The choices are shown but not checked here: the settings report all invalid values at once.
    metavar = kind.metavar or _METAVARS.get(kind.input, "TEXT")
    if option.choices:
        listed = ",".join(option.choices)
        metavar = f"{{{listed}}}" if len(listed) < _LONG else "NAME"
        text += "" if len(listed) < _LONG else f" One of {', '.join(option.choices)}."
    more: dict[str, Any] = {"choices": option.choices} if completing and option.choices else {}
    # The settings parse the text. Only shtab needs the type.
    more |= {"type": Path} if completing and kind.input is InputKind.PATH else {}
    action = "append" if kind.input is InputKind.LIST else "store"
    command.add_argument(f"--{option.name}", metavar=metavar, action=action, help=text, **more)


_USAGE = "[CONFIG [DAYS]] [--FLAG ...]"
_READING = Purpose.REGISTRY | Purpose.CLUSTERS
VERBS = (
    Verb(
        "plan",
        "show what would be deleted, and delete nothing",
        _USAGE,
        "plan acr-cleanup.yaml --older-than 60d --out plan.json",
        Purpose.ALL,
        _add_plan,
    ),
    Verb(
        "apply",
        "plan, check again right before deleting, and delete",
        _USAGE,
        "apply acr-cleanup.yaml --plan plan.json",
        Purpose.ALL,
        _add_apply,
    ),
    Verb(
        "explain",
        "explain why a tag or a manifest is kept or deleted, and which workloads use it",
        "TARGET [CONFIG] [--FLAG ...]",
        "explain shop/web:1.4.2 acr-cleanup.yaml",
        Purpose.ALL,
        _add_explain,
    ),
    Verb(
        "restore",
        "restore what a run untagged or deleted, if the registry still has the content",
        "JOURNAL [CONFIG] [--FLAG ...]",
        "restore acr-cleanup/journal.jsonl --dry-run",
        Purpose.REGISTRY | Purpose.REQUESTS,
        _add_restore,
    ),
    Verb(
        "collect",
        "read the clusters into a usage snapshot, which a machine that cannot reach them uses",
        "[CONFIG] --out FILE [--FLAG ...]",
        "collect acr-cleanup.yaml --only production --out usage.json",
        _READING,
        _add_collect,
    ),
    Verb(
        "names",
        "write the names of the registry into a file, which a collect without the registry reads",
        "[CONFIG] --out FILE [--FLAG ...]",
        "names acr-cleanup.yaml --out names.json",
        Purpose.REGISTRY,
        _add_names,
    ),
    Verb(
        "permissions",
        "print the rights that the configuration needs: a ClusterRole and Azure role assignments",
        "[CONFIG] [--FLAG ...]",
        "permissions acr-cleanup.yaml --for plan --format bicep",
        _READING | Purpose.SEARCH | Purpose.RIGHTS,
        _add_permissions,
    ),
    Verb(
        "check",
        "log in, and show which parts and rights that a run needs are missing",
        "[CONFIG] [--FLAG ...]",
        "check acr-cleanup.yaml",
        Purpose.ALL,
        _add_check,
    ),
    Verb(
        "init",
        "find the registry and the clusters, and write configuration, scripts for trust and rights, and a pipeline",
        "[--FLAG ...]",
        "init --registry contoso --ci github --repository ORG/REPO --yes",
        arguments=init_request.add_arguments,
    ),
    Verb(
        "demo",
        "plan and apply on an embedded registry and clusters; no Azure needed",
        "[--serve]",
        "demo",
        arguments=_add_demo,
    ),
    Verb("schema", "print the JSON schema of the configuration file", "", "schema > acr-cleanup.schema.json"),
    Verb(
        "completion",
        "print the completion of a shell",
        "{bash,zsh,fish}",
        "completion bash > ~/.local/share/bash-completion/completions/acr-cleanup",
        arguments=_add_completion,
    ),
)
