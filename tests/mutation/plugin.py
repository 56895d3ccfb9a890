"""How tests run on changed code: property tests have few and fixed examples, and memory has a limit."""

from __future__ import annotations

import resource

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings

EXAMPLES = 20
MEMORY = 3 << 30
"""Bytes. A change may make a loop endless, and a list with it too large."""


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    settings.register_profile(
        "mutation",
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        # No shrinking: only whether a property fails is needed.
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        test = getattr(item, "obj", None)
        if hypothesis.is_hypothesis_test(test):
            wanted = getattr(test, "_hypothesis_internal_use_settings", None) or settings()
            if wanted.max_examples > EXAMPLES:
                test._hypothesis_internal_use_settings = settings(wanted, max_examples=EXAMPLES)  # type: ignore[union-attr]
