"""Flags, file and environment become settings, or every problem at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.access.credentials import CLOUDS
from acr_cleanup.access.federation import AuthType, LoginChoice
from acr_cleanup.clusters.targets import Access, AksCluster, KubeconfigCluster
from acr_cleanup.core.limits import Limits
from acr_cleanup.core.policy import RetentionPolicy, Scope, describe_duration
from acr_cleanup.core.references import Registry
from acr_cleanup.core.shard import Shard
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.settings import (
    INPUTS,
    FailOn,
    Kind,
    Settings,
    load_settings,
    schema,
    unknown_inputs,
)
from acr_cleanup.settings.grammar import Wrong, as_shard, parse_duration, parse_registry_url, shown

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
FIRST_USERS_FILE = """{
  "kubernetes_clusters": {
    "production": {"name": "aks-prod", "subscription_id": "%s", "resource_group": "rg-prod"}
  },
  "container_registry": {"url": "contoso.azurecr.io", "subscription_id": "%s", "resource_group": "rg-acr"}
}
""".replace("%s", SUBSCRIPTION)
PRODUCTION = AksCluster("production", "aks-prod", SUBSCRIPTION, "rg-prod")


def resource_id(group: str, name: str) -> str:
    provider = "providers/Microsoft.ContainerService/managedClusters"
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/{provider}/{name}"


Overrides = Mapping[str, str | Sequence[str] | None]


class Files:
    """Writes a configuration file and loads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "config.json") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def load(
        self, more: Mapping[str, Any] | None = None, overrides: Overrides | None = None, **environ: str
    ) -> Settings:
        """The settings of the first users' file with these keys in addition."""
        tree = {**json.loads(FIRST_USERS_FILE), **(more or {})}
        return load_settings(self.write(json.dumps(tree)), overrides or {}, environ)

    def problems(
        self, more: Mapping[str, Any] | None = None, overrides: Overrides | None = None, **environ: str
    ) -> dict[str, Problem]:
        with pytest.raises(ConfigurationError) as caught:
            self.load(more, overrides, **environ)
        return by_path(caught.value)


def by_path(error: ConfigurationError) -> dict[str, Problem]:
    found = {problem.path: problem for problem in error.problems}
    assert len(found) == len(error.problems), "two problems at one place"
    for problem in error.problems:
        for part in (problem.seen, problem.remedy):
            assert part
            assert "pydantic" not in part
            assert "\n" not in part
            assert "https://errors" not in part
    return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_first_users_file_works_unchanged(files: Files) -> None:
    """With every default of the design."""
    assert load_settings(files.write(FIRST_USERS_FILE), {}, {}) == Settings(
        registry=Registry("contoso.azurecr.io"),
        clusters=(PRODUCTION,),
        policy=RetentionPolicy(),
        limits=Limits(deletions=500, percent=None),
        cloud=CLOUDS["azurecloud"],
        concurrency=8,
        report_dir=Path("acr-cleanup"),
        log_level="info",
        registry_subscription_id=SUBSCRIPTION,
        registry_resource_group="rg-acr",
    )


def test_yaml_means_the_same(files: Files) -> None:
    path = files.write(yaml.safe_dump(json.loads(FIRST_USERS_FILE)), "config.yaml")
    assert load_settings(path, {}, {}) == load_settings(files.write(FIRST_USERS_FILE), {}, {})


