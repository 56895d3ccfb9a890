"""Claims in the payload of a JSON web token."""

from __future__ import annotations

from typing import Any

import pytest

from acr_cleanup.access.jwt import claims_of
from tests.helpers.registry_clients import jwt


@pytest.mark.parametrize(
    ("token", "claims"),
    [
        ("opaque", {}),
        ("a.b", {}),
        ("a.b.c.d", {}),
        ("a.!!!!.c", {}),
        ("a.bm90IGpzb24.c", {}),
        ("a.W10.c", {}),
        ("a.ä.c", {}),
        (jwt(exp=1), {"exp": 1}),
        (jwt(name="a?b~c>d", more="~~~???"), {"name": "a?b~c>d", "more": "~~~???"}),
    ],
)
def test_claims_of_any_text(token: str, claims: dict[str, Any]) -> None:
    assert claims_of(token) == claims
