"""Who may only look is offered nothing to change; who has a password comes in with it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from redisflow.dashboard.access.credentials import BasicAuth
from redisflow.dashboard.access.roles import Role
from tests.e2e.conftest import OpenPage
from tests.e2e.shop import Runs
from tests.e2e.stage import Stage

PASSWORDS = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "ada": Role.ADMIN}
PATHS = (
    "/runs",
    "/runs/{runs.failed}",
    "/runs/{runs.waiting}",
    "/workflows",
    "/workflows/order",
    "/queues",
    "/schedules",
    "/runs/new?workflow=order",
)
CHANGES = "[data-post], [data-bulk], [data-open='signal'], [data-open='fork'], [data-key='new'], a[href*='/runs/new']"


@pytest.fixture(scope="session")
def guarded(stage: Stage) -> str:
    return stage.serve(auth=BasicAuth({name: (f"{name}-secret", role) for name, role in PASSWORDS.items()}))


@pytest.fixture(scope="session")
def read_only(stage: Stage) -> str:
    return stage.serve(read_only=True)


def as_user(name: str) -> dict[str, dict[str, str]]:
    return {"http_credentials": {"username": name, "password": f"{name}-secret"}}


@pytest.mark.parametrize("path", PATHS)
def test_a_viewer_is_offered_no_change(path: str, open_page: OpenPage, guarded: str, runs: Runs):
    page = open_page(path.format(runs=runs), at=guarded, **as_user("vera")).page
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".side")).to_contain_text("vera · viewer")
    assert page.locator(CHANGES).count() == 0


@pytest.mark.parametrize("path", PATHS)
def test_a_dashboard_that_is_read_only_offers_no_change(path: str, open_page: OpenPage, read_only: str, runs: Runs):
    page = open_page(path.format(runs=runs), at=read_only).page
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".side")).to_contain_text("read only")
    assert page.locator(CHANGES).count() == 0


def test_a_viewer_who_asks_anyway_is_refused(open_page: OpenPage, guarded: str, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    watched = open_page(f"/runs/{run_id}", at=guarded, **as_user("vera"))
    watched.allow("403")
    page = watched.page
    page.evaluate(
        "id => { const it = document.createElement('button'); it.textContent = 'Sneak'; it.type = 'button';"
        " it.dataset.post = `api/v1/runs/${id}:cancel`; document.body.prepend(it); }",
        run_id,
    )
    page.get_by_role("button", name="Sneak").click()
    expect(page.locator(".toast.is-fail")).to_contain_text("needs the role operator")
    assert stage.status(run_id) == "waiting:timer"


def test_an_operator_does_all_but_delete_and_stands_among_the_events(open_page: OpenPage, guarded: str, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = open_page(f"/runs/{run_id}?tab=events", at=guarded, **as_user("otto")).page
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.get_by_text("cancel by otto")).to_be_visible()
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)


def test_an_admin_deletes(open_page: OpenPage, guarded: str, stage: Stage):
    run_id = stage.finish(stage.start("echo", 1))
    page = open_page(f"/runs/{run_id}", at=guarded, **as_user("ada")).page
    page.locator("#page").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Confirm").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")


def test_pages_of_a_guarded_dashboard_are_live(open_page: OpenPage, guarded: str, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = open_page(f"/runs/{run_id}", at=guarded, **as_user("vera")).page
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    stage.run(stage.flow.cancel_workflow_run(run_id))
    expect(page.locator(".head .pill")).to_have_text("canceled")


def test_a_wrong_password_shows_nothing(open_page: OpenPage, guarded: str, runs: Runs):
    wrong = {"username": "vera", "password": "guessed"}
    page = open_page("/runs", at=guarded, is_new=True, allow="401", http_credentials=wrong).page
    expect(page.locator("body")).to_contain_text("say who you are")
    expect(page.locator("#page")).to_have_count(0)
