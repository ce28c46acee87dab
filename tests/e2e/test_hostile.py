"""What users store is text on every page, whatever it looks like."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.shop import CLOSED, IMAGE, MARKUP, SCRIPT, TURNED, Runs

Show = Callable[..., Page]
PLACES = {
    "the list": "/runs?q=workflow:hostile",
    "a filter": f"/runs?q=tag:%22script%3D{SCRIPT.replace('/', '%2F')}%22",
    "a filter that is none": f"/runs?q={IMAGE.replace('=', '%3D')}",
    "the run": "/runs/{runs.hostile}",
    "a step": "/runs/{runs.hostile}?step=%3Cscript%3Ewindow.owned+%3D+1%3C%2Fscript%3E",
    "the step that failed": "/runs/{runs.hostile}?step=fall",
    "steps": "/runs/{runs.hostile}?tab=steps",
    "a search for steps": "/runs/{runs.hostile}?tab=steps&find=%22%3E%3Csvg",
    "events": "/runs/{runs.hostile}?tab=events",
    "json": "/runs/{runs.hostile}?tab=json",
    "metrics": "/metrics?workflow=%3C%2Fscript%3E%3Cscript%3Ewindow.owned%3D1%3C%2Fscript%3E",
    "a new run": "/runs/new?workflow=%22%3E%3Csvg+onload%3D%22window.owned%3D1%22%3E",
}


@pytest.mark.parametrize("place", PLACES)
def test_markup_in_payloads_is_text(place: str, show: Show, runs: Runs):
    page = show(PLACES[place].format(runs=runs))
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("window.owned") is None
    assert (
        page.locator("#page script:not([type='application/json']), #page img, #page [onload], #page [onerror]").count()
        == 0
    )


def test_all_of_it_can_be_read(show: Show, runs: Runs):
    page = show(f"/runs/{runs.hostile}")
    inspector = page.get_by_role("complementary", name="Details")
    for text in MARKUP:
        expect(inspector).to_contain_text(text)
        expect(page.locator(f"a.line .key[title={_quoted(text)}]")).to_have_text(text)
    expect(page.locator(".facts").first).to_contain_text(f"image={IMAGE}")


def test_signs_that_turn_text_around_turn_nothing_else_around(show: Show, runs: Runs):
    page = show(f"/runs/{runs.hostile}")
    text = page.get_by_role("complementary", name="Details").inner_text()
    assert TURNED not in text
    assert "gpj.exe" in text


def test_what_is_wrong_and_a_dialog_show_text(show: Show, runs: Runs):
    page = show(f"/runs/{runs.waiting}")
    page.get_by_role("button", name="Signal", exact=True).click()
    dialog = page.get_by_role("dialog", name="Send a signal")
    dialog.get_by_label("Data, as JSON").fill(CLOSED)
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("alert")).to_contain_text("is not JSON")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type(IMAGE)
    page.keyboard.press("Escape")
    assert page.evaluate("window.owned") is None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
