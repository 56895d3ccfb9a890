"""The last check of text before output."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.runtimes import base


def test_docstring_examples_hold() -> None:
    assert doctest.testmod(base).failed == 0


@given(st.text(alphabet=":#[vso x\n\r\t\x1b\u2028\x85") | st.text())
def test_tamed_text_has_no_escapes_or_commands(text: str) -> None:
    """
    No terminal escapes and no lines that a CI system obeys; only line breaks and tabs are kept.
    """
    tamed = base.tame(text)

    assert not any(line.lstrip().startswith("::") for line in tamed.splitlines())
    assert "##" not in tamed
    assert not any(ord(character) < 0x20 and character not in "\n\t" for character in tamed)
    assert not any(0x7F <= ord(character) < 0xA0 for character in tamed)


def test_ordinary_text_is_not_changed() -> None:
    text = "shop/web: 3 of 8\n  fe80::1 was asked, ✓ done # really"

    assert base.tame(text) == text
