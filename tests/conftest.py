"""
Applied to every test: an environment without variables of the caller, and recordings that must not
be skipped if they are required.
"""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Generator

import coverage
import hypothesis
import pytest

# No deadline: how long an example takes depends on the load of the machine.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None, print_blob=True)
hypothesis.settings.load_profile("fixed")

FIXED_EXAMPLES = 40
"""
The same examples show the same in every run, so `make test` tries few of them. With random examples,
as in `make test-all`, a property has the number that it asks for.
"""

# `nohup make test` ignores SIGHUP in every process that it starts; tests send it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Without these variables, tests give the same result in CI and with the login of a user.
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
    """
    Do not read the authorities of the system: tests connect to the emulator only, and reading them
    takes 50 ms in each run.
    """
    monkeypatch.setattr("acr_cleanup.access.network._system_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limit the examples of properties in `make test`, but not those with a number of their own."""
    if not hypothesis.settings().derandomize:
        return
    for item in items:
        test = getattr(item, "obj", None)
        if not hypothesis.is_hypothesis_test(test) or item.get_closest_marker("extended") or "fuzz" in item.path.parts:
            continue
        wanted = getattr(test, "_hypothesis_internal_use_settings", None) or hypothesis.settings()
        if wanted.max_examples > FIXED_EXAMPLES:
            test._hypothesis_internal_use_settings = hypothesis.settings(wanted, max_examples=FIXED_EXAMPLES)  # type: ignore[union-attr]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    """
    Stop coverage in tests marked `untraced`, which run the same lines many times.

    Up to Python 3.13, measuring branches slows down every library: such tests take two thirds
    longer.
    """
    stopped = []
    if item.get_closest_marker("untraced") is not None:
        # A worker of pytest-xdist has two tracers: after one is stopped, the other still runs.
        while (tracer := coverage.Coverage.current()) is not None:
            tracer.stop()
            stopped.append(tracer)
    yield
    for tracer in reversed(stopped):
        tracer.start()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, None, None]:
    """Report a skipped test of recordings as failed if recordings are required, as in CI."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    required = _REQUIRED and item.get_closest_marker("recordings") is not None
    if required and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but ACR_CLEANUP_REQUIRE_RECORDINGS is set: {report.longrepr}"


_REQUIRED = bool(os.environ.get("ACR_CLEANUP_REQUIRE_RECORDINGS"))
