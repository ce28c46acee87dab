"""An accessibility pass over each page: axe-core finds nothing against WCAG 2.1 AA, in light and in dark."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.e2e.conftest import OpenPage
from tests.e2e.pages import PAGES
from tests.e2e.shop import Runs

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
OPTIONS = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}


def violations(page: Page) -> list[Any]:
    """Which rules are broken, where."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [(rule["id"], [(node["html"][:200], node["failureSummary"]) for node in rule["nodes"][:3]]) for rule in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_each_page(name: str, theme: str, open_page: OpenPage, runs: Runs):
    page = open_page(PAGES[name][0].format(runs=runs), color_scheme=theme).page
    page.locator("h1, h2").first.wait_for()
    assert violations(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_the_dialogs(theme: str, open_page: OpenPage, runs: Runs):
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
