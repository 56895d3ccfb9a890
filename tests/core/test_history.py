"""Past uses and probation: every record of earlier runs can only keep more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.history import NO_USES, History, NoHistory, PastUse, PastUses
from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.known_bodies import BodyMemory, KnownBody, RepositoryBodies, prefix_of
from acr_cleanup.core.packed_set import PackedSet
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence, Rule
from acr_cleanup.core.retention import RetentionPolicy, Scope, day
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.subjects import open_questions
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import DIGESTS, NAMES, STRANGE, policies, repositories
from tests.helpers.drawn_inventories import uses as drawn_uses
from tests.helpers.generated_inventories import (
    NOW,
    OCI_IMAGE,
    OCI_INDEX,
    REPOSITORY,
    d,
    image,
    index,
    inventory,
    referrer,
    tag,
    usage,
    use,
)

WEEK, TWO_WEEKS = timedelta(days=7), timedelta(days=14)
RECENT = PastUse(NOW - timedelta(days=13), "production/batch/Pod/nightly")
EXPIRED = PastUse(NOW - TWO_WEEKS, "production/batch/Pod/nightly")


@dataclass
class Records:
    """A history in memory. Implements `History`."""

    since: datetime | None = NOW - timedelta(days=100)
    past: PastUses = NO_USES
    candidates: Mapping[str, datetime] = field(default_factory=dict)
    """Tag name or digest -> since when it is a candidate."""
    last_run: datetime | None = NOW - timedelta(days=1)

    def uses(self, repository: str) -> PastUses:
        return self.past if repository == REPOSITORY else NO_USES

    def candidate_since(self, repository: str, item: Tag | Manifest) -> datetime | None:
        name = item.name if isinstance(item, Tag) else item.digest
        return self.candidates.get(name) if repository == REPOSITORY else None


def plan(repository: RepositoryInventory, history: History, policy: RetentionPolicy, *uses: ImageUse) -> RepositoryPlan:
    return plan_repository(repository, replace(usage(*uses), history=history), policy, NOW)


def reasons(planned: RepositoryPlan, name: str) -> list[tuple[Rule, str]]:
    [decision] = [decision for decision in planned.decisions if decision.tag.name == name]
    return [(reason.rule, reason.detail) for reason in decision.reasons]


def deletions(planned: RepositoryPlan) -> set[str]:
    return {decision.tag.name for decision in planned.deletions} | {manifest.digest for manifest in planned.manifests}


# -- laws ------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> Records:
    times = st.sampled_from([NOW - timedelta(days=days) for days in (0, 6, 7, 13, 14, 50)])
    past = st.builds(PastUse, times, st.just("someone"))
    return Records(
        draw(st.sampled_from([None, NOW - WEEK, NOW - timedelta(days=100)])),
        PastUses(
            draw(st.dictionaries(st.sampled_from(NAMES), past, max_size=2)),
            draw(st.dictionaries(st.sampled_from(DIGESTS), past, max_size=2)),
            draw(st.sampled_from([None, None, None, RECENT, EXPIRED])),
        ),
        draw(st.dictionaries(st.sampled_from([*NAMES, *DIGESTS]), times)),
    )


durations = st.sampled_from([None, timedelta(), WEEK, TWO_WEEKS])


@given(repositories(), drawn_uses(), policies(), histories(), durations, durations)
@settings(max_examples=150, deadline=None)
def test_records_of_earlier_runs_only_keep_more(
    repository: RepositoryInventory,
    uses: list[ImageUse],
    policy: RetentionPolicy,
    history: Records,
    used_within: timedelta | None,
    probation: timedelta | None,
) -> None:
    with_records = replace(policy, used_within=used_within, probation=probation)
    without = plan(repository, NoHistory(), policy, *uses)
    planned = plan(repository, history, with_records, *uses)

    assert deletions(planned) <= deletions(without)
    # Each kept item says why, and a manifest is deleted only with all its tags.
    assert all(decision.deletes or decision.reasons for decision in planned.decisions)
    deleted = {decision.tag.name for decision in planned.deletions}
    for step in planned.steps:
        assert {of.name for of in step.tags} <= deleted
        if isinstance(step, DeleteManifest):
            assert {of.name for of in step.tags} == {of.name for of in repository.tags_of.get(step.digest, ())}
    steps = {decision.manifest.digest for decision in planned.untagged if decision.deletes}
    assert steps <= {manifest.digest for manifest in planned.manifests}


@given(repositories(), drawn_uses(), policies(), st.sampled_from(NAMES), st.integers(1, len(DIGESTS)))
@settings(max_examples=100, deadline=None)
def test_past_use_keeps_what_a_use_keeps(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, name: str, number: int
) -> None:
    running = use("elsewhere", None, running=True)
    history = Records(past=PastUses({name: RECENT}, {d(number): RECENT}))
    recent = plan(repository, history, replace(policy, used_within=TWO_WEEKS), running, *uses)
    used = plan(repository, NoHistory(), policy, running, *uses, use(name, None), use(None, number))

    assert deletions(recent) == deletions(used)


@given(repositories(), policies())
@settings(max_examples=100, deadline=None)
def test_probation_that_is_over_changes_nothing(repository: RepositoryInventory, policy: RetentionPolicy) -> None:
    running = use("elsewhere", None, running=True)
    over = dict.fromkeys((*NAMES, *DIGESTS), NOW - WEEK)

    planned = plan(repository, Records(candidates=over), replace(policy, probation=WEEK), running)

    assert deletions(planned) == deletions(plan(repository, NoHistory(), policy, running))


@given(repositories(), policies())
@settings(max_examples=100, deadline=None)
def test_nothing_is_deleted_by_the_first_run(repository: RepositoryInventory, policy: RetentionPolicy) -> None:
    planned = plan(
        repository, Records(since=None), replace(policy, probation=WEEK), use("elsewhere", None, running=True)
    )

    assert not planned.steps


# -- past uses -------------------------------------------------------------------------------------


def test_past_use_names_its_date_and_its_user() -> None:
    repository = inventory([tag("a", "x"), tag("b", "y")], [image("x"), image("y")])
    history = Records(past=PastUses({"a": RECENT, "b": EXPIRED}))

    planned = plan(repository, history, RetentionPolicy(used_within=TWO_WEEKS), use("live", None, running=True))

    assert reasons(planned, "a") == [(Rule.USED_RECENTLY, "used on 2026-11-10 by production/batch/Pod/nightly")]
    assert reasons(planned, "b") == []


@pytest.mark.parametrize("digests", ["xy", "yx"])
def test_latest_of_several_past_uses_is_named(digests: str) -> None:
    """Any digest of an index may have been used, and the records may name them in any order."""
    later = PastUse(NOW - timedelta(days=1), "production/batch/Pod/later")
    repository = inventory([tag("a", "x")], [image("x"), image("y"), index("i", ["x", "y"])])
    by_digest = {d(name): later if name == "y" else RECENT for name in digests}
    history = Records(past=PastUses({"a": RECENT}, by_digest, RECENT))

    planned = plan(repository, history, RetentionPolicy(used_within=TWO_WEEKS), use("live", None, running=True))

    assert reasons(planned, "a")[0][1] == str(later)


def test_only_recent_uses_count_of_each_kind() -> None:
    uses = PastUses({"a": RECENT, "b": EXPIRED}, {d("x"): EXPIRED, d("y"): RECENT}, EXPIRED)

    assert uses.within(timedelta(days=14), NOW) == PastUses({"a": RECENT}, {d("y"): RECENT}, None)
    assert PastUses(of_any=RECENT).within(timedelta(days=14), NOW).of_any == RECENT


def test_past_uses_without_the_option_keep_nothing() -> None:
    repository = inventory([tag("a", "x")], [image("x")])
    history = Records(past=PastUses({"a": RECENT}, {}, RECENT))

    planned = plan(repository, history, RetentionPolicy(), use("live", None, running=True))

    assert reasons(planned, "a") == []


def test_past_uses_explain_kept_manifests() -> None:
    repository = inventory([], [image("x"), image("y")])
    policy = RetentionPolicy(used_within=TWO_WEEKS, delete_untagged=True)
    running = use("live", None, running=True)

    of_digest = plan(repository, Records(past=PastUses({}, {d("x"): RECENT})), policy, running)
    of_any = plan(repository, Records(past=PastUses(of_any=RECENT)), policy, running)

    assert {
        decision.manifest.digest: [reason.rule for reason in decision.reasons] for decision in of_digest.untagged
    } == {
        d("x"): [Rule.USED_RECENTLY],
        d("y"): [],
    }
    assert all(decision.reasons[0].rule is Rule.USED_RECENTLY for decision in of_any.untagged)


# -- probation -------------------------------------------------------------------------------------


def test_probation_names_both_days_and_counts_by_day() -> None:
    repository = inventory(
        [tag("a", "x"), tag("b", "y"), tag("c", "z")], [image("x"), image("y"), image("z"), image("u")]
    )
    history = Records(candidates={"a": NOW - timedelta(days=6), "b": NOW - WEEK})
    policy = RetentionPolicy(probation=WEEK, delete_untagged=True)

    planned = plan(repository, history, policy, use("live", None, running=True))

    assert reasons(planned, "a") == [(Rule.PROBATION, "on probation since 17 Nov, deletable from 24 Nov")]
    assert reasons(planned, "b") == []
    assert reasons(planned, "c") == [(Rule.PROBATION, "on probation since 23 Nov, deletable from 30 Nov")]
    tally = planned.tally
    assert [str(due) for due in tally.waiting] == ["2026-11-24", "2026-11-30"]
    assert list(tally.untagged_waiting.values()) == [1]


def test_alias_on_probation_lets_the_other_tag_go() -> None:
    repository = inventory([tag("a", "x"), tag("b", "x")], [image("x")])
    history = Records(candidates={"a": NOW - WEEK})

    planned = plan(repository, history, RetentionPolicy(probation=WEEK), use("live", None, running=True))

    assert deletions(planned) == {"a"}


def test_last_tag_waits_with_what_keeps_its_manifest() -> None:
    """Otherwise the manifest would lose its tags now, and no later run would delete it."""
    repository = inventory([tag("a", "x"), tag("s", "r")], [image("x"), referrer("r", "x")])
    history = Records(candidates={"a": NOW - WEEK})

    planned = plan(repository, history, RetentionPolicy(probation=WEEK), use("live", None, running=True))

    assert deletions(planned) == set()
    detail = "belongs to something on probation, deletable from 30 Nov"
    assert reasons(planned, "a") == [(Rule.PROBATION, detail)]
    assert planned.tally.waiting == {(NOW + WEEK).date(): 2}


def test_subjects_of_waiting_images_are_asked_for() -> None:
    """A waiting image may be attached to one that is deleted now."""
    unread = structs.replace(image("x"), media_type=OCI_IMAGE, known=False, platform="linux/amd64")
    repository = inventory([tag("a", "x"), tag("b", "y")], [unread, structs.replace(unread, digest=d("y"))])
    running = use("live", None, running=True)
    policy = RetentionPolicy(probation=WEEK)
    history = Records(candidates={"a": NOW - WEEK})

    assert open_questions(Evidence(repository, replace(usage(running), history=history), policy, NOW))


def test_tag_that_the_last_run_did_not_select_is_new() -> None:
    repository = inventory([tag("known", "a"), tag("unknown", "b"), tag("young", "c", days=1)])
    history = Records(candidates={"known": NOW - WEEK})

    assert plan(repository, history, RetentionPolicy(scope=Scope.ALL)).new == frozenset({"unknown"})


def test_tag_whose_probation_ended_since_the_last_run_is_new() -> None:
    """The last run announced it, but did not delete it."""
    repository = inventory([tag("ended", "a"), tag("ended-before", "b"), tag("waits", "c")])
    half_a_day = timedelta(hours=12)
    history = Records(candidates={"ended": NOW - WEEK - half_a_day, "ended-before": NOW - 2 * WEEK})

    planned = plan(repository, history, RetentionPolicy(scope=Scope.ALL, probation=WEEK))

    assert deletions(planned) >= {"ended", "ended-before"}
    assert planned.new == frozenset({"ended"})


def test_new_tag_is_counted_and_others_are_not() -> None:
    repository = inventory([tag("known", "a"), tag("also-known", "b"), tag("unknown", "c")])
    history = Records(candidates={"known": NOW - WEEK, "also-known": NOW - WEEK})

    planned = plan(repository, history, RetentionPolicy(scope=Scope.ALL))

    assert (planned.tally.planned, planned.tally.new) == (3, 1)


def test_used_within_announces_no_new_tags_without_probation() -> None:
    """Only with probation, candidates wait until the records reach back far enough."""
    history = Records(since=NOW - WEEK, candidates={"known": NOW - WEEK})

    planned = plan(inventory([tag("known", "a")]), history, RetentionPolicy(scope=Scope.ALL, used_within=TWO_WEEKS))

    assert planned.new == frozenset()


@pytest.mark.parametrize("history", [NoHistory(), Records(since=None), Records(last_run=None)])
def test_without_records_of_the_last_run_nothing_is_called_new(history: History) -> None:
    planned = plan(inventory([tag("a", "x")]), history, RetentionPolicy(scope=Scope.ALL))

    assert planned.new is None
    assert planned.tally.new is None


def test_day_of_another_year_has_the_year() -> None:
    assert day(NOW + timedelta(days=60), NOW) == "22 Jan 2027"


def test_no_history_knows_nothing() -> None:
    assert NoHistory().uses(REPOSITORY) == NO_USES
    assert NoHistory().candidate_since(REPOSITORY, tag("a", "x")) is None


# -- known bodies ----------------------------------------------------------------------------------


LISTED = Manifest(d("i"), OCI_INDEX, size=3)


def test_body_is_recalled_in_its_own_repository() -> None:
    memory = BodyMemory()
    read = structs.replace(LISTED, children=(d("x"),), known=True)
    memory.note("app", LISTED, read)

    assert memory.recall("app", LISTED) == read
    assert memory.recall("other", LISTED) is None
    assert memory.recall("app", structs.replace(LISTED, digest=d("j"))) is None


def test_body_without_references_is_recalled() -> None:
    memory, plain = BodyMemory(), Manifest(d("x"), OCI_IMAGE)
    memory.note("app", plain, structs.replace(plain, known=True))
    stored = BodyMemory({"app": RepositoryBodies({}, PackedSet.of([prefix_of(d("x"))], 12))})

    assert memory.recall("app", plain) == stored.recall("app", plain) == structs.replace(plain, known=True)


def test_types_of_a_body_are_recalled() -> None:
    memory, listed = BodyMemory(), Manifest(d("x"), "application/json")
    read = structs.replace(listed, media_type=OCI_IMAGE, config_media_type="application/vnd.example", known=True)
    memory.note("app", listed, read)

    assert memory.recall("app", listed) == read


def test_body_that_is_not_understood_is_not_recalled() -> None:
    memory, strange = BodyMemory(), Manifest(d("x"), STRANGE)
    memory.note("app", strange, strange)
    forced = BodyMemory({"app": RepositoryBodies({d("x"): KnownBody()})})

    assert memory.recall("app", strange) is None
    assert forced.recall("app", strange) is None


def test_manifest_that_was_put_aside_is_not_recalled() -> None:
    """Its body cannot be read now, and others may not see what it is."""
    memory = BodyMemory()
    aside = structs.replace(LISTED, put_aside=True)
    memory.note("app", aside, structs.replace(aside, known=True))
    memory.note("app", LISTED, structs.replace(LISTED, children=(d("x"),), known=True))

    assert memory.recall("app", aside) is None


@given(st.sets(st.binary(min_size=3, max_size=3)), st.binary(min_size=3, max_size=3))
def test_packed_set_equals_a_set(items: set[bytes], item: bytes) -> None:
    packed = PackedSet.of(items, 3)

    assert set(packed) == items
    assert len(packed) == len(items)
    assert (item in packed) == (item in items)
    assert all(member in packed for member in items)
