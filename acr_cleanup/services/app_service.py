"""
App Service and Functions: the configuration of each site and slot, their sidecars, and optionally
the snapshots of the configuration.

The list of sites does not contain the images: its `siteConfig` is mostly null
(https://github.com/Azure/azure-rest-api-specs/issues/12104).
Application settings are not read, because they contain secrets.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from functools import partial
from typing import Any

import yaml

from acr_cleanup.access.arm_fields import Place, first
from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import Workload
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, as_text, read_image
from acr_cleanup.services.reader import Reader, guarded
from acr_cleanup.services.table import SITES

_FIELDS = ("properties.linuxFxVersion", "properties.windowsFxVersion")
_COMPOSED = frozenset({"COMPOSE", "KUBE"})


async def read_site(reader: Reader, site: Resource) -> Findings:
    """Read one site and its slots. Raises `ReadFailure`."""
    kind = "FunctionApp" if "functionapp" in _kind(site) else "WebApp"
    findings, slots = await gather(
        [
            partial(_read_configuration, reader, site, reader.workload(kind, site.name)),
            partial(_read_slots, reader, site, kind),
        ],
        limit=2,
    )
    findings.add(slots)
    return findings


async def _read_slots(reader: Reader, site: Resource, kind: str) -> Findings:
    findings = Findings()
    slots = await reader.requests.list(f"{site.id}/slots", SITES.api_version)

    async def read(slot: Resource) -> Findings:
        # The name of a slot is `site/slot`.
        workload = reader.workload(kind, site.name, f"slot {slot.name.rpartition('/')[2]}")
        return await _read_configuration(reader, slot, workload)

    for part in await gather([partial(guarded, slot.name, partial(read, slot)) for slot in slots], limit=8):
        findings.add(part)
    return findings


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
    if reader.search.site_snapshots:
        await _read_snapshots(reader, site, workload, findings)
    return findings


async def _read_snapshots(reader: Reader, site: Resource, workload: Workload, findings: Findings) -> None:
    snapshots = await reader.requests.list(f"{site.id}/config/web/snapshots", SITES.api_version)
    snapshots.sort(key=lambda snapshot: str(first(snapshot.body, "properties.time") or ""), reverse=True)
    for snapshot in snapshots[: reader.search.site_snapshots]:
        config = await reader.requests.get(snapshot.id, SITES.api_version)
        read_versions(config, workload, reader, findings)


def read_versions(config: dict[str, Any], workload: Workload, reader: Reader, findings: Findings) -> None:
    """
    Read `linuxFxVersion` and `windowsFxVersion`: `DOCKER|IMAGE`, `COMPOSE|BASE64`, `SITECONTAINERS`.

    A Compose file that cannot be read is a failure: it may name any image.
    """
    for path in _FIELDS:
        value = first(config, path)
        if value is None:
            continue
        form, bar, rest = value.partition("|") if isinstance(value, str) else ("", "", "")
        if form.upper() in _COMPOSED:
            for image in _composed_images(rest, path, workload):
                read_image(Place(path, image.container, image.value), workload, reader.search.registry, findings)
        elif form.upper() == "DOCKER" or not bar:
            # Without a bar, it is `SITECONTAINERS`, empty, or text that may name an image.
            if bar or reader.search.registry.mentioned_in(as_text(value)):
                read_image(Place(path, "", rest if bar else value), workload, reader.search.registry, findings)
        elif reader.search.registry.mentioned_in(value):
            read_image(Place(path, "", value), workload, reader.search.registry, findings)


def _composed_images(encoded: str, path: str, workload: Workload) -> Iterator[Place]:
    call = f"read the Compose file of {quoted(workload.name, 80)}"
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        documents = list(yaml.safe_load_all(text))
    except (binascii.Error, ValueError) as error:
        raise ReadFailure(call, f"{path} is not base64 of text ({quoted(error, 80)}).", _REPAIR) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ReadFailure(call, f"{path} is not YAML ({quoted(error, 120)}).", _REPAIR) from error
    if not any(isinstance(document, dict) for document in documents):
        raise ReadFailure(call, f"{path} has no services.", _REPAIR)
    yield from _image_keys(documents)


_REPAIR = "Correct the Compose file of the site, or delete the site."


def _image_keys(documents: list[Any]) -> Iterator[Place]:
    """Yield every value of a key `image`. Aliases of YAML are visited once."""
    rest: list[tuple[str, Any]] = [("", document) for document in documents]
    visited: set[int] = set()
    while rest:
        name, node = rest.pop()
        if not isinstance(node, dict | list) or id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, list):
            rest += [(name, item) for item in node]
            continue
        for key, value in node.items():
            if key == "image":
                yield Place("image", name, value)
            rest.append((str(key), value))


def _kind(site: Resource) -> str:
    kind = site.body.get("kind")
    return kind.lower() if isinstance(kind, str) else ""
