"""
What the user asked for: flags or inputs, the configuration file and the environment become one `Settings`.

Precedence: flag or input, then file, then environment, then default. Clusters alone are added up: a cluster that a flag
pushed out of the file would look unused. Every problem is reported at once, each with its place and its remedy.

Values reach this module as text (see `config_file`), and become types here, once.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
)

from acr_cleanup.clusters.targets import Access, AksCluster, ClusterTarget, KubeconfigCluster
from acr_cleanup.config_file import place, read_config
from acr_cleanup.core.policy import Limits, RetentionPolicy, Scope
from acr_cleanup.core.references import DEFAULT_TAG, Registry, normalise_host
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.federation import FEDERATION_AUDIENCE, AuthType, LoginChoice
from acr_cleanup.identity import CLOUDS, REGISTRY_AUDIENCE, Cloud
from acr_cleanup.network import environment_problems

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


# -- the inputs ------------------------------------------------------------------------------------------------


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


_ENVIRONMENTS = tuple(CLOUDS)
_LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")

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
        choices=tuple(AuthType),
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
    Input("repositories", Kind.LIST, "*", "Only repositories that match one of these globs may lose tags."),
    Input("include-tags", Kind.LIST, "*", "Only tags that match one of these globs may go."),
    Input(
        "exclude-tags",
        Kind.LIST,
        "latest",
        "Tags that match one of these globs stay. `latest` stays too, unless include-tags names it.",
    ),
    Input("keep-last", Kind.NUMBER, "0", "How many of the newest tags of each repository stay, whatever their age."),
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
        choices=_ENVIRONMENTS,
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
    Input("log-level", Kind.CHOICE, "info", "How much the log says.", choices=_LOG_LEVELS),
)

_BY_KEY = {each.key: each for each in INPUTS}


# -- from text to types ----------------------------------------------------------------------------------------


class Wrong(ValueError):
    """A value that cannot be used: what was seen, and what to write instead."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy


_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")
_LONGEST = timedelta(days=36525)
_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
_RESOURCE_GROUP = re.compile(r"[\w().-]{0,89}[\w()-]")
_CLUSTER_NAME = re.compile(r"[A-Za-z0-9](?:[\w-]{0,61}[A-Za-z0-9])?")
_REGISTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{3,60}[A-Za-z0-9]")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::\d{{1,5}})?")
_RESOURCE_ID = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.ContainerService/managedClusters/([^/]+)/?",
    re.IGNORECASE,
)
_GLOB = re.compile(r"[A-Za-z0-9._/*?\[\]!-]+")


def parse_duration(text: str) -> timedelta:
    """
    `30d`, `12h`, `6w`, `2d3h6m`, or a plain number of days; 0 means that age does not matter. Raises `Wrong`.

    >>> parse_duration("2d3h6m")
    datetime.timedelta(days=2, seconds=11160)
    """
    text = text.strip()
    how = "Write 30d, 12h, 6w, 2d3h6m, or a number of days."
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        days = float(text)
        duration = timedelta(days=days) if days <= _LONGEST.days else None
    elif text.startswith("-"):
        raise Wrong(f"{_show(text)} lies in the future.", how)
    else:
        match = _DURATION.fullmatch(text)
        if not text or match is None:
            raise Wrong(f"{_show(text)} is not a duration.", how)
        weeks, days_, hours, minutes = (int(group or 0) for group in match.groups())
        if match.lastindex == 4 and not any(match.groups()[:3]):
            # Someone who means six months would lose everything that is older than six minutes.
            raise Wrong(f"{_show(text)} might be meant as minutes or as months.", f"Write 0h{text} or {30 * minutes}d.")
        total = weeks * 10080 + days_ * 1440 + hours * 60 + minutes
        duration = timedelta(minutes=total) if total <= _LONGEST.days * 1440 else None
    if duration is None or duration > _LONGEST:
        raise Wrong(f"{_show(text)} is more than 100 years.", how)
    return duration


