"""Parsing image references, image ids and host names."""

from __future__ import annotations

import contextlib
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import acr_cleanup.core.known_bodies
import acr_cleanup.core.manifests
import acr_cleanup.core.pulls
import acr_cleanup.core.references
import acr_cleanup.core.retention
import acr_cleanup.core.selection
import acr_cleanup.core.shard
import acr_cleanup.core.verification
from acr_cleanup.core.references import ImageReference, RegistryHost, parse_image_id, parse_reference
from acr_cleanup.errors import InvalidReference

SHA = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8

GOOD = {
    "contoso.azurecr.io/web": ("contoso.azurecr.io", "web", "latest", None),
    "contoso.azurecr.io/team/a/b/api:2026.11.1": ("contoso.azurecr.io", "team/a/b/api", "2026.11.1", None),
    f"contoso.azurecr.io/web:1@{SHA}": ("contoso.azurecr.io", "web", "1", SHA),
    f"contoso.azurecr.io/web@{SHA}": ("contoso.azurecr.io", "web", None, SHA),
    "CONTOSO.AzureCR.io/web:Release_1.0-x": ("contoso.azurecr.io", "web", "Release_1.0-x", None),
    "contoso.azurecr.io:443/web:1": ("contoso.azurecr.io", "web", "1", None),
    "localhost:5000/shop/web:1": ("localhost:5000", "shop/web", "1", None),
    "localhost/web": ("localhost", "web", "latest", None),
    "nginx": ("docker.io", "library/nginx", "latest", None),
    "nginx:1.27": ("docker.io", "library/nginx", "1.27", None),
    "contoso/web:1": ("docker.io", "contoso/web", "1", None),
    "contoso.azurecr.io:r1": ("docker.io", "library/contoso.azurecr.io", "r1", None),
    " contoso.azurecr.io/web:1\n": ("contoso.azurecr.io", "web", "1", None),
    "contoso.azurecr.io/a__b/c-d/e.f:1": ("contoso.azurecr.io", "a__b/c-d/e.f", "1", None),
    "contoso.azurecr.io/a_b/c---d:_1": ("contoso.azurecr.io", "a_b/c---d", "_1", None),
    "[::1]:5000/web:1": ("[::1]:5000", "web", "1", None),
    f"contoso.azurecr.io/web@{SHA512}": ("contoso.azurecr.io", "web", None, SHA512),
}

BAD = [
    "",
    " ",
    "contoso.azurecr.io/",
    "contoso.azurecr.io/web:",
    "contoso.azurecr.io/web:1 2",
    "contoso.azurecr.io/web:$(TAG)",
    "contoso.azurecr.io/web:" + "x" * 129,
    "contoso.azurecr.io/Web:1",
    "contoso.azurecr.io//web:1",
    "contoso.azurecr.io/web@sha256:abc",
    "contoso.azurecr.io/web@",
    f"contoso.azurecr.io/web@{SHA.upper()}",
    "https://contoso.azurecr.io/web:1",
    "contoso.azurecr.io/web:1:2",
    "contoso.azurecr.io/web\tx",
    "-.azurecr.io/web",
    f"contoso.azurecr.io/web@{SHA[:-1]}",
    f"contoso.azurecr.io/web@{SHA}0",
    f"contoso.azurecr.io/web@{SHA512[:-1]}",
    f"contoso.azurecr.io/web@{SHA512}0",
    "contoso.azurecr.io/web:.1",
    "contoso.azurecr.io/web:-1",
    "contoso.azurecr.io/a___b:1",
    "contoso.azurecr.io/a..b:1",
    "contoso.azurecr.io/a-:1",
    "contoso.azurecr.io/-a:1",
]


@pytest.mark.parametrize(("text", "parts"), GOOD.items())
def test_reference_is_parsed_as_by_a_runtime(text: str, parts: tuple[str, str, str | None, str | None]) -> None:
    reference = parse_reference(text)

    assert (reference.host, reference.repository, reference.tag, reference.digest) == parts


@pytest.mark.parametrize("text", BAD)
def test_reference_that_no_runtime_can_pull_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_reference(text)


