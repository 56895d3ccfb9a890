"""
The table of options: one field of `Settings` per option.

The field's entry is the only place that describes the option. Flags, action.yml, task.json, the
keys of the configuration file and their JSON schema, the documentation, the default and the value
that a run uses are made from it. The command line imports this module for `--help`, so it does not
import pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from acr_cleanup.access.clouds import Cloud
from acr_cleanup.access.federation import FEDERATION_AUDIENCE, AuthType, LoginChoice
from acr_cleanup.clusters.target import ClusterTarget, Waiver
from acr_cleanup.core.limits import Limits
from acr_cleanup.core.policy import RetentionPolicy, Scope
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.shard import WHOLE, Shard
from acr_cleanup.settings import kinds
from acr_cleanup.settings.grammar import did_you_mean, nearest, shown
from acr_cleanup.settings.option import Group, Option, Purpose, Way, option

LogLevel = Literal["debug", "info", "warning", "error"]


class FailOn(StrEnum):
    """
    What makes a run exit with 1.

    Refusals, cancellations and wrong configurations always fail the run.
    """

    DELETE_ERRORS = "delete-errors"
    """An item could not be deleted, or a repository could not be read."""
    WARNINGS = "warnings"
    PLANNED_DELETIONS = "planned-deletions"
    """A dry run plans deletions. Use it to test whether there is anything to clean."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    Everything that a run needs to know: flags, inputs, file and environment, merged and checked.

    The order of the options is their order in action.yml, in `--help` and in the documentation.
    """

    config_file: Path | None = option(
        kinds.PATH,
        "The configuration file, JSON or YAML.",
        group=Group.FIRST,
        ways=Way.PIPELINE,
        compare=False,
    )
    dry_run: bool = option(
        kinds.BOOLEAN,
        "Show what would be deleted, and delete nothing. Set it to false to delete.",
        default="true",
        group=Group.FIRST,
        ways=Way.PIPELINE,
        label="Dry run: show the plan, and delete nothing",
    )
    collect: Path | None = option(
        kinds.PATH,
        "Only read the clusters, and write a usage snapshot to this file. Nothing is planned or deleted.",
        ways=Way.PIPELINE,
    )
    client_id: str = option(
        kinds.CLIENT_ID,
        "The application (client) id for the login to Azure. If it is empty, AZURE_CLIENT_ID is used.",
        value="",
        ways=Way.ACTION,
    )
    tenant_id: str = option(
        kinds.TENANT_ID,
        "The id of the Entra ID tenant. If it is empty, AZURE_TENANT_ID is used.",
        value="",
        ways=Way.ACTION,
    )
    auth_type: AuthType | None = option(
        # The task for Azure DevOps sets azure-pipelines itself; users cannot choose it.
        kinds.choice(
            AuthType, offered=[auth_type for auth_type in AuthType if auth_type is not AuthType.AZURE_PIPELINES]
        ),
        "How to log in to Azure: with the token of the job (oidc), as the managed identity of the machine, or with the "
        "AZURE_ variables of the environment. No other login is tried.",
        default=AuthType.OIDC,
        value=None,  # On the command line: any login of the machine.
        ways=Way.ACTION,
    )
    audience: str = option(
        kinds.TEXT,
        "The audience of the job's token, as in the federated credential.",
        default=FEDERATION_AUDIENCE,
        ways=Way.ACTION,
    )
    registry: RegistryHost = option(
        kinds.REGISTRY_URL,
        "The registry: its login server (contoso.azurecr.io) or its name (contoso).",
        value=MISSING,
        group=Group.FIRST,
        ways=~Way.FILE,
        purpose=Purpose.REGISTRY,
    )
    clusters: tuple[ClusterTarget, ...] = option(
        kinds.RESOURCE_IDS,
        "Resource ids of AKS clusters, one per line. They are added to the clusters of the file.",
        value=MISSING,
        group=Group.FIRST,
        ways=~Way.FILE,
        purpose=Purpose.CLUSTERS,
    )
    subscriptions: tuple[str, ...] = option(
        kinds.GUIDS,
        "Ids of the subscriptions to search for AKS clusters that are not configured. If it is empty, the subscriptions of "
        "the configured clusters are searched.",
        group=Group.SAFETY,
        purpose=Purpose.SEARCH,
    )
    require_all_clusters: bool = option(
        kinds.BOOLEAN,
        "If true, delete nothing while these subscriptions contain an AKS cluster that is not configured. If false, only warn.",
        default="false",
        group=Group.SAFETY,
        purpose=Purpose.SEARCH,
    )
    helm_history: int = option(
        kinds.COUNT,
        "How many revisions of each Helm release count as used, including the current one. A value above 0 needs the right to "
        "list Secrets; only the Secrets of Helm are read.",
        default="0",
        group=Group.KEEP,
        purpose=Purpose.CLUSTERS,
    )
    waive: tuple[Waiver, ...] = option(
        kinds.WAIVERS,
        "Object kinds to skip if they cannot be listed, as CLUSTER: KIND (production: rollouts.argoproj.io). Images used only "
        "by objects of that kind may be deleted.",
        purpose=Purpose.CLUSTERS,
    )
    older_than: timedelta = option(
        kinds.DURATION,
        "The minimum time since the last push of a tag before it may be deleted: 30d, 12h, 6w, 2d3h6m, or a number of days.",
        default="30d",
        group=Group.CLEAN,
    )
    scope: Scope = option(
        kinds.choice(Scope),
        "The repositories whose tags may be deleted: those running in a cluster, those referenced by any object of a cluster, "
        "or all.",
        default=Scope.RUNNING,
        group=Group.CLEAN,
    )
    repositories: tuple[str, ...] = option(
        kinds.SELECTION,
        "Only tags of repositories that match one of these globs may be deleted. A glob that begins with ! excludes "
        "repositories.",
        default="*",
        group=Group.CLEAN,
    )
    shard: Shard = option(
        kinds.SHARD,
        "Process only one part of the registry: 3/8 is the third of eight. The name of a repository alone decides its part. "
        "Other parts are not listed. Every part reads all clusters.",
        value=WHOLE,
    )
    include_tags: tuple[str, ...] = option(
        kinds.SELECTION,
        "Only tags that match one of these globs may be deleted. A glob that begins with ! excludes tags.",
        default="*",
        group=Group.CLEAN,
    )
    exclude_tags: tuple[str, ...] = option(
        kinds.EXCLUSION,
        "Tags that match one of these globs are kept. `latest` is kept too, unless include-tags names it.",
        default="latest",
        group=Group.KEEP,
    )
    use_regex: bool = option(
        kinds.BOOLEAN,
        "Read repositories, include-tags and exclude-tags as regular expressions (RE2) that must match the whole name. Write "
        "one per line: commas do not separate them.",
        default="false",
    )
    keep_last: int = option(
        kinds.COUNT,
        "How many of the newest tags of each repository are kept, whatever their age.",
        default="0",
        group=Group.KEEP,
    )
    keep_last_by: str = option(
        kinds.GROUPING,
        "A regular expression (RE2) with one group, such as ^(dev|main)-. keep-last is then applied separately to each "
        "distinct value of the group.",
        value="",
        group=Group.KEEP,
    )
    delete_untagged: bool = option(
        kinds.BOOLEAN,
        "Also delete untagged manifests. The same rules apply; age counts from their last push.",
        default="false",
        group=Group.CLEAN,
    )
    include_locked: bool = option(
        kinds.BOOLEAN,
        "Also delete locked tags and manifests. Each is unlocked right before it is deleted; nothing else is unlocked.",
        default="false",
        group=Group.CLEAN,
    )
    max_deletions: int = option(
        kinds.COUNT,
        "Delete nothing if more tags than this would be deleted. 0 means no limit.",
        default="500",
        group=Group.SAFETY,
    )
    max_deletion_percent: float | None = option(
        kinds.PERCENT,
        "Delete nothing if more than this percentage of the tags of any repository would be deleted. No limit by default.",
        group=Group.SAFETY,
    )
    registry_aliases: tuple[str, ...] = option(
        kinds.HOSTS,
        "Other host names of the registry, such as a custom domain.",
        purpose=Purpose.REGISTRY,
        compare=False,
    )
    environment: str = option(
        kinds.ENVIRONMENT,
        "The Azure cloud. If neither this nor the file names one, ARM_ENVIRONMENT is used.",
        default="azurecloud",
        ways=~Way.TASK,
        purpose=Purpose.REGISTRY,
        compare=False,
    )
    apply_plan: Path | None = option(
        kinds.PATH,
        "A reviewed plan.json: delete only what it lists, and only if that is still valid. Ignored in a dry run.",
        group=Group.SAFETY,
        ways=Way.PIPELINE,
    )
    plan_max_age: timedelta = option(
        kinds.DURATION,
        "The maximum age of a reviewed plan when it is applied.",
        default="7d",
        group=Group.SAFETY,
    )
    verify: bool = option(
        kinds.BOOLEAN,
        "After deleting, check that everything in use can still be pulled. Fail if it cannot.",
        default="true",
        group=Group.SAFETY,
    )
    backup: bool = option(
        kinds.BOOLEAN,
        "Store the content of every deleted manifest in the journal. It can be restored as long as the registry has its "
        "layers.",
        default="false",
        group=Group.SAFETY,
    )
    exact_sizes: bool = option(
        kinds.BOOLEAN,
        "Count the bytes of layers that no kept manifest of the repository shares. This reads every manifest of the "
        "repositories in scope.",
        default="false",
    )
    concurrency: int = option(
        kinds.CONCURRENCY,
        f"How many requests may run at the same time, at most {kinds.MAX_CONCURRENCY}.",
        default="8",
        purpose=Purpose.REQUESTS,
    )
    fail_on: frozenset[FailOn] = option(
        kinds.set_of(FailOn, alone=(FailOn.NONE,)),
        f"What makes the run fail, separated by commas: {', '.join(FailOn)}. A refused run always fails.",
        default=FailOn.DELETE_ERRORS,
        group=Group.SAFETY,
    )
    summary: bool = option(
        kinds.BOOLEAN,
        "Show the result on the page of the run. The report files are always written.",
        default="true",
        ways=Way.PIPELINE,
        label="Publish the summary",
    )
    report_dir: Path = option(kinds.PATH, "The folder for the report files.", default="acr-cleanup")
    log_level: LogLevel = option(
        kinds.choice(("debug", "info", "warning", "error")),
        "The lowest level of messages in the log.",
        default="info",
        purpose=Purpose.REGISTRY,
    )

    cloud: Cloud
    registry_subscription_id: str | None = None
    registry_resource_group: str | None = None

    @property
    def policy(self) -> RetentionPolicy:
        """What to keep. Each field of `RetentionPolicy` is an option of the same name."""
        return RetentionPolicy(**{member.name: getattr(self, member.name) for member in fields(RetentionPolicy)})

    @property
    def limits(self) -> Limits:
        return Limits(self.max_deletions or None, self.max_deletion_percent)

    @property
    def login(self) -> LoginChoice:
        return LoginChoice(self.auth_type, self.client_id, self.tenant_id, self.audience)


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
    return tuple(
        f"There is no input {shown(name)}; it is ignored.{did_you_mean(nearest(name.lower().replace('_', '-'), known))}"
        for name in sorted(names)
        if name.lower() not in known
    )
