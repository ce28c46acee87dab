"""The page of one run, with what it is for and when there is nothing of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from redisflow import RedisFlow, Step, codec
from redisflow.dashboard.words import short
from tests.dashboard.browsing import Browser, browsing
from tests.dashboard.world import finish, start
from tests.stories.world import eventually, until


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


async def test_a_tree_has_the_children_of_children(flow: RedisFlow, browser: Browser):
    @flow.define_workflow("root")
    async def root(step: Step) -> int:
        return await step.run_workflow(flow.find_workflow("parent"), 2)

    async with flow.new_worker(grace=0):
        run_id = await finish(flow, "root")
    page = await browser.see(f"/runs/{run_id}?tab=children")
    assert [each.attributes["class"] for each in page.all("td") if "kin-" in each.attributes.get("class", "")] == [
        "nowrap kin-0",
        "nowrap kin-1",
    ]
    workflows = [each.text for each in page.all("a", class_="name")]
    assert (workflows[0], len(workflows)) == ("parent", 2)


async def test_more_children_than_a_page_reads_are_named(flow: RedisFlow, browser: Browser):
    @flow.define_workflow("many-children")
    async def many_children(step: Step) -> None:
        await step.map("each", flow.find_workflow("child"), list(range(60)))

    async with flow.new_worker(grace=0):
        run_id = await finish(flow, "many-children")
    page = await browser.see(f"/runs/{run_id}?tab=children")
    assert page.text.count("was not read: there are too many") == 11  # the page reads 50 runs, with its own


async def test_a_tree_that_is_too_large_says_so(flow: RedisFlow, browser: Browser):
    @flow.define_workflow("very-many-children")
    async def very_many_children(step: Step) -> None:
        await step.map("each", flow.find_workflow("child"), list(range(501)), limit=100)

    async with flow.new_worker(grace=0):
        run_id = await finish(flow, "very-many-children")
    page = await browser.see(f"/runs/{run_id}?tab=children")
    assert (len(page.rows()), "The first 500 are shown" in page.text) == (500, True)


async def test_a_run_that_runs_says_which_worker_holds_it(flow: RedisFlow, browser: Browser):
    may_end = asyncio.Event()

    @flow.define_workflow("busy")
    async def busy(step: Step) -> None:
        await step.run("body", may_end.wait)

    async with flow.new_worker(grace=0) as worker:
        run_id = await start(flow, "busy")
        await until(flow, run_id, lambda run: run.status == "running")
        assert (await browser.see(f"/runs/{run_id}")).facts()["Worker"] == worker.name
        await eventually(flow.workers)  # its first heartbeat may come after its first run
        (row,) = [row for name, row in (await browser.see("/workers")).rows().items() if name == worker.name]
        assert short(run_id) in row
        may_end.set()
        await until(flow, run_id, lambda run: run.is_finished)
    assert "Worker" not in (await browser.see(f"/runs/{run_id}")).facts()


async def test_a_worker_is_silent_once_it_has_said_nothing_for_its_own_lease(
    flow: RedisFlow, browser: Browser, valkey_url: str
):
    may_end = asyncio.Event()

    @flow.define_workflow("busy")
    async def busy(step: Step) -> None:
        await step.run("body", may_end.wait)

    prefix = f"rf:{{{flow.namespace}:0}}:"
    async with (
        redis.asyncio.Redis.from_url(valkey_url) as raw,
        flow.new_worker(grace=0, lease="1h") as worker,  # it says something each quarter of an hour
    ):
        await eventually(flow.workers)
        run_id = await start(flow, "busy")
        await until(flow, run_id, lambda run: run.status == "running")
        entry: Any = await raw.hget(f"{prefix}run:{run_id}", "e")
        stream = f"{prefix}q:default:0"

        async def told(lease_ms: int | None, idle_s: int) -> bool:
            stored: Any = await raw.hget(f"{prefix}worker:{worker.name}", "about")
            about: Any = codec.decode(stored)
            said = {name: value for name, value in about.items() if name != "lease_ms"}
            said |= {} if lease_ms is None else {"lease_ms": lease_ms}
            await raw.hset(f"{prefix}worker:{worker.name}", "about", codec.encode(said))
            await raw.xclaim(stream, "workers", worker.name, 0, [entry[2:]], idle=idle_s * 1000, justid=True)
            return "silent for" in (await browser.see(f"/runs/{run_id}")).facts()["Worker"]

        # Never for as long as its real lease: it would take the run from itself.
        assert [await told(3_000_000, idle_s) for idle_s in (120, 2900, 3060)] == [False, False, True]
        assert [await told(30_000, idle_s) for idle_s in (1, 40)] == [False, True]
        assert not await told(None, 3060)
        may_end.set()
        await until(flow, run_id, lambda run: run.is_finished)


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
    assert f"/runs/{order}" in [each.attributes["href"] for each in page.all("a", class_="mono")]
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


async def test_a_run_says_that_its_queue_or_its_workflow_is_paused(flow: RedisFlow, browser: Browser):
    run_id = await start(flow, "echo", 1)
    assert "Held back" not in (await browser.see(f"/runs/{run_id}")).facts()
    await flow.controls.pause(queue="default")
    assert "paused queue default, since" in (await browser.see(f"/runs/{run_id}")).facts()["Held back"]
    await flow.controls.resume(queue="default")
    await flow.controls.pause(workflow="echo")
    assert "paused workflow echo, since" in (await browser.see(f"/runs/{run_id}")).facts()["Held back"]


async def test_a_step_that_a_forked_run_has_from_before_it_is_shown(working: RedisFlow, browser: Browser):
    run_id = await finish(working, "order", {"id": "o-1"})
    await asyncio.sleep(0.1)  # a step that ended well before the run that has it was created
    forked = await (await working.get_handle(run_id)).fork(from_step="reserve")
    await until(working, forked.id, lambda run: run.is_finished)
    for step, can_zoom in (("charge", False), ("reserve", True)):
        page = await browser.see(f"/runs/{forked.id}?step={step}")
        assert ("Zoom" in page.text) == can_zoom
