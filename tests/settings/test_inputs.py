"""The table of inputs: each input reaches the settings, the schema and the pipelines."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from acr_cleanup.access.federation import LoginChoice
from acr_cleanup.clusters.target import Waiver
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.settings import OPTIONS, InputKind, unknown_inputs
from acr_cleanup.settings.form import schema
from acr_cleanup.settings.load import load_settings
from acr_cleanup.settings.options import DEFAULTS
from tests.helpers.config_files import FIRST_USERS_FILE, SUBSCRIPTION, ConfigFiles, resource_id

ID = "22222222-2222-2222-2222-222222222222"
VALUES = {
    "dry-run": "false", "collect": "usage.json", "check": "true",
    "client-id": ID, "tenant-id": ID, "auth-type": "oidc", "audience": "api://other", "login-timeout": "5", "registry": "fabrikam",
    "clusters": resource_id("rg", "second"), "subscriptions": ID, "require-all-clusters": "true", "helm-history": "3",
    "services": "batch,app-service", "require-all-services": "true", "container-app-revisions": "active",
    "app-service-snapshots": "2",
    "waive": "production: pods", "waive-workloads": "production: pods", "mirrors": "docker.io=hub",
    "ignore-kinds": "reports.example.com",
    "older-than": "1d", "scope": "all", "repositories": "shop/*", "shard": "1/2",
    "include-tags": "v*", "exclude-tags": "v1", "keep": "shop/web:1", "rules": "- {name: web}", "use-regex": "true",
    "keep-last": "2", "keep-last-by": "(dev|main)",
    "keep-last-of": "tags", "pulled-within": "90d", "ignore-pulls-by": "trivy/*",
    "used-within": "14d", "probation": "6d", "ledger": "ledger.json",
    "delete-untagged": "true", "include-locked": "true", "max-deletions": "1", "max-deletion-percent": "5",
    "registry-aliases": "images.contoso.com", "environment": "azurechinacloud", "apply-plan": "plan.json",
    "plan-max-age": "1d", "verify": "false", "backup": "true", "exact-sizes": "true", "concurrency": "2",
    "fail-on": "warnings", "summary": "false", "artifact": "plan", "report-dir": "elsewhere", "log-level": "debug",
}  # fmt: skip
"""A value of each input that differs from its default."""
TOGETHER = {
    "used-within": {"ledger": "ledger.json"},
    "probation": {"ledger": "ledger.json"},
    "keep-last-by": {"keep-last": "2"},
    "ignore-pulls-by": {"pulled-within": "90d"},
    "client-id": {"auth-type": "oidc", "tenant-id": SUBSCRIPTION},
    "tenant-id": {"auth-type": "oidc", "client-id": SUBSCRIPTION},
    "auth-type": {"client-id": SUBSCRIPTION, "tenant-id": SUBSCRIPTION},
    "audience": {"auth-type": "oidc", "client-id": SUBSCRIPTION, "tenant-id": SUBSCRIPTION},
}
"""Other inputs that an input needs to be valid, or to have an effect."""


def test_every_input_has_a_test_value() -> None:
    """The configuration file is a separate argument."""
    assert VALUES.keys() | {"config-file"} == {option.name for option in OPTIONS}


@pytest.mark.parametrize("name", VALUES)
def test_value_of_input_reaches_the_settings(files: ConfigFiles, name: str) -> None:
    """No input may be dropped silently between the table and the settings."""
    others = {"registry": "contoso", "clusters": resource_id("rg", "production"), **TOGETHER.get(name, {})}
    ids = {"AZURE_CLIENT_ID": SUBSCRIPTION, "AZURE_TENANT_ID": SUBSCRIPTION}
    assert load_settings(None, {**others, name: VALUES[name]}, ids) != load_settings(None, others, ids)


@pytest.mark.parametrize("name", [option.name for option in OPTIONS if option.in_file])
def test_value_of_key_reaches_the_settings(files: ConfigFiles, name: str) -> None:
    """The file and the input set the same value."""
    others = TOGETHER.get(name, {})
    in_file = files.load({name.replace("-", "_"): VALUES[name]}, others)
    assert in_file == files.load(None, {**others, name: VALUES[name]})
    assert in_file != files.load(None, others)


def test_policy_and_login_are_made_of_options_only() -> None:
    """A field without an option of its name would keep its default and ignore the user's value."""
    assert {field.name for kind in (RetentionPolicy, LoginChoice) for field in fields(kind)} <= DEFAULTS.keys()


def test_waiver_and_durations_keep_their_types(files: ConfigFiles) -> None:
    settings = files.load({"waive": [{"cluster": "production", "kind": "pods"}], "plan_max_age": "2d"})
    assert settings == replace(files.load(), waive=(Waiver("production", "pods"),), plan_max_age=timedelta(days=2))


# -- the published forms ---------------------------------------------------------------------------


def test_table_and_schema_have_the_same_keys() -> None:
    keys = {option.key for option in OPTIONS if option.in_file}
    assert keys == set(schema()["properties"]) - {"kubernetes_clusters", "container_registry", "cloud", "$schema"}
    for option in OPTIONS:
        assert option.description.endswith(".")
        assert (option.kind.input is InputKind.CHOICE) == bool(option.choices)
        assert option.default in option.choices or option.kind.input is not InputKind.CHOICE


def test_defaults_of_table_equal_defaults_of_settings(files: ConfigFiles) -> None:
    """A file that writes out every default loads like a file without them."""
    written = {option.key: option.default for option in OPTIONS if option.in_file and option.default}
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
    for option in OPTIONS:
        assert not (option.in_file and option.action_default)
    declared = {option.name: option.action_default for option in OPTIONS if option.action_default}
    assert declared == {
        "dry-run": "true", "check": "false", "auth-type": "oidc", "summary": "true", "artifact": "acr-cleanup",
    }  # fmt: skip


def test_unknown_input_gets_the_nearest_name() -> None:
    warnings = unknown_inputs(["older-than", "OLDER_THAN", "exclude-tag", "\n::x"])
    assert len(warnings) == 3
    assert any("'exclude-tag'" in warning and "Did you mean exclude-tags?" in warning for warning in warnings)
    assert any("'OLDER_THAN'" in warning and "Did you mean older-than?" in warning for warning in warnings)
    assert not any("\n" in warning for warning in warnings)
