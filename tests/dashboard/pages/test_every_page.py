"""Each of the other pages, with what it is for and when there is nothing of it."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio

from redisflow import RedisFlow, codec, define_workflow_spec
from redisflow.run_id import new_run_id
from redisflow.testing import ServerOptions, start_server
from tests.dashboard.browsing import Browser, browsing, crawl
from tests.dashboard.world import finish, start
from tests.stories.world import eventually, until

PAGES = ("/runs", "/runs/new", "/workflows", "/queues", "/workers", "/schedules", "/signals", "/metrics", "/system")


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
    await start(flow, "echo", 1, available_at="1h")
    await flow.controls.pause(queue="default")
    page = await browser.see("/queues")
    rows = page.rows()
    assert "nobody reads it" in rows["slow"]
    assert "paused" in rows["default"]
    assert page.buttons() == {"api/v1/queues/default:resume", "api/v1/queues/slow:pause"}
    totals = {"Ready": "1", "Held by workers": "0", "Waiting": "1", "Stranded": "0", "With a timer": "1"}
    assert page.facts().items() >= totals.items()
    (stranded,) = [each.attributes["href"] for each in page.all("a") if "stranded" in each.attributes["href"]]
    assert "No run matches" in (await browser.see(stranded)).text


async def test_what_is_paused_is_shown_though_no_run_is_there(flow: RedisFlow, browser: Browser):
    await flow.controls.pause(queue="mistyped")
    await flow.controls.pause(workflow="ordr")
    assert "paused" in (await browser.see("/queues")).rows()["mistyped"]
    assert "paused" in (await browser.see("/workflows")).rows()["ordr"]
    assert "api/v1/workflows/ordr:resume" in (await browser.see("/workflows/ordr")).buttons()
    assert "queue mistyped is paused, since" in (await browser.see("/system")).text


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 0),
        ("concurrency", "many"),
        ("concurrency", True),
        ("pid", "<b>"),
        ("queues", 7),
        ("queues", [7]),
        ("workflows", [["echo"]]),
        ("workflows", [[1, 2]]),
        ("host", None),
        ("lease_ms", "long"),
        ("lease_ms", 2**62),
        ("lease_ms", -1),
    ],
)
async def test_a_worker_whose_words_are_odd_hides_no_other(
    working: RedisFlow, browser: Browser, valkey_url: str, name: str, value: Any
):
    (worker,) = await eventually(working.workers)
    prefix = f"rf:{{{working.namespace}:0}}:"
    async with redis.asyncio.Redis.from_url(valkey_url) as raw:
        stored: Any = await raw.hget(f"{prefix}worker:{worker.name}", "about")
        until_ms: Any = await raw.zscore(f"{prefix}workers", worker.name)
        about: Any = codec.decode(stored)
        await raw.hset(f"{prefix}worker:odd", "about", codec.encode({**about, name: value}))
        await raw.zadd(f"{prefix}workers", {"odd": until_ms})
    for path in ("/workers", "/queues", "/system"):
        await browser.see(path)
    assert list((await browser.see("/workers")).rows()) == [worker.name]


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


async def test_signals_that_a_run_has_not_taken_are_named_beside_what_it_waits_for(
    working: RedisFlow, browser: Browser
):
    run_id = await start(working, "approval", None)
    await until(working, run_id, lambda run: run.waiting_for == "signal")
    await working.signal(run_id, "approve", {"secret": "shown nowhere"})
    await working.signal(run_id, "approve")
    page = await browser.see("/signals")
    (row,) = page.rows().values()
    assert "approve (2)" in row
    assert "shown nowhere" not in page.text


async def test_many_waits_go_on_where_the_page_ends(working: RedisFlow, browser: Browser):
    handles = await working.find_workflow("approval").run_many(None for _ in range(80))
    for handle in handles:
        await until(working, handle.id, lambda run: run.waiting_for == "signal")
    first = await browser.see("/signals")
    (older,) = first.all("a", rel="next")
    rest = await browser.see("/signals" + older.attributes["href"])
    assert (len(first.rows()), len(rest.rows())) == (50, 30)
    assert len((await browser.see("/signals?cursor=nonsense")).rows()) == 50


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
    points, width = {"1h": (60, 1), "6h": (360, 1), "24h": (288, 5)}.get(span, (60, 1))
    assert abs(len(charts["data-throughput"]["data"][0]) - points) <= 1
    one = await browser.see(f"/metrics?span={span}&workflow=echo")
    assert [each.text for each in one.all("option") if "selected" in each.attributes] == ["echo"]
    none = await browser.see("/metrics?workflow=<nobody>")
    assert "<nobody>" in [each.text for each in none.all("option")]
    # The minute that goes on is not drawn as one in which nothing, or less than before, happened.
    for page in (none, one) if width == 1 else ():
        _, started, _ = charts_of(page)["data-throughput"]["data"]
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


async def test_a_workflow_with_too_many_unfinished_runs_says_that_they_are_not_told_apart(
    flow: RedisFlow, browser: Browser
):
    await flow.find_workflow("echo").run_many(range(2_000))
    page = await browser.see("/workflows/echo")
    assert "pending" in page.text
    await start(flow, "echo", 1)
    page = await browser.see("/workflows/echo")
    assert "they are not told apart here" in page.text
