"""
Prints the rights that a configuration needs, to be read before they are granted.

The registry is asked for its role assignment mode, and the clusters for their settings and API
groups. A comment names each one that could not be asked. access/roles.py has the table of rights;
the folder `rights` has one file per format.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.find_registry import find_registry
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.access.resource_manager import open_manager
from acr_cleanup.access.roles import Command
from acr_cleanup.clusters.survey import survey_clusters
from acr_cleanup.clusters.target import ClusterSurvey
from acr_cleanup.commands.connections import open_azure
from acr_cleanup.commands.rights.bicep import bicep
from acr_cleanup.commands.rights.kubernetes import kubernetes
from acr_cleanup.commands.rights.required import Mode, RequiredRights, required_rights
from acr_cleanup.commands.rights.shell import shell
from acr_cleanup.commands.rights.terraform import terraform
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, Problem
from acr_cleanup.quoting import quoted
from acr_cleanup.runtimes.base import Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.settings.grammar import GUID

FORMATS: Mapping[str, Callable[[RequiredRights], str]] = {
    "shell": shell,
    "bicep": bicep,
    "terraform": terraform,
    "kubernetes": kubernetes,
}

log = logging.getLogger("acr_cleanup")


@dataclass(frozen=True, slots=True)
class PermissionsRequest:
    """
    The options of the command.

    format: a key of `FORMATS`. identity: the object id of the identity; empty if it is not known.

    Raises `ConfigurationError` if the identity is not an object id.
    """

    format: str = "shell"
    command: Command = Command.APPLY
    identity: str = ""

    def __post_init__(self) -> None:
        if self.identity and not GUID.fullmatch(self.identity):
            seen = f"{self.identity!r} is not an object id."
            remedy = "Give the GUID that this prints: az ad sp show --id CLIENT_ID --query id --output tsv"
            raise ConfigurationError((Problem("--identity", seen, remedy),))


async def permissions(
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    request: PermissionsRequest | None = None,
) -> int:
    """Print the rights and return exit code 0, also if the registry or a cluster cannot be asked."""
    request = request or PermissionsRequest()
    done = 0

    def report(cluster: ClusterSurvey) -> None:
        nonlocal done
        done += 1
        result = "could not be asked" if cluster.problem is not None else "asked"
        runtime.progress("clusters", done, len(settings.clusters), f"{cluster.target.key}: {result}")

    runtime.progress("clusters", 0, len(settings.clusters), "")
    mode = Mode.UNKNOWN
    try:
        async with open_azure(settings, runtime, environ) as azure:
            clusters = await survey_clusters(settings.clusters, azure, progress=report)
            mode = await registry_mode(settings, azure)
    except AcrCleanupError as error:
        # Users may print the script before they can log in with the identity.
        problem = ReadFailure("log in", quoted(error.seen), quoted(error.remedy))
        clusters = tuple(ClusterSurvey(target, problem=problem) for target in settings.clusters)
    rights = required_rights(settings, clusters, mode=mode, command=request.command, identity=request.identity)
    runtime.show(FORMATS[request.format](rights))
    runtime.finish()
    return 0


async def registry_mode(settings: Settings, azure: Azure) -> Mode:
    """Ask Azure how the registry checks rights. Anything that prevents an answer is `UNKNOWN`."""
    place = settings.registry_place
    if not place.list_path:
        return Mode.UNKNOWN
    try:
        async with open_manager(azure) as manager:
            registry = await find_registry(lambda name: Requests(manager, name, asyncio.Semaphore(1)), place)
    except Exception:  # the rights are printed anyway, for both modes
        log.debug("reading the mode of the registry", exc_info=True)
        return Mode.UNKNOWN
    mode = first(registry.body, "properties.roleAssignmentMode") if registry is not None else None
    if not mode or not isinstance(mode, str):
        return Mode.UNKNOWN
    return Mode.ABAC if mode.lower() == "abacrepositorypermissions" else Mode.PLAIN