def parse_registry_url(text: str) -> str:
    """
    The host (and port) of a registry; the bare name of one stays bare. Raises `Wrong`.

    >>> parse_registry_url("https://Contoso.azurecr.io/")
    'contoso.azurecr.io'
    """
    how = "Write the login server alone: contoso.azurecr.io"
    text = text.strip()
    if "@" in text:
        # Not shown: what stands before the @ may be a password.
        raise Wrong("It holds a user name, a password or a digest.", how)
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() != "https":
        raise Wrong(f"{_show(text)} is not reached by https.", how)
    host = (rest if separator else text).removesuffix("/")
    if "/" in host or "?" in host or "#" in host:
        raise Wrong(f"{_show(text)} holds more than a host name.", how)
    if not _HOST.fullmatch(host) or int(_port_of(host) or 443) > 65535:
        raise Wrong(f"{_show(text)} is not a host name.", how)
    if _is_bare(host) and not _REGISTRY_NAME.fullmatch(host):
        raise Wrong(f"{_show(text)} is not the name of a registry.", how)
    return normalise_host(host)


def _is_bare(host: str) -> bool:
    return "." not in host and ":" not in host and host.lower() != "localhost"


def _port_of(host: str) -> str:
    return host.rpartition(":")[2] if re.search(r":\d+$", host) else ""


def parse_endpoint(text: str) -> str:
    """An `https` URL of a host, without a final slash; a missing scheme is added. Raises `Wrong`."""
    how = "Write it as https://HOST."
    text = text.strip()
    if "@" in text:
        raise Wrong("It holds a user name or a password.", how)
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Wrong(f"{_show(text)} is not the URL of an endpoint.", how) from error
    port = int(_port_of(parts.netloc) or 443)
    if not _HOST.fullmatch(parts.netloc) or port > 65535 or parts.query or parts.fragment:
        raise Wrong(f"{_show(text)} is not the URL of an endpoint.", how)
    if parts.scheme.lower() != "https":
        raise Wrong(f"{_show(text)} is not an https URL.", how)
    return f"https://{parts.netloc}{parts.path}".rstrip("/")


def parse_environment(text: str) -> str:
    """The name of a cloud, as the Azure tools or as Terraform (ARM_ENVIRONMENT) spell it, in any case. Raises `Wrong`."""
    terraform = {"public": "azurecloud", "usgovernment": "azureusgovernment", "china": "azurechinacloud"}
    name = text.strip().lower()
    name = terraform.get(name, name)
    if name not in CLOUDS:
        raise Wrong(f"{_show(text)} is not the name of a cloud.{_near(name, [*CLOUDS, *terraform])}", _one_of(CLOUDS))
    return name


def parse_resource_id(text: str) -> tuple[str, str, str]:
    """Subscription, resource group and name of an AKS cluster, from its resource id. Raises `Wrong`."""
    how = "Copy it from `az aks show --query id`."
    match = _RESOURCE_ID.fullmatch(text.strip())
    if match is None:
        raise Wrong(f"{_show(text)} is not the resource id of an AKS cluster.", how)
    subscription, group, name = match.groups()
    return _guid(subscription), _resource_group(group), _cluster_name(name)


def _guid(text: str) -> str:
    if not _GUID.fullmatch(text.strip()):
        remedy = "Write the id, as `az account show --query id` prints it."
        raise Wrong(f"{_show(text)} is not the id of a subscription.", remedy)
    return text.strip()


def _resource_group(text: str) -> str:
    if not _RESOURCE_GROUP.fullmatch(text.strip()):
        raise Wrong(f"{_show(text)} cannot be the name of a resource group.", "Write its name, not its resource id.")
    return text.strip()


def _client_id(text: str) -> str:
    if not _GUID.fullmatch(text.strip()):
        # Not shown: people put a secret in the wrong place.
        remedy = "Write the application (client) id, as `az ad app list --query [].appId` prints it."
        raise Wrong("It is not the id of an application.", remedy)
    return text.strip()


def _tenant_id(text: str) -> str:
    name = text.strip()
    if not (_GUID.fullmatch(name) or (re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})+", name))):
        remedy = "Write the id, as `az account show --query tenantId` prints it."
        raise Wrong("It is neither the id nor the name of a tenant.", remedy)
    return name


def _boolean(text: str) -> bool:
    name = text.strip().lower()
    if name not in ("true", "false"):
        raise Wrong(f"{_show(text)} is neither true nor false.", "Write true or false.")
    return name == "true"


