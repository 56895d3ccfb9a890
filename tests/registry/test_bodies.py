"""Digests of manifests: of their bytes, or of the signed payload of Docker's first schema."""

from __future__ import annotations

import hashlib
import json

import pytest

from acr_cleanup.core.references import Digest
from acr_cleanup.registry.bodies import has_digest
from tests.helpers.registry_worlds import signed

PAYLOAD = json.dumps({"schemaVersion": 1, "name": "app", "tag": "1.0", "fsLayers": []}, indent=3)


def digest_of(text: str) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def test_signed_manifest_has_the_digest_of_its_payload() -> None:
    assert has_digest(signed(PAYLOAD), digest_of(PAYLOAD))
    assert has_digest(PAYLOAD.encode(), digest_of(PAYLOAD))
    assert not has_digest(signed(PAYLOAD.replace("1.0", "2.0")), digest_of(PAYLOAD))


@pytest.mark.parametrize(
    "content",
    [
        signed(PAYLOAD, formatLength="12"),
        signed(PAYLOAD, formatTail="é"),
        signed(PAYLOAD, formatTail="a"),
        b'{"signatures": []}',
        b'{"signatures": [{}]}',
        b'{"signatures": [{"protected": "!"}]}',
        b'"signatures"',
        b"[" * 100_000 + b'"signatures"',
    ],
)
def test_malformed_signature_does_not_match(content: bytes) -> None:
    assert not has_digest(content, digest_of(PAYLOAD))
