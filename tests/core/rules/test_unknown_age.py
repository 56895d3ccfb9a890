"""Rule `unknown-age`: tags without a time of their last push are kept."""

from __future__ import annotations

from acr_cleanup.core.policy import (
    Rule,
)
from tests.helpers.generated_inventories import (
    inventory,
    plan,
    rules_of,
    tag,
)


def test_tag_without_push_time_is_kept() -> None:
    assert rules_of(plan(inventory([tag("1.0", "a", days=None)])), "1.0") == [Rule.UNKNOWN_AGE]
