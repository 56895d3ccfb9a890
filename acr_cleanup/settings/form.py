"""Models of the configuration file and the inputs. The published JSON schema is made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PlainValidator, Tag, ValidationInfo, WithJsonSchema

from acr_cleanup.access.clouds import REGISTRY_AUDIENCE
from acr_cleanup.access.federation import AuthType
from acr_cleanup.clusters.target import Access, Waiver
from acr_cleanup.core.policy import Scope
from acr_cleanup.core.shard import Shard
from acr_cleanup.settings.grammar import (
    GUID,
    WAIVER_FORM,
    InvalidOption,
    as_alias,
    as_boolean,
    as_choice,
    as_client_id,
    as_cluster_name,
    as_grouping,
    as_guid,
    as_pattern,
    as_percent,
    as_resource_group,
    as_shard,
    as_tenant_id,
    as_text,
    as_whole,
    parse_duration,
    parse_endpoint,
    parse_environment,
    parse_registry_url,
    parse_resource_id,
    parse_waiver,
)
from acr_cleanup.settings.inputs import BY_KEY, ENVIRONMENTS, LOG_LEVELS, MAX_CONCURRENCY, FailOn, LogLevel

T = TypeVar("T")
USE_REGEX = "use_regex"
"""Key in the validation context: are patterns regular expressions? None if unknown."""


def _scalar(parse: Callable[[str], T]) -> PlainValidator:
    def validate(value: object) -> T:
        if isinstance(value, dict | list | tuple):
            raise InvalidOption("It is a list or a mapping.", "Write a single value.")
        return parse(str(value).lower() if isinstance(value, bool) else str(value))

    return PlainValidator(validate)


def _list(parse: Callable[[str], T]) -> PlainValidator:
    return PlainValidator(lambda value: _items(value, parse))


def _items(value: object, parse: Callable[[str], T], commas: str = ",") -> tuple[T, ...] | None:
    """
    Parse a list, or a text with one item per line.

    commas: the text that also separates the items of a line; empty if only lines separate items.
    Lines that begin with `#` are comments. A text without items means "not given" and returns
    None. An empty list is a value and returns ().
    """
    if isinstance(value, str):
        lines = [line for line in value.splitlines() if not line.lstrip().startswith("#")]
        value = [item for line in lines for item in line.split(commas)] if commas else lines
        if not any(item.strip() for item in value):
            return None
    if not isinstance(value, list | tuple):
        raise InvalidOption("It is not a list.", "Write a list, or one item per line.")
    items = []
    for item in value:
        if item is None or isinstance(item, dict | list | tuple):
            raise InvalidOption(
                "An item of the list is empty, a list or a mapping.", "Write only texts or numbers as items."
            )
        if str(item).strip():
            items.append(parse(str(item).strip()))
    return tuple(items)


def _patterns(*, negatable: bool) -> PlainValidator:
    def validate(value: object, info: ValidationInfo) -> tuple[str, ...] | None:
        use_regex: bool | None = (info.context or {}).get(USE_REGEX, False)
        # In a regular expression a comma may belong to a repetition count: `v{1,3}`.
        commas = "" if use_regex else ","
        return _items(value, partial(as_pattern, use_regex=use_regex, negatable=negatable), commas)

    return PlainValidator(validate)


def _fail_on(value: object) -> frozenset[FailOn] | None:
    chosen = _items(value, as_choice(tuple(FailOn)))
    if chosen is not None and FailOn.NONE in chosen and len(set(chosen)) > 1:
        raise InvalidOption("It combines none with other values.", "Write none alone, or remove none.")
    return None if chosen is None else frozenset(map(FailOn, chosen))


def _waivers(value: object) -> tuple[Waiver, ...] | None:
    """Parse `CLUSTER: KIND` texts, or mappings with the keys `cluster` and `kind`."""
    if isinstance(value, list | tuple):
        value = [_waiver_text(item) if isinstance(item, dict) else item for item in value]
    return _items(value, parse_waiver)


def _waiver_text(entry: Mapping[str, object]) -> str:
    if set(entry) != {"cluster", "kind"} or not all(isinstance(part, str) and part.strip() for part in entry.values()):
        raise InvalidOption("A waiver needs exactly the keys `cluster` and `kind`, each with a text.", WAIVER_FORM)
    return f"{entry['cluster']}: {entry['kind']}"


def _schema(kind: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


_NUMBER_TYPES: dict[str, Any] = {"type": ["integer", "string"]}
Duration = Annotated[
    timedelta,
    _scalar(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\s*[0-9]"}]}),
]
_LIST_OF_TEXTS = WithJsonSchema(
    {"anyOf": [{"type": "array", "items": {"type": ["string", "number"]}}, {"type": "string"}]}
)
Selection = Annotated[tuple[str, ...], _patterns(negatable=True), _LIST_OF_TEXTS]
Exclusion = Annotated[tuple[str, ...], _patterns(negatable=False), _LIST_OF_TEXTS]
Grouping = Annotated[str, _scalar(as_grouping), _schema("string", minLength=1)]
ShardText = Annotated[
    Shard, _scalar(as_shard), _schema("string", pattern=r"^\s*[0-9]+\s*/\s*[0-9]+\s*$", examples=["3/8"])
]
_LIST_OF_NAMES = WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]})
Hosts = Annotated[tuple[str, ...], _list(as_alias), _LIST_OF_NAMES]
Waivers = Annotated[
    tuple[Waiver, ...],
    PlainValidator(_waivers),
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {
                            "cluster": {
                                "type": "string",
                                "description": "The key of the cluster in kubernetes_clusters.",
                            },
                            "kind": {
                                "type": "string",
                                "description": "The kind, as kubectl names it: rollouts.argoproj.io",
                            },
                        },
                        "required": ["cluster", "kind"],
                        "additionalProperties": False,
                    },
                    {"type": "string", "pattern": ":"},
                ]
            },
        }
    ),
]
Guids = Annotated[tuple[str, ...], _list(as_guid), _LIST_OF_NAMES]
ResourceIds = Annotated[tuple[tuple[str, str, str], ...], _list(parse_resource_id), _schema("array")]
ResourceId = Annotated[tuple[str, str, str], _scalar(parse_resource_id), _schema("string", pattern="^/subscriptions/")]
Guid = Annotated[str, _scalar(as_guid), _schema("string", pattern=f"^{GUID.pattern}$")]
ResourceGroup = Annotated[str, _scalar(as_resource_group), _schema("string", minLength=1, maxLength=90)]
ClusterName = Annotated[str, _scalar(as_cluster_name), _schema("string", minLength=1, maxLength=63)]
Text = Annotated[str, _scalar(as_text), _schema("string", minLength=1)]
PathText = Annotated[Path, _scalar(lambda text: Path(as_text(text))), _schema("string", minLength=1)]
RegistryUrl = Annotated[str, _scalar(parse_registry_url), _schema("string", minLength=1)]
Endpoint = Annotated[str, _scalar(parse_endpoint), _schema("string", pattern="^https://")]
Environment = Annotated[str, _scalar(parse_environment), _schema("string", examples=list(ENVIRONMENTS))]
AccessName = Annotated[str, _scalar(as_choice(tuple(Access))), _schema("string", enum=list(Access))]
ScopeName = Annotated[
    Scope, _scalar(lambda text: Scope(as_choice(tuple(Scope))(text))), _schema("string", enum=list(Scope))
]
AuthTypeName = Annotated[str, _scalar(as_choice(tuple(AuthType))), _schema("string", enum=list(AuthType))]
ClientId = Annotated[str, _scalar(as_client_id), _schema("string")]
TenantId = Annotated[str, _scalar(as_tenant_id), _schema("string")]
Boolean = Annotated[bool, _scalar(as_boolean), _schema("boolean")]
FailOnNames = Annotated[
    frozenset[FailOn],
    PlainValidator(_fail_on),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"enum": list(FailOn)}}, {"type": "string"}]}),
]
LogLevelName = Annotated[LogLevel, _scalar(as_choice(LOG_LEVELS)), _schema("string", enum=list(LOG_LEVELS))]
Count = Annotated[int, _scalar(as_whole(0)), WithJsonSchema({**_NUMBER_TYPES, "minimum": 0})]
Concurrency = Annotated[
    int,
    _scalar(as_whole(1, MAX_CONCURRENCY)),
    WithJsonSchema({**_NUMBER_TYPES, "minimum": 1, "maximum": MAX_CONCURRENCY}),
]
Percent = Annotated[
    float, _scalar(as_percent), WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0, "maximum": 100})
]


def _option(key: str) -> Any:
    option = BY_KEY[key]
    extra: dict[str, Any] = {"default": option.default} if option.default else {}
    return Field(default=None, description=option.description, json_schema_extra=extra or None)


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Options(Model):
    """The options that the file and the inputs share. None: not given."""

    subscriptions: Guids | None = _option("subscriptions")
    require_all_clusters: Boolean | None = _option("require_all_clusters")
    helm_history: Count | None = _option("helm_history")
    waive: Waivers | None = _option("waive")

    older_than: Duration | None = _option("older_than")
    scope: ScopeName | None = _option("scope")
    repositories: Selection | None = _option("repositories")
    shard: ShardText | None = _option("shard")
    include_tags: Selection | None = _option("include_tags")
    exclude_tags: Exclusion | None = _option("exclude_tags")
    use_regex: Boolean | None = _option("use_regex")
    keep_last: Count | None = _option("keep_last")
    keep_last_by: Grouping | None = _option("keep_last_by")
    delete_untagged: Boolean | None = _option("delete_untagged")
    include_locked: Boolean | None = _option("include_locked")
    max_deletions: Count | None = _option("max_deletions")
    max_deletion_percent: Percent | None = _option("max_deletion_percent")
    registry_aliases: Hosts | None = _option("registry_aliases")
    plan_max_age: Duration | None = _option("plan_max_age")
    verify: Boolean | None = _option("verify")
    backup: Boolean | None = _option("backup")
    exact_sizes: Boolean | None = _option("exact_sizes")
    environment: Environment | None = _option("environment")
    concurrency: Concurrency | None = _option("concurrency")
    fail_on: FailOnNames | None = _option("fail_on")
    report_dir: PathText | None = _option("report_dir")
    log_level: LogLevelName | None = _option("log_level")


class InputValues(Options):
    """The inputs of a pipeline, or the flags of the command line."""

    apply_plan: PathText | None = _option("apply_plan")
    registry: RegistryUrl | None = _option("registry")
    clusters: ResourceIds | None = _option("clusters")
    dry_run: Boolean | None = _option("dry_run")
    client_id: ClientId | None = _option("client_id")
    tenant_id: TenantId | None = _option("tenant_id")
    auth_type: AuthTypeName | None = _option("auth_type")
    audience: Text | None = _option("audience")
    summary: Boolean | None = _option("summary")


_ACCESS = (
    "How the cluster is read: directly, by run command, or (auto) by run command only if its API server is private and "
    "cannot be reached."
)


class AksByName(Model):
    """An AKS cluster, by its name."""

    name: ClusterName = Field(description="The name of the AKS cluster.")
    subscription_id: Guid = Field(description="The id of the subscription that the cluster is in.")
    resource_group: ResourceGroup = Field(description="The name of the resource group that the cluster is in.")
    access: AccessName | None = Field(default=None, description=_ACCESS, json_schema_extra={"default": "auto"})


class AksById(Model):
    """An AKS cluster, by its resource id."""

    resource_id: ResourceId = Field(description="The resource id of the AKS cluster.")
    access: AccessName | None = Field(default=None, description=_ACCESS, json_schema_extra={"default": "auto"})


class ByKubeconfig(Model):
    """Any Kubernetes cluster, by a kubeconfig file."""

    kubeconfig: Text = Field(description="The path of a kubeconfig file, relative to the folder of this file.")
    context: Text | None = Field(
        default=None, description="The context to use. By default the current context of the file."
    )


class BySnapshot(Model):
    """A cluster that `acr-cleanup collect` has read on another machine."""

    snapshot: Text = Field(
        description="The path of a usage snapshot that contains a cluster of this name, relative to this file."
    )
    max_age: Duration | None = Field(
        default=None,
        description="The maximum age of the snapshot of the cluster when it is used.",
        json_schema_extra={"default": "24h"},
    )
    resource_id: ResourceId | None = Field(
        default=None, description="The resource id of the AKS cluster. The snapshot must be of this cluster."
    )


ENTRY_FORMS: Mapping[str, type[Model]] = {
    "aks": AksByName,
    "aks-id": AksById,
    "kubeconfig": ByKubeconfig,
    "snapshot": BySnapshot,
}


def _form_of(entry: Any) -> str:
    keys = entry if isinstance(entry, dict) else ()
    return next((form for key, form in _FORM_BY_KEY if key in keys), "aks")


# The first of these keys that an entry has decides its form.
_FORM_BY_KEY = (("kubeconfig", "kubeconfig"), ("snapshot", "snapshot"), ("resource_id", "aks-id"))
_ClusterEntry = Annotated[
    Annotated[AksByName, Tag("aks")]
    | Annotated[AksById, Tag("aks-id")]
    | Annotated[ByKubeconfig, Tag("kubeconfig")]
    | Annotated[BySnapshot, Tag("snapshot")],
    Discriminator(_form_of),
]


class RegistryEntry(Model):
    """The registry to clean."""

    url: RegistryUrl | None = Field(
        default=None, description="The login server of the registry (contoso.azurecr.io), or its name (contoso)."
    )
    subscription_id: Guid | None = Field(
        default=None, description="The id of the subscription that the registry is in."
    )
    resource_group: ResourceGroup | None = Field(
        default=None, description="The name of the resource group that the registry is in."
    )
    aliases: Hosts | None = Field(default=None, description=BY_KEY["registry_aliases"].description)


class CloudEntry(Model):
    """Endpoints that differ from those of the named cloud."""

    authority: Endpoint | None = Field(default=None, description="The URL of Entra ID.")
    resource_manager: Endpoint | None = Field(default=None, description="The URL of Azure Resource Manager.")
    audience: Endpoint | None = Field(
        default=None,
        description="The audience of tokens for the registry.",
        json_schema_extra={"default": REGISTRY_AUDIENCE},
    )


class File(Options):
    """The configuration file of acr-cleanup."""

    kubernetes_clusters: dict[str, _ClusterEntry] | None = Field(
        default=None,
        description="Every cluster that may use images of the registry, each under a name for reports. "
        "A cluster that is missing here is not read, and images that only it uses may be deleted.",
    )
    container_registry: RegistryEntry | None = Field(default=None, description="The registry to clean.")
    cloud: CloudEntry | None = Field(default=None, description="Endpoints that differ from those of the named cloud.")


def schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration file, with a description of every key."""
    generated = File.model_json_schema()
    _drop_titles(generated)
    for_editors = {"type": "string", "description": "The place of this schema, for editors. It is not read."}
    generated["properties"]["$schema"] = for_editors
    generated["required"] = ["kubernetes_clusters", "container_registry"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "acr-cleanup",
        "description": "The configuration file of acr-cleanup.",
        **{key: value for key, value in generated.items() if key not in ("title", "description")},
    }


def _drop_titles(node: Any) -> None:
    # pydantic gives every key its own name as a title, which adds nothing.
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        for inner in node.values():
            _drop_titles(inner)
    elif isinstance(node, list):
        for inner in node:
            _drop_titles(inner)
