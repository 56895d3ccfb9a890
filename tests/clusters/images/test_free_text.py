"""References in text that may be anything."""

from __future__ import annotations

import doctest
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import acr_cleanup.clusters.images.free_text
from acr_cleanup.clusters.images.documents import contents
from acr_cleanup.clusters.images.free_text import read_text
from acr_cleanup.clusters.images.parse_documents import documents
from acr_cleanup.core.references import Digest, ImageReference, RegistryHost
from tests.helpers.cluster_objects import DIGEST, OURS

HOST = "contoso.azurecr.io"
WEB = f"{HOST}/shop/web"
REGISTRY = RegistryHost(HOST, frozenset({"images.contoso.example", "mirror.example:5000"}))


def found(text: str, registry: RegistryHost = REGISTRY) -> list[str]:
    """Each reference; an open one as its repository alone."""
    return [str(mention.reference) for mention in read_text(text, registry).mentions]


@pytest.mark.parametrize(
    ("text", "references"),
    {
        WEB: [f"{WEB}:latest"],
        f"{WEB}:1": [f"{WEB}:1"],
        f"  {WEB}:1\n": [f"{WEB}:1"],
        f"{WEB}@{DIGEST}": [f"{WEB}@{DIGEST}"],
        f"{WEB}:1@{DIGEST}": [f"{WEB}:1@{DIGEST}"],
        f"docker://{WEB}:1": [f"{WEB}:1"],
        f"docker-pullable://{WEB}@{DIGEST}": [f"{WEB}@{DIGEST}"],
        f"--image={WEB}:1": [f"{WEB}:1"],
        f"-{WEB}:1": [f"{WEB}:1"],
        f"a={WEB}:1,b={WEB}:2;{WEB}": [f"{WEB}:1", f"{WEB}:2", f"{WEB}:latest"],
        f'{{"image":"{WEB}:1"}}': [f"{WEB}:1"],
        f"['{WEB}:1']": [f"{WEB}:1"],
        f"`{WEB}:1`": [f"{WEB}:1"],
        f"<code>{WEB}:1</code>": [f"{WEB}:1"],
        f"<code>{WEB}</code>": [f"{WEB}:latest"],
        f"({WEB}:1)": [f"{WEB}:1"],
        f"{WEB}:1|{WEB}:2": [f"{WEB}:1", f"{WEB}:2"],
        f"line\\n{WEB}:1\\nline": [f"{WEB}:1"],
        f"{WEB}:1".replace("/", "\\/"): [f"{WEB}:1"],
        f"image={WEB}:1".replace("/", "%2F").replace(":", "%3A"): [f"{WEB}:1"],
        # A full stop may be the tag's own.
        f"Use {WEB}:1.0. Or not.": [f"{WEB}:1.0.", f"{WEB}:1.0"],
        f"Use {WEB}.": [f"{WEB}:latest"],
        # Every name of ours.
        "CONTOSO.AzureCR.io/shop/web:1": [f"{WEB}:1"],
        f"{HOST}:443/shop/web:1": [f"{WEB}:1"],
        "contoso.westeurope.geo.azurecr.io/web:1": ["contoso.westeurope.geo.azurecr.io/web:1"],
        "images.contoso.example/web:1": ["images.contoso.example/web:1"],
        "mirror.example:5000/web:1": ["mirror.example:5000/web:1"],
        # URLs.
        f"https://{HOST}/shop/web:1": [f"{WEB}:1"],
        f"https://{HOST}/v2/shop/web/manifests/1": [f"{WEB}:1"],
        f"https://{HOST}/v2/shop/web/manifests/{DIGEST}": [f"{WEB}@{DIGEST}"],
        f"curl {HOST}/v2/shop/web/manifests/$TAG": [WEB],
        f"https://{HOST}/v2/shop/web/tags/list": [],
        # The image is unknown.
        f"{WEB}:": [WEB],
        f"{WEB}: x": [WEB],
        f"{WEB}@": [WEB],
        f"{WEB}:$(TAG)": [WEB],
        f"{WEB}:${{TAG}}": [WEB],
        f"{WEB}:$TAG": [WEB],
        f"{WEB}:{{{{ .tag }}}}": [WEB],
        f"{WEB}:<tag>": [WEB],
        f"{WEB}:%s": [WEB],
        f"{WEB}:#{{Build.Id}}#": [WEB],
        f"{WEB}:1.*": [WEB],
        f"{WEB}:*": [WEB],
        f"{WEB}:1.2-{{{{x}}}}": [WEB],
        f"{WEB}:1$(SUFFIX)": [WEB],
        f"{WEB}:1.[0-9]": [WEB],
        f"{WEB}:^1.2": [WEB],
        f"{WEB}:1\\.2": [WEB],
        f"{WEB}:{'x' * 129}": [WEB],
        f"{WEB}@sha256:12": [WEB],
        f"{WEB}:1@sha256:12": [WEB],
        f"{WEB}@{DIGEST}0": [WEB],
        f"{WEB}@{{{{ .digest }}}}": [WEB],
        # Other hosts.
        "mirror.example/web:1": [],
        "mirror.example:5001/web:1": [],
        f"x://not{HOST}/web:1": [],
        f"{HOST}./web:1": [],
        f"{HOST}/{'a/' * 130}b:1": [],
    }.items(),
)
def test_references_are_read_where_they_begin_and_end(text: str, references: list[str]) -> None:
    assert found(text) == references


def test_text_in_place_of_a_repository_is_returned() -> None:
    assert read_text(f"run {HOST}/{{{{ .app }}}}:1 now", OURS).unclear == (f"{HOST}/{{{{ .app }}}}:1",)
    assert read_text(f"{HOST}/*", OURS).unclear == ()