def _cluster_name(text: str) -> str:
    if not _CLUSTER_NAME.fullmatch(text.strip()):
        remedy = "Write the name that `az aks list` shows, or use resource_id."
        raise Wrong(f"{_show(text)} cannot be the name of an AKS cluster.", remedy)
    return text.strip()


def _choice(options: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        name = text.strip().lower().replace("_", "-")
        if name not in options:
            raise Wrong(f"{_show(text)} is none of the choices.{_near(name, options)}", _one_of(options))
        return name

    return parse


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    bounds = f"from {least} to {most}" if most is not None else f"from {least} upward"

    def parse(text: str) -> int:
        # Bounded in length as well: Python refuses to read numbers of thousands of digits.
        if not re.fullmatch(r"[+-]?\d{1,18}", text.strip()):
            raise Wrong(f"{_show(text)} is not a whole number.", f"Write one {bounds}.")
        number = int(text)
        if number < least or (most is not None and number > most):
            raise Wrong(f"{number} is out of range.", f"Write a whole number {bounds}.")
        return number

    return parse


def _percent(text: str) -> float:
    how = "Write a number above 0, up to 100; leave it out for no limit."
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise Wrong(f"{_show(text)} is not a number.", how)
    if not 0 < number <= 100:
        # Zero might mean "nothing" or, as for max_deletions, "no limit".
        raise Wrong(f"{_show(text)} is no share of the tags that could be a limit.", how)
    return number


def _plain_text(text: str) -> str:
    if not text.strip():
        raise Wrong("It is empty.", "Give it a value, or leave it out.")
    return text.strip()


def _glob(text: str) -> str:
    if text.startswith("!"):
        raise Wrong(f"{_show(text)} begins with an exclamation mark.", "Use exclude_tags to keep tags.")
    if not _GLOB.fullmatch(text):
        remedy = "Write a glob such as team/* or v1.?; repositories and tags have keys of their own."
        raise Wrong(f"{_show(text)} matches no repository and no tag.", remedy)
    return text


def _alias(text: str) -> str:
    host = parse_registry_url(text)
    if _is_bare(host):
        raise Wrong(f"{_show(text)} is not a whole host name.", "Write it as images use it: images.contoso.com")
    return host


def _show(text: object) -> str:
    """A value as evidence: quoted, on one line, of bearable length."""
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:76]}…{shown[-1]}"


def _one_of(options: Sequence[str] | Mapping[str, object]) -> str:
    names = list(options)
    return f"Write {', '.join(names[:-1])} or {names[-1]}."


def _near(text: str, options: Sequence[str]) -> str:
    found = difflib.get_close_matches(text, options, 1, cutoff=0.7)
    return f" Did you mean {found[0]}?" if found else ""


# -- the form of the file --------------------------------------------------------------------------------------

T = TypeVar("T")


def _scalar(parse: Callable[[str], T]) -> PlainValidator:
    def validate(value: object) -> T:
        if isinstance(value, dict | list | tuple):
            raise Wrong("It holds a list or a mapping.", "Write a single value.")
        return parse(str(value).lower() if isinstance(value, bool) else str(value))

    return PlainValidator(validate)


def _list(parse: Callable[[str], T]) -> PlainValidator:
    return PlainValidator(lambda value: _items(value, parse))


def _items(value: object, parse: Callable[[str], T]) -> tuple[T, ...] | None:
    """
    A list, or a text with one item per line (or commas between them); lines that begin with `#` are remarks.

    A text without items says nothing; an empty list does.
    """
    if isinstance(value, str):
        value = [item for line in value.splitlines() if not line.lstrip().startswith("#") for item in line.split(",")]
        if not any(item.strip() for item in value):
            return None
    if not isinstance(value, list | tuple):
        raise Wrong("It is not a list.", "Write a list, or one item per line.")
    found = []
    for item in value:
        if item is None or isinstance(item, dict | list | tuple):
            raise Wrong("An item of the list is not a text.", "Write texts only.")
        if str(item).strip():
            found.append(parse(str(item).strip()))
    return tuple(found)


def _fail_on(value: object) -> frozenset[FailOn] | None:
    chosen = _items(value, _choice(tuple(FailOn)))
    if chosen is not None and FailOn.NONE in chosen and len(set(chosen)) > 1:
        raise Wrong("It says none and more than that.", "Write none alone, or leave it out.")
    return None if chosen is None else frozenset(map(FailOn, chosen))


