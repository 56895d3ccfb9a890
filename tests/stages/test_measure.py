"""What keeps a registry of a million tags small."""

from __future__ import annotations

import gc
import json

import pytest

from acr_cleanup.registry import wire
from acr_cleanup.stages.plan import relaxed_gc


async def test_looking_for_garbage_is_as_before_once_a_plan_is_made() -> None:
    """Whatever the plan runs into, the setting is the process's own."""
    before = gc.get_threshold()

    async def planning() -> None:
        with relaxed_gc():
            assert gc.get_threshold() > before
            raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        await planning()

    assert gc.get_threshold() == before


def test_manifests_share_the_texts_that_they_have_in_common() -> None:
    """A media type is longer than anything else that a manifest brings, and each page would bring it a thousand times."""

    def page(digit: str) -> bytes:
        manifest = {
            "digest": f"sha256:{digit * 64}",
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "configMediaType": "application/vnd.oci.image.config.v1+json",
            "os": "linux",
            "architecture": "amd64",
        }
        return json.dumps({"manifests": [manifest]}).encode()

    one, other = (next(iter(wire.read_manifests(page(digit)).values())).manifest for digit in "ab")

    assert one.media_type is other.media_type
    assert one.config_media_type is other.config_media_type
    assert one.platform is other.platform
