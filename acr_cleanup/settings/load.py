"""Merge flags or inputs, the file and the environment into `Settings`, or report all problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from acr_cleanup.access.clouds import CLOUDS, Cloud
from acr_cleanup.access.federation import AuthType
from acr_cleanup.access.host_paths import path_remedy
from acr_cleanup.access.network import environment_problems
from acr_cleanup.clusters.api_server.kubeconfig_file import kubeconfig_files
from acr_cleanup.clusters.target import Access, ClusterTarget
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster, SnapshotCluster
from acr_cleanup.core.references import DEFAULT_TAG, RegistryHost
from acr_cleanup.core.usage import SERVICES
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.settings import grammar, kinds
from acr_cleanup.settings.file import place, read_config
from acr_cleanup.settings.form import (
    BY_KUBECONFIG,
    BY_SNAPSHOT,
    CLOUD,
    FILE,
    INPUTS,
    REGISTRY,
    Form,
    check,
    form_of_cluster,
    key_of,
)
from acr_cleanup.settings.grammar import InvalidOption, did_you_mean, is_bare_name, nearest, shown
from acr_cleanup.settings.options import DEFAULTS, Settings
from acr_cleanup.settings.policy_lists import PolicyLists, named_rules, of_registry

T = TypeVar("T")


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
    return _Loader(config, overrides, environ).settings(needs_clusters=needs_clusters)


class _Loader:
    """
    The sources of one run, and their problems.

    A mistake removes only its own value, so that one run reports all mistakes.

    file, registry_entry, cloud_entry, cluster_entries: the valid values of the file, by key.
    given: the values of the options that the file or an input gives. A null in the file is a value.
    values: the value of every option; its default if it is not given.
    broken: the places of invalid values.
    """

    def __init__(
        self, config: Path | None, overrides: Mapping[str, str | Sequence[str] | None], environ: Mapping[str, str]
    ) -> None:
        self.config = config
        self.environ = environ
        tree, self.problems = read_config(config) if config is not None else ({}, [])
        tree.pop("$schema", None)
        inputs = {key_of(name): value for name, value in overrides.items() if not _absent(value)}
        # The file may set use_regex for patterns of the inputs, and the other way round.
        self.use_regex = _use_regex(inputs.get("use_regex", tree.get("use_regex")))
        self.file = self._check(FILE, tree)
        self.registry_entry = self._check(REGISTRY, self._section("container_registry"), "container_registry")
        self.cloud_entry = self._check(CLOUD, self._section("cloud"), "cloud")
        self.cluster_entries = [*self._cluster_entries()]
        checked = check(INPUTS, inputs, self.use_regex, lambda key: key.replace("_", "-"), self.problems)
        self.problems += environment_problems(environ)
        lists = PolicyLists(self._check, self.problems)
        self.keep_entries = [
            entry for given in (self.file, checked) for entry in lists.keep_entries(given.get("keep") or ())
        ]
        given_rules = checked.get("rules") if checked.get("rules") is not None else self.file.get("rules")
        self.rules = [*lists.rules(given_rules or ())]
        self.broken = {problem.path for problem in self.problems}
        self.given = {key: value for key, value in self.file.items() if key in DEFAULTS}
        # An input with comments only is not given, so it does not replace the value of the file.
        self.given |= {key: value for key, value in checked.items() if value is not None}
        self.values = DEFAULTS | {key: value for key, value in self.given.items() if value is not None}
        if "max_deletions" in self.given and self.given["max_deletions"] is None:
            self.values["max_deletions"] = 0  # Both 0 and null mean no limit.

    def settings(self, *, needs_clusters: bool) -> Settings:
        """Return the settings. Raises `ConfigurationError` with all problems."""
        cloud = self._cloud()
        may_be_empty = not needs_clusters or any(path.startswith("kubernetes_clusters") for path in self.broken)
        clusters = self._clusters(may_be_empty=may_be_empty)
        registry = self._registry(cloud)
        self._check_waivers(clusters)
        self._check_policy()
        keep = of_registry(self.keep_entries, registry, self.problems)
        login = self._login() | {"audience": self.given.get("audience") or cloud.federation_audience}
        if self.problems or registry is None:
            raise ConfigurationError(tuple(self.problems), where=str(self.config) if self.config is not None else "")
        combined = {
            "config_file": self.config,
            "registry": registry,
            "clusters": clusters,
            "exclude_tags": self._exclude_tags(),
            "keep": keep,
            "rules": named_rules(self.rules, self.values["older_than"]),
            "cloud": cloud,
            "registry_subscription_id": self.registry_entry.get("subscription_id"),
            "registry_resource_group": self.registry_entry.get("resource_group"),
        }
        return Settings(**self.values | combined | login)

    def _section(self, key: str) -> dict[str, Any]:
        section: dict[str, Any] = self.file.get(key) or {}
        return section

    def _check(self, form: Form, tree: Mapping[str, Any], *where: str) -> dict[str, Any]:
        """Check the mapping at a place of the file."""
        return check(form, tree, self.use_regex, lambda key: place((*where, key)), self.problems)

    def _from_environ(self, variable: str, parse: Callable[[str], T]) -> T | None:
        text = self.environ.get(variable, "").strip()
        if not text:
            return None
        try:
            return parse(text)
        except InvalidOption as invalid:
            self.problems.append(Problem(variable, invalid.seen, invalid.remedy))
            return None

    def _cloud(self) -> Cloud:
        """
        Return the endpoints of the cloud, and remember its name.

        The name of a single endpoint takes precedence over the name of a cloud. For each of the
        two, the file takes precedence over the environment.
        """
        named = self.given.get("environment") or self._from_environ("ARM_ENVIRONMENT", grammar.parse_environment)
        self.values["environment"] = named or DEFAULTS["environment"]
        endpoints = {
            "authority": self._from_environ("AZURE_AUTHORITY_HOST", grammar.parse_endpoint),
            "resource_manager_audience": self.cloud_entry.get("resource_manager"),
        } | {key: endpoint for key, endpoint in self.cloud_entry.items() if endpoint}
        cloud = CLOUDS[self.values["environment"]]
        return replace(cloud, **{key: endpoint for key, endpoint in endpoints.items() if endpoint})

    def _login(self) -> dict[str, str]:
        """
        Return the ids for the chosen login, which the environment may give.

        Without `auth-type`, which only a pipeline gives, there is no choice, and the environment
        decides.
        """
        auth_type: AuthType | None = self.values["auth_type"]
        if auth_type is None:
            return {"client_id": "", "tenant_id": ""}
        client, tenant = self.values["client_id"], self.values["tenant_id"]
        # Steps of Azure Pipelines that log in, such as AzureCLI@2, export the ids with another
        # prefix.
        further = "AZURESUBSCRIPTION_" if auth_type is AuthType.AZURE_PIPELINES else "AZURE_"
        prefix = "AZURE_" if self.environ.get("AZURE_CLIENT_ID", "").strip() else further
        if auth_type is not AuthType.ENVIRONMENT:
            client = client or self._from_environ(f"{prefix}CLIENT_ID", grammar.as_client_id) or ""
        if auth_type.is_federated:
            tenant = tenant or self._from_environ(f"{prefix}TENANT_ID", grammar.as_tenant_id) or ""
            for name, value, what in (
                ("client-id", client, "application (client) id"),
                ("tenant-id", tenant, "tenant id"),
            ):
                variable = f"{prefix}{name.replace('-', '_').upper()}"
                if not value and name not in self.broken and not self.environ.get(variable, "").strip():
                    seen = f"It is missing, and auth-type {auth_type} needs it."
                    remedy = (
                        f"Give the {what} of the identity whose federated credential trusts this job, "
                        "or choose another auth-type."
                    )
                    self.problems.append(Problem(name, seen, remedy))
        return {"client_id": client, "tenant_id": tenant}

    def _cluster_entries(self) -> Iterator[tuple[str, Form, dict[str, Any]]]:
        """Yield the key, the form and the values of each cluster in the file without a mistake."""
        for key, entry in self._section("kubernetes_clusters").items():
            mistakes = len(self.problems)
            try:
                form = form_of_cluster(kinds.as_mapping(entry))
            except InvalidOption as invalid:
                where = place(("kubernetes_clusters", key))
                self.problems.append(Problem(where, invalid.seen, invalid.remedy))
                continue
            values = self._check(form, entry, "kubernetes_clusters", key)
            if len(self.problems) == mistakes:
                yield key, form, values

    def _target(self, key: str, form: Form, values: Mapping[str, Any]) -> ClusterTarget:
        folder = self.config.parent if self.config is not None else Path()
        if form is BY_KUBECONFIG:
            return self._kubeconfig(key, values, folder)
        return _snapshot(key, values, folder) if form is BY_SNAPSHOT else _aks(key, values)

    def _kubeconfig(self, key: str, values: Mapping[str, Any], folder: Path) -> KubeconfigCluster:
        try:
            # A list as in KUBECONFIG, if no file has this name.
            parts = [folder / Path(part).expanduser() for part in kubeconfig_files(Path(values["kubeconfig"]))]
            path = Path(os.pathsep.join(map(str, parts)))
            missing = not any(part.is_file() for part in parts)
        except (RuntimeError, OSError, ValueError):
            # There is no home folder for `~`, or the system does not accept the path.
            path, missing = Path(values["kubeconfig"]), True
        if missing:
            seen = f"There is no file {shown(str(path))}."
            remedy = "Correct the path; it is relative to the folder of the configuration file."
            remedy = path_remedy(values["kubeconfig"], remedy, self.environ)
            self.problems.append(Problem(place(("kubernetes_clusters", key, "kubeconfig")), seen, remedy))
        return KubeconfigCluster(key, path, values.get("context"))

    def _clusters(self, *, may_be_empty: bool) -> tuple[ClusterTarget, ...]:
        """Return the clusters of the file and of the inputs. Report those that are given twice."""
        named = [(place(("kubernetes_clusters", entry[0])), self._target(*entry)) for entry in self.cluster_entries]
        taken = {target.key for _, target in named}
        for subscription, group, name in self.given.get("clusters") or ():
            key = name if name not in taken else f"{name} ({group})"
            taken.add(key)
            named.append(("clusters", AksCluster(key, name, subscription, group)))
        targets: list[ClusterTarget] = []
        places: dict[tuple[str, ...], str] = {}
        for where, target in named:
            identity = target.place()
            if identity in places:
                seen = f"This is the same cluster as {places[identity]}."
                self.problems.append(Problem(where, seen, "Remove one of the two."))
                continue
            places[identity] = where
            targets.append(target)
        if not targets and not may_be_empty:
            # Without a file, the clusters are expected from the input or flag.
            where = "kubernetes_clusters" if self.config is not None else "clusters"
            remedy = "Add every cluster that may use the registry: without them, everything would look unused."
            self.problems.append(Problem(where, "No cluster is configured.", remedy))
        return tuple(targets)

    def _registry(self, cloud: Cloud) -> RegistryHost | None:
        host: str | None = self.given.get("registry") or self.registry_entry.get("url")
        if host is None:
            if self.broken.isdisjoint({"container_registry", "container_registry.url", "registry"}):
                remedy = "Add the login server of the registry: contoso.azurecr.io"
                where = "container_registry.url" if self.config is not None else "registry"
                self.problems.append(Problem(where, "No registry is configured.", remedy))
            return None
        login_server = f"{host}.{cloud.registry_suffix}" if is_bare_name(host) else host
        aliases = frozenset((*(self.registry_entry.get("aliases") or ()), *self.values["registry_aliases"]))
        return RegistryHost(login_server, aliases - {login_server})

    def _check_waivers(self, clusters: Sequence[ClusterTarget]) -> None:
        """Report waivers for unknown clusters, unless they may name a cluster that is invalid."""
        if any(path.startswith(("kubernetes_clusters", "clusters")) for path in self.broken):
            return
        keys = [*(target.key for target in clusters), SERVICES]
        named = [(key, waiver) for key in ("waive", "waive_workloads") for waiver in self.values[key]]
        for key, waiver in named:
            if waiver.cluster not in keys:
                seen = f"There is no cluster {shown(waiver.cluster)}.{did_you_mean(nearest(waiver.cluster, keys))}"
                remedy = "Write the name that the cluster has in the configuration."
                self.problems.append(Problem(key, seen, remedy))

    def _check_policy(self) -> None:
        for key in ("repositories", "include_tags"):
            if self.values[key] == ():
                seen = "The list is empty: nothing would ever be deleted."
                self.problems.append(Problem(key, seen, "Add a pattern, or remove the key to select all."))
        for key in ("used_within", "probation"):
            if self.values[key] and self.values["ledger"] is None and "ledger" not in self.broken:
                seen = f"There is no ledger, so {key} cannot know what earlier runs saw."
                self.problems.append(Problem(key, seen, "Set ledger to the file that each run hands on to the next."))
        counted = self.values["keep_last"] > 0 or not self.broken.isdisjoint({"keep_last", "keep-last"})
        if self.values["keep_last_by"] and not counted:
            seen = "keep_last is 0, so keep_last_by keeps no tag."
            remedy = "Set keep_last to the number of tags to keep in each group, or remove keep_last_by."
            self.problems.append(Problem("keep_last_by", seen, remedy))

        ruled = any(rule.get("pulled_within") for rule in self.rules)
        unread = not (self.values["pulled_within"] or ruled) and self.broken.isdisjoint(
            {"pulled_within", "pulled-within"}
        )
        if self.values["ignore_pulls_by"] and unread:
            seen = "pulled_within is not set, so no pulls are read."
            self.problems.append(Problem("ignore_pulls_by", seen, "Set pulled_within, or remove ignore_pulls_by."))

    def _exclude_tags(self) -> tuple[str, ...]:
        """
        Return the excluded tags, with `latest`.

        `latest` may only be deleted if it is included by name, or if an empty list excludes
        nothing.
        """
        excluded: tuple[str, ...] = self.given.get("exclude_tags") or ()
        asked_for = DEFAULT_TAG in self.values["include_tags"] or self.given.get("exclude_tags") == ()
        return excluded if asked_for or DEFAULT_TAG in excluded else (DEFAULT_TAG, *excluded)


def _absent(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_absent(item) for item in value)
    return value is None or (isinstance(value, str) and not value.strip())


def _use_regex(value: object) -> bool | None:
    """
    Are patterns regular expressions?

    None if the value is invalid, which is reported as a separate problem.
    """
    try:
        return value is not None and grammar.as_boolean(str(value))
    except InvalidOption:
        return None


def _aks(key: str, values: Mapping[str, Any]) -> AksCluster:
    named = ("subscription_id", "resource_group", "name")
    subscription, group, name = values.get("resource_id") or (values[part] for part in named)
    return AksCluster(key, name, subscription, group, values.get("access") or Access.AUTO)


def _snapshot(key: str, values: Mapping[str, Any], folder: Path) -> SnapshotCluster:
    # A missing file is not a configuration error, since the job that collects it may have failed.
    # It becomes a blocker when the clusters are read.
    try:
        path = folder / Path(values["snapshot"]).expanduser()
    except RuntimeError:
        path = Path(values["snapshot"])
    resource_id = _aks(key, values).resource_id if values.get("resource_id") else None
    target = SnapshotCluster(key, path, resource_id=resource_id)
    return replace(target, max_age=values["max_age"]) if values.get("max_age") is not None else target
