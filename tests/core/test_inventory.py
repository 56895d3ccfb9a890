"""One repository as a graph: what must be read of it, and what hangs together with what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acr_cleanup.core.inventory import Lock, Manifest, RepositoryInventory, Tag
from tests.helpers.generated_inventories import (
    DOCKER_IMAGE,
    DOCKER_LIST,
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

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
ORAS = "application/vnd.cncf.oras.artifact.manifest.v1+json"
V1 = "application/vnd.docker.distribution.manifest.v1+json"
SIGNED_V1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
STRANGE = "application/vnd.example.future+json"


# -- one manifest ----------------------------------------------------------------------------------------------------


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
def test_a_media_type_says_which_edges_there_may_be(
    media_type: str, is_index: bool, understood: bool, has_no_edges: bool
) -> None:
    found = Manifest(d("a"), media_type)

    assert (found.is_index, found.is_understood, found.has_no_edges) == (is_index, understood, has_no_edges)
    assert found.is_image is has_no_edges, "without more than its media type"


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
def test_an_oci_manifest_is_an_image_where_it_runs_somewhere(config: str, platform: str, proven: bool) -> None:
    assert Manifest(d("a"), OCI_IMAGE, config, platform).is_image is proven
    assert not Manifest(d("a"), STRANGE, config, platform).is_image
    assert not Manifest(d("a"), OCI_INDEX, config, platform).is_image


@pytest.mark.parametrize(("delete", "write"), [(True, False), (False, True), (False, False)])
def test_a_lock_holds_the_attributes_that_are_to_be_put_back(delete: bool, write: bool) -> None:
    locked = Tag("1.0", d("a"), None, True, delete, write)
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
        ("sha256-" + "a" * 64 + ".", False),
        ("sha256-" + "a" * 64 + "x", False),
        ("sha256-" + "a" * 63, False),
        ("sha256-" + "A" * 64, False),
        ("xsha256-" + "a" * 64, False),
        ("1.0", False),
    ],
)
def test_a_tag_named_after_a_digest_belongs_to_it(name: str, subject: bool) -> None:
    assert tag(name, "b").subject == ("sha256:" + "a" * 64 if subject else None)


# -- edges -----------------------------------------------------------------------------------------------------------


def test_edges_are_told_in_both_directions() -> None:
    found = inventory(
        [tag("2", "i"), tag("1", "i"), tag("x", "x"), tag(f"sha256-{d('x')[7:]}.sig", "s")],
        [index("i", ["x", "y"]), index("j", ["x"]), image("x"), image("y"), referrer("r", "x"), referrer("q", "x")],
    )

    assert {digest: [each.name for each in tags] for digest, tags in found.tags_of.items()} == {
        d("i"): ["2", "1"],
        d("x"): ["x"],
        d("s"): [f"sha256-{d('x')[7:]}.sig"],
    }
    assert found.parents_of == {d("x"): (d("i"), d("j")), d("y"): (d("i"),)}
    assert found.referrers_of == {d("x"): (d("r"), d("q"))}
    assert {digest: [each.digest for each in tags] for digest, tags in found.signers_of.items()} == {d("x"): [d("s")]}
    assert found.names == {"1", "2", "x", f"sha256-{d('x')[7:]}.sig"}


def test_a_family_is_every_index_above_and_everything_below_those() -> None:
    found = inventory(
        [],
        [index("top", ["i", "z"]), index("i", ["x", "y"]), index("other", ["o"])]
        + [image(each) for each in ("x", "y", "z", "o")],
    )
    whole = {d(each) for each in ("top", "i", "x", "y", "z")}

    assert found.ancestors(d("x")) == {d("i"), d("top")}
    assert found.ancestors(d("top")) == frozenset()
    assert all(found.family(each) == whole for each in whole)
    assert found.families([d("z"), d("o")]) == whole | {d("other"), d("o")}
    assert found.family(d("nowhere")) == {d("nowhere")}


# -- what must be read -----------------------------------------------------------------------------------------------

BARE = Manifest(d("r"), OCI_IMAGE)
"""An OCI manifest that runs nowhere, as listed: it may have a subject."""


def test_an_index_and_what_nobody_knows_must_be_read_whatever_it_is_for() -> None:
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
        lock=inventory([], [replace(BARE, locked=True)]),
        use=inventory([], [BARE]).used_by([d("r")]),
        index=inventory([], [BARE, index("i", ["r"])]),
        referrer=inventory([], [BARE, referrer("s", "r")]),
        signature=inventory([tag(signature_of("r"), "x")], [BARE, image("x")]),
        backup=replace(inventory([], [BARE]), all_referrers=True),
    ).items(),
    ids=lambda each: each[0],
)
def test_an_artifact_must_be_read_where_anything_could_hold_it(held: tuple[str, RepositoryInventory]) -> None:
    """Otherwise the registry removes it together with what it is attached to, and nobody needs to know."""
    assert held[1].unread == (d("r"),)
    assert held[1].unknown == {d("r")}
    assert inventory([], [BARE, image("a")]).unread == ()
    assert inventory([], [replace(BARE, known=True)]).used_by([d("r")]).unread == ()


def test_candidates_are_read_last_and_only_where_they_could_be_attached_to_something() -> None:
    listed, plain, oci = Manifest(d("x"), OCI_IMAGE, OCI_CONFIG), Manifest(d("p"), DOCKER_IMAGE), BARE
    oci_too = Manifest(d("q"), OCI_IMAGE, OCI_CONFIG)
    going = frozenset({d("x"), d("p"), d("q"), d("r"), d("nowhere")})
    world = inventory([], [index("i", ["x"]), listed, plain, oci, oci_too])

    found = replace(world, candidates=going)
    assert found.unread == tuple(sorted([d("q"), d("r")]))
    assert found.unknown == frozenset()
    assert replace(found, manifests={**world.manifests, d("q"): replace(oci_too, known=True)}).unread == (d("r"),)
    first = replace(world, candidates=going, manifests={**world.manifests, d("i"): Manifest(d("i"), OCI_INDEX)})
    assert first.unread == (d("i"),)


def test_what_a_tag_names_and_the_listing_does_not_is_unknown() -> None:
    found = inventory([tag("1", "b"), tag("2", "a"), tag("3", "c")], [image("c"), Manifest(d("i"), OCI_INDEX)])

    assert found.unread == (d("i"), d("a"), d("b"))
    assert found.unknown == {d("i"), d("a"), d("b")}


def test_what_was_read_takes_the_place_of_what_was_listed_and_uses_are_remembered() -> None:
    world = inventory([tag("1.0", "i")], [Manifest(d("i"), OCI_INDEX), image("x")])

    found = world.with_edges([index("i", ["x"])])
    assert found.manifests == {d("i"): index("i", ["x"]), d("x"): image("x")}
    assert (found.name, found.tags) == (world.name, world.tags)
    used = found.used_by([d("x")], ["9.9"])
    assert used == replace(found, used=frozenset({d("x")}), used_tags=frozenset({"9.9"}))
    assert found.used_by([]).used_tags == frozenset()
