"""
The contract of the Azure Pipelines task: task.json and its extension agree with the code and the
action.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from acr_cleanup import __version__
from acr_cleanup.reports.outputs import NAMES, outputs_of_failure
from acr_cleanup.settings import OPTIONS, Way
from tests.helpers.paths import ROOT
from tests.helpers.published_options import groups_of_task, inputs_of_handler, inputs_of_task, name_in_task, options_of
from tests.settings.test_contract import action

TASK = ROOT / "azure-pipelines-task"
MANIFEST = TASK / "AcrCleanupV1" / "task.json"
EXTENSION = TASK / "vss-extension.json"
CONTRACT = TASK / "src" / "contract.json"

# Read at import: the environment is replaced for each test.
SCHEMA = os.environ.get("ACR_CLEANUP_TASK_SCHEMA", "")
"""A copy of the published tasks.schema.json, of microsoft/azure-pipelines-task-lib."""
PACKED = bool(os.environ.get("ACR_CLEANUP_REQUIRE_TASK"))
"""True if `make task` has just packed the .vsix. At other times it may be older than the code."""


def manifest() -> Any:
    return json.loads(MANIFEST.read_text("utf-8"))


# -- generated from the code -----------------------------------------------------------------------


def camel_case(name: str) -> str:
    return re.sub("-(.)", lambda match: match[1].upper(), name)


def _connection() -> dict[str, Any]:
    return {
        "name": "connectedServiceNameARM",
        "aliases": ["azureSubscription"],
        "type": "connectedService:AzureRM",
        "label": "Azure Resource Manager connection",
        "required": True,
        "helpMarkDown": "The service connection for the login: workload identity federation, a service principal with a key or a "
        "certificate, or a managed identity. It needs the rights that `acr-cleanup permissions` prints.",
    }


def _own_inputs() -> list[dict[str, Any]]:
    return [
        {
            "name": "method",
            "type": "pickList",
            "label": "Method",
            "required": False,
            "defaultValue": "auto",
            "options": {
                "auto": "auto: Docker if it runs Linux containers, otherwise Python",
                "docker": "docker",
                "python": "python",
            },
            "groupName": "advanced",
            "helpMarkDown": "How the agent runs acr-cleanup. Docker runs the image of this release, read-only and without "
            "capabilities. Python 3.11 or newer installs the locked packages in a separate environment.",
        },
        {
            "name": "image",
            "type": "string",
            "label": "Image",
            "required": False,
            "groupName": "advanced",
            "visibleRule": "method != python",
            "helpMarkDown": "Another name of the image, such as a mirror: registry/repository@sha256:digest. By default the image "
            "of this release, by its digest. Leave it empty, so that an update of the task also updates the image.",
        },
    ]


def _version() -> dict[str, int]:
    parts = __version__.split(".")
    return {name: int(part) for name, part in zip(("Major", "Minor", "Patch"), parts, strict=True)}


def _outputs() -> list[dict[str, str]]:
    declared = action()["outputs"]
    renamed = {name: camel_case(name) for name in NAMES}
    rows = []
    for name in NAMES:
        text = declared[name]["description"].replace("of GitHub", "of Azure Pipelines")
        text = text.replace(", relative to the workspace", ", as an absolute path")
        for old in sorted(renamed, key=len, reverse=True):
            text = text.replace(old, renamed[old]) if "-" in old else text
        rows.append({"name": renamed[name], "description": text})
    return rows


def _generated() -> dict[str, Any]:
    current: dict[str, Any] = manifest()
    return current | {
        "version": _version(),
        "groups": groups_of_task(),
        "inputs": [_connection(), *inputs_of_task(), *_own_inputs()],
        "outputVariables": _outputs(),
        "restrictions": {"settableVariables": {"allowed": [camel_case(name) for name in NAMES]}},
    }


def _contract() -> dict[str, Any]:
    failure = outputs_of_failure()
    return {
        "inputs": inputs_of_handler(),
        "outputs": [{"variable": camel_case(name), "failure": failure[name]} for name in NAMES],
    }


def _check_file(path: Path, expected: Any) -> None:
    """Check the content of a JSON file. With UPDATE_CONTRACT, write it."""
    text = json.dumps(expected, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_CONTRACT"):
        path.write_text(text, encoding="utf-8")
        return
    assert path.read_text("utf-8") == text, f"{path.name} differs from the code: UPDATE_CONTRACT=1 make contract"


def test_manifest_matches_the_code() -> None:
    _check_file(MANIFEST, _generated())


def test_contract_of_handler_matches_the_code() -> None:
    _check_file(CONTRACT, _contract())


def test_extension_has_the_version_of_the_code() -> None:
    _check_file(EXTENSION, json.loads(EXTENSION.read_text("utf-8")) | {"version": __version__})


# -- the manifest ----------------------------------------------------------------------------------


def test_manifest_matches_the_published_schema() -> None:
    if not SCHEMA:
        pytest.skip("ACR_CLEANUP_TASK_SCHEMA names no copy of the published schema; CI fetches one.")
    schema = json.loads(Path(SCHEMA).read_text("utf-8"))
    jsonschema.Draft4Validator(schema).validate(manifest())


def test_manifest_keeps_the_limits_of_azure_devops() -> None:
    current = manifest()
    assert len(current["friendlyName"]) <= 40
    assert re.fullmatch(r"[A-Za-z0-9-]+", current["name"])
    for entry in (*current["inputs"], *current["outputVariables"]):
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", entry["name"])
    names = [entry["name"] for entry in current["inputs"]]
    assert len(set(names)) == len(names)
    assert {entry["groupName"] for entry in current["inputs"] if "groupName" in entry} == {
        group["name"] for group in groups_of_task()
    }


def test_login_of_task_comes_from_the_connection() -> None:
    names = {option.name for option in OPTIONS if Way.ACTION in option.ways and Way.TASK not in option.ways}
    assert names == {"client-id", "tenant-id", "auth-type", "audience", "environment"}


def test_dry_run_is_true_by_default() -> None:
    (dry_run,) = (entry for entry in manifest()["inputs"] if entry["name"] == "dryRun")
    assert (dry_run["type"], dry_run["defaultValue"]) == ("boolean", "true")


def test_keys_of_file_have_no_default_in_task() -> None:
    """
    The agent passes a default on like an input of the user, and an untouched check box as false.
    """
    in_file = {name_in_task(option.name) for option in options_of(Way.TASK) if option.in_file}
    entries = [entry for entry in manifest()["inputs"] if entry["name"] in in_file]
    assert len(entries) == len(in_file)
    assert not [entry["name"] for entry in entries if "defaultValue" in entry or entry["type"] == "boolean"]


def test_both_node_versions_run_the_same_file() -> None:
    """With a misspelt handler, the agent silently uses an older Node."""
    assert manifest()["execution"] == {"Node20_1": {"target": "index.js"}, "Node24": {"target": "index.js"}}
    assert manifest()["minimumAgentVersion"] == "3.232.1"


def test_commands_can_set_only_output_variables() -> None:
    """
    The mode `restricted` would forbid the summary too, so only the settable variables are limited.
    """
    assert manifest()["restrictions"] == {"settableVariables": {"allowed": [camel_case(name) for name in NAMES]}}


def test_inputs_have_camel_case_names_in_the_task() -> None:
    """Messages use the same names. `summary` alone was another word in the task."""
    names = {option.name: name_in_task(option.name) for option in OPTIONS}
    assert names == {name: camel_case(name) for name in names} | {"summary": "publishSummary"}


def test_npm_lock_names_no_registry() -> None:
    """Users may install from another registry. The hashes identify the packages."""
    lock = json.loads((TASK / "package-lock.json").read_text("utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert not [name for name, package in packages.items() if not package.get("integrity", "").startswith("sha512-")]


@pytest.mark.parametrize(("path", "size"), [("images/icon.png", 128), ("AcrCleanupV1/icon.png", 32)])
def test_icons_have_the_size_for_the_marketplace(path: str, size: int) -> None:
    data = (TASK / path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(data[16:20]), int.from_bytes(data[20:24])] == [size, size]


# -- the examples ----------------------------------------------------------------------------------

PIPELINES = [
    yaml.safe_load(block)
    for path in (
        TASK / "overview.md",
        ROOT / "docs" / "azure-pipelines.md",
        ROOT / "docs" / "scale-out.md",
        ROOT / "docs" / "large-registries.md",
    )
    for block in re.findall(r"^```yaml\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if "task: AcrCleanup@" in block
]


def steps(node: Any) -> list[dict[str, Any]]:
    """Return the steps that run this task, anywhere in a pipeline."""
    if isinstance(node, list):
        return [step for item in node for step in steps(item)]
    if not isinstance(node, dict):
        return []
    if str(node.get("task", "")).startswith("AcrCleanup@"):
        return [node]
    return [step for value in node.values() for step in steps(value)]


def test_documentation_has_pipelines_to_copy() -> None:
    assert len(PIPELINES) >= 4


@pytest.mark.parametrize("pipeline", PIPELINES, ids=range(len(PIPELINES)))
def test_examples_use_existing_inputs_and_outputs(pipeline: Any) -> None:
    declared = {name for entry in manifest()["inputs"] for name in (entry["name"], *entry.get("aliases", []))}
    outputs = {camel_case(name) for name in NAMES}
    for step in steps(pipeline):
        assert step["task"] == "AcrCleanup@1"
        assert set(step["inputs"]) <= declared
        assert "azureSubscription" in step["inputs"]
    text = json.dumps(pipeline)
    assert set(re.findall(r"\bacr\.(\w+)", text)) <= outputs
    assert "System.AccessToken" not in text
