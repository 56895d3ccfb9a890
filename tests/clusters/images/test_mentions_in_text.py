"""Names of the registry in text that may be anything."""

from __future__ import annotations

import doctest
import importlib
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.pod_specs import Findings, uses_in_document
from acr_cleanup.core.references import Digest, ImageReference, RegistryHost
from acr_cleanup.core.workload import Workload
from tests.helpers.cluster_objects import DIGEST, kept, mentions_of

HOST = "contoso.azurecr.io"
WEB = f"{HOST}/shop/web"
REGISTRY = RegistryHost(HOST, frozenset({"images.contoso.example", "mirror.example:5000"}))
TAGS = ("1", "2", "1.0", "1.2", "latest", "old")
WORKLOAD = Workload("prod", "shop", "Thing", "x")
OPEN = "*"


def read(text: object, *repositories: str) -> Findings:
    return uses_in_document(text, WORKLOAD, "data", Names.of(REGISTRY, repositories))


@pytest.mark.parametrize(
    ("text", "stays"),
    {
        WEB: ["latest"],
        f"{WEB}:1": ["1"],
        f"  {WEB}:1\n": ["1"],
        f"{WEB}@{DIGEST}": [DIGEST],
        f"{WEB}:1@{DIGEST}": ["1", DIGEST],
        f"docker://{WEB}:1": ["1"],
        f"docker-pullable://{WEB}@{DIGEST}": [DIGEST],
        f"--image={WEB}:1": ["1"],
        f"-{WEB}:1": ["1"],
        f"a={WEB}:1,b={WEB}:2;{WEB}": ["1", "2"],
        f'{{"image":"{WEB}:1"}}': ["1"],
        f"['{WEB}:1']": ["1"],
        f"`{WEB}:1`": ["1"],
        f"<code>{WEB}:1</code>": ["1"],
        f"<code>{WEB}</code>": ["latest"],
        f"({WEB}:1)": ["1"],
        f"{WEB}:1|{WEB}:2": ["1", "2"],
        f"line\\n{WEB}:1\\nline": ["1"],
        f"{WEB}:1".replace("/", "\\/"): ["1"],
        f"image={WEB}:1".replace("/", "%2F").replace(":", "%3A"): ["1"],
        # A full stop may be the tag's own.
        f"Use {WEB}:1.0. Or not.": ["1.0"],
        f"Use {WEB}.": ["latest"],
        # Every name of ours.
        "CONTOSO.AzureCR.io/shop/web:1": ["1"],
        f"{HOST}:443/shop/web:1": ["1"],
        "contoso.westeurope.geo.azurecr.io/web:1": ["1"],
        "images.contoso.example/web:1": ["1"],
        "mirror.example:5000/web:1": ["1"],
        # URLs.
        f"https://{HOST}/shop/web:1": ["1"],
        f"https://{HOST}/v2/shop/web/manifests/1": ["1"],
        f"https://{HOST}/v2/shop/web/manifests/{DIGEST}": [DIGEST],
        f"curl {HOST}/v2/shop/web/manifests/$TAG": [OPEN],
        f"https://{HOST}/v2/shop/web/tags/list": [],
        # The image is unknown.
        f"{WEB}:": ["latest"],
        f"{WEB}: x": ["latest"],
        f"{WEB}@": ["latest"],
        f"{WEB}:$(TAG)": [OPEN],
        f"{WEB}:${{TAG}}": [OPEN],
        f"{WEB}:$TAG": [OPEN],
        f"{WEB}:{{{{ .tag }}}}": [OPEN],
        f"{WEB}:<tag>": [OPEN],
        f"{WEB}:%s": [OPEN],
        f"{WEB}:#{{Build.Id}}#": [OPEN],
        f"{WEB}:1.*": [OPEN],
        f"{WEB}:*": [],
        f"{WEB}:1.2-{{{{x}}}}": [OPEN],
        f"{WEB}:1$(SUFFIX)": [OPEN],
        f"{WEB}:1.[0-9]": [OPEN],
        f"{WEB}:^1.2": [OPEN],
        f"{WEB}:1\\.2": [OPEN],
        f"{WEB}:{'x' * 129}": [OPEN],
        f"{WEB}@sha256:12": [OPEN],
        f"{WEB}:1@sha256:12": [OPEN],
        f"{WEB}@{DIGEST}0": [OPEN],
        f"{WEB}@{{{{ .digest }}}}": [OPEN],
        # Other hosts: a webhook may replace them.
        "mirror.example/web:1": ["1"],
        "mirror.example:5001/web:1": ["1"],
        f"x://not{HOST}/web:1": ["1"],
        f"{HOST}./web:1": ["1"],
        f"{HOST}/{'a/' * 130}b:1": [],
    }.items(),
)
def test_name_is_read_where_it_begins_and_ends(text: str, stays: list[str]) -> None:
    found = read(text, "shop/web", "web")
    names = ("shop/web", "web")
    tags = {tag for name in names for tag in kept(found, name, *TAGS)}
    digests = {digest for name in names for digest in mentions_of(found, name, digests=[DIGEST]).by_digest}
    assert tags | digests == (set(TAGS) if OPEN in stays else set(stays))


