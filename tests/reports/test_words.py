"""The small words, and foreign text made harmless."""

from __future__ import annotations

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from acr_cleanup.reports import words
from tests.helpers.hostile_text import TEXTS

foreign = pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(words).failed == 0


def harmless(shown: str) -> bool:
    return (
        all(character.isprintable() for character in shown)
        and not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for character in shown)
        and "::" not in shown
        and "##" not in shown
    )


@foreign
def test_plain_text_is_one_visible_line_without_commands(text: str) -> None:
    shown = words.plain(text)

    assert harmless(shown), shown
    assert len(shown) <= words.TEXT_LIMIT


@given(st.text())
def test_no_text_at_all_gets_through_plain(text: str) -> None:
    assert harmless(words.plain(text))


@given(st.text(), st.text(alphabet=":#x", max_size=3))
def test_our_own_colon_after_foreign_text_makes_no_command(text: str, end: str) -> None:
    assert harmless(f"{words.plain(text + end)}: and so on")


@given(st.text(alphabet=":#[vso]\x1b \n"))
def test_no_arrangement_of_commands_gets_through_plain(text: str) -> None:
    assert harmless(words.plain(text))


def test_ordinary_names_are_left_as_they_are() -> None:
    """Whoever searches a report for a tag must find it."""
    for name in ("1.0.0", "v1.2-rc_3", "shop/web:latest", "contoso.azurecr.io/a/b@sha256:00", "über", "日本語"):
        assert words.plain(name) == name


def test_what_was_cut_is_marked() -> None:
    assert words.plain("x" * 1000, 10) == "xxxxxxxxx…"
    assert words.plain("x" * 10, 10) == "x" * 10


def test_long_names_side_by_side_keep_both_ends() -> None:
    shown = words.name("release-" + "x" * 100 + "-amd64")

    assert shown.startswith("release-")
    assert shown.endswith("-amd64")
    assert len(shown) <= words.NAME_LIMIT


def html(markdown: str) -> str:
    """As a strict reader renders it (GitHub's own also makes links of bare addresses)."""
    return str(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))


def shown(markup: str) -> str:
    """The letters that a reader sees, without our invisible breaks."""
    for entity, letter in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        markup = markup.replace(entity, letter)
    return markup.replace("\u200b", "")


@foreign
def test_markdown_shows_the_letters_and_no_markup(text: str) -> None:
    rendered = html(f"x {words.markdown(text)} x")

    assert shown(rendered.removeprefix("<p>").removesuffix("</p>\n")) == f"x {words.plain(text)} x"


@foreign
def test_a_table_cell_stays_one_cell(text: str) -> None:
    """Whatever stands in it, as prose or as code, the next cell is the next cell."""
    for cell in (words.markdown(text), words.code(text)):
        rendered = html(f"| a | b |\n| - | - |\n| x{cell}x | last |\n")

        assert rendered.count("<td>") == 2
        assert "<td>last</td>" in rendered
        assert not any(tag in rendered for tag in ("<script", "<img", "<a ", "<em", "<strong", "<s>"))


@foreign
def test_code_shows_exactly_the_letters(text: str) -> None:
    rendered = html(f"x {words.code(text)} x")

    inner = shown(rendered.removeprefix("<p>x <code>").removesuffix("</code> x</p>\n"))
    assert inner == (words.plain(text) or " ")


@foreign
def test_html_holds_no_element(text: str) -> None:
    assert "<" not in words.html(text)
    assert ">" not in words.html(text)


def test_addresses_and_mentions_are_broken() -> None:
    """GitHub looks for links after it has decoded entities."""
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
def test_sizes_are_iec(number: int, expected: str) -> None:
    assert words.size(number) == expected


def test_a_message_keeps_its_lines_and_its_commands() -> None:
    text = words.prose("Refused: *no*.\n\nRun `az login | x`, then `acr-cleanup plan`\n")

    assert text == ("Refused: &#42;no&#42;.<br>Run <code>az login &#124; x</code>, then `acr-cleanup plan`")
    assert words.prose("`one``two`") == "`one` `two`"
    assert words.prose("- no list") == "&#45; no list"
    assert words.prose("1. no list") == "1&#46; no list"
    assert words.prose("an `unpaired tick") == "an &#96;unpaired tick"
    assert words.prose("x\n" * 1000).count("<br>") < 50
    assert len(words.prose("y" * 10_000)) <= words.PROSE_LIMIT
