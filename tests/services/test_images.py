"""The image fields of a resource, and how findings are added up."""

from __future__ import annotations

import pytest

from acr_cleanup.access.arm_fields import Place
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.core.references import RegistryHost, parse_reference
from acr_cleanup.core.usage import ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.services.images import Findings, read_image

APP = Workload("azure:sub", "", "ContainerApp", "api")
FIELD = "properties.template.containers[0].image"
WEB = "contoso.azurecr.io/shop/web:1"
USE = ImageUse(APP, "main", FIELD, WEB, parse_reference(WEB))
FAILURE = ReadFailure("read its images", "seen", "remedy")


def read(value: object) -> Findings:
    findings = Findings()
    read_image(Place(FIELD, "main", value), APP, RegistryHost("contoso.azurecr.io"), findings)
    return findings


def test_image_of_the_registry_is_a_use_of_its_field() -> None:
    assert read(WEB) == Findings(uses=[USE], places=1)


@pytest.mark.parametrize("value", ["docker.io/shop/web:1", "nginx", "", "not an image", None, 7, ["nginx"]])
def test_other_image_field_is_only_counted(value: object) -> None:
    assert read(value) == Findings(places=1)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("contoso.azurecr.io/Shop:1", "contoso.azurecr.io/Shop:1"),
        ({"image": WEB}, '{"image":"contoso.azurecr.io/shop/web:1"}'),
        ([f"{WEB}\n"], '["contoso.azurecr.io/shop/web:1\\n"]'),
    ],
)
def test_image_field_that_names_the_registry_unreadably_is_a_failure(value: object, shown: str) -> None:
    seen = f"{FIELD} of azure:sub/ContainerApp/api is {shown!r}: this is not an image reference, but it names the registry."
    found = read(value)
    (failure,) = found.failures
    assert (failure.call, failure.seen) == ("read its images", seen)
    assert failure.remedy == "Correct the image there, or delete the resource."
    assert (found.uses, found.places) == ([], 1)


def test_findings_of_all_parts_are_added() -> None:
    first = Findings([USE], ["a note"], 2, {"identity"}, [])
    second = Findings([], ["another"], 3, {"other"}, [FAILURE])
    added = Findings().add(first, second)
    assert added == Findings([USE], ["a note", "another"], 5, {"identity", "other"}, [FAILURE])
