"""
One entry in the table of options is enough: the option arrives wherever options are.

The entries are written into a copy of the table, as a contributor would write them. A process of
its own then imports the package with that table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from tests.helpers.config_files import FIRST_USERS_FILE, resource_id
from tests.helpers.paths import ROOT

ENTRIES = """
    made_up: int = option(kinds.COUNT, "7", Group.SAFETY)("An invented number.")
    made_up_kinds: tuple[str, ...] = option(kinds.list_of(grammar.as_text))("Invented kinds. A ! takes one off.")
    made_up_hosts: tuple[tuple[str, str], ...] = option(
        kinds.map_of(grammar.as_alias, grammar.as_text), purpose=Purpose.REGISTRY
    )("Invented hosts, as HOST=FOLDER.")
    made_up_key: str = option(kinds.TEXT, value="none", ways=Way.FILE)("An invented key.")
"""
PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
from types import SimpleNamespace
from acr_cleanup import cli, pipeline
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.settings.form import schema
from acr_cleanup.settings.load import load_settings
from tests.helpers import published_options as published

def shown_help(command):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        cli.parser().parse_args([command, "--help"])
    return " ".join(text.getvalue().split())

def values(settings):
    return [settings.made_up, settings.made_up_kinds, settings.made_up_hosts, settings.made_up_key]

def by_input(name):
    return {**NEEDED, **INPUTS}.get(name, "")

NEEDED, INPUTS, FLAGS, FILE, WRONG = json.load(sys.stdin)
Path("config.json").write_text(json.dumps(FILE))
Path("wrong.json").write_text(json.dumps(WRONG))
environ = {}
settings = {
    "default": load_settings(None, NEEDED, environ),
    "flag": cli.settings_of(cli.parser().parse_args(["plan", "config.json", *FLAGS]), environ),
    "input": pipeline._read_inputs(SimpleNamespace(input=by_input), environ, Path.cwd()).settings,
    "file": load_settings(Path("config.json"), {}, environ),
}
try:
    load_settings(Path("wrong.json"), {"made-upp": "1", "made-up-hosts": "docker.io"}, environ)
except ConfigurationError as error:
    problems = {problem.path: problem.seen for problem in error.problems}
print(json.dumps({
    "values": {source: values(loaded) for source, loaded in settings.items()},
    "problems": problems,
    "help": {command: shown_help(command) for command in ("plan", "restore")},
    "action": published.inputs_of_action(),
    "task": published.inputs_of_task(),
    "handler": published.inputs_of_handler(),
    "documentation": published.table_of_documentation(),
    "schema": schema(),
}))
"""
NEEDED = {"registry": "contoso", "clusters": resource_id("rg", "production"), "auth-type": "environment"}
INPUTS = {"made-up": "3", "made-up-kinds": "a\n!b", "made-up-hosts": "# upstream\ndocker.io=hub\nquay.io = quay"}
FLAGS = [
    *("--made-up=3", "--made-up-kinds=a", "--made-up-kinds=!b"),
    *("--made-up-hosts=docker.io=hub", "--made-up-hosts=quay.io=quay"),
]
KEYS = {
    "made_up": 4,
    "made_up_kinds": ["c", "!d"],
    "made_up_hosts": {"ghcr.io": "github"},
    "made_up_key": "given",
}
WRONG = {
    "made_up": "many",
    "made_up_kinds": [[]],
    "made_up_hosts": {"docker.io": ["hub"], "quay.io": "quay"},
    "made_upp_key": "x",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return all forms of the made-up options, as the program above prints them."""
    folder = tmp_path_factory.mktemp("package")
    copied = (ROOT / "acr_cleanup" / "settings", folder / "acr_cleanup" / "settings")
    for origin, copy in (tuple(path.parent for path in copied), copied):
        copy.mkdir(exist_ok=True)
        # Python would write the changed table into the compiled files of the real one.
        for path in {*origin.iterdir()} - {copied[0], origin / "__pycache__"}:
            (copy / path.name).symlink_to(path)
    table = folder / "acr_cleanup" / "settings" / "options.py"
    source = table.read_text("utf-8")
    table.unlink()
    before, marker, after = source.partition("\n    cloud: Cloud\n")
    assert marker
    table.write_text(f"{before}{ENTRIES}{marker}{after}", encoding="utf-8")
    file = json.loads(FIRST_USERS_FILE)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=json.dumps([NEEDED, INPUTS, FLAGS, file | KEYS, file | WRONG]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_made_up_option_reaches_settings_from_every_source(published: Any) -> None:
    """A flag or an input overrides the file. Only the file has the last key."""
    given = [3, ["a", "!b"], [["docker.io", "hub"], ["quay.io", "quay"]]]
    assert published["values"] == {
        "default": [7, [], [], "none"],
        "flag": [*given, "given"],
        "input": [*given, "none"],
        "file": [4, ["c", "!d"], [["ghcr.io", "github"]], "given"],
    }


def test_made_up_option_has_flag_in_help(published: Any) -> None:
    plan, restore = published["help"]["plan"], published["help"]["restore"]
    assert "safety: --" in plan
    assert "--made-up N An invented number. (default: 7)" in plan
    assert "--made-up-kinds TEXT" in plan
    assert "--made-up-key" not in plan
    assert "--made-up-hosts KEY=VALUE" in restore
    assert "--made-up-kinds" not in restore


def test_made_up_option_is_input_of_action_and_task(published: Any) -> None:
    declared = '  made-up:\n    description: "An invented number. Default: 7."\n    required: false\n'
    assert declared in published["action"]
    assert "made-up-key" not in published["action"]
    inputs = {entry["name"]: entry for entry in published["task"]}
    assert inputs["madeUp"] == {
        "name": "madeUp", "type": "int", "label": "Made up", "required": False, "groupName": "safety",
        "helpMarkDown": "An invented number. Default: 7.",
    }  # fmt: skip
    assert inputs["madeUpKinds"]["type"] == inputs["madeUpHosts"]["type"] == "multiLine"
    assert {"task": "madeUpHosts", "input": "made-up-hosts", "kind": "list"} in published["handler"]
    assert "madeUpKey" not in inputs


def test_made_up_option_is_documented(published: Any) -> None:
    rows = published["documentation"].splitlines()
    assert "| `made-up` | `7` | An invented number. |" in rows
    assert "| `made_up_key` |  | An invented key. |" in rows


def test_made_up_option_is_key_of_schema(published: Any) -> None:
    schema = published["schema"]
    assert schema["properties"]["made_up"]["description"] == "An invented number."
    assert schema["properties"]["made_up"]["default"] == "7"
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(json.loads(FIRST_USERS_FILE) | KEYS)
    for wrong in ({"made_up": -1}, {"made_up_hosts": [3]}, {"made_up_kind": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(json.loads(FIRST_USERS_FILE) | wrong)


def test_mistakes_in_made_up_options_are_reported_at_once(published: Any) -> None:
    assert published["problems"] == {
        "made_up": "'many' is not a whole number.",
        "made_up_kinds": "An item of the list is empty, a list or a mapping.",
        "made_up_hosts": "A value is empty, a list or a mapping.",
        "made_upp_key": "There is no such key. Did you mean made_up_key?",
        "made-upp": "There is no such key. Did you mean made_up?",
        "made-up-hosts": "'docker.io' is not of the form KEY=VALUE.",
    }
