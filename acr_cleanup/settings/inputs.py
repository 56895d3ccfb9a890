"""
The table of inputs.

Flags, action.yml, task.json, the schema and the documentation are made from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.access.federation import FEDERATION_AUDIENCE, AuthType
from acr_cleanup.core.policy import Scope
from acr_cleanup.settings.grammar import did_you_mean, nearest, shown

MAX_CONCURRENCY = 32
"""The registry recommends at most this many deletions at a time. https://github.com/Azure/acr-cli (purge)"""

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


class InputKind(StrEnum):
    """The form of an input, for flags and for the contracts of the pipelines."""

    TEXT = "text"
    LIST = "list"
    """One item per line in a pipeline; a repeated flag on the command line."""
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    PATH = "path"


class Input(NamedTuple):
    """
    One input of the action and of the task, one flag (`--name`) and one key (`key`) of the file.

    default: the value, as text, that applies if no source gives one.
    flag: False if the command line gives the value by its verb or an argument.
    in_file: False if the file cannot give the value, or gives it in another form.
    """

    name: str
    kind: InputKind
    default: str
    description: str
    choices: tuple[str, ...] = ()
    flag: bool = True
    in_file: bool = True

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    @property
    def action_default(self) -> str:
        """
        The `default:` in action.yml; empty if there must be none.

        A pipeline passes a default on like a value that the user wrote, and inputs take
        precedence over the file. A key that the file can set must therefore have no default there.
        """
        return "" if self.in_file else self.default


ENVIRONMENTS = tuple(CLOUDS)
LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")

