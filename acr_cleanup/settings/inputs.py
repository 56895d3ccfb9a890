"""The table of inputs: flags, action.yml, the schema and the tables in docs/ are made from it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.access.federation import FEDERATION_AUDIENCE, AuthType
from acr_cleanup.core.policy import Scope
from acr_cleanup.settings.grammar import did_you_mean, nearest, shown

MAX_CONCURRENCY = 32
"""The registry recommends no more deletions at a time. https://github.com/Azure/acr-cli (purge)"""

LogLevel = Literal["debug", "info", "warning", "error"]


class FailOn(StrEnum):
    """What makes a run fail (exit code 1). A refusal, a cancellation and a wrong configuration always do."""

    DELETE_ERRORS = "delete-errors"
    """Something could not be deleted, or a repository could not be read."""
    WARNINGS = "warnings"
    PLANNED_DELETIONS = "planned-deletions"
    """A dry run selects something: that is how one asks whether there is anything to clean."""
    NONE = "none"


class Kind(StrEnum):
    """The form of an input, for flags and for the contracts of the pipelines."""

    TEXT = "text"
    LIST = "list"
    """One per line in a pipeline, a repeated flag on the command line."""
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    PATH = "path"


class Input(NamedTuple):
    """
    One input of the action and of the task, one flag (`--name`) of the command line, and one key (`key`) of the file.

    `default` is what holds when nobody says anything, as text. `flag` is False for what the command line says by its verb
    or its argument; `in_file` is False for what has another form in the file.
    """

    name: str
    kind: Kind
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
        The `default:` in action.yml, empty where there must be none.

        A pipeline hands every default on as if the user had written it, and an input outranks the file: what the file can say
        must have its default here alone.
        """
        return "" if self.in_file else self.default


ENVIRONMENTS = tuple(CLOUDS)
LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")

INPUTS: tuple[Input, ...] = (
    Input("config-file", Kind.PATH, "", "The configuration file, JSON or YAML.", flag=False, in_file=False),
    Input(
        "dry-run",
        Kind.BOOLEAN,
        "true",
        "Show what would be deleted, and delete nothing. Set it to false to delete.",
        flag=False,
        in_file=False,
    ),
    Input(
        "collect",
        Kind.PATH,
        "",
        "Only read the clusters, into this file: a usage snapshot. Nothing is decided or deleted.",
        flag=False,
        in_file=False,
    ),
    Input(
        "client-id",
        Kind.TEXT,
        "",
        "The application (client) id to log in to Azure with. Where it is not given, AZURE_CLIENT_ID is used.",
        flag=False,
        in_file=False,
    ),
    Input(
        "tenant-id",
        Kind.TEXT,
        "",
        "The id of the Entra ID tenant. Where it is not given, AZURE_TENANT_ID is used.",
        flag=False,
        in_file=False,
    ),
    Input(
        "auth-type",
        Kind.CHOICE,
        AuthType.OIDC,
        "How to log in to Azure: with the token of the job (oidc), as the managed identity of the machine, or with what "
        "the AZURE_ variables of the environment describe. Nothing else is tried.",
        # What a task of Azure DevOps says by itself is nothing to choose.
        choices=tuple(each for each in AuthType if each is not AuthType.AZURE_PIPELINES),
        flag=False,
        in_file=False,
    ),
    Input(
        "audience",
        Kind.TEXT,
        FEDERATION_AUDIENCE,
        "The audience of the token of the job, as the federated credential has it.",
        flag=False,
        in_file=False,
    ),
    Input(
        "registry",
        Kind.TEXT,
        "",
        "The registry: its login server (contoso.azurecr.io) or its name (contoso).",
        in_file=False,
    ),
    Input(
        "clusters",
        Kind.LIST,
        "",
        "Resource ids of further AKS clusters, one per line. They are added to those of the file.",
        in_file=False,
    ),
    Input(
        "subscriptions",
        Kind.LIST,
        "",
        "Ids of the subscriptions in which to look for AKS clusters that the configuration forgot. By default those of the "
        "configured clusters.",
    ),
    Input(
        "require-all-clusters",
        Kind.BOOLEAN,
        "false",
        "If true, an AKS cluster in these subscriptions that is not configured stops every deletion, instead of being warned of.",
    ),
    Input(
        "helm-history",
        Kind.NUMBER,
        "0",
        "How many revisions of each Helm release count as used, the current one among them. More than 0 needs the right to list "
        "Secrets; none but those of Helm are read.",
    ),
    Input(
        "waive",
        Kind.LIST,
        "",
        "What to give up, as CLUSTER: KIND (production: rollouts.argoproj.io). What cannot be seen of this kind there then blocks "
        "nothing, and what only it uses may be deleted.",
    ),
    Input(
        "older-than",
        Kind.TEXT,
        "30d",
        "How long ago the last push of a tag must be before it may go: 30d, 12h, 6w, 2d3h6m, or a number of days.",
    ),
    Input(
        "scope",
        Kind.CHOICE,
        "running",
        "Which repositories may lose tags: those running in a cluster, those that anything in a cluster references, or all.",
        choices=tuple(Scope),
    ),
    Input(
        "repositories",
        Kind.LIST,
        "*",
        "Only repositories that match one of these globs, and none that begins with !, may lose tags.",
    ),
    Input(
        "shard",
        Kind.TEXT,
        "",
        "Only one part of the registry, as 3/8: the third of eight. Which part a repository belongs to depends on its name alone; "
        "the others are not looked at. Every part reads all clusters.",
    ),
    Input(
        "include-tags", Kind.LIST, "*", "Only tags that match one of these globs, and none that begins with !, may go."
    ),
    Input(
        "exclude-tags",
        Kind.LIST,
        "latest",
        "Tags that match one of these globs stay. `latest` stays too, unless include-tags names it.",
    ),
    Input(
        "use-regex",
        Kind.BOOLEAN,
        "false",
        "Read repositories, include-tags and exclude-tags as regular expressions (RE2), which must match the whole name. They "
        "are one per line: commas do not separate them.",
    ),
    Input("keep-last", Kind.NUMBER, "0", "How many of the newest tags of each repository stay, whatever their age."),
    Input(
        "keep-last-by",
        Kind.TEXT,
        "",
        "A regular expression (RE2) with one group, such as ^(dev|main)-. keep-last then counts by itself the tags of each text "
        "that the group finds.",
    ),
    Input(
        "delete-untagged",
        Kind.BOOLEAN,
        "false",
        "Manifests without any tag may go as well, by the same rules and the time of their last push.",
    ),
    Input(
        "include-locked",
        Kind.BOOLEAN,
        "false",
        "Locks of tags and manifests no longer keep them: what is deleted is unlocked right before, and nothing else.",
    ),
    Input(
        "max-deletions",
        Kind.NUMBER,
        "500",
        "If more tags than this would go, nothing is deleted. 0 means no limit.",
    ),
    Input(
        "max-deletion-percent",
        Kind.NUMBER,
        "",
        "If more than this share of the tags of any repository would go, nothing is deleted. No limit by default.",
    ),
    Input(
        "registry-aliases",
        Kind.LIST,
        "",
        "Further host names that mean the registry, such as a custom domain.",
    ),
    Input(
        "environment",
        Kind.CHOICE,
        "azurecloud",
        "The Azure cloud. Where nothing else says it, ARM_ENVIRONMENT does.",
        choices=ENVIRONMENTS,
    ),
    Input(
        "apply-plan",
        Kind.PATH,
        "",
        "A reviewed plan.json: only what it deletes is deleted, as far as it is still true. Does nothing in a dry run.",
        flag=False,
        in_file=False,
    ),
    Input("plan-max-age", Kind.TEXT, "7d", "How old a reviewed plan may be when it is applied."),
    Input(
        "verify",
        Kind.BOOLEAN,
        "true",
        "After deleting, look whether everything in use can still be pulled, and fail if not.",
    ),
    Input(
        "backup",
        Kind.BOOLEAN,
        "false",
        "Put the content of every deleted manifest into the journal: it can be restored as long as the registry has its layers.",
    ),
    Input(
        "exact-sizes",
        Kind.BOOLEAN,
        "false",
        "Count the bytes of layers that nothing kept in the repository shares. This reads every manifest of the repositories in "
        "scope.",
    ),
    Input("concurrency", Kind.NUMBER, "8", f"How many requests may run at the same time, {MAX_CONCURRENCY} at most."),
    Input(
        "fail-on",
        Kind.TEXT,
        FailOn.DELETE_ERRORS,
        f"What makes the run fail, separated by commas: {', '.join(FailOn)}. What is refused always does.",
    ),
    Input(
        "summary",
        Kind.BOOLEAN,
        "true",
        "Show the result on the page of the run. The report files are written in any case.",
        flag=False,
        in_file=False,
    ),
    Input("report-dir", Kind.PATH, "acr-cleanup", "The folder that receives the reports."),
    Input("log-level", Kind.CHOICE, "info", "How much the log says.", choices=LOG_LEVELS),
)

BY_KEY = {each.key: each for each in INPUTS}


def unknown_inputs(names: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each name that is no input, with the nearest one that is. Nobody else notices a misspelt rule."""
    known = [each.name for each in INPUTS]
    return tuple(
        f"There is no input {shown(name)}; it is ignored.{did_you_mean(nearest(name.lower().replace('_', '-'), known))}"
        for name in sorted(names)
        if name.lower() not in known
    )
