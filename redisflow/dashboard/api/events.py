"""The events of a run: a page of them, or a stream that goes on where it was broken off."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from redisflow.client.events import Event
from redisflow.client.handle import WorkflowHandle
from redisflow.dashboard.access.redact import Redactor
from redisflow.dashboard.api.bodies import Nothing
from redisflow.dashboard.api.endpoint import Call
from redisflow.dashboard.api.params import ReadEvents
from redisflow.dashboard.streams import Streams
from redisflow.errors import RedisflowError

STREAM_TYPE = "text/event-stream"
RETRY_MS = 3000
"""How long a browser waits before it comes back."""
PING_S = 15
SEND_TIMEOUT_S = 30
"""A client that takes nothing for so long is let go."""


async def read_events(call: Call[ReadEvents, Nothing]) -> Any:
    """What a run has said, and what was done to it: JSON, or with `Accept: text/event-stream` a stream.

    The stream goes on until the run has ended, and then says `event: end`. Its events have ids, so a client that was
    cut off goes on with `Last-Event-ID` (or `after`). Where the server goes away it says `event: error`, and ends.
    """
    handle = await call.services.flow.get_handle(call.name)
    if STREAM_TYPE not in call.request.headers.get("accept", ""):
        return await _page(handle, call.params, call.services.redact)
    after = call.request.headers.get("last-event-id") or call.params.after
    async with contextlib.aclosing(handle.events(after, live=False)) as events:
        async for _ in events:  # what is wrong with the request is said with its status, before the stream begins
            break
    if call.services.streams.are_full:
        raise HTTPException(503, "as many streams are open as may be", {"Retry-After": "5"})
    return CountedStream(_stream(handle, after, call.services.redact), call.services.streams)


class CountedStream(EventSourceResponse):
    """A stream that counts while it is sent."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], streams: Streams) -> None:
        """Of these events."""
        super().__init__(events, ping=PING_S, send_timeout=SEND_TIMEOUT_S)  # pyright: ignore[reportUnknownMemberType]  # its content may be any dict
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._streams.opened():
            await super().__call__(scope, receive, send)


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


async def _stream(handle: WorkflowHandle[Any], after: str | None, redact: Redactor) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment="events", retry=RETRY_MS)
    try:
        async with contextlib.aclosing(handle.events(after)) as events:
            async for event in events:
                yield ServerSentEvent(json.dumps(redact.event(event)), id=event.id)
    except RedisflowError as error:
        told = {"error": type(error).__name__, "detail": str(error)}
        yield ServerSentEvent(json.dumps(told), event="error")
        return
    yield ServerSentEvent("{}", event="end")


def _is_no_chunk(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("chunk")


# It logs each piece that it sends, at DEBUG: those hold what users store.
logging.getLogger("sse_starlette.sse").addFilter(_is_no_chunk)
