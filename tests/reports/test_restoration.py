"""The report of a restore, as people read it."""

from __future__ import annotations

from acr_cleanup.core.restoration import Restored, RestoreOutcome
from acr_cleanup.reports.restoration import RestorationReport
from tests.helpers.generated_inventories import d

LOST = "its content was not kept"


def report(*items: Restored) -> RestorationReport:
    return RestorationReport("journal.jsonl", "contoso.azurecr.io", None, items)


def test_reason_of_many_items_is_shown_once() -> None:
    items = [Restored("shop/web", d("web"), f"1.{minor}", RestoreOutcome.LOST, LOST) for minor in range(3)]
    lines = str(
        report(*items, Restored("shop/web", d("web"), "2.0", RestoreOutcome.LOST, "502 Bad Gateway"))
    ).splitlines()
    start = lines.index("Cannot be restored: 4 tags")
    assert lines[start + 1 : start + 6] == [
        f"  {LOST} (3)",
        "    shop/web:1.0",
        "    shop/web:1.1",
        "    shop/web:1.2",
        "  shop/web:2.0  502 Bad Gateway",
    ]


def test_items_without_reason_are_listed() -> None:
    lines = str(report(*(Restored("shop/web", d("web"), tag, RestoreOutcome.RESTORED) for tag in "ab"))).splitlines()
    start = lines.index("Restored: 2 tags")
    assert lines[start + 1 : start + 3] == ["  shop/web:a", "  shop/web:b"]


def test_terminal_shows_a_limited_number_of_items() -> None:
    items = [Restored("shop/web", d("web"), f"1.{minor}", RestoreOutcome.LOST, LOST) for minor in range(150)]
    assert len(list(report(*items).on_screen())) < 110
    assert len(list(report(*items).blocks())) > 150