def test_every_key_of_the_file_reaches_the_settings(files: Files) -> None:
    path = files.write(
        f"""
        # $schema and null are nothing
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
    assert settings.registry == Registry(
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


def test_a_flag_outranks_the_file_and_the_file_the_environment(files: Files) -> None:
    file = {"older_than": "60d", "environment": "azurechinacloud"}
    assert files.load(file, {"older-than": "90"}).policy.older_than == timedelta(days=90)
    assert files.load(file, {"older_than": "90"}).policy.older_than == timedelta(days=90)
    assert files.load(file).policy.older_than == timedelta(days=60)
    assert files.load(file, ARM_ENVIRONMENT="usgovernment").cloud == CLOUDS["azurechinacloud"]
    assert files.load(file, {"environment": "azurecloud"}).cloud == CLOUDS["azurecloud"]
    assert files.load(ARM_ENVIRONMENT="usgovernment").cloud == CLOUDS["azureusgovernment"]


def test_an_empty_input_was_not_given(files: Files) -> None:
    """Pipelines pass every input, mostly empty."""
    empty: dict[str, str] = {each.name: "" for each in INPUTS}
    assert files.load({"older_than": "60d"}, empty) == files.load({"older_than": "60d"})


def test_lists_are_given_one_per_line_or_one_by_one(files: Files) -> None:
    for given_as in ("a\n b \n\n", "a,b", ["a", "b"], ("a", "b")):
        assert files.load(None, {"repositories": given_as}).policy.repositories == ("a", "b")


def test_everything_can_be_said_without_a_file() -> None:
    settings = load_settings(
        None,
        {"registry": "contoso", "clusters": resource_id("rg-prod", "aks-prod").lower()},
        {"ARM_ENVIRONMENT": "USGovernment"},
    )
    assert settings.registry.login_server == "contoso.azurecr.us"
    assert settings.clusters == (AksCluster("aks-prod", "aks-prod", SUBSCRIPTION, "rg-prod"),)


def test_clusters_of_a_flag_are_added_to_those_of_the_file(files: Files) -> None:
    """Were they to replace them, what the others use would be deleted."""
    clusters = files.load(None, {"clusters": resource_id("rg", "production")}).clusters
    assert [cluster.key for cluster in clusters] == ["production", "production (rg)"]


def test_nothing_configured_is_two_problems(files: Files) -> None:
    """Each named where its reader would say it."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(None, {}, {})
    assert set(by_path(caught.value)) == {"clusters", "registry"}
    with pytest.raises(ConfigurationError) as caught:
        load_settings(files.write('{"older_than": "30d"}'), {}, {})
    assert set(by_path(caught.value)) == {"kubernetes_clusters", "container_registry.url"}


@pytest.mark.parametrize("clusters", [None, {}])
def test_no_cluster_is_a_problem(files: Files, clusters: object) -> None:
    """The tool would know nothing of use."""
    problems = files.problems({"kubernetes_clusters": clusters})
    assert "look unused" in problems["kubernetes_clusters"].remedy


def test_every_problem_is_reported_at_once_with_place_and_remedy(files: Files) -> None:
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
    problems = by_path_of_any(caught.value)
    assert problems == {
        "kubernetes_clusters.production.subscripton_id": "There is no such key. Did you mean subscription_id?",
        "kubernetes_clusters.staging.name": "This key does not go with kubeconfig.",
        "kubernetes_clusters.lost.kubeconfig": f"There is no file {shown(str(files.folder / 'nowhere'))}.",
        "kubernetes_clusters.third": "It is a single value.",
        'kubernetes_clusters."west europe".resource_id': "'/subscriptions/x' is not the resource id of an AKS cluster.",
        'kubernetes_clusters."west europe".access': "'drect' is none of the choices. Did you mean direct?",
        "kubernetes_clusters.wrong.name": "'../etc' cannot be the name of an AKS cluster.",
        "kubernetes_clusters.wrong.subscription_id": "'my subscription' is not the id of a subscription.",
        "kubernetes_clusters.wrong.resource_group": "'rg/x' cannot be the name of a resource group.",
        "container_registry.url": "'contoso.azurecr.io/shop' holds more than a host name.",
        "container_registry.subscription_id": "'abc' is not the id of a subscription.",
        "older_than": "'30 days' is not a duration.",
        "max_deletions": "'many' is not a whole number.",
        "max_deletion_percent": "'0' is no share of the tags that could be a limit.",
        "scope": "'runing' is none of the choices. Did you mean running?",
        "environment": "'azure' is not the name of a cloud.",
        "cloud.authority": "'http://login.example' is not an https URL.",
        "keep_last": "-1 is out of range.",
        "concurrency": "33 is out of range.",
        "report_dir": "It holds a list or a mapping.",
        "include_tags": "The list is empty: nothing would ever be deleted.",
        "exclude_tags": "'a b' matches no repository and no tag.",
        "repositories": "'!!shop/*' takes away no name.",
        "registry_aliases": "'images' is not a whole host name.",
        "log_level": "It holds a list or a mapping.",
        "ARM_ENVIRONMENT": "'german' is not the name of a cloud.",
        "older-than": "'6m' might be meant as minutes or as months.",
        "nope": "There is no such key.",
    }


def by_path_of_any(error: ConfigurationError) -> dict[str, str]:
    # `older-than` is wrong twice: as a key of the file (told first), and as a flag.
    assert all(problem.remedy and "pydantic" not in str(problem) for problem in error.problems)
    return {problem.path: problem.seen for problem in error.problems}


def test_a_password_is_never_repeated(files: Files) -> None:
    problems = files.problems(
        {"container_registry": {"url": "https://me:hunter2@contoso.azurecr.io"}, "cloud": {"authority": "https://me:hunter2@x"}},
        AZURE_AUTHORITY_HOST="https://me:hunter2@y",
        HTTPS_PROXY="socks5://me:hunter2@z",
    )  # fmt: skip
    assert set(problems) == {"container_registry.url", "cloud.authority", "AZURE_AUTHORITY_HOST", "HTTPS_PROXY"}
    assert "hunter2" not in str(problems)


def test_the_environment_is_checked_with_the_file(files: Files) -> None:
    problems = files.problems({"older_than": "x"}, SSL_CERT_FILE="/nowhere.pem", REQUESTS_CA_BUNDLE=__file__)
    assert set(problems) == {"older_than", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
    assert "/nowhere.pem" in problems["SSL_CERT_FILE"].seen


def test_the_same_cluster_twice_is_a_problem(files: Files) -> None:
    """Azure's names have no case, and a resource id is a name too."""
    clusters = {
        **json.loads(FIRST_USERS_FILE)["kubernetes_clusters"],
        "copy": {"resource_id": resource_id("RG-PROD", "AKS-prod")},
    }
    problem = files.problems({"kubernetes_clusters": clusters})["kubernetes_clusters.copy"]
    assert "kubernetes_clusters.production" in problem.seen


def test_a_cluster_that_is_written_twice_is_a_problem(files: Files) -> None:
    entry = f'{{"name": "aks", "subscription_id": "{SUBSCRIPTION}", "resource_group": "rg"}}'
    path = files.write(
        f'{{"kubernetes_clusters": {{"a": {entry}, "a": {entry}}}, "container_registry": {{"url": "contoso"}}}}'
    )
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {}, {})
    assert set(by_path(caught.value)) == {"kubernetes_clusters.a"}


@pytest.mark.parametrize("key", ["kubernetes_clusters", "container_registry", "cloud"])
@pytest.mark.parametrize("value", [[], "text", [{}]])
def test_another_form_in_place_of_a_mapping_is_one_problem(files: Files, key: str, value: object) -> None:
    assert set(files.problems({key: value})) == {key}


def test_a_kubeconfig_is_found_from_the_folder_of_the_file_and_from_home(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files.folder / "kube").touch()
    monkeypatch.setenv("HOME", str(files.folder))
    for written in ("kube", "~/kube", str(files.folder / "kube")):
        (cluster,) = files.load({"kubernetes_clusters": {"a": {"kubeconfig": written}}}).clusters
        assert isinstance(cluster, KubeconfigCluster)
        assert cluster.kubeconfig == files.folder / "kube"
    folder = files.problems({"kubernetes_clusters": {"a": {"kubeconfig": "."}}})
    assert set(folder) == {"kubernetes_clusters.a.kubeconfig"}


@pytest.mark.parametrize(
    ("exclude", "include", "expected"),
    [
        (None, None, ("latest",)),
        (["v1"], None, ("latest", "v1")),
        (["v1", "latest"], None, ("v1", "latest")),
        ("", None, ("latest",)),
        (None, ["*"], ("latest",)),
        ([], None, ()),
        (None, ["latest"], ()),
        (["v1"], ["latest", "v*"], ("v1",)),
    ],
)
def test_latest_goes_only_when_asked_for(
    files: Files, exclude: object, include: object, expected: tuple[str, ...]
) -> None:
    """By an empty list, or by its own name; excluding something else is not asking."""
    options = {"exclude_tags": exclude, "include_tags": include}
    assert files.load(options).policy.exclude_tags == expected


@pytest.mark.parametrize("key", ["repositories", "include_tags"])
def test_an_exclamation_mark_takes_away_where_that_keeps_more(files: Files, key: str) -> None:
    for use_regex, written in ((False, ["v*", "!v2", "[!a]*", "![!b]*"]), (True, ["v.*", "!v[0-9]{1,2}", "!*"])):
        policy = files.load({key: written, "use_regex": use_regex}).policy
        assert getattr(policy, key) == tuple(written)
    for wrong in ("!", "!!x"):
        for use_regex in (False, True):
            problem = files.problems({key: [wrong], "use_regex": use_regex})[key]
            assert problem.seen == f"'{wrong}' takes away no name."


@pytest.mark.parametrize("use_regex", [False, True])
def test_an_exclamation_mark_among_the_excluded_is_refused(files: Files, use_regex: bool) -> None:
    """There it would make more tags go."""
    problem = files.problems({"exclude_tags": ["v1", "!v1-beta"], "use_regex": use_regex})["exclude_tags"]
    assert problem.seen == "'!v1-beta' begins with an exclamation mark."
    assert "name in include_tags what may go" in problem.remedy
    assert files.load({"exclude_tags": ["[!v]*"]}).policy.exclude_tags == ("latest", "[!v]*")


def test_an_exclamation_mark_without_quotes_is_told_to_need_them(files: Files) -> None:
    """To YAML it begins a tag, and the pattern would silently be an empty text."""
    path = files.write("include_tags:\n  - !release-*\n", "config.yaml")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {}, {})
    assert "a text that begins with ! needs quotes" in str(caught.value.problems[0].seen)


