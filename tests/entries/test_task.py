"""The contract of the Azure Pipelines task: task.json, its extension and the .vsix agree with the code and with the action."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from acr_cleanup import __version__
from acr_cleanup.reports.outputs import NAMES, outputs_of_failure
from acr_cleanup.runtimes.azure_devops import AzureDevOps
from acr_cleanup.settings import INPUTS, Input, InputKind
from tests.helpers.paths import ROOT
from tests.settings.test_contract import _description, action

TASK = ROOT / "azure-pipelines-task"
MANIFEST = TASK / "AcrCleanupV1" / "task.json"
EXTENSION = TASK / "vss-extension.json"
CONTRACT = TASK / "src" / "contract.json"

# Read now: each test has an environment of its own.
SCHEMA = os.environ.get("ACR_CLEANUP_TASK_SCHEMA", "")
"""A copy of the published tasks.schema.json, of microsoft/azure-pipelines-task-lib."""
PACKED = bool(os.environ.get("ACR_CLEANUP_REQUIRE_TASK"))
"""`make task` has just packed the .vsix. At other times one may lie there that is older than the code."""

OF_THE_CONNECTION = {"client-id", "tenant-id", "auth-type", "audience", "environment"}
"""What the service connection says in place of an input."""

GROUPS = {
    "clean": "What to clean",
    "keep": "What to keep",
    "safety": "Safety",
    "advanced": "Advanced",
}
GROUP_OF = {
    "config-file": "", "dry-run": "", "registry": "", "clusters": "",
    "older-than": "clean", "scope": "clean", "repositories": "clean", "include-tags": "clean", "delete-untagged": "clean",
    "include-locked": "clean",
    "exclude-tags": "keep", "keep-last": "keep", "keep-last-by": "keep", "helm-history": "keep",
    "subscriptions": "safety", "require-all-clusters": "safety", "max-deletions": "safety", "max-deletion-percent": "safety",
    "apply-plan": "safety", "plan-max-age": "safety", "verify": "safety", "backup": "safety", "fail-on": "safety",
}  # fmt: skip
"""The rest is advanced."""

LABELS = {"dry-run": "Dry run: show, and delete nothing", "summary": "Publish the summary"}


def manifest() -> Any:
    return json.loads(MANIFEST.read_text("utf-8"))


# -- what is made from the code ------------------------------------------------------------------------------------------------


def camel_case(name: str) -> str:
    return re.sub("-(.)", lambda match: match[1].upper(), name)


def name_in_task(each: Input) -> str:
    return "publishSummary" if each.name == "summary" else camel_case(each.name)


def _connection() -> dict[str, Any]:
    return {
        "name": "connectedServiceNameARM",
        "aliases": ["azureSubscription"],
        "type": "connectedService:AzureRM",
        "label": "Azure Resource Manager connection",
        "required": True,
        "helpMarkDown": "The service connection to log in with: workload identity federation, a service principal with a key or a "
        "certificate, or a managed identity. It needs the rights that `acr-cleanup permissions` prints.",
    }


def _input(each: Input) -> dict[str, Any]:
    default = each.action_default
    entry: dict[str, Any] = {"name": name_in_task(each), "type": "string", "label": _label(each)}
    match each.kind:
        case InputKind.LIST:
            entry["type"] = "multiLine"
        case InputKind.NUMBER:
            entry["type"] = "int"
        case InputKind.PATH:
            entry["type"] = "filePath"
        case InputKind.CHOICE:
            entry |= {"type": "pickList", "options": {choice: choice for choice in each.choices}}
        case InputKind.BOOLEAN if default:
            entry["type"] = "boolean"
        case InputKind.BOOLEAN:
            # A check box says false where nobody has touched it, and an input outranks the file: this one can say nothing.
            entry |= {"type": "pickList", "options": {"true": "true", "false": "false"}}
    entry["required"] = False
    if default:
        entry["defaultValue"] = default
    if group := GROUP_OF.get(each.name, "advanced"):
        entry["groupName"] = group
    return entry | {"helpMarkDown": _in_its_words(_description(each))}


def _label(each: Input) -> str:
    words = each.name.replace("-", " ")
    return LABELS.get(each.name, words[0].upper() + words[1:])


def _in_its_words(text: str) -> str:
    """The code's description, its inputs named as a pipeline of Azure DevOps names them."""
    for each in sorted(INPUTS, key=lambda one: -len(one.name)):
        if "-" in each.name:
            text = re.sub(rf"(?<![\w-]){each.name}(?![\w-])", name_in_task(each), text)
    return text.replace("`", "")


