"""The largest, deepest and oddest that can be stored or asked for: pages and API answer, and never with a 500."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from redisflow import RedisFlow
from tests.dashboard.browsing import Browser, browsing
from tests.dashboard.world import define_world, finish

TABS = ("", "?tab=steps", "?tab=history", "?tab=events", "?tab=json", "?step=say")
API = ("", "/steps", "/events")
DEEPEST = 60
"""64 levels can be stored, of the record that holds it."""
ODD = (
    "%00",
    "%ff",
    "%ed%a0%80",
    "-1",
    "9" * 30,
    "x" * 8000,
    "%22",
    "%5c",
    "..%2f",
    "%0d%0a",
    "%3Cb%3E",
    "%7B%7B7%7D%7D",
)
NAMES = ("q", "cursor", "page", "find", "workflow", "span", "step", "tab", "show", "nothing")
PAGES = ("/runs", "/runs/new", "/workflows", "/queues", "/workers", "/schedules", "/signals", "/metrics", "/system")


@pytest.fixture
async def flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        define_world(flow)
        async with flow.new_worker(grace=0):
            yield flow


@pytest.fixture
async def browser(flow: RedisFlow) -> AsyncIterator[Browser]:
    async with browsing(flow, redact=lambda _path, value: value) as browser:
        yield browser


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


VALUES: dict[str, Any] = {
    "deep lists": nested(DEEPEST, lambda value: [value]),
    "deep dicts": nested(DEEPEST, lambda value: {"a": value}),
    "no numbers": [float("nan"), float("inf"), -float("inf"), {"nan": float("nan")}],
    "nothing": {"\x00": "\x00", "": None},
    "long": "x" * 60_000,
    "many": list(range(10_000)),
    "large": [2**63 - 1, -(2**63), 1e308, 5e-324],
    "odd keys": {1: 2, (1, 2): 3, None: 4, 1.5: 5},
}


@pytest.mark.parametrize("what", VALUES)
async def test_whatever_can_be_stored_can_be_shown(flow: RedisFlow, browser: Browser, what: str):
    run_id = await finish(flow, "echo", VALUES[what])
    for tab in TABS:
        await browser.see(f"/runs/{run_id}{tab}")
    for path in API:
        assert (await browser.ask(f"/api/v1/runs/{run_id}{path}")).status_code == 200


@pytest.mark.parametrize("name", NAMES)
async def test_whatever_is_asked_for_is_answered(flow: RedisFlow, browser: Browser, name: str):
    run_id = await finish(flow, "echo", 1)
    for page in (*PAGES, "/workflows/echo", f"/runs/{run_id}"):
        for odd in ODD:
            answer = await browser.ask(f"{page}?{name}={odd}")
            assert answer.status_code < 500, (page, name, odd)


async def test_what_is_sent_is_stored_or_refused(flow: RedisFlow, browser: Browser):
    headers = {"Content-Type": "application/json"}
    bodies = {
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000: 422,
        b'"' + b"x" * (10 << 20) + b'"': 413,
        b'"' + b"x" * (2 << 20) + b'"': 413,
        b'"\\ud800"': 422,
        b"9" * 5000: 422,
        b"NaN": 201,
        b"1e999": 201,
        b'"\\u0000"': 201,
    }
    for value, status in bodies.items():
        body = b'{"workflow": "echo", "input": ' + value + b"}"
        browser.client.cookies.clear()
        answer = await browser.client.post("/api/v1/runs", content=body, headers=headers)
        assert answer.status_code == status, (value[:20], answer.text[:300])
