"""Reads a Kubernetes cluster that a kubeconfig file names."""

from __future__ import annotations

from urllib.parse import urlsplit

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.client import ApiServer, connect
from acr_cleanup.clusters.api_server.kubeconfig import (
    api_server,
    read_kubeconfig,
    scope_of,
    server_of,
)
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.survey import survey_kinds
from acr_cleanup.clusters.target import ClusterAccess, ClusterSurvey, KubeconfigPlace, Search
from acr_cleanup.core.usage import ClusterScan


async def read_kubernetes(target: KubeconfigPlace, access: ClusterAccess, search: Search) -> ClusterScan:
    """Scan the cluster. Raises `ReadFailure`."""
    async with connect(_server(target, access), access.patience) as ask:
        return await scan(ask, target.key, search, access="kubeconfig")


async def survey_kubernetes(target: KubeconfigPlace, survey: ClusterSurvey, access: ClusterAccess) -> ClusterSurvey:
    """
    Ask the cluster which kinds it serves. Returns `survey` with the answer. Raises `ReadFailure`.
    """
    return await survey_kinds(survey, _server(target, access), access.patience)


def server_host(target: KubeconfigPlace) -> str:
    """
    Return the host of the API server in lower case; empty if the kubeconfig does not name one
    (reading it reports that).
    """
    try:
        return (urlsplit(server_of(read_kubeconfig(target.kubeconfig), target.context)).hostname or "").lower()
    except (ReadFailure, ValueError):
        return ""


def token_scopes(target: KubeconfigPlace) -> tuple[str, ...]:
    """Return the scope of the token that the kubeconfig needs. Reading the cluster reports its mistakes."""
    try:
        scope = scope_of(read_kubeconfig(target.kubeconfig), target.context)
    except ReadFailure:
        return ()
    return (scope,) if scope is not None else ()


def _server(target: KubeconfigPlace, access: ClusterAccess) -> ApiServer:
    document = read_kubeconfig(target.kubeconfig)
    return api_server(document, target.context, folder=target.kubeconfig.parent, options=access.options)
