"""Finds out which run kills its workers, without blaming those that were held beside it.

When a worker dies, each run that it held may have been the reason. Such a run is a suspect until it records something,
and a worker lets its suspects begin one after the other: the one that kills it again is known by that. Those that have
not begun carry a mark, so that no crash is counted for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from redisflow.contract import Answer, Verdict
from redisflow.worker.held_run import HeldRun


class Suspects:
    """Of one worker."""

    def __init__(self, patience_s: float) -> None:
        """After `patience_s` the next one begins, although the one before has recorded nothing yet."""
        self._patience_s = patience_s
        self._queue: deque[HeldRun] = deque()
        self._on_trial: HeldRun | None = None
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, held: HeldRun) -> None:
        """Let it begin when its turn comes."""
        self._queue.append(held)
        if self._on_trial is None:
            asyncio.get_running_loop().call_soon(self._next)
        # Sent before the first one is let go, on the same connection: when that one begins, these are marked.
        held.mark_as_waiting()

    def clear(self, held: HeldRun) -> None:
        """It has recorded something, or is held no longer."""
        if held is self._on_trial:
            self._on_trial = None
            self._next()

    def _next(self) -> None:
        if self._on_trial is not None:
            return  # each of several that came together asked; the patience with the first is not to be forgotten
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._on_trial is None and self._queue:
            held = self._queue.popleft()
            if not held.is_dropped:
                self._on_trial = held
                self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._lose_patience)
                held.mark_as_begun(_starter(held))

    def _lose_patience(self) -> None:
        self._on_trial = None
        self._next()


def _starter(held: HeldRun) -> Callable[[Answer[Verdict]], None]:
    def begin(answer: Answer[Verdict]) -> None:
        if not answer.cancelled() and answer.exception() is None and answer.result() is Verdict.OK:
            held.start()
        else:
            held.drop()

    return begin
