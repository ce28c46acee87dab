"""What is sent is what was typed, once; and what is there stays as somebody left it while the page goes on."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from redisflow.authoring.definition import untyped
from tests.e2e.accessibility import violations
from tests.e2e.conftest import OpenPage
from tests.e2e.stage import Stage

Show = Callable[..., Page]
STARTS = "**/api/v1/runs"


def runs_of(stage: Stage, tag: str) -> list[str]:
    async def find() -> list[str]:
        return [run.id async for run in stage.flow.list_runs(tags={"t": tag})]

    return stage.run(find())


def fill(page: Page, tag: str, value: str = "1") -> None:
    page.get_by_label("Input, as JSON").fill(value)
    page.get_by_label("Tags").fill(f"t={tag}")


def is_there(page: Page) -> None:
    """The page of the run that was started."""
    page.wait_for_url("**/runs/0*")


def test_json_is_sent_as_it_was_typed(show: Show, stage: Stage):
    tag = secrets.token_hex(4)
    page = show("/runs/new?workflow=echo")
    fill(page, tag, '[9007199254740993, 1.0, 1, 1e2, "\\u00fc \\ud83d\\ude00 \u00fc", {"b": 1, "a": 2}]')
    page.get_by_role("button", name="Start").click()
    is_there(page)
    (run_id,) = runs_of(stage, tag)
    value = stage.run(stage.flow.get_run(run_id)).input
    assert value == [9007199254740993, 1.0, 1, 100.0, "\u00fc \U0001f600 \u00fc", {"b": 1, "a": 2}]
    assert [type(each) for each in value[:4]] == [int, float, int, float]


def test_a_double_click_starts_one_run(show: Show, stage: Stage):
    tag, sent = secrets.token_hex(4), []
    page = show("/runs/new?workflow=echo")
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    fill(page, tag)
    page.get_by_role("button", name="Start").dblclick()
    is_there(page)
    assert len(sent) == len(runs_of(stage, tag)) == 1


def test_a_double_click_is_no_answer_to_the_question_that_it_brings_up(show: Show, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = show(f"/runs/{run_id}")
    page.locator("#page").get_by_role("button", name="Cancel").dblclick()
    dialog = page.get_by_role("dialog", name="Confirm")
    expect(dialog).to_be_visible()
    page.mouse.click(5, 5)
    expect(dialog).to_be_hidden()
    assert stage.status(run_id) == "waiting:timer"


def test_a_form_that_got_no_answer_is_sent_again_and_starts_one_run(open_page: OpenPage, stage: Stage):
    tag = secrets.token_hex(4)
    page = open_page("/runs/new?workflow=echo", allow="ERR_FAILED").page

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route(STARTS, lose_the_answer, times=1)
    fill(page, tag)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert len(runs_of(stage, tag)) == 1
    page.get_by_role("button", name="Start").click()
    is_there(page)
    assert len(runs_of(stage, tag)) == 1


def test_two_runs_that_are_alike_are_started_one_after_the_other(show: Show, stage: Stage):
    tag = secrets.token_hex(4)
    for _ in range(2):
        page = show("/runs/new?workflow=echo")
        fill(page, tag)
        page.get_by_role("button", name="Start").click()
        is_there(page)
    assert len(runs_of(stage, tag)) == 2


def test_a_workflow_that_is_unknown_is_started_once_somebody_has_said_that_it_is_meant(
    open_page: OpenPage, stage: Stage
):
    name = f"far.{secrets.token_hex(3)}"
    page = open_page("/runs/new", allow="422").page
    page.get_by_label("Workflow").fill(name)
    for answer in ("No", "Start it"):
        page.get_by_role("button", name="Start", exact=True).click()
        dialog = page.get_by_role("dialog", name="Confirm")
        expect(dialog).to_contain_text("knows no workflow of this name")
        dialog.get_by_role("button", name=answer, exact=True).click()
    is_there(page)
    assert stage.run(stage.flow.get_run(page.url.rpartition("/")[2])).workflow == name


NO_TAGS = ("foo", "name=Ada Lovelace", "=x", 'note="a b', "a=1, a=2")


def test_what_is_no_tag_is_told_at_its_field_and_nothing_is_started(show: Show, stage: Stage):
    page = show("/runs/new?workflow=echo")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    tags = page.get_by_label("Tags")
    for text in NO_TAGS:
        tags.fill(text)
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert")).to_be_visible()
        expect(tags).to_have_attribute("aria-invalid", "true")
        expect(tags).to_be_focused()
    assert not violations(page)
    assert sent == []


def test_a_tag_with_spaces_stands_in_quotes_and_commas_part_tags_as_spaces_do(show: Show, stage: Stage):
    tag = secrets.token_hex(4)
    page = show("/runs/new?workflow=echo")
    page.get_by_label("Tags").fill(f't={tag}, "name=Ada Lovelace" note="a, \\"b\\"",path=c:\\d empty=')
    page.get_by_role("button", name="Start").click()
    is_there(page)
    (run_id,) = runs_of(stage, tag)
    said = {"t": tag, "name": "Ada Lovelace", "note": 'a, "b"', "path": "c:\\d", "empty": ""}
    assert dict(stage.run(stage.flow.get_run(run_id)).tags) == said


def test_what_was_closed_stays_closed_while_the_page_goes_on(show: Show, stage: Stage):
    run_id = stage.start(untyped(f"far.{secrets.token_hex(3)}"), {"a": {"b": {"d": 1}}})
    page = show(f"/runs/{run_id}")
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    tree = page.locator("#section-input .tree")
    tree.get_by_text("b").click()
    expect(tree.get_by_text("d")).to_be_visible()
    tree.get_by_text("a").click()
    expect(tree.get_by_text("b")).to_be_hidden()
    stage.run(stage.flow.cancel_workflow_run(run_id))
    expect(page.locator(".head .pill")).to_have_text("canceled")
    expect(tree.get_by_text("b")).to_be_hidden()
    tree.get_by_text("a").click()
    expect(tree.get_by_text("d")).to_be_visible()


HOLD_THE_NEXT_ANSWER = """() => {
  const real = window.fetch;
  window.fetch = async (...asked) => {
    window.fetch = real;
    const answer = await real(...asked);
    document.documentElement.dataset.held = "yes";
    await new Promise((goOn) => { window.goOn = goOn; });
    return answer;
  };
  document.addEventListener("htmx:sse:before:message", () => { document.documentElement.dataset.told = "yes"; });
}"""


def test_what_changes_while_the_page_is_read_is_shown(show: Show, stage: Stage):
    run_id = stage.until(stage.start("nap"), "waiting:timer")
    page = show(f"/runs/{run_id}")
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    page.evaluate(HOLD_THE_NEXT_ANSWER)
    for _ in range(2):  # stop, and go on: so the page is read again
        page.locator("[data-live]").click()
    expect(page.locator("html")).to_have_attribute("data-held", "yes")
    stage.run(stage.flow.cancel_workflow_run(run_id))
    expect(page.locator("html")).to_have_attribute("data-told", "yes")
    page.evaluate("window.goOn()")
    expect(page.locator(".head .pill")).to_have_text("canceled")


def test_a_chart_has_the_lines_of_the_queues_that_are_drawn(show: Show, stage: Stage):
    stage.finish(stage.start("echo", 1))
    page = show("/metrics")
    chart = page.locator("#chart-throughput")
    for _ in range(60):
        if chart.count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    drawing = json.loads(page.locator("#data-throughput").inner_text())
    drawing["series"][0]["label"] = "others"
    page.evaluate(
        "(text) => { document.getElementById('data-throughput').textContent = text;"
        " document.dispatchEvent(new Event('htmx:after:swap')); }",
        json.dumps(drawing),
    )
    expect(chart.locator(".u-legend")).to_contain_text("others")
    expect(chart.locator(".u-wrap")).to_have_count(1)
