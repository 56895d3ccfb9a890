"""report.html in Chromium: search, click, keyboard, hostile names, no request, no error."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.core.outcome import Result
from acr_cleanup.reports import html
from acr_cleanup.reports.context import Context
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples
from tests.reports.test_html import large_result

playwright: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see `make browser`")

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.extended,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, folder: Path, result: Result, **options: Any) -> Iterator[Any]:
    """Open the page of a result. Fails if it asked for anything, or reported anything."""
    path = folder / "report.html"
    path.write_bytes("".join(html.render(result, Context())).encode("utf-8", "backslashreplace"))
    context = browser.new_context(**options)
    page, events = context.new_page(), list[str]()
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.on("dialog", lambda dialog: events.append(dialog.message))
    page.on("request", lambda request: events.append(request.url))
    page.goto(path.as_uri())
    yield page
    assert [event for event in events if event not in (path.as_uri(), "data:,")] == []
    context.close()


def rows(page: Any) -> list[str]:
    texts: list[str] = page.locator("#tags tbody tr button").all_inner_texts()
    return texts


def test_search_finds_tags_users_and_full_names(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, samples.planned()) as page:
        for text, expected in (
            ("release-cand", {"release-candidate"}),
            ("legacy-API", {"1.2.0"}),
            ("jobs/importer:1.2.0", {"1.2.0"}),
            ("no such tag", set()),
        ):
            page.fill("#search", text)
            page.wait_for_timeout(300)
            assert set(rows(page)) == expected


def test_click_on_a_tag_shows_its_reasons_and_users(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, samples.planned()) as page:
        page.fill("#search", "legacy-api")
        page.wait_for_timeout(300)
        page.click("#tags tbody button")

        text = page.inner_text("#details")
        assert "shop/api:1.2.0" in text
        assert "staging/shop/Deployment/legacy-api (app)" in text
        page.keyboard.press("Escape")
        assert not page.is_visible("#details")


def test_page_is_usable_with_the_keyboard(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, samples.planned()) as page:
        page.keyboard.press("/")
        page.keyboard.type("stable")
        page.wait_for_timeout(300)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert page.inner_text("#details-title") == "shop/web:stable"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.textContent") == "stable"
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.id") == "search"


def test_treemap_chooses_a_repository(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, samples.planned()) as page:
        page.locator("#treemap .cell").first.focus()
        page.keyboard.press("Enter")

        assert page.input_value("#repository") == "shop/web"
        assert page.locator("#tags tbody tr td:nth-child(2)").first.inner_text() == "shop/web"


def test_table_of_repositories_sorts(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, samples.planned()) as page:
        page.click("#repositories thead button >> text=Repository")
        names = page.locator("#repositories tbody th").all_inner_texts()
        assert names == sorted(names)
        page.click("#repositories thead button >> text=Tags")
        numbers = page.locator("#repositories tbody td:nth-child(2)").all_inner_texts()
        assert list(map(int, numbers)) == sorted(map(int, numbers), reverse=True)


def test_tags_of_equal_reasons_are_shown_oldest_first(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, samples.planned()) as page:
        page.select_option("#repository", "shop/api")
        page.select_option("#fate", "delete")
        pushed = page.locator("#tags tbody td:nth-child(3)").all_inner_texts()
        assert len(pushed) == 50
        assert pushed == sorted(pushed)


def test_narrow_screen_breaks_no_short_name(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, samples.planned(), viewport={"width": 400, "height": 800}) as page:
        heights = page.locator("#tags tbody th button").evaluate_all("all => all.map((one) => one.clientHeight)")
        assert len(set(heights)) == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_hostile_names_are_shown_as_text(browser: Any, tmp_path: Path, world: str) -> None:
    with opened(browser, tmp_path, hostile.WORLDS[world]()) as page:
        elements = page.evaluate("[...document.querySelectorAll('main *, dialog *')].map((one) => one.localName)")
        assert not {"script", "img", "iframe", "a", "object", "base"} & set(elements)
        page.locator("#tags tbody button").first.click()
        assert page.is_visible("#details")


def test_narrow_dark_and_printed_pages_fit(browser: Any, tmp_path: Path) -> None:
    options = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}
    with opened(browser, tmp_path, samples.partial(), **options) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.is_visible("#filters")


def test_page_of_200_000_tags_answers_quickly(browser: Any, tmp_path: Path) -> None:
    """Load and search, in seconds. The bounds are for slow machines."""
    with opened(browser, tmp_path, large_result(200, 1000)) as page:
        load = page.evaluate("performance.timing.domComplete - performance.timing.navigationStart") / 1000
        search = page.evaluate(
            "(() => { byId('search').value = '77'; const from = performance.now(); filter();"
            " return performance.now() - from; })()"
        )
        memory = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        assert (load < 15, search < 2000, memory < 400) == (True, True, True), (
            f"{load:.1f} s, {search:.0f} ms, {memory:.0f} MB"
        )
