"""The fields of a resource of Azure, by paths such as `properties.template.containers[].image`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """A field of a resource, with any value. `container`: the name of the list item around it."""

    field: str
    container: str
    value: Any


def places(resource: Any, path: str) -> Iterator[Place]:
    """
    Yield the values at a path such as `properties.template.containers[].image`.

    `*` is every key of an object: `services.*.image`.

    A value of a wrong type on the way is yielded itself, so that it can be searched. Null is an
    empty list or object.

    >>> [place.field for place in places({"a": [{"b": 1}, {"b": 2}]}, "a[].b")]
    ['a[0].b', 'a[1].b']
    """
    return _places(resource, tuple(path.split(".")), "", "")


def _places(value: Any, keys: tuple[str, ...], path: str, container: str) -> Iterator[Place]:
    if value is None or not keys:
        if value is not None:
            yield Place(path, container, value)
        return
    if not isinstance(value, dict):
        yield Place(path, container, value)
        return
    key, rest = keys[0].removesuffix("[]"), keys[1:]
    if key == "*":
        for name, inner in value.items():
            yield from _places(inner, rest, f"{path}.{name}".lstrip("."), str(name))
        return
    inner, path = value.get(key), f"{path}.{key}".lstrip(".")
    if not keys[0].endswith("[]"):
        yield from _places(inner, rest, path, container)
    elif isinstance(inner, list):
        for index, item in enumerate(inner):
            name = item.get("name") if isinstance(item, dict) else None
            yield from _places(item, rest, f"{path}[{index}]", name if isinstance(name, str) else container)
    elif inner is not None:
        yield Place(path, container, inner)


def first(resource: Any, path: str) -> Any:
    """Return the first value at a path; None if the path has no value."""
    return next((place.value for place in places(resource, path)), None)


def strings(resource: Any, path: str) -> tuple[str, ...]:
    """Return the texts at a path."""
    return tuple(place.value for place in places(resource, path) if isinstance(place.value, str))


def decoded(encoded: str) -> str:
    """
    Return the text of base64, which may be wrapped. Raises `ValueError`.

    >>> decoded("YWJj\\nZGVm")
    'abcdef'
    """
    return base64.b64decode("".join(encoded.split()), validate=True).decode()
