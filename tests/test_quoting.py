"""Foreign text in our messages: one line, bounded, without secrets."""

from __future__ import annotations

import doctest

from hypothesis import example, given
from hypothesis import strategies as st

from acr_cleanup import quoting
from acr_cleanup.quoting import phrase, quoted


def test_docstring_examples_hold() -> None:
    assert doctest.testmod(quoting).failed == 0


@given(st.text(), st.integers(min_value=1, max_value=400))
@example("a\u2028b\u202ec\x85d", 300)
@example("x" * 1000, 300)
def test_quoted_text_is_one_printable_line(text: str, limit: int) -> None:
    line = quoted(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    assert not phrase(text).endswith(".")


@given(st.text(), st.from_regex(r"eyJ[A-Za-z0-9_-]{8,40}\.[A-Za-z0-9_-]{8,40}", fullmatch=True), st.text())
def test_quoted_text_contains_no_token(before: str, token: str, after: str) -> None:
    assert token not in quoted(before + token + after, 10_000)
    assert token not in quoted(f"https://user:{token}@host/{after}", 10_000)


def test_quoted_text_has_no_escapes_or_passwords() -> None:
    assert quoted("url='http://me:hunter2@proxy:3128/' \x1b[31m\r\nnext") == "url='http://***@proxy:3128/' [31m next"
    assert len(quoted("x" * 5000)) == 300
