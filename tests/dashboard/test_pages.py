"""Each page, with what it is for and when there is nothing of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import pytest
import redis.asyncio

from redisflow import RedisFlow, define_workflow_spec
from redisflow.run_id import new_run_id
from redisflow.testing import ServerOptions, start_server
from tests.dashboard.browsing import Browser, Element, Html, browsing, crawl
from tests.dashboard.world import define_world, finish, start
from tests.stories.world import eventually, until

PAGES = ("/runs", "/runs/new", "/workflows", "/queues", "/workers", "/schedules", "/signals", "/metrics", "/system")


@pytest.fixture
async def flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        define_world(flow)
        yield flow


@pytest.fixture
async def working(flow: RedisFlow) -> AsyncIterator[RedisFlow]:
    async with flow.new_worker(grace=0):
        yield flow


@pytest.fixture
async def browser(flow: RedisFlow) -> AsyncIterator[Browser]:
    async with browsing(flow) as browser:
        yield browser


# -- nothing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/runs", "No run yet"),
        ("/workflows", "No workflow yet"),
        ("/workers", "No worker is alive"),
        ("/schedules", "No schedule"),
        ("/signals", "No run waits for a signal"),
        ("/metrics", "Nothing happened in this time"),
        ("/queues", "nobody"),
        ("/runs/new", "New run"),
        ("/system", "noeviction"),
    ],
)
async def test_an_empty_namespace_says_so_and_how_to_begin(browser: Browser, path: str, says: str):
    page = await browser.see(path)
    assert says in page.text
    assert page.one("title").text.endswith("· redisflow")


async def test_the_entry_leads_to_the_runs(browser: Browser):
    answer = await browser.ask("/")
    assert (answer.status_code, answer.headers["location"]) == (302, "/runs")


async def test_each_page_marks_its_entry_of_the_navigation(browser: Browser):
    for path in PAGES:
        page = await browser.see(path)
        (entry,) = page.all("a", aria_current="page")
        assert path.startswith(entry.attributes["href"])


# -- the list of runs -------------------------------------------------------------------------------------------------


async def test_runs_of_every_status_are_listed_counted_and_found_by_their_tab(working: RedisFlow, browser: Browser):
    done = await finish(working, "order", {"id": "o-1"}, tags={"customer": "c1"})
    failed = await finish(working, "declined")
    waiting = await start(working, "approval")
    await until(working, waiting, lambda run: run.waiting_for == "signal")
    canceled = await start(working, "sleeper", available_at="1h")
    await working.cancel_workflow_run(canceled)
    later = await start(working, "sleeper", available_at="1h")
    await working.controls.pause(queue="default")
    pending = await start(working, "echo", 1)
    page = await browser.see("/runs")
    assert page.rows().keys() == {done, failed, waiting, canceled, later, pending}
    tabs = {each.text: each.attributes["href"] for each in tab_links(page)}
    assert set(tabs) == {
        "All",
        "Pending1",
        "Running0",
        "Waiting2",
        "Succeeded1",
        "Failed1",
        "Canceled1",
        "Stranded0",
    }
    for label, run_ids in (("Succeeded1", {done}), ("Failed1", {failed}), ("Waiting2", {waiting, later})):
        found = await browser.see("/runs" + tabs[label])
        assert found.rows().keys() == run_ids
        assert found.one("a", aria_label=f"Without status:{label[:-1].lower()}").attributes["href"] == "?"
    assert page.one("a", title="customer=c1").text == "customer=c1"


def tab_links(page: Html) -> list[Element]:
    first = page.elements.index(page.one("nav", aria_label="Status")) + 1
    inside = takewhile(lambda each: each.tag in {"a", "span"}, page.elements[first:])
    return [each for each in inside if each.tag == "a"]


async def test_a_list_goes_on_where_the_page_ends_and_comes_back(flow: RedisFlow, browser: Browser):
    handles = await flow.find_workflow("echo").run_many(range(120))
    page = await browser.see("/runs?q=workflow:echo")
    seen = list(page.rows())
    while older := page.all("a", rel="next"):
        page = await browser.see("/runs" + older[0].attributes["href"])
        seen += list(page.rows())
    assert sorted(seen) == sorted(handle.id for handle in handles)
    assert "First page" in page.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour:red", "nothing that can be asked for"),
        ("status:done", "'done' is no status"),
        ('tag:"a', "this quote is not closed"),
        ("created>soon", "is not a duration"),
        ("x" * 5000, "at most 4,000 characters"),
    ],
)
async def test_a_filter_that_cannot_be_meant_is_told_in_its_place(browser: Browser, text: str, says: str):
    page = await browser.see("/runs", params={"q": text})
    assert says in page.text
    assert page.one("input", type="search").attributes["value"] == text


async def test_a_cursor_of_another_list_begins_anew_and_says_so(flow: RedisFlow, browser: Browser):
    await flow.find_workflow("echo").run_many(range(60))
    (older,) = (await browser.see("/runs?q=workflow:echo")).all("a", rel="next")
    cursor = older.attributes["href"].partition("cursor=")[2]
    for query in (f"q=status:failed&cursor={cursor}", "cursor=nonsense", "cursor="):
        page = await browser.see(f"/runs?{query}")
        assert "cursor" in page.all("div", class_="notice is-failed")[0].text


async def test_what_stands_in_a_filter_survives_in_every_link(working: RedisFlow, browser: Browser):
    hostile = {'quo"te': 'va"l\\ue', "a&b": "<c>=d e", "plus+": "100%"}
    run_id = await finish(working, "echo", 1, tags=hostile)
    for where in ("/runs", f"/runs/{run_id}"):
        page = await browser.see(where)
        for name, value in hostile.items():
            (tag, *_) = [each for each in page.all("a") if each.text == f"{name}={value}"]
            found = await browser.see(tag.attributes["href"])
            assert list(found.rows()) == [run_id], (name, value)
            assert not found.all("div", class_="notice is-failed")


async def test_a_filter_that_names_a_run_finds_it_alone(working: RedisFlow, browser: Browser):
    run_id = await finish(working, "echo", 1)
    await finish(working, "echo", 2)
    for text in (run_id, f"id:{run_id}"):
        page = await browser.see("/runs", params={"q": text})
        assert list(page.rows()) == [run_id]
    assert "No run matches" in (await browser.see("/runs", params={"q": new_run_id(0)})).text


# -- a run ------------------------------------------------------------------------------------------------------------


async def test_a_run_that_succeeded(working: RedisFlow, browser: Browser):
    run_id = await finish(working, "order", {"id": "o-1"}, tags={"customer": "c1"})
    page = await browser.see(f"/runs/{run_id}")
    facts = page.facts()
    assert {"Created", "Started", "Finished", "Duration", "Queue", "Claims", "Tags"} <= facts.keys()
    lines = [each.text for each in page.all("a") if "line" in each.attributes.get("class", "").split()]
    assert len(lines) == 2
    assert lines[0].startswith("charge")
    assert "reserve3" in lines[1]  # attempts
    assert '"o-1"' in page.text
    step = await browser.see(f"/runs/{run_id}?step=reserve")
    assert next(each.text for each in step.all("summary") if "attempt" in each.text).startswith("attempt 3")
    assert "ConnectionError" in step.text
    assert "no stock at attempt 2" in step.text
    assert step.text.count("the shelf is asked, attempt") == 3
    assert {"All attempts", "Between them"} <= step.facts().keys()
    charge = await browser.see(f"/runs/{run_id}?step=charge")
    assert "the shelf is asked" not in charge.text
    assert "All attempts" not in charge.facts()
    steps = await browser.see(f"/runs/{run_id}?tab=steps")
    assert len(steps.rows()) == 2
    events = await browser.see(f"/runs/{run_id}?tab=events")
    assert "packed" in events.text
    assert "parcel" in events.text
    history = await browser.see(f"/runs/{run_id}?tab=history")
    told = [row.text for row in history.all("tr")][1:]
    assert len(told) == len(await working.get_history(run_id))
    assert any("attempt failed" in row and "reserve" in row and "no stock at attempt 2" in row for row in told)
    document = await browser.see(f"/runs/{run_id}?tab=json")
    assert "claims" in document.text
    assert "succeeded" in document.text


async def test_a_run_that_failed_shows_why_and_how_it_was_undone(working: RedisFlow, browser: Browser):
    run_id = await finish(working, "declined")
    page = await browser.see(f"/runs/{run_id}")
    # What its compensations have undone cannot go on: it can only be done again.
    assert page.buttons() == {f"api/v1/runs/{run_id}:rerun", f"api/v1/runs/{run_id}:fork", f"api/v1/runs/{run_id}"}
    assert "declined" in page.text
    assert any(each.text.startswith("refund") for each in page.all("a"))
    step = await browser.see(f"/runs/{run_id}?step=charge")
    assert "NonRetryableError" in step.text
    assert "KeyError: 'card'" in step.text
    assert "The above exception was the direct cause" in step.text
    own = [each for each in step.all("div") if each.attributes.get("class") == "frame own"]
    assert any("tests/dashboard/world.py" in each.text and "decline" in each.text for each in own)
    undone = await browser.see(f"/runs/{run_id}?step=refund")
    assert "compensation" in undone.text


async def test_a_run_that_waits_says_for_what_and_until_when(working: RedisFlow, browser: Browser):
    signal = await start(working, "approval", "1h", deadline_at="2h")
    sleep = await start(working, "sleeper")
    retry = await start(working, "retrying")
    for run_id, reason in ((signal, "signal"), (sleep, "timer"), (retry, "retry")):
        await until(working, run_id, lambda run: run.waiting_for in {"signal", "timer", "retry"})
        page = await browser.see(f"/runs/{run_id}")
        assert f"waiting: {reason}" in page.text
        assert "Next due" in page.facts()
        assert f"api/v1/runs/{run_id}:cancel" in page.buttons()
    assert "Deadline" in (await browser.see(f"/runs/{signal}")).facts()
    page = await browser.see(f"/runs/{signal}")
    assert page.one("input", id="signal-name").attributes["value"] == "approved"
    step = await browser.see(f"/runs/{retry}?step=call the bank")
    assert "Next attempt" in step.facts()
    assert "the bank is away" in step.text
    for show, count in (("failed", 0), ("open", 1), ("", 1)):
        found = await browser.see(f"/runs/{retry}?tab=steps&show={show}")
        assert len(found.rows()) == count


async def test_a_run_that_has_not_begun_says_when_it_will_and_when_it_gives_up(flow: RedisFlow, browser: Browser):
    run_id = await start(flow, "echo", 1, available_at="1h", expires_at="2h")
    page = await browser.see(f"/runs/{run_id}")
    assert {"Next due", "Expires"} <= page.facts().keys()
    assert "No step yet" in page.text


async def test_children_lead_to_each_other(working: RedisFlow, browser: Browser):
    run_id = await finish(working, "parent", 2)
    page = await browser.see(f"/runs/{run_id}?tab=children")
    (child,) = [each for each in page.all("a", class_="name") if "/runs/" in each.attributes["href"]]
    inside = await browser.see(child.attributes["href"])
    (back,) = inside.all("a", title=run_id)
    assert back.attributes["href"] == f"/runs/{run_id}"
    child_id = child.attributes["href"].rpartition("/")[2]
    await working.delete_run(child_id)
    assert "is not stored" in (await browser.see(f"/runs/{run_id}?tab=children")).text


async def test_what_people_and_time_made_of_runs(working: RedisFlow, browser: Browser):
    counting = await finish(working, "counting", 0)
    assert (await browser.see(f"/runs/{counting}")).facts()["Continued as new"] == "2 times"
    failed = await finish(working, "hopeless")
    assert f"api/v1/runs/{failed}:retry" in (await browser.see(f"/runs/{failed}")).buttons()
    handle = await working.get_handle(failed)
    await handle.retry()
    await until(working, failed, lambda run: run.retries == 1 and run.is_finished)
    assert (await browser.see(f"/runs/{failed}")).facts()["Retried by hand"] == "1"
    order = await finish(working, "order", {"id": 1})
    forked = await (await working.get_handle(order)).fork(from_step="reserve")
    page = await browser.see(f"/runs/{forked.id}")
    assert next(each.attributes["href"] for each in page.all("a", class_="mono")) == f"/runs/{order}"
    scripted = await finish(working, "scripted")
    assert "redis" in (await browser.see(f"/runs/{scripted}?tab=steps")).rows()["count"]
    sleeper = await start(working, "sleeper")
    await (await working.get_handle(sleeper)).pause()
    paused = await until(working, sleeper, lambda run: run.waiting_for == "paused")
    page = await browser.see(f"/runs/{paused.id}")
    assert f"api/v1/runs/{sleeper}:resume" in page.buttons()
    await working.note(sleeper, "pause", "otto")
    assert "pause by otto" in (await browser.see(f"/runs/{sleeper}?tab=events")).text


async def test_a_stranded_run_says_that_no_worker_has_its_code(flow: RedisFlow, valkey_url: str, browser: Browser):
    async with RedisFlow(valkey_url, namespace=flow.namespace) as other:

        @other.define_workflow("something-else")
        async def something_else(step) -> None: ...

        async with other.new_worker(grace=0):
            run_id = await start(flow, "echo", 1)
            await until(flow, run_id, lambda run: run.waiting_for == "stranded")
            page = await browser.see(f"/runs/{run_id}")
            assert "No worker takes it up" in page.text
            listed = await browser.see("/workers")
            assert "echo" in listed.all("div", class_="notice is-failed")[0].text
            assert "something-else" in " ".join(listed.rows().values())
            stuck = await browser.see("/runs?q=status:waiting:stranded+status:waiting:suspended")
            assert list(stuck.rows()) == [run_id]
            assert "(1 stuck)" in (await browser.see("/workflows")).text


async def test_a_suspended_run_says_what_does_not_match(valkey_url: str, namespace: str):
    def define(flow: RedisFlow, name: str):
        @flow.define_workflow("changed")
        async def changed(step) -> None:
            await step.run(name, str)
            await step.wait_for_signal("go")

        return changed

    async with RedisFlow(valkey_url, namespace=namespace) as old:
        run = await define(old, "before").run()
        async with old.new_worker(grace=0):
            await until(old, run.id, lambda each: each.waiting_for == "signal")
    async with RedisFlow(valkey_url, namespace=namespace) as new:
        define(new, "after")
        async with new.new_worker(grace=0), browsing(new) as browser:
            await new.signal(run.id, "go")
            await until(new, run.id, lambda each: each.waiting_for == "suspended")
            page = await browser.see(f"/runs/{run.id}")
            assert "waiting: suspended" in page.text
            assert "before" in page.all("div", class_="notice is-failed")[0].text
            assert "after" in page.all("div", class_="notice is-failed")[0].text


async def test_many_steps_are_shown_page_by_page_and_found_by_name(working: RedisFlow, browser: Browser):
    run_id = await finish(working, "many", 450)
    seen = []
    for number in (1, 2, 3):
        page = await browser.see(f"/runs/{run_id}?tab=steps&page={number}")
        assert f"Page {number} of 3: 450 steps" in page.text
        seen += list(page.rows())
    assert seen == [f"step {number}" for number in range(450)]
    found = await browser.see(f"/runs/{run_id}?tab=steps&find=STEP 44")
    assert len(found.rows()) == 11  # 44 and 440 to 449
    assert found.one("select", id="fork-step").text.startswith("All of them")
    assert len(found.all("option")) <= 210
    chosen = await browser.see(f"/runs/{run_id}?step=step 449")
    assert "step 449" in [each.text for each in chosen.all("option") if "selected" in each.attributes]


@pytest.mark.parametrize("number", ["0", "-1", "99", "²", "9" * 5000, "x", ""])
async def test_a_page_that_is_no_number_is_one_that_is_there(working: RedisFlow, browser: Browser, number: str):
    run_id = await finish(working, "echo", 1)
    page = await browser.see(f"/runs/{run_id}", params={"page": number, "tab": "nonsense", "show": "x", "step": "no"})
    assert "say" in page.text


async def test_what_is_not_there_is_a_page_that_says_so(browser: Browser):
    for path in (
        f"/runs/{new_run_id(0)}",
        "/runs/nonsense",
        "/runs/..%2f..",
        "/workflows/unheard-of",
        "/workflows/%00",
        "/bulk/none",
        "/nowhere",
        "/static/none.js",
        f"/live/runs/{new_run_id(0)}/x",
    ):
        page = await browser.see(path, 404)
        assert page.one("main").text.startswith("404")
    answer = await browser.client.post("/runs")
    assert answer.status_code in {403, 405}


# -- the other pages --------------------------------------------------------------------------------------------------


async def test_workflows_say_how_their_runs_went_and_who_serves_them(working: RedisFlow, browser: Browser):
    for number in range(3):
        await finish(working, "echo", number)
    await finish(working, "declined")
    waiting = await start(working, "approval")
    await until(working, waiting, lambda run: run.waiting_for == "signal")
    rows = (await browser.see("/workflows")).rows()
    assert set(rows) >= {"echo", "declined", "approval", "order"}
    assert "100 %" in rows["declined"]
    assert "0 %" in rows["echo"]
    page = await browser.see("/workflows/echo")
    assert len(page.rows()) == 3
    waits = await browser.see("/workflows/approval")
    assert "1 worker" in waits.text
    await working.controls.pause(workflow="echo")
    paused = await browser.see("/workflows/echo")
    assert "api/v1/workflows/echo:resume" in paused.buttons()
    assert "paused" in (await browser.see("/workflows")).rows()["echo"]


async def test_a_workflow_says_which_versions_are_in_flight(flow: RedisFlow, browser: Browser):
    for version in ("v1", "v2"):

        @flow.define_workflow("versioned", version=version)
        async def versioned(step) -> None: ...

        await flow.run_workflow(versioned)
    page = await browser.see("/workflows/versioned")
    assert "v1" in page.text
    assert "nobody" in page.text
    assert [each.attributes["href"] for each in page.all("a") if "version%3Av1" in each.attributes["href"]]


async def test_queues_say_what_lies_in_them_and_what_is_paused(flow: RedisFlow, browser: Browser):
    await start(flow, "echo", 1, queue="slow")
    await flow.controls.pause(queue="default")
    page = await browser.see("/queues")
    rows = page.rows()
    assert "nobody reads it" in rows["slow"]
    assert "paused" in rows["default"]
    assert page.buttons() == {"api/v1/queues/default:resume", "api/v1/queues/slow:pause"}


async def test_workers_are_shown_alive_and_gone(working: RedisFlow, browser: Browser):
    await eventually(working.workers)
    page = await browser.see("/workers")
    (row,) = page.rows().values()
    assert "alive" in row
    assert "and" in row  # of its workflows, the first ones
    (worker,) = await working.workers()
    assert page.buttons() == {f"api/v1/workers/{worker.name}:drain"}
    assert "1 worker" in (await browser.see("/queues")).text


async def test_a_worker_that_ended_without_a_word_is_gone(flow: RedisFlow, browser: Browser, valkey_url: str):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"""
import asyncio, os
from redisflow import RedisFlow
flow = RedisFlow({valkey_url!r}, namespace={flow.namespace!r})
@flow.define_workflow("last-words")
async def last(step):
    await step.run("die", os._exit, 0)
