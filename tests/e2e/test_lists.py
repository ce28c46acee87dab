"""What is looked for stands in the address: tabs, filters, spans and places in a list survive Back and a reload."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.shop import Runs

Show = Callable[..., Page]


def count_of(page: Page) -> int:
    return page.locator("[data-run]").count()


def test_a_filter_that_is_typed_stands_in_the_address_and_survives_back(show: Show, runs: Runs):
    page = show("/runs")
    page.get_by_label("Filter").fill("workflow:refund")
    page.get_by_label("Filter").press("Enter")
    expect(page).to_have_url(re.compile(r"\?q=workflow%3Arefund"))
    expect(page.locator(f"#row-{runs.failed}")).to_be_visible()
    page.locator(f"#row-{runs.failed} a.name").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("refund")
    page.go_back()
    expect(page.get_by_label("Filter")).to_have_value("workflow:refund")
    expect(page.locator(f"#row-{runs.failed}")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Filter")).to_have_value("")


def test_chips_say_what_is_filtered_and_are_taken_off_one_by_one(show: Show, runs: Runs):
    page = show('/runs?q=workflow:order tag:"customer=c1" status:succeeded')
    chips = page.locator(".chip")
    expect(chips).to_have_text(["workflow:order", "status:succeeded", "tag:customer=c1"])
    page.get_by_role("link", name="Without status:succeeded").click()
    expect(chips).to_have_text(["workflow:order", "tag:customer=c1"])
    page.get_by_role("link", name="Clear all").click()
    expect(chips).to_have_count(0)
    assert page.url.endswith("/runs")


def test_tabs_keep_the_rest_of_the_filter(show: Show, runs: Runs):
    page = show("/runs?q=workflow:refund")
    tabs = page.get_by_role("navigation", name="Status")
    tabs.get_by_role("link", name="Failed").click()
    expect(page.locator(".chip")).to_have_text(["workflow:refund", "status:failed"])
    expect(tabs.get_by_role("link", name="Failed")).to_have_attribute("aria-current", "true")
    tabs.get_by_role("link", name="Succeeded").click()
    expect(page.get_by_text("No run matches")).to_be_visible()
    tabs.get_by_role("link", name="All").click()
    expect(page.locator(".chip")).to_have_text(["workflow:refund"])


def test_the_stranded_have_a_tab_that_counts_them(show: Show, runs: Runs):
    page = show("/runs")
    tab = page.get_by_role("navigation", name="Status").get_by_role("link", name="Stranded")
    expect(tab.locator(".badge.hot")).to_be_visible()
    tab.click()
    expect(page.locator(f"#row-{runs.stranded}")).to_be_visible()


def test_a_span_of_time_is_chosen(show: Show, runs: Runs):
    page = show("/runs?q=workflow:refund")
    spans = page.get_by_role("group", name="Created within")
    spans.get_by_role("link", name="1 h").click()
    expect(page.locator(".chip")).to_have_text(["workflow:refund", "created>1h"])
    expect(page.locator(f"#row-{runs.failed}")).to_be_visible()
    spans.get_by_role("link", name="all").click()
    expect(page.locator(".chip")).to_have_text(["workflow:refund"])


def test_a_tag_leads_to_the_runs_that_have_it(show: Show, runs: Runs):
    page = show(f"/runs/{runs.succeeded}")
    page.get_by_role("link", name="customer=c1").click()
    expect(page.locator("[data-run]")).to_have_count(1)
    expect(page.locator(f"#row-{runs.succeeded}")).to_be_visible()


def test_a_long_list_is_read_page_by_page(show: Show, runs: Runs):
    page = show("/runs?q=tag:batch%3Dsixty")
    expect(page.locator("[data-run]")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("[data-run]")).to_have_count(10)
    expect(page.get_by_text("10 runs on this page")).to_be_visible()
    page.go_back()
    expect(page.locator("[data-run]")).to_have_count(50)
    page.go_forward()
    page.get_by_role("link", name="First page").click()
    expect(page.locator("[data-run]")).to_have_count(50)


def test_a_run_id_alone_finds_the_run(show: Show, runs: Runs):
    page = show("/runs")
    page.get_by_label("Filter").fill(runs.sleeping)
    page.get_by_label("Filter").press("Enter")
    expect(page.locator("[data-run]")).to_have_count(1)
    expect(page.locator(f"#row-{runs.sleeping}")).to_contain_text("waiting: timer")


def test_a_bare_word_is_told_how_a_workflow_is_looked_for(show: Show, runs: Runs):
    page = show("/runs")
    page.get_by_label("Filter").fill("refund")
    page.get_by_label("Filter").press("Enter")
    expect(page.get_by_role("note")).to_contain_text("the runs of a workflow are workflow:refund")
    expect(page.locator("#page .card")).to_have_count(0)


def test_a_list_says_that_the_unfinished_come_first(show: Show, runs: Runs):
    page = show("/runs")
    expect(page.get_by_text("50 runs on this page, unfinished first")).to_be_visible()
    page.get_by_role("navigation", name="Status").get_by_role("link", name="Failed").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_text("unfinished first")).to_have_count(0)


def test_a_filter_is_kept_in_this_browser_until_it_is_forgotten(show: Show, runs: Runs):
    page = show("/runs?q=workflow:refund", is_new=True)
    page.get_by_role("button", name="Save this filter").click()
    expect(page.get_by_role("button", name="Save this filter")).to_be_hidden()
    page.get_by_role("link", name="Clear all").click()
    expect(page.get_by_role("group", name="Saved views")).to_contain_text("Saved:")
    page.get_by_role("link", name="workflow:refund").click()
    expect(page.get_by_label("Filter")).to_have_value("workflow:refund")
    page.get_by_role("button", name="Forget workflow:refund").click()
    expect(page.get_by_role("button", name="Save this filter")).to_be_visible()
    page.reload()
    expect(page.locator(".chip.saved")).to_have_count(0)
