"""The flags of `acr-cleanup init`. Imports nothing that is slow: `--help` needs it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Ci(StrEnum):
    """The CI system that will run the tool."""

    GITHUB = "github"
    AZURE_DEVOPS = "azure-devops"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class InitRequest:
    """
    The flags of the command; empty values are found, or asked for.

    registry: its name or login server. clusters: resource ids.
    yes: ask nothing. force: overwrite files that exist.
    """

    folder: Path = Path()
    registry: str = ""
    clusters: tuple[str, ...] = ()
    ci: str = ""
    repository: str = ""
    branch: str = "main"
    connection: str = "acr-cleanup"
    yes: bool = False
    force: bool = False

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> InitRequest:
        """Return the request of parsed arguments."""
        return cls(
            parsed.folder,
            parsed.registry or "",
            tuple(parsed.clusters or ()),
            parsed.ci or "",
            parsed.repository or "",
            parsed.branch,
            parsed.connection,
            parsed.yes,
            parsed.force,
        )


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags to the parser of the command."""
    add = command.add_argument
    add("--registry", metavar="NAME", help="the registry to clean, if the login sees several")
    add("--clusters", metavar="ID", action="append", help="resource id of a cluster; may be repeated (default: all)")
    add("--ci", choices=tuple(map(str, Ci)), help="the CI system that will run it")
    add("--repository", metavar="ORG/REPO", help="the repository on GitHub (default: that of the folder)")
    add("--branch", default="main", help="the branch whose jobs may log in (default: main)")
    add("--connection", metavar="NAME", default="acr-cleanup", help="the service connection of Azure DevOps")
    add("--folder", metavar="DIR", type=Path, default=Path(), help="where to write (default: this folder)")
    add("--yes", action="store_true", help="ask nothing; take the flags, and all clusters that the login sees")
    add("--force", action="store_true", help="overwrite files that exist")
