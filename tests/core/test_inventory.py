"""The graph of one repository: its edges, and which manifests must be read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from msgspec import structs

from acr_cleanup.core.inventory import Lock, LockState, Manifest, RepositoryInventory, Tag
from tests.helpers.drawn_inventories import inventories
from tests.helpers.generated_inventories import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    OCI_CONFIG,
    OCI_IMAGE,
    OCI_INDEX,
    d,
    image,
    index,
    inventory,
    referrer,
    signature_of,
    tag,
)

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
ORAS = "application/vnd.cncf.oras.artifact.manifest.v1+json"
V1 = "application/vnd.docker.distribution.manifest.v1+json"
SIGNED_V1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
STRANGE = "application/vnd.example.future+json"


# -- one manifest ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "is_index", "understood", "has_no_edges"),
    [
        (OCI_INDEX, True, True, False),
        (DOCKER_LIST, True, True, False),
        (DOCKER_IMAGE, False, True, True),
        (V1, False, True, True),
        (SIGNED_V1, False, True, True),
        (OCI_IMAGE, False, True, False),
        (ARTIFACT, False, True, False),
        (ORAS, False, True, False),
        (STRANGE, False, False, False),
        ("", False, False, False),
    ],
)
def test_media_type_tells_which_edges_are_possible(
    media_type: str, is_index: bool, understood: bool, has_no_edges: bool
) -> None:
    manifest = Manifest(d("a"), media_type)

    assert (manifest.is_index, manifest.is_understood, manifest.has_no_edges) == (is_index, understood, has_no_edges)
    assert manifest.is_image is has_no_edges, "without more than its media type"


@pytest.mark.parametrize(
    ("config", "platform", "proven"),
    [
        (OCI_CONFIG, "", True),
        (DOCKER_CONFIG, "", True),
        ("", "linux/amd64", True),
        ("application/vnd.oci.empty.v1+json", "", False),
        ("", "", False),
    ],
)
def test_oci_manifest_is_an_image_if_it_can_run(config: str, platform: str, proven: bool) -> None:
    assert Manifest(d("a"), OCI_IMAGE, config, platform).is_image is proven
    assert not Manifest(d("a"), STRANGE, config, platform).is_image
    assert not Manifest(d("a"), OCI_INDEX, config, platform).is_image


@pytest.mark.parametrize(("delete", "write"), [(True, False), (False, True), (False, False)])
def test_lock_has_the_attributes_to_restore(delete: bool, write: bool) -> None:
    locked = Tag("1.0", d("a"), None, LockState(True, delete, write))
    manifest = Manifest(d("a"), locked=True, delete_enabled=delete, write_enabled=write)

    assert locked.lock == Lock("1.0", delete, write)
    assert manifest.lock == Lock(None, delete, write)
    assert tag("1.0", "a").lock is None
    assert image("a").lock is None
    assert Tag("1.0", d("a"), None).lock is Manifest(d("a")).lock is None


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("sha256-" + "a" * 64, True),
        ("sha256-" + "a" * 64 + ".sig", True),
        ("sha256-" + "a" * 64 + ".att.2", True),
        ("prod-sha256-" + "a" * 64 + ".sbom", True),
        ("prod-sha256-" + "a" * 64, False),
        ("prod-sha256-" + "a" * 64 + ".txt", False),
        ("sha256-" + "a" * 64 + ".", False),
        ("sha256-" + "a" * 64 + "x", False),
        ("sha256-" + "a" * 63, False),
        ("sha256-" + "A" * 64, False),
        ("xsha256-" + "a" * 64, False),
        ("1.0", False),
    ],
)
def test_tag_named_after_a_digest_has_it_as_subject(name: str, subject: bool) -> None:
    assert tag(name, "b").subject == ("sha256:" + "a" * 64 if subject else None)


# -- edges -----------------------------------------------------------------------------------------


def test_edges_can_be_followed_in_both_directions() -> None:
    repository = inventory(
        [tag("2", "i"), tag("1", "i"), tag("x", "x"), tag(f"sha256-{d('x')[7:]}.sig", "s")],
        [index("i", ["x", "y"]), index("j", ["x"]), image("x"), image("y"), referrer("r", "x"), referrer("q", "x")],
    )

    assert {digest: [tag.name for tag in tags] for digest, tags in repository.tags_of.items()} == {
        d("i"): ["2", "1"],
        d("x"): ["x"],
        d("s"): [f"sha256-{d('x')[7:]}.sig"],
    }
    assert repository.parents_of == {d("x"): (d("i"), d("j")), d("y"): (d("i"),)}
    assert repository.referrers_of == {d("x"): (d("r"), d("q"))}
    assert {digest: [tag.digest for tag in tags] for digest, tags in repository.signers_of.items()} == {
        d("x"): [d("s")]
    }
    assert repository.names == {"1", "2", "x", f"sha256-{d('x')[7:]}.sig"}


@given(inventories())
def test_digests_in_whose_family_one_is(repository: RepositoryInventory) -> None:
    """An index has its subject in its family, and the subject does not have the index in its own."""
    digests = {*repository.manifests, d("nowhere")}
    for digest in digests:
        assert repository.in_whose_family(digest) & digests == {
            other for other in digests if digest in repository.family(other)
        }


def test_family_is_all_indexes_above_and_their_children() -> None:
    repository = inventory(
        [],
        [index("top", ["i", "z"]), index("i", ["x", "y"]), index("other", ["o"])]
        + [image(digest) for digest in ("x", "y", "z", "o")],
    )
    whole = {d(digest) for digest in ("top", "i", "x", "y", "z")}

    assert repository.ancestors(d("x")) == {d("i"), d("top")}
    assert repository.ancestors(d("top")) == frozenset()
    assert all(repository.family(digest) == whole for digest in whole)
    assert repository.families([d("z"), d("o")]) == whole | {d("other"), d("o")}
    assert repository.family(d("nowhere")) == {d("nowhere")}


# -- what must be read -----------------------------------------------------------------------------

BARE = Manifest(d("r"), OCI_IMAGE)
"""An OCI manifest that runs nowhere, as listed: it may have a subject."""


def test_indexes_and_unknown_media_types_must_be_read() -> None:
    for media_type in (OCI_INDEX, DOCKER_LIST, STRANGE, ARTIFACT, ORAS, ""):
        assert inventory([], [Manifest(d("a"), media_type)]).unread == (d("a"),)
    for proven in (image("a"), Manifest(d("a"), DOCKER_IMAGE), Manifest(d("a"), OCI_IMAGE, OCI_CONFIG)):
        assert inventory([tag("1.0", "a")], [proven]).unread == ()
    assert inventory([], [index("a", [])]).unread == ()


def held_by(**how: RepositoryInventory) -> dict[str, RepositoryInventory]:
    return how


@pytest.mark.parametrize(
    "held",
    held_by(
        tag=inventory([tag("1.0", "r")], [BARE]),
        lock=inventory([], [structs.replace(BARE, locked=True)]),
        use=inventory([], [BARE]).used_by([d("r")]),
        index=inventory([], [BARE, index("i", ["r"])]),
        referrer=inventory([], [BARE, referrer("s", "r")]),
        signature=inventory([tag(signature_of("r"), "x")], [BARE, image("x")]),
    ).items(),
    ids=lambda state: state[0],
)
def test_artifact_must_be_read_if_something_may_keep_it(held: tuple[str, RepositoryInventory]) -> None:
    """Otherwise it is read only if a manifest that is deleted may be its subject."""
    assert held[1].unread == (d("r"),)
    assert held[1].unknown == {d("r")}
    assert inventory([], [BARE, image("a")]).unread == ()
    assert inventory([], [structs.replace(BARE, known=True)]).used_by([d("r")]).unread == ()


def test_candidates_that_may_have_a_subject_are_read_last() -> None:
    listed, plain, oci = Manifest(d("x"), OCI_IMAGE, OCI_CONFIG), Manifest(d("p"), DOCKER_IMAGE), BARE
    oci_too = Manifest(d("q"), OCI_IMAGE, OCI_CONFIG)
    old_digests = frozenset({d("x"), d("p"), d("q"), d("r"), d("nowhere")})
    listed_repository = inventory([], [index("i", ["x"]), listed, plain, oci, oci_too])

    repository = replace(listed_repository, candidates=old_digests)
    assert repository.unread == tuple(sorted([d("q"), d("r")]))
    assert repository.unknown == frozenset()
    assert replace(
        repository, manifests={**listed_repository.manifests, d("q"): structs.replace(oci_too, known=True)}
    ).unread == (d("r"),)
    first = replace(
        listed_repository,
        candidates=old_digests,
        manifests={**listed_repository.manifests, d("i"): Manifest(d("i"), OCI_INDEX)},
    )
    assert first.unread == (d("i"),)


def test_unlisted_tagged_manifest_is_unknown() -> None:
    repository = inventory([tag("1", "b"), tag("2", "a"), tag("3", "c")], [image("c"), Manifest(d("i"), OCI_INDEX)])

    assert repository.unread == (d("i"), d("a"), d("b"))
    assert repository.unknown == {d("i"), d("a"), d("b")}


def test_read_manifests_and_uses_replace_listed_ones() -> None:
    listed_repository = inventory([tag("1.0", "i")], [Manifest(d("i"), OCI_INDEX), image("x")])

    repository = listed_repository.with_edges([index("i", ["x"])])
    assert repository.manifests == {d("i"): index("i", ["x"]), d("x"): image("x")}
    assert (repository.name, repository.tags) == (listed_repository.name, listed_repository.tags)
    used = repository.used_by([d("x")], ["9.9"])
    assert used == replace(repository, used=frozenset({d("x")}), used_tags=frozenset({"9.9"}))
    assert repository.used_by([]).used_tags == frozenset()


def test_inventory_without_manifests_keeps_their_tags() -> None:
    repository = inventory([tag("1.0", "a"), tag("2.0", "b")], [image("a"), image("b")])

    assert repository.without(()) is repository
    less = repository.without({d("a")})
    assert set(less.manifests) == {d("b")}
    assert less.tags == repository.tags


def test_inventory_takes_tags_as_they_are_now() -> None:
    repository = inventory([tag("moved", "a"), tag("gone", "a"), tag("same", "a")], [image("a"), image("b")])

    now = repository.with_tags({"moved": tag("moved", "b"), "gone": None})

    assert [(entry.name, entry.digest) for entry in now.tags] == [("moved", d("b")), ("same", d("a"))]
    assert repository.with_tags({}) is repository


def test_names_source_is_shared_by_the_same_names_only() -> None:
    """Mentions that were looked up for other names would be stale."""
    repository = inventory([tag("1", "a")], [image("a"), image("b")])
    source = repository.names_source
    assert repository.marked(locked=True).names_source is source
    assert repository.with_edges([image("a")]).names_source is source
    assert repository.with_edges([image("a"), image("b")]).names_source is source
    assert repository.with_edges([image("c")]).names_source is not source
    assert repository.without([d("b")]).names_source is not source
    assert replace(repository, tags=()).names_source is not source
    assert repository.with_edges([index("b", ["a"])]).names_source is source
    assert repository.with_edges([index("b", ["unlisted"])]).names_source is not source


def test_listed_names_contain_children_that_no_list_shows() -> None:
    """An object that mentions such a child must keep the tags of its index."""
    repository = inventory([tag("1", "i"), tag("2", "untold")], [index("i", ["a", "unlisted"]), image("a")])

    assert set(repository.listed_names.digests) == {d("i"), d("a"), d("unlisted"), d("untold")}
