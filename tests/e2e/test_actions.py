"""What somebody does on a page happens in the engine, and stands among the events of the run."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from redisflow.authoring.definition import untyped
from tests.e2e.conftest import OpenPage
from tests.e2e.stage import Stage

Show = Callable[..., Page]


def press(page: Page, name: str, *, sure: str | None = None) -> None:
    """A button of the page, and of the dialog that asks whether one is sure."""
    page.locator("#page").get_by_role("button", name=name, exact=True).first.click()
    if sure is not None:
        page.get_by_role("dialog", name="Confirm").get_by_role("button", name=sure, exact=True).click()


def shows_event(page: Page, action: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_text("Events").click()
    expect(page.get_by_role("row").filter(has_text=f"{action} by anonymous").first).to_be_visible()


def other_run(page: Page, than: str) -> str:
    """The id of the run to whose page it led."""
    expect(page).not_to_have_url(re.compile(than))
    expect(page).to_have_url(re.compile("/runs/[0-9a-f]{32}"))
    return page.url.rpartition("/")[2]


def pill(page: Page, text: str) -> None:
    expect(page.locator(".head .pill")).to_have_text(text)


def test_a_run_is_canceled_once_somebody_has_said_that_they_are_sure(show: Show, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = show(f"/runs/{run_id}")
    press(page, "Cancel", sure="No")
    pill(page, "waiting: timer")
    assert stage.status(run_id) == "waiting:timer"
    press(page, "Cancel", sure="Cancel the run")
    pill(page, "canceled")
    assert stage.status(run_id) == "canceled"
    shows_event(page, "cancel")


def test_a_failed_run_is_retried_in_place(show: Show, stage: Stage):
    run_id = stage.finish(stage.start("brittle"))
    page = show(f"/runs/{run_id}")
    pill(page, "failed")
    stage.parts.is_healed = True
    try:
        press(page, "Retry")
        pill(page, "succeeded")
    finally:
        stage.parts.is_healed = False
    shows_event(page, "retry")


def test_a_run_is_started_again_with_its_input(show: Show, stage: Stage):
    run_id = stage.finish(stage.start("echo", {"again": True}))
    page = show(f"/runs/{run_id}")
    press(page, "Run again", sure="Run again")
    new_id = other_run(page, run_id)
    pill(page, "succeeded")
    assert stage.run(stage.flow.get_run(new_id)).input == {"again": True}
    shows_event(page, "start by rerun")


def test_a_signal_is_sent_to_all_that_wait_for_it(show: Show, stage: Stage):
    name = f"vote-{secrets.token_hex(4)}"
    run_ids = [stage.until(stage.start("poll", name), "waiting:signal") for _ in range(2)]
    page = show("/signals")
    press(page, "Send to all that wait")
    dialog = page.get_by_role("dialog", name="Send a signal")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Data").fill('{"by": "ada"}')
    dialog.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("Sent to 2 runs")
    for run_id in run_ids:
        stage.until(run_id, "succeeded")
    shows_event(show(f"/runs/{run_ids[0]}"), f"signal {name}")


def test_a_run_that_waits_is_sent_a_signal_from_the_list(show: Show, stage: Stage):
    run_id = stage.until(stage.start("approval"), "waiting:signal")
    page = show("/signals")
    page.get_by_role("link", name=f"Send a signal to {run_id}").click()
    dialog = page.get_by_role("dialog", name="Send a signal")
    expect(dialog.get_by_label("Name")).to_have_value("approved")
    dialog.get_by_role("button", name="Send").click()
    pill(page, "succeeded")
    page.reload()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_workflow_that_is_named_brings_what_it_takes(show: Show, stage: Stage):
    page = show("/runs/new")
    field, value = page.get_by_label("Workflow"), page.get_by_label("Input, as JSON")
    field.fill("order")
    field.blur()
    expect(page.get_by_text("What order takes")).to_be_visible()
    expect(value).to_have_attribute("placeholder", '"text"')
    field.fill("refund")
    field.blur()
    expect(page.get_by_text("What refund takes")).to_be_visible()
    expect(value).to_have_attribute("placeholder", "5")
    page.reload()
    expect(field).to_have_value("refund")
    field.fill("far.away")
    field.blur()
    expect(page.get_by_role("note")).to_contain_text("No live worker serves far.away")
    expect(page.get_by_text("What refund takes")).to_be_hidden()


def test_the_record_of_a_run_leads_to_its_steps(show: Show, stage: Stage):
    run_id = stage.finish(stage.start("brittle"))
    page = show(f"/runs/{run_id}?tab=history")
    rows = page.locator("tbody tr")
    expect(rows.first).to_be_visible()
    name = rows.first.locator("a.name").inner_text()
    rows.first.locator("a.name").click()
    expect(page.locator(".inspector h2")).to_have_text(name)


def test_a_signal_with_json_reaches_the_run_and_what_is_no_json_is_told(show: Show, stage: Stage):
    run_id = stage.until(stage.start("approval"), "waiting:signal")
    page = show(f"/runs/{run_id}")
    press(page, "Signal")
    dialog = page.get_by_role("dialog", name="Send a signal")
    expect(dialog.get_by_label("Name")).to_have_value("approved")
    dialog.get_by_label("Data, as JSON").fill('{"by": ')
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Data is not JSON")
    expect(dialog.get_by_label("Data, as JSON")).to_be_focused()
    assert stage.status(run_id) == "waiting:signal"
    dialog.get_by_label("Data, as JSON").fill('{"by": "ann", "total": 5}')
    dialog.get_by_role("button", name="Send").click()
    expect(dialog).to_be_hidden()
    pill(page, "succeeded")
    assert stage.run(stage.flow.get_run(run_id)).output == {"by": "ann", "total": 5}
    shows_event(page, "signal approved")


@pytest.mark.parametrize("step", ["pack", "All of them"])
def test_a_run_is_forked_from_a_step_or_from_its_beginning(step: str, show: Show, stage: Stage):
    run_id = stage.finish(stage.start("order", secrets.token_hex(4)))
    page = show(f"/runs/{run_id}")
    press(page, "Fork")
    page.get_by_label("First step that runs again").select_option(step)
    page.get_by_role("dialog", name="Fork").get_by_role("button", name="Fork").click()
    new_id = other_run(page, run_id)
    pill(page, "succeeded")
    assert stage.run(stage.flow.get_run(new_id)).forked_from == run_id
    shows_event(page, "start by fork")


def test_a_run_is_paused_and_goes_on(show: Show, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = show(f"/runs/{run_id}")
    press(page, "Pause")
    pill(page, "waiting: paused")
    assert stage.status(run_id) == "waiting:paused"
    press(page, "Resume")
    pill(page, "waiting: timer")
    stage.until(run_id, "waiting:timer")
    shows_event(page, "resume")


def test_a_queue_is_paused_and_goes_on(show: Show, stage: Stage):
    queue = f"q-{secrets.token_hex(3)}"
    stage.start("echo", 1, queue=queue)
    page = show("/queues")
    row = page.locator(f'[data-row="{queue}"]')
    row.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog", name="Confirm").get_by_role("button", name="Pause").click()
    expect(row.locator(".pill")).to_have_text("paused")
    control = stage.run(stage.flow.controls.get(queue=queue))
    assert control is not None
    assert control.state == "paused"
    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_role("button", name="Pause")).to_be_visible()
    assert stage.run(stage.flow.controls.get(queue=queue)) is None


def test_a_workflow_is_paused_and_goes_on(show: Show, stage: Stage):
    name = f"w:{secrets.token_hex(3)}"
    stage.until(stage.start(untyped(name)), "waiting:stranded")
    page = show(f"/workflows/{name}")
    press(page, "Pause", sure="Pause")
    pill(page, "paused")
    assert stage.run(stage.flow.controls.get(workflow=name)) is not None
    press(page, "Resume")
    expect(page.locator(".head .pill")).to_have_count(0)
    assert stage.run(stage.flow.controls.get(workflow=name)) is None


def test_a_schedule_is_triggered_paused_and_goes_on(show: Show, stage: Stage):
    name = f"s-{secrets.token_hex(3)}"
    stage.run(stage.flow.schedules.create(name, "echo", every="1d", input=name))
    page = show("/schedules")
    row = page.locator(f'[data-row="{name}"]')
    row.get_by_role("button", name="Pause").click()
    expect(row.locator(".pill")).to_have_text("paused")
    assert stage.run(stage.flow.schedules.get(name)).is_paused
    row.get_by_role("button", name="Resume").click()
    expect(row.locator(".pill")).to_have_text("active")
    row.get_by_role("button", name="Trigger").click()
    page.get_by_role("dialog", name="Confirm").get_by_role("button", name="Trigger").click()
    row.locator("a.mono").click()
    pill(page, "succeeded")
    run = stage.run(stage.flow.get_run(page.url.rpartition("/")[2]))
    assert (run.input, run.schedule) == (name, name)
    shows_event(page, "start by trigger")


def test_a_run_is_deleted_once_somebody_has_said_that_they_are_sure(open_page: OpenPage, stage: Stage):
    run_id = stage.finish(stage.start("echo", 1))
    page = open_page(f"/runs/{run_id}").page
    press(page, "Delete", sure="Delete")
    page.wait_for_url("**/runs")
    watched = open_page(f"/runs/{run_id}")
    watched.allow("404")
    expect(watched.page.locator("#page")).to_contain_text("404")


def test_a_run_is_started_by_the_form(show: Show, stage: Stage):
    page = show("/runs/new?workflow=echo")
    page.get_by_label("Input, as JSON").fill("{oops")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_label("Input, as JSON")).to_have_accessible_description(re.compile("^Input is not JSON"))
    page.get_by_label("Input, as JSON").fill('{"id": "o-1"}')
    page.get_by_label("Tags").fill("customer=c9 region=eu")
    key = secrets.token_hex(4)
    page.get_by_label("Idempotency key").fill(key)
    page.get_by_role("button", name="Start").click()
    pill(page, "succeeded")
    run_id = page.url.rpartition("/")[2]
    run = stage.run(stage.flow.get_run(run_id))
    assert (run.input, dict(run.tags)) == ({"id": "o-1"}, {"customer": "c9", "region": "eu"})
    assert stage.start("echo", {"id": "o-1"}, idempotency_key=key) == run_id
    shows_event(page, "start")


def test_what_the_engine_refuses_is_told(open_page: OpenPage, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    watched = open_page(f"/runs/{run_id}")
    watched.allow("409")
    page = watched.page
    page.locator("[data-live]").click()
    stage.run(stage.flow.cancel_workflow_run(run_id))
    press(page, "Signal")
    dialog = page.get_by_role("dialog", name="Send a signal")
    dialog.get_by_label("Name").fill("hello")
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("alert")).to_contain_text(run_id)


def test_chosen_runs_are_canceled_and_the_progress_is_on_a_page(show: Show, stage: Stage):
    tag = secrets.token_hex(4)
    ids = [stage.until(stage.start("nap", tags={"t": tag}), "waiting:timer") for _ in range(3)]
    page = show(f"/runs?q=tag:t%3D{tag}")
    for run_id in ids[:2]:
        page.get_by_label(f"Choose run {run_id}").check()
    bar = page.locator("#bulk")
    expect(bar).to_contain_text("2 chosen")
    bar.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog", name="Confirm")
    expect(dialog).to_contain_text("Cancel 2 runs?")
    dialog.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/bulk/*")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 2 given runs")
    expect(page.locator(".head .pill")).to_have_text("done")
    expect(page.locator(".facts")).to_contain_text("2 of 2")
    assert [stage.status(run_id) for run_id in ids] == ["canceled", "canceled", "waiting:timer"]
    page.goto(page.url.replace(page.url[page.url.index("/bulk") :], f"/runs/{ids[0]}?tab=events"))
    expect(page.get_by_text("cancel (bulk job")).to_be_visible()


def test_the_question_says_how_many_match_where_that_is_known(show: Show, stage: Stage):
    tag = secrets.token_hex(4)
    for _ in range(2):
        stage.finish(stage.start("echo", 1, tags={"t": tag}))
    page = show(f"/runs?q=tag:t%3D{tag}+status:succeeded")
    page.get_by_label("Choose all on this page").check()
    bar = page.locator("#bulk")
    bar.get_by_role("button", name="All 2 that match").click()
    expect(bar.locator("[data-count]")).to_have_text("All 2 that match")
    for verb in ("Retry", "Pause", "Cancel"):
        expect(bar.get_by_role("button", name=verb)).to_be_disabled()
    bar.get_by_role("button", name="Delete").click()
    question = f"Delete all 2 runs that match status:succeeded tag:t={tag}?"
    expect(page.get_by_role("dialog", name="Confirm")).to_contain_text(question)


def test_all_that_match_are_done_also_those_of_other_pages(show: Show, stage: Stage):
    tag = secrets.token_hex(4)
    ids = [stage.start("approval", tags={"t": tag}) for _ in range(55)]
    stage.until(ids[-1], "waiting:signal")
    page = show(f"/runs?q=tag:t%3D{tag}")
    page.get_by_label("Choose all on this page").check()
    bar = page.locator("#bulk")
    expect(bar).to_contain_text("50 chosen")
    bar.get_by_role("button", name="All that match").click()
    expect(bar).to_contain_text("All that match")
    bar.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog", name="Confirm")
    expect(dialog).to_contain_text(f"Cancel all runs that match tag:t={tag} and have not ended?")
    dialog.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/bulk/*")
    expect(page.locator(".facts")).to_contain_text("55 of 55")
    expect(page.locator(".head .pill")).to_have_text("done")
    assert {stage.status(run_id) for run_id in ids} == {"canceled"}