INPUTS: tuple[Input, ...] = (
    Input("config-file", InputKind.PATH, "", "The configuration file, JSON or YAML.", flag=False, in_file=False),
    Input(
        "dry-run",
        InputKind.BOOLEAN,
        "true",
        "Show what would be deleted, and delete nothing. Set it to false to delete.",
        flag=False,
        in_file=False,
    ),
    Input(
        "collect",
        InputKind.PATH,
        "",
        "Only read the clusters, and write a usage snapshot to this file. Nothing is planned or deleted.",
        flag=False,
        in_file=False,
    ),
    Input(
        "client-id",
        InputKind.TEXT,
        "",
        "The application (client) id for the login to Azure. If it is empty, AZURE_CLIENT_ID is used.",
        flag=False,
        in_file=False,
    ),
    Input(
        "tenant-id",
        InputKind.TEXT,
        "",
        "The id of the Entra ID tenant. If it is empty, AZURE_TENANT_ID is used.",
        flag=False,
        in_file=False,
    ),
    Input(
        "auth-type",
        InputKind.CHOICE,
        AuthType.OIDC,
        "How to log in to Azure: with the token of the job (oidc), as the managed identity of the machine, or with the "
        "AZURE_ variables of the environment. No other login is tried.",
        # The task for Azure DevOps sets azure-pipelines itself; users cannot choose it.
        choices=tuple(auth_type for auth_type in AuthType if auth_type is not AuthType.AZURE_PIPELINES),
        flag=False,
        in_file=False,
    ),
    Input(
        "audience",
        InputKind.TEXT,
        FEDERATION_AUDIENCE,
        "The audience of the job's token, as in the federated credential.",
        flag=False,
        in_file=False,
    ),
    Input(
        "registry",
        InputKind.TEXT,
        "",
        "The registry: its login server (contoso.azurecr.io) or its name (contoso).",
        in_file=False,
    ),
    Input(
        "clusters",
        InputKind.LIST,
        "",
        "Resource ids of AKS clusters, one per line. They are added to the clusters of the file.",
        in_file=False,
    ),
    Input(
        "subscriptions",
        InputKind.LIST,
        "",
        "Ids of the subscriptions to search for AKS clusters that are not configured. If it is empty, the subscriptions of "
        "the configured clusters are searched.",
    ),
    Input(
        "require-all-clusters",
        InputKind.BOOLEAN,
        "false",
        "If true, delete nothing while these subscriptions contain an AKS cluster that is not configured. If false, only warn.",
    ),
    Input(
        "helm-history",
        InputKind.NUMBER,
        "0",
        "How many revisions of each Helm release count as used, including the current one. A value above 0 needs the right to "
        "list Secrets; only the Secrets of Helm are read.",
    ),
    Input(
        "waive",
        InputKind.LIST,
        "",
        "Object kinds to skip if they cannot be listed, as CLUSTER: KIND (production: rollouts.argoproj.io). Images used only "
        "by objects of that kind may be deleted.",
    ),
    Input(
        "older-than",
        InputKind.TEXT,
        "30d",
        "The minimum time since the last push of a tag before it may be deleted: 30d, 12h, 6w, 2d3h6m, or a number of days.",
    ),
    Input(
        "scope",
        InputKind.CHOICE,
        "running",
        "The repositories whose tags may be deleted: those running in a cluster, those referenced by any object of a cluster, "
        "or all.",
        choices=tuple(Scope),
    ),
    Input(
        "repositories",
        InputKind.LIST,
        "*",
        "Only tags of repositories that match one of these globs may be deleted. A glob that begins with ! excludes "
        "repositories.",
    ),
    Input(
        "shard",
        InputKind.TEXT,
        "",
        "Process only one part of the registry: 3/8 is the third of eight. The name of a repository alone decides its part. "
        "Other parts are not listed. Every part reads all clusters.",
    ),
    Input(
        "include-tags",
        InputKind.LIST,
        "*",
        "Only tags that match one of these globs may be deleted. A glob that begins with ! excludes tags.",
    ),
    Input(
        "exclude-tags",
        InputKind.LIST,
        "latest",
        "Tags that match one of these globs are kept. `latest` is kept too, unless include-tags names it.",
    ),
    Input(
        "use-regex",
        InputKind.BOOLEAN,
        "false",
        "Read repositories, include-tags and exclude-tags as regular expressions (RE2) that must match the whole name. Write "
        "one per line: commas do not separate them.",
    ),
    Input(
        "keep-last",
        InputKind.NUMBER,
        "0",
        "How many of the newest tags of each repository are kept, whatever their age.",
    ),
    Input(
        "keep-last-by",
        InputKind.TEXT,
        "",
        "A regular expression (RE2) with one group, such as ^(dev|main)-. keep-last is then applied separately to each "
        "distinct value of the group.",
    ),
    Input(
        "delete-untagged",
        InputKind.BOOLEAN,
        "false",
        "Also delete untagged manifests. The same rules apply; age counts from their last push.",
    ),
    Input(
        "include-locked",
        InputKind.BOOLEAN,
        "false",
        "Also delete locked tags and manifests. Each is unlocked right before it is deleted; nothing else is unlocked.",
    ),
    Input(
        "max-deletions",
        InputKind.NUMBER,
        "500",
        "Delete nothing if more tags than this would be deleted. 0 means no limit.",
    ),
    Input(
        "max-deletion-percent",
        InputKind.NUMBER,
        "",
        "Delete nothing if more than this percentage of the tags of any repository would be deleted. No limit by default.",
    ),
    Input(
        "registry-aliases",
        InputKind.LIST,
        "",
        "Other host names of the registry, such as a custom domain.",
    ),
    Input(
        "environment",
        InputKind.CHOICE,
        "azurecloud",
        "The Azure cloud. If neither this nor the file names one, ARM_ENVIRONMENT is used.",
        choices=ENVIRONMENTS,
    ),
    Input(
        "apply-plan",
        InputKind.PATH,
        "",
        "A reviewed plan.json: delete only what it lists, and only if that is still valid. Ignored in a dry run.",
        flag=False,
        in_file=False,
    ),
    Input("plan-max-age", InputKind.TEXT, "7d", "The maximum age of a reviewed plan when it is applied."),
    Input(
        "verify",
        InputKind.BOOLEAN,
        "true",
        "After deleting, check that everything in use can still be pulled. Fail if it cannot.",
    ),
    Input(
        "backup",
        InputKind.BOOLEAN,
        "false",
        "Store the content of every deleted manifest in the journal. It can be restored as long as the registry has its "
        "layers.",
    ),
    Input(
        "exact-sizes",
        InputKind.BOOLEAN,
        "false",
        "Count the bytes of layers that no kept manifest of the repository shares. This reads every manifest of the "
        "repositories in scope.",
    ),
    Input(
        "concurrency",
        InputKind.NUMBER,
        "8",
        f"How many requests may run at the same time, at most {MAX_CONCURRENCY}.",
    ),
    Input(
        "fail-on",
        InputKind.TEXT,
        FailOn.DELETE_ERRORS,
        f"What makes the run fail, separated by commas: {', '.join(FailOn)}. A refused run always fails.",
    ),
    Input(
        "summary",
        InputKind.BOOLEAN,
        "true",
        "Show the result on the page of the run. The report files are always written.",
        flag=False,
        in_file=False,
    ),
    Input("report-dir", InputKind.PATH, "acr-cleanup", "The folder for the report files."),
    Input("log-level", InputKind.CHOICE, "info", "The lowest level of messages in the log.", choices=LOG_LEVELS),
)

BY_KEY = {option.key: option for option in INPUTS}


def unknown_inputs(names: Iterable[str]) -> tuple[str, ...]:
    """
    Return one sentence for each name that is not an input, with the nearest name that is.

    CI systems ignore a misspelt input, so a rule that the user wrote would be lost without a trace.
    """
    known = [option.name for option in INPUTS]
    return tuple(
        f"There is no input {shown(name)}; it is ignored.{did_you_mean(nearest(name.lower().replace('_', '-'), known))}"
        for name in sorted(names)
        if name.lower() not in known
    )
