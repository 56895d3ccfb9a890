"""One resource of Azure -> the images of the registry that it names. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from acr_cleanup.access.arm_fields import Place
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

    notes: remarks for the report, as sentences.
    places: how many image fields were there, of any registry.
    identities: principal ids of the resources, which may pull with them.
    failures: why a part of a resource could not be read.
    """

    uses: list[ImageUse] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    places: int = 0
    identities: set[str] = field(default_factory=set)
    failures: list[ReadFailure] = field(default_factory=list)

    def add(self, *parts: Findings) -> Findings:
        """Add the findings of all parts; return them together."""
        for part in parts:
            self.uses += part.uses
            self.notes += part.notes
            self.places += part.places
            self.identities |= part.identities
            self.failures += part.failures
        return self


def read_image(place: Place, workload: Workload, registry: RegistryHost, findings: Findings) -> None:
    """Read one image field. One that names the registry and cannot be parsed is a failure."""
    findings.places += 1
    text = place.value if isinstance(place.value, str) else msgspec.json.encode(place.value).decode()
    if isinstance(place.value, str):
        with suppress(InvalidReference):
            reference = parse_reference(text)
            if registry.owns(reference.host):
                findings.uses.append(ImageUse(workload, place.container, place.field, text, reference))
            return
    if registry.mentioned_in(text):
        where = f"{quoted(place.field)} of {quoted(workload)} is {quoted(text, 200)!r}"
        seen = f"{where}: this is not an image reference, but it names the registry."
        findings.failures.append(
            ReadFailure("read its images", seen, "Correct the image there, or delete the resource.")
        )
