"""
`check`: logs in, asks every part for every right that a run needs, and shows a page of the answers.

Nothing is planned or deleted. Each part is asked by the code with which a run reads it. A failed part
stops no other part.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from acr_cleanup.access.network import CA_VARIABLES, Proxies, open_network
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.commands.checks.azure import AzureChecks
from acr_cleanup.commands.connections import REFUSED, open_azure
from acr_cleanup.concurrency import Stop, gather, unless_stopped
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, IdentityError, unexpected
from acr_cleanup.quoting import quoted
from acr_cleanup.records.ledger_file import check_writable, read_ledger
from acr_cleanup.reports import markdown_failures, words
from acr_cleanup.reports.check import Check, CheckReport, Mark
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.outputs import outputs_of_failure
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import Settings

_NETWORK, _LEDGER = "Network", "Ledger"
_AT_ONCE = 4
_MOST_SKEW = 300
"""Seconds. Entra ID refuses tokens of a job whose times differ by more than five minutes."""

log = logging.getLogger("acr_cleanup")

Ask = Callable[[], Awaitable[list[Check]]]


def _now() -> datetime:
    return datetime.now(UTC)


async def check(
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    as_json: bool = False,
    dialect: Dialect = GITHUB,
    clock: Callable[[], datetime] = _now,
) -> int:
    """Show the page, and return exit code 0, or `REFUSED` if a check failed. as_json: print it as JSON."""
    stop = Stop()
    with stop.on_signals():
        try:
            asking = _ask_all(settings, runtime, environ, clock)
            report = CheckReport(settings.registry.login_server, tuple(await unless_stopped(asking, stop.event)))
        except asyncio.CancelledError:
            if not stop.event.is_set():
                raise
            text = "Cancelled. Nothing was planned or deleted."
            runtime.log(Level.WARNING, text)
            _publish(runtime, settings, "aborted", markdown_failures.render_cancelled(text, dialect))
            runtime.finish()
            return 128 + stop.received
        runtime.show(report.as_json() if as_json else report)
        for failed in (line for line in report.checks if line.mark is Mark.FAILED):
            runtime.annotate(Level.ERROR, words.plain(failed.part), f"{failed.text}\n{failed.remedy}".strip())
        _publish(runtime, settings, "aborted" if report.failed else "success", report.markdown(dialect))
        runtime.finish()
    return REFUSED if report.failed else 0


def _publish(runtime: Runtime, settings: Settings, result: str, summary: str) -> None:
    faults = [runtime.outputs(outputs_of_failure() | {"result": result})]
    if settings.summary:
        faults.append(runtime.summary(summary))
    for fault in filter(None, faults):
        runtime.annotate(Level.ERROR, "Not reported everywhere", fault)


async def _ask_all(
    settings: Settings, runtime: Runtime, environ: Mapping[str, str], clock: Callable[[], datetime]
) -> list[Check]:
    """Ask every part. The parts in Azure are asked side by side, after the login."""
    network = await _guarded(_NETWORK, partial(_network, settings, environ, clock))
    azure = await _guarded("Login", partial(_azure, settings, runtime, environ, clock))
    ledger = await _guarded(_LEDGER, partial(_ledger, settings, clock()))
    return [*network, *azure, *ledger]


async def _azure(
    settings: Settings, runtime: Runtime, environ: Mapping[str, str], clock: Callable[[], datetime]
) -> list[Check]:
    async with open_azure(settings, runtime, environ) as azure:
        checks = AzureChecks(settings, azure)
        login = await _guarded("Login", checks.login)
        parts: list[tuple[str, Ask]] = [
            ("Registry", checks.registry),
            ("Rights on the registry", checks.registry_rights),
            *((f"Cluster {target.key}", partial(checks.cluster, target)) for target in settings.clusters),
            ("Other clusters", checks.unlisted_clusters),
            ("Services of Azure", checks.services),
            ("Pull log", partial(checks.pull_log, clock())),
        ]
        refused = any(line.mark is Mark.FAILED for line in login)
        done = 0

        async def ask(part: str, question: Ask) -> list[Check]:
            nonlocal done
            answer = await _guarded(part, question, refused=refused)
            done += 1
            runtime.progress("checks", done, len(parts), part)
            return answer

        runtime.progress("checks", 0, len(parts), "")
        answers = await gather([partial(ask, *part) for part in parts], limit=_AT_ONCE)
    return [*login, *(line for answer in answers for line in answer)]


async def _guarded(part: str, question: Ask, *, refused: bool = False) -> list[Check]:
    """
    Ask, and return the failure of the part if it fails as a whole.

    refused: the login was refused, and its failure is shown already.
    """
    try:
        return await question()
    except ConfigurationError as error:
        return [
            Check(part, Mark.FAILED, f"{problem.path}: {problem.seen}", problem.remedy) for problem in error.problems
        ]
    except IdentityError as error:
        if refused:
            return [Check(part, Mark.UNKNOWN, "Not asked, because there is no token for it.")]
        return [Check(part, Mark.FAILED, _seen(error), error.remedy)]
    except ReadFailure as failure:
        return [Check(part, Mark.FAILED, f"{failure.call}: {failure.seen}", failure.remedy)]
    except AcrCleanupError as error:
        return [Check(part, Mark.FAILED, _seen(error), error.remedy)]
    except Exception as error:  # noqa: BLE001  no failure of one part stops the others
        fault = unexpected(error)
        return [Check(part, Mark.FAILED, fault.seen, fault.remedy)]


def _seen(error: AcrCleanupError) -> str:
    return f"{error.where}: {error.seen}" if error.where else error.seen


async def _network(settings: Settings, environ: Mapping[str, str], clock: Callable[[], datetime]) -> list[Check]:
    """Check the proxies, the trusted authorities, the way to the registry and the clock. Needs no login."""
    cloud, host = settings.cloud, settings.registry.login_server
    registry = f"https://{host}"
    proxies = Proxies.of(environ)
    urls = {"Entra ID": cloud.authority, "Azure Resource Manager": cloud.resource_manager, host: registry}
    ways: dict[str, list[str]] = {}
    for name, url in urls.items():
        ways.setdefault(quoted(proxies.for_url(url) or ""), []).append(name)
    lines = [
        Check(
            _NETWORK,
            Mark.OK,
            f"{words.listing(names)}: {f'through the proxy {proxy}' if proxy else 'without a proxy'}.",
        )
        for proxy, names in ways.items()
    ]
    async with open_network(environ) as network:
        files = [f"{name}={quoted(environ[name])}" for name in CA_VARIABLES if environ.get(name, "").strip()]
        trusted = f"those of the system and of {words.listing(files)}" if files else "those of the system"
        lines.append(Check(_NETWORK, Mark.OK, f"Trusted authorities: {trusted}."))
        from acr_cleanup.registry.probe import probe  # noqa: PLC0415  the SDKs are slow to import

        lines += await _guarded(_NETWORK, partial(_reached, partial(probe, network, host), clock))
    return lines


async def _reached(probe: Callable[[], Awaitable[datetime | None]], clock: Callable[[], datetime]) -> list[Check]:
    theirs = await probe()
    lines = [Check(_NETWORK, Mark.OK, "The registry answers, and its certificate is trusted.")]
    if theirs is None:
        return [*lines, Check(_NETWORK, Mark.UNKNOWN, "The answer has no date, so the clock was not compared.")]
    skew = (clock() - theirs).total_seconds()
    size = f"{words.count(round(abs(skew)), 'second')} {'ahead of' if skew > 0 else 'behind'} the registry's"
    if abs(skew) < _MOST_SKEW:
        return [*lines, Check(_NETWORK, Mark.OK, f"The clock of this machine is {size}.")]
    remedy = "Logins fail, and tags seem too old or too young. Set the clock: `sudo timedatectl set-ntp true`"
    return [*lines, Check(_NETWORK, Mark.FAILED, f"The clock of this machine is {size}.", remedy)]


async def _ledger(settings: Settings, now: datetime) -> list[Check]:
    """Read the ledger, if there is one, and check that a run can replace it."""
    if settings.ledger is None:
        return []
    ledger = await asyncio.to_thread(read_ledger, settings.ledger, settings.registry.login_server, now)
    await asyncio.to_thread(check_writable, settings.ledger)
    state = f"was written {ledger.written_at:%Y-%m-%d %H:%M} UTC" if ledger else "does not exist yet and can be created"
    return [Check(_LEDGER, Mark.OK, f"{quoted(str(settings.ledger))} {state}.")]
