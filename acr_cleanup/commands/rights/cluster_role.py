"""
The ClusterRole for clusters with Kubernetes RBAC: the right to list each kind that a run reads.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.target import ClusterSurvey
from acr_cleanup.quoting import quoted

IDENTITY = "<object id of the identity>"
CLUSTER_ROLE = "acr-cleanup"
WIDTH = 110
"""Columns of comments and headings."""

FURTHER: Mapping[str, tuple[str, ...]] = {
    "": ("configmaps", "namespaces", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts"),
    "apiextensions.k8s.io": ("customresourcedefinitions",),
    "storage.k8s.io": ("storageclasses", "volumeattributesclasses"),
    "admissionregistration.k8s.io": (
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ),
}
"""
Built-in kinds, besides `KINDS`, that a run reads, by API group.

They are granted even if no cluster could be asked. A kind that a cluster does not serve is
harmless.
"""


@dataclass(frozen=True, slots=True)
class _Served:
    """The kinds that the clusters serve."""

    groups: Mapping[str, tuple[str, ...]]
    """The resources of each API group."""
    unasked: tuple[str, ...]
    """The names of clusters that could not be asked."""

    @classmethod
    def of(cls, clusters: Sequence[ClusterSurvey]) -> _Served:
        groups: dict[str, set[str]] = {}
        for cluster in clusters:
            for kind in cluster.kinds or ():
                groups.setdefault(kind.group, set()).add(kind.resource)
        unasked = tuple(quoted(cluster.target.key, 80) for cluster in clusters if cluster.kinds is None)
        return cls({group: tuple(sorted(resources)) for group, resources in sorted(groups.items())}, unasked)


def cluster_role(clusters: Sequence[ClusterSurvey], helm_history: int = 0, identity: str = IDENTITY) -> Iterator[str]:
    """
    Yield the lines of a ClusterRole and its binding for these clusters.

    `helm_history`: with a number above 0, the role may also list Secrets.
    `identity`: the object id that gets the role.
    """
    served = _Served.of(clusters)
    yield from _lines(
        """
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: acr-cleanup
        rules:
        """
    )
    built_in: dict[str, list[str]] = {}
    sources: list[tuple[str, Sequence[str]]] = [
        *((kind.group, (kind.resource,)) for kind in KINDS),
        *FURTHER.items(),
        *((group, resources) for group, resources in served.groups.items() if not _is_custom(group)),
    ]
    for group, resources in sources:
        built_in.setdefault(group, []).extend(resources)
    yield from comment("Objects that start pods, that a rollback would restore, or that can name images.", indent=2)
    for group, names in built_in.items():
        yield from _rule([group], list(dict.fromkeys(names)))
    custom = {group: resources for group, resources in served.groups.items() if _is_custom(group)}
    if custom:
        yield from comment("Custom resources, by API group, because a group can get further kinds.", indent=2)
        yield "  - apiGroups:"
        for group, kinds in custom.items():
            more = ", …" if len(kinds) > 3 else ""
            yield f"      - {json.dumps(group)} # {', '.join(kinds[:3])}{more}"
        yield '    resources: ["*"]'
        yield '    verbs: ["list"]'
    if served.unasked:
        yield from comment(
            f"Custom resources: these clusters could not be asked for their API groups: {', '.join(served.unasked)}. Run "
            "this command there, and add the groups that it prints, as below:",
            indent=2,
        )
        yield "  #   kubectl api-resources --verbs=list --output=name | grep -F . | cut -d. -f2- | sort -u"
        yield '  # - apiGroups: ["argoproj.io"]'
        yield '  #   resources: ["*"]'
        yield '  #   verbs: ["list"]'
    if helm_history:
        yield from comment(
            f"For Helm's history (helm-history is {helm_history}). A role cannot be limited to Helm's Secrets, but "
            "acr-cleanup requests only those.",
            indent=2,
        )
        yield from _rule([""], ["secrets"])
    yield from comment(
        "Rights that each authenticated user has by default are not listed: API discovery (system:discovery) and checking "
        "one's own rights (create selfsubjectaccessreviews, system:basic-user).",
        indent=2,
    )
    yield from _lines(
        f"""
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: acr-cleanup
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: {CLUSTER_ROLE}
        subjects:
          - apiGroup: rbac.authorization.k8s.io
            kind: User
            name: {json.dumps(identity)}
        """
    )


def _is_custom(group: str) -> bool:
    """Return False for an API group of Kubernetes itself; see https://kep.k8s.io/1111."""
    return "." in group and not group.endswith(".k8s.io")


def _rule(groups: Sequence[str], resources: Sequence[str]) -> Iterator[str]:
    yield f"  - apiGroups: {json.dumps(groups)}"
    text = json.dumps(resources)
    if len(text) < WIDTH - 15:
        yield f"    resources: {text}"
    else:
        yield "    resources:"
        yield from (f"      - {json.dumps(resource)}" for resource in resources)
    yield '    verbs: ["list"]'


def comment(text: str, *, indent: int = 0, mark: str = "#") -> Iterator[str]:
    """
    Yield a comment, wrapped. `mark` starts each line: `#` in shell, YAML and Terraform, `//` in Bicep.

    Foreign text in it must be `quoted`, so that it has no line breaks.
    """
    start = f"{' ' * indent}{mark} "
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )


def _lines(text: str) -> list[str]:
    return textwrap.dedent(text).strip("\n").split("\n")
