"""Helm releases that cannot be decoded, and hostile ones."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.clusters.images import helm_history as helm
from acr_cleanup.emulator.kubernetes.objects import helm_release
from tests.clusters.images.test_helm_history import (
    HOST,
    Untouchable,
    blockers,
    findings,
    manifest,
    plain,
    release,
    used,
    with_data,
    with_json,
    with_raw,
)


def test_a_label_alone_makes_no_release() -> None:
    """Helm rolls back by name: a Secret of another name with the label `owner: helm` is not Helm's."""
    secret = {**release(1, "a:1"), "type": "Opaque", "data": Untouchable()}
    secret["metadata"]["name"] = "database-password"
    assert (used(findings(secret)), blockers(findings(secret))) == (set(), "")


@pytest.mark.parametrize("change", [{"type": "Opaque"}, {"metadata": {"name": "sh.helm.release.v1.web.v3"}}])
def test_type_or_label_tells_that_a_secret_is_helms(change: dict[str, Any]) -> None:
    assert used(findings({**release(3, "a:1"), **change})) == {"a:1"}


# Revisions that cannot be decoded

BOMB = gzip.compress(b"[" + b" " * 100 * 1024**2 + b"]")
UNDECODABLE = [
    pytest.param({**release(3), "data": None}, "is missing", id="no-data"),
    pytest.param({**release(3), "data": ["release"]}, "is missing", id="data-is-a-list"),
    pytest.param({**release(3), "data": {"other": "x"}}, "is missing", id="no-release"),
    pytest.param(with_data(None), "is missing", id="null"),
    pytest.param(with_data(7), "is a int", id="number"),
    pytest.param(with_data(""), "not the JSON", id="empty"),
    pytest.param(with_data("~~~"), "not base64", id="no-base64"),
    pytest.param(with_data("ä"), "not base64", id="no-ascii"),
    pytest.param(with_data("\ud800"), "not base64", id="no-text"),
    pytest.param(with_data(base64.b64encode(b"~~~").decode()), "not base64", id="base64-once"),
    pytest.param(with_raw(b"no release"), "not the JSON", id="no-gzip-no-json"),
    pytest.param(with_raw(gzip.compress(b"{}")[:3]), "not the JSON", id="magic-alone"),
    pytest.param(with_raw(gzip.compress(json.dumps(plain()).encode())[:-9]), "cut short", id="truncated-gzip"),
    pytest.param(with_raw(gzip.compress(json.dumps(plain()).encode())[:-4]), "cut short", id="truncated-checksum"),
    pytest.param(with_raw(gzip.compress(json.dumps(plain()).encode()) + b"junk"), "incorrect header", id="junk-after"),
    pytest.param(with_raw(gzip.compress(b"{}")[:-8] + b"\0" * 8), "incorrect data check", id="wrong-checksum"),
    pytest.param(with_raw(BOMB), "more than 64 MiB", id="bomb"),
    pytest.param(with_raw(gzip.compress(b" " * 40 * 1024**2) * 2), "more than 64 MiB", id="bomb-in-two-members"),
    pytest.param(with_raw(gzip.compress(b'{"name": "web"')), "not the JSON", id="truncated-json"),
    pytest.param(with_raw(gzip.compress(b'{"name": "\xff"}')), "not the JSON", id="no-utf-8"),
    pytest.param(with_raw(gzip.compress(b'{"config":' + b'{"a":' * 100_000)), "not the JSON", id="deep-json"),
    pytest.param(with_json(plain(manifest="\ud800")), "not the JSON", id="lone-surrogate"),
    pytest.param(with_json([]), "Expected `object`", id="json-list"),
    pytest.param(with_json(None), "Expected `object`", id="json-null"),
    pytest.param(with_json({}), "missing required field", id="empty-object"),
    pytest.param(with_json({"name": "web", "manifest": "a: 1"}), "missing required field `chart`", id="no-chart"),
    pytest.param(with_json({"chart": {}, "manifest": "a: 1"}), "missing required field `name`", id="no-name"),
    pytest.param(with_json(plain(manifest=None)), "$.manifest", id="null-manifest"),
    pytest.param(with_json(plain(manifest=["a"])), "$.manifest", id="manifest-is-a-list"),
    pytest.param(with_json(plain(hooks={"a": 1})), "$.hooks", id="hooks-are-an-object"),
    pytest.param(with_json(plain(hooks=["text"])), "$.hooks[0]", id="hook-is-text"),
    pytest.param(with_json(plain(hooks=[{"manifest": 1}])), "$.hooks[0].manifest", id="hook-manifest-is-a-number"),
    pytest.param(with_json(plain(chart=None)), "$.chart", id="null-chart"),
    pytest.param(with_json(plain(chart={"values": [1]})), "$.chart.values", id="values-are-a-list"),
    pytest.param(with_json(plain(config="x")), "$.config", id="config-is-text"),
]


