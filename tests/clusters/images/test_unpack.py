"""Packed text: what is unpacked of it, and where it ends."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma

import pytest

from acr_cleanup.clusters.images.unpack import Budget, text_of, unpacked, unpacked_run


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_member_after_a_full_budget_is_not_unpacked(compress: object) -> None:
    assert callable(compress)
    members = compress(b"image: a " * 100) + compress(b"x" * 1_000_000)
    texts = list(unpacked(base64.b64encode(members).decode(), Budget(900)))
    assert texts == ["image: a " * 100]
    assert "".join(unpacked(base64.b64encode(members).decode(), Budget(910)))[900:] == "x" * 10


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("c2hvcC93ZWI=", ["shop/web"]),
        ("c2hvcC93ZWI", []),
        ("c2hvcC93\nZWI6MQ==\n", ["shop/web:1"]),
        ("c2hvcC93 ZWI6MQ==", []),
        ("c2hvcC93:ZWI6MQ==", []),
        ("_-_-_-_-_-_-_-_-", ["\ufffd" * 12]),
        ("0123456789abcdef", []),
        (r"shop\/web\u003a1\x2e2\n\tx\\", ["shop/web:1.2\n x\\"]),
        ("shop%2Fweb%3a1", ["shop/web:1"]),
        ("shop&#47;web&colon;1 &amp; &unknown;", ["shop/web:1 & &unknown;"]),
        ("100% & more \\", []),
    ],
)
def test_text_has_these_texts_in_it(text: str, inside: list[str]) -> None:
    assert list(unpacked(text, Budget())) == inside


def test_text_is_unpacked_some_levels_deep() -> None:
    packed = ["shop/web:1.2.3"]
    for _ in range(6):
        packed.append(base64.b64encode(packed[-1].encode()).decode())
    assert list(unpacked(packed[5], Budget())) == packed[4::-1]
    assert list(unpacked(packed[6], Budget())) == packed[5:0:-1]


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_of_any_unicode_is_decoded(codec: str) -> None:
    assert text_of("image: shop/web:1.2 é".encode(codec)) == "image: shop/web:1.2 é"


def test_run_of_base64_is_unpacked_within_the_budget() -> None:
    run = base64.b64encode(b"image: shop/web:1.2").decode()
    budget = Budget(20)
    assert list(unpacked_run(run, budget)) == ["image: shop/web:1.2"]
    assert budget.left == 1
    assert list(unpacked_run(run, budget)) == ["image: shop/web:1.2"]
    assert list(unpacked_run(run, budget)) == []
    assert list(unpacked_run(f"{run}:", Budget())) == []
