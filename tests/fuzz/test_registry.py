"""What the registry says: spoilt, a page is unreadable or says what keeps more; nothing of it can break a report."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.references import Digest, parse_digest
from acr_cleanup.registry import wire
from acr_cleanup.reports import words
from tests.helpers.sample_results import NOW
from tests.helpers.damaged_documents import dumped, law, prompt, spoilt, spoilt_bytes

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


def bearable(tag: Tag) -> None:
    """Whatever the registry says of it, it can be decided upon and told of."""
    assert parse_digest(tag.digest) == tag.digest
    if tag.updated_at is not None:
        words.timestamp(tag.updated_at)
        words.date(tag.updated_at)
        assert isinstance(NOW - tag.updated_at, timedelta)


def weighed(manifest: Manifest) -> None:
    assert parse_digest(manifest.digest) == manifest.digest
    assert manifest.size >= 0
    words.size(manifest.size)
    if manifest.updated_at is not None:
        words.timestamp(manifest.updated_at)
    # What locks and could not be put back is no lock that may be taken off.
    assert manifest.locked or (manifest.delete_enabled and manifest.write_enabled)


def read_all(body: bytes) -> None:
    with prompt():
        for read in (wire.read_repositories, wire.read_tags, wire.read_tag, wire.read_manifests, wire.read_manifest):
            try:
                found = read(body)
            except wire.MalformedAnswer:
                continue
            for each in found.values() if isinstance(found, dict) else [found]:
                if isinstance(each, Tag):
                    bearable(each)
                elif isinstance(each, wire.ListedManifest):
                    weighed(each.manifest)
        try:
            locked, count = wire.read_repository(body, "shop/web")
        except wire.MalformedAnswer:
            return
        assert isinstance(locked, bool)
        assert count >= 0


@law
@given(
    st.sampled_from(
        [TAGS, MANIFESTS, REPOSITORY, {"tag": TAG}, {"manifest": MANIFEST}, {"repositories": ["a", "b/c"]}]
    ).flatmap(spoilt)
)
def test_a_spoilt_answer_is_unreadable_or_can_be_worked_with(tree: Any) -> None:
    read_all(dumped(tree))


@law
@given(st.sampled_from([TAGS, MANIFESTS, REPOSITORY]).flatmap(lambda tree: spoilt_bytes(dumped(tree))))
def test_a_damaged_answer_is_unreadable_or_can_be_worked_with(body: bytes) -> None:
    read_all(body)


@law
@given(st.sampled_from([INDEX, IMAGE]).flatmap(spoilt) | st.sampled_from([INDEX, IMAGE]))
def test_a_manifest_of_any_content_has_edges_or_is_unreadable(tree: Any) -> None:
    """Whoever may push decides what is in it; its digest is right all the same."""
    body = dumped(tree)
    digest = Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")
    with prompt():
        try:
            edges = wire.read_body(body, digest, "application/json")
        except wire.MalformedAnswer:
            return
        for each in (*edges.children, *filter(None, [edges.subject])):
            assert parse_digest(each) == each
        if edges.content is not None:
            assert all(size >= 0 for size in edges.content.blobs.values())
            words.size(sum(edges.content.blobs.values()))


@law
@given(spoilt_bytes(dumped(INDEX)))
def test_a_body_that_is_not_its_digests_is_unreadable(body: bytes) -> None:
    whole = dumped(INDEX)
    digest = Digest(f"sha256:{hashlib.sha256(whole).hexdigest()}")
    try:
        wire.read_body(body, digest, "")
    except wire.MalformedAnswer:
        return
    assert body == whole
