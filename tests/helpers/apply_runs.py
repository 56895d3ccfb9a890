"""Runs the apply stage with a fake registry, and reads its outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import cast

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import LockState, RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.stages import apply_repository, fresh_usage, looks
from acr_cleanup.stages.apply import Applied, apply
from acr_cleanup.stages.registry_port import Registry
from tests.helpers.fake_registry import FakeRegistry, FakeRegistryOfMany
from tests.helpers.generated_inventories import HOST, NOW, d, image, inventory, tag, usage

BLOCKER = Blocker("production", "list pods", "403 Forbidden.", "Grant list on pods.")
STOPPED = (OutcomeKind.NOT_ATTEMPTED, "the run was stopped")
UNLOCKING = RetentionPolicy(include_locked=True)

_BOUNDS: dict[str, ModuleType] = {
    "BEGIN_NEXT_LOOK": apply_repository,
    "FEW": looks,
    "GRACE_AFTER_STOP": apply_repository,
    "LOOK_EVERY": apply_repository,
    "LOOK_STAYS_FRESH": apply_repository,
    "USAGE_STAYS_FRESH": fresh_usage,
}
"""The bounds of the stage that tests change, and the module that defines each."""


def set_bound(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    """Change one of the bounds of the apply stage for a test."""
    monkeypatch.setattr(_BOUNDS[name], name, value)


def planned(listed: RepositoryInventory, uses: UsageIndex | None = None, policy: RetentionPolicy | None = None) -> Plan:
    """Plan one repository."""
    policy, uses = policy or RetentionPolicy(), uses or usage()
    return Plan(HOST, policy, NOW, uses, (plan_repository(listed, uses, policy, NOW),))


def planned_repositories(*names: str) -> tuple[Plan, FakeRegistryOfMany]:
    """Plan repositories with these names; both tags of each are deleted."""
    inventories = [replace(inventory([tag("1", "a"), tag("2", "b")]), name=name) for name in names]
    policy = RetentionPolicy(scope=Scope.ALL)
    plans = tuple(plan_repository(listed, usage(), policy, NOW) for listed in inventories)
    return Plan(HOST, policy, NOW, usage(), plans), FakeRegistryOfMany(*inventories)


def locked_inventory() -> RepositoryInventory:
    """
    List manifests and tags with locks.

    Manifest `a` (locked) has tag 1 (locked) and tag 2 (not locked). Manifest `b` has tag 3, which
    is locked and too young to be deleted.
    """
    return inventory(
        [
            structs.replace(tag("1", "a"), lock_state=LockState(locked=True, delete_enabled=False)),
            tag("2", "a"),
            structs.replace(tag("3", "b", days=0), lock_state=LockState(locked=True)),
        ],
        [structs.replace(image("a"), locked=True, delete_enabled=True, write_enabled=False), image("b")],
    )


RELOCKED = {"lock 1 False True", f"lock {d('a')} True False"}
"""The calls that restore the locks of manifest `a` and its tag 1."""


def _ignore(_outcomes: Sequence[Outcome]) -> None:
    pass


async def apply_plan(
    plan: Plan,
    registry: FakeRegistry,
    *,
    usage_now: UsageIndex | None = None,
    read_usage: Callable[[], Awaitable[UsageIndex]] | None = None,
    stop: asyncio.Event | None = None,
    concurrency: int = 1,
    report: Callable[[Sequence[Outcome]], None] = _ignore,
    on_inventory: Callable[[RepositoryInventory, UsageIndex], None] = lambda _inventory, _usage: None,
    journal: object = None,
    backup: bool = False,
    untagged_expire: bool = False,
    time_limit: float | None = 20,
) -> Applied:
    """
    Apply a plan.

    `usage_now`: what each reading of the clusters returns, unless `read_usage` is given.
    `untagged_expire`: the registry has a retention policy.
    `time_limit`: seconds after which the run fails, None for no limit.
    """

    async def read() -> UsageIndex:
        return usage_now or usage()

    async def expire() -> bool:
        return untagged_expire

    async with asyncio.timeout(time_limit):
        return await apply(
            plan,
            cast("Registry", registry),
            read_usage or read,
            stop=stop or asyncio.Event(),
            concurrency=concurrency,
            report=report,
            on_inventory=on_inventory,
            journal=journal,  # type: ignore[arg-type]
            backup=backup,
            untagged_expire=expire,
        )


def name_of(outcome: Outcome) -> str:
    """The tag of an outcome, or @ and the last two digits of the manifest's digest."""
    return outcome.tag or f"@{outcome.digest[-2:]}"


def kinds(applied: Applied) -> dict[str, OutcomeKind]:
    """The kind of each outcome, by name."""
    return {name_of(outcome): outcome.kind for outcome in applied.outcomes}


def tag_kinds(applied: Applied) -> dict[str, OutcomeKind]:
    """The kind of each tag's outcome, by name."""
    return {outcome.tag: outcome.kind for outcome in applied.outcomes if outcome.tag is not None}


def details(applied: Applied) -> dict[str, tuple[OutcomeKind, str]]:
    """The kind and the detail of each outcome, by name."""
    return {name_of(outcome): (outcome.kind, outcome.detail) for outcome in applied.outcomes}


def distinct_details(applied: Applied) -> set[tuple[OutcomeKind, str]]:
    """The kinds and details that occur."""
    return set(details(applied).values())


def manifest_name(digest: str) -> str:
    """The name of a manifest's outcome, for a short digest of `generated_inventories`."""
    return f"@{d(digest)[-2:]}"
