"""Every mistake in a configuration is one problem, with its place and its remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acr_cleanup.errors import ConfigurationError
from acr_cleanup.settings.grammar import shown
from acr_cleanup.settings.load import load_settings
from tests.helpers.config_files import FIRST_USERS_FILE, SUBSCRIPTION, ConfigFiles, by_path, resource_id


def test_empty_configuration_has_two_problems(files: ConfigFiles) -> None:
    """Each has the name that the user would write: an input or a key of the file."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(None, {}, {})
    assert set(by_path(caught.value)) == {"clusters", "registry"}
    with pytest.raises(ConfigurationError) as caught:
        load_settings(files.write('{"older_than": "30d"}'), {}, {})
    assert set(by_path(caught.value)) == {"kubernetes_clusters", "container_registry.url"}


@pytest.mark.parametrize("clusters", [None, {}])
def test_configuration_without_cluster_is_refused(files: ConfigFiles, clusters: object) -> None:
    """Without clusters, every image would look unused."""
    problems = files.problems({"kubernetes_clusters": clusters})
    assert "look unused" in problems["kubernetes_clusters"].remedy


def test_all_problems_are_reported_at_once(files: ConfigFiles) -> None:
    """Each problem has its place and a remedy."""
    path = files.write(
        """
        kubernetes_clusters:
          production: {name: aks-prod, subscripton_id: 00000000-0000-0000-0000-000000000000, resource_group: rg}
          staging: {kubeconfig: nowhere, name: x}
          lost: {kubeconfig: nowhere}
          third: hello
          "west europe": {resource_id: /subscriptions/x, access: drect}
          wrong: {name: ../etc, subscription_id: my subscription, resource_group: rg/x}
        container_registry: {url: contoso.azurecr.io/shop, subscription_id: abc}
        older-than: 30
        older_than: 30 days
        max_deletions: many
        max_deletion_percent: 0
        scope: runing
        environment: azure
        cloud: {authority: "http://login.example"}
        keep_last: -1
        concurrency: 33
        report_dir: []
        include_tags: []
        exclude_tags: [a b]
        repositories: ["!!shop/*"]
        registry_aliases: [images]
        log_level: {}
        """,
        "config.yaml",
    )
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {"older-than": "6m", "nope": "1"}, {"ARM_ENVIRONMENT": "german"})
    # `older-than` has two problems: as an unknown key of the file (first), and as a flag (last).
    assert all(problem.remedy and "pydantic" not in str(problem) for problem in caught.value.problems)
    assert {problem.path: problem.seen for problem in caught.value.problems} == {
        "kubernetes_clusters.production.subscripton_id": "There is no such key. Did you mean subscription_id?",
        "kubernetes_clusters.staging.name": "This key cannot be combined with kubeconfig.",
        "kubernetes_clusters.lost.kubeconfig": f"There is no file {shown(str(files.folder / 'nowhere'))}.",
        "kubernetes_clusters.third": "It is a single value.",
        'kubernetes_clusters."west europe".resource_id': "'/subscriptions/x' is not the resource id of an AKS cluster.",
        'kubernetes_clusters."west europe".access': "'drect' is not one of the choices. Did you mean direct?",
        "kubernetes_clusters.wrong.name": "'../etc' cannot be the name of an AKS cluster.",
        "kubernetes_clusters.wrong.subscription_id": "'my subscription' is not the id of a subscription.",
        "kubernetes_clusters.wrong.resource_group": "'rg/x' cannot be the name of a resource group.",
        "container_registry.url": "'contoso.azurecr.io/shop' contains more than a host name.",
        "container_registry.subscription_id": "'abc' is not the id of a subscription.",
        "older_than": "'30 days' is not a duration.",
        "max_deletions": "'many' is not a whole number.",
        "max_deletion_percent": "'0' is not a percentage above 0 and up to 100.",
        "scope": "'runing' is not one of the choices. Did you mean running?",
        "environment": "'azure' is not the name of a cloud.",
        "cloud.authority": "'http://login.example' is not an https URL.",
        "keep_last": "-1 is out of range.",
        "concurrency": "33 is out of range.",
        "report_dir": "It is a list or a mapping.",
        "include_tags": "The list is empty: nothing would ever be deleted.",
        "exclude_tags": "'a b' cannot match any repository or tag.",
        "repositories": "'!!shop/*' has no pattern after the !.",
        "registry_aliases": "'images' is not a full host name.",
        "log_level": "It is a list or a mapping.",
        "ARM_ENVIRONMENT": "'german' is not the name of a cloud.",
        "older-than": "'6m' can mean minutes or months.",
        "nope": "There is no such key.",
    }


