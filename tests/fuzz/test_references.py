"""References to images, alone and inside other text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from acr_cleanup.clusters.images.documents import contents
from acr_cleanup.clusters.images.free_text import names, read_text
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core.references import RegistryHost, parse_digest, parse_image_id, parse_reference
from acr_cleanup.errors import InvalidReference
from tests.helpers.damaged_documents import HOSTILE, bounded_time, fuzz_test, texts

pytestmark = pytest.mark.untraced

OURS = RegistryHost("contoso.azurecr.io", frozenset({"images.contoso.example"}))
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
def damaged_reference(draw: st.DrawFn) -> str:
    """A reference with some characters replaced, or a random sequence of parts of references."""
    if draw(st.booleans()):
        return draw(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.sampled_from(PIECES) | st.characters()) + text[start + draw(st.integers(0, 2)) :]
    return text


@fuzz_test
@given(damaged_reference())
def test_reference_is_rejected_or_round_trips(text: str) -> None:
    with bounded_time(), suppress(InvalidReference):
        reference = parse_reference(text)
        assert parse_reference(str(reference)) == reference
        assert not reference.is_open
        assert str(reference).isascii()
        assert str(reference).isprintable()
        if reference.digest is not None:
            assert parse_digest(reference.digest) == reference.digest
    with suppress(InvalidReference):
        parse_image_id(text)


@fuzz_test
@given(damaged_reference())
def test_rejected_reference_has_a_printable_message(text: str) -> None:
    try:
        parse_reference(text)
    except InvalidReference as error:
        assert str(error).isprintable()


@fuzz_test
@given(damaged_reference())
def test_valid_reference_is_found_in_text(text: str) -> None:
    """The search in free text finds every reference that the parser of image names accepts."""
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    if OURS.owns(reference.host):
        assert names(text, OURS)
        assert OURS.mentioned_in(text)
        assert reference in [mention.reference for mention in read_text(text, OURS).mentions]


@fuzz_test
@given(st.lists(st.sampled_from(PIECES) | texts | st.sampled_from(VALID), max_size=12))
def test_search_in_any_text_is_fast_and_finds_only_ours(pieces: list[str]) -> None:
    text = "".join(pieces)
    with bounded_time():
        references = [mention.reference for mention in read_text(text, OURS).mentions]
        references += [
            mention.reference
            for mention in contents({"a": [text, {"image": text, "tag": text}], text: pieces}, OURS).found
        ]
    assert all(OURS.owns(reference.host) for reference in references)
    if references:
        # `names` is the quick check before the search: a miss here would skip the search.
        assert names(text, OURS) or any(names(piece, OURS) for piece in pieces)
