"""Each page in both themes: its heading and its data are there; axe-core and the browser have nothing to say."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.accessibility import violations
from tests.e2e.conftest import OpenPage
from tests.e2e.pages import PAGES
from tests.e2e.shop import Runs


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_its_data_is_accessible_and_the_browser_is_content(
    name: str, theme: str, open_page: OpenPage, runs: Runs
):
    path, heading, data = PAGES[name]
    watched = open_page(path.format(runs=runs), color_scheme=theme)
    page = watched.page
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    for text in data:
        expect(page.locator("#page").get_by_text(text).first).to_be_visible()
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_count(8)
    if name != "start a run":
        expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    watched.check()
    assert violations(page) == []


def test_the_root_leads_to_the_runs(open_page: OpenPage, runs: Runs):
    page = open_page("/").page
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    assert page.url.endswith("/runs")


def test_what_is_not_there_is_told_on_a_page(open_page: OpenPage, runs: Runs):
    watched = open_page(f"/runs/{'0' * 32}")
    watched.allow("404")
    expect(watched.page.locator("#page")).to_contain_text("404")
    watched.page.get_by_role("navigation", name="Pages").get_by_text("Runs").click()
    expect(watched.page.get_by_role("heading", level=1)).to_have_text("Runs")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_dialogs_are_accessible(theme: str, open_page: OpenPage, runs: Runs):
    page = open_page(f"/runs/{runs.waiting}", color_scheme=theme).page
    for opener in ("?", "Control+k"):
        page.keyboard.press(opener)
        page.locator("dialog[open]").wait_for()
        assert violations(page) == []
        page.keyboard.press("Escape")
    for button in ("Signal", "Fork", "Cancel"):
        page.get_by_role("button", name=button, exact=True).click()
        page.locator("dialog[open]").wait_for()
        assert violations(page) == []
        page.keyboard.press("Escape")


def test_the_accessibility_pass_sees_what_is_wrong(open_page: OpenPage, runs: Runs):
    page = open_page("/queues").page
    page.evaluate("document.querySelector('.top').append(document.createElement('input'))")
    assert [rule for rule, _ in violations(page)] == ["label"]


def test_the_browser_is_watched_for_what_pages_must_not_do(open_page: OpenPage, runs: Runs):
    watched = open_page("/queues")
    page = watched.page
    with page.expect_console_message(lambda message: "x.png" in message.text):
        page.evaluate(
            "const it = document.createElement('script'); it.text = 'window.owned = 1'; document.body.append(it);"
            "const image = new Image(); image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image)"
        )
    assert page.evaluate("window.owned") is None
    with pytest.raises(AssertionError, match=r"inline script violates.*Content Security Policy"):
        watched.check()
    watched.allow("Content Security Policy|x.png")
