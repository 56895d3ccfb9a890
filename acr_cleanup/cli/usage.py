"""
Arguments as people type them, and a wrong usage in one line.

A switch alone means true, `--no-SWITCH` means false, and `_` may stand for `-`. A wrong usage is one
line on stderr, with what was probably meant.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from acr_cleanup.settings import OPTIONS, InputKind, Way
from acr_cleanup.settings.grammar import did_you_mean, nearest, shown

FLAGS = tuple(option for option in OPTIONS if Way.FLAG in option.ways)
_SWITCHES = {option.name for option in FLAGS if option.kind.input is InputKind.BOOLEAN}
_INSTEAD = {
    "--dry-run": "plan shows what apply would delete.",
    "--apply": "apply deletes what plan shows.",
    "--days": "Write --older-than.",
    "--age": "Write --older-than.",
    "--ago": "Write --older-than.",
    "--verbose": "Write --log-level debug.",
    "-v": "Write --log-level debug.",
    "--debug": "Write --log-level debug.",
    "--quiet": "Write --log-level error.",
    "-q": "Write --log-level error.",
    "--json": "Write --format json.",
    "--output": "Write --out for the plan, or --report-dir for the folder of the reports.",
    "--rules": "Rules are in the configuration file.",
    "--yes": "Nothing is asked: apply deletes.",
    "--force": "Nothing is asked: apply deletes.",
}
"""Flags of other tools, and what to write instead."""


class UsageParser(argparse.ArgumentParser):
    """A parser that reports a wrong usage in one line, and exits with 2."""

    _intermixes = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """
        Parse the arguments. CONFIG may also stand behind flags.

        argparse otherwise takes an optional argument as missing when it meets a flag first.
        """
        if self._intermixes or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._intermixes = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixes = False

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {_in_words(message)} See {self.prog} --help.\n")
        sys.exit(2)

    def flags(self) -> list[str]:
        """The flags that this parser knows."""
        return [*self._option_string_actions]

    def commands(self) -> dict[str, UsageParser]:
        """The parsers of its commands, by name."""
        # argparse has no public name for the type of these actions.
        actions = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
        return {name: command for action in actions for name, command in action.choices.items()}


def parse(arguments: Sequence[str], root: UsageParser) -> argparse.Namespace:
    """Parse the arguments. Exits with 2, after one line on stderr, if they are wrong."""
    commands = root.commands()
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command and command not in commands:
        root.error(f"There is no command {shown(command)}.{did_you_mean(nearest(command, [*commands]))}")
    used = commands.get(command, root)
    arguments = [*_as_typed(arguments)]
    if unknown := next(_unknown_flags(arguments, {*root.flags(), *used.flags()}), ""):
        flag = unknown.partition("=")[0]
        bare = f"--{flag.lstrip('-').lower().replace('_', '-')}"
        hint = f" {_INSTEAD[flag]}" if flag in _INSTEAD else did_you_mean(_meant(bare, used.flags()))
        used.error(f"There is no flag {flag}.{hint}")
    parsed, further = root.parse_known_args(arguments)
    if further:
        used.error(f"{shown(further[0])} is one argument too many.")
    if getattr(parsed, "config_flag", None) is not None:
        if parsed.config is not None:
            used.error("The configuration file is given twice.")
        parsed.config = parsed.config_flag
    return parsed


def _meant(flag: str, known: Sequence[str]) -> str:
    """The flag that begins with these words or resembles them, or ""."""
    return next((name for name in known if name.startswith(f"{flag}-")), "") or nearest(flag, known)


def _as_typed(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments with each switch in the form `--flag=true`. Other flags keep their values."""
    known = {option.name for option in FLAGS}
    rest = iter(arguments)
    held: list[str] = []
    for argument in rest:
        if argument == "--":
            yield argument
            yield from rest
            return
        name, equals, value = argument.partition("=")
        bare = name.removeprefix("--").replace("_", "-")
        off = bare.removeprefix("no-")
        if not name.startswith("--") or (bare not in known and off not in _SWITCHES):
            yield argument
        elif bare not in _SWITCHES and bare in known:
            yield f"--{bare}{equals}{value}"
        elif off != bare:
            yield f"--{off}=false" if not equals else argument
        elif equals:
            yield f"--{bare}={value}"
        else:
            # Only a truth value belongs to a switch. A file that follows it does not.
            following = next(rest, None)
            if following is not None and following.lower() in ("true", "false"):
                yield f"--{bare}={following.lower()}"
            else:
                yield f"--{bare}=true"
                held = [following] if following is not None else []
        if held:
            # An argument after a switch is read like any other argument.
            yield from _as_typed([*held, *rest])
            return


def _unknown_flags(arguments: Sequence[str], known: set[str]) -> Iterator[str]:
    for argument in arguments:
        if argument == "--":
            return
        # A single dash and a negative number are values.
        if re.match(r"--?[A-Za-z]", argument) and argument.partition("=")[0] not in known:
            yield argument


def _in_words(message: str) -> str:
    """A message of argparse as one sentence. Its own messages are kept."""
    if match := re.fullmatch(r"the following arguments are required: (.*)", message):
        needed = match.group(1)
        return f"{needed} is missing." if needed != "COMMAND" else "Name a command, such as plan or demo."
    if match := re.fullmatch(r"argument (\S+): expected one argument", message):
        return f"{match.group(1)} needs a value."
    if match := re.fullmatch(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
        name, value, listed = match.groups()
        choices = [choice.strip(" '") for choice in listed.split(",")]
        hint = did_you_mean(nearest(value, choices))
        return f"{name}: {shown(value)} is not one of {', '.join(choices)}.{hint}"
    text = f"{message[:1].upper()}{message[1:]}"
    return text if text.endswith((".", "?")) else f"{text}."
