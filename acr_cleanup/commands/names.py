"""Writes and reads the file of names with which `collect` works without the registry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from acr_cleanup import __version__
from acr_cleanup.commands.connections import REFUSED, open_azure, open_registry
from acr_cleanup.core.references import normalise_host
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, Problem, RegistryError
from acr_cleanup.quoting import quoted
from acr_cleanup.records.encoding import content_hash
from acr_cleanup.records.names import NAMES_VERSION, NamesDocument, RegistryNames
from acr_cleanup.reports import files
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.stages.names import read_registry_names

log = logging.getLogger("acr_cleanup")


async def names(settings: Settings, runtime: Runtime, environ: Mapping[str, str], *, out: Path) -> int:
    """
    Read the names of all repositories, tags and manifests into `out`, and return the exit code.

    Raises `ConfigurationError` if the file cannot be written.
    """
    files.prepare_file(out, "out", "the names")
    read_at = datetime.now(UTC)
    try:
        async with (
            open_azure(settings, runtime, environ) as azure,
            open_registry(azure, settings) as registry,
        ):
            repositories = await registry.catalog()
            found = await read_registry_names(
                registry, settings.registry.login_server, repositories, runtime.progress, read_at
            )
        await asyncio.to_thread(out.write_bytes, encoded(found))
        tags = sum(len(repository.tags) for repository in found.repositories)
        runtime.show(f"Wrote the names of {len(found.repositories):,} repositories and {tags:,} tags to {out}.")
        code = 0
    except AcrCleanupError as error:
        log.debug("names failed", exc_info=True)
        runtime.log(Level.ERROR, f"{error} No names were written.")
        code = REFUSED
    except OSError as error:
        runtime.log(Level.ERROR, f"{out} could not be written: {error.strerror or error}.")
        code = 1
    runtime.finish()
    return code


def encoded(found: RegistryNames) -> bytes:
    document = NamesDocument(
        NAMES_VERSION, __version__, found.read_at.astimezone(UTC), found.registry, list(found.repositories), ""
    )
    document.hash = content_hash(document)
    return msgspec.json.encode(document) + b"\n"


def read_names_file(path: Path, login_server: str) -> RegistryNames:
    """Read a file that `names` wrote for this registry. Raises `ConfigurationError`."""
    remedy = f"Write it again with `acr-cleanup names --out {quoted(str(path), 80)}` where the registry can be reached."

    def refused(seen: str) -> ConfigurationError:
        return ConfigurationError((Problem("names", seen, remedy),))

    try:
        document = msgspec.json.decode(path.read_bytes(), type=NamesDocument)
    except OSError as error:
        raise refused(f"{quoted(str(path), 80)} cannot be read: {error.strerror or error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refused(f"{quoted(str(path), 80)} has no names of a registry: {quoted(error)}.") from error
    if document.schema_version != NAMES_VERSION:
        raise refused(f"{quoted(str(path), 80)} has version {document.schema_version}, and this is {NAMES_VERSION}.")
    if document.hash != content_hash(document):
        raise refused(f"{quoted(str(path), 80)} was modified after it was written (hash mismatch).")
    if normalise_host(document.registry) != normalise_host(login_server):
        raise refused(f"{quoted(str(path), 80)} has the names of {quoted(document.registry)}, not of {login_server}.")
    return RegistryNames(document.registry, document.read_at, tuple(document.repositories))


def or_names_file(error: RegistryError) -> RegistryError:
    """Add to the remedy of an error how `collect` does without the registry."""
    more = "If this machine cannot reach the registry, run `acr-cleanup names --out FILE` elsewhere, and pass --names FILE."
    return RegistryError(error.seen, where=error.where, remedy=f"{error.remedy} {more}".strip())
