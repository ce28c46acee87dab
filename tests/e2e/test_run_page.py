"""The page of a run: steps are looked at beside the timeline, found, filtered, and read page by page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.shop import MANY, Runs

Show = Callable[..., Page]


def is_settled(page: Page) -> None:
    """Its scripts are there: going back within a run reads the page again."""
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")


OVERLAPPING = """() => {
  const texts = [...document.querySelectorAll(".axis text")];
  const shown = texts.map((text) => text.getBoundingClientRect()).filter((it) => it.width);
  shown.sort((one, other) => one.left - other.left);
  return [shown.length, shown.filter((it, place) => place && it.left < shown[place - 1].right).length];
}"""
BEYOND = """() => {
  const right = (it) => it.getBoundingClientRect().right;
  const took = [...document.querySelectorAll(".line .took")];
  return took.filter((it) => it.scrollWidth > it.clientWidth || right(it) > right(it.closest(".card"))).length;
}"""


@pytest.mark.parametrize("width", [390, 700, 1400])
def test_nothing_on_the_axis_of_a_timeline_lies_over_anything_else(width: int, show: Show, runs: Runs):
    for run_id in (runs.succeeded, runs.sleeping, runs.large, runs.failed):
        page = show(f"/runs/{run_id}", viewport={"width": width, "height": 844})
        count, overlapping = page.evaluate(OVERLAPPING)
        assert count > 1
        assert overlapping == 0
        assert page.evaluate(BEYOND) == 0


def test_json_that_is_cut_says_where_all_of_it_is(show: Show, runs: Runs):
    page = show(f"/runs/{runs.large}?tab=json")
    link = page.get_by_role("link", name="all of it, from the API").first
    expect(link).to_have_attribute("href", f"/api/v1/runs/{runs.large}")


def test_a_step_opens_beside_the_timeline_where_one_is_and_back_closes_it(show: Show, runs: Runs):
    page = show(f"/runs/{runs.large}")
    is_settled(page)
    page.evaluate("window.isTheSame = true")
    row = page.locator('[data-row="lap 100"]')
    before = row.evaluate("row => { row.scrollIntoView({ block: 'center' }); return scrollY }")
    assert before > 500
    row.click()
    inspector = page.get_by_role("complementary", name="Details")
    expect(inspector.get_by_role("heading", name="lap 100")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?step=lap\+100$"))
    assert page.evaluate("scrollY") == before
    assert page.evaluate("window.isTheSame")
    page.go_back()
    expect(inspector.get_by_role("heading", name="lap 100")).to_have_count(0)
    assert page.url.endswith(runs.large)
    is_settled(page)
    page.go_forward()
    expect(inspector.get_by_role("heading", name="lap 100")).to_be_visible()
    is_settled(page)
    inspector.get_by_role("link", name="Close").click()
    expect(inspector.get_by_role("heading", name="lap 100")).to_have_count(0)


def test_a_link_to_a_step_can_be_given_to_somebody_else(show: Show, runs: Runs):
    page = show(f"/runs/{runs.failed}?step=pay+back")
    inspector = page.get_by_role("complementary", name="Details")
    expect(inspector).to_contain_text("ZeroDivisionError")
    expect(inspector.locator(".frame.own").last).to_contain_text("100 // (amount - amount)")


def test_the_inspector_stays_open_while_the_run_goes_on(show: Show, stage):
    name = "inspected"
    run_id = stage.until(stage.start("held", name), "running")
    page = show(f"/runs/{run_id}")
    page.locator('[data-row="hold"]').click()
    inspector = page.get_by_role("complementary", name="Details")
    expect(inspector.locator(".pill")).to_have_text("running")
    stage.call(stage.parts.gates[name].set)
    expect(inspector.locator(".pill")).to_have_text("succeeded")
    expect(inspector).to_contain_text("inspected went on")


def test_steps_are_found_by_name_and_by_what_became_of_them(show: Show, runs: Runs):
    page = show(f"/runs/{runs.large}?tab=steps")
    page.get_by_label("Find a step").fill("lap 31")
    page.get_by_label("Find a step").press("Enter")
    expect(page.locator("tr[data-row]")).to_have_count(10)
    expect(page).to_have_url(re.compile("tab=steps&find=lap"))
    page.get_by_label("Find a step").fill("")
    page.get_by_label("Find a step").press("Enter")
    page.get_by_role("group", name="Which steps").get_by_role("link", name="Failed").click()
    expect(page.locator("tr[data-row]")).to_have_count(1)
    expect(page.locator("tr[data-row]")).to_contain_text("lap 007")


def test_hundreds_of_steps_are_read_page_by_page(show: Show, runs: Runs):
    page = show(f"/runs/{runs.large}")
    expect(page.locator("a.line")).to_have_count(200)
    expect(page.get_by_text(f"Page 1 of 2: {MANY} steps")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    expect(page.locator("a.line")).to_have_count(MANY - 200)
    page.get_by_role("link", name="Before").click()
    expect(page.locator("a.line")).to_have_count(200)


def test_tabs_change_what_is_shown_without_a_reload_and_back_returns(show: Show, runs: Runs):
    page = show(f"/runs/{runs.succeeded}")
    is_settled(page)
    page.evaluate("window.isTheSame = true")
    views = page.get_by_role("navigation", name="Views")
    views.get_by_role("link", name="Steps").click()
    expect(page.get_by_role("columnheader", name="Attempts")).to_be_visible()
    views.get_by_role("link", name="JSON").click()
    expect(page.get_by_role("heading", name="The run as JSON")).to_be_visible()
    assert page.evaluate("window.isTheSame")
    assert page.url.endswith("tab=json")
    page.go_back()
    expect(page.get_by_role("columnheader", name="Attempts")).to_be_visible()
    is_settled(page)
    page.go_back()
    expect(page.locator("a.line")).to_have_count(2)


def test_attempts_that_failed_are_shown_with_why(show: Show, runs: Runs):
    page = show(f"/runs/{runs.succeeded}?step=charge")
    inspector = page.get_by_role("complementary", name="Details")
    expect(inspector.locator(".attempts > details")).to_have_count(3)
    inspector.get_by_text("attempt 2", exact=True).click()
    expect(inspector.get_by_text("the bank is busy with o-1").first).to_be_visible()


def test_parents_and_children_lead_to_one_another(show: Show, runs: Runs):
    page = show(f"/runs/{runs.family}?tab=children")
    page.get_by_role("row").filter(has_text="first").get_by_role("link", name="order").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("order")
    page.get_by_role("link", name="parent").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("family")


def test_the_id_is_copied(show: Show, runs: Runs):
    page = show(f"/runs/{runs.succeeded}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the id").click()
    expect(page.locator(".toast")).to_contain_text(runs.succeeded)
    assert page.evaluate("navigator.clipboard.readText()") == runs.succeeded


def draw_over_the_axis(page: Page, began: float, ended: float) -> None:
    """These are parts of its width."""
    box = page.locator("[data-scale]").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * began, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * ended, middle)
    page.mouse.up()


def test_a_part_of_the_time_is_drawn_over_and_seen_alone(show: Show, runs: Runs):
    page = show(f"/runs/{runs.family}")
    is_settled(page)
    expect(page.locator("a.line")).to_have_count(2)
    draw_over_the_axis(page, 0.98, 0.8)
    page.wait_for_url(re.compile(r"\?from=[\d.]+&to=[\d.]+$"))
    is_settled(page)
    expect(page.locator("a.line .key")).to_have_text(["second"])
    page.get_by_role("link", name="Show the whole time again").click()
    expect(page.locator("a.line")).to_have_count(2)
    assert "from=" not in page.url


def test_a_step_leads_to_the_part_of_the_time_in_which_it_was_under_way(show: Show, runs: Runs):
    page = show(f"/runs/{runs.large}?tab=steps&step=lap+100")
    inspector = page.get_by_role("complementary", name="Details")
    inspector.get_by_role("link", name="Zoom").click()
    page.wait_for_url(re.compile("from="))
    expect(page.locator(".tabs [aria-current]")).to_have_text("Timeline")
    expect(inspector.get_by_role("heading", name="lap 100")).to_be_visible()


def test_of_steps_beside_each_other_the_page_says_for_which_the_run_waited(show: Show, runs: Runs):
    pages = [show(f"/runs/{runs.large}?page={number}") for number in (1, 2)]
    for page in pages:
        expect(page.locator(".legend")).to_contain_text(re.compile(r"critical path: \d+ steps?"))
    marked = [text for page in pages for text in page.locator("a.line.critical").all_inner_texts()]
    assert marked
    assert all("on the critical path" in text for text in marked)


def test_a_run_is_copied_as_a_command_a_request_and_a_test(show: Show, runs: Runs):
    page = show(f"/runs/{runs.failed}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as").click()
    dialog = page.get_by_role("dialog", name="Copy as")
    for name, text in (
        ("Command", f"redisflow run trace {runs.failed}"),
        ("curl", f"curl --fail {page.url.split('/runs')[0]}/api/v1/runs/{runs.failed}"),
        ("Export", f"redisflow run export {runs.failed} --to refund-{runs.failed[-8:]}.json"),
        ("pytest", f'assert_replays("refund-{runs.failed[-8:]}.json", workflow)'),
    ):
        dialog.get_by_role("button", name=f"Copy {name}").click()
        assert text in page.evaluate("navigator.clipboard.readText()")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