asyncio.run(flow.new_worker(lease="1s").run())
""",
    )
    await flow.run_workflow(define_workflow_spec("last-words"))
    await process.wait()

    async def gone() -> str:
        text = (await browser.see("/workers")).text
        return text if "gone" in text else ""

    assert "last-words" in await eventually(gone)


async def test_schedules_say_when_and_what_came_of_them(working: RedisFlow, browser: Browser):
    @working.define_workflow("report")
    async def report(step) -> None: ...

    await working.schedules.create("nightly", report, cron="0 3 * * *")
    await working.schedules.create("often", report, every="1h")
    await working.schedules.pause("often")
    run = await working.schedules.trigger("nightly")
    assert run is not None
    page = await browser.see("/schedules")
    rows = page.rows()
    assert "0 3 * * *" in rows["nightly"]
    assert "paused" in rows["often"]
    assert {"api/v1/schedules/often:resume", "api/v1/schedules/nightly:pause"} <= page.buttons()
    assert [each for each in page.all("a") if each.attributes["href"] == f"/runs/{run.id}"]
    assert (await browser.see(f"/runs/{run.id}")).facts()["Schedule"] == "nightly"


async def test_signals_say_who_waits_for_what_and_until_when(working: RedisFlow, browser: Browser):
    for timeout in (None, "1h"):
        run_id = await start(working, "approval", timeout)
        await until(working, run_id, lambda run: run.waiting_for == "signal")
    page = await browser.see("/signals")
    page.one("form", data_template="api/v1/signals/{}:send")
    rows = page.rows().values()
    assert len(rows) == 2
    assert all(row.startswith("approved") for row in rows)
    assert ["for ever" in row for row in rows] == [False, True]


async def test_signals_that_were_not_taken_are_shown_on_the_page_of_their_run(working: RedisFlow, browser: Browser):
    run_id = await start(working, "approval", None)
    await until(working, run_id, lambda run: run.waiting_for == "signal")
    await working.signal(run_id, "other word", {"by": "<ada>"})
    page = await browser.see(f"/runs/{run_id}")
    assert "Signals that it has not taken" in page.text
    assert "<ada>" in page.text
    await working.signal(run_id, "approved")
    await until(working, run_id, lambda run: run.is_finished)
    assert "other word" in (await browser.see(f"/runs/{run_id}")).text


async def test_where_a_signal_cannot_be_read_the_rest_of_its_run_is_shown(
    working: RedisFlow, browser: Browser, valkey_url: str
):
    run_id = await start(working, "approval", None)
    await until(working, run_id, lambda run: run.waiting_for == "signal")
    await working.signal(run_id, "other word", 1)
    client = redis.asyncio.Redis.from_url(valkey_url)
    await client.hset(f"rf:{{{working.namespace}:0}}:mail:{run_id}", "1", b"s\nother word\n\xc1damaged")
    await client.aclose()
    page = await browser.see(f"/runs/{run_id}")
    assert "They cannot be read here." in page.text
    assert "approved" in page.text
    assert "approved" in (await browser.see("/signals")).text


async def test_a_step_that_a_forked_run_has_from_before_it_is_shown(working: RedisFlow, browser: Browser):
    run_id = await finish(working, "order", {"id": "o-1"})
    await asyncio.sleep(0.1)  # a step that ended well before the run that has it was created
    forked = await (await working.get_handle(run_id)).fork(from_step="reserve")
    await until(working, forked.id, lambda run: run.is_finished)
    for step, can_zoom in (("charge", False), ("reserve", True)):
        page = await browser.see(f"/runs/{forked.id}?step={step}")
        assert ("Zoom" in page.text) == can_zoom


async def test_many_waits_go_on_where_the_page_ends(working: RedisFlow, browser: Browser):
    handles = await working.find_workflow("approval").run_many(None for _ in range(130))
    for handle in handles:
        await until(working, handle.id, lambda run: run.waiting_for == "signal")
    first = await browser.see("/signals")
    (older,) = first.all("a", rel="next")
    rest = await browser.see("/signals" + older.attributes["href"])
    assert (len(first.rows()), len(rest.rows())) == (100, 30)
    assert len((await browser.see("/signals?cursor=nonsense")).rows()) == 100


async def test_where_none_of_the_newest_waits_for_a_signal_older_ones_are_found(
    flow: RedisFlow, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    async with flow.new_worker(grace=0):
        run_id = await start(flow, "approval")
        await until(flow, run_id, lambda run: run.waiting_for == "signal")
    await flow.find_workflow("echo").run_many(range(150))
    monkeypatch.setattr("redisflow.backend.listings.STEPS_AT_MOST", 1)  # 100 runs instead of 5,000
    first = await browser.see("/signals")
    assert "None of those that were looked at waits for a signal" in first.text
    rest = await browser.see("/signals" + first.one("a", rel="next").attributes["href"])
    assert len(rest.rows()) == 1


def charts_of(page: Any) -> dict[str, Any]:
    return {
        each.attributes["id"]: json.loads(page.source.split(f'id="{each.attributes["id"]}">')[1].split("</script>")[0])
        for each in page.all("script", type="application/json")
    }


@pytest.mark.parametrize("span", ["1h", "6h", "24h", "nonsense", ""])
async def test_metrics_of_each_span_and_workflow(working: RedisFlow, browser: Browser, span: str):
    await finish(working, "echo", 1)
    await finish(working, "declined")

    async def counted() -> Any:
        page = await browser.see(f"/metrics?span={span}")
        return None if "Nothing happened" in page.text else page

    charts = charts_of(await eventually(counted))
    assert {"data-throughput", "data-failures", "data-durations", "data-latencies"} <= charts.keys()
    for drawing in charts.values():
        assert len({len(line) for line in drawing["data"]}) == 1
        assert len(drawing["data"]) == 1 + len(drawing["series"])
    points = {"1h": 60, "6h": 360, "24h": 288}.get(span, 60)
    assert abs(len(charts["data-throughput"]["data"][0]) - points) <= 1
    one = await browser.see(f"/metrics?span={span}&workflow=echo")
    assert [each.text for each in one.all("option") if "selected" in each.attributes] == ["echo"]
    none = await browser.see("/metrics?workflow=<nobody>")
    assert "<nobody>" in [each.text for each in none.all("option")]
    # The minute that goes on is not drawn as one in which nothing happened.
    _, started, _ = charts_of(none)["data-throughput"]["data"]
    assert (started[0], started[-1]) == (0, None)


async def test_a_server_that_may_evict_runs_is_told_in_red():
    with start_server(ServerOptions(config={"maxmemory-policy": "allkeys-lru"})) as server:
        async with RedisFlow(server.url, namespace="evicting") as flow, browsing(flow) as browser:
            page = await browser.see("/system")
            assert "allkeys-lru: when memory is full, runs are deleted" in page.text
            assert "maxmemory-policy noeviction" in page.text
            assert [each.text for each in page.all("span", class_="pill is-failed")] == ["wrong", "allkeys-lru"]


async def test_the_form_that_starts_runs_knows_who_is_served_and_what_it_takes(working: RedisFlow, browser: Browser):
    page = await browser.see("/runs/new?workflow=order")
    assert page.one("input", id="workflow").attributes["value"] == "order"
    assert "What order takes" in page.text
    assert page.one("form", data_post="api/v1/runs").attributes["data-then"] == "run"


async def test_every_link_leads_somewhere(working: RedisFlow, browser: Browser):
    @working.define_workflow("report")
    async def report(step) -> None: ...

    await working.schedules.create("nightly", report, cron="0 3 * * *")
    await finish(working, "order", {"id": 1}, tags={"customer": 'a "b" & c'})
    await finish(working, "declined")
    await finish(working, "parent", 1)
    run_id = await start(working, "approval")
    await until(working, run_id, lambda run: run.waiting_for == "signal")
    seen = await crawl(browser.client, "/runs")
    pages = {path.partition("?")[0] for path, page in seen.items() if page is not None}
    assert {*PAGES, f"/runs/{run_id}", "/workflows/order"} <= pages
    assert len(seen) > 60


async def test_times_are_of_this_instant(browser: Browser):
    page = await browser.see("/runs")
    now = datetime.fromisoformat(page.one("meta", name="redisflow-now").attributes["content"])
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)


# -- a great many -----------------------------------------------------------------------------------------------------


async def test_many_workflows_come_page_by_page_and_are_found_by_name(flow: RedisFlow, browser: Browser):
    for number in range(120):
        await flow.run_workflow(define_workflow_spec(f"wf-{number:03}"))
    seen: list[str] = []
    path = "/workflows"
    while path:
        page = await browser.see(path)
        seen += page.rows()
        following = page.all("a", rel="next")
        path = "/workflows" + following[0].attributes["href"] if following else ""
    assert seen == [f"wf-{number:03}" for number in range(120)]
    assert list((await browser.see("/workflows?find=WF-11")).rows()) == [f"wf-{number}" for number in range(110, 120)]
    assert "No workflow matches" in (await browser.see("/workflows?find=nothing")).text


async def test_where_none_of_those_looked_at_matches_one_may_look_further(
    flow: RedisFlow, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("redisflow.backend.listings.STEPS_AT_MOST", 1)  # 100 runs instead of 5,000
    first = await start(flow, "echo", 1, tags={"wanted": "yes"})
    await flow.find_workflow("echo").run_many(range(250))
    path, pages = "/runs?q=status:pending+version:none", 0
    while True:
        page = await browser.see(path)
        following = page.all("a", rel="next")
        if not following:
            break
        assert "None of those that were looked at matches" in page.text
        path, pages = "/runs" + following[0].attributes["href"], pages + 1
    assert pages >= 2
    assert "No run matches" in page.text
    assert first in (await browser.see("/runs?q=tag:wanted=yes")).rows()


async def test_a_workflow_with_too_many_unfinished_runs_says_that_they_are_not_told_apart(
    flow: RedisFlow, browser: Browser
):
    await flow.find_workflow("echo").run_many(range(2_000))
    page = await browser.see("/workflows/echo")
    assert "pending" in page.text
    await start(flow, "echo", 1)
    page = await browser.see("/workflows/echo")
    assert "they are not told apart here" in page.text
