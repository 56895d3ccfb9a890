"""
App Service and Functions: the configuration of each site and slot, their sidecars, and optionally
the snapshots of the configuration.

The list of sites does not contain the images: its `siteConfig` is mostly null
(https://github.com/Azure/azure-rest-api-specs/issues/12104).
Application settings are not read, because they contain secrets.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import yaml

from acr_cleanup.access.arm_fields import Place, decoded, first
from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.concurrency import gather
from acr_cleanup.core.workload import Workload
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, read_image
from acr_cleanup.services.reader import AT_ONCE, Reader, guarded
from acr_cleanup.services.table import SITES, Item

_FIELDS = ("properties.linuxFxVersion", "properties.windowsFxVersion")
_SIDECAR = Item(images=("properties.image",))
_COMPOSE = Item(images=("compose.services.*.image",))


async def read_site(reader: Reader, site: Resource) -> Findings:
    """Read one site and its slots. Raises `ReadFailure`."""
    kind = "FunctionApp" if "functionapp" in str(site.body.get("kind")).lower() else "WebApp"

    async def read_slots() -> Findings:
        slots = await reader.requests.list(f"{site.id}/slots", SITES.api_version)
        # The name of a slot is `site/slot`.
        jobs = [read(slot, f"slot {slot.name.rpartition('/')[2]}") for slot in slots]
        return Findings().add(*await gather(jobs, limit=AT_ONCE))

    def read(resource: Resource, *names: str) -> partial[Any]:
        workload = reader.workload(kind, site.name, *names)
        return partial(guarded, resource.name, partial(_read_configuration, reader, resource, workload))

    return Findings().add(*await gather([read(site), partial(guarded, site.name, read_slots)], limit=2))


async def _read_configuration(reader: Reader, site: Resource, workload: Workload) -> Findings:
    """Read the configuration of a site or slot, its sidecars and its snapshots."""
    findings = reader.read(site, Item(), workload)
    config = await reader.requests.get(f"{site.id}/config/web", SITES.api_version)
    if not isinstance(config.get("properties"), dict):
        raise ReadFailure(f"read the configuration of {quoted(site.name, 80)}", "it has no properties.", "Run again.")
    read_versions(config, workload, reader, findings)
    # Only Linux sites have sidecars. A site that runs code can have them too. `reserved` is true for Linux.
    version = str(first(config, _FIELDS[0]) or "")
    if version or first(site.body, "properties.reserved") is not False:
        listed = await reader.requests.list(f"{site.id}/sitecontainers", SITES.api_version)
        sidecars = [reader.read(sidecar, _SIDECAR, workload) for sidecar in listed]
        findings.add(*sidecars)
        if not all(sidecar.places for sidecar in sidecars) or (not sidecars and version.upper().startswith("SITECONT")):
            call, repair = f"read the sidecars of {quoted(workload.name, 80)}", "Repair or delete the site."
            findings.failures.append(ReadFailure(call, "one has no image, or all are missing.", repair))
    if number := reader.search.site_snapshots:
        snapshots = await reader.requests.list(f"{site.id}/config/web/snapshots", SITES.api_version)
        snapshots.sort(key=lambda snapshot: str(first(snapshot.body, "properties.time") or ""), reverse=True)
        for snapshot in snapshots[:number]:
            read_versions(await reader.requests.get(snapshot.id, SITES.api_version), workload, reader, findings)
    return findings


def read_versions(config: dict[str, Any], workload: Workload, reader: Reader, findings: Findings) -> None:
    """
    Read `linuxFxVersion` and `windowsFxVersion`: `DOCKER|IMAGE`, `COMPOSE|BASE64`, `SITECONTAINERS`.

    A Compose file that cannot be read is a failure: it may name any image.
    """
    for path in _FIELDS:
        value = first(config, path)
        form, _, rest = value.partition("|") if isinstance(value, str) else ("", "", "")
        if form.strip().upper() in {"COMPOSE", "KUBE"}:
            for body in _documents(rest, path, workload):
                findings.add(reader.read(Resource("", "", body), _COMPOSE, workload))
        elif value and (form.strip().upper() == "DOCKER" or reader.search.registry.mentioned_in(str(value))):
            read_image(Place(path, "", rest or value), workload, reader.search.registry, findings)


def _documents(encoded: str, path: str, workload: Workload) -> list[dict[str, Any]]:
    """Return the documents of a Compose file, and its text: old versions, and Kubernetes, name images elsewhere."""
    call, repair = f"read the Compose file of {quoted(workload.name, 80)}", "Correct the Compose file of the site."
    try:
        text = decoded(encoded)
        documents = [*yaml.safe_load_all(text)]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ReadFailure(call, f"{path} is not YAML in base64 ({quoted(error, 120)}).", repair) from error
    if not any(isinstance(document, dict) for document in documents):
        raise ReadFailure(call, f"{path} has no services.", repair)
    return [*({"compose": document} for document in documents if isinstance(document, dict)), {"text": text}]
