"""Mounted under a prefix in somebody's FastAPI application, everything leads back there."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from playwright.sync_api import expect

from redisflow import RedisFlow
from redisflow.dashboard.app import dashboard_app
from tests.e2e.accessibility import violations
from tests.e2e.conftest import OpenPage
from tests.e2e.shop import Runs
from tests.e2e.stage import Stage

PREFIX = "/ops/flows"


@pytest.fixture(scope="session")
def mounted(stage: Stage) -> str:
    app = FastAPI()
    app.mount(PREFIX, dashboard_app(stage.flow))
    return stage.serve(app)


def test_every_link_stays_below_the_prefix(open_page: OpenPage, mounted: str, runs: Runs):
    page = open_page(f"{PREFIX}/", at=mounted).page
    expect(page).to_have_url(re.compile(f"{PREFIX}/runs$"))
    paths = [PREFIX + entry for entry in ("/workflows", "/queues", "/workers", "/schedules", "/signals", "/metrics")]
    for path in [f"{PREFIX}/runs/{runs.family}?tab=children", f"{PREFIX}/workflows/order", *paths]:
        links = page.eval_on_selector_all("a[href]", "all => all.map(a => new URL(a.href).pathname)")
        assert links
        assert all(link.startswith(f"{PREFIX}/") for link in links), links
        page.goto(mounted + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_another_namespace_is_a_click_away(open_page: OpenPage, stage: Stage, runs: Runs):
    other = RedisFlow(stage.flow.location.url, namespace=f"{stage.flow.namespace}:other")
    app = FastAPI()
    app.mount(PREFIX, dashboard_app(stage.flow, others=[other]))
    page = open_page(f"{PREFIX}/runs", at=stage.serve(app)).page
    for path, namespace in (("/ns/" + other.namespace, other.namespace), ("", stage.flow.namespace)):
        menu = page.get_by_role("navigation", name="Namespaces")
        menu.locator("summary").click()
        menu.get_by_role("link", name=namespace, exact=True).click()
        expect(page).to_have_url(re.compile(f"{PREFIX}{path}/runs$"))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    page.keyboard.press("Control+k")
    page.keyboard.type(":other")
    expect(page.get_by_role("dialog", name="Go to").get_by_role("link").first).to_have_text(
        f"Namespace {other.namespace}"
    )
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/ns/{other.namespace}/runs$"))
    stage.run(other.close())


def test_a_narrow_window_leads_to_all_pages_and_other_namespaces(open_page: OpenPage, stage: Stage, runs: Runs):
    other = RedisFlow(stage.flow.location.url, namespace=f"{stage.flow.namespace}:far")
    app = dashboard_app(stage.flow, others=[other])
    page = open_page("/system", at=stage.serve(app), viewport={"width": 390, "height": 844}).page
    shown = page.get_by_role("navigation", name="Pages").get_by_role("link", name="System")
    expect(shown).to_be_in_viewport(ratio=0.9)
    side = page.locator(".side").bounding_box()
    assert side is not None
    assert side["height"] < 100
    menu = page.get_by_role("navigation", name="Namespaces")
    menu.locator("summary").click()
    assert not violations(page)
    menu.get_by_role("link", name=other.namespace, exact=True).click()
    expect(page).to_have_url(re.compile(f"/ns/{other.namespace}/runs$"))
    stage.run(other.close())


def test_it_looks_and_moves_as_anywhere(open_page: OpenPage, mounted: str, runs: Runs):
    page = open_page(f"{PREFIX}/queues", at=mounted).page
    assert page.evaluate("getComputedStyle(document.querySelector('.shell')).display") == "grid"
    page.keyboard.press("g")
    page.keyboard.press("w")
    expect(page).to_have_url(re.compile(f"{PREFIX}/workflows$"))
    page.keyboard.press("Control+k")
    page.keyboard.type(runs.succeeded)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"{PREFIX}/runs/{runs.succeeded}$"))
    page.locator('[data-row="pack"]').click()
    expect(page.get_by_role("complementary", name="Details")).to_contain_text("parcel of o-1")


def test_pages_are_live_and_actions_are_done(open_page: OpenPage, mounted: str, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = open_page(f"{PREFIX}/runs/{run_id}", at=mounted).page
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".head .pill")).to_have_text("waiting: paused")
    stage.run(stage.flow.cancel_workflow_run(run_id))
    expect(page.locator(".head .pill")).to_have_text("canceled")
    page.locator("#page").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Confirm").get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile(f"{PREFIX}/runs$"))
    page.get_by_label("Filter").fill("status:failed")
    page.get_by_label("Filter").press("Enter")
    expect(page).to_have_url(re.compile(f"{PREFIX}/runs\\?q="))