@pytest.mark.parametrize(("secret", "seen"), UNDECODABLE)
def test_what_cannot_be_decoded_is_a_blocker(secret: dict[str, Any], seen: str) -> None:
    """It names the object, what was seen and what to do, and can be waived; the other revisions are read all the same."""
    found = findings(secret, release(2, "a:2"))
    (blocker,) = found.blockers
    assert blocker.where == "production"
    assert blocker.kind == "secrets"
    assert blocker.call == "reading secrets shop/sh.helm.release.v1.web.v3"
    assert seen in blocker.seen
    rollback = "Which images a rollback to revision 3 of the Helm release 'web' would start cannot be told."
    assert blocker.seen.endswith(f" {rollback}")
    assert blocker.remedy.startswith(
        "If you will not roll back to it, delete that object. Otherwise restore it, or set helm-history to fewer revisions."
    )
    assert used(found) == {"a:2"}


def test_a_configmap_that_cannot_be_decoded_is_named_as_one() -> None:
    stored = helm_release("shop", "web", 3, "", kind="ConfigMap") | {"data": {"release": "H4sI"}}
    (blocker,) = findings(stored).blockers
    assert blocker.kind == "configmaps"
    assert "configmaps shop/sh.helm.release.v1.web.v3" in blocker.call


def test_what_no_longer_counts_does_not_block() -> None:
    assert blockers(findings(with_data("~~~"), release(4), release(5), revisions=2)) == ""