def _own_inputs() -> list[dict[str, Any]]:
    return [
        {
            "name": "method",
            "type": "pickList",
            "label": "Method",
            "required": False,
            "defaultValue": "auto",
            "options": {
                "auto": "auto: Docker where it runs Linux containers, else Python",
                "docker": "docker",
                "python": "python",
            },
            "groupName": "advanced",
            "helpMarkDown": "How it is run on the agent. Docker runs the image of this release, read-only and without "
            "capabilities; Python 3.11 or newer installs the locked packages into an environment of its own.",
        },
        {
            "name": "image",
            "type": "string",
            "label": "Image",
            "required": False,
            "groupName": "advanced",
            "visibleRule": "method != python",
            "helpMarkDown": "Another name of the image, such as a mirror: registry/repository@sha256:digest. By default "
            "the image of this release, by its digest. It is not filled in here, so that an update of the task is one of the image "
            "as well.",
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
        text = declared[name]["description"].replace("GitHub carries", "Azure Pipelines carries")
        text = text.replace(", relative to the workspace", ", as an absolute path")
        for old in sorted(renamed, key=len, reverse=True):
            text = text.replace(old, renamed[old]) if "-" in old else text
        rows.append({"name": renamed[name], "description": text})
    return rows


def _generated() -> dict[str, Any]:
    found: dict[str, Any] = manifest()
    ours = [_input(each) for each in INPUTS if each.name not in OF_THE_CONNECTION]
    return found | {
        "version": _version(),
        "groups": [
            {"name": name, "displayName": title, "isExpanded": name == "clean"} for name, title in GROUPS.items()
        ],
        "inputs": [_connection(), *ours, *_own_inputs()],
        "outputVariables": _outputs(),
        "restrictions": {"settableVariables": {"allowed": [camel_case(name) for name in NAMES]}},
    }


def _contract() -> dict[str, Any]:
    failure = outputs_of_failure()
    return {
        "inputs": [
            {"task": name_in_task(each), "input": each.name, "kind": str(each.kind)}
            for each in INPUTS
            if each.name not in OF_THE_CONNECTION
        ],
        "outputs": [{"variable": camel_case(name), "failure": failure[name]} for name in NAMES],
    }


def _same(path: Path, wanted: Any) -> None:
    """Does the file say this? With UPDATE_CONTRACT it does afterwards."""
    text = json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_CONTRACT"):
        path.write_text(text, encoding="utf-8")
        return
    assert path.read_text("utf-8") == text, f"{path.name} differs from the code: UPDATE_CONTRACT=1 make contract"


def test_the_manifest_is_that_of_the_code() -> None:
    _same(MANIFEST, _generated())


def test_the_handler_knows_the_inputs_and_outputs_of_the_code() -> None:
    _same(CONTRACT, _contract())


def test_the_extension_has_the_version_of_the_code() -> None:
    _same(EXTENSION, json.loads(EXTENSION.read_text("utf-8")) | {"version": __version__})


# -- what must hold ------------------------------------------------------------------------------------------------------------


def test_the_manifest_is_what_the_published_schema_asks_for() -> None:
    if not SCHEMA:
        pytest.skip("ACR_CLEANUP_TASK_SCHEMA names no copy of the published schema; CI fetches one.")
    schema = json.loads(Path(SCHEMA).read_text("utf-8"))
    jsonschema.Draft4Validator(schema).validate(manifest())


def test_the_manifest_keeps_the_bounds_that_azure_devops_has() -> None:
    found = manifest()
    assert len(found["friendlyName"]) <= 40
    assert re.fullmatch(r"[A-Za-z0-9-]+", found["name"])
    for each in (*found["inputs"], *found["outputVariables"]):
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", each["name"])
    names = [each["name"] for each in found["inputs"]]
    assert len(set(names)) == len(names)
    assert {each["groupName"] for each in found["inputs"] if "groupName" in each} == set(GROUPS)


def test_every_input_of_the_code_has_its_place() -> None:
    known = {each.name for each in INPUTS}
    assert known >= OF_THE_CONNECTION
    assert known >= set(GROUP_OF)


def test_the_first_run_deletes_nothing() -> None:
    (dry_run,) = (each for each in manifest()["inputs"] if each["name"] == "dryRun")
    assert (dry_run["type"], dry_run["defaultValue"]) == ("boolean", "true")


def test_what_the_file_can_say_is_not_said_by_a_default() -> None:
    """The agent hands a default on as if somebody had written it, and an untouched check box as false."""
    in_file = {name_in_task(each) for each in INPUTS if each.in_file}
    entries = [each for each in manifest()["inputs"] if each["name"] in in_file]
    assert len(entries) == len(in_file - {"environment"})
    assert not [each["name"] for each in entries if "defaultValue" in each or each["type"] == "boolean"]


def test_both_supported_nodes_run_the_same_file() -> None:
    """A misspelt handler would silently be an older Node."""
    assert manifest()["execution"] == {"Node20_1": {"target": "index.js"}, "Node24": {"target": "index.js"}}
    assert manifest()["minimumAgentVersion"] == "3.232.1"


def test_nothing_but_the_outputs_can_be_set_by_a_command() -> None:
    """`restricted` commands would forbid the summary as well; what a command may set is what matters."""
    assert manifest()["restrictions"] == {"settableVariables": {"allowed": [camel_case(name) for name in NAMES]}}


def test_messages_call_inputs_what_the_task_calls_them() -> None:
    runtime = AzureDevOps(environ={})
    spoken_of = [each for each in INPUTS if each.name != "summary"]  # no message names that one
    assert [runtime.name_of(each.name) for each in spoken_of] == [name_in_task(each) for each in spoken_of]


def test_the_lock_names_no_registry() -> None:
    """Whoever installs it may have a registry of his own; the hashes are what counts."""
    lock = json.loads((TASK / "package-lock.json").read_text("utf-8"))
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert not [name for name, each in packages.items() if "resolved" in each]
    assert not [name for name, each in packages.items() if not each.get("integrity", "").startswith("sha512-")]


@pytest.mark.parametrize(("path", "size"), [("images/icon.png", 128), ("AcrCleanupV1/icon.png", 32)])
def test_icons_have_the_size_that_the_marketplace_asks_for(path: str, size: int) -> None:
    data = (TASK / path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(data[16:20]), int.from_bytes(data[20:24])] == [size, size]


# -- the examples --------------------------------------------------------------------------------------------------------------

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
    """Every step of ours, wherever it stands in a pipeline."""
    if isinstance(node, list):
        return [step for each in node for step in steps(each)]
    if not isinstance(node, dict):
        return []
    if str(node.get("task", "")).startswith("AcrCleanup@"):
        return [node]
    return [step for each in node.values() for step in steps(each)]


def test_there_are_pipelines_to_copy() -> None:
    assert len(PIPELINES) >= 4


@pytest.mark.parametrize("pipeline", PIPELINES, ids=range(len(PIPELINES)))
def test_examples_use_inputs_and_outputs_that_exist(pipeline: Any) -> None:
    declared = {name for each in manifest()["inputs"] for name in (each["name"], *each.get("aliases", []))}
    outputs = {camel_case(name) for name in NAMES}
    for step in steps(pipeline):
        assert step["task"] == "AcrCleanup@1"
        assert set(step["inputs"]) <= declared
        assert "azureSubscription" in step["inputs"]
    text = json.dumps(pipeline)
    assert set(re.findall(r"\bacr\.(\w+)", text)) <= outputs
    assert "System.AccessToken" not in text


# -- the .vsix -----------------------------------------------------------------------------------------------------------------


packed = pytest.mark.skipif(not PACKED, reason="`make task` packs the .vsix and looks at it.")


@pytest.fixture(scope="module")
def vsix() -> zipfile.ZipFile:
    (found,) = (TASK / "dist").glob("*.vsix")
    return zipfile.ZipFile(found)


def tracked_package() -> set[str]:
    return {
        f"AcrCleanupV1/python/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "acr_cleanup").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@packed
def test_the_extension_holds_what_it_needs_and_nothing_else(vsix: zipfile.ZipFile) -> None:
    """No node_modules, no TypeScript, no tests: one bundle, the Python package, and what the marketplace shows."""
    assert {name for name in vsix.namelist() if not name.endswith("/")} == tracked_package() | {
        "[Content_Types].xml",
        "extension.vsixmanifest",
        "extension.vsomanifest",
        "LICENSE",
        "overview.md",
        "images/icon.png",
        "AcrCleanupV1/task.json",
        "AcrCleanupV1/icon.png",
        "AcrCleanupV1/index.js",
        "AcrCleanupV1/python/start.py",
        "AcrCleanupV1/python/entrypoint.py",
        "AcrCleanupV1/python/requirements.lock",
    }


@packed
def test_the_extension_ships_what_the_image_holds(vsix: zipfile.ZipFile) -> None:
    assert json.loads(vsix.read("AcrCleanupV1/task.json")) == manifest()
    assert vsix.read("AcrCleanupV1/python/requirements.lock") == (ROOT / "requirements" / "runtime.lock").read_bytes()
    assert vsix.read("AcrCleanupV1/python/entrypoint.py") == (ROOT / "entrypoint.py").read_bytes()
    assert f'Version="{__version__}"' in vsix.read("extension.vsixmanifest").decode("utf-8")


@packed
def test_the_bundle_is_one_small_file(vsix: zipfile.ZipFile) -> None:
    bundle = vsix.read("AcrCleanupV1/index.js").decode("utf-8")
    assert len(bundle) < 1024 * 1024
    assert not re.search(r"""require\(["']azure-pipelines-task-lib""", bundle)


@packed
def test_the_image_of_a_release_is_that_of_the_action(tmp_path: Path, vsix: zipfile.ZipFile) -> None:
    """One place: what pin-image.sh writes into action.yml is what the task runs."""
    node = shutil.which("node")
    assert node is not None
    (tmp_path / "action.yml").write_bytes((ROOT / "action.yml").read_bytes())
    image = f"ghcr.io/org/acr-cleanup@sha256:{'0' * 64}"
    current = action()["runs"]["image"].removeprefix("docker://")
    if current == "Dockerfile":
        current = ""
    else:
        text = re.sub(
            r'^  image: "docker:.*$',
            '  image: "Dockerfile"',
            (ROOT / "action.yml").read_text("utf-8"),
            flags=re.MULTILINE,
        )
        (tmp_path / "action.yml").write_text(text, encoding="utf-8")
    subprocess.run([str(ROOT / ".github/pin-image.sh"), image, "v1.2.3"], cwd=tmp_path, check=True)
    script = (
        "import('./scripts/package.mjs').then(({pinnedImage}) => console.log(JSON.stringify("
        "process.argv.slice(1).map((name) => pinnedImage(require('fs').readFileSync(name, 'utf8'))))))"
    )
    files = [str(ROOT / "action.yml"), str(tmp_path / "action.yml")]
    said = subprocess.run([node, "-e", script, *files], cwd=TASK, check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == [current, image]
    assert current in vsix.read("AcrCleanupV1/index.js").decode("utf-8")
