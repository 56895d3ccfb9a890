"""Damaged configuration files and inputs: settings, or a list of all problems."""

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
from acr_cleanup.settings import OPTIONS, Settings
from acr_cleanup.settings.load import load_settings
from tests.helpers.damaged_documents import as_json, bounded_time, damaged, damaged_bytes, fuzz_test, texts

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
INPUT_VALUES: dict[str, str] = {
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
NAMES = [option.name for option in OPTIONS]


def load(
    content: bytes, suffix: str, inputs: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Settings | None:
    """
    The settings, or None if they are rejected: each problem then has a place, a message and a
    remedy.
    """
    with tempfile.TemporaryDirectory(prefix="acr-cleanup-fuzz-") as folder, bounded_time():
        path = Path(folder, f"config{suffix}")
        path.write_bytes(content)
        try:
            return load_settings(path if content else None, inputs, environ or {})
        except ConfigurationError as error:
            assert error.problems
            for problem in error.problems:
                assert problem.path
                assert problem.remedy
                assert problem.seen
                assert "\n" not in problem.seen + problem.path
                assert "pydantic" not in problem.seen + problem.remedy
            return None


def check_safe(settings: Settings, wanted: object) -> None:
    """Check what no mistake may cause: there are clusters, and `latest` is kept unless named."""
    assert settings.clusters
    assert settings.policy.older_than.total_seconds() >= 0
    assert settings.concurrency >= 1
    assert settings.cloud.authority.startswith("https://")
    assert settings.cloud.resource_manager.startswith("https://")
    if DEFAULT_TAG not in json.dumps(wanted) and settings.policy.exclude_tags == ():
        # Only an explicitly empty list excludes no tag.
        assert "exclude" in json.dumps(wanted)


def test_undamaged_documents_are_valid() -> None:
    assert load(as_json(FILE), ".json", {}) is not None
    assert load(b"", "", INPUT_VALUES) is not None


@fuzz_test
@given(damaged(FILE), st.booleans())
def test_damaged_file_is_read_or_all_problems_reported(tree: Any, as_yaml: bool) -> None:
    if as_yaml:
        try:
            content = yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
        except (RecursionError, UnicodeError, yaml.YAMLError):
            return
    else:
        content = as_json(tree)
    settings = load(content, ".yaml" if as_yaml else ".json", {})
    if settings is not None:
        assert settings.dry_run, "a file alone never enables deletion"
        check_safe(settings, tree)


@fuzz_test
@given(
    damaged_bytes(as_json(FILE)) | damaged_bytes(yaml.safe_dump(FILE).encode()), st.sampled_from([".json", ".yaml", ""])
)
def test_file_with_damaged_bytes_is_read_or_reported(content: bytes, suffix: str) -> None:
    load(content, suffix, {})


@fuzz_test
@given(damaged(INPUT_VALUES, most=4), st.dictionaries(st.sampled_from(NAMES), texts, max_size=2))
def test_damaged_inputs_are_read_or_all_problems_reported(tree: Any, more: dict[str, str]) -> None:
    # Unknown inputs never get here: a pipeline warns about them, the command line rejects them.
    inputs = {key: str(value) for key, value in tree.items() if key in NAMES} if isinstance(tree, dict) else {}
    settings = load(b"", "", inputs | more)
    if settings is not None:
        if not settings.dry_run:
            assert any(name.strip().lower().replace("_", "-") == "dry-run" for name in inputs | more)
        check_safe(settings, inputs | more)


@fuzz_test
@given(
    st.dictionaries(
        st.sampled_from(
            ["ARM_ENVIRONMENT", "AZURE_AUTHORITY_HOST", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "AZURE_CLIENT_ID"]
        ),
        texts,
    )
)
def test_any_environment_is_read_or_reported(environ: dict[str, str]) -> None:
    # An environment variable cannot contain these.
    environ = {name: value.replace("\x00", "").encode(errors="ignore").decode() for name, value in environ.items()}
    settings = load(b"", "", INPUT_VALUES, environ)
    if settings is not None:
        check_safe(settings, INPUT_VALUES)