def test_regular_expressions_are_one_per_line_wherever_it_is_said_that_they_are(files: Files) -> None:
    """A comma counts repetitions. The file may say what the patterns of the inputs are, and the other way round."""
    text = "v{1,3}\n  # a remark\n  dev-.{2,}  \n"
    expected = ("v{1,3}", "dev-.{2,}")
    assert files.load(None, {"include-tags": text, "use-regex": "TRUE"}).policy.include_tags == expected
    assert files.load({"use_regex": True}, {"include-tags": text}).policy.include_tags == expected
    assert files.load({"include_tags": text}, {"use_regex": "true"}).policy.include_tags == expected
    assert files.load({"include_tags": list(expected), "use_regex": True}).policy.include_tags == expected
    assert files.load(None, {"include-tags": list(expected), "use-regex": "true"}).policy.include_tags == expected
    globs = files.load({"use_regex": True}, {"include-tags": "a*,b*", "use-regex": "false"}).policy
    assert (globs.include_tags, globs.use_regex) == (("a*", "b*"), False)


def test_where_nobody_can_tell_what_patterns_are_only_that_is_told(files: Files) -> None:
    assert set(files.problems({"use_regex": "perhaps", "include_tags": ["v{1,3}", "(x"]})) == {"use_regex"}
    assert set(files.problems({"include_tags": ["v{1,3}"]}, {"use-regex": "perhaps"})) == {"use-regex"}


