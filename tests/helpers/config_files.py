"""Write a configuration file, load it, and collect the problems in it by their place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.clusters.targets import AksCluster
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.settings import Settings
from acr_cleanup.settings.load import load_settings

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
FIRST_USERS_FILE = """{
  "kubernetes_clusters": {
    "production": {"name": "aks-prod", "subscription_id": "%s", "resource_group": "rg-prod"}
  },
  "container_registry": {"url": "contoso.azurecr.io", "subscription_id": "%s", "resource_group": "rg-acr"}
}
""".replace("%s", SUBSCRIPTION)
PRODUCTION = AksCluster("production", "aks-prod", SUBSCRIPTION, "rg-prod")

Overrides = Mapping[str, str | Sequence[str] | None]


def resource_id(group: str, name: str) -> str:
    """Return the resource id of an AKS cluster in `SUBSCRIPTION`."""
    provider = "providers/Microsoft.ContainerService/managedClusters"
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/{provider}/{name}"


class ConfigFiles:
    """Configuration files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "config.json") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def load(
        self, more: Mapping[str, Any] | None = None, overrides: Overrides | None = None, **environ: str
    ) -> Settings:
        """Load the first users' file with these additional keys."""
        tree = {**json.loads(FIRST_USERS_FILE), **(more or {})}
        return load_settings(self.write(json.dumps(tree)), overrides or {}, environ)

    def problems(
        self, more: Mapping[str, Any] | None = None, overrides: Overrides | None = None, **environ: str
    ) -> dict[str, Problem]:
        """Return the problems of the same file."""
        with pytest.raises(ConfigurationError) as caught:
            self.load(more, overrides, **environ)
        return by_path(caught.value)


def by_path(error: ConfigurationError) -> dict[str, Problem]:
    """Return the problems by place. Each must be one line of our own words, with a remedy."""
    problems = {problem.path: problem for problem in error.problems}
    assert len(problems) == len(error.problems), "two problems at one place"
    for problem in error.problems:
        for part in (problem.seen, problem.remedy):
            assert part
            assert "pydantic" not in part
            assert "\n" not in part
            assert "https://errors" not in part
    return problems
