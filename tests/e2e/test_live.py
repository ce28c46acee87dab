"""Pages follow what happens, stop when they are told to, and catch up when they were away."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from redisflow.testing import ServerOptions, start_server
from redisflow.testing.server import Server
from tests.e2e.conftest import OpenPage
from tests.e2e.shop import define_shop
from tests.e2e.stage import Stage, open_stage

Show = Callable[..., Page]


@pytest.fixture
def held(stage: Stage) -> tuple[str, Callable[[], None]]:
    """A run that holds in its step, and what lets it go on."""
    name = secrets.token_hex(4)
    run_id = stage.until(stage.start("held", name), "running")
    return run_id, lambda: stage.call(stage.parts.gates[name].set)


def pill(page: Page) -> str:
    return page.locator(".head .pill").inner_text()


def test_a_run_that_ends_is_shown_as_ended_without_a_reload(show: Show, stage: Stage, held):
    run_id, release = held
    page = show(f"/runs/{run_id}")
    expect(page.locator(".head .pill")).to_have_text("running")
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    page.evaluate("window.isTheSame = true")
    release()
    expect(page.locator(".head .pill")).to_have_text("succeeded")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert page.evaluate("window.isTheSame")


def test_a_list_shows_a_run_that_begins(show: Show, stage: Stage):
    tag = secrets.token_hex(4)
    page = show(f"/runs?q=tag:t%3D{tag}")
    expect(page.get_by_text("No run matches")).to_be_visible()
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    run_id = stage.finish(stage.start("echo", 1, tags={"t": tag}))
    expect(page.locator(f"#row-{run_id}")).to_contain_text("succeeded")


def test_it_can_be_stopped_and_goes_on(show: Show, stage: Stage, held):
    run_id, release = held
    page = show(f"/runs/{run_id}")
    live = page.locator("[data-live]")
    expect(live).to_have_attribute("data-state", "on")
    live.click()
    expect(live).to_have_text("Paused")
    with page.expect_event("console", lambda message: message.text == "withheld"):
        page.evaluate(
            "document.addEventListener('htmx:sse:before:message', () => setTimeout(() => console.log('withheld')))"
        )
        release()
    stage.finish(run_id)
    assert pill(page) == "running"
    live.click()
    expect(page.locator(".head .pill")).to_have_text("succeeded")
    expect(live).to_have_text("Live")


def test_what_came_while_somebody_typed_is_shown_when_they_leave_the_field(show: Show, stage: Stage):
    tag = secrets.token_hex(4)
    page = show(f"/runs?q=tag:t%3D{tag}")
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    page.get_by_label("Filter").press("End")
    page.get_by_label("Filter").press_sequentially(" status:fai")
    with page.expect_event("console", lambda message: message.text == "withheld"):
        page.evaluate(
            "document.addEventListener('htmx:sse:before:message', () => setTimeout(() => console.log('withheld')))"
        )
        run_id = stage.finish(stage.start("echo", 1, tags={"t": tag}))
    expect(page.get_by_label("Filter")).to_have_value(f"tag:t={tag} status:fai")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    expect(page.locator(f"#row-{run_id}")).to_be_visible()


def test_a_hidden_tab_catches_up_when_it_is_looked_at_again(show: Show, stage: Stage, held):
    run_id, release = held
    page = show(f"/runs/{run_id}")
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    page.evaluate(
        "Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.isHidden });"
        "window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))"
    )
    release()
    stage.finish(run_id)
    assert pill(page) == "running"
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(".head .pill")).to_have_text("succeeded")


def test_a_run_that_is_deleted_while_it_is_looked_at_is_gone(open_page: OpenPage, stage: Stage):
    run_id = stage.finish(stage.start("echo", 1))
    watched = open_page(f"/runs/{run_id}")
    expect(watched.page.locator("[data-live]")).to_have_attribute("data-state", "on")
    stage.run(stage.flow.delete_run(run_id))
    expect(watched.page.locator("#page")).to_contain_text("404")
    expect(watched.page.locator("[data-live]")).to_have_text("Live")


@pytest.fixture
def own_server() -> Iterator[Server]:
    with start_server(ServerOptions()) as server:
        yield server


def test_a_server_that_is_away_is_told_and_the_page_goes_on_by_itself(open_page: OpenPage, own_server: Server):
    with open_stage(own_server.url, "away", define_shop) as stage:
        run_id = stage.until(stage.start("nap"), "waiting:timer")
        watched = open_page(f"/runs/{run_id}", at=stage.serve())
        page = watched.page
        expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
        own_server.kill()
        expect(page.locator("[data-live]")).to_have_text("Not connected", timeout=30_000)
        expect(page.locator(".head .pill")).to_have_text("waiting: timer")
        own_server.restart()
        expect(page.locator("[data-live]")).to_have_text("Live", timeout=30_000)
        stage.run(stage.flow.cancel_workflow_run(run_id))
        expect(page.locator(".head .pill")).to_have_text("canceled")
        page.close()
