"""
action.yml, the schema and the documentation agree with the code, and the packaging keeps its
promises.

`UPDATE_CONTRACT=1 make contract` writes the parts that are generated from the code: the inputs of
action.yml, and the tables of options and outputs in docs/.
"""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from acr_cleanup.core.shard import Shard
from acr_cleanup.reports.outputs import NAMES
from acr_cleanup.settings import Way
from acr_cleanup.settings.grammar import as_shard
from tests.helpers.paths import ROOT
from tests.helpers.published_options import cell, inputs_of_action, options_of, table_of_documentation

ACTION = ROOT / "action.yml"
DOCS = ROOT / "docs"
LARGE_REGISTRIES = DOCS / "large-registries.md"
WORKFLOW_PAGES = (ROOT / "README.md", DOCS / "github.md", LARGE_REGISTRIES)
"""
The pages that have workflows for GitHub to copy; test_scale_out plays those of docs/scale-out.md.
"""
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RUN_BY = re.compile(r"^\s*(?:- )?uses: *(\S+)(.*)$", re.MULTILINE)


def action() -> Any:
    return yaml.safe_load(ACTION.read_text("utf-8"))


# -- generated from the code -----------------------------------------------------------------------


def _table_of_outputs() -> str:
    outputs = action()["outputs"]
    rows = ["| Output | Content |", "| :--- | :--- |"]
    rows += [f"| `{name}` | {cell(outputs[name]['description'])} |" for name in outputs]
    return "\n".join(rows)


def _check_between(path: Path, begin: str, end: str, expected: str) -> None:
    """Check the text between two markers of a file. With UPDATE_CONTRACT, write it."""
    text = path.read_text("utf-8")
    before, opened, rest = text.partition(f"{begin}\n")
    _, closed, after = rest.partition(f"{end}\n")
    assert opened, f"{path.name} has no {begin}"
    assert closed, f"{path.name} has no {end}"
    new = f"{before}{begin}\n{expected}\n{end}\n{after}"
    if os.environ.get("UPDATE_CONTRACT"):
        path.write_text(new, encoding="utf-8")
        return
    assert text == new, f"{path.name} differs from the code: UPDATE_CONTRACT=1 make contract"


def test_inputs_of_action_match_the_code() -> None:
    _check_between(ACTION, "# <inputs>", "# </inputs>", inputs_of_action())


def test_table_of_inputs_matches_the_code() -> None:
    _check_between(DOCS / "configuration.md", "<!-- inputs -->", "<!-- /inputs -->", table_of_documentation())


def test_table_of_outputs_matches_the_action() -> None:
    _check_between(DOCS / "github.md", "<!-- outputs -->", "<!-- /outputs -->", _table_of_outputs())


# -- action and schema -----------------------------------------------------------------------------


def test_outputs_of_action_match_the_code() -> None:
    assert tuple(action()["outputs"]) == NAMES


def test_keys_of_file_have_no_default_in_action() -> None:
    """The runner passes a default on like an input of the user, and it would override the file."""
    declared = action()["inputs"]
    assert not [
        option.name for option in options_of(Way.ACTION) if option.in_file and "default" in declared[option.name]
    ]
    assert declared["dry-run"]["default"] == "true"


def test_all_values_of_action_are_strings() -> None:
    """YAML would change the text of an unquoted true or 8."""
    values = [
        value for block in ("inputs", "outputs") for entry in action()[block].values() for value in entry.values()
    ]
    assert all(isinstance(value, str) or value is False for value in values)
    assert all(isinstance(value, str) for value in action()["runs"].values())


def test_action_is_a_container_without_arguments() -> None:
    """Process lists show arguments. Outputs of a container action have no `value`."""
    assert action()["runs"] == {"using": "docker", "entrypoint": "/app/entrypoint.py", "image": "Dockerfile"}
    assert (ROOT / "entrypoint.py").read_text("utf-8").startswith("#!/opt/venv/bin/python -Iu\n")
    assert all(set(output) == {"description"} for output in action()["outputs"].values())
    assert action()["branding"] == {"icon": "trash-2", "color": "blue"}


def test_release_names_its_image_by_digest(tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415

    (tmp_path / "action.yml").write_bytes(ACTION.read_bytes())
    image = f"ghcr.io/org/acr-cleanup@sha256:{'0' * 64}"
    subprocess.run([str(ROOT / ".github/pin-image.sh"), image, "v1.2.3"], cwd=tmp_path, check=True)
    text = (tmp_path / "action.yml").read_text("utf-8")
    assert yaml.safe_load(text) == action() | {"runs": {**action()["runs"], "image": f"docker://{image}"}}
    assert text.endswith(" # v1.2.3\n")
    again = subprocess.run(
        [str(ROOT / ".github/pin-image.sh"), image, "v1.2.3"], cwd=tmp_path, check=False, capture_output=True
    )
    assert again.returncode == 1


# -- the Dockerfile --------------------------------------------------------------------------------

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_image_starts_isolated_python_without_shell() -> None:
    entrypoints = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)
    assert [json.loads(entrypoint) for entrypoint in entrypoints] == [
        ["/opt/venv/bin/python", "-I", "-u", "/app/entrypoint.py"]
    ]


@pytest.mark.parametrize("instruction", ["USER", "WORKDIR", "CMD", "ADD"])
def test_dockerfile_has_no_instruction_reserved_for_runner(instruction: str) -> None:
    assert not re.search(rf"^{instruction}\b", DOCKERFILE, re.MULTILINE)


