"""Why a tag is kept: which rule, in which words, and for what is in use by whom. People read them, and act on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from acr_cleanup.core.inventory import Manifest, RepositoryInventory
from acr_cleanup.core.policy import (
    Evidence,
    KeepReason,
    RetentionPolicy,
    Rule,
    Scope,
    describe_duration,
    eligible_repositories,
    held_by_lock,
    in_use,
    keep_reasons,
    scope_reason,
)
from acr_cleanup.core.usage import ImageUse, UsageIndex
from tests.helpers.generated_inventories import (
    NOW,
    OCI_INDEX,
    REPOSITORY,
    d,
    image,
    index,
    inventory,
    signature_of,
    tag,
    usage,
    use,
)

NOTHING_EXCLUDED = RetentionPolicy(exclude_tags=())


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy = NOTHING_EXCLUDED, runs: bool = True
) -> Evidence:
    return Evidence(repository, usage(*uses, runs=runs), policy, NOW)


def told(found: dict[str, tuple[KeepReason, ...]]) -> dict[str, list[tuple[Rule, str]]]:
    return {name: [(reason.rule, reason.detail) for reason in reasons] for name, reasons in sorted(found.items())}


def why(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy = NOTHING_EXCLUDED, runs: bool = True
) -> dict[str, list[tuple[Rule, str]]]:
    return told(keep_reasons(evidence(repository, *uses, policy=policy, runs=runs)))


def names(uses: Iterable[ImageUse]) -> list[str]:
    return [each.workload.name for each in uses]


def test_every_lock_says_what_is_locked_the_widest_first() -> None:
    world = inventory(
        [tag("tag", "a", locked=True), tag("manifest", "b"), tag("both", "b", locked=True), tag("free", "a")],
        [image("a"), image("b", locked=True)],
    )
    of_tag, of_manifest = (Rule.LOCKED, "the tag is locked in the registry"), "its manifest is locked in the registry"

    assert why(world) == {"tag": [of_tag], "both": [of_tag], "manifest": [(Rule.LOCKED, of_manifest)]}
    whole = [(Rule.LOCKED, "the repository is locked in the registry")]
    assert why(replace(world, locked=True)) == dict.fromkeys(("both", "free", "manifest", "tag"), whole)


def test_with_include_locked_only_what_could_not_be_put_back_keeps() -> None:
    strange = replace(tag("1.0", "a", locked=True), delete_enabled=True)
    unlocking = RetentionPolicy(include_locked=True)

    assert [held_by_lock(each, unlocking) for each in (strange, tag("1.0", "a", locked=True), tag("1.0", "a"))] == [
        True,
        False,
        False,
    ]
    assert held_by_lock(strange, RetentionPolicy())
    assert held_by_lock(tag("1.0", "a", locked=True), RetentionPolicy())
    assert not held_by_lock(tag("1.0", "a"), RetentionPolicy())


def test_an_unknown_manifest_says_whether_it_cannot_be_shown_or_not_be_understood() -> None:
    strange = Manifest(d("s"), "application/vnd.example.future+json")
    world = inventory(
        [tag("strange", "s"), tag("ghost", "g"), tag("unlisted", "u"), tag("nameless", "n"), tag("fine", "f")],
        [strange, Manifest(d("g"), OCI_INDEX), Manifest(d("n")), image("f")],
    )
    gone = [(Rule.UNKNOWN_MANIFEST, "the registry lists its manifest but cannot show it")]

    assert why(world) == {
        "ghost": gone,
        "nameless": gone,
        "strange": [
            (
                Rule.UNKNOWN_MANIFEST,
                "nobody knows the media type of its manifest (application/vnd.example.future+json)",
            )
        ],
        "unlisted": gone,
    }


def test_a_young_tag_says_when_it_was_pushed() -> None:
    world = inventory(
        [
            tag("a", "a", days=1),
            tag("b", "b", days=1.5),
            tag("c", "c", days=20),
            tag("old", "d"),
            tag("?", "e", days=None),
        ]
    )

    found = keep_reasons(evidence(world))

    assert told(found) == {
        "?": [(Rule.UNKNOWN_AGE, "the registry gives no time of its last push")],
        "a": [(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago")],
        "b": [(Rule.YOUNG, "pushed 2026-11-21, less than 30d ago")],
        "c": [(Rule.YOUNG, "pushed 2026-11-03, less than 30d ago")],
    }


def test_tags_of_one_day_share_their_reason() -> None:
    """There may be a million tags."""
    found = keep_reasons(evidence(inventory([tag("a", "a", days=1), tag("b", "b", days=0.9)])))

    assert found["a"][0] is found["b"][0]


def test_a_use_says_how_it_leads_to_the_tag_and_who_it_is() -> None:
    """By name, by digest, by another digest of the index, or by the repository alone; each reason names all of these."""
    world = inventory(
        [tag("multi", "i"), tag("arm", "x"), tag("other", "o"), tag("1.0", "a")],
        [index("i", ["x", "y"]), image("x"), image("y"), image("o"), image("a")],
    )
    uses = [use("1.0", name="named"), use(None, "a", name="pinned"), use(None, "y", name="sibling")]
    by_name, by_digest = "a workload names this tag", "a workload runs or pins its digest"

    found = keep_reasons(evidence(world, *uses))
    assert told(found) == {
        "1.0": [(Rule.IN_USE, by_name)],
        "arm": [(Rule.IN_USE, by_digest)],
        "multi": [(Rule.IN_USE, by_digest)],
    }
    assert {name: names(reasons[0].uses) for name, reasons in found.items()} == {
        "1.0": ["named", "pinned"],
        "arm": ["sibling"],
        "multi": ["sibling"],
    }

    found = keep_reasons(evidence(world, *uses, use(None, None, name="open")))
    assert told(found)["other"] == [
        (Rule.IN_USE, "something names its repository without saying which image"),
    ]
    assert {name: names(reasons[0].uses) for name, reasons in found.items()} == {
        "1.0": ["named", "pinned", "open"],
        "arm": ["sibling", "open"],
        "multi": ["sibling", "open"],
        "other": ["open"],
    }


def test_who_uses_an_index_is_told_in_the_order_of_what_they_name() -> None:
    """Whatever the order in which a set of digests comes."""
    world = inventory([tag("multi", "i")], [index("i", [1, 2, 3]), image(1), image(2), image(3)])
    uses = [use(None, number, name=f"of-{number}") for number in (3, 1, 2)]

    ((_, reason),) = in_use(evidence(world, *uses))

    assert names(reason.uses) == ["of-1", "of-2", "of-3"]


@pytest.mark.parametrize(
    ("scope", "runs", "named", "detail"),
    [
        (Scope.RUNNING, True, True, None),
        (Scope.RUNNING, False, True, "its repository is not running in any configured cluster"),
        (Scope.REFERENCED, False, True, None),
        (Scope.REFERENCED, False, False, "its repository is not referenced in any configured cluster"),
        (Scope.ALL, False, False, None),
    ],
)
def test_a_scope_says_what_its_repositories_are(scope: Scope, runs: bool, named: bool, detail: str | None) -> None:
    uses = [use("9", running=False)] if named else []
    asked = evidence(inventory([tag("1.0", "a")]), *uses, policy=RetentionPolicy(scope=scope), runs=runs)

    reason = scope_reason(asked)

    assert reason == (None if detail is None else KeepReason(Rule.OUT_OF_SCOPE, detail))
    eligible = eligible_repositories(asked.usage, asked.policy, [REPOSITORY])
    assert eligible == ((REPOSITORY,) if detail is None else ())


def test_patterns_of_repositories_are_regular_expressions_where_those_are_asked_for() -> None:
    for written, reason in ((".*/web", None), ("*/web", "refused"), ("shop/.", "other")):
        policy = RetentionPolicy(repositories=(written,), use_regex=True)
        if reason == "refused":
            with pytest.raises(ValueError, match="repetition"):
                scope_reason(evidence(inventory([]), policy=policy))
        else:
            assert (scope_reason(evidence(inventory([]), policy=policy)) is None) is (reason is None)


def test_a_signature_is_kept_by_its_own_name_alone() -> None:
    """Also by a pattern that takes away; and it is a tag like any other where what it signs is not there, or is itself."""
    signature, stray, itself = signature_of("a"), signature_of("gone"), signature_of("i")
    world = inventory([tag(signature, "s"), tag(stray, "t"), tag(itself, "i"), tag("1.0", "a")])
    not_included = [(Rule.EXCLUDED, "not among the included tags")]

    policy = RetentionPolicy(include_tags=("1.*",), exclude_tags=())
    assert why(world, policy=policy) == {stray: not_included, itself: not_included}
    policy = RetentionPolicy(include_tags=("*", "!*.sig"), exclude_tags=())
    by_pattern = [(Rule.EXCLUDED, "excluded by `!*.sig`")]
    assert why(world, policy=policy) == dict.fromkeys(sorted([signature, stray, itself]), by_pattern)


def test_what_is_excluded_says_by_which_pattern_the_excluding_ones_first() -> None:
    policy = RetentionPolicy(include_tags=("*", "!v*"), exclude_tags=("v1", "latest"))
    world = inventory([tag(name, "a") for name in ("v1", "v2", "latest", "x")])

    assert why(world, policy=policy) == {
        "latest": [(Rule.EXCLUDED, "excluded by `latest`")],
        "v1": [(Rule.EXCLUDED, "excluded by `v1`")],
        "v2": [(Rule.EXCLUDED, "excluded by `!v*`")],
    }


def test_an_index_of_nothing_decides_nothing() -> None:
    """Neither has an empty repository any reason, nor does an empty cluster keep what is in the scope of all."""
    assert why(inventory([])) == {}
    policy = replace(NOTHING_EXCLUDED, scope=Scope.ALL)
    assert keep_reasons(Evidence(inventory([tag("1", "a")]), UsageIndex.of([], NOW), policy, NOW)) == {}


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(), "0d"),
        (timedelta(days=30), "30d"),
        (timedelta(hours=12), "12h"),
        (timedelta(minutes=59), "59m"),
        (timedelta(seconds=59), "59s"),
        (timedelta(seconds=60), "1m"),
        (timedelta(minutes=60), "1h"),
        (timedelta(hours=24), "1d"),
        (timedelta(days=1, hours=1, minutes=1, seconds=1), "1d1h1m1s"),
        (timedelta(days=366, seconds=61.9), "366d1m1s"),
    ],
)
def test_a_duration_is_written_as_one_would(duration: timedelta, written: str) -> None:
    assert describe_duration(duration) == written


def test_a_repository_that_was_not_selected_is_out_of_scope() -> None:
    asked = evidence(inventory([tag("1", "a")]), policy=RetentionPolicy(repositories=("other",)))

    assert scope_reason(asked) == KeepReason(Rule.OUT_OF_SCOPE, "its repository is not among those that were selected")
