"""What nobody should send, and what nobody should have stored: refused, or shown as what it is."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from redisflow import RedisFlow
from redisflow.dashboard.api import answers, bodies
from redisflow.dashboard.api.table import ENDPOINTS
from redisflow.run_id import new_run_id

V1 = "/api/v1"
BAD_NAMES = [
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%2f..%2fetc",
    "..%5c..%5cetc",
    "%00",
    "a%00b",
    "a%0d%0aSet-Cookie:x=1",
    "a%0a",
    "%F0%9F%92%A5",
    "%ff%fe",
    "%E2%80%AE",
    "<script>",
    "'; DROP TABLE runs; --",
    "x" * 5000,
    "{run_id}",
    "null",
    "*",
]


def check_problem(answer: Any, *statuses: int) -> Any:
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "x-content-type-options" in answer.headers
    assert "set-cookie" not in answer.headers
    return answer.json()


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_name_that_names_nothing_is_not_there(client, name: str):
    for method, path in (
        ("GET", f"/runs/{name}"),
        ("GET", f"/runs/{name}/events"),
        ("DELETE", f"/runs/{name}"),
        ("POST", f"/runs/{name}:cancel"),
        ("POST", f"/queues/{name}:pause"),
        ("POST", f"/workflows/{name}:pause"),
        ("POST", f"/schedules/{name}:pause"),
        ("GET", f"/bulk/{name}"),
    ):
        if name == "null" and path.startswith(("/queues", "/workflows")):
            continue  # as a queue it is as good a name as any
        answer = await client.request(method, V1 + path)
        if "%0a" in name:  # no path of ours at all
            assert answer.status_code == 404
            assert "set-cookie" not in answer.headers
        else:
            check_problem(answer, 404, 405)


BAD_BODIES: list[tuple[str, Any]] = [
    ("no JSON", b"{"),
    ("no JSON at all", b"\x00\xff"),
    ("a list", b"[]"),
    ("a number", b"1"),
    ("nothing", b"null"),
    ("half of a pair", b'{"workflow": "order", "input": "\\ud800"}'),
    ("deep", b'{"workflow": "order", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("deeper than is stored", b'{"workflow": "order", "input": ' + b"[" * 150 + b"]" * 150 + b"}"),
    ("a field too many", {"workflow": "order", "input": 1, "admin": True}),
    ("no workflow", {"input": 1}),
    ("an unknown workflow", {"workflow": "nothing"}),
    ("a workflow that is no text", {"workflow": ["order"]}),
    ("a name with a line break", {"workflow": "order\r\nX: y"}),
    ("an input of another type", {"workflow": "order", "input": "seven"}),
    ("a priority that is text", {"workflow": "order", "input": 1, "priority": "9"}),
    ("a priority too high", {"workflow": "order", "input": 1, "priority": 10}),
    ("tags that are no text", {"workflow": "order", "input": 1, "tags": {"a": 1}}),
    ("tags with a line break", {"workflow": "order", "input": 1, "tags": {"a": "b\nc=d"}}),
    ("too many tags", {"workflow": "order", "input": 1, "tags": {str(n): "" for n in range(33)}}),
    ("no instant", {"workflow": "order", "input": 1, "available_at": "soon"}),
    ("an instant too long", {"workflow": "order", "input": 1, "available_at": "1" * 1000}),
    ("an instant that is no number", {"workflow": "order", "input": 1, "deadline_at": "nan"}),
    ("an endless key", {"workflow": "order", "input": 1, "key": "k" * 2000}),
    ("an unknown rule", {"workflow": "order", "input": 1, "on_conflict": "explode"}),
]


@pytest.mark.parametrize(("what", "body"), BAD_BODIES, ids=[what for what, _ in BAD_BODIES])
async def test_a_body_that_does_not_fit_stores_nothing(client, shop: RedisFlow, what: str, body: Any):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await client.post(f"{V1}/runs", content=data, headers={"Content-Type": "application/json"})
    check_problem(answer, 422)
    assert [run async for run in shop.list_runs()] == []


async def test_a_body_is_of_a_bounded_size_also_where_it_lies_about_it(make_client, shop: RedisFlow):
    async def endless() -> Any:
        for _ in range(1000):
            yield b" " * 1000

    async with make_client(body_limit=10_000) as client:
        headers = {"Content-Type": "application/json"}
        check_problem(await client.post(f"{V1}/runs", content=b" " * 10_001, headers=headers), 413)
        check_problem(await client.post(f"{V1}/runs", content=endless(), headers=headers), 413)
        check_problem(await client.post(f"{V1}/bulk", content=endless(), headers=headers), 413)
        check_problem(await client.request("DELETE", f"{V1}/runs/{new_run_id(0)}", content=endless()), 413)
    async with make_client() as client:
        large = {"workflow": "echo", "input": "x" * (2 << 20)}
        check_problem(await client.post(f"{V1}/runs", json=large), 413, 422)
        many = {"verb": "cancel", "ids": [new_run_id(0)] * 10_001}
        check_problem(await client.post(f"{V1}/bulk", json=many), 422)


async def test_a_body_is_json_and_says_so(client):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        headers = {"Content-Type": kind} if kind else {}
        check_problem(await client.post(f"{V1}/runs", content=b'{"workflow": "order"}', headers=headers), 415)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=1&limit=2",
        "nothing=1",
        "status=done",
        "tag=customer",
        "tag=a%0Ab=c",
        "created_after=soon",
        "created_after=-1h",
        "created_after=nan",
        "workflow=a%0d%0ab",
        "workflow=a&workflow=b",
        "order=sideways",
        "cursor=nonsense",
        "cursor=%00",
        "q=workflow:a&workflow=a",
        "q=colour:red",
        "q=" + "x" * 5000,
        "q=%22",
        "q=%00",
        "q=%ff",
    ],
)
async def test_a_question_that_cannot_be_meant_is_told_so(client, query: str):
    check_problem(await client.get(f"{V1}/runs?{query}"), 422)


async def test_what_was_sent_is_not_repeated(client, caplog):
    caplog.set_level(logging.DEBUG, logger="redisflow")
    sent = {"workflow": "order", "input": "the-secret", "priority": "the-secret"}
    answer = await client.post(f"{V1}/runs", json=sent)
    assert check_problem(answer, 422)["problems"][0]["where"] == ["priority"]
    assert "the-secret" not in answer.text + caplog.text


HOSTILE_VALUES: list[Any] = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "a\r\nevent: end\r\ndata: {}\r\n\r\n",
    "\x00\x1b[31m\u202e\u2028\u2029\ufeff",
    "\U0001f4a5 \U000e0001",
    {"__proto__": {"admin": True}, "constructor": 1, "": None},
    {"<b>": ["${7*7}", "{{7*7}}"]},
    [1e308, -0.0, 2**63, -(2**63)],
    {"a": {"a": {"a": {"a": []}}}},
]


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=range(len(HOSTILE_VALUES)))
async def test_whatever_was_stored_comes_out_as_inert_json(client, working: RedisFlow, value: Any):
    run_id = (await client.post(f"{V1}/runs", json={"workflow": "echo", "input": value})).json()["id"]
    stream = (await client.get(f"{V1}/runs/{run_id}/events", headers={"Accept": "text/event-stream"})).text
    # One event of the run, one of its start, and its end: no line of the value's makes another.
    assert [line for line in stream.replace("\r\n", "\n").split("\n") if line.startswith("event:")] == ["event: end"]
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/events"):
        answer = await client.get(V1 + path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.content.isascii()
    assert answer.json()["events"][-1]["data"] == value
    run = answers.Run.model_validate((await client.get(f"{V1}/runs/{run_id}")).json())
    assert run.input == run.output == value


async def test_what_is_no_json_is_shown_in_some_way(client, working: RedisFlow):
    run = await working.run_workflow("echo", {"nan": float("nan"), "bytes": b"\xff", "set": {1}, 7: (1, 2)})
    await run.result(10)
    document = json.loads((await client.get(f"{V1}/runs/{run.id}")).text, parse_constant=pytest.fail)
    assert document["input"] == {"nan": "NaN", "bytes": "_w==", "set": [1], "7": [1, 2]}


BODIES = sorted({endpoint.body for endpoint in ENDPOINTS}, key=lambda model: model.__name__)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(sorted({name for model in BODIES for name in model.model_fields}))


@given(st.sampled_from(BODIES), st.dictionaries(FIELDS | st.text(max_size=10), JSON_VALUES, max_size=5))
def test_any_json_is_a_body_or_refused(model: type[bodies.Body], sent: dict[str, Any]):
    try:
        body = model.model_validate_json(json.dumps(sent))
    except ValidationError:
        return
    assert set(sent) <= set(model.model_fields)
    assert body.model_fields_set == set(sent)