@pytest.mark.parametrize("key", ["repositories", "include_tags", "exclude_tags"])
@pytest.mark.parametrize(
    ("pattern", "seen"),
    [
        ("(?!v).*", "'(?!v).*' is no regular expression of RE2: invalid perl operator: (?!."),
        ("(a)\\1", "is no regular expression of RE2: invalid escape sequence: \\1."),
        ("(a", "'(a' is no regular expression of RE2: missing ): (a."),
        ("*-keep", "'*-keep' looks like a glob, and use_regex is true."),
        ("release-*", "'release-*' looks like a glob, and use_regex is true."),
        ("v1*", "'v1*' looks like a glob, and use_regex is true."),
        ("team/*/api", "'team/*/api' looks like a glob, and use_regex is true."),
        ("v1.*,v2.*", "'v1.*,v2.*' holds a comma, and no name does."),
        ("v1 v2", "'v1 v2' holds a space, and no name does."),
        ("\ud800", "is no regular expression of RE2: it is not a Unicode text."),
    ],
)
def test_a_pattern_that_is_no_regular_expression_or_protects_nothing_is_refused(
    files: Files, key: str, pattern: str, seen: str
) -> None:
    """A glob or a list among regular expressions would be taken, match no tag, and keep none of those it was written for."""
    for written in (pattern,) if key == "exclude_tags" else (pattern, f"!{pattern}"):
        problem = files.problems({key: ["v.*", written], "use_regex": True})[key]
        assert seen.split("' ", 1)[-1] in problem.seen
        assert len(problem.seen) < 200
    if "RE2" in seen:
        assert "no look-arounds and no back references" in problem.remedy