@pytest.mark.parametrize("text", ["{{x}}:1", "shop/$APP", "shop/web-${X}:1", "<app>:1", "%s:1", "Shop/API:1"])
def test_template_of_a_repository_is_noted(text: str) -> None:
    found = read(f"run {HOST}/{text} now", "shop/web")
    (note,) = found.notes
    assert text in note


def test_pattern_of_a_repository_is_not_noted() -> None:
    assert read(f"{HOST}/*", "shop/web").notes == {}


COMPONENT = st.from_regex(r"[a-z0-9]{1,6}(?:(?:\.|_|__|-{1,2})[a-z0-9]{1,4}){0,2}", fullmatch=True)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}[A-Za-z0-9]", fullmatch=True)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
HOSTS = st.sampled_from(
    [HOST, "CONTOSO.azurecr.io", f"{HOST}:443", "contoso.eastus.geo.azurecr.io", "mirror.example:5000"]
)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, ImageReference]:
    """A reference to our registry in one spelling, and its meaning."""
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
def test_whole_reference_is_found_in_any_text(
    reference: tuple[str, ImageReference], before: str, after: str, head: str, tail: str
) -> None:
    text, meant = reference
    around = f"{head} {before}{text}{after} {tail}"
    for document in (f"{before}{text}{after}", around, {"a": [around, {"b": f"x: 1\n{around}"}]}):
        found = read(document, meant.repository)
        assert meant.tag is None or kept(found, meant.repository, meant.tag) == {meant.tag}
        assert meant.digest is None or meant.digest in found.digests


@given(written(), st.sampled_from(["zz/", "not-", "x.", "1", "a_", "zz/a_"]))
def test_longer_path_is_never_a_name(reference: tuple[str, ImageReference], before: str) -> None:
    text, meant = reference
    rest = text.partition("/")[2]
    first, slash, _ = f"{before}{rest}".partition("/")
    assume("." not in first or not slash)  # it would be a host, which a webhook may replace
    found = read(f"image: {before}{rest}", meant.repository)
    assert meant.tag is None or kept(found, meant.repository, meant.tag) == set()


PIECES = st.sampled_from(
    [*"ab/.:@-_{}$ \n\\%*<>'\"", HOST, "sha256:", "v2/", "/manifests/", "tag: ", "image: ", "&a ", "*a"]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_read_without_complaint(text: str) -> None:
    found = read(text, "a", "b/a", "v2/a")
    assert found.uses == {}
    assert found.blockers == {}


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


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_cost_of_hostile_text_is_linear_in_its_length(text: str) -> None:
    """Anything that grows faster than the text takes minutes here; the bound is that of no machine."""
    begun = time.process_time()
    found = read({"data": text}, "a", "b", *(f"h{number}" for number in range(40)))
    assert kept(found, "a", "1") in (set(), {"1"})
    assert time.process_time() - begun < 30


@pytest.mark.parametrize(
    "module", ["finder", "mention_index", "mentions", "names", "near", "object_texts", "unpack", "words"]
)
def test_examples_in_the_documentation_are_true(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"acr_cleanup.clusters.images.{module}")).failed == 0
