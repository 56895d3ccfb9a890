"""Missing references: tags and digests that are used, but not in the registry."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.verification import (
    full_name,
    lacks,
    missing_references,
    pulled_name,
)
from tests.helpers.generated_inventories import REPOSITORY, d, inventory, tag, usage, use

STATUS = "status.containerStatuses[0].imageID"


def test_missing_tag_and_digest_name_their_uses() -> None:
    repository = inventory([tag("1.0", 1)])
    comparison = missing_references(repository, usage(use("1.0"), use("2.0", name="b"), use(digest=9), runs=False))

    assert [(suspect.name, str(suspect)) for suspect in comparison] == [
        ("2.0", f"{REPOSITORY}:2.0"),
        (d(9), f"{REPOSITORY}@{d(9)}"),
    ]
    assert [suspect.workload.name for suspect in comparison[0].uses] == ["b"]


def test_missing_repository_lacks_every_used_tag() -> None:
    comparison = missing_references(RepositoryInventory(REPOSITORY), usage(use("1.0"), use("2.0"), runs=False))

    assert [suspect.name for suspect in comparison] == ["1.0", "2.0"]


def test_status_pulls_nothing() -> None:
    """An imageID may be the digest of a configuration, which no registry lists."""
    running = replace(use(digest=9), field=STATUS)

    assert pulled_name(running) is None
    assert missing_references(inventory([tag("1.0", 1)]), usage(running, runs=False)) == ()


def test_pull_uses_the_digest_and_ignores_the_tag() -> None:
    """`web:gone@sha256:…` is pulled by its digest, so the missing tag does not matter."""
    repository = inventory([tag("1.0", 1)])

    assert missing_references(repository, usage(use("lost", 1), runs=False)) == ()
    (comparison,) = missing_references(repository, usage(use("1.0", 9), runs=False))
    assert comparison.name == d(9)


def test_unlisted_tagged_manifest_is_not_missing() -> None:
    repository = RepositoryInventory(REPOSITORY, (tag("1.0", 1),), {})

    assert missing_references(repository, usage(use(digest=1), runs=False)) == ()


def test_use_lacks_only_the_name_that_it_pulls() -> None:
    world = inventory([tag("1.0", 1)])

    assert not any(lacks(world, suspect) for suspect in (use("1.0"), use(digest=1), use("lost", 1), use(None, None)))
    assert all(lacks(world, suspect) for suspect in (use("2.0"), use(digest=9), use("1.0", 9)))
    assert not lacks(world, replace(use(digest=9), field=STATUS))


def test_full_name_knows_both_digest_algorithms() -> None:
    assert full_name("a", "sha512:0") == "a@sha512:0"
    assert full_name("a", "sha256-0") == "a:sha256-0"
