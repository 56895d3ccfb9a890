"""
`init`: finds the registry and the clusters, and writes the configuration and everything around it.

It reads Azure with the login at hand and changes nothing there: what it would change is in scripts, to
be read first. It asks, or takes flags with `--yes`. No file is overwritten without `--force` or a yes.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import Subscription, arm_problem
from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import NotRegisteredError, Requests, Resource
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.access.federation import LoginChoice
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.access.resource_manager import ResourceManager, list_resources, open_manager
from acr_cleanup.clusters.survey import survey_clusters
from acr_cleanup.commands.connections import REFUSED, open_azure
from acr_cleanup.commands.init_files import (
    CONFIG,
    PIPELINES,
    RIGHTS,
    TRUST,
    FoundResource,
    Setup,
    configuration,
    pipeline,
    trust,
)
from acr_cleanup.commands.init_request import Ci, InitRequest
from acr_cleanup.commands.permissions import registry_mode
from acr_cleanup.commands.rights.required import required_rights
from acr_cleanup.commands.rights.shell import shell
from acr_cleanup.concurrency import gather
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, Problem
from acr_cleanup.quoting import quoted
from acr_cleanup.reports import words
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import grammar
from acr_cleanup.settings.load import load_settings
from acr_cleanup.stages import connect

_AT_ONCE = 8
_NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
_VERSIONS = {roles.REGISTRIES: "2025-11-01", roles.MANAGED_CLUSTERS: "2025-01-01"}
_REPOSITORY = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_CONNECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()-]*")
_REMOTE = re.compile(r"github\.com[:/](?P<repository>[A-Za-z0-9-]+/[A-Za-z0-9._-]+?)(?:\.git)?/?\s*$", re.MULTILINE)

Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class FoundInAzure:
    """The resources that the login sees. problems: subscriptions that could not be read; sentences."""

    registries: tuple[FoundResource, ...]
    clusters: tuple[FoundResource, ...]
    problems: tuple[str, ...]


def from_stdin(question: str) -> str:
    """Ask on stderr, and return the answer. Raises `ConfigurationError` without an answer."""
    sys.stderr.write(f"{question} ")
    sys.stderr.flush()
    line = sys.stdin.readline() if sys.stdin is not None else ""
    if not line:
        remedy = "Run it in a terminal, or give --yes and the flags that `acr-cleanup init --help` lists."
        raise ConfigurationError((Problem("init", "The question was not answered.", remedy),))
    return line.strip()


def init(request: InitRequest, runtime: Runtime, environ: Mapping[str, str], ask: Ask = from_stdin) -> int:
    """
    Find, ask, write, and return the exit code. Raises `ConfigurationError`.

    Not a coroutine: questions between two reads of Azure must not block its connections.
    """
    environment = grammar.parse_environment(environ.get("ARM_ENVIRONMENT") or "azurecloud")
    request = _with_repository(request)
    _check(request)
    try:
        found = asyncio.run(_find(environment, runtime, environ))
        for problem in found.problems:
            runtime.log(Level.WARNING, problem)
        setup = _choose(request, found, environment, runtime, ask)
        texts = {CONFIG: configuration(setup)}
        if setup.ci is not Ci.NONE:
            texts |= {TRUST: trust(setup), PIPELINES[setup.ci]: pipeline(setup)}
        _may_write(request, [*texts, RIGHTS], ask)
        written = [_write(request, name, text) for name, text in texts.items()]
        rights = asyncio.run(_rights(request.folder / CONFIG, runtime, environ))
        written.append(_write(request, RIGHTS, f"{rights}\n"))
    except AcrCleanupError as error:
        if isinstance(error, ConfigurationError):
            raise
        runtime.log(Level.ERROR, f"{error}")
        return REFUSED
    except OSError as error:
        runtime.log(Level.ERROR, f"{error.filename}: {error.strerror or error}.")
        return 1
    runtime.show("\n".join([*written, "", *_next_steps(request, setup)]))
    runtime.finish()
    return 0


def _with_repository(request: InitRequest) -> InitRequest:
    """Take the repository from the folder, if it is a clone of one on GitHub."""
    if request.repository or request.ci not in ("", Ci.GITHUB):
        return request
    try:
        remote = _REMOTE.search((request.folder / ".git" / "config").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return request
    return replace(request, repository=remote["repository"]) if remote else request


def _check(request: InitRequest) -> None:
    """Check what is written into scripts. Raises `ConfigurationError` with every problem."""
    problems = []
    for name, value, pattern, form in (
        ("--repository", request.repository, _REPOSITORY, "ORG/REPO"),
        ("--branch", request.branch, _BRANCH, "the name of a branch, such as main"),
        ("--connection", request.connection, _CONNECTION, "the name of a service connection"),
    ):
        if value and not pattern.fullmatch(value):
            problems.append(Problem(name, f"{quoted(value, 80)!r} cannot be used.", f"Give {form}."))
    if not request.folder.is_dir():
        problems.append(
            Problem("--folder", f"{str(request.folder)!r} is not a folder.", "Create it, or name another one.")
        )
    if problems:
        raise ConfigurationError(tuple(problems))


# -- find ------------------------------------------------------------------------------------------


@asynccontextmanager
async def _azure(environment: str, runtime: Runtime, environ: Mapping[str, str]) -> AsyncIterator[Azure]:
    login = LoginChoice()
    async with connect.open_azure(
        CLOUDS[environment], login, environ, id_tokens=runtime.id_token, mask=runtime.mask
    ) as azure:
        yield azure


async def _find(environment: str, runtime: Runtime, environ: Mapping[str, str]) -> FoundInAzure:
    """List the registries and the clusters of all subscriptions that the login sees. Raises `AcrCleanupError`."""
    async with _azure(environment, runtime, environ) as azure, open_manager(azure) as manager:
        try:
            subscriptions = await _subscriptions(manager)
        except ReadFailure as failure:
            raise AcrCleanupError(failure.seen, where=failure.call, remedy=failure.remedy) from failure
        gate, problems = asyncio.Semaphore(_AT_ONCE), list[str]()

        async def read(subscription: str, kind: str) -> list[Resource]:
            requests = Requests(manager, subscription, gate)
            try:
                return await requests.list(f"/subscriptions/{subscription}/providers/{kind}", _VERSIONS[kind])
            except NotRegisteredError:
                return []
            except ReadFailure as failure:
                problems.append(f"Subscription {subscription}: {failure.call}: {failure.seen} {failure.remedy}")
                return []

        async def read_all(kind: str) -> tuple[FoundResource, ...]:
            lists = await gather([partial(read, name, kind) for name in subscriptions], limit=_AT_ONCE)
            found = [_resource(item) for items in lists for item in items]
            return tuple(sorted(found, key=lambda resource: resource.resource_id.lower()))

        registries, clusters = await gather(
            [partial(read_all, roles.REGISTRIES), partial(read_all, roles.MANAGED_CLUSTERS)], limit=2
        )
    return FoundInAzure(registries, clusters, tuple(problems))


async def _subscriptions(manager: ResourceManager) -> list[str]:
    """Return the ids of all subscriptions. Raises `ReadFailure`."""
    client = await manager.client(_NO_SUBSCRIPTION)
    with arm_problem("list the subscriptions", Subscription(_NO_SUBSCRIPTION), role=roles.READER.name):
        items = await list_resources(client, "/subscriptions", "2022-12-01")
    ids = [str(first(item, "subscriptionId") or "").lower() for item in items]
    return [name for name in dict.fromkeys(ids) if re.fullmatch(r"[0-9a-f-]{36}", name)]


def _resource(item: Resource) -> FoundResource:
    return FoundResource(item.id, item.name, str(first(item.body, "properties.loginServer") or ""))


async def _rights(config: Path, runtime: Runtime, environ: Mapping[str, str]) -> str:
    """Return the script of `acr-cleanup permissions` for the written configuration."""
    settings = load_settings(config, {}, environ)
    async with open_azure(settings, runtime, environ) as azure:
        surveys = await survey_clusters(settings.clusters, azure)
        mode = await registry_mode(settings, azure)
    return shell(required_rights(settings, surveys, mode=mode))


# -- choose ----------------------------------------------------------------------------------------


def _choose(request: InitRequest, found: FoundInAzure, environment: str, runtime: Runtime, ask: Ask) -> Setup:
    """Choose by the flags, or ask. Raises `ConfigurationError`."""
    registry = _choose_registry(request, found.registries, runtime, ask)
    clusters = _choose_clusters(request, found.clusters, runtime, ask)
    ci = request.ci or (Ci.GITHUB if request.repository else "")
    if not ci and not request.yes:
        ci = ask(f"On which CI system will it run ({', '.join(Ci)})?").lower()
    if ci not in tuple(Ci):
        seen = f"{quoted(ci, 40)!r} is not a CI system." if ci else "It is not known which CI system will run it."
        raise ConfigurationError((Problem("--ci", seen, f"Give one of {', '.join(Ci)}."),))
    repository = request.repository
    if ci == Ci.GITHUB and not repository and not request.yes:
        repository = ask("Which repository on GitHub (ORG/REPO)?")
        _check(replace(request, repository=repository))
    if ci == Ci.GITHUB and not repository:
        seen = "The folder is not a clone of a repository on GitHub."
        raise ConfigurationError((Problem("--repository", seen, "Give --repository ORG/REPO."),))
    return Setup(registry, clusters, environment, Ci(ci), repository, request.branch, request.connection)


def _choose_registry(
    request: InitRequest, registries: Sequence[FoundResource], runtime: Runtime, ask: Ask
) -> FoundResource:
    wanted = request.registry.lower()
    matching = [each for each in registries if not wanted or wanted in (each.name.lower(), each.login_server.lower())]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(each.login_server for each in registries)
    if not matching:
        seen = f"The login sees no registry {quoted(request.registry, 80)}".rstrip() + (
            f", but {names}." if names else "."
        )
        remedy = f"Give the identity the role {roles.READER} on the registry, or log in as another one (`az login`)."
        raise ConfigurationError((Problem("--registry", seen, remedy),))
    if request.yes:
        remedy = "Name the one to clean with --registry."
        raise ConfigurationError((Problem("--registry", f"The login sees several: {names}.", remedy),))
    for number, registry in enumerate(matching, 1):
        runtime.log(Level.INFO, f"  {number}. {registry.login_server} (resource group {registry.group})")
    answer = ask(f"Which registry is to be cleaned (1-{len(matching)})?")
    if answer.isdecimal() and 1 <= int(answer) <= len(matching):
        return matching[int(answer) - 1]
    return _choose_registry(replace(request, registry=answer or "?", yes=True), registries, runtime, ask)


def _choose_clusters(
    request: InitRequest, clusters: Sequence[FoundResource], runtime: Runtime, ask: Ask
) -> tuple[FoundResource, ...]:
    if request.clusters:
        return tuple(_named_cluster(resource_id) for resource_id in dict.fromkeys(request.clusters))
    if not clusters:
        seen = "The login sees no AKS cluster, and without one no image is known to be in use."
        remedy = f"Give the identity the role {roles.READER} on the clusters, or name them with --clusters RESOURCE_ID."
        raise ConfigurationError((Problem("--clusters", seen, remedy),))
    for number, cluster in enumerate(clusters, 1):
        runtime.log(Level.INFO, f"  {number}. {cluster.name} (resource group {cluster.group})")
    if request.yes:
        return tuple(clusters)
    answer = ask("Which clusters pull from it (numbers, separated by commas; empty for all)?")
    numbers = [part.strip() for part in answer.split(",") if part.strip()]
    if not all(number.isdecimal() and 1 <= int(number) <= len(clusters) for number in numbers):
        raise ConfigurationError(
            (
                Problem(
                    "--clusters",
                    f"{quoted(answer, 80)!r} does not name clusters.",
                    f"Give numbers from 1 to {len(clusters)}.",
                ),
            )
        )
    return tuple(clusters[int(number) - 1] for number in dict.fromkeys(numbers)) or tuple(clusters)


def _named_cluster(resource_id: str) -> FoundResource:
    try:
        grammar.parse_resource_id(resource_id)
    except grammar.InvalidOption as error:
        raise ConfigurationError((Problem("--clusters", error.seen, error.remedy),)) from error
    return FoundResource(resource_id.strip().rstrip("/"), resource_id.strip().rstrip("/").rpartition("/")[2])


# -- write -----------------------------------------------------------------------------------------


def _may_write(request: InitRequest, names: Sequence[str], ask: Ask) -> None:
    """Ask before any file is written whether those that exist may be overwritten. Raises `ConfigurationError`."""
    existing = [name for name in names if (request.folder / name).exists()]
    if not existing or request.force:
        return
    if not request.yes and ask(f"Overwrite {words.listing(existing)} (yes or no)?").lower() in ("y", "yes"):
        return
    remedy = "Give --force to overwrite it, or --folder for another folder. Nothing was written."
    raise ConfigurationError(tuple(Problem(name, "This file exists already.", remedy) for name in existing))


def _write(request: InitRequest, name: str, text: str) -> str:
    """Write one file, and say so."""
    path = request.folder / name
    verb = "Overwrote" if path.exists() else "Wrote"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"{verb} {path}"


def _next_steps(request: InitRequest, setup: Setup) -> list[str]:
    script = request.folder / (RIGHTS if setup.ci is Ci.NONE else TRUST)
    identity = " --identity OBJECT_ID" if setup.ci is Ci.NONE else ""
    config = request.folder / CONFIG
    steps = [
        f"Read {script}, and run it as a user who may assign roles: sh {script}{identity}",
        f"Check that nothing is missing: acr-cleanup check {config}",
        f"See what would be deleted: acr-cleanup plan {config}",
    ]
    if setup.ci in PIPELINES:
        steps.append(f"Commit {CONFIG} and {PIPELINES[setup.ci]}. Its runs delete nothing until you edit it.")
    return ["Next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))]
