"""
The command line: arguments -> settings -> command -> exit code.

`parser` parses the arguments, `commands` runs each command, and `completion` prints the completion
of a shell.
"""

from acr_cleanup.cli.commands import entry, run, settings_of
from acr_cleanup.cli.parser import parser

__all__ = ["entry", "parser", "run", "settings_of"]
