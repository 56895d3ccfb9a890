"""The command line: arguments -> settings -> command -> exit code."""

from acr_cleanup.cli.commands import entry, parser, run

__all__ = ["entry", "parser", "run"]
