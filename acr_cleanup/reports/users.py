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
    "Job",
    "",
    "ReplicationController",
    "ReplicaSet",
    "Pod",
)


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


def _users(uses: Iterable[ImageUse], limit: int) -> tuple[tuple[str, ...], int]:
    def rank(use: ImageUse) -> tuple[int, str]:
        kind = use.workload.kind
        return _KINDS.index(kind if kind in _KINDS else ""), str(use)

    distinct = list({str(use): use for use in sorted(uses, key=rank)}.values())
    shown: list[ImageUse] = []
    for use in distinct:
        # Ownership is guessed from names. That is enough here: it only chooses which users are
        # shown. All of them are counted, and report.json lists all of them.
        if len(shown) < limit and not any(_created_by(use.workload, other.workload) for other in shown):
            shown.append(use)
    return tuple(str(use) for use in shown), len(distinct) - len(shown)


def _created_by(child: Workload, owner: Workload) -> bool:
    same_place = (child.cluster, child.namespace) == (owner.cluster, owner.namespace)
    return same_place and child.kind in {"ReplicaSet", "Pod", "Job"} and child.name.startswith(f"{owner.name}-")
