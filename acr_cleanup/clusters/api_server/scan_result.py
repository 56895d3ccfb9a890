"""Makes the scan of a cluster of everything that was found in it, however it was read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from acr_cleanup.clusters.api_server.list_rights import LOG_IN
from acr_cleanup.clusters.images.mention_index import MentionIndex
from acr_cleanup.clusters.images.mirrors import mirrored_mentions
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.pod_specs import Findings
from acr_cleanup.clusters.images.registry_hosts import RegistryHosts
from acr_cleanup.core.usage import ClusterScan

_MOST_NOTES = 20
HELM_NOTE = (
    "Helm manages workloads here, and a rollback could start images of older revisions. To protect the newest three revisions "
    "of each release, set helm-history: 3 (it needs the right to list Secrets)."
)


def keep_one_login(findings: Findings) -> None:
    """Keep one blocker for a refused login: all requests have the same cause, each in other words."""
    refused = [blocker for blocker in findings.blockers if blocker.call == LOG_IN]
    for blocker in refused[1:]:
        del findings.blockers[blocker]


def finished(
    findings: Findings,
    cluster: str,
    names: Names,
    access: str,
    objects: int,
    *,
    helm_note: bool,
    hosts: RegistryHosts | None = None,
) -> ClusterScan:
    """Make the scan of a cluster of everything that was found in it."""
    notes = [*shortened(findings.notes), *([HELM_NOTE] if helm_note else [])]
    mirrored = list(mirrored_mentions(findings, names))
    mentions = MentionIndex([*findings.mentions, *mirrored], findings.digests)
    return ClusterScan(
        cluster,
        tuple(findings.uses),
        tuple(findings.blockers),
        access,
        objects,
        notes=tuple(notes),
        mentions=mentions,
        # An image that is mirrored here is named by its upstream host.
        names_registry=hosts.named or bool(mirrored) if hosts is not None else None,
        registries=hosts.registries if hosts is not None else (),
    )


def shortened(notes: Iterable[str]) -> Sequence[str]:
    """Return the first notes, and how many are left out."""
    notes = list(notes)
    rest = len(notes) - _MOST_NOTES
    return notes if rest <= 0 else [*notes[:_MOST_NOTES], f"{rest} more notes of this kind are left out."]