def _schema(kind: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


_NUMBER_TYPES: dict[str, Any] = {"type": ["integer", "string"]}
Duration = Annotated[
    timedelta,
    _scalar(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\s*[0-9]"}]}),
]
Globs = Annotated[
    tuple[str, ...],
    _list(_glob),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": ["string", "number"]}}, {"type": "string"}]}),
]
Hosts = Annotated[
    tuple[str, ...],
    _list(_alias),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
ResourceIds = Annotated[tuple[tuple[str, str, str], ...], _list(parse_resource_id), _schema("array")]
ResourceId = Annotated[tuple[str, str, str], _scalar(parse_resource_id), _schema("string", pattern="^/subscriptions/")]
Guid = Annotated[str, _scalar(_guid), _schema("string", pattern=f"^{_GUID.pattern}$")]
ResourceGroup = Annotated[str, _scalar(_resource_group), _schema("string", minLength=1, maxLength=90)]
ClusterName = Annotated[str, _scalar(_cluster_name), _schema("string", minLength=1, maxLength=63)]
Text = Annotated[str, _scalar(_plain_text), _schema("string", minLength=1)]
RegistryUrl = Annotated[str, _scalar(parse_registry_url), _schema("string", minLength=1)]
Endpoint = Annotated[str, _scalar(parse_endpoint), _schema("string", pattern="^https://")]
Environment = Annotated[str, _scalar(parse_environment), _schema("string", examples=list(_ENVIRONMENTS))]
AccessName = Annotated[str, _scalar(_choice(tuple(Access))), _schema("string", enum=list(Access))]
ScopeName = Annotated[str, _scalar(_choice(tuple(Scope))), _schema("string", enum=list(Scope))]
AuthTypeName = Annotated[str, _scalar(_choice(tuple(AuthType))), _schema("string", enum=list(AuthType))]
ClientId = Annotated[str, _scalar(_client_id), _schema("string")]
TenantId = Annotated[str, _scalar(_tenant_id), _schema("string")]
Boolean = Annotated[bool, _scalar(_boolean), _schema("boolean")]
FailOnNames = Annotated[
    frozenset[FailOn],
    PlainValidator(_fail_on),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"enum": list(FailOn)}}, {"type": "string"}]}),
]
LogLevelName = Annotated[LogLevel, _scalar(_choice(_LOG_LEVELS)), _schema("string", enum=list(_LOG_LEVELS))]
Count = Annotated[int, _scalar(_whole(0)), WithJsonSchema({**_NUMBER_TYPES, "minimum": 0})]
Concurrency = Annotated[
    int,
    _scalar(_whole(1, MAX_CONCURRENCY)),
    WithJsonSchema({**_NUMBER_TYPES, "minimum": 1, "maximum": MAX_CONCURRENCY}),
]
Percent = Annotated[
    float, _scalar(_percent), WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0, "maximum": 100})
]


def _option(key: str) -> Any:
    each = _BY_KEY[key]
    extra: dict[str, Any] = {"default": each.default} if each.default else {}
    return Field(default=None, description=each.description, json_schema_extra=extra or None)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Options(_Model):
    """What both the file and the inputs may say; None where they do not."""

    older_than: Duration | None = _option("older_than")
    scope: ScopeName | None = _option("scope")
    repositories: Globs | None = _option("repositories")
    include_tags: Globs | None = _option("include_tags")
    exclude_tags: Globs | None = _option("exclude_tags")
    keep_last: Count | None = _option("keep_last")
    max_deletions: Count | None = _option("max_deletions")
    max_deletion_percent: Percent | None = _option("max_deletion_percent")
    registry_aliases: Hosts | None = _option("registry_aliases")
    environment: Environment | None = _option("environment")
    concurrency: Concurrency | None = _option("concurrency")
    fail_on: FailOnNames | None = _option("fail_on")
    report_dir: Text | None = _option("report_dir")
    log_level: LogLevelName | None = _option("log_level")


