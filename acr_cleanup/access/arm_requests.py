"""
Raw requests to Azure Resource Manager for the readers of services: bounded, checked, and with
failures as `ReadFailure`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import Subscription, arm_problem
from acr_cleanup.access.permissions import read_permissions
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.access.resource_manager import ResourceManager, list_resources, send
from acr_cleanup.quoting import quoted

T = TypeVar("T")

_UNREGISTERED = frozenset({"InvalidResourceType", "InvalidResourceNamespace", "MissingSubscriptionRegistration"})
"""
Error codes for a type that the subscription (or the cloud) does not have. Other 404 are failures:
https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-register-resource-provider
"""
_VERSIONS = re.compile(r"supported (?:api-)?versions are '([^']+)'", re.IGNORECASE)
"""
In the message for a type that exists with other API versions only, as in a national cloud. Its code can be one of
`_UNREGISTERED`: https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-invalid-resource-type
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
    versions: the API versions to use instead, for those that this cloud does not have.
    """

    manager: ResourceManager
    subscription: str
    gate: asyncio.Semaphore
    versions: dict[tuple[str, str], str] = field(default_factory=dict)

    async def list(
        self, path: str, api_version: str, query: Iterable[tuple[str, str]] = (), *, any_scope: bool = False
    ) -> list[Resource]:
        """
        Return all resources of the list at `path`.

        any_scope: its items may be resources above the subscription, such as inherited role assignments.

        Raises `ReadFailure`, and `NotRegisteredError` if the subscription has no such type.
        """
        call = f"list {path.rpartition('/providers/')[2]}"
        items = await self._ask(
            call, path, api_version, lambda client, version: list_resources(client, path, version, dict(query))
        )
        return [self._resource(call, item, any_scope) for item in items]

    async def get(self, path: str, api_version: str) -> dict[str, Any]:
        """Return one resource. Raises `ReadFailure`."""
        self._check_id("read a resource", path)
        call = f"read {path.rpartition('/providers/')[2]}"
        answer = await self._ask(call, path, api_version, lambda client, version: send(client, "GET", path, version))
        if not isinstance(answer, dict):
            raise ReadFailure(call, "the answer is not a resource.", "Run again.")
        return answer

    async def post(self, call: str, path: str, api_version: str, body: Any) -> Any:
        """Return the JSON of the answer to a query. Raises `ReadFailure`."""
        return await self._ask(
            call, path, api_version, lambda client, version: send(client, "POST", path, version, body)
        )

    async def permissions(self, resource_id: str = "") -> Sequence[dict[str, Any]]:
        """
        Return the permissions of the identity on a resource, by default on the whole subscription.

        Raises `ReadFailure`.
        """
        if resource_id:
            self._check_id("list the permissions of the identity", resource_id)
        client = await self.manager.client(self.subscription)
        async with self.gate:
            return await read_permissions(client, Subscription(self.subscription), resource_id)

    async def _ask(self, call: str, path: str, version: str, request: Callable[[Any, str], Awaitable[T]]) -> T:
        client = await self.manager.client(self.subscription)
        key = path.rpartition("/providers/")[2].partition("/")[0].lower(), version
        for _ in range(2):
            version = self.versions.get(key, version)
            try:
                async with self.gate:
                    with arm_problem(call, Subscription(self.subscription), role=roles.READER.name):
                        return await request(client, version)
            except ReadFailure as failure:
                supported = _supported_version(failure, key[1])
                if not supported and version == key[1] and _is_unregistered(failure):
                    raise NotRegisteredError(call, failure.seen, failure.remedy) from failure.__cause__
                if supported in ("", version):
                    raise
                self.versions[key], refused = supported, failure
        raise refused

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
    return status_of(failure) in {404, 409} and _error_of(failure)[0] in _UNREGISTERED


def _supported_version(failure: ReadFailure, version: str) -> str:
    """Return the newest API version that the message offers: before `version` if there is one, rather not a preview."""
    if (match := _VERSIONS.search(_error_of(failure)[1])) is None:
        return ""
    versions = sorted({text.strip() for text in match[1].split(",")}, key=lambda text: ("preview" not in text, text))
    return next((text for text in reversed(versions) if text <= version), versions[-1])


def status_of(failure: ReadFailure) -> int | None:
    """Return the status of the answer that caused a failure; None if there was no answer."""
    status = getattr(failure.__cause__, "status_code", None)
    return status if isinstance(status, int) else None


def _error_of(failure: ReadFailure) -> tuple[str, str]:
    """Return the code and the message of Azure Resource Manager that caused a failure; "" for none."""
    response: Any = getattr(failure.__cause__, "response", None)
    try:
        error = response.json()["error"]
        return str(error["code"]), str(error.get("message"))
    except Exception:  # noqa: BLE001  (no answer, not JSON, or another form: then there is no code)
        return "", ""
