"""References to images, and references in the midst of any text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.clusters.images.documents import contents
from acr_cleanup.clusters.images.free_text import names, read_text
from acr_cleanup.core.references import Registry, parse_digest, parse_image_id, parse_reference
from acr_cleanup.errors import InvalidReference
from tests.helpers.damaged_documents import HOSTILE, law, prompt, texts

pytestmark = pytest.mark.untraced

OURS = Registry("contoso.azurecr.io", frozenset({"images.contoso.example"}))
VALID = (
    "contoso.azurecr.io/shop/web:1.0",
    f"contoso.azurecr.io:443/shop/web@sha256:{'0a' * 32}",
    f"CONTOSO.azurecr.io/a/b_c/d--e:v1@sha512:{'f' * 128}",
    "images.contoso.example/web",
    "localhost:5000/x",
    "[::1]:5000/x/y:1",
    "nginx",
    "library/nginx:latest",
    "docker-pullable://nginx:1",
)
PIECES = (
    "contoso.azurecr.io",
    "/",
    ":",
    "@",
    "sha256:",
    "0" * 64,
    "a",
    "A",
    "_",
    "__",
    ".",
    "-",
    "latest",
    " ",
    "\n",
    "://",
    "443",
    *HOSTILE,
)


@st.composite
def nearly(draw: st.DrawFn) -> str:
    """A reference with some of its characters exchanged, or one put together of what references are made of."""
    if draw(st.booleans()):
        return draw(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(PIECES) | st.characters()) + text[at + draw(st.integers(0, 2)) :]
    return text


@law
@given(nearly())
def test_a_reference_is_refused_or_can_be_written_and_read_again(text: str) -> None:
    with prompt(), suppress(InvalidReference):
        reference = parse_reference(text)
        assert parse_reference(str(reference)) == reference
        assert not reference.is_open
        assert str(reference).isascii()
        assert str(reference).isprintable()
        if reference.digest is not None:
            assert parse_digest(reference.digest) == reference.digest
    with suppress(InvalidReference):
        parse_image_id(text)


@law
@given(nearly())
def test_a_refusal_is_told_in_one_line(text: str) -> None:
    try:
        parse_reference(text)
    except InvalidReference as error:
        assert str(error).isprintable()


@law
@given(nearly())
def test_what_a_runtime_would_pull_from_our_registry_is_found_in_text(text: str) -> None:
    """The finder of references in free text misses none that the parser of image names takes."""
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    if OURS.owns(reference.host):
        assert names(text, OURS)
        assert OURS.mentioned_in(text)
        assert reference in [mention.reference for mention in read_text(text, OURS).mentions]


@law
@given(st.lists(st.sampled_from(PIECES) | texts | st.sampled_from(VALID), max_size=12))
def test_any_text_is_searched_in_bounded_time_and_for_our_registry_alone(pieces: list[str]) -> None:
    text = "".join(pieces)
    with prompt():
        found = [mention.reference for mention in read_text(text, OURS).mentions]
        found += [
            each.reference for each in contents({"a": [text, {"image": text, "tag": text}], text: pieces}, OURS).found
        ]
    assert all(OURS.owns(reference.host) for reference in found)
    if found:
        # What is only looked at when this says so would be missed otherwise.
        assert names(text, OURS) or any(names(piece, OURS) for piece in pieces)
