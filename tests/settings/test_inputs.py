"""The table of inputs: each input reaches the settings, the schema and the pipelines."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from acr_cleanup.clusters.target import Waiver
from acr_cleanup.settings import INPUTS, Input, InputKind, Settings, load_settings, schema, unknown_inputs
from acr_cleanup.settings.load import check_table, stored
from tests.helpers.config_files import FIRST_USERS_FILE, SUBSCRIPTION, ConfigFiles, resource_id

ID = "22222222-2222-2222-2222-222222222222"
VALUES = {
    "dry-run": "false", "client-id": ID, "tenant-id": ID, "auth-type": "oidc", "audience": "api://other", "registry": "fabrikam",
    "clusters": resource_id("rg", "second"), "subscriptions": ID, "require-all-clusters": "true", "helm-history": "3",
    "waive": "production: pods", "older-than": "1d", "scope": "all", "repositories": "shop/*", "shard": "1/2",
    "include-tags": "v*", "exclude-tags": "v1", "use-regex": "true", "keep-last": "2", "keep-last-by": "(dev|main)",
    "delete-untagged": "true", "include-locked": "true", "max-deletions": "1", "max-deletion-percent": "5",
    "registry-aliases": "images.contoso.com", "environment": "azurechinacloud", "apply-plan": "plan.json",
    "plan-max-age": "1d", "verify": "false", "backup": "true", "exact-sizes": "true", "concurrency": "2",
    "fail-on": "warnings", "summary": "false", "report-dir": "elsewhere", "log-level": "debug",
}  # fmt: skip
"""A value of each input that differs from its default."""
TOGETHER = {
    "keep-last-by": {"keep-last": "2"},
    "client-id": {"auth-type": "oidc", "tenant-id": SUBSCRIPTION},
    "tenant-id": {"auth-type": "oidc", "client-id": SUBSCRIPTION},
    "auth-type": {"client-id": SUBSCRIPTION, "tenant-id": SUBSCRIPTION},
    "audience": {"auth-type": "oidc", "client-id": SUBSCRIPTION, "tenant-id": SUBSCRIPTION},
}
"""Other inputs that an input needs to be valid, or to have an effect."""
MADE_UP = Input("made-up", InputKind.NUMBER, "", "An input that does not exist.")


def test_every_input_has_a_test_value() -> None:
    """The pipeline reads the two others itself, and neither of them is a setting."""
    assert VALUES.keys() | {"config-file", "collect"} == {option.name for option in INPUTS}


@pytest.mark.parametrize("name", VALUES)
def test_value_of_input_reaches_the_settings(files: ConfigFiles, name: str) -> None:
    """No input may be dropped silently between the table and the settings."""
    others = {"registry": "contoso", "clusters": resource_id("rg", "production"), **TOGETHER.get(name, {})}
    ids = {"AZURE_CLIENT_ID": SUBSCRIPTION, "AZURE_TENANT_ID": SUBSCRIPTION}
    assert load_settings(None, {**others, name: VALUES[name]}, ids) != load_settings(None, others, ids)


@pytest.mark.parametrize("name", [option.name for option in INPUTS if option.in_file])
def test_value_of_key_reaches_the_settings(files: ConfigFiles, name: str) -> None:
    """The file and the input set the same value."""
    others = TOGETHER.get(name, {})
    in_file = files.load({name.replace("-", "_"): VALUES[name]}, others)
    assert in_file == files.load(None, {**others, name: VALUES[name]})
    assert in_file != files.load(None, others)


def test_input_without_destination_is_an_error() -> None:
    """Importing the settings fails if a new input is only added to the table."""
    check_table(INPUTS)
    with pytest.raises(TypeError, match="made-up"):
        check_table((*INPUTS, MADE_UP))


def test_input_with_a_field_of_its_name_is_stored() -> None:
    """A new field of the settings needs no list of keys."""

    @dataclass(frozen=True)
    class More(Settings):
        made_up: int = 0

    assert "made_up" in {field.name for field in fields(More)}
    assert stored(More, {"made_up": 3, "backup": True, "shard": None}) == {"made_up": 3, "backup": True}


def test_combined_inputs_are_not_stored_as_they_are(files: ConfigFiles) -> None:
    """`registry` and `clusters` are fields too, but their values are built from several options."""
    assert stored(Settings, {"registry": "contoso", "clusters": ()}) == {}


def test_waiver_and_durations_keep_their_types(files: ConfigFiles) -> None:
    settings = files.load({"waive": [{"cluster": "production", "kind": "pods"}], "plan_max_age": "2d"})
    assert settings == replace(files.load(), waive=(Waiver("production", "pods"),), plan_max_age=timedelta(days=2))


# -- the published forms ---------------------------------------------------------------------------


def test_table_and_schema_have_the_same_keys() -> None:
    keys = {option.key for option in INPUTS if option.in_file}
    assert keys == set(schema()["properties"]) - {"kubernetes_clusters", "container_registry", "cloud", "$schema"}
    for option in INPUTS:
        assert option.description.endswith(".")
        assert (option.kind is InputKind.CHOICE) == bool(option.choices)
        assert option.default in option.choices or option.kind is not InputKind.CHOICE


def test_defaults_of_table_equal_defaults_of_settings(files: ConfigFiles) -> None:
    """A file that writes out every default loads like a file without them."""
    written = {option.key: option.default for option in INPUTS if option.in_file and option.default}
    assert files.load(written) == files.load()


def test_schema_describes_every_key() -> None:
    published = schema()
    jsonschema.Draft202012Validator.check_schema(published)
    forms = [published, *published["$defs"].values()]
    for form in forms:
        assert form["additionalProperties"] is False
        for key, described in form["properties"].items():
            assert described.get("description", "").endswith("."), key


def test_schema_and_settings_accept_the_same_files(files: ConfigFiles) -> None:
    published = jsonschema.Draft202012Validator(schema())
    published.validate(json.loads(FIRST_USERS_FILE))
    wrong: list[dict[str, Any]] = [
        {"older-than": 30},
        {"kubernetes_clusters": {"a": {"name": "x"}}},
        {"concurrency": 33},
    ]
    for more in wrong:
        with pytest.raises(jsonschema.ValidationError):
            published.validate({**json.loads(FIRST_USERS_FILE), **more})
        files.problems(more)


def test_keys_of_file_have_no_default_in_pipeline() -> None:
    """A default would arrive like an input of the user and override the file."""
    for option in INPUTS:
        assert not (option.in_file and option.action_default)
    declared = {option.name: option.action_default for option in INPUTS if option.action_default}
    assert declared == {
        "dry-run": "true", "auth-type": "oidc", "audience": "api://AzureADTokenExchange", "summary": "true"
    }  # fmt: skip


def test_unknown_input_gets_the_nearest_name() -> None:
    warnings = unknown_inputs(["older-than", "OLDER_THAN", "exclude-tag", "\n::x"])
    assert len(warnings) == 3
    assert any("'exclude-tag'" in warning and "Did you mean exclude-tags?" in warning for warning in warnings)
    assert any("'OLDER_THAN'" in warning and "Did you mean older-than?" in warning for warning in warnings)
    assert not any("\n" in warning for warning in warnings)
