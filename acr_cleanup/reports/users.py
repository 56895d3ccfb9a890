"""
The workloads that use a tag, in words. Objects that people write come before those that controllers
create.
"""

from __future__ import annotations

from collections.abc import Iterable

from acr_cleanup.core.policy import KeepReason
from acr_cleanup.core.usage import ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.reports.rows import KeptTag

_USERS_SHOWN = 4

# Kinds in the order in which they are shown; "" stands for any other kind. A reader looks for the
# object that a person wrote, not for what a controller created from it.
_KINDS = (
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "",
    "Job",
    "ReplicationController",
    "ControllerRevision",
    "ReplicaSet",
    "Pod",
)

_CREATED = frozenset(_KINDS[_KINDS.index("") + 1 :])
"""Kinds that controllers create. Their names begin with that of the object that a person wrote."""


def users(tag: KeptTag | KeepReason, limit: int) -> tuple[tuple[str, ...], int]:
    """
    Return up to `limit` users of a tag, and how many more there are.

    A Deployment is shown instead of its ReplicaSets and pods. The names are foreign text.
    """
    return _users(tag.uses, limit)


def used_by(uses: Iterable[ImageUse]) -> str:
    """The users as a phrase, such as "used by A, B and 3 more"."""
    shown, hidden = _users(uses, _USERS_SHOWN)
    more = f" and {hidden:,} more" if hidden else ""
    return f"used by {', '.join(shown)}{more}" if shown else "no known use"


def by_digest(tag: KeptTag) -> bool:
    """Is only the digest of the tag used, and not its name?"""
    return bool(tag.uses) and all(use.reference.tag != tag.name and not use.reference.is_open for use in tag.uses)


def authored(uses: Iterable[ImageUse]) -> list[Workload]:
    """The workloads that use an image, without those that another of them created. Each once."""
    workloads = dict.fromkeys(use.workload for use in uses)
    names = {(workload.cluster, workload.namespace, workload.name) for workload in workloads}

    def is_created(workload: Workload) -> bool:
        parts = workload.name.split("-") if workload.kind in _CREATED else []
        owners = ("-".join(parts[:end]) for end in range(1, len(parts)))
        return any((workload.cluster, workload.namespace, owner) in names for owner in owners)

    top = [workload for workload in workloads if not is_created(workload)]
    return sorted(top, key=lambda workload: (kind_rank(workload.kind), workload))


def kind_rank(kind: str) -> int:
    """The place of a kind: what people write comes before what controllers create."""
    return _KINDS.index(kind if kind in _KINDS else "")


def _users(uses: Iterable[ImageUse], limit: int) -> tuple[tuple[str, ...], int]:
    ordered = sorted(uses, key=lambda use: (kind_rank(use.workload.kind), str(use)))
    distinct = list({str(use): use for use in ordered}.values())
    shown: list[ImageUse] = []
    for use in distinct:
        # Ownership is guessed from names. That is enough here: it only chooses which users are
        # shown. All of them are counted, and report.json lists all of them.
        if len(shown) < limit and not any(_created_by(use.workload, other.workload) for other in shown):
            shown.append(use)
    return tuple(str(use) for use in shown), len(distinct) - len(shown)


def _created_by(child: Workload, owner: Workload) -> bool:
    same_place = (child.cluster, child.namespace) == (owner.cluster, owner.namespace)
    return same_place and child.kind in _CREATED and child.name.startswith(f"{owner.name}-")
