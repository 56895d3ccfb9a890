"""
The kinds of values: how each is parsed, and how the schema and the pipelines describe it.

The command line imports this module for `--help`, so it imports nothing that is slow to load.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.services.table import ServiceGroup
from acr_cleanup.settings import grammar
from acr_cleanup.settings.grammar import InvalidOption, as_choice, as_text, shown
from acr_cleanup.settings.mention_grammar import as_folder, as_kind_name
from acr_cleanup.settings.policy_grammar import as_date, as_kept_image, as_note, as_rule_name
from acr_cleanup.settings.pull_grammar import as_puller, as_waiver

T = TypeVar("T")
MAX_CONCURRENCY = 32
"""
The registry recommends at most this many deletions at a time.

https://github.com/Azure/acr-cli (purge)
"""


class InputKind(StrEnum):
    """The form of a value in a pipeline and on the command line."""

    TEXT = "text"
    LIST = "list"
    """One item per line in a pipeline; a repeated flag on the command line."""
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Kind:
    """
    One kind of value.

    parse: takes a value of the file, an input or a flag, and whether patterns are regular
        expressions (None if unknown). Returns None for a text that means "not given". Raises
        `InvalidOption`.
    schema: its JSON schema in the configuration file.
    choices: what a user may choose from.
    metavar: what `--help` shows for its value.
    """

    parse: Callable[[object, bool | None], Any]
    schema: Mapping[str, Any]
    input: InputKind = InputKind.TEXT
    choices: tuple[str, ...] = ()
    metavar: str = ""


# -- makers of kinds -------------------------------------------------------------------------------


def scalar(parse: Callable[[str], object], kind: InputKind = InputKind.TEXT, **schema: Any) -> Kind:
    """Return the kind of a single value, which `parse` takes as text."""

    def parse_value(value: object, _: bool | None) -> object:
        if isinstance(value, dict | list | tuple):
            raise InvalidOption("It is a list or a mapping.", "Write a single value.")
        return parse(str(value).lower() if isinstance(value, bool) else str(value))

    return Kind(parse_value, {"type": "string", **schema}, kind)


def choice(values: Iterable[str], offered: Iterable[str] = ()) -> Kind:
    """
    Return the kind of one of these values.

    offered: the values for users, if others have another source.
    """
    by_name = {str(value): value for value in values}
    parse = as_choice(tuple(by_name))
    kind = scalar(lambda text: by_name[parse(text)], InputKind.CHOICE, enum=[*by_name])
    return Kind(kind.parse, kind.schema, kind.input, tuple(map(str, offered)) or tuple(by_name))


def list_of(parse: Callable[[str], object], item: Mapping[str, Any] = {"type": "string"}) -> Kind:
    """
    Return the kind of a list: a list in the file, or one item per line.

    parse: takes one item, with its `!` if it has one.
    item: the JSON schema of an item.
    """
    return Kind(lambda value, _: _items(value, parse), _list_schema(item), InputKind.LIST)


def named(metavar: str, kind: Kind) -> Kind:
    """Return the kind with the name that `--help` shows for its value."""
    return replace(kind, metavar=metavar)


def set_of(values: Iterable[str], alone: Iterable[str] = ()) -> Kind:
    """
    Return the kind of a set of choices, separated by commas.

    alone: the choices that cannot be combined with others.
    """
    by_name = {str(value): value for value in values}
    parse_name = as_choice(tuple(by_name))

    def parse(value: object, _: bool | None) -> frozenset[str] | None:
        names = _items(value, parse_name)
        if names is None:
            return None
        if len(set(names)) > 1 and (single := next((name for name in alone if name in names), None)):
            raise InvalidOption(
                f"It combines {single} with other values.", f"Write {single} alone, or remove {single}."
            )
        return frozenset(by_name[name] for name in names)

    return Kind(parse, _list_schema({"enum": [*by_name]}))


def map_of(parse_key: Callable[[str], str], parse_value: Callable[[str], object]) -> Kind:
    """
    Return the kind of a mapping: a mapping in the file, or one `KEY=VALUE` per line.

    Its values are pairs in the order in which they were given.
    """

    def pair(text: str) -> tuple[str, object]:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise InvalidOption(f"{shown(text)} is not of the form KEY=VALUE.", "Write one KEY=VALUE per line.")
        return parse_key(key), parse_value(value)

    def parse(value: object, _: bool | None) -> tuple[tuple[str, object], ...] | None:
        if isinstance(value, dict):
            if any(isinstance(inner, dict | list | tuple | None) for inner in value.values()):
                raise InvalidOption("A value is empty, a list or a mapping.", "Write a single value for each key.")
            # An equals sign in a key of the file belongs to the key.
            pairs = tuple((parse_key(str(key).strip()), parse_value(str(inner))) for key, inner in value.items())
        else:
            items = _items(value, pair)
            if items is None:
                return None
            pairs = items
        keys = [key for key, _ in pairs]
        if repeated := next((key for key in keys if keys.count(key) > 1), None):
            raise InvalidOption(f"{shown(repeated)} is written twice.", "Remove one of the two.")
        return pairs

    schema = {"anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "string"}]}
    return Kind(parse, schema, InputKind.LIST, metavar="KEY=VALUE")


def mapping(schema: Mapping[str, Any]) -> Kind:
    """Return the kind of a mapping whose values are checked later."""
    return Kind(lambda value, _: as_mapping(value), schema)


def as_mapping(value: object) -> dict[str, Any]:
    """Return a value that is a mapping. Raises `InvalidOption` for others."""
    if not isinstance(value, dict):
        seen = (
            "It is empty." if value is None else f"It is {'a list' if isinstance(value, list) else 'a single value'}."
        )
        raise InvalidOption(seen, "Write a mapping: its keys, each with a value.")
    return value


def patterns(*, negatable: bool) -> Kind:
    """
    Return the kind of a list of globs or regular expressions.

    negatable: may a pattern begin with `!`?
    """

    def parse(value: object, use_regex: bool | None) -> tuple[str, ...] | None:
        # In a regular expression a comma may belong to a repetition count: `v{1,3}`.
        commas = "" if use_regex else ","
        return _items(value, partial(grammar.as_pattern, use_regex=use_regex, negatable=negatable), commas)

    return Kind(parse, _list_schema({"type": ["string", "number"]}), InputKind.LIST)


def _list_schema(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "array", "items": dict(item)}, {"type": "string"}]}


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


# -- the kinds -------------------------------------------------------------------------------------


def _waivers(value: object, _: bool | None) -> Any:
    """Parse `CLUSTER: KIND` texts, or mappings with the keys `cluster` and `kind`."""
    if isinstance(value, list | tuple):
        value = [_waiver_text(item) if isinstance(item, dict) else item for item in value]
    return _items(value, as_waiver)


def _waiver_text(entry: Mapping[str, object]) -> str:
    if set(entry) != {"cluster", "kind"} or not all(isinstance(part, str) and part.strip() for part in entry.values()):
        raise InvalidOption(
            "A waiver needs exactly the keys `cluster` and `kind`, each with a text.", grammar.WAIVER_FORM
        )
    return f"{entry['cluster']}: {entry['kind']}"


def _services(value: object, _: bool | None) -> Any:
    """Parse `auto`, `off` (an empty set), or names of groups."""
    parse = as_choice(("auto", "off", *ServiceGroup))
    names = _items(value, parse)
    if names is None:
        return None
    if len(set(names)) > 1 and (single := next((name for name in names if name in {"auto", "off"}), None)):
        raise InvalidOption(f"It combines {single} with other values.", f"Write {single} alone, or remove {single}.")
    return frozenset(name for name in names if name != "off")


def _revisions(text: str) -> int:
    words = {"all": sys.maxsize, "active": 0}
    number = words.get(text.strip().lower())
    return int(grammar.as_whole(0)(text)) if number is None else number


def _entries(value: object, _: bool | None) -> Any:
    """Take the items of a list, which may be mappings. A text has one item per line."""
    if isinstance(value, str):
        return _items(value, lambda text: text)
    if not isinstance(value, list | tuple):
        raise InvalidOption("It is not a list.", "Write a list, or one item per line.")
    return tuple(value)


def _rules(value: object, _: bool | None) -> Any:
    """Take a list of rules, or its YAML as text."""
    if isinstance(value, str):
        from acr_cleanup.settings.file import parse_text  # noqa: PLC0415  YAML is slow to load

        value = parse_text(value)
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise InvalidOption("It is not a list of rules.", RULES_FORM)
    return tuple(value)


def _rule_keep(value: object, use_regex: bool | None) -> Any:
    if isinstance(value, list | tuple | dict):
        raise InvalidOption(
            "In a rule, keep is true or false.", "Move the list of images to keep to the top level of the file."
        )
    return BOOLEAN.parse(value, use_regex)


RULES_FORM = "Write a YAML list, one rule per item: - {name: previews, tags: pr-*, older_than: 7d}"
_WAIVER = {
    "type": "object",
    "properties": {
        "cluster": {"type": "string", "description": "The key of the cluster in kubernetes_clusters."},
        "kind": {"type": "string", "description": "The kind, as kubectl names it: rollouts.argoproj.io"},
    },
    "required": ["cluster", "kind"],
    "additionalProperties": False,
}
_NUMBER = ["integer", "string"]

TEXT = scalar(as_text, minLength=1)
PATH = scalar(lambda text: Path(as_text(text)), InputKind.PATH, minLength=1)
BOOLEAN = scalar(grammar.as_boolean, InputKind.BOOLEAN, type="boolean")
COUNT = scalar(grammar.as_whole(0), InputKind.NUMBER, type=_NUMBER, minimum=0)
CONCURRENCY = scalar(
    grammar.as_whole(1, MAX_CONCURRENCY), InputKind.NUMBER, type=_NUMBER, minimum=1, maximum=MAX_CONCURRENCY
)
PERCENT = named(
    "PERCENT", scalar(grammar.as_percent, InputKind.NUMBER, type=["number", "string"], exclusiveMinimum=0, maximum=100)
)
DURATION = named(
    "AGE",
    Kind(
        scalar(grammar.parse_duration).parse,
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\s*[0-9]"}]},
    ),
)
SELECTION = named("GLOB", patterns(negatable=True))
EXCLUSION = named("GLOB", patterns(negatable=False))
PULLERS = named("GLOB", list_of(as_puller))
GROUPING = named("REGEX", scalar(grammar.as_grouping, minLength=1))
SHARD = named("K/N", scalar(grammar.as_shard, pattern=r"^\s*[0-9]+\s*/\s*[0-9]+\s*$", examples=["3/8"]))
KEPT_IMAGE = scalar(as_kept_image, minLength=1)
KEEP_LIST = named(
    "IMAGE",
    Kind(_entries, _list_schema({"anyOf": [{"$ref": "#/$defs/KeepEntry"}, {"type": "string"}]}), InputKind.LIST),
)
NOTE = scalar(as_note, minLength=1)
RULES = Kind(_rules, {"type": "array", "items": {"$ref": "#/$defs/Rule"}}, InputKind.LIST)
RULE_NAME = scalar(as_rule_name, type=["string", "number"])
RULE_KEEP = Kind(_rule_keep, BOOLEAN.schema, InputKind.BOOLEAN)
DATE = scalar(as_date, format="date")
HOSTS = named("HOST", list_of(grammar.as_alias))
MIRRORS = named("HOST=FOLDER", map_of(grammar.as_alias, as_folder))
KIND_NAMES = named("KIND", list_of(as_kind_name))
WAIVERS = named(
    "CLUSTER:KIND",
    Kind(
        _waivers,
        {"type": "array", "items": {"anyOf": [_WAIVER, {"type": "string", "pattern": ":|pull-log"}]}},
        InputKind.LIST,
    ),
)
SERVICES = named("NAMES", Kind(_services, _list_schema({"enum": ["auto", "off", *ServiceGroup]})))
REVISIONS = named("N", scalar(_revisions, anyOf=[{"type": "integer", "minimum": 0}, {"type": "string"}]))
GUIDS = named("ID", list_of(grammar.as_guid))
GUID_TEXT = scalar(grammar.as_guid, pattern=f"^{grammar.GUID.pattern}$")
RESOURCE_ID = scalar(grammar.parse_resource_id, pattern="^/subscriptions/")
RESOURCE_IDS = named("ID", list_of(grammar.parse_resource_id))
RESOURCE_GROUP = scalar(grammar.as_resource_group, minLength=1, maxLength=90)
CLUSTER_NAME = scalar(grammar.as_cluster_name, minLength=1, maxLength=63)
REGISTRY_URL = named("HOST", scalar(grammar.parse_registry_url, minLength=1))
ENDPOINT = scalar(grammar.parse_endpoint, pattern="^https://")
ENVIRONMENT = Kind(
    scalar(grammar.parse_environment).parse, {"type": "string", "examples": [*CLOUDS]}, InputKind.CHOICE, tuple(CLOUDS)
)
CLIENT_ID = scalar(grammar.as_client_id)
TENANT_ID = scalar(grammar.as_tenant_id)
