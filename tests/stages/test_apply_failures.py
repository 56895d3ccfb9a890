"""Apply: deletions that fail, and how outcomes are reported."""

from __future__ import annotations

import pytest

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.errors import RegistryError
from tests.helpers.apply_runs import (
    apply_plan,
    distinct_details,
    kinds,
    planned,
    planned_repositories,
    tag_kinds,
)
from tests.helpers.fake_registry import FakeRegistry
from tests.helpers.generated_inventories import REPOSITORY, d, inventory, tag


@pytest.mark.parametrize("error", [RegistryError("500."), RuntimeError("a bug"), TimeoutError()])
async def test_failed_deletion_does_not_stop_the_others(error: Exception) -> None:
    """Each tag is also counted correctly."""
    registry = FakeRegistry(inventory([tag(name, name) for name in ("p", "q", "r")]))

    async def fail_once(call: str) -> None:
        if call == f"delete {d('q')}":
            raise error

    registry.before_change = fail_once
    applied = await apply_plan(planned(registry.inventory), registry)

    assert tag_kinds(applied) == {"p": OutcomeKind.DELETED, "q": OutcomeKind.FAILED, "r": OutcomeKind.DELETED}
    assert {left.name for left in registry.inventory.tags} == {"q"}


async def test_failed_deletion_is_reported_for_its_own_repository() -> None:
    """Other repositories have tags with the same names."""
    plan, registry = planned_repositories("b", "a")

    async def fail(call: str) -> None:
        if call == "delete b":
            raise RegistryError("500.")

    registry.before_change = fail
    applied = await apply_plan(plan, registry)

    assert [(outcome.repository, outcome.tag) for outcome in applied.outcomes] == [
        (repository, name) for repository in ("a", "b") for name in (None, None, "1", "2")
    ]
    assert {(outcome.repository, outcome.kind, outcome.detail) for outcome in applied.outcomes} == {
        ("a", OutcomeKind.DELETED, ""),
        ("b", OutcomeKind.FAILED, "500."),
    }


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (RegistryError("500."), "500."),
        (RegistryError("500.", where="the registry", remedy="Try again."), "the registry: 500. Try again."),
        (ValueError("a bug"), "unexpected error: ValueError: a bug"),
    ],
)
async def test_failed_deletion_has_the_reason_as_detail(
    error: Exception, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is logged with its traceback."""
    registry = FakeRegistry(inventory([tag("1", "a")]))

    async def fail(_call: str) -> None:
        raise error

    registry.before_change = fail
    caplog.set_level("DEBUG", "acr_cleanup")
    applied = await apply_plan(planned(registry.inventory), registry)

    assert distinct_details(applied) == {(OutcomeKind.FAILED, detail)}
    if isinstance(error, ValueError):
        assert caplog.messages == [f"deleting {d('a')} of {REPOSITORY}"]
        assert caplog.records[0].exc_info is not None
        assert caplog.records[0].exc_info[1] is error


async def test_tag_deleted_by_another_client_is_gone() -> None:
    """That is not a failure."""
    registry = FakeRegistry(inventory([tag("1", "a"), tag("latest", "a")]))
    plan = planned(registry.inventory)

    async def delete_first(_call: str) -> None:
        registry.inventory = inventory([tag("latest", "a")])

    registry.before_change = delete_first
    applied = await apply_plan(plan, registry)

    assert kinds(applied) == {"1": OutcomeKind.GONE}
    assert REPOSITORY in str(applied.outcomes[0])


async def test_outcomes_are_reported_immediately_and_returned_sorted() -> None:
    registry = FakeRegistry(inventory([tag("2", "b"), tag("1", "a"), tag("3", "b"), tag("moved", "c")]))
    plan = planned(registry.inventory)
    registry.inventory = inventory([tag("2", "b"), tag("1", "a"), tag("3", "b"), tag("moved", "d", days=0)])
    reports: list[list[str]] = []

    applied = await apply_plan(
        plan, registry, report=lambda outcomes: reports.append([outcome.tag or "" for outcome in outcomes])
    )

    assert reports == [["moved", ""], ["1", ""], ["2", "3", ""]]
    assert [(outcome.tag, outcome.digest, outcome.size) for outcome in applied.outcomes] == [
        (None, d("a"), 1000),
        (None, d("b"), 1000),
        (None, d("c"), 0),
        ("1", d("a"), 0),
        ("2", d("b"), 0),
        ("3", d("b"), 0),
        ("moved", d("c"), 0),
    ]
    assert {outcome.repository for outcome in applied.outcomes} == {REPOSITORY}
