"""
What the user asked for: flags or inputs, the configuration file and the environment become one `Settings`.

Precedence: flag or input, then file, then environment, then default. Clusters alone are added up: a cluster that a flag
pushed out of the file would look unused. Every problem is reported at once, each with its place and its remedy.

Values reach this package as text (`file`), are read once (`grammar`) into the form of a file (`form`), and put together (`load`).
`inputs` is the table that flags, action.yml and documentation are made from.
"""

from acr_cleanup.settings.form import schema
from acr_cleanup.settings.inputs import INPUTS, FailOn, Input, Kind, unknown_inputs
from acr_cleanup.settings.load import Settings, load_settings

__all__ = ["INPUTS", "FailOn", "Input", "Kind", "Settings", "load_settings", "schema", "unknown_inputs"]