class _Inputs(_Options):
    registry: RegistryUrl | None = _option("registry")
    clusters: ResourceIds | None = _option("clusters")
    dry_run: Boolean | None = _option("dry_run")
    client_id: ClientId | None = _option("client_id")
    tenant_id: TenantId | None = _option("tenant_id")
    auth_type: AuthTypeName | None = _option("auth_type")
    audience: Text | None = _option("audience")
    summary: Boolean | None = _option("summary")


_ACCESS = "How the cluster is read: directly, by run command, or (auto) whichever of them works."


class AksByName(_Model):
    """An AKS cluster, by its name."""

    name: ClusterName = Field(description="The name of the AKS cluster.")
    subscription_id: Guid = Field(description="The id of the subscription that the cluster is in.")
    resource_group: ResourceGroup = Field(description="The name of the resource group that the cluster is in.")
    access: AccessName | None = Field(default=None, description=_ACCESS, json_schema_extra={"default": "auto"})


class AksById(_Model):
    """An AKS cluster, by its resource id."""

    resource_id: ResourceId = Field(description="The resource id of the AKS cluster.")
    access: AccessName | None = Field(default=None, description=_ACCESS, json_schema_extra={"default": "auto"})


class ByKubeconfig(_Model):
    """Any Kubernetes cluster, by a kubeconfig file."""

    kubeconfig: Text = Field(description="The path of a kubeconfig file, relative to the folder of this file.")
    context: Text | None = Field(
        default=None, description="The context to use; by default the current one of the file."
    )


_ENTRY_FORMS: Mapping[str, type[_Model]] = {"aks": AksByName, "aks-id": AksById, "kubeconfig": ByKubeconfig}


def _form_of(entry: Any) -> str:
    if isinstance(entry, dict) and "kubeconfig" in entry:
        return "kubeconfig"
    return "aks-id" if isinstance(entry, dict) and "resource_id" in entry else "aks"


_ClusterEntry = Annotated[
    Annotated[AksByName, Tag("aks")] | Annotated[AksById, Tag("aks-id")] | Annotated[ByKubeconfig, Tag("kubeconfig")],
    Discriminator(_form_of),
]


class RegistryEntry(_Model):
    """The one registry that is cleaned."""

    url: RegistryUrl | None = Field(
        default=None, description="The login server of the registry (contoso.azurecr.io), or its name (contoso)."
    )
    subscription_id: Guid | None = Field(
        default=None, description="The id of the subscription that the registry is in."
    )
    resource_group: ResourceGroup | None = Field(
        default=None, description="The name of the resource group that the registry is in."
    )
    aliases: Hosts | None = Field(default=None, description=_BY_KEY["registry_aliases"].description)


class CloudEntry(_Model):
    """Other endpoints than those of a public cloud."""

    authority: Endpoint | None = Field(default=None, description="The URL of Entra ID.")
    resource_manager: Endpoint | None = Field(default=None, description="The URL of Azure Resource Manager.")
    audience: Endpoint | None = Field(
        default=None,
        description="The audience of tokens for the registry.",
        json_schema_extra={"default": REGISTRY_AUDIENCE},
    )


