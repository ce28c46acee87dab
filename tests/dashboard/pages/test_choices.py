"""What pages offer to choose from, what they keep of a choice, and what they say before somebody acts on many runs."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redisflow import RedisFlow, Step
from redisflow.dashboard.access.credentials import BasicAuth
from redisflow.dashboard.access.roles import Role
from redisflow.dashboard.actions import Actions
from redisflow.minutes import Minute
from tests.dashboard.browsing import Browser, Html, browsing
from tests.dashboard.world import finish, start
from tests.stories.world import eventually, until


def reach_of(page: Html) -> dict[str, tuple[str | None, str | None]]:
    """By verb: how many runs it would be done to, and what more is said of them."""
    buttons = [each.attributes for each in page.all("button") if "data-bulk" in each.attributes]
    return {each["data-bulk"]: (each.get("data-reach"), each.get("data-meant")) for each in buttons}


async def test_a_list_says_to_how_many_runs_what_is_done_to_all_would_be_done(flow: RedisFlow, browser: Browser):
    async with flow.new_worker(grace=0):
        for _ in range(2):
            await finish(flow, "hopeless")
        await finish(flow, "echo", 1)
    for _ in range(3):
        await start(flow, "echo", 1)
    everything = reach_of(await browser.see("/runs"))
    assert everything["retry"] == ("2", "failed")
    assert everything["delete"] == ("3", "have ended")
    assert everything["cancel"] == ("3", "have not ended")
    assert everything["resume"] == ("0", "are paused")
    failed = reach_of(await browser.see("/runs?q=status:failed"))
    assert failed["retry"] == ("2", None)
    assert reach_of(await browser.see("/runs?q=workflow:echo"))["cancel"] == ("3", "have not ended")
    # Where a page holds some of them, and nothing counts them, nothing is said.
    for _ in range(55):
        await start(flow, "echo", 1, tags={"many": "yes"})
    some = reach_of(await browser.see("/runs?q=tag:many%3Dyes"))
    assert some["cancel"] == (None, "have not ended")
    assert reach_of(await browser.see("/runs?q=status:pending"))["cancel"] == ("58", None)


async def test_the_page_of_a_bulk_action_stops_it_while_it_goes_on(flow: RedisFlow, monkeypatch: pytest.MonkeyPatch):
    goes_on = asyncio.Event()

    async def note(*_: Any) -> None:
        await goes_on.wait()

    monkeypatch.setattr(Actions, "note", note)
    users = {"otto": ("operate", Role.OPERATOR), "vera": ("view", Role.VIEWER)}
    async with browsing(flow, auth=BasicAuth(users)) as browser:
        runs = [await start(flow, "approval")]
        sent = {"verb": "cancel", "ids": runs}
        answer = await browser.client.post("/api/v1/bulk", json=sent, auth=("otto", "operate"))
        job = answer.json()["id"]
        api = f"api/v1/bulk/{job}:cancel"
        going = await browser.see(f"/bulk/{job}", auth=("otto", "operate"))
        assert api in going.buttons()
        assert api not in (await browser.see(f"/bulk/{job}", auth=("vera", "view"))).buttons()
        browser.client.cookies.clear()
        assert (await browser.client.post(f"/{api}", json={}, auth=("otto", "operate"))).json()["state"] == "canceled"
        assert api not in (await browser.see(f"/bulk/{job}", auth=("otto", "operate"))).buttons()
        goes_on.set()


async def test_signals_are_offered_by_the_names_that_can_be_sent(flow: RedisFlow, browser: Browser):
    @flow.define_workflow("twice")
    async def twice(step: Step) -> None:
        for _ in range(2):
            await step.wait_for_signal("go on")

    async with flow.new_worker(grace=0):
        run_id = await start(flow, "twice")
        await until(flow, run_id, lambda run: run.waiting_for == "signal")
        await flow.signal(run_id, "go on")
        await until(flow, run_id, lambda run: len(run.steps) == 2 and run.waiting_for == "signal")
    offered = (await browser.see(f"/runs/{run_id}")).one("input", id="signal-name").attributes["value"]
    assert offered == "go on"
    assert "go on" in [each.attributes["value"] for each in (await browser.see("/signals")).all("option")]


async def test_finding_a_step_keeps_which_ones_are_shown_and_which_is_looked_at(flow: RedisFlow, browser: Browser):
    async with flow.new_worker(grace=0):
        run_id = await finish(flow, "many", 15)
    page = await browser.see(f"/runs/{run_id}?tab=steps&show=succeeded&step=step+3&page=1")
    kept = {each.attributes["name"]: each.attributes["value"] for each in page.all("input", type="hidden")}
    assert kept == {"tab": "steps", "show": "succeeded", "step": "step 3"}


async def test_each_workflow_and_version_is_offered_once(flow: RedisFlow, browser: Browser):
    async def nothing(step: Step) -> None: ...

    for name, version in (("bill", "1"), ("bill", "2"), ("mail", "1")):
        flow.define_workflow(name, version=version)(nothing)
    async with flow.new_worker(grace=0):
        await eventually(flow.workers)
        page = await browser.see("/runs/new")
        offered = [(each.attributes["value"], each.text) for each in page.all("option")]
        assert [each for each in offered if each[0] in {"bill", "mail"}] == [("bill", "1, 2"), ("mail", "1")]
        assert [each for each in offered if each[0] in {"1", "2"}] == [("1", "bill, mail"), ("2", "bill")]
        of_one = await browser.see("/runs/new?workflow=mail")
        assert [each.text for each in of_one.all("option", value="1")] == ["mail"]
        assert of_one.all("option", value="2") == []


async def test_the_form_warns_of_a_workflow_that_nobody_serves(flow: RedisFlow, browser: Browser):
    async with flow.new_worker(grace=0):
        await eventually(flow.workers)
        assert "No live worker serves" not in (await browser.see("/runs/new?workflow=echo")).text
        assert "No live worker serves nobodys" in (await browser.see("/runs/new?workflow=nobodys")).text


def drawing_of(page: Html, chart: str) -> Any:
    return json.loads(page.source.split(f'id="data-{chart}">')[1].split("</script>")[0])


async def test_queues_are_drawn_as_deep_as_they_were_also_where_no_worker_does_anything(
    flow: RedisFlow, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    began = datetime(2026, 1, 1, tzinfo=UTC)
    depths: list[dict[str, int]] = [{"mail": 3, "default": 0}, {}, {"mail": 7, "default": 1}]

    async def minutes(_flow: RedisFlow, _since: str) -> list[Minute]:
        return [Minute(began + timedelta(minutes=place), {}, depth) for place, depth in enumerate(depths)]

    monkeypatch.setattr(RedisFlow, "minutes", minutes)
    drawing = drawing_of(await browser.see("/metrics"), "queues")
    assert [each["label"] for each in drawing["series"]] == ["mail", "default"]
    assert drawing["data"][1:] == [[3, None, 7], [0, None, 1]]
    assert [at - drawing["data"][0][0] for at in drawing["data"][0]] == [0, 60, 120]
    depths[:] = [{"mail": 0}, {}]
    assert "Nothing happened in this time" in (await browser.see("/metrics")).text
