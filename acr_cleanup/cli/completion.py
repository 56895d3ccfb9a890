"""Completion of commands, flags and values for a shell."""

from __future__ import annotations

from pathlib import Path

from acr_cleanup.cli.parser import parser


def completion(shell: str) -> str:
    """Return the script that completes `acr-cleanup` in this shell: bash, zsh or fish."""
    import shtab  # noqa: PLC0415  only this command needs it

    root = parser(completing=True)
    for command in root.commands().values():
        for action in command._actions:  # noqa: SLF001  argparse has no public name for it
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab reads this attribute
    script: str = shtab.complete(root, shell=shell)
    return script if script.endswith("\n") else f"{script}\n"
