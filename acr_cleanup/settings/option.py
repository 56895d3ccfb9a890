"""The entry of one option: its kind, its texts, and where it applies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import Any

from acr_cleanup.settings.kinds import InputKind, Kind


class Group(Enum):
    """The groups of options in the form of the task and in `--help`, with their headings."""

    FIRST = ""
    """Always visible, without a heading."""
    CLEAN = "What to clean"
    KEEP = "What to keep"
    SAFETY = "Safety"
    ADVANCED = "Advanced"


class Way(Flag):
    """The ways in which a user can give an option."""

    FLAG = auto()
    ACTION = auto()
    TASK = auto()
    FILE = auto()
    PIPELINE = ACTION | TASK
    ANY = FLAG | ACTION | TASK | FILE


class Purpose(Flag):
    """The part of a run that needs an option. A command has the flags of the parts that it does."""

    REGISTRY = auto()
    """To reach the registry, and to report."""
    CLUSTERS = auto()
    """To read the clusters."""
    SEARCH = auto()
    """To search for clusters that are not configured."""
    REQUESTS = auto()
    """To send many requests to the registry."""
    PLAN = auto()
    RIGHTS = auto()
    """To plan, and to know which further rights the plan needs."""
    ALL = REGISTRY | CLUSTERS | SEARCH | REQUESTS | PLAN | RIGHTS


@dataclass(frozen=True, slots=True)
class Option:
    """
    One option: an input (`name`) of the action and of the task, a flag (`--name`) and a key of the
    file.

    default: the value, as text, that applies if no source gives one.
    label: its label in the form of the task; by default the name in words.
    ways: how users can give it. The command line gives some values by its verb or an argument. The
        task takes the login from the service connection.
    required: must the mapping have this key?
    key: the name of its field in `Settings`.
    """

    kind: Kind
    description: str
    default: str = ""
    group: Group = Group.ADVANCED
    ways: Way = Way.ANY
    purpose: Purpose = Purpose.PLAN
    label: str = ""
    required: bool = False
    key: str = ""

    @property
    def name(self) -> str:
        return self.key.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        return self.kind.choices

    @property
    def in_file(self) -> bool:
        return Way.FILE in self.ways

    @property
    def action_default(self) -> str:
        """
        The `default:` in action.yml; empty if there must be none.

        A pipeline passes a default on like a value that the user wrote, and inputs take
        precedence over the file. A key that the file can set must therefore have no default there.
        """
        return "" if self.in_file else self.default


_UNSET: Any = object()


def option(
    kind: Kind,
    default: str = "",
    group: Group = Group.ADVANCED,
    *,
    value: Any = _UNSET,
    compare: bool = True,
    **entry: Any,
) -> Callable[[str], Any]:
    """
    Return a function that makes a field of `Settings` from the description of an option.

    value: the default value of the field, if `default` is no text for it. MISSING: `load` always
        sets the field.
    compare: False if the effect of the option is in another field.
    entry: the further members of `Option`.
    """
    if value is _UNSET:
        unset = () if kind.input is InputKind.LIST else None
        value = kind.parse(default, False) if default else unset

    def describe(description: str) -> Any:
        entered = Option(kind, description, default, group, **entry)
        return field(default=value, compare=compare, metadata={"option": entered})

    return describe
