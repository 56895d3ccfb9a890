"""Configuration files and inputs: whatever stands in them, there are settings or a list of what is wrong."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core.references import DEFAULT_TAG
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.settings import INPUTS, Settings, load_settings
from tests.helpers.damaged_documents import dumped, law, prompt, spoilt, spoilt_bytes, texts

pytestmark = pytest.mark.untraced

GUID = "00000000-0000-0000-0000-000000000000"
ID = f"/subscriptions/{GUID}/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks"
FILE: dict[str, Any] = {
    "kubernetes_clusters": {
        "one": {"name": "aks-1", "subscription_id": GUID, "resource_group": "rg", "access": "run-command"},
        "two": {"resource_id": f"{ID}-2"},
        "three": {"kubeconfig": __file__, "context": "admin"},
        "four": {"snapshot": "usage.json", "max_age": "6h", "resource_id": f"{ID}-4"},
    },
    "container_registry": {
        "url": "https://contoso.azurecr.io/",
        "aliases": ["images.contoso.com"],
        "subscription_id": GUID,
    },
    "cloud": {
        "authority": "https://login.example",
        "resource_manager": "https://arm.example",
        "audience": "https://acr.example",
    },
    "older_than": "6w",
    "scope": "referenced",
    "repositories": ["team/*", "!team/x"],
    "include_tags": ["v*"],
    "exclude_tags": ["release-*", "1.10"],
    "keep_last": 5,
    "keep_last_by": "^(dev|main)-",
    "max_deletions": 7,
    "max_deletion_percent": 12.5,
    "use_regex": False,
    "delete_untagged": True,
    "include_locked": False,
    "helm_history": 3,
    "waive": [{"cluster": "one", "kind": "rollouts.argoproj.io"}, "two: pods"],
    "plan_max_age": "7d",
    "fail_on": ["warnings"],
    "report_dir": "out",
    "log_level": "debug",
    "concurrency": 4,
    "subscriptions": [GUID],
    "environment": "azurecloud",
}
GIVEN: dict[str, str] = {
    "older-than": "2d3h",
    "registry": "contoso",
    "clusters": ID,
    "scope": "all",
    "repositories": "a/*\n!a/b",
    "exclude-tags": "v*, w*",
    "keep-last": "3",
    "max-deletions": "0",
    "max-deletion-percent": "5%",
    "dry-run": "true",
    "client-id": GUID,
    "tenant-id": "contoso.com",
    "auth-type": "oidc",
    "fail-on": "none",
    "log-level": "info",
    "concurrency": "8",
    "report-dir": "r",
    "waive": "aks: pods",
    "use-regex": "false",
    "summary": "false",
    "helm-history": "2",
    "environment": "AzureCloud",
    "audience": "api://x",
}
NAMES = [each.name for each in INPUTS]


def loaded(
    content: bytes, suffix: str, given_: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Settings | None:
    """The settings, or None where something is wrong: then every problem has a place, what was seen, and what to do."""
    with tempfile.TemporaryDirectory(prefix="acr-cleanup-fuzz-") as folder, prompt():
        path = Path(folder, f"config{suffix}")
        path.write_bytes(content)
        try:
            return load_settings(path if content else None, given_, environ or {})
        except ConfigurationError as error:
            assert error.problems
            for problem in error.problems:
                assert problem.path
                assert problem.remedy
                assert problem.seen
                assert "\n" not in problem.seen + problem.path
                assert "pydantic" not in problem.seen + problem.remedy
            return None


def safe(settings: Settings, wanted: object) -> None:
    """What no mistake may bring about: there is something to protect, and `latest` stays unless it is named."""
    assert settings.clusters
    assert settings.policy.older_than.total_seconds() >= 0
    assert settings.concurrency >= 1
    assert settings.cloud.authority.startswith("https://")
    assert settings.cloud.resource_manager.startswith("https://")
    if DEFAULT_TAG not in json.dumps(wanted) and settings.policy.exclude_tags == ():
        # Only an explicitly empty list says that nothing at all is excluded.
        assert "exclude" in json.dumps(wanted)


def test_the_documents_that_are_spoilt_here_are_valid() -> None:
    assert loaded(dumped(FILE), ".json", {}) is not None
    assert loaded(b"", "", GIVEN) is not None


@law
@given(spoilt(FILE), st.booleans())
def test_a_spoilt_file_is_read_or_every_problem_of_it_is_told(tree: Any, as_yaml: bool) -> None:
    if as_yaml:
        try:
            content = yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
        except (RecursionError, UnicodeError, yaml.YAMLError):
            return
    else:
        content = dumped(tree)
    settings = loaded(content, ".yaml" if as_yaml else ".json", {})
    if settings is not None:
        assert settings.dry_run, "a file alone never says that something is deleted"
        safe(settings, tree)


@law
@given(
    spoilt_bytes(dumped(FILE)) | spoilt_bytes(yaml.safe_dump(FILE).encode()), st.sampled_from([".json", ".yaml", ""])
)
def test_a_damaged_file_is_read_or_told_of(content: bytes, suffix: str) -> None:
    loaded(content, suffix, {})


@law
@given(spoilt(GIVEN, most=4), st.dictionaries(st.sampled_from(NAMES), texts, max_size=2))
def test_spoilt_inputs_are_read_or_every_problem_of_them_is_told(tree: Any, more: dict[str, str]) -> None:
    # Nobody can give an input that there is not: a pipeline warns of it, the command line refuses it.
    given_ = {key: str(value) for key, value in tree.items() if key in NAMES} if isinstance(tree, dict) else {}
    settings = loaded(b"", "", given_ | more)
    if settings is not None:
        if not settings.dry_run:
            assert any(name.strip().lower().replace("_", "-") == "dry-run" for name in given_ | more)
        safe(settings, given_ | more)


@law
@given(
    st.dictionaries(
        st.sampled_from(
            ["ARM_ENVIRONMENT", "AZURE_AUTHORITY_HOST", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "AZURE_CLIENT_ID"]
        ),
        texts,
    )
)
def test_any_environment_is_read_or_its_problems_are_told(environ: dict[str, str]) -> None:
    # No variable of a process holds these.
    environ = {name: value.replace("\x00", "").encode(errors="ignore").decode() for name, value in environ.items()}
    settings = loaded(b"", "", GIVEN, environ)
    if settings is not None:
        safe(settings, GIVEN)
