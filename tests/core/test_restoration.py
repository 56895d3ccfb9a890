"""The outcomes of a restoration."""

from __future__ import annotations

from acr_cleanup.core.restoration import Restored, RestoreOutcome
from tests.helpers.generated_inventories import REPOSITORY, d


def test_outcome_is_back_if_restored_possible_or_there() -> None:
    assert {outcome for outcome in RestoreOutcome if outcome.is_back} == {
        RestoreOutcome.RESTORED,
        RestoreOutcome.POSSIBLE,
        RestoreOutcome.THERE,
    }


def test_restored_item_is_written_as_an_image_name() -> None:
    assert str(Restored(REPOSITORY, d("a"), "1.0", RestoreOutcome.RESTORED)) == f"{REPOSITORY}:1.0"
    assert str(Restored(REPOSITORY, d("a"), None, RestoreOutcome.LOST)) == f"{REPOSITORY}@{d('a')}"
