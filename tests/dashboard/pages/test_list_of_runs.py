"""The list of runs: what is found in it, and where a page ends."""

from __future__ import annotations

from itertools import takewhile

import pytest

from redisflow import RedisFlow
from redisflow.run_id import new_run_id
from tests.dashboard.browsing import Browser, Element, Html
from tests.dashboard.world import finish, start
from tests.stories.world import until


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