@given(st.text(max_size=80))
def test_parsed_reference_can_be_written_and_parsed_again(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    assert parse_reference(str(reference)) == reference
    assert reference.tag or reference.digest


@given(st.text(alphabet="aA0./:@-_[] sha256" + "\n", max_size=120))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Also text that is nearly a reference. `mentioned_in` accepts every text."""
    for read in (parse_reference, parse_image_id):
        with contextlib.suppress(InvalidReference):
            read(text)
    RegistryHost("contoso.azurecr.io").mentioned_in(text)


@pytest.mark.extended
@pytest.mark.untraced
@pytest.mark.parametrize("part", ["a", "a.", "a-", "a/", "a:", "A", "-", "0@", "[:"])
def test_long_text_is_refused_quickly(part: str) -> None:
    """No expression backtracks. With backtracking, these texts would take hours."""
    for text in (part * 200_000, part * 200_000 + "!", f"contoso.azurecr.io/{part * 200_000}!"):
        with contextlib.suppress(InvalidReference):
            parse_reference(text)
        RegistryHost("contoso.azurecr.io").mentioned_in(text)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (f"docker-pullable://contoso.azurecr.io/web@{SHA}", f"contoso.azurecr.io/web@{SHA}"),
        (f"contoso.azurecr.io/web@{SHA}", f"contoso.azurecr.io/web@{SHA}"),
        (f"docker://{SHA}", SHA),
        (SHA, SHA),
        ("", "None"),
    ],
)
def test_image_id_is_a_reference_a_digest_or_none(text: str, parsed: str) -> None:
    assert str(parse_image_id(text)) == parsed


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("contoso.azurecr.io", True),
        ("Contoso.AzureCR.io", True),
        ("contoso.azurecr.io:443", True),
        ("contoso.westeurope.geo.azurecr.io", True),
        ("images.contoso.example", True),
        ("contoso.azurecr.io:5000", False),
        ("contoso.azurecr.io.evil.example", False),
        ("notcontoso.azurecr.io", False),
        ("contoso.azurecr.us", False),
        ("contoso.evil.example.geo.azurecr.io", False),
        ("fabrikam.westeurope.geo.azurecr.io", False),
        ("docker.io", False),
    ],
)
def test_only_hosts_of_the_registry_match(host: str, ours: bool) -> None:
    registry = RegistryHost("contoso.azurecr.io", frozenset({"images.contoso.example"}))

    assert registry.owns(host) is ours


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        ("contoso.azurecr.io/web:", True),
        ("https://CONTOSO.azurecr.io/web x", True),
        ("contoso.azurecr.io:443/web:$(TAG)", True),
        ("evil.example/contoso.azurecr.io/web: x", True),
        ("contoso.azurecr.io.evil.example/web: x", False),
        ("notcontoso.azurecr.io/web: x", False),
        ("my_contoso.azurecr.io/web: x", True),
        ("$(REGISTRY)/web:1", False),
    ],
)
def test_mention_is_a_whole_host_name_in_the_text(text: str, mentioned: bool) -> None:
    """If the name may not be whole (`my_contoso…`), a mention is assumed."""
    assert RegistryHost("contoso.azurecr.io").mentioned_in(text) is mentioned


def test_two_spellings_of_one_image_are_equal() -> None:
    assert parse_reference("CONTOSO.azurecr.io:443/web") == ImageReference("contoso.azurecr.io", "web", "latest", None)


@pytest.mark.parametrize(
    "module",
    [
        acr_cleanup.core.references,
        acr_cleanup.core.pulls,
        acr_cleanup.core.known_bodies,
        acr_cleanup.core.manifests,
        acr_cleanup.core.retention,
        acr_cleanup.core.verification,
        acr_cleanup.core.selection,
        acr_cleanup.core.shard,
    ],
)
def test_examples_in_docstrings_are_true(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]

    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-.azurecr.io/web", "'-.azurecr.io/web' does not begin with a host name."),
        ("contoso.azurecr.io/Web", "'contoso.azurecr.io/Web' names no valid repository."),
        ("contoso.azurecr.io/web:$(TAG)", "'contoso.azurecr.io/web:$(TAG)' has no valid tag after the colon."),
        ("web@sha256:0", "'sha256:0' is not a digest (sha256: and 64 lower-case hex digits)."),
        (f"docker://docker://{SHA}", f"'docker://{SHA}' does not begin with a host name."),
    ],
)
def test_refusal_quotes_the_text_and_its_problem(text: str, message: str) -> None:
    """A scheme is removed once, not repeatedly."""
    with pytest.raises(InvalidReference) as refused:
        parse_image_id(text)

    assert str(refused.value) == message


def test_path_and_tag_have_the_maximum_length_of_the_grammar() -> None:
    assert parse_reference("contoso.azurecr.io/" + "a" * 255).repository == "a" * 255
    with pytest.raises(InvalidReference):
        parse_reference("contoso.azurecr.io/" + "a" * 256)
    assert parse_reference("contoso.azurecr.io/web:" + "x" * 128).tag == "x" * 128


def test_open_reference_has_neither_tag_nor_digest() -> None:
    assert ImageReference("contoso.azurecr.io", "web", None, None).is_open
    assert not parse_reference("contoso.azurecr.io/web").is_open
    assert not parse_reference(f"contoso.azurecr.io/web@{SHA}").is_open
    assert str(ImageReference("contoso.azurecr.io", "web", None, None)) == "contoso.azurecr.io/web"


def test_registry_without_aliases_matches_only_its_host() -> None:
    assert not RegistryHost("contoso.azurecr.io").owns("docker.io")
    assert not RegistryHost("contoso.azurecr.io").owns("images.contoso.example")


def test_reference_is_written_with_its_tag_and_digest() -> None:
    for text in ("a.io/web:1", f"a.io/web@{SHA}", f"a.io/web:1@{SHA}"):
        assert str(parse_reference(text)) == text
