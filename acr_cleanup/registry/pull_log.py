"""
Reads the pulls of the registry from Log Analytics, and how far its log reaches back.

Absence from the log proves nothing unless the log is whole. So the diagnostic setting and the
oldest row are checked, and a log that cannot be read completely is a blocker.
https://learn.microsoft.com/azure/container-registry/monitor-container-registry
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from acr_cleanup.access import roles
from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, Resource, status_of
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.find_registry import find_registry
from acr_cleanup.access.read_failure import ReadFailure, unexpected
from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.access.resource_manager import open_manager
from acr_cleanup.concurrency import gather
from acr_cleanup.core.pulls import NO_PULLS, PULL_LOG, PullLog
from acr_cleanup.core.retention import describe_duration
from acr_cleanup.core.usage import SERVICES, Blocker, Outside
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted
from acr_cleanup.registry.pull_rows import PullRows
from acr_cleanup.registry.query_logs import TABLE, QueryResult, open_logs

_SETTINGS_VERSION, _WORKSPACE_VERSION = "2021-05-01-preview", "2022-10-01"
_SECONDS = 12 * 60
_AHEAD = timedelta(days=366)
"""Rows dated in the future count too: a clock may be wrong."""
_OLDEST = f"{TABLE} | summarize oldest=min(TimeGenerated)"
_PULLS = (
    f"{TABLE} | where OperationName =~ 'Pull' "
    "| summarize last=max(TimeGenerated), pulls=count(){} by Repository, Tag, Digest, Identity, UserAgent"
)
_ADDRESSES = ", addresses=make_set(CallerIpAddress, 5)"

logger = logging.getLogger("acr_cleanup")


@dataclass(frozen=True, slots=True)
class PullLogSearch:
    """
    The pulls to read.

    within: how far back pulls count.
    ignore: globs on identity or user agent; their pulls do not count.
    subscriptions: where to look for the registry, if `place` does not say it.
    waived: a log that cannot be read completely blocks nothing.
    addresses: also show the addresses of clients.
    """

    place: RegistryPlace
    within: timedelta
    ignore: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    waived: bool = False
    addresses: bool = False


async def read_pull_log(search: PullLogSearch, azure: Azure, now: datetime) -> tuple[PullLog, Outside]:
    """Return the pulls, with the blockers or the waived problems of the log. Raises only `IdentityError`."""
    reading = _Reading(search, azure, now)
    try:
        async with asyncio.timeout(_SECONDS):
            await reading.read()
    except TimeoutError:
        seen = f"the log was not read completely within {_SECONDS // 60} minutes."
        reading.failures.append(ReadFailure("read the pulls", seen, "Run again later, or shorten pulled-within."))
    log = reading.log()
    if search.waived:
        because = (f"{failure.call}: {failure.seen.rstrip('.')}" for failure in reading.failures)
        consequence = "Images that were only pulled may count as unused."
        return log, Outside(tuple(f"{SERVICES}: {PULL_LOG} is waived ({reason}). {consequence}" for reason in because))
    return log, Outside(blockers=tuple(map(reading.blocker, reading.failures)))


@dataclass
class _Reading:
    search: PullLogSearch
    azure: Azure
    now: datetime
    failures: list[ReadFailure] = field(default_factory=list)
    oldest: datetime | None = None
    rows: PullRows | None = None
    retention: int | None = None

    @property
    def since(self) -> datetime:
        return self.now - self.search.within

    def blocker(self, failure: ReadFailure) -> Blocker:
        where = f"{SERVICES}: pull log of {quoted(self.search.place.host.login_server, 80)}"
        remedy = f'{failure.remedy} Or delete without it: waive: "{SERVICES}: {PULL_LOG}".'
        return Blocker(where, failure.call, failure.seen, remedy, PULL_LOG)

    def log(self) -> PullLog:
        if self.rows is None:
            return NO_PULLS
        return PullLog.of(
            self.rows.pulls,
            since=self.since,
            reaches_back_to=self.oldest,
            counted=tuple(self.rows.counted.most_common()),
            ignored=tuple(self.rows.ignored.most_common()),
        )

    async def read(self) -> None:
        async with open_manager(self.azure) as manager:
            client = partial(Requests, manager, gate=asyncio.Semaphore(4))
            registry: Resource | None = None

            async def find() -> None:
                nonlocal registry
                registry = await self._registry(client)

            await self._guarded("find the registry", find)
            if registry is None:
                return
            id_: str = registry.id
            await gather(
                [
                    partial(self._guarded, "read the diagnostic settings", partial(self._check_settings, client, id_)),
                    partial(self._guarded, "query the logs", partial(self._query, id_)),
                ],
                limit=2,
            )
        if self.rows is not None:
            self._check_reach()

    async def _guarded(self, call: str, read: Callable[[], Any]) -> None:
        try:
            await read()
        except TimeoutError:
            raise
        except IdentityError as error:
            if not self.search.waived:
                raise
            self.failures.append(ReadFailure(call, error.seen, error.remedy))
        except ReadFailure as failure:
            self.failures.append(failure)
        except Exception as error:  # any failure: the log is not read
            logger.debug("%s failed", call, exc_info=True)
            self.failures.append(unexpected(call, error))

    # -- the registry and its setting --------------------------------------------------------------

    async def _registry(self, client: Callable[..., Requests]) -> Resource:
        place = self.search.place
        registry = await find_registry(client, place, self.search.subscriptions)
        if registry is not None:
            return registry
        seen = f"Azure shows no registry {quoted(place.host.login_server, 80)} there, so its log cannot be found."
        remedy = (
            "Set subscription_id and resource_group of `container_registry`, and grant the identity the role "
            f"{roles.LOG_READER} on the registry."
        )
        raise ReadFailure("find the registry", seen, remedy)

    async def _check_settings(self, client: Callable[..., Requests], registry: str) -> None:
        """Check that the registry sends its pulls to a workspace that exists."""
        path = f"{registry}/providers/Microsoft.Insights/diagnosticSettings"
        call = "read the diagnostic settings"
        try:
            settings = await client(registry.split("/")[2].lower()).list(path, _SETTINGS_VERSION, any_scope=True)
        except ReadFailure as failure:
            if status_of(failure) == 403:
                raise ReadFailure(
                    call, failure.seen, f"Grant it the role {roles.LOG_READER} on the registry."
                ) from failure
            raise
        sending = [setting for setting in settings if _sends_pulls(setting.body)]
        workspaces = [
            place for setting in sending if isinstance(place := first(setting.body, _WORKSPACE), str) and place
        ]
        if not workspaces:
            to = "sends them to no Log Analytics workspace" if sending else f"has no setting for {TABLE}"
            seen = f"The registry does not log its pulls: it {to}."
            remedy = (
                "Create the setting, and wait until the log is older than pulled-within: az monitor diagnostic-settings create "
                f"--name pulls --resource {quoted(registry)} --workspace WORKSPACE_ID --logs "
                f'\'[{{"category": "{TABLE}", "enabled": true}}]\''
            )
            raise ReadFailure(call, seen, remedy)
        await gather(
            [partial(self._check_workspace, client, workspace) for workspace in dict.fromkeys(workspaces)], limit=4
        )

    async def _check_workspace(self, client: Callable[..., Requests], workspace: str) -> None:
        """Read how long the workspace keeps rows. Without the right to do so, only the oldest row tells."""
        try:
            body = await client((workspace.split("/") + [""] * 3)[2].lower()).get(workspace, _WORKSPACE_VERSION)
        except ReadFailure as failure:
            if status_of(failure) != 404:
                logger.debug("the retention of the workspace is not known: %s", failure)
                return
            seen = f"The registry sends its pulls to {quoted(workspace, 200)}, which does not exist (moved or deleted)."
            remedy = "Correct the workspace in the diagnostic setting of the registry."
            raise ReadFailure("read the workspace", seen, remedy) from failure
        days = first(body, "properties.retentionInDays")
        if isinstance(days, int):
            self.retention = max(self.retention or 0, days)

    # -- the rows ----------------------------------------------------------------------------------

    async def _query(self, registry: str) -> None:
        search = self.search
        rows = PullRows(search.place.host, self.since, self.now, search.ignore)
        async with open_logs(self.azure) as ask:

            async def ask_oldest() -> None:
                self.oldest = _only_time(await ask(registry, _OLDEST, None))

            async def ask_pulls() -> None:
                query = _PULLS.format(_ADDRESSES if search.addresses else "")
                result = await ask(registry, query, (self.since, self.now + _AHEAD))
                # Pulls that are known keep, also if the answer is not whole.
                rows.add(result)
                if result.problem is not None:
                    raise result.problem

            await gather(
                [
                    partial(self._guarded, "query the oldest row", ask_oldest),
                    partial(self._guarded, "query the pulls", ask_pulls),
                ],
                limit=2,
            )
        self.rows = rows
        if rows.unplaced:
            seen = f"{rows.unplaced:,} pulls in the log name no repository, so they may be of any."
            self.failures.append(ReadFailure("read the pulls", seen, "Look at these rows in the workspace."))

    def _check_reach(self) -> None:
        if self.failures or (self.oldest is not None and self.oldest <= self.since):
            return
        within = describe_duration(self.search.within)
        keep = ""
        if self.retention is not None and timedelta(days=self.retention) <= self.search.within:
            keep = f" The workspace keeps rows for {self.retention} days: raise its retention above {within}."
        if self.oldest is None:
            seen, remedy = (
                "The log has no row of this registry yet.",
                f"Wait until it is older than pulled-within ({within}).",
            )
        else:
            days = max(0, (self.now - self.oldest).days)
            until = f"{self.oldest + self.search.within:%Y-%m-%d}"
            seen = f"The log reaches back to {self.oldest:%Y-%m-%d} only ({days} days), and pulled-within is {within}."
            remedy = f"Wait until {until}, or set pulled-within to at most {days}d."
        self.failures.append(ReadFailure("check how far the log reaches back", seen, f"{remedy}{keep}"))


_WORKSPACE = "properties.workspaceId"


def _sends_pulls(setting: dict[str, Any]) -> bool:
    logs = first(setting, "properties.logs")
    return any(_is_log_of_pulls(log) for log in (logs if isinstance(logs, list) else ()))


def _is_log_of_pulls(log: Any) -> bool:
    if not isinstance(log, dict) or log.get("enabled") is not True:
        return False
    return str(log.get("category")).lower() == TABLE.lower() or str(log.get("categoryGroup")).lower() == "alllogs"


def _only_time(result: QueryResult) -> datetime | None:
    """Return the only value of the answer."""
    if result.problem is not None:
        raise result.problem
    values: Iterable[list[Any]] = result.rows("oldest")
    return next((result.time(row[0]) for row in values), None)
