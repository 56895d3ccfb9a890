"""
Raw requests to Azure Resource Manager for the readers of services: bounded, checked, and with
failures as `ReadFailure`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import Subscription, arm_problem
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.access.resource_manager import ResourceManager, list_resources, send
from acr_cleanup.quoting import quoted

T = TypeVar("T")

_UNREGISTERED = frozenset({"InvalidResourceType", "InvalidResourceNamespace", "MissingSubscriptionRegistration"})
"""
Error codes for a type that the subscription (or the cloud) does not have. Other 404 are failures:
https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-register-resource-provider
"""


class NotRegisteredError(ReadFailure):
    """The subscription has not registered the provider of a type, so it has no such resource."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a list. `id` was checked: it is a path below its subscription."""

    id: str
    name: str
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Requests:
    """
    Requests about one subscription.

    gate: limits the requests of all subscriptions together. It is held by one list at a time, and
    never while another is waited for.
    """

    manager: ResourceManager
    subscription: str
    gate: asyncio.Semaphore

    async def list(
        self, path: str, api_version: str, query: Iterable[tuple[str, str]] = (), *, any_scope: bool = False
    ) -> list[Resource]:
        """
        Return all resources of the list at `path`.

        any_scope: its items may be resources above the subscription, such as inherited role assignments.

        Raises `ReadFailure`, and `NotRegisteredError` if the subscription has no such type.
        """
        call = f"list {path.rpartition('/providers/')[2]}"
        items = await self._ask(call, lambda client: list_resources(client, path, api_version, dict(query)))
        return [self._resource(call, item, any_scope) for item in items]

    async def get(self, path: str, api_version: str) -> dict[str, Any]:
        """Return one resource. Raises `ReadFailure`."""
        self._check_id("read a resource", path)
        call = f"read {path.rpartition('/providers/')[2]}"
        answer = await self._ask(call, lambda client: send(client, "GET", path, api_version))
        if not isinstance(answer, dict):
            raise ReadFailure(call, "the answer is not a resource.", "Run again.")
        return answer

    async def post(self, call: str, path: str, api_version: str, body: Any) -> Any:
        """Return the JSON of the answer to a query. Raises `ReadFailure`."""
        return await self._ask(call, lambda client: send(client, "POST", path, api_version, body))

    async def _ask(self, call: str, request: Callable[[Any], Awaitable[T]]) -> T:
        client = await self.manager.client(self.subscription)
        async with self.gate:
            try:
                with arm_problem(call, Subscription(self.subscription), role=roles.READER.name):
                    return await request(client)
            except ReadFailure as failure:
                if _is_unregistered(failure):
                    raise NotRegisteredError(call, failure.seen, failure.remedy) from failure.__cause__
                raise

    def _resource(self, call: str, item: Any, any_scope: bool) -> Resource:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise ReadFailure(
                call, f"the answer has an item that is not a resource ({quoted(item, 80)}).", "Run again."
            )
        if not any_scope:
            self._check_id(call, item.get("id"))
        return Resource(str(item.get("id")).rstrip("/"), item["name"], item)

    def _check_id(self, call: str, resource_id: Any) -> None:
        """
        Refuse an id that is not a path in this subscription.

        Requests are built from ids. An id such as `//host/` would send the token to another host.
        """
        pattern = rf"/subscriptions/{re.escape(self.subscription)}(/[\w.()~: -]+)+/?"
        if not isinstance(resource_id, str) or not re.fullmatch(pattern, resource_id, re.IGNORECASE):
            raise ReadFailure(
                call,
                f"the answer has the id {quoted(resource_id, 200)!r}, which is not a resource of this subscription.",
                "Run again, and check any proxy or gateway in front of Azure.",
            )


def _is_unregistered(failure: ReadFailure) -> bool:
    return status_of(failure) in {404, 409} and error_code(failure) in _UNREGISTERED


def status_of(failure: ReadFailure) -> int | None:
    """Return the status of the answer that caused a failure; None if there was no answer."""
    status = getattr(failure.__cause__, "status_code", None)
    return status if isinstance(status, int) else None


def error_code(failure: ReadFailure) -> str:
    """Return the error code of Azure Resource Manager that caused a failure, or ""."""
    response: Any = getattr(failure.__cause__, "response", None)
    try:
        error = response.json()["error"]["code"]
    except Exception:  # noqa: BLE001  (no answer, not JSON, or another form: then there is no code)
        return ""
    return str(error)