COMPONENT = st.from_regex(r"[a-z0-9]{1,6}(?:(?:\.|_|__|-{1,2})[a-z0-9]{1,4}){0,2}", fullmatch=True)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}[A-Za-z0-9]", fullmatch=True)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
HOSTS = st.sampled_from(
    [HOST, "CONTOSO.azurecr.io", f"{HOST}:443", "contoso.eastus.geo.azurecr.io", "mirror.example:5000"]
)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, ImageReference]:
    """A reference to our registry as people write it, and its meaning."""
    host = draw(HOSTS)
    repository = "/".join(draw(st.lists(COMPONENT, min_size=1, max_size=4)))
    tag = draw(st.none() | TAG)
    digest = draw(st.none() | HEX.map(lambda text: Digest(f"sha256:{text}")))
    text = f"{host}/{repository}{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}"
    meant = ImageReference(host.lower().removesuffix(":443"), repository, tag or (None if digest else "latest"), digest)
    return text, meant


BEFORE = st.sampled_from(
    ["", " ", "\n", '"', "'", "=", ",", "(", "[", "{", "docker://", "oci://", "\t", "é ", ";", "`", ">", "--i "]
)
AFTER = st.sampled_from(["", " ", "\n", '"', "'", ",", ")", "]", "}", ";", "`", "|", "&", "\\n", "</b>"])


@given(written(), BEFORE, AFTER, st.text(max_size=30), st.text(max_size=30))
def test_a_whole_reference_is_found_in_any_text(
    reference: tuple[str, ImageReference], before: str, after: str, head: str, tail: str
) -> None:
    text, meant = reference
    assert meant in [mention.reference for mention in read_text(f"{before}{text}{after}", REGISTRY).mentions]
    around = f"{head} {before}{text}{after} {tail}"
    assert meant in [mention.reference for mention in read_text(around, REGISTRY).mentions]
    inside = contents({"a": [around, {"b": f"x: 1\n{around}"}]}, REGISTRY)
    assert meant in [each.reference for each in inside.found]


@given(
    written(),
    st.sampled_from(
        ["not", "x.", "x-", "1", "a_", "evil.example/", "https://evil.example/", "evil.example/a_", "someone@"]
    ),
)
def test_a_longer_host_or_path_is_never_ours(reference: tuple[str, ImageReference], before: str) -> None:
    text, meant = reference
    assert found(f"{before}{text}") == []
    host, _, rest = text.partition("/")
    assert meant.repository in rest
    assert found(f"{host.removesuffix(':443').removesuffix(':5000')}.evil.example/{rest}") == []


PIECES = st.sampled_from(
    [*"ab/.:@-_{}$ \n\\%*<>'\"", HOST, "sha256:", "v2/", "/manifests/", "tag: ", "image: ", "&a ", "*a"]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_read_without_complaint(text: str) -> None:
    for mention in read_text(text, OURS).mentions:
        assert OURS.owns(mention.reference.host)
        assert mention.reference.repository
    contents(text, OURS)


HOSTILE = {
    "hosts": f"{HOST}/" * 50_000,
    "path": f"{HOST}/" + "a/" * 500_000,
    "components": f"{HOST}/a_" * 50_000,
    "separators": f"{HOST}/a" + "-" * 1_000_000,
    "tag": f"{HOST}/a:" + "x" * 1_000_000,
    "digests": f"{HOST}/a@sha256:{'0' * 63} " * 10_000,
    "templates": f"{HOST}/a:" + "{{" * 500_000,
    "manifests": (f"{HOST}/v2/" + "a/" * 200) * 2_000,
    "near": "contoso.azurecr." * 60_000 + f"{HOST}/a:1",
    "before": "-" * 1_000_000 + f"{HOST}/a:1",
    "backslashes": "\\" * 1_000_000 + f"/{HOST}/a:1",
    "lists": "[" * 500_000 + f"{HOST}/a:1",
    "dashes": "- " * 300_000 + f"{HOST}/a:1",
    "mappings": "{a: " * 200_000 + f"{HOST}/a:1",
    "keys": "? " * 300_000 + f"{HOST}/a:1",
    "lines": f"{HOST}/a:1\n" + "x=1\n" * 100_000,
    "one line": f"a={HOST}/a:1\nb=" + " " * 1_000_000 + "x",
    "aliases": f"a: &a0 [{HOST}/a:1]\n" + "".join(f"b{n}: &a{n} [*a{n - 1},*a{n - 1}]\n" for n in range(1, 2000)),
    "registries": f"a: &a0 [{HOST}/a:1]\n"
    + "".join(f"b{n}: &a{n} [*a{n - 1}, {{hub: {HOST}/h{n}, x: *a{n - 1}}}]\n" for n in range(1, 40)),
    "pairs": f"repository: {HOST}/a\ntag: 1\n" * 5_000,
}


@pytest.mark.extended
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    """Anything that grows faster than the text takes minutes here; the bound is that of no machine."""
    begun = time.process_time()
    contents({"data": text}, OURS)
    assert time.process_time() - begun < 30


def test_numbers_in_documents_remain_text() -> None:
    assert documents("tag: 1.10\n") == [{"tag": "1.10"}]
    assert documents('{"tag": 1.10, "x": 0x1}') != []
    assert documents('{"tag": 1.10}') == [{"tag": "1.10"}]


def test_text_before_a_mistake_counts() -> None:
    assert documents("a: 1\n---\nb: [\n")[0] == {"a": "1"}


def test_the_examples_in_the_documentation_are_true() -> None:
    results = doctest.testmod(acr_cleanup.clusters.images.free_text)
    assert results.attempted > 0
    assert results.failed == 0