@pytest.mark.parametrize(
    "pattern", ["*", ".*", r"\d*", r"v\d+(-rc)*", "[a-z]*", "(v)*", r"\w*-x", "v1|v2", "a{2,}", "(?i)V1", "x-.*"]
)
def test_ordinary_regular_expressions_are_not_taken_for_globs(files: Files, pattern: str) -> None:
    policy = files.load({"exclude_tags": [pattern], "include_tags": [pattern], "use_regex": True}).policy
    assert (policy.use_regex, policy.include_tags, policy.exclude_tags) == (True, (pattern,), ("latest", pattern))


@pytest.mark.parametrize(
    ("exclude", "include", "expected"),
    [
        (None, None, ("latest",)),
        (None, [".*", "l.*"], ("latest",)),
        (None, ["late(st)"], ("latest",)),
        (None, ["latest", "v.*"], ()),
        (None, ["!latest"], ("latest",)),
        ([], None, ()),
        (["v.*"], None, ("latest", "v.*")),
        (["latest"], None, ("latest",)),
    ],
)
def test_latest_goes_only_when_asked_for_by_its_own_name_among_regular_expressions_too(
    files: Files, exclude: object, include: object, expected: tuple[str, ...]
) -> None:
    options = {"exclude_tags": exclude, "include_tags": include, "use_regex": True}
    assert files.load(options).policy.exclude_tags == expected


def test_the_newest_are_grouped_by_one_group(files: Files) -> None:
    policy = files.load({"keep_last": 2}, {"keep-last-by": " ^(dev|main)-(?:x{1,2}) "}).policy
    assert (policy.keep_last, policy.keep_last_by, policy.use_regex) == (2, "^(dev|main)-(?:x{1,2})", False)
    assert files.load({"keep_last": 2, "keep_last_by": "(?P<branch>[a-z]+)"}).policy.keep_last_by


@pytest.mark.parametrize(
    ("pattern", "seen"),
    [
        ("^dev-", "'^dev-' has no group, and keep_last_by needs exactly one."),
        ("(?:dev)", "'(?:dev)' has no group, and keep_last_by needs exactly one."),
        ("(a)-(b)", "'(a)-(b)' has 2 groups, and keep_last_by needs exactly one."),
        ("(a(b))", "'(a(b))' has 2 groups, and keep_last_by needs exactly one."),
        ("(dev(?=-))", "'(dev(?=-))' is no regular expression of RE2: invalid perl operator: (?=."),
        ("(dev", "'(dev' is no regular expression of RE2: missing ): (dev."),
    ],
)
def test_what_cannot_group_tags_is_refused(files: Files, pattern: str, seen: str) -> None:
    assert files.problems({"keep_last": 1, "keep_last_by": pattern})["keep_last_by"].seen == seen
    assert files.problems({"keep_last": 1}, {"keep-last-by": pattern})["keep-last-by"].seen == seen


def test_a_grouping_that_keeps_nothing_is_a_problem(files: Files) -> None:
    """Whoever writes it believes that something stays."""
    for more in ({}, {"keep_last": 0}):
        problems = files.problems({"keep_last_by": "(dev)", **more})
        assert problems["keep_last_by"].seen == "It is given, but keep_last is 0: no tag would stay for it."
    assert set(files.problems({"keep_last_by": "(dev)", "keep_last": "x"})) == {"keep_last"}
    assert set(files.problems({"keep_last_by": "(dev)"}, {"keep-last": "x"})) == {"keep-last"}


@pytest.mark.parametrize("text", ["3/8", " 3 / 8 ", "03/8", "3\t/ 8\n"])
def test_a_part_is_written_as_one_of_how_many(text: str) -> None:
    assert as_shard(text) == Shard(3, 8)


def test_a_part_of_an_input_outranks_that_of_the_file_and_one_of_one_is_all(files: Files) -> None:
    assert files.load({"shard": "2/8"}, {"shard": "1000/1000"}).policy.shard == Shard(1000, 1000)
    assert files.load({"shard": "2/8"}, {"shard": " "}).policy.shard == Shard(2, 8)
    assert files.load({"shard": "2/8"}, {"shard": "1/1"}).policy == files.load({"shard": None}).policy
    assert files.problems({"shard": "9/8"})["shard"].seen == "'9/8' is none of 8 parts."


