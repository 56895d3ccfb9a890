"""Reads the parts of one repository that its decision needs, and decides it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import leaves_untagged, nothing_to_delete, plan_repository
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import prepare
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.subjects import open_questions
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.stages.registry_port import Registry

T = TypeVar("T")

MANY_TAGS = 5_000
"""Tags of a repository whose decision takes longer than the loop may stand still."""


@dataclass(frozen=True, slots=True)
class DecidedRepository:
    """The plan of one repository, and the evidence from which it was made."""

    evidence: Evidence
    plan: RepositoryPlan


async def read_repository(
    registry: Registry,
    name: str,
    usage: UsageIndex,
    policy: RetentionPolicy,
    now: datetime,
    *,
    all_referrers: bool = False,
    retained: frozenset[Digest] = frozenset(),
    orphans: frozenset[Digest] = frozenset(),
    edges: bool = True,
) -> RepositoryInventory:
    """
    List a repository, and read the children, subjects and referrers that the decision depends on.

    Raises `RegistryError` if it cannot be listed.

    all_referrers, retained, orphans: see `prepare`.
    edges: False: read no manifest if nothing can be deleted anyway.
    """
    inventory = await registry.list_repository(name)

    def prepared(listed: RepositoryInventory) -> RepositoryInventory:
        marked = prepare(listed, usage, policy, now, all_referrers=all_referrers, retained=retained, orphans=orphans)
        # `read_edges` needs them on the loop.
        _ = marked.tags_of, marked.unread
        return marked

    inventory = await off_loop(len(inventory.tags), partial(prepared, inventory))
    if not edges and await off_loop(len(inventory.tags), partial(nothing_to_delete, inventory, usage, policy, now)):
        return inventory
    inventory = await registry.read_edges(inventory)
    while questions := await off_loop(
        len(inventory.tags), partial(open_questions, Evidence(inventory, usage, policy, now))
    ):
        inventory = await registry.read_subjects(inventory, questions)
    return inventory


async def off_loop(tags: int, work: Callable[[], T]) -> T:
    """
    Do this work, which must be pure, in a thread if the repository has so many tags.

    It then takes seconds, in which the event loop would handle no answer and no signal.
    """
    return await asyncio.to_thread(work) if tags > MANY_TAGS else work()


async def never() -> bool:
    """The answer for a registry without a retention policy."""
    return False


async def decide_repository(evidence: Evidence, untagged_expire: Callable[[], Awaitable[bool]]) -> DecidedRepository:
    """
    Decide one repository.

    untagged_expire: may the registry delete manifests without a tag? Only called if it matters: if the
        plan removes the last tag of a kept manifest.
    """
    inventory = evidence.inventory
    decide = partial(plan_repository, usage=evidence.usage, policy=evidence.policy, now=evidence.now)
    plan = await off_loop(len(inventory.tags), partial(decide, inventory))
    if leaves_untagged(inventory, plan) and await untagged_expire():
        evidence = replace(evidence, inventory=replace(inventory, untagged_expire=True))
        plan = await off_loop(len(inventory.tags), partial(decide, evidence.inventory))
    return DecidedRepository(evidence, plan)
