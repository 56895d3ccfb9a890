"""The right to list a kind of object: whether the identity has it, and how to grant it."""

from __future__ import annotations

import asyncio

from acr_cleanup.access.read_failure import ReadFailure, or_waive
from acr_cleanup.clusters.api_server.client import Ask, HttpAnswer
from acr_cleanup.clusters.images.pod_specs import KINDS, Kind

LOG_IN = "logging in to the API server"
REMEDY_LOG_IN = (
    "Check that the identity, its tenant and the cluster belong together, and that the login has not expired."
)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
# API groups whose kinds the role Azure Kubernetes Service RBAC Reader may list.
# https://learn.microsoft.com/azure/aks/manage-azure-rbac
_READER_ROLE_GROUPS = frozenset({"", "apps", "batch"})
_NOT_IN_READER_ROLE = frozenset({"podtemplates", "secrets"})


class ListRights:
    """
    Checks that an empty list is really empty: some servers return an empty list instead of a
    refusal.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._everything: HttpAnswer | None = None

    async def check(self, kind: Kind, cluster: str) -> None:
        """Raise `ReadFailure` unless the identity may list this kind."""
        problem = await self.problem(kind, cluster)
        if problem is not None:
            raise problem

    async def problem(self, kind: Kind, cluster: str) -> ReadFailure | None:
        """
        Return why an empty list of this kind may be a hidden refusal.

        The right to list everything is reviewed first, once for all kinds.
        """
        async with self._lock:
            if self._everything is None:
                self._everything = await self._review({"group": "*", "resource": "*", "verb": "list"})
        if empty_list_problem(kind, self._everything, cluster) is None:
            return None
        return empty_list_problem(kind, await self._review(list_attributes(kind)), cluster)

    async def has(self, kind: Kind) -> bool:
        """Does an access review say that the identity may list this kind?"""
        try:
            review = await self._review(list_attributes(kind))
        except ReadFailure:
            return False
        return review.status in {200, 201} and empty_list_problem(kind, review) is None

    async def _review(self, attributes: dict[str, str]) -> HttpAnswer:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        return await self._ask("POST", _REVIEWS, review)


def list_attributes(kind: Kind) -> dict[str, str]:
    """Return the attributes of an access review for listing this kind in all namespaces."""
    return {"group": kind.group, "resource": kind.resource, "verb": "list"}


def empty_list_problem(kind: Kind, review: HttpAnswer, cluster: str = "") -> ReadFailure | None:
    """
    Return why an empty list of this kind may be a hidden refusal, judged by the response to an
    access review.
    """
    if review.status in {404, 405}:
        return None  # the server has no access reviews, so the list cannot be checked
    body = review.json_object()
    status = body.get("status") if body else None
    allowed = status.get("allowed") if isinstance(status, dict) else None
    if review.status not in {200, 201} or not isinstance(allowed, bool):
        return ReadFailure(
            f"reviewing the right to list {kind}",
            f"{review.describe()}; without a review, an empty list of {kind} may be a hidden refusal.",
            "Allow the identity to create selfsubjectaccessreviews.authorization.k8s.io (by default, each user may).",
            kind=str(kind),
        )
    if allowed:
        return None
    seen = "the API server returned an empty list, but this identity may not list them at all."
    return ReadFailure(f"list {kind}", seen, rule_to_add(kind, cluster), kind=str(kind))


def or_waive_it(kind: Kind, cluster: str, remedy: str) -> str:
    """
    Add the waiver to a remedy, but never for the built-in workloads: no user should be led to waive
    pods.
    """
    return remedy if kind in KINDS else or_waive(remedy, cluster, str(kind))


def rule_to_add(kind: Kind, cluster: str) -> str:
    """
    Return how to grant the right to list this kind, and, if there is a `cluster`, how to waive it
    there.
    """
    role = (
        "; with Azure RBAC, Azure Kubernetes Service RBAC Reader"
        if kind.group in _READER_ROLE_GROUPS and kind.resource not in _NOT_IN_READER_ROLE
        else ""
    )
    # Short: reports cut long text, and both the rule and the waiver must be readable.
    remedy = (
        f'Allow the identity to list them everywhere: `apiGroups: ["{kind.group}"], resources: ["{kind.resource}"], '
        f'verbs: ["list"]` in a ClusterRole (`acr-cleanup permissions` prints it){role}.'
    )
    return or_waive_it(kind, cluster, remedy) if cluster else remedy