_HOW = "Write the number of the part, a slash and how many there are: 3/8 is the third of eight."


@pytest.mark.parametrize(
    ("text", "seen", "remedy"),
    [
        ("0/8", "'0/8' is none of 8 parts.", "They are numbered from 1 to 8: write 1/8 to 8/8."),
        ("9/8", "'9/8' is none of 8 parts.", "They are numbered from 1 to 8: write 1/8 to 8/8."),
        ("3", "'3' does not name a part.", _HOW),
        ("a/b", "'a/b' does not name a part.", _HOW),
        ("3/8/2", "'3/8/2' does not name a part.", _HOW),
        ("-1/8", "'-1/8' does not name a part.", _HOW),
        ("٣/٨", "'٣/٨' does not name a part.", _HOW),
        ("3/0", "'3/0' divides the registry into no parts.", _HOW),
        ("1/1001", "'1/1001' divides the registry into 1001 parts, and 1000 are the most.", _HOW),
        (f"1/{10**17}", f"'1/{10**17}' divides the registry into {10**17} parts, and 1000 are the most.", _HOW),
        ("1/" + "9" * 5000, f"{shown('1/' + '9' * 5000)} does not name a part.", _HOW),
    ],
)
def test_what_names_no_part_is_told_with_what_would(text: str, seen: str, remedy: str) -> None:
    """A run that took a misspelt part for all of them would delete what nobody asked of it."""
    with pytest.raises(Wrong) as caught:
        as_shard(text)
    assert (caught.value.seen, caught.value.remedy) == (seen, remedy)