@pytest.mark.extended
def test_a_bomb_is_never_unpacked_beyond_the_limit() -> None:
    """A quarter of a gigabyte of zeros takes about 64 MiB of memory."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(b"\0" * 1024**2) for _ in range(256)) + packer.flush()
    secret = with_raw(packed)
    tracemalloc.start()
    try:
        assert "more than 64 MiB" in blockers(findings(secret))
        assert tracemalloc.get_traced_memory()[1] < 2.5 * helm.MOST_BYTES
    finally:
        tracemalloc.stop()


def test_foreign_names_are_quoted_on_one_line() -> None:
    secret = with_data("~~~")
    secret["metadata"]["name"] = "sh.helm.release.v1.we\n::error::b\x1b[31m.v3"
    text = blockers(findings(secret))
    assert "\n" not in text
    assert "\x1b" not in text


def test_what_a_release_says_is_never_quoted() -> None:
    """Values hold passwords."""
    for value in (plain(config="hunter2"), plain(manifest=f'x: "{HOST}/ hunter2\n y: {{')):
        assert "hunter2" not in blockers(findings(with_json(value)))


# YAML with unusual features

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"image: {HOST}/shop/web:1\n\tb: 1\n", id="tab"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: \x00\n", id="control-character"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: " + "[" * 100_000, id="deep-unclosed"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: {'[' * 5000}{']' * 5000}\n", id="deep"),
        pytest.param(f"image: {HOST}/shop/web:1\n{LAUGHS}", id="billion-laughs"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: &b [*b]\n", id="endless-alias"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: *nobody\n", id="unknown-alias"),
        pytest.param(f"image: {HOST}/shop/web:1\n? [a, b]\n: c\n", id="list-as-key"),
        pytest.param(f"image: {HOST}/shop/web:1\na: &a [1]\n*a : c\n", id="list-as-key-by-alias"),
        pytest.param(f"spec: {{repository: {HOST}/shop/web, tag: 1\n", id="split-pair"),
    ],
)
def test_a_document_that_is_no_plain_yaml_is_read_as_text(text: str) -> None:
    """Its images are kept. Its neighbours are read as always."""
    found = findings(release(3, manifest=f"{text}\n---\nimage: {HOST}/shop/api:1\n"))
    assert {"shop/web:1", "shop/api:1"} <= used(found)
    assert not {"shop/api", "shop/web"} & used(found)
    assert blockers(found) == ""


def test_a_document_that_names_us_and_no_image_that_can_be_read_is_a_blocker() -> None:
    """Registry and repository stand apart, in text that no one can parse: a silent hole otherwise."""
    found = findings(release(3, "a:1", manifest=f"image: {{x: {HOST}, y: [shop/gone, 1\n"))
    (blocker,) = found.blockers
    assert (blocker.kind, "names our registry" in blocker.seen) == ("secrets", True)
    rest = f"a: [{HOST}\n---\nimage: {HOST}/shop/web:1\n"
    assert used(findings(release(3, manifest=rest, hooks=[manifest(f"{HOST}/b:1")]))) == {"shop/web:1", "b:1"}
    assert blockers(findings(release(3, manifest="registry: example.com\ntag: {\n"))) == ""


def test_values_nested_without_end_are_a_blocker() -> None:
    """The depth that JSON may have, a walk may not."""
    deep: Any = f"{HOST}/shop/web:1"
    for _ in range(900):
        deep = {"a": deep}
    found = findings(with_json(plain(config=deep)))
    assert "shop/web:1" in used(found)
    assert not found.blockers or "nested too deeply" in blockers(found)


# Anything at all

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from(["name", "chart", "manifest", "hooks", "config", "values", "version", "namespace"])


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_and_never_pass(raw: bytes) -> None:
    for secret in (with_raw(raw), with_raw(helm._GZIP + raw), with_raw(gzip.compress(raw))):
        assert len(findings(secret).blockers) == 1


@given(st.text() | ANYTHING)
def test_random_data_never_raises_and_never_passes(data: object) -> None:
    assert len(findings(with_data(data)).blockers) == 1


@pytest.mark.extended
@given(st.dictionaries(KEYS, ANYTHING | st.dictionaries(KEYS, ANYTHING) | st.lists(st.dictionaries(KEYS, ANYTHING))))
def test_random_releases_never_raise(value: dict[str, Any]) -> None:
    findings(with_json(value))


@given(st.text() | st.text("&*a[]{}<:-?|>'\"\\#\n ", max_size=60))
def test_random_manifests_never_raise_and_hide_no_neighbour(text: str) -> None:
    found = findings(release(3, manifest=f"{text}\n---\nimage: {HOST}/shop/api:1\n"))
    assert "shop/api:1" in used(found)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_random_objects_never_raise(metadata: object, labels: object, data: object) -> None:
    for more in ({"metadata": metadata}, {"metadata": {"labels": labels, "name": metadata, "namespace": labels}}):
        findings({**release(3), **more, "data": data})


@given(st.data())
def test_every_damage_to_a_real_release_is_seen(data: st.DataObject) -> None:
    """A flipped bit or a cut anywhere in the packed release is a blocker, or changes nothing."""
    raw = gzip.compress(json.dumps(plain()).encode(), mtime=0)
    at = data.draw(st.integers(0, len(raw) - 1))
    damaged = (
        raw[:at]
        if data.draw(st.booleans())
        else raw[:at] + bytes([raw[at] ^ 1 << data.draw(st.integers(0, 7))]) + raw[at + 1 :]
    )
    found = findings(with_raw(damaged))
    assert bool(found.blockers) != (used(found) == {"shop/web:1"})
