"""Exported runs that somebody has changed: what is stored of them can be read, shown and audited, or nothing is."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redisflow import InvalidExport, RedisFlow, RetryPolicy, RunExists, RunStateConflict, Step, StepOptions
from redisflow.documents import of_run
from redisflow.timeline import draw_timeline
from tests.keyspace import breaches, raw_calls
from tests.stories.world import until

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


async def exported(url: str, namespace: str) -> dict[str, Any]:
    """A run with a record of each common kind."""

    async def fail(step: Step) -> None:
        step.emit("failing")
        step.set_state("phase", 1)
        raise ValueError("no")

    async with RedisFlow(url, namespace=namespace) as flow:

        @flow.define_workflow("all")
        async def workflow(number: int, step: Step) -> int:
            step.on_failure("undo", lambda: None)
            await step.run("one", lambda: number)
            await step.sleep("nap", "1ms")
            await step.wait_for_signal("word", timeout="1ms")
            retry = RetryPolicy(maximum_attempts=2, initial_interval="1ms")
            await step.run(StepOptions("fail", retry=retry), fail, step)
            return number

        handle = await workflow.run(1, tags={"a": "b"})
        async with flow.new_worker(grace=0):
            await until(flow, handle.id, lambda run: run.is_finished)
        return json.loads(json.dumps(await flow.export_run(handle.id)))  # type: ignore[no-any-return]  # json.loads gives Any


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where each value within it is."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, inner in pairs for found in paths_of(inner, (*path, key)))]


@dataclass(frozen=True)
class Change:
    """A value in place of another, or some bytes of a payload, where it is one: each place as a part of what is there.

    All is drawn before the test begins: a draw that hypothesis ends inside a coroutine is garbage with a voice.
    """

    place: float
    value: Any
    bytes_there: list[tuple[float, int]]

    def of(self, document: dict[str, Any]) -> Any:
        """The document with it."""
        made = json.loads(json.dumps(document))
        *before, last = at(paths_of(made)[1:], self.place)
        holder = made
        for key in before:
            holder = holder[key]
        try:
            payload = bytearray(b64decode(holder[last], validate=True))
        except (TypeError, ValueError):
            payload = bytearray()
        for place, byte in self.bytes_there if payload else ():
            payload[at(range(len(payload)), place)] = byte
        holder[last] = b64encode(bytes(payload)).decode() if payload and self.bytes_there else self.value
        return made


def at(choices: Sequence[Any], place: float) -> Any:
    """The one that is so far along them, from 0 to 1."""
    return choices[min(int(place * len(choices)), len(choices) - 1)]


_PLACE = st.floats(0, 1)
_CHANGE = st.builds(Change, _PLACE, _JSON, st.lists(st.tuples(_PLACE, st.integers(0, 255)), max_size=3))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(change=_CHANGE)
async def test_a_changed_document_is_refused_or_makes_a_run_like_any_other(
    memory_url: str, namespace: str, change: Change
) -> None:
    if namespace not in _DOCUMENTS:
        _DOCUMENTS[namespace] = await exported(memory_url, namespace)
    await refused_or_like_any_other(memory_url, f"{namespace}-2", change.of(_DOCUMENTS[namespace]))


@pytest.mark.parametrize("odd", [float("inf"), float("nan"), 2**63, -1], ids=str)
async def test_no_part_of_a_record_is_a_number_that_cannot_be_shown(
    memory_url: str, namespace: str, odd: float
) -> None:
    document = await exported(memory_url, namespace)
    count = 0
    for number, record in enumerate(document["records"]):
        head, parts, tail = taken_apart(b64decode(record))
        for place in range(len(parts)):
            count += 1
            made = head + msgpack.packb([*parts[:place], odd, *parts[place + 1 :]]) + tail
            records = [*document["records"]]
            records[number] = b64encode(made).decode()
            await refused_or_like_any_other(memory_url, f"{namespace}-2", {**document, "records": records})
    assert count > 3 * len(document["records"])


def taken_apart(record: bytes) -> tuple[bytes, list[Any], bytes]:
    """Its kind, its parts, and what follows them."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(record[1:])
    parts = unpacker.unpack()
    return record[:1], parts, record[1 + unpacker.tell() :]


async def refused_or_like_any_other(memory_url: str, place: str, document: Any) -> None:
    """Import it; what is stored then can be read in every way."""
    async with RedisFlow(memory_url, namespace=place) as flow:
        try:
            done = await flow.import_run(document)
        except (InvalidExport, RunStateConflict, RunExists):
            pass
        else:
            run = await flow.get_run(done.id)
            json.dumps(of_run(run))
            draw_timeline(run, run.finished_at or run.created_at)
            str(run)
            [str(entry) for entry in await flow.get_history(done.id)]
            handle = await flow.get_handle(done.id)
            [event async for event in handle.events(live=False)]
            await handle.state()
            await flow.import_run(await flow.export_run(done.id))
            assert done.id in [found.id async for found in flow.list_runs()]
            raw, close = raw_calls(memory_url)
            assert not breaches(raw, place)
            close()
            await flow.delete_run(done.id)
        assert [found.id async for found in flow.list_runs()] == []


_DOCUMENTS: dict[str, dict[str, Any]] = {}
"""What each namespace exported: once for all examples."""
