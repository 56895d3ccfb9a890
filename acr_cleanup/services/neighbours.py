"""Resources that are recognised and reported: clusters outside the configuration, registries that cache from ours."""

from __future__ import annotations

from urllib.parse import urlsplit

from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings
from acr_cleanup.services.reader import Reader
from acr_cleanup.services.table import FLEETS, OPEN_SHIFT, REGISTRIES, ServiceType

_OUTSIDE = "is not in the configuration. Images that only it uses count as unused."


async def describe(row: ServiceType, reader: Reader, resource: Resource) -> Findings:
    """Return the notes about one resource."""
    known = reader.search.known_clusters
    if resource.id.lower() in known:
        return Findings()
    name = quoted(resource.name, 80)
    if row is FLEETS:
        members = await reader.requests.list(f"{resource.id}/members", row.api_version)
        clusters = [first(member.body, "properties.clusterResourceId") for member in members]
        absent = [quoted(each, 200) for each in clusters if isinstance(each, str) and each.lower() not in known]
        how = "Add it to `kubernetes_clusters`."
        return Findings(notes=[f"The cluster {each} of fleet {name} {_OUTSIDE} {how}" for each in absent])
    if row is REGISTRIES:
        return await _describe_registry(reader, resource)
    how = "Collect a usage snapshot on its site (`acr-cleanup collect`), and add it with `snapshot`."
    if row is OPEN_SHIFT:
        url = first(resource.body, "properties.apiserverProfile.url")
        host = urlsplit(url).hostname if isinstance(url, str) else None
        if host in known:
            return Findings()
        name, how = f"{name} ({quoted(host, 100)})", "Add it to `kubernetes_clusters` with a `kubeconfig`."
    return Findings(notes=[f"The {row.kind} {name} {_OUTSIDE} {how}"])


async def _describe_registry(reader: Reader, registry: Resource) -> Findings:
    """Report another registry whose cache rules pull from ours."""
    ours, findings = reader.search.registry, Findings()
    if first(registry.body, "properties.loginServer") == ours.login_server:
        return findings
    for rule in await reader.requests.list(f"{registry.id}/cacheRules", REGISTRIES.api_version):
        source = first(rule.body, "properties.sourceRepository")
        if isinstance(source, str) and ours.mentioned_in(source):
            caches = f"The registry {quoted(registry.name, 80)} caches {quoted(source, 200)} from this registry."
            findings.notes.append(f"{caches} Images that only its users pull count as unused.")
    return findings
