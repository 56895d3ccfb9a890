"""
Runs the tests of a change in a fork of a process that has collected all tests: pytest starts and
collects once, not once for each change.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from mutmut.runners.harness import PytestRunner
from mutmut.utils.file_utils import change_cwd
from mutmut.workers import isolation


class CollectedTests(PytestRunner):  # type: ignore[misc]
    """Runs tests that are collected already, if there are any, until one fails."""

    session: pytest.Session | None = None

    def warm_up(self) -> None:
        """Nothing: `CollectingServer` has collected the tests."""

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        if (session := CollectedTests.session) is None:
            return int(super().run_tests(mutant_name=mutant_name, tests=tests))
        items = {item.nodeid: item for item in session.items}
        session.items = [items[test] for test in tests if test in items]
        for function in caches():
            function.cache_clear()
        with change_cwd("mutants"):
            try:
                session.config.hook.pytest_runtestloop(session=session)
            except (session.Failed, session.Interrupted):
                return 1
        return int(bool(session.testsfailed))


class CollectingServer(isolation.ForkServerRunner):  # type: ignore[misc]
    """A fork server inside of pytest's own loop over the collected tests."""

    def _forkserver_main(self, work_fd: int, result_fd: int) -> None:
        serve = super()._forkserver_main

        class Loop:
            def pytest_runtestloop(self, session: pytest.Session) -> bool:
                os.chdir("..")
                session.config.pluginmanager.unregister(self)
                CollectedTests.session = session
                gc.freeze()  # a fork then copies less memory
                serve(work_fd, result_fd)
                return True

        runner = CollectedTests()
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the process ends
        os.chdir("mutants")
        # The reason for a failure is not shown, and the comparison of two large values takes seconds.
        options = ["--rootdir=.", "-x", "-qqq", "--tb=no", "--assert=plain"]
        tests = runner._pytest_add_cli_args_test_selection
        pytest.main([*options, *tests, *runner._pytest_add_cli_args], plugins=[Loop()])


def use() -> None:
    """Make mutmut run tests in this way."""
    isolation.PytestRunner = CollectedTests
    isolation.ForkServerRunner = CollectingServer


def caches() -> Iterable[Any]:
    """Yield the cached functions of the package: results of the unchanged code would hide a change."""
    for name, module in list(sys.modules.items()):
        if name.startswith("acr_cleanup."):
            yield from (value for value in list(vars(module).values()) if hasattr(value, "cache_clear"))
