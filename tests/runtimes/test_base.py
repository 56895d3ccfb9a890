"""The last guard before text leaves us."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.runtimes import base


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(base).failed == 0


@given(st.text(alphabet=":#[vso x\n\r\t\x1b\u2028\x85") | st.text())
def test_no_text_escapes_or_commands(text: str) -> None:
    """Neither terminal escapes nor lines that a CI system obeys; line breaks alone may pass."""
    tamed = base.tame(text)

    assert not any(line.lstrip().startswith("::") for line in tamed.splitlines())
    assert "##" not in tamed
    assert not any(ord(character) < 0x20 and character not in "\n\t" for character in tamed)
    assert not any(0x7F <= ord(character) < 0xA0 for character in tamed)


def test_ordinary_text_is_left_alone() -> None:
    text = "shop/web: 3 of 8\n  fe80::1 was asked, ✓ done # really"

    assert base.tame(text) == text
