"""
Models of the configuration file and of the inputs, and the JSON schema of the file.

Their options are made from the table of options. The keys that only the file has are written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

from acr_cleanup.access.clouds import REGISTRY_AUDIENCE
from acr_cleanup.clusters.target import Access
from acr_cleanup.settings import kinds
from acr_cleanup.settings.option import Option, Way
from acr_cleanup.settings.options import OPTIONS

_OPTIONS = {option.key: option for option in OPTIONS}


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=Model)

AccessName = Annotated[Access, kinds.choice(Access)]
ClusterName = Annotated[str, kinds.CLUSTER_NAME]
Duration = Annotated[timedelta, kinds.DURATION]
Endpoint = Annotated[str, kinds.ENDPOINT]
Guid = Annotated[str, kinds.GUID_TEXT]
Hosts = Annotated[tuple[str, ...], kinds.HOSTS]
RegistryUrl = Annotated[str, kinds.REGISTRY_URL]
ResourceGroup = Annotated[str, kinds.RESOURCE_GROUP]
ResourceId = Annotated[tuple[str, str, str], kinds.RESOURCE_ID]
Text = Annotated[str, kinds.TEXT]

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
    aliases: Hosts | None = Field(default=None, description=_OPTIONS["registry_aliases"].description)


class CloudEntry(Model):
    """Endpoints that differ from those of the named cloud."""

    authority: Endpoint | None = Field(default=None, description="The URL of Entra ID.")
    resource_manager: Endpoint | None = Field(default=None, description="The URL of Azure Resource Manager.")
    audience: Endpoint | None = Field(
        default=None,
        description="The audience of tokens for the registry.",
        json_schema_extra={"default": REGISTRY_AUDIENCE},
    )


class FileKeys(Model):
    """The keys of the file that describe clusters, the registry and the cloud."""

    kubernetes_clusters: dict[str, _ClusterEntry] | None = Field(
        default=None,
        description="Every cluster that may use images of the registry, each under a name for reports. "
        "A cluster that is missing here is not read, and images that only it uses may be deleted.",
    )
    container_registry: RegistryEntry | None = Field(default=None, description="The registry to clean.")
    cloud: CloudEntry | None = Field(default=None, description="Endpoints that differ from those of the named cloud.")


def _member(option: Option) -> Any:
    """Return the type and the field of an option. None: not given."""
    extra: dict[str, Any] = {"default": option.default} if option.default else {}
    described = Field(default=None, description=option.description, json_schema_extra=extra or None)
    return Annotated[Any, option.kind] | None, described


def _model(name: str, base: type[M], ways: Way) -> type[M]:
    """Return a model that adds the options that can be given in any of these ways."""
    members = {option.key: _member(option) for option in OPTIONS if option.ways & ways}
    return create_model(name, __base__=base, **members)


File = _model("File", FileKeys, Way.FILE)
"""The configuration file of acr-cleanup."""
Inputs = _model("Inputs", Model, Way.FLAG | Way.PIPELINE)
"""The inputs of a pipeline, or the flags of the command line."""


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
