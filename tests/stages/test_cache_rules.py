"""The cache rules of the registry."""

from __future__ import annotations

import logging

import pytest

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.stages.cache_rules import CacheRules


async def test_unknown_place_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The readers of clusters and of services ask for the rules, and later the second look."""
    caplog.set_level(logging.INFO, logger="acr_cleanup")
    azure = Azure(credential=None, make_transport=None, resource_manager="")  # type: ignore[arg-type]
    rules = CacheRules(azure, RegistryPlace(RegistryHost("contoso.azurecr.io")))

    for _ in range(3):
        assert await rules.read() is None
    assert len(caplog.messages) == 1
