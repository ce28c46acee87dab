"""Everything that is often done can be done without a mouse."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.shop import Runs
from tests.e2e.stage import Stage

Show = Callable[..., Page]


@pytest.fixture
def three(show: Show, stage: Stage) -> tuple[Page, list[str]]:
    """A list of three runs, and their ids from top to bottom."""
    tag = secrets.token_hex(4)
    ids = [stage.finish(stage.start("echo", number, tags={"t": tag})) for number in range(3)]
    page = show(f"/runs?q=tag:t%3D{tag}")
    expect(page.locator("[data-run]")).to_have_count(3)
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    return page, ids[::-1]


def test_j_and_k_move_and_enter_opens(three):
    page, ids = three
    page.keyboard.press("j")
    expect(page.locator("tr.at")).to_have_id(f"row-{ids[0]}")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.at")).to_have_id(f"row-{ids[2]}")
    page.keyboard.press("k")
    expect(page.locator("tr.at")).to_have_id(f"row-{ids[1]}")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/runs/{ids[1]}$"))


def test_x_chooses_and_lets_go(three):
    page, ids = three
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#bulk")).to_contain_text("2 chosen")
    expect(page.get_by_label(f"Choose run {ids[0]}")).to_be_checked()
    page.keyboard.press("x")
    expect(page.locator("#bulk")).to_contain_text("1 chosen")
    expect(page.get_by_label(f"Choose run {ids[1]}")).not_to_be_checked()


def test_where_one_is_and_what_is_chosen_survive_an_update(three, stage: Stage):
    page, ids = three
    page.keyboard.press("j")
    page.keyboard.press("x")
    tag = page.url.rpartition("%3D")[2]
    new = stage.finish(stage.start("echo", 9, tags={"t": tag}))
    expect(page.locator(f"#row-{new}")).to_be_visible()
    expect(page.locator("tr.at")).to_have_id(f"row-{ids[0]}")
    expect(page.get_by_label(f"Choose run {ids[0]}")).to_be_checked()
    expect(page.get_by_label(f"Choose run {new}")).not_to_be_checked()
    page.keyboard.press("k")
    expect(page.locator("tr.at")).to_have_id(f"row-{new}")


def test_slash_goes_to_the_filter_and_escape_leaves_it(three):
    page, _ = three
    page.keyboard.press("/")
    expect(page.get_by_label("Filter")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.type(" jk?")
    expect(page.get_by_label("Filter")).to_have_value(re.compile(" jk\\?$"))
    expect(page.locator("tr.at")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_label("Filter")).not_to_be_focused()


@pytest.mark.parametrize(
    ("key", "heading"),
    [
        ("r", "Runs"),
        ("w", "Workflows"),
        ("q", "Queues"),
        ("o", "Workers"),
        ("s", "Schedules"),
        ("i", "Signals"),
        ("m", "Metrics"),
        ("y", "System"),
    ],
)
def test_g_and_a_letter_go_to_a_page(key: str, heading: str, show: Show, runs: Runs):
    page = show("/queues" if key != "q" else "/runs")
    page.keyboard.press("g")
    page.keyboard.press(key)
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)


def test_a_question_mark_shows_the_keys_and_escape_hides_them(show: Show, runs: Runs):
    page = show("/runs")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keyboard")
    expect(keys).to_contain_text("Next and previous row")
    page.keyboard.press("j")
    expect(page.locator("tr.at")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    page.get_by_role("button", name="Keyboard").click()
    keys.get_by_role("button", name="Close").click()
    expect(keys).to_be_hidden()


def test_c_cancels_once_somebody_is_sure(show: Show, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = show(f"/runs/{run_id}")
    page.keyboard.press("c")
    expect(page.get_by_role("dialog", name="Confirm")).to_contain_text("Cancel this run?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Confirm")).to_be_hidden()
    assert stage.status(run_id) == "waiting:timer"
    page.keyboard.press("c")
    page.get_by_role("button", name="Cancel the run").press("Enter")
    expect(page.locator(".head .pill")).to_have_text("canceled")


def test_a_question_is_not_answered_by_the_closing_of_the_one_before(show: Show, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = show(f"/runs/{run_id}")
    page.keyboard.press("c")
    # The browser tells of a closing later than it closes: here somebody was faster.
    page.evaluate("""() => {
        document.getElementById("confirm").close();
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "c", bubbles: true }));
    }""")
    page.get_by_role("dialog", name="Confirm").get_by_role("button", name="Cancel the run").press("Enter")
    expect(page.locator(".head .pill")).to_have_text("canceled")


def test_r_retries_a_run_that_failed(show: Show, stage: Stage):
    run_id = stage.finish(stage.start("refund", 1))
    page = show(f"/runs/{run_id}")
    page.keyboard.press("r")
    expect(page.locator(".facts").first).to_contain_text("Retried by hand")
    assert stage.run(stage.flow.get_run(run_id)).retries == 1


def test_n_begins_a_new_run(show: Show, runs: Runs):
    page = show("/workflows/order")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_have_text("New run")
    expect(page.get_by_label("Workflow")).to_have_value("order")


def test_p_stops_and_goes_on(show: Show, runs: Runs):
    page = show("/runs")
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    page.keyboard.press("p")
    expect(page.locator("[data-live]")).to_have_text("Paused")
    page.keyboard.press("p")
    expect(page.locator("[data-live]")).to_have_text("Live")


def test_a_run_is_found_by_its_id_in_the_palette(show: Show, runs: Runs):
    page = show("/queues")
    page.keyboard.press("Control+k")
    page.keyboard.type(runs.failed)
    expect(page.get_by_role("dialog", name="Go to").get_by_role("link").first).to_have_text(f"Run {runs.failed}")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("refund")


def test_pages_and_filters_are_found_in_the_palette(show: Show, runs: Runs):
    page = show("/runs")
    page.get_by_role("button", name="Go to a page or run").click()
    page.keyboard.type("sch")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Schedules")
    page.keyboard.press("Control+k")
    page.keyboard.type("status:failed")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_text(["status:failed"])


def test_workflows_and_the_form_of_a_run_are_found_in_the_palette(show: Show, runs: Runs):
    page = show("/queues")
    page.keyboard.press("Control+k")
    page.keyboard.type("efun")
    links = page.get_by_role("dialog", name="Go to").get_by_role("link")
    expect(links).to_have_text(["refund", "Runs with workflow:efun"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/workflows/refund$"))
    page.keyboard.press("Control+k")
    page.keyboard.type("new")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New run")


def test_tab_reaches_the_content_past_the_navigation(show: Show, runs: Runs):
    page = show("/runs")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#page")).to_be_focused()
