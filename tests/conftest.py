"""What every test shares: a scrubbed environment, and no silent skipping of the recordings where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Generator

import coverage
import hypothesis
import pytest

# No deadline: how long an example takes depends on the load of the machine.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None, print_blob=True)
hypothesis.settings.load_profile("fixed")


# A tool that behaves differently inside CI, or with somebody's login, would make tests differ too.
_SCRUBBED = ("ACR_", "ACTIONS_", "ARM_", "AZURE_", "GITHUB_", "INPUT_", "RUNNER_", "SYSTEM_", "BUILD_")
_SCRUBBED_EXACTLY = {
    "CI",
    "COLUMNS",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "KUBECONFIG",
    "NO_COLOR",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "https_proxy",
    "http_proxy",
    "no_proxy",
}


@pytest.fixture(autouse=True)
def _scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in _SCRUBBED_EXACTLY or name.startswith(_SCRUBBED):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _emulated_authorities_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here speaks to anybody whom the system's authorities vouch for, and each run would take 50 ms to read them."""
    monkeypatch.setattr("acr_cleanup.access.network._add_system_roots", lambda _: None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    """
    Nothing is traced in tests that run the same lines again and again.

    Up to Python 3.13, tracing branches makes each line of every library slower, by two thirds in all.
    """
    stopped = []
    if item.get_closest_marker("untraced") is not None:
        # In a worker there are two: when one stops, the other goes on.
        while (tracer := coverage.Coverage.current()) is not None:
            tracer.stop()
            stopped.append(tracer)
    yield
    for tracer in reversed(stopped):
        tracer.start()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, None, None]:
    """Where the recordings must run (as in CI), a skipped test on them is a failed one."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    required = _REQUIRED and item.get_closest_marker("recordings") is not None
    if required and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but the recordings must run here: {report.longrepr}"


_REQUIRED = bool(os.environ.get("ACR_CLEANUP_REQUIRE_RECORDINGS"))
