"""Resources that are recognised and reported: clusters that no configuration names, and registries that cache from ours."""

from __future__ import annotations

from urllib.parse import urlsplit

from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings
from acr_cleanup.services.reader import Reader
from acr_cleanup.services.search import ServiceSearch
from acr_cleanup.services.table import ARC, FLEETS, OPEN_SHIFT, REGISTRIES, ServiceType

_UNUSED = "is not in the configuration. Images that only it uses count as unused."


async def describe(row: ServiceType, search: ServiceSearch, reader: Reader, resource: Resource) -> Findings:
    """Return the notes (and, for a registry that caches from ours, the uses) of one resource."""
    findings, name = Findings(), quoted(resource.name, 80)
    if resource.id.lower() in search.known_clusters:
        return findings
    if row is OPEN_SHIFT:
        url = first(resource.body, "properties.apiserverProfile.url")
        host = urlsplit(url).hostname if isinstance(url, str) else None
        if host not in search.known_clusters:
            how = "Add it to `kubernetes_clusters` with a `kubeconfig`."
            findings.notes.append(f"The {row.kind} {name} ({quoted(host, 100)}) {_UNUSED} {how}")
    elif row is ARC:
        how = "Collect a usage snapshot on its site (`acr-cleanup collect`), and add it with `snapshot`."
        findings.notes.append(f"The {row.kind} {name} {_UNUSED} {how}")
    elif row is FLEETS:
        for member in await reader.requests.list(f"{resource.id}/members", row.api_version):
            cluster = first(member.body, "properties.clusterResourceId")
            if isinstance(cluster, str) and cluster.lower() not in search.known_clusters:
                how = "Add it to `kubernetes_clusters`."
                findings.notes.append(f"The cluster {quoted(cluster, 200)} of fleet {name} {_UNUSED} {how}")
    elif row is REGISTRIES:
        await _read_cache_rules(search, reader, resource, findings)
    return findings


async def _read_cache_rules(search: ServiceSearch, reader: Reader, registry: Resource, findings: Findings) -> None:
    """A registry that caches from ours pulls images at any time: which ones is unknown."""
    if first(registry.body, "properties.loginServer") == search.registry.login_server:
        return
    for rule in await reader.requests.list(f"{registry.id}/cacheRules", REGISTRIES.api_version):
        source = first(rule.body, "properties.sourceRepository")
        if isinstance(source, str) and search.registry.mentioned_in(source):
            findings.notes.append(
                f"The registry {quoted(registry.name, 80)} caches {quoted(source, 200)} from this registry. "
                "Images that only its users pull count as unused."
            )
