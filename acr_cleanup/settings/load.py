"""Merge flags or inputs, the file and the environment into `Settings`, or report all problems."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from acr_cleanup.access.clouds import CLOUDS, Cloud
from acr_cleanup.access.federation import AuthType
from acr_cleanup.access.network import environment_problems
from acr_cleanup.clusters.target import Access, ClusterTarget, Waiver
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster, SnapshotCluster
from acr_cleanup.core.references import DEFAULT_TAG, RegistryHost
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.settings.file import place, read_config
from acr_cleanup.settings.form import (
    AksById,
    AksByName,
    ByKubeconfig,
    BySnapshot,
    CloudEntry,
    File,
    FileKeys,
    Inputs,
    Model,
    RegistryEntry,
)
from acr_cleanup.settings.grammar import (
    InvalidOption,
    as_boolean,
    as_client_id,
    as_tenant_id,
    did_you_mean,
    is_bare_name,
    nearest,
    parse_endpoint,
    parse_environment,
    shown,
)
from acr_cleanup.settings.kinds import USE_REGEX
from acr_cleanup.settings.mistakes import key_of, place_in_file, validate
from acr_cleanup.settings.options import DEFAULTS, Settings

T = TypeVar("T")

_FILE_ONLY = FileKeys.model_fields.keys()


def load_settings(
    config: Path | None,
    overrides: Mapping[str, str | Sequence[str] | None],
    environ: Mapping[str, str],
    *,
    needs_clusters: bool = True,
) -> Settings:
    """
    Load the settings of this run.

    overrides: flags or inputs by name (`older-than` or `older_than`). None and an empty text mean
        that the value was not given.
    needs_clusters: False for commands that do not plan. The configuration may then list no
        clusters.
    Raises `ConfigurationError` with every problem of every source.
    """
    problems: list[Problem] = []
    tree: dict[str, Any] = {}
    if config is not None:
        tree, problems = read_config(config)
        tree.pop("$schema", None)
    # A mistake in the file removes only its own part, so that one run reports all mistakes.
    given = {key_of(name): value for name, value in overrides.items() if not _absent(value)}
    # The file may set use_regex for patterns of the inputs, and the other way round.
    context = {USE_REGEX: _use_regex(tree, given)}
    file, file_problems = validate(File, tree, place_in_file, context)
    inputs, input_problems = validate(Inputs, given, lambda loc: str(loc[0]).replace("_", "-"), context)
    problems += file_problems + input_problems + environment_problems(environ)

    broken = {problem.path for problem in problems}
    options = _given(file) | _given(inputs)
    values = DEFAULTS | {key: value for key, value in options.items() if value is not None}
    if "max_deletions" in options and options["max_deletions"] is None:
        values["max_deletions"] = 0  # Both 0 and null mean no limit.
    folder = config.parent if config is not None else Path()
    environment, cloud = _cloud(options, file, environ, problems)
    may_be_empty = not needs_clusters or any(path.startswith("kubernetes_clusters") for path in broken)
    clusters = _clusters(file, options, folder, problems, may_be_empty)
    registry = _registry(file, options, cloud, problems, broken)
    _check_waivers(options, clusters, problems, broken)
    _check_policy(values, problems, broken)
    login = _login(options, environ, problems, broken)
    if problems or registry is None:
        raise ConfigurationError(tuple(problems), where=str(config) if config is not None else "")

    entry = file.container_registry or RegistryEntry()
    combined = {
        "config_file": config,
        "environment": environment,
        "registry": registry,
        "clusters": clusters,
        "exclude_tags": _exclude_tags(values["include_tags"], options.get("exclude_tags")),
        **login,
    }
    return Settings(
        cloud=cloud,
        registry_subscription_id=entry.subscription_id,
        registry_resource_group=entry.resource_group,
        **values | combined,
    )


def _given(source: Model) -> dict[str, Any]:
    """Return the options that a source gives, by key. A null in the file is a given value."""
    return {key: getattr(source, key) for key in source.model_fields_set - _FILE_ONLY}


def _absent(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_absent(item) for item in value)
    return value is None or (isinstance(value, str) and not value.strip())


def _use_regex(tree: Mapping[str, Any], given: Mapping[str, Any]) -> bool | None:
    """
    Are patterns regular expressions?

    None if the value is invalid, which is a problem of its own.
    """
    value = given.get(USE_REGEX, tree.get(USE_REGEX))
    try:
        return value is not None and as_boolean(str(value))
    except InvalidOption:
        return None


def _cloud(
    options: Mapping[str, Any], file: FileKeys, environ: Mapping[str, str], problems: list[Problem]
) -> tuple[str, Cloud]:
    """
    Return the name of the cloud, and its endpoints.

    The name of a single endpoint takes precedence over the name of a cloud. For each of the two,
    the file takes precedence over the environment.
    """
    named = options.get("environment") or _from_environ("ARM_ENVIRONMENT", parse_environment, environ, problems)
    name: str = named or DEFAULTS["environment"]
    cloud = CLOUDS[name]
    authority = _from_environ("AZURE_AUTHORITY_HOST", parse_endpoint, environ, problems)
    if authority:
        cloud = replace(cloud, authority=authority)
    entry = file.cloud or CloudEntry()
    if entry.authority:
        cloud = replace(cloud, authority=entry.authority)
    if entry.resource_manager:
        cloud = replace(
            cloud, resource_manager=entry.resource_manager, resource_manager_audience=entry.resource_manager
        )
    if entry.audience:
        cloud = replace(cloud, audience=entry.audience)
    return name, cloud


def _from_environ(
    variable: str, parse: Callable[[str], T], environ: Mapping[str, str], problems: list[Problem]
) -> T | None:
    text = environ.get(variable, "").strip()
    if not text:
        return None
    try:
        return parse(text)
    except InvalidOption as invalid:
        problems.append(Problem(variable, invalid.seen, invalid.remedy))
        return None


def _login(
    options: Mapping[str, Any], environ: Mapping[str, str], problems: list[Problem], broken: set[str]
) -> dict[str, str]:
    """
    Return the ids for the chosen login, which the environment may give.

    Without `auth-type`, which only a pipeline gives, there is no choice, and the environment
    decides.
    """
    auth_type: AuthType | None = options.get("auth_type")
    client, tenant = options.get("client_id") or "", options.get("tenant_id") or ""
    if auth_type is None:
        return {"client_id": "", "tenant_id": ""}
    # Steps of Azure Pipelines that log in, such as AzureCLI@2, export the ids with another prefix.
    further = "AZURESUBSCRIPTION_" if auth_type is AuthType.AZURE_PIPELINES else "AZURE_"
    prefix = "AZURE_" if environ.get("AZURE_CLIENT_ID", "").strip() else further
    if auth_type is not AuthType.ENVIRONMENT:
        client = client or _from_environ(f"{prefix}CLIENT_ID", as_client_id, environ, problems) or ""
    if auth_type.is_federated:
        tenant = tenant or _from_environ(f"{prefix}TENANT_ID", as_tenant_id, environ, problems) or ""
        for name, value, what in (("client-id", client, "application (client) id"), ("tenant-id", tenant, "tenant id")):
            if (
                not value
                and name not in broken
                and not environ.get(f"{prefix}{name.replace('-', '_').upper()}", "").strip()
            ):
                remedy = (
                    f"Give the {what} of the identity whose federated credential trusts this job, "
                    "or choose another auth-type."
                )
                problems.append(Problem(name, f"It is missing, and auth-type {auth_type} needs it.", remedy))
    return {"client_id": client, "tenant_id": tenant}


def _clusters(
    file: FileKeys, options: Mapping[str, Any], folder: Path, problems: list[Problem], may_be_empty: bool
) -> tuple[ClusterTarget, ...]:
    entries = [
        _target(key, entry, place(("kubernetes_clusters", key)), folder, problems)
        for key, entry in (file.kubernetes_clusters or {}).items()
    ]
    taken = {target.key for _, target in entries}
    for subscription, group, name in options.get("clusters") or ():
        key = name if name not in taken else f"{name} ({group})"
        taken.add(key)
        entries.append(("clusters", AksCluster(key, name, subscription, group)))

    targets: list[ClusterTarget] = []
    places: dict[tuple[str, ...], str] = {}
    for where, target in entries:
        identity = target.place()
        if identity in places:
            seen = f"This is the same cluster as {places[identity]}."
            problems.append(Problem(where, seen, "Remove one of the two."))
            continue
        places[identity] = where
        targets.append(target)
    if not targets and not may_be_empty:
        problems.append(
            Problem(
                # Without a file, the clusters are expected from the input or flag.
                "kubernetes_clusters" if file.model_fields_set else "clusters",
                "No cluster is configured.",
                "Add every cluster that may use the registry: without them, everything would look unused.",
            )
        )
    return tuple(targets)


def _target(
    key: str,
    entry: AksByName | AksById | ByKubeconfig | BySnapshot,
    where: str,
    folder: Path,
    problems: list[Problem],
) -> tuple[str, ClusterTarget]:
    """Return the place of an entry in the file, and the cluster that it describes."""
    if isinstance(entry, ByKubeconfig):
        return where, _kubeconfig(key, entry, where, folder, problems)
    if isinstance(entry, BySnapshot):
        return where, _snapshot(key, entry, folder)
    subscription, group, name = (
        entry.resource_id if isinstance(entry, AksById) else (entry.subscription_id, entry.resource_group, entry.name)
    )
    return where, AksCluster(key, name, subscription, group, entry.access or Access.AUTO)


def _kubeconfig(key: str, entry: ByKubeconfig, where: str, folder: Path, problems: list[Problem]) -> KubeconfigCluster:
    try:
        path = folder / Path(entry.kubeconfig).expanduser()
        missing = not path.is_file()
    except (RuntimeError, OSError, ValueError):
        # There is no home folder for `~`, or the system does not accept the path.
        path, missing = Path(entry.kubeconfig), True
    if missing:
        seen = f"There is no file {shown(str(path))}."
        remedy = "Correct the path; it is relative to the folder of the configuration file."
        problems.append(Problem(f"{where}.kubeconfig", seen, remedy))
    return KubeconfigCluster(key, path, entry.context)


def _snapshot(key: str, entry: BySnapshot, folder: Path) -> SnapshotCluster:
    # A missing file is not a configuration error, since the job that collects it may have failed.
    # It becomes a blocker when the clusters are read.
    try:
        path = folder / Path(entry.snapshot).expanduser()
    except RuntimeError:
        path = Path(entry.snapshot)
    resource_id = (
        AksCluster(key, entry.resource_id[2], *entry.resource_id[:2]).resource_id if entry.resource_id else None
    )
    target = SnapshotCluster(key, path, resource_id=resource_id)
    return target if entry.max_age is None else replace(target, max_age=entry.max_age)


def _check_waivers(
    options: Mapping[str, Any], clusters: Sequence[ClusterTarget], problems: list[Problem], broken: set[str]
) -> None:
    """
    Report waivers for unknown clusters, unless an invalid cluster may be the one that they name.
    """
    if any(path.startswith(("kubernetes_clusters", "clusters")) for path in broken):
        return
    waivers: tuple[Waiver, ...] = options.get("waive") or ()
    keys = [target.key for target in clusters]
    for waiver in waivers:
        if waiver.cluster not in keys:
            seen = f"There is no cluster {shown(waiver.cluster)}.{did_you_mean(nearest(waiver.cluster, keys))}"
            problems.append(Problem("waive", seen, "Write the name that the cluster has in the configuration."))


def _registry(
    file: FileKeys,
    options: Mapping[str, Any],
    cloud: Cloud,
    problems: list[Problem],
    broken: set[str],
) -> RegistryHost | None:
    entry = file.container_registry or RegistryEntry()
    host: str | None = options.get("registry") or entry.url
    if host is None:
        if broken.isdisjoint({"container_registry", "container_registry.url", "registry"}):
            remedy = "Add the login server of the registry: contoso.azurecr.io"
            where = "container_registry.url" if file.model_fields_set else "registry"
            problems.append(Problem(where, "No registry is configured.", remedy))
        return None
    login_server = f"{host}.{cloud.registry_suffix}" if is_bare_name(host) else host
    aliases = frozenset((*(entry.aliases or ()), *(options.get("registry_aliases") or ())))
    return RegistryHost(login_server, aliases - {login_server})


def _check_policy(values: Mapping[str, Any], problems: list[Problem], broken: set[str]) -> None:
    for key in ("repositories", "include_tags"):
        if values[key] == ():
            seen = "The list is empty: nothing would ever be deleted."
            problems.append(Problem(key, seen, "Add a pattern, or remove the key to select all."))
    if values["keep_last_by"] and values["keep_last"] == 0 and broken.isdisjoint({"keep_last", "keep-last"}):
        seen = "keep_last is 0, so keep_last_by keeps no tag."
        remedy = "Set keep_last to the number of tags to keep in each group, or remove keep_last_by."
        problems.append(Problem("keep_last_by", seen, remedy))


def _exclude_tags(included: Collection[str], excluded: tuple[str, ...] | None) -> tuple[str, ...]:
    """
    Return the excluded tags, with `latest`.

    `latest` may only be deleted if it is included by name, or if an empty list excludes nothing.
    """
    asked_for = DEFAULT_TAG in included or excluded == ()
    default = () if asked_for or DEFAULT_TAG in (excluded or ()) else (DEFAULT_TAG,)
    return (*default, *(excluded or ()))
