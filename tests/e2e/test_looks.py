"""Themes are kept; small windows scroll in one direction; who wants no motion gets none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.pages import PAGES
from tests.e2e.shop import Runs

Show = Callable[..., Page]


def background(page: Page) -> float:
    """How bright it is, of 1."""
    text: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return float(text.removeprefix("oklch(").split()[0])


@pytest.mark.parametrize(("system", "is_bright"), [("light", True), ("dark", False)])
def test_the_theme_is_that_of_the_system_until_somebody_chooses(system: str, is_bright: bool, show: Show, runs: Runs):
    page = show("/queues", is_new=True, color_scheme=system)
    assert (background(page) > 0.5) == is_bright


def test_a_theme_that_was_chosen_is_remembered(show: Show, runs: Runs):
    page = show("/queues", is_new=True, color_scheme="light")
    switch = page.locator("[data-theme-switch]")
    for wanted, is_bright in (("light", True), ("dark", False)):
        page.keyboard.press("t")
        expect(switch).to_have_accessible_name(f"Theme: {wanted}")
        assert (background(page) > 0.5) == is_bright
        page.goto(page.url.replace("/queues", "/workers").replace("/workers", "/queues"))
        page.reload()
        expect(switch).to_have_accessible_name(f"Theme: {wanted}")
        assert (background(page) > 0.5) == is_bright
    switch.click()
    expect(switch).to_have_accessible_name("Theme: system")
    assert background(page) > 0.5


@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_window_scrolls_in_one_direction(name: str, show: Show, runs: Runs):
    page = show(PAGES[name][0].format(runs=runs), viewport={"width": 390, "height": 844})
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    wide = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(it => it.getBoundingClientRect().right > innerWidth + 1"
        " && !it.closest('.scroll, .tabs, .side, .tree, .axis, .track, .trace')).map(it => it.outerHTML.slice(0, 120))"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, wide


def test_who_wants_no_motion_gets_none(show: Show, runs: Runs):
    moving, still = (
        show(f"/runs/{runs.running}", reduced_motion=wish).evaluate(
            "getComputedStyle(document.querySelector('.bar.is-running')).animationName"
        )
        for wish in ("no-preference", "reduce")
    )
    assert (moving, still) == ("pulse", "none")
