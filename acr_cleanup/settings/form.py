"""
The forms of mappings: their keys, how a mapping is checked, and the JSON schema of the file.

Options are in the table of options. The keys that only the file has are written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from acr_cleanup.access.clouds import REGISTRY_AUDIENCE
from acr_cleanup.clusters.target import Access
from acr_cleanup.errors import Problem
from acr_cleanup.settings import kinds
from acr_cleanup.settings.grammar import InvalidOption, did_you_mean, nearest
from acr_cleanup.settings.option import Option, Way
from acr_cleanup.settings.options import OPTIONS

_OPTIONS = {option.key: option for option in OPTIONS}


@dataclass(frozen=True, slots=True)
class Form:
    """The keys that a mapping may have. `name` and `description` are for the schema."""

    name: str
    description: str
    keys: Mapping[str, Option]


_required = partial(Option, required=True)
_ACCESS = Option(
    kinds.choice(Access),
    "How the cluster is read: directly, by run command, or (auto) by run command only if its API server is private and "
    "cannot be reached.",
    default="auto",
)
AKS_BY_NAME = Form(
    "AksByName",
    "An AKS cluster, by its name.",
    {
        "name": _required(kinds.CLUSTER_NAME, "The name of the AKS cluster."),
        "subscription_id": _required(kinds.GUID_TEXT, "The id of the subscription that the cluster is in."),
        "resource_group": _required(kinds.RESOURCE_GROUP, "The name of the resource group that the cluster is in."),
        "access": _ACCESS,
    },
)
AKS_BY_ID = Form(
    "AksById",
    "An AKS cluster, by its resource id.",
    {
        "resource_id": _required(kinds.RESOURCE_ID, "The resource id of the AKS cluster."),
        "access": _ACCESS,
    },
)
BY_KUBECONFIG = Form(
    "ByKubeconfig",
    "Any Kubernetes cluster, by a kubeconfig file.",
    {
        "kubeconfig": _required(kinds.TEXT, "The path of a kubeconfig file, relative to the folder of this file."),
        "context": Option(kinds.TEXT, "The context to use. By default the current context of the file."),
    },
)
BY_SNAPSHOT = Form(
    "BySnapshot",
    "A cluster that `acr-cleanup collect` has read on another machine.",
    {
        "snapshot": _required(
            kinds.TEXT, "The path of a usage snapshot that contains a cluster of this name, relative to this file."
        ),
        "max_age": Option(
            kinds.DURATION, "The maximum age of the snapshot of the cluster when it is used.", default="24h"
        ),
        "resource_id": Option(
            kinds.RESOURCE_ID, "The resource id of the AKS cluster. The snapshot must be of this cluster."
        ),
    },
)
_FORM_BY_KEY = {"kubeconfig": BY_KUBECONFIG, "snapshot": BY_SNAPSHOT, "resource_id": AKS_BY_ID, "name": AKS_BY_NAME}
"""The first of these keys that the entry of a cluster has decides its form."""

REGISTRY = Form(
    "RegistryEntry",
    "The registry to clean.",
    {
        "url": Option(
            kinds.REGISTRY_URL, "The login server of the registry (contoso.azurecr.io), or its name (contoso)."
        ),
        "subscription_id": Option(kinds.GUID_TEXT, "The id of the subscription that the registry is in."),
        "resource_group": Option(kinds.RESOURCE_GROUP, "The name of the resource group that the registry is in."),
        "aliases": _OPTIONS["registry_aliases"],
    },
)
KEEP_ENTRY = Form(
    "KeepEntry",
    "An entry of the keep list.",
    {
        "image": _required(
            kinds.KEPT_IMAGE,
            "The image, as REPOSITORY:TAG or REPOSITORY@DIGEST, with or without the host of the registry. Each part may be a "
            "glob. REPOSITORY alone means all of it.",
        ),
        "reason": Option(kinds.NOTE, "Why the image is kept, for reports."),
        "owner": Option(kinds.NOTE, "Who to ask, for reports."),
        "until": Option(
            kinds.DATE, "The last day on which the entry keeps its images, in UTC. Reports announce it 14 days before."
        ),
    },
)
RULE = Form(
    "Rule",
    "A rule. The first rule that matches a tag governs it; the options at the top level are the last rule.",
    {
        "name": Option(kinds.RULE_NAME, "Its name in reports. By default its number: #1."),
        "repositories": Option(kinds.SELECTION, "The repositories that it matches, as in the option.", default="*"),
        "tags": Option(
            kinds.SELECTION, "The tags that it matches: globs; a glob that begins with ! excludes tags.", default="*"
        ),
        "older_than": Option(kinds.DURATION, "Its minimum time since the last push. By default that of the top level."),
        "keep_last": Option(
            kinds.COUNT, "How many of the newest images that it governs are kept in each repository.", default="0"
        ),
        "keep_last_by": Option(kinds.GROUPING, "As the option, for keep_last of this rule."),
        "pulled_within": Option(
            kinds.DURATION, "Images pulled in this time are kept. It can only lengthen that of the top level."
        ),
        "keep": Option(kinds.RULE_KEEP, "If true, every tag that it governs is kept.", default="false"),
    },
)
CLOUD = Form(
    "CloudEntry",
    "Endpoints that differ from those of the named cloud.",
    {
        "authority": Option(kinds.ENDPOINT, "The URL of Entra ID."),
        "resource_manager": Option(kinds.ENDPOINT, "The URL of Azure Resource Manager."),
        "log_analytics": Option(kinds.ENDPOINT, "The URL of Log Analytics."),
        "audience": Option(kinds.ENDPOINT, "The audience of tokens for the registry.", default=REGISTRY_AUDIENCE),
    },
)


def _reference(form: Form) -> dict[str, str]:
    return {"$ref": f"#/$defs/{form.name}"}


_ENTRY_OF_CLUSTER = {"oneOf": [_reference(form) for form in _FORM_BY_KEY.values()]}
FILE = Form(
    "acr-cleanup",
    "The configuration file of acr-cleanup.",
    {key: option for key, option in _OPTIONS.items() if option.in_file}
    | {
        "kubernetes_clusters": Option(
            kinds.mapping({"type": "object", "additionalProperties": _ENTRY_OF_CLUSTER}),
            "Every cluster that may use images of the registry, each under a name for reports. "
            "A cluster that is missing here is not read, and images that only it uses may be deleted.",
        ),
        "container_registry": Option(kinds.mapping(_reference(REGISTRY)), REGISTRY.description),
        "cloud": Option(kinds.mapping(_reference(CLOUD)), CLOUD.description),
    },
)
INPUTS = Form(
    "inputs",
    "The inputs of a pipeline, or the flags of the command line.",
    {key: option for key, option in _OPTIONS.items() if option.ways & (Way.FLAG | Way.PIPELINE)},
)


def form_of_cluster(entry: Mapping[str, Any]) -> Form:
    return next((form for key, form in _FORM_BY_KEY.items() if key in entry), AKS_BY_NAME)


def check(
    form: Form, tree: Mapping[str, Any], use_regex: bool | None, place: Callable[[str], str], problems: list[Problem]
) -> dict[str, Any]:
    """
    Return the valid values of a mapping, and report the others.

    A null is a value: it stands for an option that is not given.

    use_regex: are patterns regular expressions? None if unknown.
    place: turns a key into the place that the user knows it by.
    """
    values: dict[str, Any] = {}
    misspelt = set()
    for key, value in tree.items():
        if (option := form.keys.get(key)) is None:
            misspelt.add(near := nearest(key_of(key), list(form.keys)))
            problems.append(Problem(place(key), *_unknown_key(form, key, near)))
        elif value is None:
            values[key] = None
            if option.required:
                problems.append(Problem(place(key), "It is empty.", "Give it a value."))
        else:
            try:
                values[key] = option.kind.parse(value, use_regex)
            except InvalidOption as invalid:
                problems.append(Problem(place(key), invalid.seen, invalid.remedy))
    for key, option in form.keys.items():
        if option.required and key not in tree and key not in misspelt:
            described = f"{option.description[0].lower()}{option.description[1:]}"
            problems.append(Problem(place(key), "This key is missing.", f"Add it: {described}"))
    return values


def key_of(name: str) -> str:
    """
    Return the key for the name of an input or flag.

    >>> key_of(" Older-Than")
    'older_than'
    """
    return name.strip().lower().replace("-", "_")


_IN_A_RULE = {
    "include_tags": "Write tags",
    "exclude_tags": "Write tags, with an exclamation mark before each pattern to exclude",
}


def _unknown_key(form: Form, key: str, near: str) -> tuple[str, str]:
    """Return what a problem about an unknown key says: what is wrong, and the remedy."""
    of_clusters = _FORM_BY_KEY.values()
    if form in of_clusters and any(key in other.keys for other in of_clusters):
        deciding = next(iter(form.keys))
        return (
            f"This key cannot be combined with {deciding}.",
            f"Describe the cluster in one way only: remove this key, or {deciding}.",
        )
    if form is RULE and key_of(key) in FILE.keys.keys() - RULE.keys.keys():
        instead = _IN_A_RULE.get(key_of(key), "Move it there")
        return ("This key belongs to the top level of the file: it is the same for all rules.", f"{instead}.")
    if form in (FILE, INPUTS) and key in RULE.keys:
        return ("This key belongs in a rule.", "Write it in an item of the list rules.")
    remedy = f"Write {near}." if near else f"Remove it; the keys here are {', '.join(sorted(form.keys))}."
    return (f"There is no such key.{did_you_mean(near)}", remedy)


# -- the JSON schema -------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration file, with a description of every key."""
    file = _object_schema(FILE)
    file["properties"]["$schema"] = {
        "type": "string",
        "description": "The place of this schema, for editors. It is not read.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FILE.name,
        **file,
        "required": ["kubernetes_clusters", "container_registry"],
        "$defs": {
            form.name: _object_schema(form) for form in (*_FORM_BY_KEY.values(), REGISTRY, KEEP_ENTRY, RULE, CLOUD)
        },
    }


def _object_schema(form: Form) -> dict[str, Any]:
    required = [key for key, option in form.keys.items() if option.required]
    return {
        "type": "object",
        "description": form.description,
        "properties": {key: _key_schema(option) for key, option in form.keys.items()},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _key_schema(option: Option) -> dict[str, Any]:
    value = option.kind.schema
    described = {"description": option.description, **({"default": option.default} if option.default else {})}
    if option.required:
        return {**value, **described}
    return {"anyOf": [*value.get("anyOf", [value]), {"type": "null"}], **described}
