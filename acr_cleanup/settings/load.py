"""Puts flags or inputs, the file and the environment together into one `Settings`, and reports every problem at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from acr_cleanup.access.credentials import CLOUDS, Cloud
from acr_cleanup.access.federation import FEDERATION_AUDIENCE, AuthType, LoginChoice
from acr_cleanup.access.network import environment_problems
from acr_cleanup.clusters.targets import (
    Access,
    AksCluster,
    ClusterTarget,
    KubeconfigCluster,
    SnapshotCluster,
    Waiver,
)
from acr_cleanup.core.limits import Limits
from acr_cleanup.core.policy import RetentionPolicy, Scope
from acr_cleanup.core.references import DEFAULT_TAG, Registry
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.settings.file import place, read_config
from acr_cleanup.settings.form import (
    ENTRY_FORMS,
    USE_REGEX,
    AksById,
    ByKubeconfig,
    BySnapshot,
    CloudEntry,
    File,
    InputValues,
    Model,
    Options,
    RegistryEntry,
)
from acr_cleanup.settings.grammar import (
    Wrong,
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
from acr_cleanup.settings.inputs import FailOn, LogLevel


@dataclass(frozen=True, slots=True)
class Settings:
    """
    All that a run needs to know. `report_dir` is relative to the working directory.

    `dry_run` and `summary` are what the inputs of a pipeline say; the command line says the one by its verb, and has no
    place for the other.
    """

    registry: Registry
    clusters: tuple[ClusterTarget, ...]
    policy: RetentionPolicy
    limits: Limits
    cloud: Cloud
    concurrency: int = 8
    report_dir: Path = Path("acr-cleanup")
    log_level: LogLevel = "info"
    registry_subscription_id: str | None = None
    registry_resource_group: str | None = None
    login: LoginChoice = field(default_factory=LoginChoice)
    fail_on: frozenset[FailOn] = frozenset({FailOn.DELETE_ERRORS})
    dry_run: bool = True
    summary: bool = True
    helm_history: int = 0
    waive: tuple[Waiver, ...] = ()
    subscriptions: tuple[str, ...] = ()
    """Where to look for forgotten clusters; empty: in the subscriptions of the configured ones."""
    require_all_clusters: bool = False
    apply_plan: Path | None = None
    """A reviewed plan: nothing beyond it is deleted."""
    plan_max_age: timedelta = timedelta(days=7)
    verify: bool = True
    backup: bool = False
    exact_sizes: bool = False


def load_settings(
    config: Path | None,
    overrides: Mapping[str, str | Sequence[str] | None],
    environ: Mapping[str, str],
    *,
    needs_clusters: bool = True,
) -> Settings:
    """
    The settings of this run.

    `overrides` holds flags or inputs by name (`older-than` or `older_than`); an empty text or None was not given. Whoever decides
    nothing `needs_clusters` to be named neither.
    Raises `ConfigurationError` with every problem of every source.
    """
    problems: list[Problem] = []
    tree: dict[str, Any] = {}
    if config is not None:
        tree, problems = read_config(config)
        tree.pop("$schema", None)
    # A problem in the file hides its part only, so that one run reports all of them.
    given = {_key(name): value for name, value in overrides.items() if not _absent(value)}
    given.pop("config_file", None)
    # What a pattern is may be said elsewhere than the pattern.
    context = {USE_REGEX: _use_regex(tree, given)}
    file, file_problems = _validate(File, tree, _place_in_file, context)
    inputs, input_problems = _validate(InputValues, given, lambda loc: str(loc[0]).replace("_", "-"), context)
    problems += file_problems + input_problems + environment_problems(environ)

    broken = {problem.path for problem in problems}
    options = _merged(file, inputs)
    folder = config.parent if config is not None else Path()
    cloud = _cloud(options, file, environ, problems)
    unasked = not needs_clusters or any(path.startswith("kubernetes_clusters") for path in broken)
    clusters = _clusters(file, inputs, folder, problems, unasked)
    registry = _registry(file, inputs, options, cloud, problems, broken)
    waive = _waivers(options, clusters, problems, broken)
    policy = _policy(options, problems, broken)
    login = _login(inputs, environ, problems, broken)
    if problems or registry is None:
        raise ConfigurationError(tuple(problems), where=str(config) if config is not None else "")

    limits = Limits(percent=options.get("max_deletion_percent"))
    if "max_deletions" in options:
        limits = replace(limits, deletions=options["max_deletions"] or None)
    entry = file.container_registry or RegistryEntry()
    plain = (
        "concurrency",
        "fail_on",
        "log_level",
        "helm_history",
        "subscriptions",
        "require_all_clusters",
        "plan_max_age",
        "verify",
        "backup",
        "exact_sizes",
    )
    known = {key: options[key] for key in plain if options.get(key) is not None}
    known |= {key: getattr(inputs, key) for key in ("dry_run", "summary") if getattr(inputs, key) is not None}
    if inputs.apply_plan is not None:
        known["apply_plan"] = Path(inputs.apply_plan)
    if options.get("report_dir") is not None:
        known["report_dir"] = Path(options["report_dir"])
    return Settings(
        registry=registry,
        clusters=clusters,
        policy=policy,
        limits=limits,
        cloud=cloud,
        registry_subscription_id=entry.subscription_id,
        registry_resource_group=entry.resource_group,
        login=login,
        waive=waive,
        **known,
    )


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _absent(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_absent(item) for item in value)
    return value is None or (isinstance(value, str) and not value.strip())


T = TypeVar("T")
M = TypeVar("M", bound=Model)
Loc = tuple[str | int, ...]


def _use_regex(tree: Mapping[str, Any], given: Mapping[str, Any]) -> bool | None:
    """Whether patterns are regular expressions; None where that is told as a problem of its own."""
    said = given.get(USE_REGEX, tree.get(USE_REGEX))
    try:
        return said is not None and as_boolean(str(said))
    except Wrong:
        return None


def _validate(
    model: type[M], tree: dict[str, Any], name: Callable[[Loc], str], context: Mapping[str, Any]
) -> tuple[M, list[Problem]]:
    """The model of this tree without the parts that cannot be used, and a problem for each of those."""
    try:
        return model.model_validate(tree, context=dict(context)), []
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    misspelt = {meant for mistake in mistakes if (meant := _meant(model, mistake)) is not None}
    problems = [
        _problem(model, tree, mistake, name)
        for mistake in mistakes
        if mistake["type"] != "missing" or tuple(mistake["loc"]) not in misspelt
    ]
    rest = _without(tree, [tuple(mistake["loc"]) for mistake in mistakes])
    return model.model_validate(rest, context=dict(context)), problems


def _meant(model: type[Model], mistake: Any) -> Loc | None:
    """The place that an unknown key was meant for, if it looks like a known one: that key is then misspelt, not missing."""
    if mistake["type"] != "extra_forbidden":
        return None
    loc: Loc = tuple(mistake["loc"])
    near = nearest(_key(str(loc[-1])), list(_owner(model, loc).model_fields))
    return (*loc[:-1], near) if near else None


def _without(tree: dict[str, Any], places: list[Loc]) -> dict[str, Any]:
    rest = dict(tree)
    for loc in places:
        top = str(loc[0])
        if len(loc) == 1 or not isinstance(rest.get(top), dict):
            rest.pop(top, None)
        elif top == "kubernetes_clusters":
            rest[top] = {key: entry for key, entry in rest[top].items() if key != loc[1]}
        else:
            rest[top] = {key: value for key, value in rest[top].items() if key != loc[1]}
    return rest


def _place_in_file(loc: Loc) -> str:
    # The third part of a cluster's place is the form of its entry, which is not in the file.
    return place(loc[:2] + loc[3:] if loc[0] == "kubernetes_clusters" else loc)


def _problem(model: type[Model], tree: dict[str, Any], mistake: Any, name: Callable[[Loc], str]) -> Problem:
    loc: Loc = tuple(mistake["loc"])
    path = name(loc)
    wrong = mistake.get("ctx", {}).get("error")
    if isinstance(wrong, Wrong):
        return Problem(path, wrong.seen, wrong.remedy)
    if mistake["type"] == "missing":
        described = _owner(model, loc).model_fields[str(loc[-1])].description or ""
        return Problem(path, "This key is missing.", f"Add it: {described[:1].lower()}{described[1:]}")
    if mistake["type"] == "extra_forbidden":
        owner = _owner(model, loc)
        known = list(owner.model_fields)
        key = str(loc[-1])
        if owner in ENTRY_FORMS.values() and any(key in form.model_fields for form in ENTRY_FORMS.values()):
            seen = f"This key does not go with {next(iter(known))}."
            return Problem(path, seen, "Describe a cluster in one way only.")
        near = nearest(_key(key), known)
        remedy = "Correct it." if near else f"Remove it; the keys here are {', '.join(sorted(known))}."
        return Problem(path, f"There is no such key.{did_you_mean(near)}", remedy)
    # What is left is a list or a single value in place of a mapping.
    found: Any = tree
    for part in loc[:2]:
        found = found.get(part) if isinstance(found, dict) else None
    seen = "It is empty." if found is None else f"It is {'a list' if isinstance(found, list) else 'a single value'}."
    return Problem(path, seen, "Write a mapping: its keys, each with a value.")


def _owner(model: type[Model], loc: Loc) -> type[Model]:
    """The model that the last part of this place is a key of."""
    if len(loc) == 1:
        return model
    if loc[0] == "kubernetes_clusters":
        return ENTRY_FORMS[str(loc[2])]
    return CloudEntry if loc[0] == "cloud" else RegistryEntry


def _merged(file: File, inputs: InputValues) -> dict[str, Any]:
    """Option -> its value, from the inputs, else from the file. What nobody gave is absent; null in the file is given."""
    options: dict[str, Any] = {}
    for source in (file, inputs):
        options |= {key: getattr(source, key) for key in source.model_fields_set & set(Options.model_fields)}
    return options


def _cloud(options: Mapping[str, Any], file: File, environ: Mapping[str, str], problems: list[Problem]) -> Cloud:
    """The endpoints. What names one endpoint outranks what names a whole cloud; within both, the file comes first."""
    name = options.get("environment") or _from_environ("ARM_ENVIRONMENT", parse_environment, environ, problems)
    cloud = CLOUDS[name or "azurecloud"]
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
    return cloud


def _from_environ(
    variable: str, parse: Callable[[str], T], environ: Mapping[str, str], problems: list[Problem]
) -> T | None:
    text = environ.get(variable, "").strip()
    if not text:
        return None
    try:
        return parse(text)
    except Wrong as wrong:
        problems.append(Problem(variable, wrong.seen, wrong.remedy))
        return None


def _login(inputs: InputValues, environ: Mapping[str, str], problems: list[Problem], broken: set[str]) -> LoginChoice:
    """Who to log in as. Without an `auth-type`, which only a pipeline gives, the environment alone says it."""
    if inputs.auth_type is None:
        return LoginChoice()
    auth_type = AuthType(inputs.auth_type)
    client, tenant = inputs.client_id, inputs.tenant_id
    # What the steps of Azure Pipelines that log in call the same ids.
    further = "AZURESUBSCRIPTION_" if auth_type is AuthType.AZURE_PIPELINES else "AZURE_"
    prefix = "AZURE_" if environ.get("AZURE_CLIENT_ID", "").strip() else further
    if auth_type is not AuthType.ENVIRONMENT:
        client = client or _from_environ(f"{prefix}CLIENT_ID", as_client_id, environ, problems)
    if auth_type.is_federated:
        tenant = tenant or _from_environ(f"{prefix}TENANT_ID", as_tenant_id, environ, problems)
        for name, value, what in (("client-id", client, "application (client) id"), ("tenant-id", tenant, "tenant id")):
            if (
                not value
                and name not in broken
                and not environ.get(f"{prefix}{name.replace('-', '_').upper()}", "").strip()
            ):
                remedy = f"Give the {what} of the identity whose federated credential trusts this job, or choose another auth-type."
                problems.append(Problem(name, f"It is missing, and auth-type {auth_type} needs it.", remedy))
    return LoginChoice(auth_type, client or "", tenant or "", inputs.audience or FEDERATION_AUDIENCE)


def _clusters(
    file: File, inputs: InputValues, folder: Path, problems: list[Problem], some_broken: bool
) -> tuple[ClusterTarget, ...]:
    targets: list[ClusterTarget] = []
    places: dict[tuple[str, ...], str] = {}
    entries: list[tuple[str, ClusterTarget]] = []
    for key, entry in (file.kubernetes_clusters or {}).items():
        where = place(("kubernetes_clusters", key))
        if isinstance(entry, ByKubeconfig):
            entries.append((where, _kubeconfig(key, entry, where, folder, problems)))
            continue
        if isinstance(entry, BySnapshot):
            entries.append((where, _snapshot(key, entry, folder)))
            continue
        subscription, group, name = (
            entry.resource_id
            if isinstance(entry, AksById)
            else (entry.subscription_id, entry.resource_group, entry.name)
        )
        entries.append((where, AksCluster(key, name, subscription, group, Access(entry.access or Access.AUTO))))
    taken = {target.key for _, target in entries}
    for subscription, group, name in inputs.clusters or ():
        key = name if name not in taken else f"{name} ({group})"
        taken.add(key)
        entries.append(("clusters", AksCluster(key, name, subscription, group)))

    for where, target in entries:
        same = _sameness(target)
        if same in places:
            seen = f"This is the same cluster as {places[same]}."
            problems.append(Problem(where, seen, "Remove one of the two."))
            continue
        places[same] = where
        targets.append(target)
    if not targets and not some_broken:
        problems.append(
            Problem(
                # Without a file, what a pipeline or a command line says is what is missing.
                "kubernetes_clusters" if file.model_fields_set else "clusters",
                "No cluster is configured.",
                "Add every cluster that may use the registry: without them, everything would look unused.",
            )
        )
    return tuple(targets)


def _kubeconfig(key: str, entry: ByKubeconfig, where: str, folder: Path, problems: list[Problem]) -> KubeconfigCluster:
    try:
        path = folder / Path(entry.kubeconfig).expanduser()
        missing = not path.is_file()
    except (RuntimeError, OSError, ValueError):
        # No home folder for `~`, or a path that the system does not accept.
        path, missing = Path(entry.kubeconfig), True
    if missing:
        seen = f"There is no file {shown(str(path))}."
        remedy = "Correct the path; it is relative to the folder of the configuration file."
        problems.append(Problem(f"{where}.kubeconfig", seen, remedy))
    return KubeconfigCluster(key, path, entry.context)


def _snapshot(key: str, entry: BySnapshot, folder: Path) -> SnapshotCluster:
    # That the file is missing is no mistake in the configuration: whoever makes it may have failed. It is a blocker, then.
    try:
        path = folder / Path(entry.snapshot).expanduser()
    except RuntimeError:
        path = Path(entry.snapshot)
    resource_id = (
        AksCluster(key, entry.resource_id[2], *entry.resource_id[:2]).resource_id if entry.resource_id else None
    )
    target = SnapshotCluster(key, path, resource_id=resource_id)
    return target if entry.max_age is None else replace(target, max_age=entry.max_age)


def _waivers(
    options: Mapping[str, Any], clusters: Sequence[ClusterTarget], problems: list[Problem], broken: set[str]
) -> tuple[Waiver, ...]:
    waivers: tuple[Waiver, ...] = options.get("waive") or ()
    keys = [target.key for target in clusters]
    if not any(path.startswith(("kubernetes_clusters", "clusters")) for path in broken):
        for waiver in waivers:
            if waiver.cluster not in keys:
                seen = f"There is no cluster {shown(waiver.cluster)}.{did_you_mean(nearest(waiver.cluster, keys))}"
                problems.append(Problem("waive", seen, "Name a cluster as the configuration calls it."))
    return waivers


def _sameness(target: ClusterTarget) -> tuple[str, ...]:
    # Azure compares these without regard to case.
    if isinstance(target, AksCluster):
        return (target.subscription_id.lower(), target.resource_group.lower(), target.name.lower())
    if isinstance(target, SnapshotCluster):
        return (str(target.path.absolute()), target.key)
    return (str(target.kubeconfig.absolute()), target.context or "")


def _registry(
    file: File,
    inputs: InputValues,
    options: Mapping[str, Any],
    cloud: Cloud,
    problems: list[Problem],
    broken: set[str],
) -> Registry | None:
    entry = file.container_registry or RegistryEntry()
    host = inputs.registry or entry.url
    if host is None:
        if broken.isdisjoint({"container_registry", "container_registry.url", "registry"}):
            remedy = "Add the login server of the registry: contoso.azurecr.io"
            where = "container_registry.url" if file.model_fields_set else "registry"
            problems.append(Problem(where, "No registry is configured.", remedy))
        return None
    login_server = f"{host}.{cloud.registry_suffix}" if is_bare_name(host) else host
    aliases = frozenset((*(entry.aliases or ()), *(options.get("registry_aliases") or ())))
    return Registry(login_server, aliases - {login_server})


def _policy(options: Mapping[str, Any], problems: list[Problem], broken: set[str]) -> RetentionPolicy:
    for key in ("repositories", "include_tags"):
        if options.get(key) == ():
            seen = "The list is empty: nothing would ever be deleted."
            problems.append(Problem(key, seen, "Leave the key out for all, or name some."))
    policy = RetentionPolicy()
    for key in (
        "older_than",
        "repositories",
        "shard",
        "include_tags",
        "keep_last",
        "keep_last_by",
        "use_regex",
        "delete_untagged",
        "include_locked",
    ):
        if options.get(key) is not None:
            policy = replace(policy, **{key: options[key]})
    if options.get("scope") is not None:
        policy = replace(policy, scope=Scope(options["scope"]))
    if policy.keep_last_by and policy.keep_last == 0 and broken.isdisjoint({"keep_last", "keep-last"}):
        seen = "It is given, but keep_last is 0: no tag would stay for it."
        problems.append(
            Problem("keep_last_by", seen, "Say in keep_last how many tags of each group stay, or leave it out.")
        )
    excluded: tuple[str, ...] | None = options.get("exclude_tags")
    # `latest` goes only when asked for: by its own name, or by saying that nothing at all is excluded.
    asked_for = DEFAULT_TAG in policy.include_tags or excluded == ()
    always = () if asked_for or DEFAULT_TAG in (excluded or ()) else (DEFAULT_TAG,)
    return replace(policy, exclude_tags=(*always, *(excluded or ())))
