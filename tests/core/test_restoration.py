"""What became of putting things back."""

from __future__ import annotations

from acr_cleanup.core.restoration import Fate, Restored
from tests.helpers.generated_inventories import REPOSITORY, d


def test_back_is_what_can_be_pulled_again_or_could_be() -> None:
    assert {fate for fate in Fate if fate.is_back} == {Fate.RESTORED, Fate.POSSIBLE, Fate.THERE}


def test_what_is_put_back_is_written_as_one_would_pull_it() -> None:
    assert str(Restored(REPOSITORY, d("a"), "1.0", Fate.RESTORED)) == f"{REPOSITORY}:1.0"
    assert str(Restored(REPOSITORY, d("a"), None, Fate.LOST)) == f"{REPOSITORY}@{d('a')}"
