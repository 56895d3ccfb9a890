"""The ClusterRole for clusters with Kubernetes RBAC: which kinds of objects the tool lists in them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.clusters.survey import ClusterSurvey
from acr_cleanup.quoting import quoted

IDENTITY = "<object id of the identity>"
CLUSTER_ROLE = "acr-cleanup"
WIDTH = 110

FURTHER: Mapping[str, tuple[str, ...]] = {
    "": ("configmaps", "namespaces", "persistentvolumeclaims", "serviceaccounts"),
    "admissionregistration.k8s.io": (
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ),
}
"""What Kubernetes itself serves and is read beside `KINDS`, for clusters that cannot be asked. One that is missing does no harm."""


@dataclass(frozen=True, slots=True)
class _Served:
    """What the clusters serve: API group -> its resources, and whether all of them could be asked."""

    groups: Mapping[str, tuple[str, ...]]
    unasked: tuple[str, ...]

    @classmethod
    def of(cls, clusters: Sequence[ClusterSurvey]) -> _Served:
        groups: dict[str, set[str]] = {}
        for cluster in clusters:
            for kind in cluster.kinds or ():
                groups.setdefault(kind.group, set()).add(kind.resource)
        unasked = tuple(quoted(each.target.key, 80) for each in clusters if each.kinds is None)
        return cls({group: tuple(sorted(found)) for group, found in sorted(groups.items())}, unasked)


def cluster_role(clusters: Sequence[ClusterSurvey], helm_history: int = 0) -> Iterator[str]:
    """The lines of a ClusterRole, and of its binding, for what is read in these clusters."""
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
    own: list[tuple[str, Sequence[str]]] = [
        *((kind.group, (kind.resource,)) for kind in KINDS),
        *FURTHER.items(),
        *((group, found) for group, found in served.groups.items() if not _is_custom(group)),
    ]
    for group, resources in own:
        built_in.setdefault(group, []).extend(resources)
    yield from remark("What starts pods, keeps what a rollback would start, or may name images otherwise.", indent=2)
    for group, found in built_in.items():
        yield from _rule([group], list(dict.fromkeys(found)))
    custom = {group: found for group, found in served.groups.items() if _is_custom(group)}
    if custom:
        yield from remark("Custom resources, by API group: a group may get further kinds at any time.", indent=2)
        yield "  - apiGroups:"
        for group, kinds in custom.items():
            more = ", …" if len(kinds) > 3 else ""
            yield f"      - {json.dumps(group)} # {', '.join(kinds[:3])}{more}"
        yield '    resources: ["*"]'
        yield '    verbs: ["list"]'
    if served.unasked:
        yield from remark(
            f"Custom resources: not all clusters could be asked which they serve ({', '.join(served.unasked)}). Add the API "
            "groups that this prints there, as below:",
            indent=2,
        )
        yield "  #   kubectl api-resources --verbs=list --output=name | grep -F . | cut -d. -f2- | sort -u"
        yield '  # - apiGroups: ["argoproj.io"]'
        yield '  #   resources: ["*"]'
        yield '  #   verbs: ["list"]'
    if helm_history:
        yield from remark(
            f"For Helm's history (helm-history is {helm_history}). Kubernetes cannot tell Helm's Secrets from others here, but "
            "only Helm's are asked for.",
            indent=2,
        )
        yield from _rule([""], ["secrets"])
    yield from remark(
        "Not here, since every authenticated user has them by default: to ask what is served (system:discovery), and what "
        "oneself may do (create selfsubjectaccessreviews, system:basic-user).",
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
            name: {json.dumps(IDENTITY)}
        """
    )


def _is_custom(group: str) -> bool:
    """Is this the group of a custom resource, and none of Kubernetes' own? https://kep.k8s.io/1111"""
    return "." in group and not group.endswith(".k8s.io")


def _rule(groups: Sequence[str], resources: Sequence[str]) -> Iterator[str]:
    yield f"  - apiGroups: {json.dumps(groups)}"
    text = json.dumps(resources)
    if len(text) < WIDTH - 15:
        yield f"    resources: {text}"
    else:
        yield "    resources:"
        yield from (f"      - {json.dumps(each)}" for each in resources)
    yield '    verbs: ["list"]'


def remark(text: str, *, indent: int = 0) -> Iterator[str]:
    """A comment, of the shell and of YAML alike; what others wrote is on one line already (`quoted`)."""
    start = f"{' ' * indent}# "
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )


def _lines(text: str) -> list[str]:
    return textwrap.dedent(text).strip("\n").split("\n")
