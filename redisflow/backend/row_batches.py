"""Calls of many runs that leave as one: a script call for each partition, with a row for each run.

What is started, committed or finished in one turn of the loop travels together: the server runs one script where it
would run fifty, and each run still gets a verdict of its own. A row is as re-sendable as a call, because the script
looks at each run by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redisflow.backend.transport import Transport

ROWS_AT_MOST = 100
"""Rows in a call: a script of about a millisecond."""
LARGE_BYTES = 64 * 1024
"""A larger row travels alone and on the second connection, so that nothing small waits behind it."""

Head = tuple[Any, ...]
Parse = Callable[[Any], Any]


class _Batch:
    """The rows of one script for one partition that wait for the end of this turn of the loop."""

    __slots__ = ("futures", "head", "parse", "prefix", "rows", "size")

    def __init__(self, head: Head, prefix: str, parse: Parse) -> None:
        self.head = head
        self.prefix = prefix
        self.parse = parse
        self.rows: list[Any] = []
        self.futures: list[asyncio.Future[Any]] = []
        self.size = 0


class RowBatches:
    """Gathers rows, sends them, and tells each future its own reply."""

    def __init__(self, transport: Transport) -> None:
        """Make it inside the running loop."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._batches: dict[tuple[str, str], _Batch] = {}

    def add(self, head: Head, prefix: str, row: tuple[Any, ...], size: int, parse: Parse) -> asyncio.Future[Any]:
        """Send a row; `head` is the script's, `size` the bytes of its payloads, `parse` makes the reply's value."""
        future = self._loop.create_future()
        place = (head[1], prefix)
        if size > LARGE_BYTES:
            alone = _Batch(head, prefix, parse)
            alone.rows, alone.futures = list(row), [future]
            self._send(alone, bulk=True)
            return future
        batch = self._batches.get(place)
        if batch is None:
            batch = self._batches[place] = _Batch(head, prefix, parse)
            self._loop.call_soon(self._flush, place, batch)
        batch.rows.extend(row)
        batch.futures.append(future)
        batch.size += size
        if len(batch.futures) >= ROWS_AT_MOST or batch.size > LARGE_BYTES:
            self._flush(place, batch)
        return future

    def _flush(self, place: tuple[str, str], batch: _Batch) -> None:
        if self._batches.get(place) is batch:
            del self._batches[place]
            self._send(batch, bulk=False)

    def _send(self, batch: _Batch, *, bulk: bool) -> None:
        command = (*batch.head, batch.prefix, *batch.rows)
        answer = self._transport.send(batch.prefix, command, bulk=bulk)
        answer.add_done_callback(lambda done: _tell(batch, done))


def _tell(batch: _Batch, answer: asyncio.Future[Any]) -> None:
    error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
    if error is not None:
        for future in batch.futures:
            if not future.done():
                future.set_exception(error)
        return
    for future, reply in zip(batch.futures, answer.result(), strict=True):
        if future.done():
            continue
        try:
            value = batch.parse(reply)
        except Exception as refused:  # noqa: BLE001  # it belongs to the caller of this one row
            future.set_exception(refused)
        else:
            future.set_result(value)