class _File(_Options):
    """The configuration file of acr-cleanup."""

    kubernetes_clusters: dict[str, _ClusterEntry] | None = Field(
        default=None,
        description="Every cluster that may use images of the registry, by a name for reports. "
        "A cluster that is not listed here is not asked, and what only it uses may be deleted.",
    )
    container_registry: RegistryEntry | None = Field(default=None, description="The one registry that is cleaned.")
    cloud: CloudEntry | None = Field(default=None, description="Other endpoints than those of a public cloud.")


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration file, with a description of every key."""
    made = _File.model_json_schema()
    _drop_titles(made)
    made["properties"]["$schema"] = {"type": "string", "description": "Where editors find this schema; not read."}
    made["required"] = ["kubernetes_clusters", "container_registry"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "acr-cleanup",
        "description": "The configuration file of acr-cleanup.",
        **{key: value for key, value in made.items() if key not in ("title", "description")},
    }


def _drop_titles(node: Any) -> None:
    # pydantic titles every key with its own name, which says nothing.
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        for inner in node.values():
            _drop_titles(inner)
    elif isinstance(node, list):
        for inner in node:
            _drop_titles(inner)


# -- putting it together ---------------------------------------------------------------------------------------


def load_settings(
    config: Path | None, overrides: Mapping[str, str | Sequence[str] | None], environ: Mapping[str, str]
) -> Settings:
    """
    The settings of this run.

    `overrides` holds flags or inputs by name (`older-than` or `older_than`); an empty text or None was not given.
    Raises `ConfigurationError` with every problem of every source.
    """
    problems: list[Problem] = []
    tree: dict[str, Any] = {}
    if config is not None:
        tree, problems = read_config(config)
        tree.pop("$schema", None)
    # A problem in the file hides its part only, so that one run reports all of them.
    file, file_problems = _validate(_File, tree, _place_in_file)
    given = {_key(name): value for name, value in overrides.items() if not _absent(value)}
    given.pop("config_file", None)
    inputs, input_problems = _validate(_Inputs, given, lambda loc: str(loc[0]).replace("_", "-"))
    problems += file_problems + input_problems + environment_problems(environ)

    broken = {problem.path for problem in problems}
    options = _merged(file, inputs)
    folder = config.parent if config is not None else Path()
    cloud = _cloud(options, file, environ, problems)
    clusters = _clusters(file, inputs, folder, problems, any(path.startswith("kubernetes_clusters") for path in broken))
    registry = _registry(file, inputs, options, cloud, problems, broken)
    policy = _policy(options, problems)
    login = _login(inputs, environ, problems, broken)
    if problems or registry is None:
        raise ConfigurationError(tuple(problems), where=str(config) if config is not None else "")

    limits = Limits(percent=options.get("max_deletion_percent"))
    if "max_deletions" in options:
        limits = replace(limits, deletions=options["max_deletions"] or None)
    entry = file.container_registry or RegistryEntry()
    known = {key: options[key] for key in ("concurrency", "fail_on", "log_level") if options.get(key) is not None}
    known |= {key: getattr(inputs, key) for key in ("dry_run", "summary") if getattr(inputs, key) is not None}
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
        **known,
    )


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _absent(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_absent(item) for item in value)
    return value is None or (isinstance(value, str) and not value.strip())


M = TypeVar("M", bound=_Model)
Loc = tuple[str | int, ...]


def _validate(model: type[M], tree: dict[str, Any], name: Callable[[Loc], str]) -> tuple[M, list[Problem]]:
    """The model of this tree without the parts that cannot be used, and a problem for each of those."""
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    problems = [_problem(model, tree, mistake, name) for mistake in mistakes]
    rest = _without(tree, [tuple(mistake["loc"]) for mistake in mistakes])
    return model.model_validate(rest), problems


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


def _problem(model: type[_Model], tree: dict[str, Any], mistake: Any, name: Callable[[Loc], str]) -> Problem:
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
        if owner in _ENTRY_FORMS.values() and any(key in form.model_fields for form in _ENTRY_FORMS.values()):
            seen = f"This key does not go with {next(iter(known))}."
            return Problem(path, seen, "Describe a cluster in one way only.")
        near = _near(_key(key), known)
        remedy = "Correct it." if near else f"Remove it; the keys here are {', '.join(sorted(known))}."
        return Problem(path, f"There is no such key.{near}", remedy)
    # What is left is a list or a single value in place of a mapping.
    found: Any = tree
    for part in loc[:2]:
        found = found.get(part) if isinstance(found, dict) else None
    seen = "It is empty." if found is None else f"It is {'a list' if isinstance(found, list) else 'a single value'}."
    return Problem(path, seen, "Write a mapping: its keys, each with a value.")


def _owner(model: type[_Model], loc: Loc) -> type[_Model]:
    """The model that the last part of this place is a key of."""
    if len(loc) == 1:
        return model
    if loc[0] == "kubernetes_clusters":
        return _ENTRY_FORMS[str(loc[2])]
    return CloudEntry if loc[0] == "cloud" else RegistryEntry


def _merged(file: _File, inputs: _Inputs) -> dict[str, Any]:
    """Option -> its value, from the inputs, else from the file. What nobody gave is absent; null in the file is given."""
    options: dict[str, Any] = {}
    for source in (file, inputs):
        options |= {key: getattr(source, key) for key in source.model_fields_set & set(_Options.model_fields)}
    return options


def _cloud(options: Mapping[str, Any], file: _File, environ: Mapping[str, str], problems: list[Problem]) -> Cloud:
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


def _login(inputs: _Inputs, environ: Mapping[str, str], problems: list[Problem], broken: set[str]) -> LoginChoice:
    """Who to log in as. Without an `auth-type`, which only a pipeline gives, the environment alone says it."""
    if inputs.auth_type is None:
        return LoginChoice()
    auth_type = AuthType(inputs.auth_type)
    client, tenant = inputs.client_id, inputs.tenant_id
    if auth_type is not AuthType.ENVIRONMENT:
        client = client or _from_environ("AZURE_CLIENT_ID", _client_id, environ, problems)
    if auth_type is AuthType.OIDC:
        tenant = tenant or _from_environ("AZURE_TENANT_ID", _tenant_id, environ, problems)
        for name, value, what in (("client-id", client, "application (client) id"), ("tenant-id", tenant, "tenant id")):
            if (
                not value
                and name not in broken
                and not environ.get(f"AZURE_{name.replace('-', '_').upper()}", "").strip()
            ):
                remedy = f"Give the {what} of the identity whose federated credential trusts this job, or choose another auth-type."
                problems.append(Problem(name, "It is missing, and auth-type oidc needs it.", remedy))
    return LoginChoice(auth_type, client or "", tenant or "", inputs.audience or FEDERATION_AUDIENCE)


def unknown_inputs(names: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each name that is no input, with the nearest one that is. Nobody else notices a misspelt rule."""
    known = [each.name for each in INPUTS]
    return tuple(
        f"There is no input {_show(name)}; it is ignored.{_near(name.lower().replace('_', '-'), known)}"
        for name in sorted(names)
        if name.lower() not in known
    )


