"""
How tests run on changed code: plain tests before property tests, property tests with few and fixed
examples, and a limit on memory.
"""

from __future__ import annotations

import os
import resource
import sys

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
    # Results that the unchanged code has cached would hide the change.
    for name, module in list(sys.modules.items()):
        if name.startswith("acr_cleanup."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        test = getattr(item, "obj", None)
        if hypothesis.is_hypothesis_test(test):
            wanted = getattr(test, "_hypothesis_internal_use_settings", None) or settings()
            if wanted.max_examples > EXAMPLES:
                test._hypothesis_internal_use_settings = settings(wanted, max_examples=EXAMPLES)  # type: ignore[union-attr]
    # `acr_cleanup.core.planning.x__all_kept__mutmut_3` is most likely noticed by test_planning.py.
    changed = os.environ.get("MUTANT_UNDER_TEST", "").rpartition(".")[0].rpartition(".")[2]
    items.sort(
        key=lambda item: (
            hypothesis.is_hypothesis_test(getattr(item, "obj", None)),
            item.path.stem != f"test_{changed}",
            item.nodeid,
        )
    )
