"""Counts, sizes and ages in words, and the escaping of foreign text."""

from __future__ import annotations

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from acr_cleanup import quoting
from acr_cleanup.reports import words
from tests.helpers.hostile_text import TEXTS

foreign = pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))


def test_docstring_examples_are_correct() -> None:
    assert doctest.testmod(words).failed == 0


def harmless(shown: str) -> bool:
    return (
        all(character.isprintable() for character in shown)
        and not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for character in shown)
        and "::" not in shown
        and "##" not in shown
    )


@foreign
def test_plain_returns_one_visible_line(text: str) -> None:
    shown = words.plain(text)

    assert harmless(shown), shown
    assert len(shown) <= quoting.TEXT_LIMIT


@given(st.text())
def test_plain_escapes_any_text(text: str) -> None:
    assert harmless(words.plain(text))


@given(st.text(), st.text(alphabet=":#x", max_size=3))
def test_colon_after_plain_text_forms_no_command(text: str, end: str) -> None:
    assert harmless(f"{words.plain(text + end)}: and so on")


@given(st.text(alphabet=":#[vso]\x1b \n"))
def test_plain_breaks_every_command(text: str) -> None:
    assert harmless(words.plain(text))


def test_plain_keeps_ordinary_names() -> None:
    """Users must be able to search a report for a tag."""
    for name in ("1.0.0", "v1.2-rc_3", "shop/web:latest", "contoso.azurecr.io/a/b@sha256:00", "über", "日本語"):
        assert words.plain(name) == name


def test_plain_marks_a_cut() -> None:
    assert words.plain("x" * 1000, 10) == "xxxxxxxxx…"
    assert words.plain("x" * 10, 10) == "x" * 10


def test_name_keeps_both_ends() -> None:
    shown = words.name("release-" + "x" * 100 + "-amd64")

    assert shown.startswith("release-")
    assert shown.endswith("-amd64")
    assert len(shown) <= words.NAME_LIMIT


def html(markdown: str) -> str:
    """Render as CommonMark. (GitHub also turns bare addresses into links.)"""
    return str(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))


def shown(markup: str) -> str:
    """The visible characters, without our zero-width spaces."""
    for entity, letter in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        markup = markup.replace(entity, letter)
    return markup.replace("\u200b", "")


@foreign
def test_markdown_shows_the_text_without_markup(text: str) -> None:
    rendered = html(f"x {words.markdown(text)} x")

    assert shown(rendered.removeprefix("<p>").removesuffix("</p>\n")) == f"x {words.plain(text)} x"


@foreign
def test_foreign_text_does_not_split_a_table_cell(text: str) -> None:
    """Neither as Markdown nor as code does it affect the next cell."""
    for cell in (words.markdown(text), words.code(text)):
        rendered = html(f"| a | b |\n| - | - |\n| x{cell}x | last |\n")

        assert rendered.count("<td>") == 2
        assert "<td>last</td>" in rendered
        assert not any(tag in rendered for tag in ("<script", "<img", "<a ", "<em", "<strong", "<s>"))


@foreign
def test_code_shows_the_text_unchanged(text: str) -> None:
    rendered = html(f"x {words.code(text)} x")

    inner = shown(rendered.removeprefix("<p>x <code>").removesuffix("</code> x</p>\n"))
    assert inner == (words.plain(text) or " ")


@foreign
def test_html_contains_no_element(text: str) -> None:
    assert "<" not in words.html(text)
    assert ">" not in words.html(text)


def test_markdown_breaks_addresses_and_mentions() -> None:
    """GitHub looks for links after it decoded the entities."""
    text = html(words.markdown("https://evil.example www.evil.example me@evil.example"))

    assert "://" not in text
    assert "www." not in text
    assert "@evil" not in text


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1024, "1.0 KiB"),
        (100 * 1024, "100 KiB"),
        (1024**3 - 1, "1.0 GiB"),
        (2**70, "1048576 PiB"),
    ],
)
def test_size_uses_iec_units(number: int, expected: str) -> None:
    assert words.size(number) == expected


def test_prose_keeps_lines_and_commands() -> None:
    text = words.prose("Refused: *no*.\n\nRun `az login | x`, then `acr-cleanup plan`\n")

    assert text == ("Refused: &#42;no&#42;.<br>Run <code>az login &#124; x</code>, then `acr-cleanup plan`")
    assert words.prose("`one``two`") == "`one` `two`"
    assert words.prose("- no list") == "&#45; no list"
    assert words.prose("1. no list") == "1&#46; no list"
    assert words.prose("an `unpaired tick") == "an &#96;unpaired tick"
    assert words.prose("x\n" * 1000).count("<br>") < 50
    assert len(words.prose("y" * 10_000)) <= words.PROSE_LIMIT
