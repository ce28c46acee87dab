"""The events of a run over the API: page after page, and as a stream that goes on where it was cut off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from sse_starlette import ServerSentEvent
from starlette.requests import Request

from redisflow import RedisFlow, Step
from redisflow.dashboard.access.roles import Identity, Role
from redisflow.dashboard.api import answers
from redisflow.dashboard.services import DashboardOptions, Services
from redisflow.dashboard.streams import CountedStream, Streams, who_asks
from redisflow.run_id import new_run_id
from tests.dashboard.apps import application

V1 = "/api/v1"
STREAM = {"Accept": "text/event-stream"}


@dataclass
class Sent:
    """An event of a stream, as a browser reads it."""

    id: str = ""
    event: str = "message"
    data: list[str] = field(default_factory=list)

    @property
    def document(self) -> Any:
        return json.loads("\n".join(self.data))


def read(text: str) -> list[Sent]:
    found: list[Sent] = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        sent = Sent()
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if name == "data":
                sent.data.append(value)
            elif name in {"id", "event"}:
                setattr(sent, name, value)
        if sent.data:
            found.append(sent)
    return found


@pytest.fixture
async def talking(shop: RedisFlow):
    @shop.define_workflow("talk")
    async def talk(count: int, step: Step) -> None:
        for number in range(count):
            step.emit({"n": number}, kind="said")
        await step.wait_for_signal("enough")

    worker = asyncio.create_task(shop.new_worker(grace=0).run())
    yield shop
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_events_are_read_page_after_page(client, talking: RedisFlow):
    run = await talking.run_workflow("talk", 5)
    await talking.signal(run.id, "enough")
    await run.result(10)
    found, after = [], None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = (await client.get(f"{V1}/runs/{run.id}/events", params=params)).json()
        answers.Events.model_validate(page)
        found += [event["data"]["n"] for event in page["events"]]
        after = page["after"]
        if not page["has_more"]:
            break
    assert found == list(range(5))
    nothing = (await client.get(f"{V1}/runs/{run.id}/events", params={"after": after})).json()
    assert nothing == {"events": [], "after": after, "has_more": False}


async def test_a_stream_says_all_and_then_that_it_is_over(client, talking: RedisFlow):
    run = await talking.run_workflow("talk", 3)
    await talking.signal(run.id, "enough")
    answer = await client.get(f"{V1}/runs/{run.id}/events", headers=STREAM)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert "retry: 3000" in answer.text
    *events, end = read(answer.text)
    assert [event.document["data"]["n"] for event in events] == [0, 1, 2]
    assert end.event == "end"
    for event in events:
        answers.RunEvent.model_validate(event.document)
        assert event.id == event.document["id"]
    # Cut off behind the second, a browser comes back with its id.
    for resumed in (
        await client.get(f"{V1}/runs/{run.id}/events", headers={**STREAM, "Last-Event-ID": events[1].id}),
        await client.get(f"{V1}/runs/{run.id}/events", params={"after": events[1].id}, headers=STREAM),
    ):
        assert [sent.id for sent in read(resumed.text)] == [events[2].id, ""]


async def test_a_stream_brings_what_comes_while_it_is_open(client, talking: RedisFlow):
    run = await talking.run_workflow("talk", 1)
    reading = asyncio.create_task(client.get(f"{V1}/runs/{run.id}/events", headers=STREAM))
    await talking.signal(run.id, "enough")
    assert [sent.event for sent in read((await reading).text)] == ["message", "end"]


async def test_what_people_did_is_among_the_events(client, talking: RedisFlow):
    run = await talking.run_workflow("talk", 0)
    await client.post(f"{V1}/runs/{run.id}:cancel")
    answer = await client.get(f"{V1}/runs/{run.id}/events", headers=STREAM)
    note, _ = read(answer.text)
    assert note.document["kind"] == "audit"
    assert {name: note.document["data"][name] for name in ("action", "by")} == {"action": "cancel", "by": "anonymous"}


async def test_what_is_wrong_is_said_before_the_stream_begins(client, shop: RedisFlow):
    answer = await client.get(f"{V1}/runs/{new_run_id(0)}/events", headers=STREAM)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    run = await shop.run_workflow("approval")
    for bad in ("x", "1", "1-1\n", "9" * 50):
        answer = await client.get(f"{V1}/runs/{run.id}/events", params={"after": bad}, headers=STREAM)
        assert answer.status_code == 422
        assert (await client.get(f"{V1}/runs/{run.id}/events", params={"after": bad})).status_code == 422


async def test_so_many_streams_are_open_and_a_closed_one_makes_room(shop: RedisFlow):
    run = await shop.run_workflow("approval")
    done = await shop.run_workflow("approval")
    await done.cancel()
    services = Services.of(shop, DashboardOptions(max_streams=1))
    transport = httpx2.ASGITransport(app=application(services))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for _ in range(3):
            assert (await client.get(f"{V1}/runs/{done.id}/events", headers=STREAM)).status_code == 200
        reading = asyncio.create_task(client.get(f"{V1}/runs/{run.id}/events", headers=STREAM))
        while not services.streams.count:
            await client.get(f"{V1}/queues")
        answer = await client.get(f"{V1}/runs/{done.id}/events", headers=STREAM)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        await run.cancel()
        assert (await reading).status_code == 200
        assert (await client.get(f"{V1}/runs/{done.id}/events", headers=STREAM)).status_code == 200


async def test_a_stream_ends_after_a_while_without_a_word_and_goes_on_with_the_next(talking: RedisFlow):
    run = await talking.run_workflow("talk", 2)
    services = Services.of(talking, DashboardOptions(longest_s=0.5))
    transport = httpx2.ASGITransport(app=application(services))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        first = read((await client.get(f"{V1}/runs/{run.id}/events", headers=STREAM)).text)
        assert [sent.event for sent in first] == ["message", "message"]  # neither `end` nor `error`
        await talking.signal(run.id, "enough")
        again = {**STREAM, "Last-Event-ID": first[-1].id}
        second = await client.get(f"{V1}/runs/{run.id}/events", headers=again)
        assert [sent.event for sent in read(second.text)] == ["end"]
        assert services.streams.count == 0


async def test_nobody_takes_all_streams():
    streams = Streams(4)
    with streams.opened("ann"), streams.opened("ann"):
        assert streams.are_full_for("ann")
        assert not streams.are_full_for("ben")
        with streams.opened("ben"), streams.opened("cem"):
            assert streams.are_full_for("ben")
    assert streams.count == 0


async def test_who_takes_nothing_is_let_go(monkeypatch):
    monkeypatch.setattr("redisflow.dashboard.streams.SEND_TIMEOUT_S", 0.05)
    streams, is_closed = Streams(2), asyncio.Event()

    async def endless() -> AsyncIterator[ServerSentEvent]:
        try:
            while True:
                yield ServerSentEvent("x" * 1000)
        finally:
            is_closed.set()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()  # nobody reads, so nothing more fits

    async def receive() -> Any:
        return await asyncio.Event().wait()

    stream = CountedStream(endless(), streams, "ann")
    await asyncio.wait_for(stream({"type": "http", "method": "GET"}, receive, send), 10)
    assert is_closed.is_set()
    assert streams.count == 0


def test_somebody_is_known_by_name_and_where_nobody_has_one_by_address():
    def asks(name: str | None, address: str) -> str:
        state = {} if name is None else {"identity": Identity(name, Role.VIEWER)}
        return who_asks(Request({"type": "http", "headers": [], "client": (address, 1), "state": state}))

    assert asks("ann", "10.0.0.1") == asks("ann", "10.0.0.2") != asks("ben", "10.0.0.1")
    assert asks("anonymous", "10.0.0.1") == asks(None, "10.0.0.1") != asks("anonymous", "10.0.0.2")
