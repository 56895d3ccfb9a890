"""Bodies that earlier runs read: what is remembered, and how little of it."""

from __future__ import annotations

import pytest
from msgspec import structs
from msgspec.structs import replace

from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.known_bodies import BodyMemory, KnownBody, prefix_of
from acr_cleanup.core.references import Digest
from tests.helpers.generated_inventories import OCI_CONFIG, OCI_IMAGE, d, image, index, referrer

LISTED = structs.replace(image("a"), media_type=OCI_IMAGE, config_media_type=OCI_CONFIG, known=False)


def test_body_as_listed_is_remembered_as_the_beginning_of_its_digest() -> None:
    memory = BodyMemory()
    memory.note("shop/web", LISTED, replace(LISTED, known=True))
    bodies = memory.repositories["shop/web"]
    assert (bodies.full, bodies.new) == ({}, {prefix_of(LISTED.digest)})
    assert memory.recall("shop/web", LISTED) == replace(LISTED, known=True)
    assert memory.recall("shop/api", LISTED) is None, "another repository may have lost the content"
    assert memory.recall("shop/web", replace(LISTED, digest=Digest(f"sha256:{'b' * 64}"))) is None


@pytest.mark.parametrize(
    ("listed", "read", "known"),
    [
        (replace(LISTED, media_type=""), replace(LISTED, known=True), KnownBody(media_type=OCI_IMAGE)),
        (replace(LISTED, config_media_type=""), replace(LISTED, known=True), KnownBody(config_media_type=OCI_CONFIG)),
        (index("i", ["a"], known=False), index("i", ["a"]), KnownBody(children=(d("a"),))),
        (replace(LISTED, digest=d("r")), replace(referrer("r", "a"), config_media_type=OCI_CONFIG), KnownBody(subject=d("a"))),
    ],
    ids=["type", "configuration", "children", "subject"],
)  # fmt: skip
def test_body_with_more_than_the_listing_is_remembered_whole(
    listed: Manifest, read: Manifest, known: KnownBody
) -> None:
    memory = BodyMemory()
    memory.note("shop/web", listed, read)
    assert memory.repositories["shop/web"].full == {read.digest: known}
    recalled = memory.recall("shop/web", listed)
    assert recalled is not None
    assert (recalled.media_type, recalled.children, recalled.subject) == (read.media_type, read.children, read.subject)


def test_body_that_is_not_understood_is_not_remembered() -> None:
    memory = BodyMemory()
    memory.note("shop/web", LISTED, LISTED)
    memory.note("shop/web", LISTED, replace(LISTED, known=True, put_aside=True))
    assert memory.repositories == {}
    memory.note("shop/web", LISTED, replace(LISTED, known=True))
    assert memory.recall("shop/web", replace(LISTED, put_aside=True)) is None