def test_image_sets_variables_of_the_c_library_only() -> None:
    """The runner passes all variables of the job, which must not be hidden."""
    variables = re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)
    assert variables
    assert all(name.startswith("MALLOC_") for line in variables for name in line.split())


@pytest.mark.parametrize("path", ["Dockerfile", "tests/image/runner.Dockerfile"])
def test_base_image_is_pinned_by_digest(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    assert re.search(r"^ARG BASE=docker\.io/library/python:3\.13-slim@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}


def test_build_context_is_what_dockerfile_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    }
    assert "*" in ignored
    assert sent == copied


def test_dependencies_are_installed_by_hash() -> None:
    assert "--require-hashes --no-deps" in DOCKERFILE
    assert "pip install ." not in DOCKERFILE


# -- the workflows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    for name, comment in RUN_BY.findall(path.read_text("utf-8")):
        if name != "./":
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", name), name
            assert re.match(r" # v\d+\.\d+\.\d+$", comment), f"{name} has no comment with its version"


def test_each_action_has_one_commit() -> None:
    pins = {name for path in WORKFLOWS for name, _ in RUN_BY.findall(path.read_text("utf-8")) if name != "./"}
    repositories = {("/".join(name.split("@")[0].split("/")[:2]), name.split("@")[1]) for name in pins}
    assert len(repositories) == len({repository for repository, _ in repositories})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_only_rights_of_their_jobs(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {}
    assert all("permissions" in job for job in workflow["jobs"].values())
    assert not re.search(r"pull_request_target", path.read_text("utf-8"))


# -- examples of the documentation -----------------------------------------------------------------

EXAMPLES = [
    yaml.safe_load(block)
    for page in WORKFLOW_PAGES
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if "org/acr-cleanup@" in block
]


def test_documentation_has_four_workflows_to_copy() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_examples_use_existing_inputs_and_outputs(example: Any) -> None:
    declared = action()
    text = json.dumps(example)
    for job in example["jobs"].values():
        for step in job["steps"]:
            if str(step.get("uses", "")).startswith("org/acr-cleanup@"):
                assert set(step["with"]) <= set(declared["inputs"])
                assert job.get("permissions", example.get("permissions"))["id-token"] == "write"
    assert set(re.findall(r"steps\.\w+\.outputs\.([\w-]+)", text)) <= set(declared["outputs"])
    # The runner masks a secret in all texts, and drops outputs that contain it.
    assert "secrets." not in text


def test_example_passes_reviewed_plan_between_jobs() -> None:
    """The plan is applied from the path where the artifact is downloaded to."""
    (example,) = (example for example in EXAMPLES if len(example["jobs"]) > 1)
    plan, delete = example["jobs"]["plan"]["steps"], example["jobs"]["delete"]["steps"]
    assert example["jobs"]["delete"]["if"] == "needs.plan.outputs.has-changes == 'true'"
    (upload,) = (step["with"] for step in plan if "upload-artifact" in str(step.get("uses")))
    (download,) = (step["with"] for step in delete if "download-artifact" in str(step.get("uses")))
    (dry,) = (step["with"] for step in plan if str(step.get("uses")).startswith("org/acr-cleanup@"))
    (real,) = (step["with"] for step in delete if str(step.get("uses")).startswith("org/acr-cleanup@"))

    assert upload == download == {"name": "acr-cleanup", "path": "acr-cleanup/"}
    assert real == dry | {
        "dry-run": "false", "apply-plan": "acr-cleanup/plan.json", "artifact": "acr-cleanup-deleted"
    }  # fmt: skip
    # The download comes before the step that needs it.
    assert [str(step.get("uses")).partition("@")[0] for step in delete][1:] == [
        "actions/download-artifact",
        "org/acr-cleanup",
        "actions/upload-artifact",
    ]


def test_shard_examples_cover_the_whole_registry() -> None:
    lists: list[list[str]] = []
    for text in re.findall(r"^```yaml\n(.*?)^```$", LARGE_REGISTRIES.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        (job,) = jobs.values() if isinstance(jobs := yaml.safe_load(text)["jobs"], dict) else jobs
        matrix = job["strategy"]["matrix"]
        lists.append(matrix.get("shard") or [part["shard"] for part in matrix.values()])
    assert len(lists) == 2
    for shards in lists:
        assert list(map(as_shard, shards)) == [Shard(part, len(shards)) for part in range(1, len(shards) + 1)]


def strings_of(path: Path) -> list[str]:
    """The strings of a Python file without its docstrings: a message must not match a comment."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    documented = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in documented]
    return [node.value for node in constants if isinstance(node.value, str)]


def test_messages_page_quotes_messages_that_exist() -> None:
    """The page quotes each message once."""
    messages = re.findall(r"^\| (?!Message \||---)(.*?) \|", (DOCS / "messages.md").read_text("utf-8"), re.MULTILINE)
    python = [text for path in (ROOT / "acr_cleanup").rglob("*.py") for text in strings_of(path)]
    handler = [path.read_text("utf-8") for path in (ROOT / "azure-pipelines-task" / "src").glob("*.ts")]
    code = "\n".join([*python, *handler]).casefold()
    assert len(messages) > 200
    assert not [message for message in messages if message.casefold() not in code]
    assert len(set(messages)) == len(messages)
