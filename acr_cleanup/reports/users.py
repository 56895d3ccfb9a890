"""The workloads that use a tag, the most useful name first."""

from __future__ import annotations

from collections.abc import Iterable

from acr_cleanup.core.usage import ImageUse, Workload
from acr_cleanup.reports.rows import KeptTag

_BROKEN_USERS = 4

# Who a person would look for first: the object that somebody wrote, not what a controller made of it.
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


def users(tag: KeptTag, limit: int) -> tuple[tuple[str, ...], int]:
    """
    Who uses it, each once and not yet harmless, and how many more there are.

    What somebody wrote comes before what a controller made of it: a Deployment stands for its ReplicaSets and pods.
    """
    return _users(tag.uses, limit)


def _users(of: Iterable[ImageUse], limit: int) -> tuple[tuple[str, ...], int]:
    def place(use: ImageUse) -> tuple[int, str]:
        kind = use.workload.kind
        return _KINDS.index(kind if kind in _KINDS else ""), str(use)

    uses = list({str(use): use for use in sorted(of, key=place)}.values())
    shown: list[ImageUse] = []
    for use in uses:
        # By name alone, so it only chooses what is shown; all are counted, and report.json names all.
        if len(shown) < limit and not any(_made_by(use.workload, other.workload) for other in shown):
            shown.append(use)
    return tuple(str(use) for use in shown), len(uses) - len(shown)


def used_by(uses: Iterable[ImageUse]) -> str:
    shown, rest = _users(uses, _BROKEN_USERS)
    more = f" and {rest:,} more" if rest else ""
    return f"used by {', '.join(shown)}{more}" if shown else "nothing that was seen uses it"


def _made_by(made: Workload, maker: Workload) -> bool:
    same = (made.cluster, made.namespace) == (maker.cluster, maker.namespace)
    return same and made.kind in {"ReplicaSet", "Pod", "Job"} and made.name.startswith(f"{maker.name}-")


def by_digest(tag: KeptTag) -> bool:
    """Is it its digest alone that is used, not its name?"""
    return bool(tag.uses) and all(use.reference.tag != tag.name for use in tag.uses)
