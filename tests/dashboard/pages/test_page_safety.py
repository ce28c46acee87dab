"""Whatever is stored comes out as inert text, and what cannot be shown is told: on a page, never by a traceback."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import redis.asyncio

from redisflow import AesGcm, NonRetryableError, Payloads, RedisFlow, Step
from redisflow.dashboard.access.credentials import BasicAuth
from redisflow.dashboard.access.redact import HIDDEN
from redisflow.dashboard.access.roles import Role
from redisflow.dashboard.payload_trees import MOST_NODES
from redisflow.testing import ServerOptions, start_server
from tests.dashboard.browsing import browsing
from tests.dashboard.world import define_world, finish, start
from tests.stories.world import until

TABS = ("", "?tab=steps", "?tab=events", "?tab=children", "?tab=json", "?step=say")
ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&amp;",
    "</textarea></title><!--",
    "]]><svg/onload=alert(1)>",
    "javascript:alert(1)",
)
UNSEEN = "a\x00b\x1b[31mc\u202egnp.exe\u2066\ufeff"


async def test_attacks_come_out_as_text(working: RedisFlow):
    @working.define_workflow("raising")
    async def raising(text: str, step: Step) -> None:
        raise NonRetryableError(text)

    @working.define_workflow("named")
    async def named(text: str, step: Step) -> None:
        await step.run(text, str)
        await step.wait_for_signal(text)

    async with working.new_worker(grace=0), browsing(working) as browser:
        harmless = len((await browser.see(f"/runs/{await finish(working, 'echo', 'x')}")).all("script"))
        for attack in ATTACKS:
            echo = await finish(working, "echo", {attack: [attack]}, tags={"attack": attack})
            raised = await finish(working, "raising", attack)
            waits = await start(working, "named", attack)
            await until(working, waits, lambda run: run.waiting_for == "signal")
            paths = [*(f"/runs/{echo}{tab}" for tab in TABS), f"/runs/{raised}", f"/runs/{waits}", "/runs", "/signals"]
            for path in paths:
                page = await browser.see(path)
                assert not page.all("img"), path
                assert not [each for each in page.elements if each.attributes.keys() & {"onerror", "onload", "onfocus"}]
                assert len(page.all("script")) == harmless, path
                assert " ".join(attack.split()) in page.text or path.endswith(("steps", "events", "children")), path
            await browser.see(f"/runs/{waits}", params={"step": attack, "find": attack, "show": attack, "tab": attack})
            for path in ("/runs", "/metrics", "/runs/new"):
                await browser.see(path, params={"q": attack, "workflow": attack, "span": attack, "cursor": attack})
            for path in (f"/runs/{attack}", f"/workflows/{attack}", f"/bulk/{attack}", f"/{attack}"):
                assert (await browser.ask(path)).status_code == 404
            await working.cancel_workflow_run(waits)


async def test_signs_that_nobody_sees_are_shown(working: RedisFlow):
    run_id = await finish(working, "echo", {"text": UNSEEN, UNSEEN: "line\nline\ttab"})
    async with browsing(working) as browser:
        for tab in ("", "?tab=events", "?tab=json", "?step=say"):
            page = await browser.see(f"/runs/{run_id}{tab}")
            for sign in "\x00\x1b\u202e\u2066\ufeff":
                assert sign not in page.source
            assert "a\\u0000b\\u001b[31mc\\u202egnp.exe\\u2066\\ufeff" in page.text
        page = await browser.see("/runs", params={"q": "\x00"})
        assert page.one("input", type="search").attributes["value"] == "\\u0000"


async def test_large_payloads_are_shown_in_part(working: RedisFlow):
    values: list[Any] = [
        list(range(50_000)),
        {str(number): {"deep": [number]} for number in range(5_000)},
        "x" * 500_000,
        ["y" * 3_000] * 200,
        {"k" * 100_000: 1},
    ]
    deep: Any = "bottom"
    for _ in range(62):
        deep = [deep]
    async with browsing(working) as browser:
        for value in [*values, deep]:
            run_id = await finish(working, "echo", value)
            for tab in ("", "?tab=json", "?step=say", "?tab=events"):
                page = await browser.see(f"/runs/{run_id}{tab}")
                assert len(page.source) < 400_000, len(page.source)
                assert len(page.all("li")) < 3 * MOST_NODES + 100
        assert "bottom" in page.text


async def test_a_damaged_run_is_told_and_its_list_goes_on(working: RedisFlow, valkey_url: str):
    good, bad = await finish(working, "echo", 1), await finish(working, "echo", 2)
    key = f"rf:{{{working.namespace}:0}}:run:{bad}"
    async with redis.asyncio.Redis.from_url(valkey_url) as raw, browsing(working) as browser:
        for field, value in (("i", b"\xc1\xff"), ("0", b"garbage"), ("h", b"nonsense"), ("c", b"yesterday")):
            before = await raw.hget(key, field)
            await raw.hset(key, field, value)
            page = await browser.see(f"/runs/{bad}", 422)
            assert "cannot be read" in page.text
            assert ("redisflow audit" in page.text) == (field == "h")
            if field != "c":
                assert {good, bad} <= (await browser.see("/runs")).rows().keys()
            await raw.hset(key, field, before)
        assert (await browser.see(f"/runs/{bad}")).facts()["Queue"] == "default"


async def test_sealed_payloads_without_their_key_are_told(valkey_url: str, namespace: str):
    sealed = Payloads(encrypt=AesGcm(keys={"k1": b"1" * 32}, write="k1"))
    async with RedisFlow(valkey_url, namespace=namespace, payloads=sealed) as flow:
        define_world(flow)
        async with flow.new_worker(grace=0):
            run_id = await finish(flow, "echo", "secret")
        async with browsing(flow) as browser:
            assert "secret" in (await browser.see(f"/runs/{run_id}")).text
    async with RedisFlow(valkey_url, namespace=namespace) as blind, browsing(blind) as browser:
        assert "cannot be read here" in (await browser.see(f"/runs/{run_id}", 422)).text
        assert list((await browser.see("/runs")).rows()) == [run_id]


async def test_what_is_redacted_is_on_no_tab(working: RedisFlow):
    def hide(path: tuple[str | int, ...], value: Any) -> Any:
        return "[hidden]" if path[-1] in {"card", "message", "traceback"} else value

    echo = await finish(working, "echo", {"card": "4111-1111", "other": "seen"})
    failed = await finish(working, "declined")
    retrying = await start(working, "retrying")
    await until(working, retrying, lambda run: run.waiting_for == "retry")
    async with browsing(working, redact=hide) as browser:
        for tab in TABS:
            page = await browser.see(f"/runs/{echo}{tab}")
            assert "4111-1111" not in page.source
        assert "[hidden]" in page.text
        assert "seen" in page.text
        for tab in ("", "?step=charge", "?step=check", "?tab=json"):
            assert "declined (" not in (text := (await browser.see(f"/runs/{failed}{tab}")).source)
            assert "decline()" not in text
        assert "the bank is away" not in (await browser.see(f"/runs/{retrying}?step=call the bank")).source


def login(name: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{name}-password'.encode()).decode()}"}


async def test_nobody_is_shown_a_button_that_they_may_not_press(working: RedisFlow):
    done = await finish(working, "order", {"id": 1})
    failed = await finish(working, "hopeless")
    waits = await start(working, "approval")
    await until(working, waits, lambda run: run.waiting_for == "signal")
    await working.controls.pause(queue="default")
    await working.controls.pause(workflow="echo")

    @working.define_workflow("report")
    async def report(step: Step) -> None: ...

    await working.schedules.create("nightly", report, cron="0 3 * * *")
    paths = ["/runs", *(f"/runs/{each}" for each in (done, failed, waits)), "/queues", "/workflows", "/schedules"]
    paths += ["/workflows/echo", "/workflows/order", "/runs/new"]
    users = {f"{role.name.lower()}": (f"{role.name.lower()}-password", role) for role in Role}
    seen: dict[str, set[str]] = {}
    async with browsing(working, auth=BasicAuth(users)) as browser:
        for name in users:
            seen[name] = set()
            for path in paths:
                page = await browser.see(path, headers=login(name))
                assert f"{name} · {name}" in page.text
                seen[name] |= page.buttons()
    assert seen["viewer"] == set()
    assert seen["operator"] < seen["admin"]
    assert seen["admin"] - seen["operator"] == {
        "delete",
        f"api/v1/runs/{done}",
        f"api/v1/runs/{failed}",
    }
    async with browsing(working, read_only=True) as browser:
        for path in paths:
            page = await browser.see(path)
            assert page.buttons() == set(), path
            assert "read only" in page.text


async def test_the_form_of_somebody_who_may_not_start_runs_starts_none(flow: RedisFlow):
    async with browsing(flow, read_only=True) as browser:
        page = await browser.see("/runs/new")
        assert not page.all("form", data_post="api/v1/runs")
        assert "You may look, and not start runs" in page.text


async def test_while_the_server_is_away_a_page_says_so_and_when_to_come_again(namespace: str):
    with start_server(ServerOptions()) as running:
        async with RedisFlow(running.url, namespace=namespace, call_timeout=0.2) as flow, browsing(flow) as browser:
            await browser.see("/runs")
            running.stop()
            for path in ("/runs", "/queues", "/system"):
                answer = await browser.ask(path)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), answer.text[:500]


async def test_who_asks_is_not_named_where_the_check_of_them_fails(flow: RedisFlow):
    def broken(_request: Any) -> Role:
        raise RuntimeError("secret words")

    async with browsing(flow, auth=broken) as browser:
        for path in ("/runs", "/api/v1/runs"):
            answer = await browser.ask(path)
            assert answer.status_code == 500
            assert "secret" not in answer.text
            assert flow.namespace not in answer.text


async def test_a_defect_of_a_page_is_a_page_and_stands_in_the_log(
    flow: RedisFlow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    async def broken(*_: Any) -> Any:
        raise RuntimeError("what nobody foresaw")

    run_id = await start(flow, "echo", 1, available_at="1h")
    monkeypatch.setattr(RedisFlow, "get_run", broken)
    async with browsing(flow) as browser:
        page = await browser.see(f"/runs/{run_id}", 500)
        assert "the log of the dashboard has more" in page.text
        assert "foresaw" not in page.text
        assert "failed: RuntimeError" in caplog.text


async def test_what_a_hook_answers_and_nobody_can_show_is_hidden(flow: RedisFlow):
    def broken(path: Any, value: Any) -> Any:
        return object.__new__(Unspeakable)

    run_id = await start(flow, "echo", "a-secret", available_at="1h")
    async with browsing(flow, redact=broken) as browser:
        page = await browser.see(f"/runs/{run_id}")
        assert HIDDEN in page.text
        assert "a-secret" not in page.source


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("never")


async def test_pages_say_how_a_browser_has_to_treat_them(flow: RedisFlow):
    async with browsing(flow) as browser:
        for path, status in (("/runs", 200), ("/runs/nonsense", 404), ("/nowhere", 404)):
            answer = await browser.ask(path)
            assert answer.status_code == status
            assert answer.headers["cache-control"] == "no-store"
            assert "default-src 'self'" in answer.headers["content-security-policy"]


async def test_what_somebody_did_is_shown_also_where_half_of_it_is_hidden(working: RedisFlow):
    run_id = await finish(working, "echo", 1)
    await working.note(run_id, "look at it", "ada")

    def without_names(path: tuple[str | int, ...], value: Any) -> Any:
        return {"action": value["action"]} if path == ("events", "audit") else value

    async with browsing(working, redact=without_names) as browser:
        events = await browser.see(f"/runs/{run_id}?tab=events")
        assert "look at it" in events.text
        assert "ada" not in events.text
