"""The events of a run: a page of them, or a stream that goes on where it was broken off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import ServerSentEvent
from starlette.exceptions import HTTPException

from redisflow.client.events import Event
from redisflow.client.handle import WorkflowHandle
from redisflow.dashboard.access.redact import Redactor
from redisflow.dashboard.api.bodies import Nothing
from redisflow.dashboard.api.endpoint import Call
from redisflow.dashboard.api.params import ReadEvents
from redisflow.dashboard.streams import CountedStream, who_asks
from redisflow.errors import RedisflowError

STREAM_TYPE = "text/event-stream"
RETRY_MS = 3000
"""How long a browser waits before it comes back."""


async def read_events(call: Call[ReadEvents, Nothing]) -> Any:
    """What a run has said, and what was done to it: JSON, or with `Accept: text/event-stream` a stream.

    The stream goes on until the run has ended, and then says `event: end`. Its events have ids, so a client that was
    cut off goes on with `Last-Event-ID` (or `after`), as after ten minutes, when each stream ends. Where the server
    goes away it says `event: error`, and ends.
    """
    handle = await call.services.flow.get_handle(call.name)
    if STREAM_TYPE not in call.request.headers.get("accept", ""):
        return await _page(handle, call.params, call.services.redact)
    after = call.request.headers.get("last-event-id") or call.params.after
    async with contextlib.aclosing(handle.events(after, live=False)) as events:
        async for _ in events:  # what is wrong with the request is said with its status, before the stream begins
            break
    streams, who = call.services.streams, who_asks(call.request)
    if streams.are_full_for(who):
        raise HTTPException(503, "as many streams are open as may be", {"Retry-After": "5"})
    return CountedStream(_stream(handle, after, call.services.redact, call.services.options.longest_s), streams, who)


async def _page(handle: WorkflowHandle[Any], params: ReadEvents, redact: Redactor) -> dict[str, Any]:
    found: list[Event] = []
    async with contextlib.aclosing(handle.events(params.after, live=False)) as events:
        async for event in events:
            found.append(event)
            if len(found) > params.limit:
                break
    shown = found[: params.limit]
    return {
        "events": [redact.event(event) for event in shown],
        "after": shown[-1].id if shown else params.after,
        "has_more": len(found) > params.limit,
    }


async def _stream(
    handle: WorkflowHandle[Any], after: str | None, redact: Redactor, longest_s: float
) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment="events", retry=RETRY_MS)
    until_s = asyncio.get_running_loop().time() + longest_s
    try:
        async with contextlib.aclosing(handle.events(after)) as events:
            while True:
                async with asyncio.timeout_at(until_s):
                    event = await anext(events, None)
                if event is None:
                    break
                yield ServerSentEvent(json.dumps(redact.event(event)), id=event.id)
    except TimeoutError:
        return
    except RedisflowError as error:
        told = {"error": type(error).__name__, "detail": str(error)}
        yield ServerSentEvent(json.dumps(told), event="error")
        return
    yield ServerSentEvent("{}", event="end")


def _is_no_chunk(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("chunk")


# It logs each piece that it sends, at DEBUG: those hold what users store.
logging.getLogger("sse_starlette.sse").addFilter(_is_no_chunk)
