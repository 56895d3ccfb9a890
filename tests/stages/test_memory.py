"""Memory with a million tags."""

from __future__ import annotations

import json

from acr_cleanup.registry import wire


def test_manifests_share_equal_strings() -> None:
    """
    Each page repeats the media type a thousand times, and it is the longest string of a manifest.
    """

    def page(digit: str) -> bytes:
        manifest = {
            "digest": f"sha256:{digit * 64}",
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "configMediaType": "application/vnd.oci.image.config.v1+json",
            "os": "linux",
            "architecture": "amd64",
        }
        return json.dumps({"manifests": [manifest]}).encode()

    first, second = (next(iter(wire.read_manifests(page(digit)).values())).manifest for digit in "ab")

    assert first.media_type is second.media_type
    assert first.config_media_type is second.config_media_type
    assert first.platform is second.platform
