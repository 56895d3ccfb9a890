"""Rule `out-of-scope`: tags of a repository that is not in scope are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.policy import Evidence, KeepReason, Rule, eligible_repositories, scope_reason
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.usage import ImageUse
from tests.helpers.generated_inventories import (
    NOTHING_EXCLUDED,
    NOW,
    REPOSITORY,
    UNTAGGED,
    d,
    deleted_names,
    image,
    inventory,
    plan,
    reasons,
    rules_of,
    tag,
    untagged_rules,
    usage,
    use,
)


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy = NOTHING_EXCLUDED, runs: bool = True
) -> Evidence:
    return Evidence(repository, usage(*uses, runs=runs), policy, NOW)


def test_repository_that_runs_nowhere_is_kept() -> None:
    planned = plan(inventory([tag("1.0", "a")]), usage(use("2.0", running=False), runs=False))

    assert not planned.deletions
    assert rules_of(planned, "1.0") == [Rule.OUT_OF_SCOPE]


def test_wider_scope_includes_referenced_repositories() -> None:
    uses = usage(use("2.0", running=False), runs=False)

    assert deleted_names(plan(inventory([tag("1.0", "a")]), uses, RetentionPolicy(scope=Scope.REFERENCED))) == {"1.0"}
    assert deleted_names(plan(inventory([tag("1.0", "a")]), usage(runs=False), RetentionPolicy(scope=Scope.ALL))) == {
        "1.0"
    }


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
def test_scope_reason_names_the_scope(scope: Scope, runs: bool, named: bool, detail: str | None) -> None:
    uses = [use("9", running=False)] if named else []
    asked = evidence(inventory([tag("1.0", "a")]), *uses, policy=RetentionPolicy(scope=scope), runs=runs)

    reason = scope_reason(asked)

    assert reason == (None if detail is None else KeepReason(Rule.OUT_OF_SCOPE, detail))
    eligible = eligible_repositories(asked.usage, asked.policy, [REPOSITORY])
    assert eligible == ((REPOSITORY,) if detail is None else ())


def test_unselected_repository_is_out_of_scope() -> None:
    asked = evidence(inventory([tag("1", "a")]), policy=RetentionPolicy(repositories=("other",)))

    assert scope_reason(asked) == KeepReason(Rule.OUT_OF_SCOPE, "its repository is not among the selected ones")


def test_repository_patterns_with_use_regex_are_regular_expressions() -> None:
    for written, reason in ((".*/web", None), ("*/web", "refused"), ("shop/.", "other")):
        policy = RetentionPolicy(repositories=(written,), use_regex=True)
        if reason == "refused":
            with pytest.raises(ValueError, match="repetition"):
                scope_reason(evidence(inventory([]), policy=policy))
        else:
            assert (scope_reason(evidence(inventory([]), policy=policy)) is None) is (reason is None)


def test_repository_patterns_apply_in_every_scope() -> None:
    """A star crosses slashes, and the reason says that the repository is not selected."""
    policy = RetentionPolicy(scope=Scope.ALL, repositories=("team/*", "!team/old-*"))
    catalog = ("team/api", "team/a/b", "team/old-api", "teams", "shop/web")
    assert eligible_repositories(usage(), policy, catalog) == ("team/a/b", "team/api")
    repository = inventory([tag("1.0", "a")])
    for scope in Scope:
        kept = reasons(repository, policy=RetentionPolicy(scope=scope, repositories=("!shop/*",)))
        assert kept == {"1.0": [(Rule.OUT_OF_SCOPE, "its repository is not among the selected ones")]}
        assert reasons(repository, policy=RetentionPolicy(scope=scope, repositories=("shop/*", "!shop/x*"))) == {}


def test_eligible_repositories_are_filtered_and_sorted() -> None:
    uses = usage(use("1"))

    assert eligible_repositories(uses, RetentionPolicy()) == (REPOSITORY,)
    assert eligible_repositories(uses, RetentionPolicy(repositories=("other/*",))) == ()
    assert eligible_repositories(uses, RetentionPolicy(scope=Scope.ALL), ["b", "a"]) == ("a", "b")


def test_untagged_manifest_out_of_scope_is_kept() -> None:
    planned = plan(inventory([], [image("a")]), usage(runs=False), UNTAGGED)

    assert not planned.steps
    assert untagged_rules(planned) == {d("a"): ["out-of-scope"]}


def test_repository_of_azure_is_out_of_scope_unless_named() -> None:
    repository = replace(inventory([tag("1.0", "a")]), name="csscpolicies/patchpolicy")

    every = RetentionPolicy(scope=Scope.ALL)
    assert scope_reason(evidence(repository, policy=every)) == KeepReason(
        Rule.OUT_OF_SCOPE,
        "Azure itself uses the repositories in csscpolicies/, and repositories does not name them",
    )
    assert scope_reason(evidence(repository, policy=replace(every, repositories=("csscpolicies/*",)))) is None