def _clusters(
    file: _File, inputs: _Inputs, folder: Path, problems: list[Problem], some_broken: bool
) -> tuple[ClusterTarget, ...]:
    targets: list[ClusterTarget] = []
    places: dict[tuple[str, ...], str] = {}
    entries: list[tuple[str, ClusterTarget]] = []
    for key, entry in (file.kubernetes_clusters or {}).items():
        where = place(("kubernetes_clusters", key))
        if isinstance(entry, ByKubeconfig):
            entries.append((where, _kubeconfig(key, entry, where, folder, problems)))
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
        seen = f"There is no file {_show(str(path))}."
        remedy = "Correct the path; it is relative to the folder of the configuration file."
        problems.append(Problem(f"{where}.kubeconfig", seen, remedy))
    return KubeconfigCluster(key, path, entry.context)


def _sameness(target: ClusterTarget) -> tuple[str, ...]:
    # Azure compares these without regard to case.
    if isinstance(target, AksCluster):
        return (target.subscription_id.lower(), target.resource_group.lower(), target.name.lower())
    return (str(target.kubeconfig.absolute()), target.context or "")


def _registry(
    file: _File,
    inputs: _Inputs,
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
    login_server = f"{host}.{cloud.registry_suffix}" if _is_bare(host) else host
    aliases = frozenset((*(entry.aliases or ()), *(options.get("registry_aliases") or ())))
    return Registry(login_server, aliases - {login_server})


def _policy(options: Mapping[str, Any], problems: list[Problem]) -> RetentionPolicy:
    for key in ("repositories", "include_tags"):
        if options.get(key) == ():
            seen = "The list is empty: nothing would ever be deleted."
            problems.append(Problem(key, seen, "Leave the key out for all, or name some."))
    policy = RetentionPolicy()
    for key in ("older_than", "repositories", "include_tags", "keep_last"):
        if options.get(key) is not None:
            policy = replace(policy, **{key: options[key]})
    if options.get("scope") is not None:
        policy = replace(policy, scope=Scope(options["scope"]))
    excluded: tuple[str, ...] | None = options.get("exclude_tags")
    # `latest` goes only when asked for: by its own name, or by saying that nothing at all is excluded.
    asked_for = DEFAULT_TAG in policy.include_tags or excluded == ()
    always = () if asked_for or DEFAULT_TAG in (excluded or ()) else (DEFAULT_TAG,)
    return replace(policy, exclude_tags=(*always, *(excluded or ())))
