"""Packed text: what is unpacked of it, and where it ends."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma

import pytest

from acr_cleanup.clusters.images.unpack import Budget, unpacked


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_member_after_a_full_budget_is_not_unpacked(compress: object) -> None:
    assert callable(compress)
    members = compress(b"image: a " * 100) + compress(b"x" * 1_000_000)
    texts = list(unpacked(base64.b64encode(members).decode(), Budget(900)))
    assert texts == ["image: a " * 100]
    assert "".join(unpacked(base64.b64encode(members).decode(), Budget(910)))[900:] == "x" * 10
