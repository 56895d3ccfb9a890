"""Flags, file and environment become settings; every value keeps its precedence."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.access.federation import AuthType, LoginChoice
from acr_cleanup.clusters.target import Access
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster
from acr_cleanup.core.limits import Limits
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.shard import Shard
from acr_cleanup.settings import OPTIONS, FailOn, Settings
from acr_cleanup.settings.load import load_settings
from tests.helpers.config_files import FIRST_USERS_FILE, PRODUCTION, SUBSCRIPTION, ConfigFiles, resource_id

CLIENT, TENANT = "22222222-2222-2222-2222-222222222222", "11111111-1111-1111-1111-111111111111"
LOGIN = {"auth-type": "oidc", "client-id": CLIENT, "tenant-id": TENANT}


def test_first_users_file_loads_unchanged(files: ConfigFiles) -> None:
    """It gets every default of the design."""
    settings = load_settings(files.write(FIRST_USERS_FILE), {}, {})
    assert settings.policy == RetentionPolicy()
    assert settings.limits == Limits(deletions=500, percent=None)
    assert settings == Settings(
        registry=RegistryHost("contoso.azurecr.io"),
        clusters=(PRODUCTION,),
        cloud=CLOUDS["azurecloud"],
        concurrency=8,
        report_dir=Path("acr-cleanup"),
        log_level="info",
        registry_subscription_id=SUBSCRIPTION,
        registry_resource_group="rg-acr",
    )


def test_yaml_file_loads_like_json(files: ConfigFiles) -> None:
    path = files.write(yaml.safe_dump(json.loads(FIRST_USERS_FILE)), "config.yaml")
    assert load_settings(path, {}, {}) == load_settings(files.write(FIRST_USERS_FILE), {}, {})


def test_every_key_of_the_file_reaches_the_settings(files: ConfigFiles) -> None:
    path = files.write(
        f"""
        # $schema and null have no effect
        $schema: https://example.com/schema.json
        kubernetes_clusters:
          one: {{name: aks-1, subscription_id: {SUBSCRIPTION}, resource_group: rg, access: Run-Command}}
          two: {{resource_id: {resource_id("rg", "aks-2")}}}
          three: {{kubeconfig: kube, context: admin}}
        container_registry: {{url: https://Contoso.azurecr.io/, aliases: [images.contoso.com]}}
        older_than: 6w
        scope: referenced
        repositories: [team/*, shop/web]
        shard: 3/8
        include_tags: |
          1.10
          v*
        exclude_tags: [release-*, 1.10]
        keep_last: 5
        max_deletions: 7
        max_deletion_percent: 12.5%
        registry_aliases: [Images.example.org:8443]
        environment: AzureChinaCloud
        cloud: {{resource_manager: "https://arm.example/", audience: https://acr.example}}
        concurrency: 32
        report_dir: out
        log_level: Debug
        """,
        "config.yml",
    )
    (files.folder / "kube").touch()
    settings = load_settings(path, {}, {})
    assert settings.clusters == (
        AksCluster("one", "aks-1", SUBSCRIPTION, "rg", Access.RUN_COMMAND),
        AksCluster("two", "aks-2", SUBSCRIPTION, "rg"),
        KubeconfigCluster("three", files.folder / "kube", "admin"),
    )
    assert settings.registry == RegistryHost(
        "contoso.azurecr.io", frozenset({"images.contoso.com", "images.example.org:8443"})
    )
    assert settings.policy == RetentionPolicy(
        older_than=timedelta(weeks=6),
        scope=Scope.REFERENCED,
        repositories=("team/*", "shop/web"),
        include_tags=("1.10", "v*"),
        exclude_tags=("latest", "release-*", "1.10"),
        keep_last=5,
        shard=Shard(3, 8),
    )
    assert settings.limits == Limits(deletions=7, percent=12.5)
    assert settings.cloud.authority == "https://login.chinacloudapi.cn"
    assert settings.cloud.resource_manager == settings.cloud.resource_manager_audience == "https://arm.example"
    assert settings.cloud.audience == "https://acr.example"
    assert (settings.concurrency, settings.report_dir, settings.log_level) == (32, Path("out"), "debug")


def test_flag_overrides_file_and_file_overrides_environment(files: ConfigFiles) -> None:
    file = {"older_than": "60d", "environment": "azurechinacloud"}
    assert files.load(file, {"older-than": "90"}).policy.older_than == timedelta(days=90)
    assert files.load(file, {"older_than": "90"}).policy.older_than == timedelta(days=90)
    assert files.load(file).policy.older_than == timedelta(days=60)
    assert files.load(file, ARM_ENVIRONMENT="usgovernment").cloud == CLOUDS["azurechinacloud"]
    assert files.load(file, {"environment": "azurecloud"}).cloud == CLOUDS["azurecloud"]
    assert files.load(ARM_ENVIRONMENT="usgovernment").cloud == CLOUDS["azureusgovernment"]


def test_empty_input_counts_as_not_given(files: ConfigFiles) -> None:
    """Pipelines pass every input, most of them empty."""
    empty: dict[str, str] = {option.name: "" for option in OPTIONS}
    assert files.load({"older_than": "60d"}, empty) == files.load({"older_than": "60d"})


def test_list_input_takes_lines_commas_or_items(files: ConfigFiles) -> None:
    for written in ("a\n b \n\n", "a,b", ["a", "b"], ("a", "b")):
        assert files.load(None, {"repositories": written}).policy.repositories == ("a", "b")


def test_comments_in_list_input_are_ignored(files: ConfigFiles) -> None:
    settings = files.load(None, {"repositories": "# ours, and theirs\na\n  # more\nb,c"})
    assert settings.policy.repositories == ("a", "b", "c")


def test_list_input_with_comments_only_keeps_value_of_file(files: ConfigFiles) -> None:
    """Otherwise a comment in a workflow would take away the exclusions of the file."""
    settings = files.load({"exclude_tags": ["v1"]}, {"exclude-tags": "# none here\n"})
    assert settings.policy.exclude_tags == ("latest", "v1")


def test_settings_load_without_a_file() -> None:
    settings = load_settings(
        None,
        {"registry": "contoso", "clusters": resource_id("rg-prod", "aks-prod").lower()},
        {"ARM_ENVIRONMENT": "USGovernment"},
    )
    assert settings.registry.login_server == "contoso.azurecr.us"
    assert settings.clusters == (AksCluster("aks-prod", "aks-prod", SUBSCRIPTION, "rg-prod"),)


def test_clusters_flag_adds_to_clusters_of_file(files: ConfigFiles) -> None:
    """If the flag replaced them, the images of the other clusters would be deleted."""
    clusters = files.load(None, {"clusters": resource_id("rg", "production")}).clusters
    assert [cluster.key for cluster in clusters] == ["production", "production (rg)"]


def test_kubeconfig_path_is_relative_to_file_or_home(files: ConfigFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    (files.folder / "kube").touch()
    monkeypatch.setenv("HOME", str(files.folder))
    for written in ("kube", "~/kube", str(files.folder / "kube")):
        (cluster,) = files.load({"kubernetes_clusters": {"a": {"kubeconfig": written}}}).clusters
        assert isinstance(cluster, KubeconfigCluster)
        assert cluster.kubeconfig == files.folder / "kube"
    folder = files.problems({"kubernetes_clusters": {"a": {"kubeconfig": "."}}})
    assert set(folder) == {"kubernetes_clusters.a.kubeconfig"}


def test_shard_input_overrides_file(files: ConfigFiles) -> None:
    """The shard 1/1 is the whole registry."""
    assert files.load({"shard": "2/8"}, {"shard": "1000/1000"}).policy.shard == Shard(1000, 1000)
    assert files.load({"shard": "2/8"}, {"shard": " "}).policy.shard == Shard(2, 8)
    assert files.load({"shard": "2/8"}, {"shard": "1/1"}).policy == files.load({"shard": None}).policy
    assert files.problems({"shard": "9/8"})["shard"].seen == "'9/8' is not one of the 8 parts."


@pytest.mark.parametrize(("written", "deletions"), [(0, None), (None, None), ("0", None), (1, 1), ("12", 12)])
def test_max_deletions_of_zero_or_null_is_no_limit(files: ConfigFiles, written: object, deletions: int | None) -> None:
    assert files.load({"max_deletions": written}).limits == Limits(deletions=deletions)
    if written is not None:
        assert files.load(None, {"max-deletions": str(written)}).limits == Limits(deletions=deletions)


def test_fail_on_is_a_set_of_choices(files: ConfigFiles) -> None:
    assert files.load().fail_on == {FailOn.DELETE_ERRORS}
    assert files.load(None, {"fail-on": "warnings, planned-deletions"}).fail_on == {
        FailOn.WARNINGS, FailOn.PLANNED_DELETIONS
    }  # fmt: skip
    assert files.load({"fail_on": ["none"]}).fail_on == {FailOn.NONE}
    assert files.load({"fail_on": "none"}, {"fail-on": "warnings"}).fail_on == {FailOn.WARNINGS}
    assert "none" in files.problems(None, {"fail-on": "none,warnings"})["fail-on"].seen
    assert "Did you mean warnings?" in files.problems({"fail_on": "warning"})["fail_on"].seen


# -- clouds and logins -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cloud"),
    [
        ("public", "azurecloud"),
        ("Public", "azurecloud"),
        ("usgovernment", "azureusgovernment"),
        ("china", "azurechinacloud"),
        ("AzureUSGovernment", "azureusgovernment"),
        ("", "azurecloud"),
    ],
)
def test_cloud_names_of_azure_and_terraform_are_accepted(files: ConfigFiles, name: str, cloud: str) -> None:
    registry = {"container_registry": {"url": "contoso"}}
    settings = files.load(registry, ARM_ENVIRONMENT=name)
    assert settings.cloud == CLOUDS[cloud]
    assert settings.registry.login_server == f"contoso.{CLOUDS[cloud].registry_suffix}"


def test_authority_of_file_overrides_environment(files: ConfigFiles) -> None:
    cloud = files.load(AZURE_AUTHORITY_HOST="login.example/", ARM_ENVIRONMENT="china").cloud
    assert (cloud.authority, cloud.resource_manager) == ("https://login.example", "https://management.chinacloudapi.cn")
    named = files.load({"cloud": {"authority": "https://localhost:4433"}}, AZURE_AUTHORITY_HOST="login.example").cloud
    assert named.authority == "https://localhost:4433"


def test_pipeline_is_a_dry_run_unless_false(files: ConfigFiles) -> None:
    assert files.load().dry_run
    for text, dry_run in (("true", True), ("TRUE", True), ("", True), ("false", False), ("False", False)):
        assert files.load(None, {"dry-run": text}).dry_run is dry_run
    for text in ("no", "0", "off", "fasle"):
        assert "dry-run" in files.problems(None, {"dry-run": text})


def test_login_of_pipeline_follows_auth_type(files: ConfigFiles) -> None:
    assert files.load(None, LOGIN).login == LoginChoice(AuthType.OIDC, CLIENT, TENANT)
    by_environment = files.load(None, {"auth-type": "oidc"}, AZURE_CLIENT_ID=CLIENT, AZURE_TENANT_ID=TENANT)
    assert by_environment.login == LoginChoice(AuthType.OIDC, CLIENT, TENANT)
    assert files.load(None, {"auth-type": "managed-identity"}).login == LoginChoice(AuthType.MANAGED_IDENTITY)
    assert files.load(None, LOGIN | {"audience": "api://China"}).login.audience == "api://China"
    assert files.load().login == LoginChoice()


@pytest.mark.parametrize(
    ("cloud", "audience"),
    [
        ("azurecloud", "api://AzureADTokenExchange"),
        ("azureusgovernment", "api://AzureADTokenExchangeUSGov"),
        ("azurechinacloud", "api://AzureADTokenExchangeChina"),
    ],
)
def test_audience_follows_the_cloud(files: ConfigFiles, cloud: str, audience: str) -> None:
    """The portal of each cloud writes its own audience: github.com/Azure/login/issues/452."""
    assert files.load(None, LOGIN | {"environment": cloud}).login.audience == audience
    assert files.load({"environment": cloud}, LOGIN).login.audience == audience
    assert files.load(None, LOGIN, ARM_ENVIRONMENT=cloud).login.audience == audience
    assert files.load(None, LOGIN | {"environment": cloud, "audience": "api://x"}).login.audience == "api://x"


def test_missing_login_ids_are_reported_with_other_problems(files: ConfigFiles) -> None:
    problems = files.problems({"keep_last": "x"}, {"auth-type": "oidc", "client-id": "hunter2"})
    assert problems.keys() == {"keep_last", "client-id", "tenant-id"}
    assert "hunter2" not in str(problems["client-id"])
    assert files.problems(None, {"auth-type": "oicd"}).keys() == {"auth-type"}


def test_loading_settings_imports_no_sdk() -> None:
    """The SDKs take seconds to import; a wrong configuration must be reported before that."""
    code = (
        "import sys, acr_cleanup.settings.load;"
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'kubernetes', 'aiohttp', 'msal')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("key", ["used_within", "probation"])
def test_option_of_the_ledger_needs_a_ledger(files: ConfigFiles, key: str) -> None:
    problems = files.problems({key: "7d"})

    assert problems.keys() == {key}
    assert "There is no ledger" in problems[key].seen


@pytest.mark.parametrize("key", ["used_within", "probation"])
def test_option_of_the_ledger_may_be_off(files: ConfigFiles, key: str) -> None:
    assert not getattr(files.load({key: "0"}), key)
