"""Damaged answers of the registry: malformed, or read as the value that keeps more."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.references import Digest, parse_digest
from acr_cleanup.registry import bodies, wire
from acr_cleanup.reports import words
from tests.helpers.damaged_documents import as_json, bounded_time, damaged, damaged_bytes, fuzz_test
from tests.helpers.sample_results import NOW

pytestmark = pytest.mark.untraced

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
ATTRIBUTES = {"deleteEnabled": False, "writeEnabled": True, "listEnabled": True, "readEnabled": True}
TAG = {
    "name": "1.0",
    "digest": ONE,
    "createdTime": "2021-05-11T21:17:46.0365677Z",
    "lastUpdateTime": "2021-05-13T16:00:26.9280451Z",
    "signed": False,
    "changeableAttributes": ATTRIBUTES,
}
MANIFEST = {
    "digest": ONE,
    "imageSize": 5325,
    "createdTime": "2021-05-11T21:17:46Z",
    "lastUpdateTime": "2021-05-13T16:00:26Z",
    "architecture": "amd64",
    "os": "linux",
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "configMediaType": "application/vnd.oci.image.config.v1+json",
    "tags": ["1.0", "2.0"],
    "changeableAttributes": ATTRIBUTES,
}
TAGS = {"registry": "contoso.azurecr.io", "imageName": "shop/web", "tags": [TAG, {**TAG, "name": "2.0", "digest": TWO}]}
MANIFESTS = {
    "registry": "contoso.azurecr.io",
    "imageName": "shop/web",
    "manifests": [MANIFEST, {**MANIFEST, "digest": TWO}],
}
REPOSITORY = {"imageName": "shop/web", "manifestCount": 2, "tagCount": 2, "changeableAttributes": ATTRIBUTES}
INDEX = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [{"digest": ONE, "size": 3, "platform": {"os": "linux"}}],
    "subject": {"digest": TWO, "size": 5},
    "annotations": {"a": "b"},
}
IMAGE = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "x", "digest": ONE, "size": 2},
    "layers": [
        {"digest": TWO, "size": 9, "mediaType": "y"},
        {"digest": ONE, "size": 1, "urls": ["https://elsewhere.example"]},
    ],
}


def check_tag(tag: Tag) -> None:
    """Can the tag be decided on and reported?"""
    assert parse_digest(tag.digest) == tag.digest
    if tag.updated_at is not None:
        words.timestamp(tag.updated_at)
        words.date(tag.updated_at)
        assert isinstance(NOW - tag.updated_at, timedelta)


def check_manifest(manifest: Manifest) -> None:
    """Can the manifest be decided on and reported?"""
    assert parse_digest(manifest.digest) == manifest.digest
    assert manifest.size >= 0
    words.size(manifest.size)
    if manifest.updated_at is not None:
        words.timestamp(manifest.updated_at)
    # A lock that could not be restored must not be reported as one that can be removed.
    assert manifest.locked or (manifest.delete_enabled and manifest.write_enabled)


def read_all(body: bytes) -> None:
    with bounded_time():
        for read in (wire.read_repositories, wire.read_tags, wire.read_tag, wire.read_manifests, wire.read_manifest):
            try:
                decoded = read(body)
            except wire.MalformedAnswer:
                continue
            for entry in decoded.values() if isinstance(decoded, dict) else [decoded]:
                if isinstance(entry, Tag):
                    check_tag(entry)
                elif isinstance(entry, wire.ListedManifest):
                    check_manifest(entry.manifest)
        try:
            attributes = wire.read_repository(body, "shop/web")
        except wire.MalformedAnswer:
            return
        assert isinstance(attributes.locked, bool)
        assert attributes.manifests >= 0


@fuzz_test
@given(
    st.sampled_from(
        [TAGS, MANIFESTS, REPOSITORY, {"tag": TAG}, {"manifest": MANIFEST}, {"repositories": ["a", "b/c"]}]
    ).flatmap(damaged)
)
def test_damaged_answer_is_usable_or_malformed(tree: Any) -> None:
    read_all(as_json(tree))


@fuzz_test
@given(st.sampled_from([TAGS, MANIFESTS, REPOSITORY]).flatmap(lambda tree: damaged_bytes(as_json(tree))))
def test_answer_with_damaged_bytes_is_usable_or_malformed(body: bytes) -> None:
    read_all(body)


@fuzz_test
@given(st.sampled_from([INDEX, IMAGE]).flatmap(damaged) | st.sampled_from([INDEX, IMAGE]))
def test_damaged_manifest_has_valid_edges_or_is_malformed(tree: Any) -> None:
    """Anyone who may push decides the content of a manifest. Its digest is correct nevertheless."""
    content = as_json(tree)
    digest = Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")
    with bounded_time():
        try:
            body = bodies.read_body(content, digest, "application/json")
        except wire.MalformedAnswer:
            return
        for relative in (*body.children, *filter(None, [body.subject])):
            assert parse_digest(relative) == relative
        if body.content is not None:
            assert all(size >= 0 for size in body.content.blobs.values())
            words.size(sum(body.content.blobs.values()))


@fuzz_test
@given(damaged_bytes(as_json(INDEX)))
def test_body_with_another_digest_is_malformed(body: bytes) -> None:
    undamaged = as_json(INDEX)
    digest = Digest(f"sha256:{hashlib.sha256(undamaged).hexdigest()}")
    try:
        bodies.read_body(body, digest, "")
    except wire.MalformedAnswer:
        return
    assert body == undamaged
