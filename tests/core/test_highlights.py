"""The planned tags that a reviewer should look at first."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from acr_cleanup.core.highlights import EXAMPLES, highlights, size_with_children
from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.rule_set import PolicyRule
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, plan, tag


def names(tags: list[Tag], manifests: list[Manifest], new: Collection[str] = ()) -> list[str]:
    return [planned.name for planned in highlights(((tag, "") for tag in tags), manifests, new)]


def test_newest_largest_and_new_tags_are_highlights() -> None:
    tags = [tag(f"v{number:02}", number, days=100 + number) for number in range(20)]
    manifests = [image(number, size=5000 if number in (10, 11, 12) else 1000) for number in range(20)]

    chosen = names(tags, manifests, {"v19"})

    assert chosen == ["v00", "v01", "v02", "v10", "v11", "v12", "v19"]
    assert len(names(tags, manifests)) == 2 * EXAMPLES


def test_each_rule_has_highlights() -> None:
    """A rule with a short limit has younger tags, which are not nearer to its limit."""
    previews = [tag(f"pr-{number}", number, days=8 + number) for number in range(5)]
    others = [tag(f"v{number}", 10 + number, days=40 + number) for number in range(5)]
    rule = PolicyRule("previews", tags=("pr-*",), older_than=timedelta(days=7))

    planned = plan(inventory([*previews, *others]), policy=RetentionPolicy(scope=Scope.ALL, rules=(rule,)))

    chosen = {highlight.name: highlight.governed_by for highlight in planned.tally.highlights}
    assert chosen.items() >= {"pr-0": "previews", "v0": ""}.items()


def test_size_counts_deleted_children_once() -> None:
    manifests = [index("i", ["a", "b", "kept", "a"]), image("a"), image("b"), image("other")]
    deleted = {manifest.digest: manifest for manifest in manifests}

    assert size_with_children(d("i"), deleted) == 10 + 2 * 1000
    assert size_with_children(d("a"), deleted) == 1000
    assert size_with_children(d("kept"), deleted) == 0


def test_size_counts_children_of_a_nested_index() -> None:
    outer = index("o", ["i", "o"])
    deleted = {manifest.digest: manifest for manifest in (outer, index("i", ["a", "o"]), image("a"))}

    assert size_with_children(d("o"), deleted) == 10 + 10 + 1000


def test_tag_without_its_manifest_frees_nothing() -> None:
    planned = plan(inventory([tag("old", "a"), tag("latest", "a", days=1)]))

    assert [(highlight.name, highlight.size) for highlight in planned.tally.highlights] == [("old", 0)]
    assert planned.tally.highlights[0].pushed == NOW - timedelta(days=100)
