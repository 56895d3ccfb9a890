"""One resource of Azure -> the images of the registry that it names. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.core.references import ImageReference, RegistryHost, parse_reference
from acr_cleanup.core.usage import ImageUse, Workload
from acr_cleanup.errors import InvalidReference
from acr_cleanup.quoting import quoted

ReadText = Callable[[Any, Workload], Iterable[ImageUse]]
"""Finds images in all text of a resource: environment variables, arguments, tags."""


@dataclass(slots=True)
class Findings:
    """
    What resources of one type name.

    problems: images that name the registry and cannot be parsed, as sentences.
    notes: remarks for the report, as sentences.
    places: how many image fields were there, of any registry.
    identities: principal ids of the resources, which may pull with them.
    failures: why a part of a resource could not be read.
    """

    uses: list[ImageUse] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    places: int = 0
    identities: set[str] = field(default_factory=set)
    failures: list[ReadFailure] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        self.uses += other.uses
        self.problems += other.problems
        self.notes += other.notes
        self.places += other.places
        self.identities |= other.identities
        self.failures += other.failures


@dataclass(frozen=True, slots=True)
class Place:
    """A field of a resource, whatever its value. `container`: the name of the list item around it."""

    field: str
    container: str
    value: Any


def places(resource: Any, path: str) -> Iterator[Place]:
    """
    Yield the values at a path such as `properties.template.containers[].image`.

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
    inner, path = value.get(key), f"{path}.{key}".lstrip(".")
    if not keys[0].endswith("[]"):
        yield from _places(inner, rest, path, container)
    elif isinstance(inner, list):
        for index, item in enumerate(inner):
            name = item.get("name") if isinstance(item, dict) else None
            yield from _places(item, rest, f"{path}[{index}]", name if isinstance(name, str) else container)
    elif inner is not None:
        yield Place(path, container, inner)


def read_images(resource: Any, paths: Iterable[str], workload: Workload, registry: RegistryHost) -> Findings:
    """Read the image fields of one resource. Never raises for what a resource holds."""
    findings = Findings()
    for path in paths:
        for place in places(resource, path):
            read_image(place, workload, registry, findings)
    return findings


def read_image(place: Place, workload: Workload, registry: RegistryHost, findings: Findings) -> None:
    """Read one image field, and add its use or its problem to `findings`."""
    findings.places += 1
    if isinstance(place.value, str):
        reference = parsed(place.value)
        if reference is not None and registry.owns(reference.host):
            findings.uses.append(ImageUse(workload, place.container, place.field, place.value, reference))
        if reference is not None or not place.value.strip():
            return
    if registry.mentioned_in(as_text(place.value)):
        findings.problems.append(
            f"{quoted(place.field)} of {quoted(workload)} is {quoted(as_text(place.value), 200)!r}: "
            "this is not an image reference, but it names the registry."
        )


def parsed(text: str) -> ImageReference | None:
    """Return the reference, or None if the text is not one."""
    try:
        return parse_reference(text)
    except InvalidReference:
        return None


def as_text(value: Any) -> str:
    """Return a value as text, to search it for the registry."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode(errors="replace")


def first(resource: Any, path: str) -> Any:
    """Return the first value at a path; None if there is none."""
    return next((place.value for place in places(resource, path)), None)


def strings(resource: Any, path: str) -> tuple[str, ...]:
    """Return the texts at a path."""
    return tuple(place.value for place in places(resource, path) if isinstance(place.value, str))
