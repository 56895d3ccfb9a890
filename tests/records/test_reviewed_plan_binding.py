"""A reviewed plan limits the deletions, in generated repositories."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.plan import Decision, Plan, RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.reviewed import bound_to
from acr_cleanup.core.second_look import confirm
from acr_cleanup.core.steps import DeleteManifest, Step, Untag
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import inventories, named_uses
from tests.helpers.generated_inventories import NOW, image, usage


@st.composite
def forged_steps(draw: st.DrawFn, repository: RepositoryInventory) -> tuple[Step, ...]:
    """Draw steps that delete any tags of a repository, against all rules."""
    steps: list[Step] = []
    for tag in draw(st.lists(st.sampled_from(repository.tags or [None]), unique=True, max_size=4)):
        if tag is not None:
            as_manifest = draw(st.booleans()) and all(step.digest != tag.digest for step in steps)
            steps.append(
                DeleteManifest(structs.replace(image(1), digest=tag.digest), (tag,)) if as_manifest else Untag(tag)
            )
    return tuple(steps)


@settings(max_examples=150, deadline=None)
@given(
    then=inventories(), now=inventories(), before=named_uses(), uses=named_uses(), same=st.booleans(), data=st.data()
)
def test_deletions_are_in_both_plans(
    then: RepositoryInventory,
    now: RepositoryInventory,
    before: list[ImageUse],
    uses: list[ImageUse],
    same: bool,
    data: st.DataObject,
) -> None:
    """
    Only tags that both the reviewed and a fresh plan delete are deleted (promise 7).

    This also holds for a forged plan.

    `then` and `before`: the repository and its uses at the review. `now` and `uses`: at the apply.
    """
    now = then if same else now
    reviewed = plan_repository(then, usage(*before), RetentionPolicy(), NOW)
    if data.draw(st.booleans()):
        steps = data.draw(forged_steps(now))
        tags = tuple(Decision(tag) for step in steps for tag in step.tags)
        reviewed = RepositoryPlan(then.name, decisions=tags, steps=steps)
    fresh = plan_repository(now, usage(*uses), RetentionPolicy(), NOW)
    whole = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage(*uses), (fresh,))

    as_read = RepositoryPlan(then.name, decisions=reviewed.deletions, steps=reviewed.steps)
    (bound,) = bound_to((as_read,), whole).repositories
    confirmed = confirm(bound.steps, fresh, now)

    planned = {tag.name for step in reviewed.steps for tag in step.tags}
    fresh_deletions = {decision.tag.name for decision in fresh.deletions}
    deleted: set[str] = set()
    for step in confirmed.steps:
        tags_deleted = now.tags_of.get(step.digest, ()) if isinstance(step, DeleteManifest) else step.tags
        deleted |= {tag.name for tag in tags_deleted}
        if isinstance(step, DeleteManifest):
            planned_manifests = {other.digest for other in reviewed.steps if isinstance(other, DeleteManifest)}
            assert step.digest in planned_manifests
            assert step.digest in {manifest.digest for manifest in fresh.manifests}
    assert deleted <= planned & fresh_deletions
    # Each planned tag is either deleted or has an outcome.
    assert planned == deleted | {outcome.tag for outcome in confirmed.outcomes if outcome.tag is not None}
    assert {decision.tag.name for decision in bound.deletions} == planned
    for decision in bound.kept:
        if decision.tag.name in fresh_deletions:
            assert [reason.rule for reason in decision.reasons] == [Rule.UNREVIEWED]
    assert all(outcome.kind is not OutcomeKind.FAILED for outcome in confirmed.outcomes)
