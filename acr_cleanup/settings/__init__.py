"""
Turn flags or inputs, the configuration file and the environment into `Settings`.

Precedence: flag or input, then file, then environment, then default. Clusters are the exception:
those of a flag are added to those of the file. If the flag replaced them, the clusters of the file
would not be read, and their images would look unused. All problems are reported at once, each with
its place and its remedy.

`options` is the table of options, and `option` defines what an entry says. The other modules, in
the order in which a value passes them: `file` reads the configuration file as text. `grammar`
parses one value, and `kinds` lists and other values made of several. `form` checks the keys of a
mapping and makes the JSON schema of the file. `load` builds the `Settings`.

`--help` needs the table only, so this package does not import YAML: import `load` where it is used.
"""

from acr_cleanup.settings.kinds import InputKind
from acr_cleanup.settings.option import Option, Way
from acr_cleanup.settings.options import OPTIONS, FailOn, Settings, unknown_inputs

__all__ = ["OPTIONS", "FailOn", "InputKind", "Option", "Settings", "Way", "unknown_inputs"]
