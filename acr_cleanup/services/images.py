"""One resource of Azure -> the images of the registry that it names. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from acr_cleanup.access.arm_fields import Place, places
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.core.references import RegistryHost, parse_reference
from acr_cleanup.core.usage import ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.errors import InvalidReference
from acr_cleanup.quoting import quoted

ReadText = Callable[[Any, Workload], Iterable[ImageUse]]
"""Finds images in all text of a resource: environment variables, arguments, tags."""


@dataclass(slots=True)
class Findings:
    """
    The findings in resources of one type.

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

    @classmethod
    def of(cls, parts: Iterable[Findings]) -> Findings:
        """Return the findings of all parts."""
        findings = cls()
        for part in parts:
            findings.add(part)
        return findings

    def add(self, other: Findings) -> None:
        self.uses += other.uses
        self.problems += other.problems
        self.notes += other.notes
        self.places += other.places
        self.identities |= other.identities
        self.failures += other.failures


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
        with suppress(InvalidReference):
            reference = parse_reference(place.value)
            if registry.owns(reference.host):
                findings.uses.append(ImageUse(workload, place.container, place.field, place.value, reference))
            return
    if registry.mentioned_in(as_text(place.value)):
        findings.problems.append(
            f"{quoted(place.field)} of {quoted(workload)} is {quoted(as_text(place.value), 200)!r}: "
            "this is not an image reference, but it names the registry."
        )


def as_text(value: Any) -> str:
    """Return a value as text, to search it for the registry."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode(errors="replace")