@pytest.mark.parametrize(("written", "deletions"), [(0, None), (None, None), ("0", None), (1, 1), ("12", 12)])
def test_zero_or_null_deletions_mean_no_limit(files: Files, written: object, deletions: int | None) -> None:
    assert files.load({"max_deletions": written}).limits == Limits(deletions=deletions)
    if written is not None:
        assert files.load(None, {"max-deletions": str(written)}).limits == Limits(deletions=deletions)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("2d3h6m", timedelta(days=2, hours=3, minutes=6)),
        ("6w", timedelta(weeks=6)),
        ("30", timedelta(days=30)),
        (" 30 ", timedelta(days=30)),
        ("1.5", timedelta(hours=36)),
        ("0h6m", timedelta(minutes=6)),
        ("0", timedelta()),
        ("0d", timedelta()),
        ("0w0d0h0m", timedelta()),
        ("0.0", timedelta()),
        ("007d", timedelta(days=7)),
        ("0" * 5000 + "7d", timedelta(days=7)),
        ("1w2d3h4m", timedelta(days=9, hours=3, minutes=4)),
        ("1h90m", timedelta(minutes=150)),
        ("\t30d\n", timedelta(days=30)),
        ("36525", timedelta(days=36525)),
        ("36525d", timedelta(days=36525)),
        ("5217w6d", timedelta(days=36525)),
        ("876600h", timedelta(days=36525)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", " ", "d", "30 days", "30D", "3h2d", "1d1d", "-1", "-30d", "+1", "6m", "1e5", "nan", "inf", "36526", "101y", "36526d",
     "9" * 400, "9" * 400 + "d", "30d\n::error::", "1,5", "P30D", "30 d", "2d 3h", "1.5d", "0.5h", ".5", "1.", "6W", "12H", "2D3H",
     "2m3h", "0m", "1y", "30s", "1mo", "36525.1", "5218w", "876601h", "36525d0h1m", "9" * 5000, "9" * 5000 + "d", "３０d", "３０"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A lone `6m` too: who means months would lose what is older than minutes."""
    with pytest.raises(Wrong) as caught:
        parse_duration(text)
    assert len(caught.value.seen) < 140
    assert "\n" not in caught.value.seen


@pytest.mark.parametrize(
    "text", ["36525d0h1m", "36526d", "101000w", "876601h", "40000", "1e9".replace("e", "0" * 9), "9" * 5000 + "h"]
)
def test_more_than_a_hundred_years_is_told_as_that(text: str) -> None:
    """Whoever writes it means something else; a lone number may be a year."""
    with pytest.raises(Wrong, match="more than 100 years"):
        parse_duration(text)


@given(st.integers(0, 36500), st.integers(0, 23), st.integers(0, 59))
def test_a_duration_is_read_as_reports_write_it(days: int, hours: int, minutes: int) -> None:
    duration = timedelta(days=days, hours=hours, minutes=minutes)
    text = describe_duration(duration)
    assert parse_duration(text if days or hours or not minutes else f"0h{text}") == duration


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("contoso.azurecr.io", "contoso.azurecr.io"),
        ("https://contoso.azurecr.io/", "contoso.azurecr.io"),
        ("HTTPS://Contoso.AzureCR.io:443", "contoso.azurecr.io"),
        ("contoso", "contoso"),
        ("Contoso", "contoso"),
        ("localhost:5000", "localhost:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_registry_urls(text: str, host: str) -> None:
    assert parse_registry_url(text) == host


@pytest.mark.parametrize(
    "text",
    ["", "https://", "http://contoso.azurecr.io", "contoso.azurecr.io/shop", "a@b.azurecr.io", "contoso.azurecr.io?x", "ftp://x.io",
     "con toso.azurecr.io", "contoso.azurecr.io:99999", "contoso.azurecr.io:", "abc", "https://contoso.azurecr.io//",
     "contoso..azurecr.io"],
)  # fmt: skip
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        parse_registry_url(text)


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
def test_clouds_are_named_as_azure_and_as_terraform_name_them(files: Files, name: str, cloud: str) -> None:
    registry = {"container_registry": {"url": "contoso"}}
    settings = files.load(registry, ARM_ENVIRONMENT=name)
    assert settings.cloud == CLOUDS[cloud]
    assert settings.registry.login_server == f"contoso.{CLOUDS[cloud].registry_suffix}"


def test_the_authority_of_the_environment_is_honoured_unless_the_file_names_one(files: Files) -> None:
    cloud = files.load(AZURE_AUTHORITY_HOST="login.example/", ARM_ENVIRONMENT="china").cloud
    assert (cloud.authority, cloud.resource_manager) == ("https://login.example", "https://management.chinacloudapi.cn")
    named = files.load({"cloud": {"authority": "https://localhost:4433"}}, AZURE_AUTHORITY_HOST="login.example").cloud
    assert named.authority == "https://localhost:4433"


# -- the published forms ---------------------------------------------------------------------------------------


def test_the_schema_describes_every_key() -> None:
    published = schema()
    jsonschema.Draft202012Validator.check_schema(published)
    forms = [published, *published["$defs"].values()]
    for form in forms:
        assert form["additionalProperties"] is False
        for key, described in form["properties"].items():
            assert described.get("description", "").endswith("."), key


def test_the_schema_accepts_what_the_settings_accept(files: Files) -> None:
    published = jsonschema.Draft202012Validator(schema())
    published.validate(json.loads(FIRST_USERS_FILE))
    for wrong in ({"older-than": 30}, {"kubernetes_clusters": {"a": {"name": "x"}}}, {"concurrency": 33}):
        with pytest.raises(jsonschema.ValidationError):
            published.validate({**json.loads(FIRST_USERS_FILE), **wrong})
        files.problems(wrong)


def test_the_defaults_in_the_table_are_those_of_the_settings(files: Files) -> None:
    """Read as if somebody had written each of them."""
    written = {each.key: each.default for each in INPUTS if each.in_file and each.default}
    assert files.load(written) == files.load()


def test_the_table_of_inputs_is_complete() -> None:
    keys = {each.key for each in INPUTS if each.in_file}
    assert keys == set(schema()["properties"]) - {"kubernetes_clusters", "container_registry", "cloud", "$schema"}
    for each in INPUTS:
        assert each.description.endswith(".")
        assert (each.kind is Kind.CHOICE) == bool(each.choices)
        assert each.default in each.choices or each.kind is not Kind.CHOICE


def test_reading_the_settings_loads_no_sdk() -> None:
    """A wrong configuration is told at once; the SDKs take seconds to import."""
    code = (
        "import sys, acr_cleanup.settings;"
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'kubernetes', 'aiohttp', 'msal')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


# -- the inputs of a pipeline ----------------------------------------------------------------------------------

CLIENT, TENANT = "22222222-2222-2222-2222-222222222222", "11111111-1111-1111-1111-111111111111"
LOGIN = {"auth-type": "oidc", "client-id": CLIENT, "tenant-id": TENANT}


def test_a_default_that_a_file_could_overrule_is_not_declared_to_the_pipeline() -> None:
    """It would arrive like an input that somebody wrote, and outrank the file."""
    for each in INPUTS:
        assert not (each.in_file and each.action_default)
    declared = {each.name: each.action_default for each in INPUTS if each.action_default}
    assert declared == {
        "dry-run": "true", "auth-type": "oidc", "audience": "api://AzureADTokenExchange", "summary": "true"
    }  # fmt: skip


def test_remarks_among_the_items_of_a_list_are_left_out(files: Files) -> None:
    assert files.load(None, {"repositories": "# ours, and theirs\na\n  # more\nb,c"}).policy.repositories == (
        "a",
        "b",
        "c",
    )


def test_a_pipeline_deletes_only_when_told_to(files: Files) -> None:
    assert files.load().dry_run
    for text, meant in (("true", True), ("TRUE", True), ("", True), ("false", False), ("False", False)):
        assert files.load(None, {"dry-run": text}).dry_run is meant
    for text in ("no", "0", "off", "fasle"):
        assert "dry-run" in files.problems(None, {"dry-run": text})


def test_the_login_of_a_pipeline_is_what_it_chose(files: Files) -> None:
    assert files.load(None, LOGIN).login == LoginChoice(AuthType.OIDC, CLIENT, TENANT)
    by_environment = files.load(None, {"auth-type": "oidc"}, AZURE_CLIENT_ID=CLIENT, AZURE_TENANT_ID=TENANT)
    assert by_environment.login == LoginChoice(AuthType.OIDC, CLIENT, TENANT)
    assert files.load(None, {"auth-type": "managed-identity"}).login == LoginChoice(AuthType.MANAGED_IDENTITY)
    assert files.load(None, LOGIN | {"audience": "api://China"}).login.audience == "api://China"
    assert files.load().login == LoginChoice()


def test_a_login_without_its_ids_is_told_with_the_other_mistakes(files: Files) -> None:
    found = files.problems({"keep_last": "x"}, {"auth-type": "oidc", "client-id": "hunter2"})
    assert found.keys() == {"keep_last", "client-id", "tenant-id"}
    assert "hunter2" not in str(found["client-id"])
    assert files.problems(None, {"auth-type": "oicd"}).keys() == {"auth-type"}


def test_what_makes_a_run_fail_is_a_list(files: Files) -> None:
    assert files.load().fail_on == {FailOn.DELETE_ERRORS}
    assert files.load(None, {"fail-on": "warnings, planned-deletions"}).fail_on == {
        FailOn.WARNINGS, FailOn.PLANNED_DELETIONS
    }  # fmt: skip
    assert files.load({"fail_on": ["none"]}).fail_on == {FailOn.NONE}
    assert files.load({"fail_on": "none"}, {"fail-on": "warnings"}).fail_on == {FailOn.WARNINGS}
    assert "none" in files.problems(None, {"fail-on": "none,warnings"})["fail-on"].seen
    assert "Did you mean warnings?" in files.problems({"fail_on": "warning"})["fail_on"].seen


def test_an_unknown_input_is_named_with_the_nearest_known_one() -> None:
    told = unknown_inputs(["older-than", "OLDER_THAN", "exclude-tag", "\n::x"])
    assert len(told) == 3
    assert any("'exclude-tag'" in each and "Did you mean exclude-tags?" in each for each in told)
    assert any("'OLDER_THAN'" in each and "Did you mean older-than?" in each for each in told)
    assert not any("\n" in each for each in told)


def test_a_misspelt_key_is_one_problem_not_also_a_missing_one(tmp_path: Path) -> None:
    """Five mistakes get five messages."""
    path = tmp_path / "acr-cleanup.yaml"
    path.write_text(
        "kubernetes_clusters:\n"
        f"  production: {{name: aks-prod, subscripton_id: {SUBSCRIPTION}, resource_group: rg}}\n"
        f"  west: {{subscription_id: {SUBSCRIPTION}, resource_group: rg}}\n"
        "container_registry: {url: contoso.azurecr.io}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError) as raised:
        load_settings(path, {}, {})

    assert {problem.path for problem in raised.value.problems} == {
        "kubernetes_clusters.production.subscripton_id",
        "kubernetes_clusters.west.name",
    }
