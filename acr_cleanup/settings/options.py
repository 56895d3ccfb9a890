"""
The table of options: one field of `Settings` per option.

The field's entry is the only place that describes the option. Flags, action.yml, task.json, the
keys of the configuration file and their JSON schema, the documentation, the default and the value
that a run uses are made from it. The command line imports this module for `--help`, so it imports
nothing that is slow to load.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from acr_cleanup.access.clouds import FEDERATION_AUDIENCE, Cloud
from acr_cleanup.access.federation import TOOL_TIMEOUT, AuthType, LoginChoice
from acr_cleanup.core.retention import KeepLastOf, RetentionPolicy, Scope
from acr_cleanup.core.shard import WHOLE, Shard
from acr_cleanup.services.table import ServiceGroup
from acr_cleanup.settings import grammar, kinds
from acr_cleanup.settings.option import Group, Option, Purpose, Way, option

if TYPE_CHECKING:
    from acr_cleanup.access.registry_place import RegistryPlace
    from acr_cleanup.clusters.target import ClusterTarget, Waiver
    from acr_cleanup.core.keep_list import KeepEntry
    from acr_cleanup.core.limits import Limits
    from acr_cleanup.core.references import RegistryHost
    from acr_cleanup.core.rule_set import PolicyRule

LogLevel = Literal["debug", "info", "warning", "error"]


class FailOn(StrEnum):
    """
    The causes for which a run exits with 1.

    Refusals, cancellations and wrong configurations always fail the run.
    """

    DELETE_ERRORS = "delete-errors"
    """An item could not be deleted, or a repository could not be read."""
    WARNINGS = "warnings"
    PLANNED_DELETIONS = "planned-deletions"
    """A dry run plans deletions. Use it to test whether there is anything to clean."""
    NONE = "none"


# The task for Azure DevOps sets azure-pipelines itself; users cannot choose it.
_AUTH_TYPE = kinds.choice(AuthType, offered=[kind for kind in AuthType if kind is not AuthType.AZURE_PIPELINES])


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    Everything that a run needs to know: flags, inputs, file and environment, merged and checked.

    The order of the options is their order in action.yml, in `--help` and in the documentation.
    """

    config_file: Path | None = option(kinds.PATH, group=Group.FIRST, ways=Way.PIPELINE, compare=False)(
        "The configuration file, JSON or YAML."
    )
    dry_run: bool = option(
        kinds.BOOLEAN, "true", Group.FIRST, ways=Way.PIPELINE, label="Dry run: show the plan, and delete nothing"
    )("Show what would be deleted, and delete nothing. Set it to false to delete.")
    collect: Path | None = option(kinds.PATH, ways=Way.PIPELINE)(
        "Only read the clusters, and write a usage snapshot to this file. Nothing is planned or deleted."
    )
    check: bool = option(kinds.BOOLEAN, "false", ways=Way.PIPELINE)(
        "Only check the login, every right and every part that a run needs, and show what mends the missing ones. Nothing is "
        "planned or deleted."
    )
    client_id: str = option(kinds.CLIENT_ID, value="", ways=Way.ACTION)(
        "The application (client) id for the login to Azure. If it is empty, AZURE_CLIENT_ID is used."
    )
    tenant_id: str = option(kinds.TENANT_ID, value="", ways=Way.ACTION)(
        "The id of the Entra ID tenant. If it is empty, AZURE_TENANT_ID is used."
    )
    # Without a value, as on the command line: any login of the machine.
    auth_type: AuthType | None = option(_AUTH_TYPE, AuthType.OIDC, value=None, ways=Way.ACTION)(
        "How to log in to Azure: with the token of the job (oidc), as the managed identity of the machine, or with the "
        "AZURE_ variables of the environment. No other login is tried."
    )
    audience: str = option(kinds.TEXT, value=FEDERATION_AUDIENCE, ways=Way.ACTION)(
        "The audience of the job's token, as in the federated credential. If it is empty, the one that the portal of the "
        "cloud writes (api://AzureADTokenExchange, and with USGov or China at its end)."
    )
    login_timeout: int = option(kinds.COUNT, str(TOOL_TIMEOUT), ways=Way.FLAG | Way.FILE, purpose=Purpose.REGISTRY)(
        "How many seconds to wait for a token of `az` or a similar tool that is logged in."
    )
    registry: RegistryHost = option(
        kinds.REGISTRY_URL, group=Group.FIRST, value=MISSING, ways=~Way.FILE, purpose=Purpose.REGISTRY
    )("The registry: its login server (contoso.azurecr.io) or its name (contoso).")
    clusters: tuple[ClusterTarget, ...] = option(
        kinds.RESOURCE_IDS, group=Group.FIRST, value=MISSING, ways=~Way.FILE, purpose=Purpose.CLUSTERS
    )("Resource ids of AKS clusters, one per line. They are added to the clusters of the file.")
    subscriptions: tuple[str, ...] = option(kinds.GUIDS, group=Group.SAFETY, purpose=Purpose.SEARCH)(
        "Ids of the subscriptions to search for AKS clusters that are not configured. If it is empty, the subscriptions of "
        "the configured clusters are searched."
    )
    require_all_clusters: bool = option(kinds.BOOLEAN, "false", Group.SAFETY, purpose=Purpose.SEARCH)(
        "If true, delete nothing while these subscriptions contain an AKS cluster that is not configured. If false, only warn."
    )
    services: frozenset[str] = option(kinds.SERVICES, "auto", Group.SAFETY, purpose=Purpose.CLUSTERS)(
        "The other services of Azure that are read for images in use: auto reads every type that exists, off reads none, or "
        f"name them, separated by commas: {', '.join(ServiceGroup)}."
    )
    require_all_services: bool = option(kinds.BOOLEAN, "false", Group.SAFETY, purpose=Purpose.SEARCH)(
        "If true, delete nothing while a subscription is not seen as a whole, so that services may be missing. If false, only "
        "warn."
    )
    container_app_revisions: int = option(kinds.REVISIONS, "all", Group.KEEP, purpose=Purpose.CLUSTERS)(
        "The inactive revisions of each Container App that count as used: all, the newest N, or active for none. One click "
        "activates an inactive revision."
    )
    app_service_snapshots: int = option(kinds.COUNT, "0", purpose=Purpose.CLUSTERS)(
        "How many snapshots of the configuration of each App Service site count as used, so that the site can be rolled back."
    )
    helm_history: int = option(kinds.COUNT, "0", Group.KEEP, purpose=Purpose.CLUSTERS)(
        "How many revisions of each Helm release count as used, including the current one. A value above 0 needs the right to "
        "list Secrets; only the Secrets of Helm are read."
    )
    waive: tuple[Waiver, ...] = option(kinds.WAIVERS, purpose=Purpose.CLUSTERS)(
        "Object kinds to skip if they cannot be listed, as CLUSTER: KIND (production: rollouts.argoproj.io). Images used only "
        "by objects of that kind may be deleted."
    )
    waive_workloads: tuple[Waiver, ...] = option(kinds.WAIVERS, purpose=Purpose.CLUSTERS)(
        "As waive, for kinds that run or start pods (production: cronjobs), which waive does not skip. Images used only by "
        "them may be deleted while they run."
    )
    mirrors: tuple[tuple[str, str], ...] = option(kinds.MIRRORS, group=Group.KEEP, purpose=Purpose.CLUSTERS)(
        "Upstream registries whose images this registry mirrors, as HOST=FOLDER (docker.io=dockerhub); `.` is no folder. An "
        "image that a workload names there is kept here."
    )
    ignore_kinds: tuple[str, ...] = option(kinds.KIND_NAMES, group=Group.KEEP, purpose=Purpose.CLUSTERS)(
        "Object kinds that describe images and do not need them, as kubectl names them (reports.example.com, or *.example.com). "
        "They are added to the reports of scanners and policies, which are ignored by default; ! takes one off."
    )
    older_than: timedelta = option(kinds.DURATION, "30d", Group.CLEAN)(
        "The minimum time since the last push of a tag before it may be deleted: 30d, 12h, 6w, 2d3h6m, or a number of days."
    )
    scope: Scope = option(kinds.choice(Scope), Scope.RUNNING, Group.CLEAN, purpose=Purpose.RIGHTS)(
        "The repositories whose tags may be deleted: those running in a cluster, those referenced by any object of a cluster, "
        "or all."
    )
    repositories: tuple[str, ...] = option(kinds.SELECTION, "*", Group.CLEAN)(
        "Only tags of repositories that match one of these globs may be deleted. A glob that begins with ! excludes "
        "repositories."
    )
    shard: Shard = option(kinds.SHARD, value=WHOLE)(
        "Process only one part of the registry: 3/8 is the third of eight. The name of a repository alone decides its part. "
        "Other parts are not listed. Every part reads all clusters."
    )
    include_tags: tuple[str, ...] = option(kinds.SELECTION, "*", Group.CLEAN)(
        "Only tags that match one of these globs may be deleted. A glob that begins with ! excludes tags."
    )
    exclude_tags: tuple[str, ...] = option(kinds.EXCLUSION, "latest", Group.KEEP)(
        "Tags that match one of these globs are kept. `latest` is kept too, unless include-tags names it."
    )
    use_regex: bool = option(kinds.BOOLEAN, "false")(
        "Read repositories, include-tags and exclude-tags as regular expressions (RE2) that must match the whole name. Write "
        "one per line: commas do not separate them."
    )
    keep: tuple[KeepEntry, ...] = option(kinds.KEEP_LIST, group=Group.KEEP)(
        "Images that are always kept, as REPOSITORY:TAG or REPOSITORY@DIGEST; each part may be a glob. A digest keeps its whole "
        "image. In the file, an entry may have a reason, an owner and a last day (until). A flag or an input adds to the file."
    )
    rules: tuple[PolicyRule, ...] = option(kinds.RULES, group=Group.CLEAN, ways=~Way.FLAG, value=())(
        "Rules for some tags, as a YAML list of name, repositories, tags, older_than, keep_last, keep_last_by and keep. The first "
        "rule that matches a tag governs it; these options are the last rule."
    )
    keep_last: int = option(kinds.COUNT, "0", Group.KEEP)(
        "How many of the newest tags of each repository are kept at any age."
    )
    keep_last_by: str = option(kinds.GROUPING, group=Group.KEEP, value="")(
        "A regular expression (RE2) with one group, such as ^(dev|main)-. keep-last is then applied separately to each "
        "distinct value of the group."
    )
    keep_last_of: KeepLastOf = option(kinds.choice(KeepLastOf), KeepLastOf.IMAGES, Group.KEEP)(
        "What keep-last counts: images (all tags of one digest count once, signatures do not count) or single tags."
    )
    pulled_within: timedelta | None = option(kinds.DURATION, group=Group.KEEP, purpose=Purpose.RIGHTS)(
        "Tags that were pulled in this time are kept, such as 90d. It needs the registry's logs in a Log Analytics workspace "
        "that reach back further. By default the logs are not read."
    )
    ignore_pulls_by: tuple[str, ...] = option(kinds.PULLERS, group=Group.KEEP)(
        "Pulls that do not count for pulled-within: globs on the identity or the user agent (trivy/*). Pulls by acr-cleanup "
        "itself never count."
    )
    used_within: timedelta | None = option(kinds.DURATION, group=Group.KEEP)(
        "Keep what an earlier run saw in use less than this time ago, such as 14d. Needs ledger."
    )
    probation: timedelta | None = option(kinds.DURATION, group=Group.KEEP)(
        "Delete only what was a candidate, unused and unchanged, in runs at least this long apart, such as 6d. Those that "
        "wait are listed with their dates. Needs ledger."
    )
    ledger: Path | None = option(kinds.PATH, group=Group.KEEP)(
        "The file in which each run, also a dry run, writes what it saw for the next one. The job must keep it: see "
        "docs/ledger.md."
    )
    delete_untagged: bool = option(kinds.BOOLEAN, "false", Group.CLEAN)(
        "Also delete untagged manifests. The same rules apply; age counts from their last push."
    )
    include_locked: bool = option(kinds.BOOLEAN, "false", Group.CLEAN, purpose=Purpose.RIGHTS)(
        "Also delete locked tags and manifests. Each is unlocked right before it is deleted; nothing else is unlocked."
    )
    max_deletions: int = option(kinds.COUNT, "500", Group.SAFETY)(
        "Delete nothing if more tags than this would be deleted. 0 means no limit."
    )
    max_deletion_percent: float | None = option(kinds.PERCENT, group=Group.SAFETY)(
        "Delete nothing if more than this percentage of the tags of any repository would be deleted. No limit by default."
    )
    registry_aliases: tuple[str, ...] = option(kinds.HOSTS, purpose=Purpose.REGISTRY, compare=False)(
        "Other host names of the registry, such as a custom domain."
    )
    environment: str = option(kinds.ENVIRONMENT, "azurecloud", ways=~Way.TASK, purpose=Purpose.REGISTRY, compare=False)(
        "The Azure cloud. If neither this nor the file names one, ARM_ENVIRONMENT is used."
    )
    apply_plan: Path | None = option(kinds.PATH, group=Group.SAFETY, ways=Way.PIPELINE)(
        "A reviewed plan.json: delete only what it lists, and only if that is still valid. Ignored in a dry run."
    )
    plan_max_age: timedelta = option(kinds.DURATION, "7d", Group.SAFETY)(
        "The maximum age of a reviewed plan when it is applied."
    )
    verify: bool = option(kinds.BOOLEAN, "true", Group.SAFETY)(
        "After deleting, check that everything in use can still be pulled. Fail if it cannot."
    )
    backup: bool = option(kinds.BOOLEAN, "false", Group.SAFETY)(
        "Store the content of every deleted manifest in the journal. It can be restored as long as the registry has its "
        "layers."
    )
    exact_sizes: bool = option(kinds.BOOLEAN, "false")(
        "Count the bytes of layers that no kept manifest of the repository shares. This reads every manifest of the "
        "repositories in scope."
    )
    concurrency: int = option(kinds.CONCURRENCY, "8", purpose=Purpose.REQUESTS)(
        f"How many requests may run at the same time, at most {kinds.MAX_CONCURRENCY}."
    )
    fail_on: frozenset[FailOn] = option(kinds.set_of(FailOn, alone=(FailOn.NONE,)), FailOn.DELETE_ERRORS, Group.SAFETY)(
        f"The causes that make the run fail, separated by commas: {', '.join(FailOn)}. A refused run always fails."
    )
    summary: bool = option(kinds.BOOLEAN, "true", ways=Way.PIPELINE, label="Publish the summary")(
        "Show the result on the page of the run. The report files are always written."
    )
    artifact: str = option(kinds.TEXT, "acr-cleanup", ways=Way.PIPELINE)(
        "The name of the artifact in which the workflow keeps the report folder. The summary says it."
    )
    report_dir: Path = option(kinds.PATH, "acr-cleanup")("The folder for the report files.")
    log_level: LogLevel = option(kinds.choice(("debug", "info", "warning", "error")), "info", purpose=Purpose.REGISTRY)(
        "The lowest level of messages in the log."
    )

    cloud: Cloud
    registry_subscription_id: str | None = None
    registry_resource_group: str | None = None

    @property
    def registry_place(self) -> RegistryPlace:
        from acr_cleanup.access.registry_place import RegistryPlace  # noqa: PLC0415

        return RegistryPlace(self.registry, self.registry_subscription_id, self.registry_resource_group)

    @property
    def policy(self) -> RetentionPolicy:
        """The rules that keep. Each field of `RetentionPolicy` is an option of the same name."""
        return RetentionPolicy(**{member.name: getattr(self, member.name) for member in fields(RetentionPolicy)})

    @property
    def pull_window(self) -> timedelta | None:
        """The longest window of pulls, of the top level and the rules; None if no pulls are read."""
        windows = (self.pulled_within, *(rule.pulled_within for rule in self.rules))
        return max((window for window in windows if window), default=None)

    @property
    def limits(self) -> Limits:
        from acr_cleanup.core.limits import Limits  # noqa: PLC0415

        return Limits(self.max_deletions or None, self.max_deletion_percent)

    @property
    def login(self) -> LoginChoice:
        return LoginChoice(self.auth_type, self.client_id, self.tenant_id, self.audience, self.login_timeout)


OPTIONS: tuple[Option, ...] = tuple(
    replace(member.metadata["option"], key=member.name) for member in fields(Settings) if "option" in member.metadata
)
DEFAULTS: dict[str, Any] = {
    member.name: member.default
    for member in fields(Settings)
    if "option" in member.metadata and member.default is not MISSING
}
"""The value of each option that applies if no source gives one, by key."""


def unknown_inputs(names: Iterable[str]) -> tuple[str, ...]:
    """
    Return one sentence for each name that is not an input, with the nearest name that is.

    CI systems ignore a misspelt input, so a rule that the user wrote would be lost without a trace.
    """
    known = [entry.name for entry in OPTIONS if entry.ways & Way.PIPELINE]
    meant = {
        name: grammar.nearest(name.lower().replace("_", "-"), known) for name in names if name.lower() not in known
    }
    return tuple(
        f"There is no input {grammar.shown(name)}; it is ignored.{grammar.did_you_mean(meant[name])}"
        for name in sorted(meant)
    )
