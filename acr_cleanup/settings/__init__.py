"""
Turn flags or inputs, the configuration file and the environment into `Settings`.

Precedence: flag or input, then file, then environment, then default. Clusters are the exception:
those of a flag are added to those of the file. If the flag replaced them, the clusters of the file
would not be read, and their images would look unused. All problems are reported at once, each with
its place and its remedy.

The modules, in the order in which a value passes them: `file` reads the configuration file as
text. `grammar` parses one value. `form` describes the keys of the file and the inputs. `mistakes`
reports invalid values. `load` builds the `Settings`. `inputs` is the table from which flags,
action.yml and the documentation are made.
"""

from acr_cleanup.settings.form import schema
from acr_cleanup.settings.inputs import INPUTS, FailOn, Input, InputKind, unknown_inputs
from acr_cleanup.settings.load import load_settings
from acr_cleanup.settings.settings import Settings

__all__ = ["INPUTS", "FailOn", "Input", "InputKind", "Settings", "load_settings", "schema", "unknown_inputs"]
