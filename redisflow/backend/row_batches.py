"""Calls of many runs that leave as one: a script call for each partition, with a row for each run.

What is started, committed or finished in one turn of the loop travels together: the server runs one script where it
would run fifty, and each run still gets a verdict of its own. A row is as re-sendable as a call, because the script
looks at each run by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from redisflow.contract import Created, Started

if TYPE_CHECKING:
    from redisflow.backend.transport import Transport

ROWS_AT_MOST = 100
"""Rows in a call: a script of about a millisecond."""
LARGE_BYTES = 64 * 1024
"""A larger row travels alone and on the second connection, so that nothing small waits behind it."""

T = TypeVar("T")
Head = tuple[Any, ...]
Parse = Callable[[Any], Any]


class RowAnswer:
    """The answer to one row. It has one listener, which is called at once: a future would go through the loop again."""

    __slots__ = ("_error", "_is_done", "_listener", "_value", "is_confirmed")

    def __init__(self) -> None:
        """Not there yet."""
        self._is_done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._listener: Callable[[RowAnswer], object] | None = None
        self.is_confirmed = True
        """Whether as many replicas as were asked for have it; once it is there."""

    def __await__(self) -> Generator[Any, Any, Any]:
        """Wait for it."""
        if not self._is_done:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(_: RowAnswer) -> None:
                if not woken.done():
                    woken.set_result(None)

            self.add_done_callback(wake)
            yield from woken
        return self.result()

    def add_done_callback(self, listener: Callable[[RowAnswer], object], /) -> None:
        """See `Answer`."""
        assert self._listener is None  # noqa: S101  # whoever sent the row
        if self._is_done:
            asyncio.get_running_loop().call_soon(listener, self)
        else:
            self._listener = listener

    def done(self) -> bool:
        """Whether it is there."""
        return self._is_done

    def cancelled(self) -> bool:
        """See `Answer`."""
        return False

    def exception(self) -> BaseException | None:
        """See `Answer`."""
        return self._error

    def result(self) -> Any:
        """See `Answer`."""
        if self._error is not None:
            # One error may be that of many rows: each would make its traceback longer.
            raise self._error.with_traceback(None)
        return self._value

    def set_result(self, value: Any) -> None:
        """It came."""
        self._value = value
        self._is_done = True
        if self._listener is not None:
            self._tell()

    def set_exception(self, error: BaseException) -> None:
        """It will not come."""
        self._error = error
        self._is_done = True
        if self._listener is not None:
            self._tell()

    def _tell(self) -> None:
        listener, self._listener = self._listener, None
        assert listener is not None  # noqa: S101  # whoever calls this has looked
        try:
            listener(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # a defect; the other rows of the batch must hear their answers
            context = {"message": "the listener to an answer failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


class _Batch:
    """The rows of one script for one partition that wait for the end of this turn of the loop."""

    __slots__ = ("answers", "head", "parse", "prefix", "rows", "size")

    def __init__(self, head: Head, prefix: str, parse: Parse) -> None:
        self.head = head
        self.prefix = prefix
        self.parse = parse
        self.rows: list[Any] = []
        self.answers: list[RowAnswer] = []
        self.size = 0


class RowBatches:
    """Gathers rows, sends them, and gives each its own answer."""

    def __init__(self, transport: Transport) -> None:
        """Make it inside the running loop."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._batches: dict[tuple[str, str], _Batch] = {}

    def add(self, head: Head, prefix: str, row: tuple[Any, ...], size: int, parse: Parse) -> RowAnswer:
        """Send a row; `head` is the script's, `size` the bytes of its payloads, `parse` makes the reply's value.

        The parse of a batch is that of its first row: it is the script's, and knows nothing of one row.
        """
        answer = RowAnswer()
        place = (head[1], prefix)
        if size > LARGE_BYTES:
            alone = _Batch(head, prefix, parse)
            alone.rows, alone.answers = list(row), [answer]
            self._send(alone, bulk=True)
            return answer
        batch = self._batches.get(place)
        if batch is None:
            batch = self._batches[place] = _Batch(head, prefix, parse)
            self._loop.call_soon(self._flush, place, batch)
        batch.rows.extend(row)
        batch.answers.append(answer)
        batch.size += size
        if len(batch.answers) >= ROWS_AT_MOST or batch.size > LARGE_BYTES:
            self._flush(place, batch)
        return answer

    def _flush(self, place: tuple[str, str], batch: _Batch) -> None:
        if self._batches.get(place) is batch:
            del self._batches[place]
            self._send(batch, bulk=False)

    def _send(self, batch: _Batch, *, bulk: bool) -> None:
        command = (*batch.head, batch.prefix, *batch.rows)
        reply = self._transport.send(batch.prefix, command, bulk=bulk)
        reply.add_done_callback(lambda done: _tell(batch, done))


def unconfirmed(made: T) -> T:
    """What a start made, where too few replicas confirmed it in time."""
    return replace(made, is_confirmed=False) if isinstance(made, Created | Started) else made


def _tell(batch: _Batch, reply: asyncio.Future[Any]) -> None:
    error = asyncio.CancelledError() if reply.cancelled() else reply.exception()
    if error is not None:
        for answer in batch.answers:
            if not answer.done():
                answer.set_exception(error)
        return
    parse = batch.parse
    is_confirmed = getattr(reply, "is_confirmed", True)  # most futures are asyncio's own
    for answer, one in zip(batch.answers, reply.result(), strict=True):
        if answer.done():
            continue
        answer.is_confirmed = is_confirmed
        try:
            value = parse(one)
        except Exception as refused:  # noqa: BLE001  # it belongs to the caller of this one row
            answer.set_exception(refused)
        else:
            answer.set_result(value)
