"""Parsers of single values: durations, shards and registry names."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core.retention import describe_duration
from acr_cleanup.core.shard import Shard
from acr_cleanup.settings.grammar import InvalidOption, as_shard, nearest, parse_duration, parse_registry_url, shown


@pytest.mark.parametrize("text", ["3/8", " 3 / 8 ", "03/8", "3\t/ 8\n"])
def test_shard_is_part_and_number_of_parts(text: str) -> None:
    assert as_shard(text) == Shard(3, 8)


_HOW = "Write the number of the part, a slash and the number of parts: 3/8 is the third of eight."


@pytest.mark.parametrize(
    ("text", "seen", "remedy"),
    [
        ("0/8", "'0/8' is not one of the 8 parts.", "The parts are numbered from 1 to 8: write 1/8 to 8/8."),
        ("9/8", "'9/8' is not one of the 8 parts.", "The parts are numbered from 1 to 8: write 1/8 to 8/8."),
        ("3", "'3' is not a part such as 3/8.", _HOW),
        ("a/b", "'a/b' is not a part such as 3/8.", _HOW),
        ("3/8/2", "'3/8/2' is not a part such as 3/8.", _HOW),
        ("-1/8", "'-1/8' is not a part such as 3/8.", _HOW),
        ("٣/٨", "'٣/٨' is not a part such as 3/8.", _HOW),
        ("3/0", "'3/0' has 0 parts; the number of parts is from 1 to 1000.", _HOW),
        ("1/1001", "'1/1001' has 1001 parts; the number of parts is from 1 to 1000.", _HOW),
        (f"1/{10**17}", f"'1/{10**17}' has {10**17} parts; the number of parts is from 1 to 1000.", _HOW),
        ("1/" + "9" * 5000, f"{shown('1/' + '9' * 5000)} is not a part such as 3/8.", _HOW),
    ],
)
def test_invalid_shard_is_refused_with_a_remedy(text: str, seen: str, remedy: str) -> None:
    """If a misspelt part were read as the whole registry, the run would delete from all parts."""
    with pytest.raises(InvalidOption) as caught:
        as_shard(text)
    assert (caught.value.seen, caught.value.remedy) == (seen, remedy)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("2d3h6m", timedelta(days=2, hours=3, minutes=6)),
        ("6w", timedelta(weeks=6)),
        ("30", timedelta(days=30)),
        (" 30 ", timedelta(days=30)),
        ("1.5", timedelta(hours=36)),
        ("0h6m", timedelta(minutes=6)),
        ("0", timedelta()),
        ("0d", timedelta()),
        ("0w0d0h0m", timedelta()),
        ("0.0", timedelta()),
        ("007d", timedelta(days=7)),
        ("0" * 5000 + "7d", timedelta(days=7)),
        ("1w2d3h4m", timedelta(days=9, hours=3, minutes=4)),
        ("1h90m", timedelta(minutes=150)),
        ("\t30d\n", timedelta(days=30)),
        ("36525", timedelta(days=36525)),
        ("36525d", timedelta(days=36525)),
        ("5217w6d", timedelta(days=36525)),
        ("876600h", timedelta(days=36525)),
    ],
)
def test_valid_duration_is_parsed(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", " ", "d", "30 days", "30D", "3h2d", "1d1d", "-1", "-30d", "+1", "6m", "1e5", "nan", "inf", "36526", "101y", "36526d",
     "9" * 400, "9" * 400 + "d", "30d\n::error::", "1,5", "P30D", "30 d", "2d 3h", "1.5d", "0.5h", ".5", "1.", "6W", "12H", "2D3H",
     "2m3h", "0m", "1y", "30s", "1mo", "36525.1", "5218w", "876601h", "36525d0h1m", "9" * 5000, "9" * 5000 + "d", "３０d", "３０"],
)  # fmt: skip
def test_invalid_duration_is_refused(text: str) -> None:
    """`6m` alone is refused: a user who means months would lose everything older than minutes."""
    with pytest.raises(InvalidOption) as caught:
        parse_duration(text)
    assert len(caught.value.seen) < 140
    assert "\n" not in caught.value.seen


@pytest.mark.parametrize(
    "text", ["36525d0h1m", "36526d", "101000w", "876601h", "40000", "1e9".replace("e", "0" * 9), "9" * 5000 + "h"]
)
def test_duration_above_a_century_is_refused(text: str) -> None:
    """It must be a mistake: a number alone may be a year."""
    with pytest.raises(InvalidOption, match="more than 100 years"):
        parse_duration(text)


@given(st.integers(0, 36500), st.integers(0, 23), st.integers(0, 59))
def test_duration_in_report_form_parses_to_itself(days: int, hours: int, minutes: int) -> None:
    duration = timedelta(days=days, hours=hours, minutes=minutes)
    text = describe_duration(duration)
    assert parse_duration(text if days or hours or not minutes else f"0h{text}") == duration


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("contoso.azurecr.io", "contoso.azurecr.io"),
        ("https://contoso.azurecr.io/", "contoso.azurecr.io"),
        ("HTTPS://Contoso.AzureCR.io:443", "contoso.azurecr.io"),
        ("contoso", "contoso"),
        ("Contoso", "contoso"),
        ("localhost:5000", "localhost:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_valid_registry_is_parsed_to_its_host(text: str, host: str) -> None:
    assert parse_registry_url(text) == host


@pytest.mark.parametrize(
    "text",
    ["", "https://", "http://contoso.azurecr.io", "contoso.azurecr.io/shop", "a@b.azurecr.io", "contoso.azurecr.io?x", "ftp://x.io",
     "con toso.azurecr.io", "contoso.azurecr.io:99999", "contoso.azurecr.io:", "abc", "https://contoso.azurecr.io//",
     "contoso..azurecr.io"],
)  # fmt: skip
def test_invalid_registry_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption):
        parse_registry_url(text)


@pytest.mark.parametrize(
    ("written", "options", "meant"),
    [
        ("uri", ["url", "aliases"], "url"),
        ("nmae", ["name", "tags"], "name"),
        ("nope", ["scope", "keep"], ""),
        ("tag", ["tags"], "tags"),
        ("x", ["y"], ""),
        ("", ["url"], ""),
    ],
)
def test_nearest_finds_one_wrong_letter(written: str, options: list[str], meant: str) -> None:
    assert nearest(written, options) == meant
