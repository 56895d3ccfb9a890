"""
App Service and Functions: the configuration of each site and slot, their sidecars, and optionally
the snapshots of the configuration.

The list of sites does not contain the images: its `siteConfig` is mostly null
(https://github.com/Azure/azure-rest-api-specs/issues/12104).
Application settings are not read, because they contain secrets.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import yaml

from acr_cleanup.access.arm_fields import Place, first
from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.concurrency import gather
from acr_cleanup.core.workload import Workload
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, as_text, read_image, read_images
from acr_cleanup.services.reader import AT_ONCE, Reader, guarded
from acr_cleanup.services.table import SITES

_FIELDS = ("properties.linuxFxVersion", "properties.windowsFxVersion")
_COMPOSED = frozenset({"COMPOSE", "KUBE"})
_COMPOSE_IMAGES = ("services.*.image",)


async def read_site(reader: Reader, site: Resource) -> Findings:
    """Read one site and its slots. Raises `ReadFailure`."""
    kind = "FunctionApp" if "functionapp" in _kind(site) else "WebApp"
    own = partial(guarded, site.name, partial(_read_configuration, reader, site, reader.workload(kind, site.name)))
    slots = partial(guarded, site.name, partial(_read_slots, reader, site, kind))
    return Findings.of(await gather([own, slots], limit=2))


async def _read_slots(reader: Reader, site: Resource, kind: str) -> Findings:
    async def read(slot: Resource) -> Findings:
        # The name of a slot is `site/slot`.
        workload = reader.workload(kind, site.name, f"slot {slot.name.rpartition('/')[2]}")
        return await _read_configuration(reader, slot, workload)

    slots = await reader.requests.list(f"{site.id}/slots", SITES.api_version)
    return Findings.of(
        await gather([partial(guarded, slot.name, partial(read, slot)) for slot in slots], limit=AT_ONCE)
    )


async def _read_configuration(reader: Reader, site: Resource, workload: Workload) -> Findings:
    """Read the configuration of a site or slot, its sidecars and its snapshots."""
    findings = reader.read(site, (), workload)
    config = await reader.requests.get(f"{site.id}/config/web", SITES.api_version)
    if not isinstance(config.get("properties"), dict):
        raise ReadFailure(f"read the configuration of {quoted(site.name, 80)}", "it has no properties.", "Run again.")
    read_versions(config, workload, reader, findings)
    # Only Linux sites have sidecars. A site that runs code can have them too.
    kind = _kind(site)
    if first(config, _FIELDS[0]) or "linux" in kind or "container" in kind:
        for sidecar in await reader.requests.list(f"{site.id}/sitecontainers", SITES.api_version):
            findings.add(reader.read(sidecar, ("properties.image",), workload))
    if number := reader.search.site_snapshots:
        snapshots = await reader.requests.list(f"{site.id}/config/web/snapshots", SITES.api_version)
        snapshots.sort(key=lambda snapshot: str(first(snapshot.body, "properties.time") or ""), reverse=True)
        for snapshot in snapshots[:number]:
            config = await reader.requests.get(snapshot.id, SITES.api_version)
            read_versions(config, workload, reader, findings)
    return findings


def read_versions(config: dict[str, Any], workload: Workload, reader: Reader, findings: Findings) -> None:
    """
    Read `linuxFxVersion` and `windowsFxVersion`: `DOCKER|IMAGE`, `COMPOSE|BASE64`, `SITECONTAINERS`.

    A Compose file that cannot be read is a failure: it may name any image.
    """
    registry = reader.search.registry
    for path in _FIELDS:
        value = first(config, path)
        form, _, rest = value.partition("|") if isinstance(value, str) else ("", "", "")
        if form.upper() == "DOCKER":
            read_image(Place(path, "", rest), workload, registry, findings)
        elif form.upper() in _COMPOSED:
            for document in _documents(rest, path, workload):
                findings.add(read_images(document, _COMPOSE_IMAGES, workload, registry))
                # Files of old versions, and of Kubernetes, name images elsewhere.
                findings.uses += reader.search.read_text(document, workload)
        elif value is not None and registry.mentioned_in(as_text(value)):
            read_image(Place(path, "", value), workload, registry, findings)


def _documents(encoded: str, path: str, workload: Workload) -> list[Any]:
    call, repair = f"read the Compose file of {quoted(workload.name, 80)}", "Correct the Compose file of the site."
    try:
        documents = list(yaml.safe_load_all(base64.b64decode(encoded, validate=True).decode()))
    except (yaml.YAMLError, RecursionError) as error:
        raise ReadFailure(call, f"{path} is not YAML ({quoted(error, 120)}).", repair) from error
    except ValueError as error:
        raise ReadFailure(call, f"{path} is not base64 of text ({quoted(error, 80)}).", repair) from error
    if not any(isinstance(document, dict) for document in documents):
        raise ReadFailure(call, f"{path} has no services.", repair)
    return documents


def _kind(site: Resource) -> str:
    kind = site.body.get("kind")
    return kind.lower() if isinstance(kind, str) else ""
