"""What the bodies of one run say, on its way out: events and state, from any thread, in the order in which it is said.

One call is under way at a time, and takes what has been said meanwhile. What a body said is stored before what it
returned is recorded. The hard thing is a body that says more than the server takes: one in a thread waits for room; one
on the loop cannot, and loses the oldest events that still wait, as the stream itself would.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from redisflow.contract import EVENTS_KEPT, STATE_KEYS, Answer, Claim, Emission, NewEvent
from redisflow.errors import StateFull
from redisflow.worker.ends import fields_of

if TYPE_CHECKING:
    from redisflow.contract import EventCalls

CALL_EVENTS = 100
CALL_BYTES = 64 * 1024
"""Of the events of one call; at least one event."""
WAITING_BYTES = 8 << 20
"""Of events that wait."""

_log = logging.getLogger("redisflow.worker")


class Speaker(Protocol):
    """The run whose bodies they are."""

    claim: Claim

    @property
    def is_speaking(self) -> bool:
        """Whether its code has said something that is not stored yet: that was said before, and stands before."""
        ...

    def drop(self) -> None:
        """It is held by somebody else."""
        ...


class BodyOutputs:
    """Of one held run."""

    def __init__(self, run: Speaker, calls: EventCalls, loop: asyncio.AbstractEventLoop) -> None:
        """Made when the first body says something."""
        self._run = run
        self._hold = run.claim.hold
        self._calls = calls
        self._loop = loop
        self._room = threading.Condition()
        self._events: deque[tuple[int, NewEvent]] = deque()
        """Those that wait, each with its number among all that was said."""
        self._bytes = 0
        """Of those."""
        self._state: dict[str, bytes] = {}
        """What waits to be set; of a key that changes often, the last value counts."""
        self._keys: set[str] = set()
        """All that bodies have set here."""
        self._said = 0
        self._gone = 0
        """Up to this number, all that was said is stored, or given up."""
        self._listeners: deque[tuple[int, Callable[[], None]]] = deque()
        self._calls_made = 0
        self._dropped = 0
        self._is_sending = False
        self._is_held_back = False
        self._is_full = False
        self._is_in_trouble = False
        self._is_closed = False

    # -- from any thread ------------------------------------------------------------------------------------------

    def emit(self, event: NewEvent) -> None:
        """Let this event leave as soon as may be."""
        is_on_loop = self._is_on_loop()
        with self._room:
            while not is_on_loop and not self._is_closed and self._is_overfull():
                self._room.wait()
            if self._is_closed:
                return
            self._said += 1
            self._events.append((self._said, event))
            self._bytes += len(event.data)
            while is_on_loop and self._is_overfull():
                self._bytes -= len(self._events.popleft()[1].data)
                self._dropped += 1
            self._wake(is_on_loop=is_on_loop)

    def set_state(self, key: str, data: bytes) -> None:
        """Let this value be set as soon as may be. StateFull where the state has too many keys."""
        with self._room:
            if self._is_closed:
                return
            if key not in self._keys:
                if self._is_full or len(self._keys) >= STATE_KEYS:
                    raise StateFull(self._hold.run_id, key, STATE_KEYS)
                self._keys.add(key)
            self._said += 1
            self._state[key] = data
            self._wake(is_on_loop=self._is_on_loop())

    def _is_on_loop(self) -> bool:
        return asyncio._get_running_loop() is self._loop  # noqa: SLF001  # documented; None in a thread

    def _is_overfull(self) -> bool:
        return len(self._events) > EVENTS_KEPT or self._bytes > WAITING_BYTES

    def _wake(self, *, is_on_loop: bool) -> None:
        if self._is_sending:
            return
        self._is_sending = True
        if is_on_loop:
            self._loop.call_soon(self._send)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody hears this body any more
                self._loop.call_soon_threadsafe(self._send)

    # -- on the worker's loop -------------------------------------------------------------------------------------

    def when_out(self, then: Callable[[], None]) -> None:
        """Call `then` once all that has been said by now is stored; at once, where it is."""
        if self._gone >= self._said:
            then()
        else:
            self._listeners.append((self._said, then))

    def close(self) -> None:
        """Nobody holds the run here any more: say nothing more, and let nobody wait."""
        with self._room:
            self._is_closed = True
            self._events.clear()
            self._state.clear()
            self._listeners.clear()
            self._room.notify_all()

    def resume(self) -> None:
        """Something that the run's code has said may have been stored."""
        if self._is_held_back:
            self._is_held_back = False
            self._send()

    def _send(self) -> None:
        if self._run.is_speaking and not self._is_closed:
            self._is_held_back = True
            return
        with self._room:
            events = self._take_events()
            state, self._state = self._state, {}
            out = self._events[0][0] - 1 if self._events else self._said
            self._is_sending = bool(events or state)
            self._room.notify_all()
        if events or state:
            self._calls_made += 1
            answer = self._calls.emit_events(self._hold.run_id, self._hold.fence, self._calls_made, events, state)
            answer.add_done_callback(lambda done: self._sent(done, out))

    def _take_events(self) -> list[NewEvent]:
        taken: list[NewEvent] = []
        size = 0
        while self._events and len(taken) < CALL_EVENTS and size < CALL_BYTES:
            _, event = self._events.popleft()
            taken.append(event)
            size += len(event.data)
        self._bytes -= size
        return taken

    def _sent(self, answer: Answer[Emission], out: int) -> None:
        if self._is_closed:
            return
        self._look_at(answer)
        with self._room:
            self._gone = out
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._warn("%d events were dropped: a body says more than the server takes", dropped)
        while self._listeners and self._listeners[0][0] <= out:
            self._listeners.popleft()[1]()
        if not self._is_closed:
            self._send()

    def _look_at(self, answer: Answer[Emission]) -> None:
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if error is not None:
            # Out of memory, say. They are for whoever watches; the step itself goes on, and so does what it records.
            if not self._is_in_trouble:
                self._warn("what its steps say cannot be stored, and is dropped: %r", error)
            self._is_in_trouble = True
            return
        self._is_in_trouble = False
        if answer.result() is Emission.FENCED:
            self._run.drop()
        elif answer.result() is Emission.FULL and not self._is_full:
            self._is_full = True
            self._warn("its state has %d keys, so others were not set", STATE_KEYS)

    def _warn(self, message: str, detail: Any) -> None:
        _log.warning(f"run %s: {message}", self._hold.run_id, detail, extra=fields_of(self._run.claim))
