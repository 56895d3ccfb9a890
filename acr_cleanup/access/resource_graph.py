"""
Asks Resource Graph for the types of resources in each subscription.

Resource Graph lags and can truncate its answers. It adds subscriptions and types to what is read
and reported. It never shows that something does not exist.
https://learn.microsoft.com/azure/governance/resource-graph/concepts/work-with-data
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from acr_cleanup.access.arm_requests import Requests
from acr_cleanup.access.read_failure import ReadFailure

_PATH, _VERSION = "/providers/Microsoft.ResourceGraph/resources", "2021-03-01"
_QUERY = "resources | summarize count() by type, subscriptionId"
_CALL = "ask Resource Graph for types of resources"
_PAGES = 100


@dataclass(slots=True)
class Discovered:
    """
    types: by subscription, the types of its resources, in lower case.
    problem: why the list may be incomplete; None if nothing says so.
    """

    types: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    problem: ReadFailure | None = None

    def with_any(self, types: set[str]) -> set[str]:
        """Return the subscriptions with resources of any of these types, which are in lower case."""
        return {subscription for subscription, present in self.types.items() if present & types}

    def has(self, subscription: str, type_: str) -> bool:
        return type_.lower() in self.types.get(subscription.lower(), ())


async def discover(requests: Requests, only: Sequence[str]) -> Discovered:
    """
    Ask which types exist in which subscriptions. A failure is part of the result.

    only: ask about these subscriptions alone; empty for all that the identity can see.
    """
    discovered, token = Discovered(), ""
    try:
        for _ in range(_PAGES):
            options: dict[str, Any] = {"resultFormat": "objectArray"} | ({"$skipToken": token} if token else {})
            body: dict[str, Any] = {"query": _QUERY, "options": options}
            page = await requests.post(_CALL, _PATH, _VERSION, body | ({"subscriptions": [*only]} if only else {}))
            rows = page.get("data") if isinstance(page, dict) else None
            if not isinstance(rows, list):
                raise _incomplete("the answer is not a page.")
            for row in rows:
                if isinstance(row, dict) and row.get("type") and row.get("subscriptionId"):
                    # Pages may repeat a row.
                    discovered.types[str(row["subscriptionId"]).lower()].add(str(row["type"]).lower())
            token = page.get("$skipToken") or ""
            if not isinstance(token, str) or not token:
                if str(page.get("resultTruncated")).lower() == "true":
                    raise _incomplete("its answer is truncated.")
                return discovered
        raise _incomplete(f"its answer has more than {_PAGES} pages.")
    except ReadFailure as failure:
        discovered.problem = failure
    return discovered


def _incomplete(seen: str) -> ReadFailure:
    return ReadFailure(_CALL, seen, "Set `subscriptions` to those whose services may use the registry.")
