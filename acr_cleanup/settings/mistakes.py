"""Validate values against a model, and turn each validation error into a problem for the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from acr_cleanup.errors import Problem
from acr_cleanup.settings.file import place
from acr_cleanup.settings.form import ENTRY_FORMS, CloudEntry, Model, RegistryEntry
from acr_cleanup.settings.grammar import InvalidOption, did_you_mean, nearest

M = TypeVar("M", bound=Model)
Loc = tuple[str | int, ...]


def validate(
    model: type[M], tree: dict[str, Any], name: Callable[[Loc], str], context: Mapping[str, Any]
) -> tuple[M, list[Problem]]:
    """
    Validate a tree. Return the model of its valid parts, and a problem for each invalid part.

    name: turns the place of a value in the tree into the text that the user knows it by.
    context: passed to the validators.
    """
    try:
        return model.model_validate(tree, context=dict(context)), []
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    misspelt = {meant for mistake in mistakes if (meant := _meant(model, mistake)) is not None}
    problems = [
        _problem(model, tree, mistake, name)
        for mistake in mistakes
        if mistake["type"] != "missing" or tuple(mistake["loc"]) not in misspelt
    ]
    rest = _without(tree, [tuple(mistake["loc"]) for mistake in mistakes])
    return model.model_validate(rest, context=dict(context)), problems


def key_of(name: str) -> str:
    """
    Return the key for the name of an input or flag.

    >>> key_of(" Older-Than")
    'older_than'
    """
    return name.strip().lower().replace("-", "_")


def place_in_file(loc: Loc) -> str:
    """Return the place in the configuration file, for messages."""
    # The third part of a cluster's place is the form of its entry, which is not in the file.
    return place(loc[:2] + loc[3:] if loc[0] == "kubernetes_clusters" else loc)


def _meant(model: type[Model], mistake: Any) -> Loc | None:
    """
    Return the place of the known key that an unknown key resembles: that key is misspelt, not
    missing.
    """
    if mistake["type"] != "extra_forbidden":
        return None
    loc: Loc = tuple(mistake["loc"])
    near = nearest(key_of(str(loc[-1])), list(_owner(model, loc).model_fields))
    return (*loc[:-1], near) if near else None


def _without(tree: dict[str, Any], places: list[Loc]) -> dict[str, Any]:
    """
    Return the tree without the values at these places.

    A cluster with a mistake is removed whole.
    """
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


def _problem(model: type[Model], tree: dict[str, Any], mistake: Any, name: Callable[[Loc], str]) -> Problem:
    loc: Loc = tuple(mistake["loc"])
    path = name(loc)
    invalid = mistake.get("ctx", {}).get("error")
    if isinstance(invalid, InvalidOption):
        return Problem(path, invalid.seen, invalid.remedy)
    if mistake["type"] == "missing":
        described = _owner(model, loc).model_fields[str(loc[-1])].description or ""
        return Problem(path, "This key is missing.", f"Add it: {described[:1].lower()}{described[1:]}")
    if mistake["type"] == "extra_forbidden":
        return _unknown_key(_owner(model, loc), path, str(loc[-1]))
    # The remaining errors are about a list or a single value in place of a mapping.
    value: Any = tree
    for part in loc[:2]:
        value = value.get(part) if isinstance(value, dict) else None
    seen = "It is empty." if value is None else f"It is {'a list' if isinstance(value, list) else 'a single value'}."
    return Problem(path, seen, "Write a mapping: its keys, each with a value.")


def _unknown_key(owner: type[Model], path: str, key: str) -> Problem:
    known = list(owner.model_fields)
    if owner in ENTRY_FORMS.values() and any(key in form.model_fields for form in ENTRY_FORMS.values()):
        return Problem(
            path,
            f"This key cannot be combined with {known[0]}.",
            f"Describe the cluster in one way only: remove this key, or {known[0]}.",
        )
    near = nearest(key_of(key), known)
    remedy = f"Write {near}." if near else f"Remove it; the keys here are {', '.join(sorted(known))}."
    return Problem(path, f"There is no such key.{did_you_mean(near)}", remedy)


def _owner(model: type[Model], loc: Loc) -> type[Model]:
    """Return the model that has the last part of this place as a key."""
    if len(loc) == 1:
        return model
    if loc[0] == "kubernetes_clusters":
        return ENTRY_FORMS[str(loc[2])]
    return CloudEntry if loc[0] == "cloud" else RegistryEntry