def test_misspelt_key_is_not_also_reported_missing(tmp_path: Path) -> None:
    """Each mistake gets one message."""
    path = tmp_path / "acr-cleanup.yaml"
    path.write_text(
        "kubernetes_clusters:\n"
        f"  production: {{name: aks-prod, subscripton_id: {SUBSCRIPTION}, resource_group: rg}}\n"
        f"  west: {{subscription_id: {SUBSCRIPTION}, resource_group: rg}}\n"
        "container_registry: {url: contoso.azurecr.io}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {}, {})

    problems = by_path(caught.value)
    assert set(problems) == {"kubernetes_clusters.production.subscripton_id", "kubernetes_clusters.west.name"}
    assert problems["kubernetes_clusters.production.subscripton_id"].remedy == "Write subscription_id."


def test_password_in_value_is_never_shown(files: ConfigFiles) -> None:
    problems = files.problems(
        {"container_registry": {"url": "https://me:hunter2@contoso.azurecr.io"}, "cloud": {"authority": "https://me:hunter2@x"}},
        AZURE_AUTHORITY_HOST="https://me:hunter2@y",
        HTTPS_PROXY="socks5://me:hunter2@z",
    )  # fmt: skip
    assert set(problems) == {"container_registry.url", "cloud.authority", "AZURE_AUTHORITY_HOST", "HTTPS_PROXY"}
    assert "hunter2" not in str(problems)


def test_environment_problems_are_reported_with_the_file(files: ConfigFiles) -> None:
    problems = files.problems({"older_than": "x"}, SSL_CERT_FILE="/nowhere.pem", REQUESTS_CA_BUNDLE=__file__)
    assert set(problems) == {"older_than", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
    assert "/nowhere.pem" in problems["SSL_CERT_FILE"].seen


def test_cluster_with_two_entries_is_refused(files: ConfigFiles) -> None:
    """Names in Azure ignore case, and a resource id names the same cluster."""
    clusters = {
        **json.loads(FIRST_USERS_FILE)["kubernetes_clusters"],
        "copy": {"resource_id": resource_id("RG-PROD", "AKS-prod")},
    }
    problem = files.problems({"kubernetes_clusters": clusters})["kubernetes_clusters.copy"]
    assert "kubernetes_clusters.production" in problem.seen


def test_duplicate_cluster_key_is_refused(files: ConfigFiles) -> None:
    entry = f'{{"name": "aks", "subscription_id": "{SUBSCRIPTION}", "resource_group": "rg"}}'
    path = files.write(
        f'{{"kubernetes_clusters": {{"a": {entry}, "a": {entry}}}, "container_registry": {{"url": "contoso"}}}}'
    )
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {}, {})
    assert set(by_path(caught.value)) == {"kubernetes_clusters.a"}


@pytest.mark.parametrize("key", ["kubernetes_clusters", "container_registry", "cloud"])
@pytest.mark.parametrize("value", [[], "text", [{}]])
def test_value_that_is_not_a_mapping_is_one_problem(files: ConfigFiles, key: str, value: object) -> None:
    assert set(files.problems({key: value})) == {key}


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"name": None, "subscription_id": SUBSCRIPTION, "resource_group": "rg"}, "name"),
        ({"kubeconfig": None}, "kubeconfig"),
        ({"resource_id": None}, "resource_id"),
    ],
)
def test_null_for_a_required_key_is_refused(files: ConfigFiles, entry: dict[str, object], key: str) -> None:
    """A null is not a name: no cluster is called None."""
    problems = files.problems({"kubernetes_clusters": {"a": entry}})
    assert problems[f"kubernetes_clusters.a.{key}"].seen == "It is empty."


def test_clusters_are_checked_with_a_missing_kubeconfig(files: ConfigFiles) -> None:
    """The waiver names a cluster that no entry can be, and the file is missing: two mistakes."""
    clusters = {"a": {"kubeconfig": "nowhere"}}
    problems = files.problems({"kubernetes_clusters": clusters, "waive": ["b: pods"]})
    assert set(problems) == {"kubernetes_clusters.a.kubeconfig", "waive"}
