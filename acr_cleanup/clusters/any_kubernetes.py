"""Reads a Kubernetes cluster that a kubeconfig file names."""

from __future__ import annotations

from urllib.parse import urlsplit

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.client import ApiServer, Ask, connect
from acr_cleanup.clusters.api_server.kubeconfig import (
    api_server,
    scope_of,
    server_of,
)
from acr_cleanup.clusters.api_server.kubeconfig_file import kubeconfig_files, read_kubeconfig
from acr_cleanup.clusters.api_server.list_rights import LOG_IN
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.survey import survey_kinds
from acr_cleanup.clusters.target import ClusterAccess, ClusterSurvey, KubeconfigPlace, Search
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.quoting import quoted


async def read_kubernetes(target: KubeconfigPlace, access: ClusterAccess, search: Search) -> ClusterScan:
    """Scan the cluster. Raises `ReadFailure`."""
    server = _server(target, access)
    async with connect(server, access.patience) as ask:
        if not server.has_login:
            await _check_anonymous(ask, target)
        return await scan(ask, target.key, search, access="kubeconfig")


async def survey_kubernetes(target: KubeconfigPlace, survey: ClusterSurvey, access: ClusterAccess) -> ClusterSurvey:
    """
    Ask the cluster which kinds it serves. Returns `survey` with the answer. Raises `ReadFailure`.
    """
    return await survey_kinds(survey, _server(target, access), access)


async def _check_anonymous(ask: Ask, target: KubeconfigPlace) -> None:
    """
    Raise `ReadFailure` if the API server refuses requests without a login.

    Otherwise every kind would be refused, each with the advice to grant "the identity" a right.
    """
    answer = await ask("GET", "/api/v1/pods?limit=1")
    if answer.status in (401, 403):
        named = f"context {quoted(target.context)}" if target.context else "the current context"
        seen = f"the user of {named} has no token and no client certificate ({answer.status})."
        raise ReadFailure(LOG_IN, seen, "Use a kubeconfig whose user has a login, or log in again with its tool.")


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
    return api_server(
        document, target.context, folder=kubeconfig_files(target.kubeconfig)[0].parent, options=access.options
    )
